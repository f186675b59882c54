"""Spines made of events: a row for each event of a type, or for each month in which an entity lives, and labels that look ahead.

    el.spine.on("loan.granted").label("missed", el.exists("payment.missed"), horizon="90d")

A label looks at ``[cutoff, cutoff + horizon)`` with everything that is recorded at the watermark. Where that stretch is not over yet, as
far as the lake knows, the label is null: "not yet known" is not "no".
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa

from eventlake.errors import InvalidInputError
from eventlake.features.conditions import Condition, Value, where_of
from eventlake.features.definition import Aggregate
from eventlake.features.feature_set import FeatureSet
from eventlake.features.nested import fields_inside, unfolded
from eventlake.features.plan import columns_by_field, compiled
from eventlake.features.polars_parts import condition
from eventlake.features.run import rows
from eventlake.features.spans import Span, microseconds
from eventlake.features.spine_file import declared_types, read_spine
from eventlake.history import polars_scan
from eventlake.history.pinned import PinnedHistory
from eventlake.history.resolve import checked_instant

_CUTOFF, _ENTITY, _LABEL = "cutoff", "eventlake entity", "eventlake_label"
INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class EventSpine:
    """A spine that is made when a dataset is built. Made by ``on`` and ``month_ends``.

    Attributes:
        event_type: Whose events begin the rows.
        by: The column that names the entity, in every type that is looked at.
        where: What an event must satisfy.
        carry: Fields of the event that become columns.
        monthly: A row for each end of a month after an entity's first event, instead of one for each event.
        labels: Name, feature and horizon in microseconds of each label.
        known_until: As far as the lake knows; None for the latest ``time`` of its events, or the last recording where that is earlier.
    """

    event_type: str
    by: str
    where: Condition | None
    carry: tuple[str, ...]
    monthly: bool
    labels: tuple[tuple[str, Aggregate, int], ...] = ()
    known_until: datetime | str | None = None

    def label(self, name: str, feature: Aggregate, *, horizon: str) -> "EventSpine":
        """The same spine with a column that looks ahead.

        Args:
            name: Of the column.
            feature: What it is, of the events in ``[cutoff, cutoff + horizon)``; without a window of its own.
            horizon: Such as ``90d``.

        Raises:
            InvalidInputError: The feature has a window, or is arithmetic.
        """
        if not isinstance(feature, Aggregate) or feature.span != Span() or feature.kind in {"since_last", "since_first", "rate"}:
            message = f"label {name}: expected a feature of events without a window, such as exists('payment.missed'), found {feature!r}"
            raise InvalidInputError(message, "its window is the horizon.")
        if name in {self.by, _CUTOFF, *self.carry, *(label for label, _, _ in self.labels)}:
            message = f"label {name}: the spine has a column of that name already"
            raise InvalidInputError(message, "give it another one.")
        return replace(self, labels=(*self.labels, (name, feature, microseconds(horizon, "horizon"))))

    def rows(self, history: PinnedHistory) -> pl.DataFrame:
        """The rows over a history: the entity, ``cutoff``, what is carried, and the labels.

        Raises:
            NotFoundError: An event type has no schema.
            InvalidInputError: A field is missing, or a label cannot be.
        """
        end = self._known_until(history) if self.monthly or self.labels else 0
        chosen = self._chosen(history, end)
        return self._labelled(history, chosen, end) if self.labels else chosen

    def _chosen(self, history: PinnedHistory, end: int) -> pl.DataFrame:
        begun = FeatureSet("spine", by=self.by, features=(Aggregate("count", self.event_type, where=self.where),), known="watermark")
        plan = compiled(begun, history.catalogue)
        schema = history.catalogue.version(self.event_type).schema
        columns, inside = columns_by_field(schema), fields_inside(schema)
        missing = [name for name in self.carry if name not in columns and name not in inside]
        if len({self.by, _CUTOFF, *self.carry}) != 2 + len(self.carry):
            message = f"the columns of the spine would be {', '.join((self.by, _CUTOFF, *self.carry))}, one of them twice"
            raise InvalidInputError(message, "carry other fields, or build the spine by hand.")
        if missing:
            message = f"{self.event_type} has no field {', '.join(missing)} to be carried"
            raise InvalidInputError(message, f"it has {', '.join([*columns, *inside])}.")
        carried = {name: columns.get(name, (name, None))[0] for name in self.carry}
        nested = {name: inside[name][0] for name in self.carry if name not in columns} | dict(plan.nested[self.event_type])
        frame = unfolded(polars_scan.table(history.table(self.event_type), polars_scan.LATEST), nested)
        (stream,) = plan.wanted()
        if stream.where is not None:
            frame = frame.filter(condition(stream.where, plan.columns[self.event_type]))
        by = plan.by[self.event_type]
        frame = frame.filter(pl.col(by).is_not_null())
        if not self.monthly:
            shown = [pl.col(column).alias(name) for name, column in carried.items()]
            return frame.sort("sequence").select(pl.col(by).alias(self.by), pl.col("time").alias(_CUTOFF), *shown).collect()
        firsts = frame.group_by(pl.col(by).alias(_ENTITY)).agg(pl.col("time").min().alias("first")).collect().sort(_ENTITY)
        until = pl.lit(end, pl.Int64).cast(INSTANT)
        months = pl.datetime_ranges(pl.col("first").dt.truncate("1mo").dt.offset_by("1mo"), until, "1mo", time_zone="UTC", time_unit="us")
        return firsts.select(pl.col(_ENTITY).alias(self.by), months.alias(_CUTOFF)).explode(_CUTOFF).drop_nulls(_CUTOFF)

    def _labelled(self, history: PinnedHistory, chosen: pl.DataFrame, end: int) -> pl.DataFrame:
        """The rows with their labels, which are null where their stretch is not over at the end of what the lake knows."""
        ahead = [
            replace(feature, span=Span(horizon, -horizon), alias=f"{_LABEL}_{number}")
            for number, (_, feature, horizon) in enumerate(self.labels)
        ]
        made = FeatureSet("label", by=self.by, features=tuple(ahead), known="watermark")
        spine = chosen.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("spine_row"), self.by, _CUTOFF)
        found = pl.DataFrame(rows(compiled(made, history.catalogue), history, spine.to_arrow(), "polars"))
        labels = [
            pl.when(pl.col(_CUTOFF).cast(pl.Int64) + horizon <= end).then(found[f"{_LABEL}_{number}"]).alias(name)
            for number, (name, _, horizon) in enumerate(self.labels)
        ]
        return chosen.with_columns(labels)

    def _known_until(self, history: PinnedHistory) -> int:
        """The instant up to which the lake knows what happened, in microseconds, exclusive."""
        if self.known_until is not None:
            return checked_instant(self.known_until, "known_until")
        ends = polars_scan.scan(history).select(pl.col("time").max(), pl.col("recorded_at").max()).collect()
        found = [int(value) for value in ends.cast(pl.Int64).row(0) if value is not None]
        return min(found, default=0)


def read(path: str | os.PathLike[str], *, columns: Mapping[str, str] | None = None) -> pa.Table:
    """The rows of a CSV or Parquet file, as a spine.

    Args:
        path: Of one file; no character is a pattern.
        columns: Types of CSV columns: ``bool``, ``int64``, ``float64``, ``date``, ``timestamp`` (RFC 3339 with a zone), ``decimal(p, s)``.
            The others are text, and an empty value is null.

    Raises:
        InvalidProjectionError: It cannot be read, or a value does not have its declared type; each row is named.
    """
    return read_spine(Path(path).expanduser(), declared_types(columns or {}), {})


def on(
    event_type: str,
    *,
    by: str = "subject",
    where: Condition | Mapping[str, Value] | None = None,
    carry: Sequence[str] = (),
    known_until: datetime | str | None = None,
) -> EventSpine:
    """A row for each event of a type that stands: its entity, and its ``time`` as the cutoff; the event itself is not before it.

    Args:
        event_type: Which events.
        by: The column that names the entity.
        where: What an event must satisfy, as for features.
        carry: Fields of the event to have as columns.
        known_until: An instant up to which labels may be known, a datetime with a zone or RFC 3339; None for what the lake's events say.
    """
    return EventSpine(event_type, by, where_of(where), tuple(carry), monthly=False, known_until=known_until)


def month_ends(
    event_type: str,
    *,
    by: str = "subject",
    where: Condition | Mapping[str, Value] | None = None,
    known_until: datetime | str | None = None,
) -> EventSpine:
    """A row for each end of a month, midnight UTC after its last day, from an entity's first event of a type to what the lake knows.

    Args:
        event_type: Whose first event begins an entity's months.
        by: The column that names the entity.
        where: What an event must satisfy.
        known_until: As for ``on``; no row lies after it.
    """
    return EventSpine(event_type, by, where_of(where), (), monthly=True, known_until=known_until)
