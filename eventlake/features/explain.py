"""Finds the events in the windows of features for one row of a spine."""

import polars as pl

from eventlake.features.on_polars.events import events, is_inside, value_of
from eventlake.features.planned.plan import Plan
from eventlake.features.planned.sources import sources
from eventlake.history.pinned import PinnedHistory

SCHEMA = pl.Schema(
    {
        "sequence": pl.Int64(),
        "time": pl.Datetime("us", "UTC"),
        "id": pl.String(),
        "behind": pl.List(pl.String()),
    }
)


def inside(
    plan: Plan, history: PinnedHistory, entity: str | int | None, cutoff: int
) -> pl.DataFrame:
    """The events of an entity that features read, and the features in whose window each is.

    Args:
        plan: Plan of the features.
        history: The history to read.
        entity: Entity of the row; None has no events.
        cutoff: Cutoff of the row, in microseconds.

    Returns:
        In sequence order ``sequence``, ``time``, ``id``, and ``behind``, the names of features.
    """
    wanted = {feature.column: feature.aggregates() for feature in plan.features.features}
    kind = pl.Int64() if plan.entity.kind == "int64" else pl.String()
    one = pl.DataFrame(
        {"entity": [entity], "code": [0]}, schema={"entity": kind, "code": pl.Int64()}
    )
    found = []
    for name, source in sources(plan, history).items():
        for stream in (stream for stream in plan.parts_by_stream() if stream.event_type == name):
            shown = events(plan, stream, source, one.drop_nulls(), ["id", "time"]).with_columns(
                c=pl.lit(cutoff, pl.Int64)
            )
            named = []
            for column, aggregates in wanted.items():
                parts = [part for aggregate in aggregates for part in plan.parts[aggregate]]
                windows = [part.window for part in parts if part.stream == stream]
                if windows:
                    in_some = pl.any_horizontal(
                        is_inside(
                            window, has_validity=plan.has_validity, can_expire=source.can_expire
                        )
                        for window in windows
                    )
                    named.append(pl.when(in_some).then(pl.lit(column)))
            behind = pl.concat_list(named).list.drop_nulls().alias("behind")
            found.append(
                shown.select(
                    "sequence",
                    pl.col(value_of("time")).alias("time"),
                    pl.col(value_of("id")).alias("id"),
                    behind,
                ).collect()
            )
    if not found:
        return pl.DataFrame(schema=SCHEMA)
    # One event may be in several streams of its type, and is listed once.
    order = {name: place for place, name in enumerate(wanted)}
    whole = pl.concat(found).explode("behind").group_by("sequence", maintain_order=True)
    merged = whole.agg(
        pl.col("time", "id").first(), pl.col("behind").drop_nulls().unique(maintain_order=True)
    )
    # Streams are read one after the other; names are listed in the order of their declaration.
    placed = pl.col("behind").list.eval(
        pl.element().sort_by(pl.element().replace_strict(order, return_dtype=pl.Int64))
    )
    return merged.with_columns(placed).sort("sequence").cast(SCHEMA)
