"""Makes the rows of a spine of events."""

from dataclasses import replace

import polars as pl

from eventlake.core.instants import format_instant
from eventlake.core.names import LATEST
from eventlake.errors import InvalidInputError
from eventlake.features.declared.declared_spine import CUTOFF, DeclaredSpine
from eventlake.features.declared.feature import Aggregate
from eventlake.features.feature_set import FeatureSet
from eventlake.features.look_up import rows
from eventlake.features.on_polars.events import condition, entity_of
from eventlake.features.planned.fields import ATTRIBUTE, columns_by_field
from eventlake.features.planned.nested_fields import fields_inside, unfolded
from eventlake.features.planned.plan import Plan, compiled
from eventlake.features.spines.labels import SEQUENCE, Ahead, explained, known_to, labelled
from eventlake.history import polars_scan
from eventlake.history.pinned import PinnedHistory
from eventlake.history.resolve import checked_instant
from eventlake.tables.columns import free_attributes

_ENTITY, _LATE = "eventlake entity", "eventlake late"


def rows_of(spine: DeclaredSpine, history: PinnedHistory) -> tuple[pl.DataFrame, int]:
    """The rows of a spine, and how many of their events were recorded after their time.

    Args:
        spine: The spine; ``known`` is set.
        history: The history to read.
    """
    chosen = _month_ends(spine, history) if spine.monthly else _of_events(spine, history)
    late = 0 if spine.monthly else int(chosen[_LATE].sum())
    return labelled(spine, history, chosen, until_of(spine)).drop(
        SEQUENCE, _LATE, strict=False
    ), late


def event_of(spine: DeclaredSpine, history: PinnedHistory, row: int) -> pl.DataFrame | None:
    """``sequence``, ``time`` and ``id`` of the event that makes a row; None for ends of months."""
    if spine.monthly:
        return None
    sequence = _of_events(spine, history)[SEQUENCE][row]
    table = polars_scan.table(history.table(spine.event_type))
    return table.filter(pl.col("sequence") == sequence).select("sequence", "time", "id").collect()


def ahead_of(spine: DeclaredSpine, history: PinnedHistory, name: str, row: int) -> Ahead:
    """The events of a label of a row."""
    chosen = (_month_ends(spine, history) if spine.monthly else _of_events(spine, history))[
        row : row + 1
    ]
    return explained(spine, history, chosen, name, until_of(spine))


def not_known(spine: DeclaredSpine, history: PinnedHistory, rows: pl.DataFrame) -> int:
    """The number of rows that recordings after their cutoff made or changed."""
    if spine.known == "cutoff":
        return 0
    plain, known = (
        rows.drop(name for name, _, _ in spine.labels),
        replace(spine, known="cutoff", labels=()),
    )
    # Asked first, because ``rows_of`` refuses a spine of which nothing was known.
    if spine.monthly and not _known_months(known, history)[1].height:
        return plain.height
    return plain.height - _shared(plain, rows_of(known, history)[0])


def _shared(rows: pl.DataFrame, others: pl.DataFrame) -> int:
    """The number of rows that two frames of the same columns share, counting repetitions."""
    one, other = (
        frame.group_by(rows.columns).agg(pl.len().alias(_LATE)) for frame in (rows, others)
    )
    # Counted, because a spine may have a row several times.
    both = one.join(other, on=rows.columns, how="inner", nulls_equal=True)
    return int(both.select(pl.min_horizontal(_LATE, f"{_LATE}_right").sum()).item())


def until_of(spine: DeclaredSpine) -> int | None:
    """The declared instant up to which labels are known, in microseconds; None without one."""
    return None if spine.known_until is None else checked_instant(spine.known_until, "known_until")


def _plan_of(spine: DeclaredSpine, history: PinnedHistory) -> Plan:
    """The plan of the events that make a spine's rows."""
    one = Aggregate("count", spine.event_type, where=spine.where)
    return compiled(
        FeatureSet("spine", by=spine.by, features=(one,), known="watermark", depth=spine.depth),
        history.catalogue,
    )


def _events(
    spine: DeclaredSpine, history: PinnedHistory, plan: Plan, nested: dict[str, tuple[str, ...]]
) -> pl.LazyFrame:
    """The events that make rows, as first recorded or with their latest corrections."""
    table = history.table(spine.event_type)
    events = (
        polars_scan.first_known(table)
        if spine.known == "cutoff"
        else polars_scan.table(table, LATEST)
    )
    return _matching(spine, plan, unfolded(events, nested | dict(plan.nested[spine.event_type])))


def _matching(spine: DeclaredSpine, plan: Plan, frame: pl.LazyFrame) -> pl.LazyFrame:
    """The events that satisfy the condition and have an entity, in the column ``_ENTITY``."""
    (stream,) = plan.parts_by_stream()
    if stream.where is not None:
        frame = frame.filter(condition(stream.where, plan.columns[spine.event_type]))
    return frame.with_columns(entity_of(plan, spine.event_type).alias(_ENTITY)).filter(
        pl.col(_ENTITY).is_not_null()
    )


def _of_events(spine: DeclaredSpine, history: PinnedHistory) -> pl.DataFrame:
    """One row per event, with its sequence, and whether it was recorded after its time."""
    plan = _plan_of(spine, history)
    carried, nested = _carried(spine, history)
    # Event tables have no order, and the number of a spine's row is its place.
    frame = _events(spine, history, plan, nested).sort("sequence")
    shown = [pl.col(column).alias(name) for name, column in carried.items()]
    late = (pl.col("recorded_at") > pl.col("time")).alias(_LATE)
    return frame.select(
        pl.col("sequence").alias(SEQUENCE),
        pl.col(_ENTITY).alias(spine.by),
        pl.col("time").alias(CUTOFF),
        *shown,
        late,
    ).collect()


def _carried(
    spine: DeclaredSpine, history: PinnedHistory
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """The carried columns by name, and the paths of the nested fields among them."""
    schema = history.catalogue.version(spine.event_type).schema
    inside = fields_inside(schema)
    columns = {name: (name, ATTRIBUTE) for name in free_attributes(schema)} | columns_by_field(
        schema
    )
    missing = [name for name in spine.carry if name not in columns and name not in inside]
    if missing:
        message = f"{spine.event_type} has no field {', '.join(missing)} to be carried"
        raise InvalidInputError(message, f"it has {', '.join([*columns, *inside])}.")
    carried = {name: columns[name][0] if name in columns else name for name in spine.carry}
    return carried, {name: inside[name][0] for name in spine.carry if name not in columns}


def _month_ends(spine: DeclaredSpine, history: PinnedHistory) -> pl.DataFrame:
    """One row per end of a month, from an entity's first event up to what is known."""
    if spine.known == "watermark":
        end = known_to(history, spine.event_type, until_of(spine))
        return _months(spine, _events(spine, history, _plan_of(spine, history), {}), end)
    month_ends, known = _known_months(spine, history)
    if month_ends.height and not known.height:
        first = history.first_recorded()
        message = (
            f"spine of {spine.event_type}: at none of the {month_ends.height:,} ends of months "
            f"was an event known; the first was recorded at {format_instant(first or 0)}"
        )
        hint = (
            "a history that was imported is known from its import on: build features with "
            "known='watermark', which is hindsight, or "
            "import it with recorded_at taken from time."
        )
        raise InvalidInputError(message, hint)
    return known


def _known_months(
    spine: DeclaredSpine, history: PinnedHistory
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ends of months of all events as first recorded, and those at which some event was known."""
    plan, end = _plan_of(spine, history), known_to(history, spine.event_type, until_of(spine))
    table = history.table(spine.event_type)
    frame = _matching(
        spine, plan, unfolded(polars_scan.table(table), plan.nested[spine.event_type])
    )
    month_ends = _months(spine, frame, end)
    return month_ends, _known(spine, history, month_ends)


def _known(spine: DeclaredSpine, history: PinnedHistory, month_ends: pl.DataFrame) -> pl.DataFrame:
    """The rows at whose cutoff a valid event of the entity was known."""
    one = Aggregate("exists", spine.event_type, where=spine.where, given_name="eventlake_known")
    plan = compiled(
        FeatureSet("spine", by=spine.by, features=(one,), known="cutoff", depth=spine.depth),
        history.catalogue,
    )
    table = month_ends.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("spine_row"), spine.by, CUTOFF
    ).to_arrow()
    return month_ends.filter(pl.DataFrame(rows(plan, history, table, "polars"))["eventlake_known"])


def _months(spine: DeclaredSpine, frame: pl.LazyFrame, end: int | None) -> pl.DataFrame:
    firsts = (
        # Grouping gives no order, and the number of a spine's row is its place.
        frame.group_by(_ENTITY).agg(pl.col("time").min().alias("first")).collect().sort(_ENTITY)
    )
    until = pl.lit(end, pl.Int64).cast(polars_scan.INSTANT)
    months = pl.datetime_ranges(
        pl.col("first").dt.truncate("1mo").dt.offset_by("1mo"),
        until,
        "1mo",
        time_zone="UTC",
        time_unit="us",
    )
    return (
        firsts.select(pl.col(_ENTITY).alias(spine.by), months.alias(CUTOFF))
        .explode(CUTOFF)
        # An entity without an end of a month explodes to a null.
        .drop_nulls(CUTOFF)
    )
