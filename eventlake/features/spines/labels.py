"""Labels of a spine of events: what happens in ``[cutoff, cutoff + horizon)``.

Everything that is recorded at the watermark counts. A label is known when a source that reports
events of its type has reported up to the end of the horizon. Until then it is null: "not yet known"
is not "no". Sources without events of the type do not count, and neither does what eventlake itself
records.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from eventlake.core.instants import MAX_US, format_instant
from eventlake.core.names import LATEST
from eventlake.features.declared.conditions import Condition, field
from eventlake.features.declared.declared_spine import CUTOFF, DeclaredSpine
from eventlake.features.declared.feature import Aggregate
from eventlake.features.declared.window import Window
from eventlake.features.explain import inside
from eventlake.features.feature_set import FeatureSet
from eventlake.features.look_up import rows
from eventlake.features.planned.plan import compiled
from eventlake.history import polars_scan
from eventlake.history.corrections import FAMILY, families
from eventlake.history.pinned import PinnedHistory

SEQUENCE = "eventlake sequence"
"""Column: sequence of the event that makes a row."""
_LABEL, _ROW, _OWN, _TURN = "eventlake_label", "eventlake row", "eventlake own", "eventlake turn"
_AT_ONCE = 200
"""Most events that one condition leaves out."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The events of a label of one row.

    Attributes:
        events: Recorded events in its window, as ``explain.inside`` returns them.
        known: Whether the label is known.
        text: The window and, if the label is not known, why.
    """

    events: pl.DataFrame
    known: bool
    text: str


def reported_until(history: PinnedHistory, event_type: str) -> int | None:
    """Instant up to which sources of a type have reported, in microseconds; None without events.

    A source has reported up to its latest event of any type, or up to its last recording if that is
    earlier.
    """
    reported = (
        polars_scan.scan(history)
        .group_by("source", "type")
        .agg(pl.col("time").max(), pl.col("recorded_at").max())
        .collect()
    )
    of_type = reported.filter(pl.col("type") == event_type)["source"]
    ours = reported.filter(pl.col("source").is_in(of_type.implode()))
    ends = (
        ours.group_by("source")
        .agg(pl.col("time", "recorded_at").max())
        # One source that has reported that far is enough.
        .select(pl.min_horizontal("time", "recorded_at").max())
    )
    found = ends.cast(pl.Int64).item()
    return None if found is None else int(found)


def window(spine: DeclaredSpine, label: Aggregate, horizon: int) -> Aggregate:
    """A label as a feature.

    Events of the type that makes the rows count after the cutoff only: the row's own event is at
    the cutoff, and is not its own outcome.
    """
    after = int(not spine.monthly and label.event_type == spine.event_type)
    return replace(label, window=Window(horizon - after, -horizon))


def label_set(spine: DeclaredSpine, labels: Sequence[Aggregate]) -> FeatureSet:
    """Labels as a feature set."""
    return FeatureSet(
        "label", by=spine.by, features=tuple(labels), known="watermark", depth=spine.depth
    )


def labelled(
    spine: DeclaredSpine, history: PinnedHistory, chosen: pl.DataFrame, until: int | None
) -> pl.DataFrame:
    """Rows with the labels of their spine.

    Args:
        spine: The spine.
        history: The history to read.
        chosen: The rows; with ``SEQUENCE`` if events make them.
        until: Instant up to which labels are known, in microseconds; defaults to what events show.
    """
    if not spine.labels:
        return chosen
    ahead = [
        replace(window(spine, one, horizon), given_name=f"{_LABEL}_{number}")
        for number, (_, one, horizon) in enumerate(spine.labels)
    ]
    found = _label_values(spine, history, chosen, ahead)
    ends = {one.event_type: known_to(history, one.event_type, until) for one in ahead}
    labels = [
        # If no source has reported, the comparison is null, and so is the label.
        pl.when(pl.col(CUTOFF).cast(pl.Int64) + horizon <= pl.lit(ends[one.event_type], pl.Int64))
        .then(found[f"{_LABEL}_{number}"])
        .alias(name)
        for number, (name, one, horizon) in enumerate(spine.labels)
    ]
    return chosen.with_columns(labels)


def known_to(history: PinnedHistory, event_type: str, until: int | None) -> int | None:
    """Instant up to which labels of a type are known: ``until``, or ``reported_until``."""
    return reported_until(history, event_type) if until is None else until


def explained(
    spine: DeclaredSpine, history: PinnedHistory, row: pl.DataFrame, name: str, until: int | None
) -> Ahead:
    """The events of a label for one of the rows; ``until`` as for ``labelled``."""
    one, horizon = next(
        (feature, horizon) for label, feature, horizon in spine.labels if label == name
    )
    ahead = replace(window(spine, one, horizon), given_name=_LABEL)
    own = one.event_type == spine.event_type and not spine.monthly
    moved = list(_moved(spine, history, row, horizon)) if own else []
    ahead = replace(ahead, where=_without(ahead, moved[0][_OWN])) if moved else ahead
    plan = compiled(label_set(spine, [ahead]), history.catalogue)
    cutoff = int(row[CUTOFF].cast(pl.Int64)[0])
    events = inside(plan, history, row[spine.by][0], cutoff)
    events = events.with_columns(pl.col("behind").list.eval(pl.element().replace({_LABEL: name})))
    end, stop = known_to(history, one.event_type, until), cutoff + horizon
    shown = format_instant(stop) if stop <= MAX_US else "the end of time"
    window_text = f"[{format_instant(cutoff)}, {shown})"
    if end is not None and stop <= end:
        return Ahead(events, known=True, text=window_text)
    if end is None:
        why = f"no event of {one.event_type} is recorded"
    elif until is not None:
        why = f"known_until is {format_instant(end)}"
    else:
        why = f"the sources of {one.event_type} have reported up to {format_instant(end)}"
    text = f"{window_text}; {why}, and the label is known at {shown}"
    return Ahead(events, known=False, text=text)


def _label_values(
    spine: DeclaredSpine, history: PinnedHistory, chosen: pl.DataFrame, ahead: Sequence[Aggregate]
) -> pl.DataFrame:
    """The labels of every row, known or not."""
    found = _look_up(spine, history, chosen, ahead)
    own = [one for one in ahead if not spine.monthly and one.event_type == spine.event_type]
    if not own:
        return found
    # A correction may have moved a row's own event past the cutoff: it is left out by sequence.
    for some in _moved(spine, history, chosen, max(one.window.length or 0 for one in own)):
        others = [replace(one, where=_without(one, some[_OWN])) for one in own]
        again = _look_up(spine, history, chosen[some[_ROW]], others).select(
            one.column for one in own
        )
        found = found.update(
            again.with_columns(some[_ROW].alias(_ROW)), on=_ROW, include_nulls=True
        )
    return found


def _without(label: Aggregate, sequences: pl.Series) -> Condition:
    others = ~field("sequence").is_in(sequences.to_list())
    return others if label.where is None else label.where & others


def _look_up(
    spine: DeclaredSpine, history: PinnedHistory, chosen: pl.DataFrame, ahead: Sequence[Aggregate]
) -> pl.DataFrame:
    plan = compiled(label_set(spine, ahead), history.catalogue)
    rows_wanted = chosen.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("spine_row"), spine.by, CUTOFF
    )
    return pl.DataFrame(rows(plan, history, rows_wanted.to_arrow(), "polars")).with_row_index(_ROW)


def _moved(
    spine: DeclaredSpine, history: PinnedHistory, chosen: pl.DataFrame, furthest: int
) -> Iterator[pl.DataFrame]:
    """Rows whose event a correction moved past the cutoff: ``_ROW``, and its sequence, ``_OWN``.

    Each frame has at most one row per entity, so that an event left out for one row is not missing
    for another.
    """
    table = history.table(spine.event_type)
    frame = polars_scan.table(table)
    corrections = (
        frame.filter(pl.col("corrects").is_not_null()).select(*FAMILY, "corrects").collect()
    )
    if not corrections.height:
        return
    members = families(corrections).lazy()
    first = frame.select("sequence", *FAMILY).join(members, on=FAMILY)
    latest = (
        polars_scan.table(table, LATEST)
        .select(*FAMILY, "time", pl.col("sequence").alias(_OWN))
        .join(members, on=FAMILY)
    )
    pairs = (
        first.join(latest, on=["source", "root"])
        .select(pl.col("sequence").alias(SEQUENCE), _OWN, "time")
        .collect()
    )
    mine = chosen.with_row_index(_ROW).join(pairs, on=SEQUENCE, how="inner")
    late = pl.col("time").cast(pl.Int64) - pl.col(CUTOFF).cast(pl.Int64)
    # Beyond the furthest horizon, the moved event is in no window.
    moved = (
        mine.filter(late.is_between(1, furthest))
        .sort(_ROW)
        .with_columns(pl.int_range(pl.len()).over(spine.by).alias(_TURN))
    )
    for some in moved.partition_by(_TURN, maintain_order=True):
        yield from some.iter_slices(_AT_ONCE)
