"""Spines made of events: one row per event or per month of an entity's life, with labels.

    el.spine.on("loan.granted").label("missed", el.exists("payment.missed"), horizon="90d")

A spine is declared here; ``spine_rows`` and ``labels`` make its rows when a dataset is built.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.core.documents.stored import converted, damaged
from eventlake.core.instants import parse_instant
from eventlake.core.sql import folded
from eventlake.errors import InvalidInputError
from eventlake.features.declared import features_json
from eventlake.features.declared.conditions import Condition, Value, where_of
from eventlake.features.declared.declared_set import KNOWN
from eventlake.features.declared.declared_spine import CUTOFF, DeclaredSpine
from eventlake.features.spines.spine_file import declared_types, read_spine
from eventlake.features.spines.spine_rows import rows_of
from eventlake.history.pinned import PinnedHistory
from eventlake.public_calls import declaration, verb, verbs
from eventlake.suggestions.suggest import no_name


@verbs
@dataclass(frozen=True, slots=True)
class EventSpine(DeclaredSpine):
    """A spine that is made when a dataset is built. Made by ``on`` and ``month_ends``.

    Attributes:
        event_type: Type of the events that make the rows.
        by: Column that names the entity, in every event type that is read.
        where: Condition on the events.
        carry: Fields of the event that become columns.
        monthly: One row per end of a month after an entity's first event, instead of one per event.
        labels: Name, feature and horizon (microseconds) of each label.
        known_until: Instant up to which labels are known; defaults to what events show.
        known: ``cutoff`` for events as they were first recorded, ``watermark`` for their latest
            corrections, which is hindsight. Defaults to the feature set's, otherwise ``cutoff``.
        depth: Number of parts of a subject that name the entity; None for the whole subject.
    """

    def rows(self, history: PinnedHistory, known: str = "cutoff") -> pl.DataFrame:
        """The rows over a history: the entity, ``cutoff``, carried fields and labels.

        Args:
            history: The history to read.
            known: ``cutoff`` or ``watermark``, if the spine does not have it.

        Raises:
            NotFoundError: An event type has no schema.
            InvalidInputError: A field is missing, or a label is invalid.
        """
        return rows_of(self.under(known), history)[0]


def spine_of(document: Any) -> EventSpine:
    """The inverse of ``EventSpine.document``.

    Raises:
        CorruptionError: The document is not what was written.
    """
    where = "what the provenance says of the spine"
    found = converted(document, where, features_json.SpineDocument, "spine")
    try:
        if found.known_until is not None:
            # Only checked: the text is kept as it was written.
            parse_instant(found.known_until)
        labels = tuple((one.name, features_json.label(one), one.horizon) for one in found.labels)
        condition = None if found.where is None else features_json.condition(found.where)
    except ValueError as error:
        raise damaged(
            where, "spine", error.message if isinstance(error, InvalidInputError) else str(error)
        ) from None
    return EventSpine(
        found.event_type,
        found.by,
        condition,
        found.carry,
        found.monthly,
        labels,
        found.known_until,
        found.known,
        found.depth,
    )


@verb
def read(path: str | os.PathLike[str], *, columns: Mapping[str, str] | None = None) -> pa.Table:
    """The rows of a CSV or Parquet file, as a spine.

    Args:
        path: Path of one file; no character is a pattern.
        columns: Types of CSV columns: ``bool``, ``int64``, ``float64``, ``date``, ``timestamp``
            (RFC 3339 with a zone), ``decimal(p, s)``. Other columns are text. An empty value is
            null.

    Raises:
        InvalidProjectionError: The file cannot be read, or a value does not have its declared type;
            names each row.
    """
    return read_spine(Path(path).expanduser(), declared_types(columns or {}), {})


@declaration
def on(
    event_type: str,
    *,
    by: str = "subject",
    where: Condition | Mapping[str, Value] | None = None,
    carry: Sequence[str] = (),
    known_until: datetime | str | None = None,
    known: str | None = None,
    depth: int | None = None,
) -> EventSpine:
    """One row per event of a type: its entity, and its ``time`` as the cutoff.

    The event itself is not before the cutoff. With ``known="cutoff"`` a row is what was recorded of
    its event when it became known: at its time, or at its recording if that was later. Corrections
    and retractions that were recorded afterwards change no row, and ``where`` does not see them.
    With ``known="watermark"`` rows are the events that are valid at the watermark, with their
    latest corrections.

    Args:
        event_type: Type of the events.
        by: Column that names the entity.
        where: Condition on the events, as for features.
        carry: Fields of the event that become columns.
        known_until: Instant up to which labels are known, a datetime with a zone or RFC 3339.
            Defaults to the latest event of a source that reports events of the label's type.
        known: ``cutoff`` or ``watermark``. Defaults to the feature set's, otherwise ``cutoff``.
        depth: Number of parts of the subject that name the entity, as in a feature set: with 2,
            ``/loan/7/payment/3`` is an event of ``/loan/7``.

    Raises:
        InvalidInputError: An argument is invalid.
    """
    carried = _carried(carry)
    return _checked(
        EventSpine(
            event_type,
            by,
            where_of(where),
            carried,
            monthly=False,
            known_until=known_until,
            known=known,
            depth=depth,
        )
    )


@declaration
def month_ends(
    event_type: str,
    *,
    by: str = "subject",
    where: Condition | Mapping[str, Value] | None = None,
    known_until: datetime | str | None = None,
    known: str | None = None,
    depth: int | None = None,
) -> EventSpine:
    """One row per end of a month in an entity's life.

    The cutoff is midnight UTC after the last day of the month. Months begin with the entity's first
    event of the type, and end with the last month up to which events are known. With
    ``known="cutoff"`` a month's end is a row if an event of the entity had happened, was recorded
    and was valid before it.

    Args:
        event_type: Type of the event that begins an entity's months.
        by: Column that names the entity.
        where: Condition on the events.
        known_until: As for ``on``; no row lies after it.
        known: As for ``on``.
        depth: As for ``on``.

    Raises:
        InvalidInputError: An argument is invalid.
    """
    return _checked(
        EventSpine(
            event_type,
            by,
            where_of(where),
            (),
            monthly=True,
            known_until=known_until,
            known=known,
            depth=depth,
        )
    )


def _carried(carry: Any) -> tuple[str, ...]:
    if isinstance(carry, str) or not all(isinstance(name, str) for name in carry):
        message = f"expected carry as a list of fields, found {carry!r}"
        raise InvalidInputError(message, f"carry=[{carry!r}]." if isinstance(carry, str) else None)
    return tuple(carry)


def _checked(spine: EventSpine) -> EventSpine:
    if not isinstance(spine.event_type, str) or not spine.event_type:
        message = f"expected the type of the events as text, found {spine.event_type!r}"
        raise InvalidInputError(message)
    if not isinstance(spine.by, str) or not spine.by:
        message = (
            f"spine of {spine.event_type}: expected by as the name of a field or of the event's "
            f"subject, found {spine.by!r}"
        )
        raise InvalidInputError(message)
    if spine.known not in {None, *KNOWN}:
        message = (
            f"spine of {spine.event_type}: expected known as one of {', '.join(map(repr, KNOWN))}, "
            f"found {spine.known!r}"
        )
        raise InvalidInputError(message)
    columns = [spine.by, CUTOFF, *spine.carry]
    if len({folded(name) for name in columns}) != len(columns):
        message = (
            f"the columns of the spine would be {', '.join(columns)}, one of them twice; SQL does "
            "not tell A from a"
        )
        raise InvalidInputError(message, "carry other fields, or build the spine by hand.")
    return spine


def __getattr__(name: str) -> object:
    raise AttributeError(
        no_name("eventlake.features.spines.spine", name, ("on", "month_ends", "read")), name=name
    )
