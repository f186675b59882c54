"""Reuses features of an earlier build: same entity, same cutoff, and nothing changed since."""

from collections.abc import Callable

import polars as pl
import pyarrow as pa

from eventlake.datasets.store.build_index import Cutoffs, Entry
from eventlake.features.look_up import rows
from eventlake.features.planned.plan import Plan
from eventlake.features.planned.sources import doubtful
from eventlake.features.stale_entities import changed
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.computation import Computation
from eventlake.projections.rows import finish

_PLACE, _STALE = "eventlake place", "eventlake stale"
"""Temporary columns; the spaces keep them from clashing with a spine's."""


def cutoffs_of(rows: pa.Table, computation: Computation) -> Cutoffs | None:
    """The first and the last cutoff of rows, in microseconds; None without one."""
    name = computation.feature_plan.features.cutoff
    if name not in rows.column_names:
        return None
    cutoffs = _microseconds(rows, name)
    first, last = cutoffs.min(), cutoffs.max()
    return (first, last) if isinstance(first, int) and isinstance(last, int) else None


def serves_cutoffs(computation: Computation, most: float) -> Callable[[Entry], bool]:
    """Whether a dataset's cutoffs are those of enough rows of a spine; it is not opened.

    Args:
        computation: Declared features over a spine.
        most: The share of rows that may be recomputed.
    """
    spine, name = computation.spine, computation.feature_plan.features.cutoff
    assert spine is not None  # noqa: S101 - declared features have one
    cutoffs = _microseconds(spine, name)
    given = cutoffs_of(spine, computation)

    def serves(entry: Entry) -> bool:
        if entry.cutoffs is None or given is None:
            return True
        first, last = entry.cutoffs
        # Of a spine of one night, no entry but one of the same night needs the rows counted.
        if last < given[0] or given[1] < first:
            return False
        outside = int((~cutoffs.is_between(first, last)).sum())
        return outside <= most * len(cutoffs)

    return serves


def _microseconds(rows: pa.Table, name: str) -> pl.Series:
    return pl.Series(rows.column(name)).cast(pl.Int64)


def stale_rows(before: PinnedHistory, computation: Computation) -> pl.Series:
    """Whether the features of each row of the spine may have changed since an earlier history."""
    spine, plan = computation.spine, computation.feature_plan
    assert spine is not None  # noqa: S101 - declared features have one
    ends = [plan.features.spine_entity, plan.features.cutoff]
    given = pl.DataFrame(spine.select(ends))
    # Not ``select``: a literal alone would be one row.
    return given.with_columns(_stale(plan, before, computation.history).alias(_STALE))[_STALE]


def reuse_rows(
    old: pa.Table, stale: pl.Series, computation: Computation, *, most: float
) -> tuple[pa.Table, int] | None:
    """The rows of a build, mostly from an earlier one, and how many of them were recomputed.

    Args:
        old: The rows of an earlier build of the same features, over any spine.
        stale: Whether each row of the spine may have changed since then.
        computation: Declared features over a spine.
        most: The share of rows that may be recomputed.

    Returns:
        None if more rows are stale, or the columns have other types.
    """
    history, spine, engine = computation.history, computation.spine, computation.projection.engine
    assert spine is not None  # noqa: S101 - declared features have one
    plan = computation.feature_plan
    names, ends = list(plan.features.columns), [plan.features.spine_entity, plan.features.cutoff]
    if any(
        name not in old.column_names or old.schema.field(name).type != spine.schema.field(name).type
        for name in ends
    ):
        return None
    # An entity and a cutoff decide the features, whatever the row number.
    known = pl.DataFrame(old.select(ends)).with_row_index(_PLACE).unique(ends, keep="first")
    given = pl.DataFrame(spine.select(ends)).with_columns(stale.alias(_STALE))
    found = given.join(known, on=ends, how="left", nulls_equal=True, maintain_order="left")
    place = found.select(pl.when(~pl.col(_STALE)).then(pl.col(_PLACE).cast(pl.Int64)))[_PLACE]
    missing = place.is_null()
    number = int(missing.sum())
    if number > most * len(place):
        return None
    looked_up = rows(plan, history, spine.filter(missing.to_arrow()), engine)
    new = finish(computation, looked_up).select(names)
    if new.schema != old.select(names).schema:
        return None
    # The new rows follow the old ones, in the order of the spine.
    places = place.fill_null(missing.cast(pl.Int64).cum_sum() - 1 + old.num_rows)
    features = pa.concat_tables([old.select(names), new]).take(places.to_arrow())
    table = spine
    for name in names:
        table = table.append_column(name, features.column(name))
    return finish(computation, table), number


def _stale(plan: Plan, before: PinnedHistory, history: PinnedHistory) -> pl.Expr:
    """Whether a row's features may have changed, because its entity has relevant new events."""
    first = history.first_recorded(before.watermark)
    if first is None:
        return pl.lit(value=False)
    touched = pl.col(plan.features.spine_entity).is_in(
        changed(plan, before.with_schemas(plan.schemas), history).implode()
    )
    # With ``known="cutoff"`` events recorded after a cutoff do not change its features. But
    # whether a sum overflows is decided over all events of an entity.
    recorded_before = pl.col(plan.features.cutoff).cast(pl.Int64) > first
    can_overflow = any(
        doubtful(plan, stream, parts) for stream, parts in plan.parts_by_stream().items()
    )
    stale = touched & recorded_before if plan.known_at_cutoff and not can_overflow else touched
    return stale.fill_null(value=False)
