"""A snapshot: a read-only view of one checkpoint."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any, TypeVar

import polars as pl

from eventlake.core import counts
from eventlake.core.attributes import ATTRIBUTES, EVENT_COLUMNS
from eventlake.core.card import Card, counted
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.errors import CorruptionError, InvalidInputError, NotFoundError, StorageError
from eventlake.history import polars_scan
from eventlake.history.pinned import PinnedHistory
from eventlake.history.polars_scan import AS_RECORDED, LATEST
from eventlake.history.resolve import at_checkpoint, checked_instant
from eventlake.history.sql.result import SqlResult
from eventlake.history.sql.result import query as run_query
from eventlake.log.chain.open_chain import open_chain
from eventlake.tables.columns import NAMED, shown_columns
from eventlake.tables.files import EventTable
from eventlake.verbs import verbs
from eventlake.visible import one_line, warn

T = TypeVar("T")


@verbs
class Snapshot:
    """The events ``[0, watermark)`` of a lake. It never changes, whatever is appended later."""

    def __init__(self, history: PinnedHistory) -> None:
        self.history = history

    def read(self, read: Callable[[PinnedHistory], T]) -> T:
        """What ``read`` makes of the history; called again if files that it reads were collected meanwhile.

        Segments that were compacted after this snapshot was taken may have been collected since:
        then others hold the same events.
        """
        try:
            return self.history.retried(lambda: read(self.history))
        except CorruptionError:
            again = at_checkpoint(
                open_chain(self.history.storage, self.history.trust), self.checkpoint
            )
            if again.stretches == self.history.stretches:
                raise
            # The schemas stay those that this snapshot was taken with.
            self.history = replace(
                again, catalogue=self.history.catalogue, fresh=self.history.fresh
            )
            return self.history.retried(lambda: read(self.history))

    @property
    def watermark(self) -> int:
        """Number of events; exclusive bound of their sequences."""
        return self.history.watermark

    @property
    def root(self) -> str:
        """RFC 6962 Merkle tree hash over the events, hex."""
        return self.checkpoint.root

    @property
    def checkpoint(self) -> Checkpoint:
        """The identity of this history."""
        return self.history.checkpoint

    @property
    def commit_hash(self) -> str | None:
        """Hash of the newest commit with an event in it, None in an empty history."""
        return self.history.commit_hash

    def scan(
        self,
        columns: Sequence[str] | None = None,
        types: str | Sequence[str] | None = None,
        subject: str | None = None,
        *,
        raw: bool = False,
    ) -> pl.LazyFrame:
        """The events in sequence order, lazily.

        Segments are hashed here if they were written since they were last hashed; what happens to a
        file until the frame is collected is noticed by nobody. If one of them was garbage and is
        collected meanwhile, Polars does not find it: take a new frame, or hand the frame to
        ``collect``, which says so.

        Args:
            columns: Which of ``sequence, id, source, type, subject, time, recorded_at,
                datacontenttype, dataschema, correlation_id, causation_id, corrects, correction,
                traceparent, extensions, data``; None for all, in that order.
            types: Only events of this type or these types. One that neither an event nor a schema
                has gives no rows and a warning.
            subject: Only events about exactly this subject.
            raw: Leave ``time`` null where its producer gave none, so that the rows can be appended
                elsewhere as the very same history.

        Returns:
            ``sequence`` Int64, ``time`` and ``recorded_at`` Datetime[us, UTC], the rest String.
            ``time`` is the event's own, or (unless ``raw``) its ``recorded_at`` where it has none;
            ``data`` is the payload's JSON text as given, null where there is none.

        Raises:
            InvalidInputError: An unknown column.
        """
        wanted = [types] if isinstance(types, str) else None if types is None else list(types)
        for event_type in wanted or ():
            if (
                isinstance(event_type, str)
                and (unknown := self.history.unknown_type(event_type)) is not None
            ):
                event_type.encode()
                warn(" (".join(unknown).rstrip(".") + ")")
        where = [] if wanted is None else [pl.col("type").is_in(wanted)]
        if subject is not None:
            subject.encode()  # Polars would find nothing where text cannot be stored
            where.append(pl.col("subject") == subject)
        frame = self._events(raw=raw, where=where)
        return frame if columns is None else frame.select(_known(columns, EVENT_COLUMNS))

    def table(
        self,
        event_type: str,
        columns: Sequence[str] | None = None,
        *,
        subject: str | None = None,
        recursive: bool = False,
        where: pl.Expr | None = None,
        corrections: str = AS_RECORDED,
        known_at: datetime | str | None = None,
        version: int | None = None,
    ) -> pl.LazyFrame:
        """The events of one type as typed columns, lazily, in no order that means anything: sort by ``sequence``.

        What is missing of the table is derived first, stored beside the lake, and shared from then
        on.

        Args:
            event_type: A registered one.
            columns: Which columns; None for ``sequence, id, source, subject, time, recorded_at``
                and the fields of the schema. The other attributes of an event are columns if they
                are named: ``correlation_id``, ``causation_id``, ``datacontenttype``,
                ``dataschema``, ``traceparent``, ``extensions``, ``corrects``, ``correction``. A
                field with the name of one of the first six, or of ``corrects`` or ``correction``,
                is called ``data_<name>``; one with another attribute's name takes its place.
            subject: Only events about exactly this subject.
            recursive: And about those below it: ``/loan/7`` has ``/loan/7/payment/1`` below.
            where: A condition on the columns.
            corrections: ``as_recorded`` for every event; ``latest`` without those that were
                replaced or retracted, as of the watermark.
            known_at: Only what was recorded before this instant, corrections as known then.
            version: Of the schema; None for the newest.

        Returns:
            ``sequence`` Int64; ``time`` (the ``recorded_at`` of an event without one) and
            ``recorded_at`` Datetime[us, UTC]; ``id``, ``source``, ``subject`` String; the fields in
            the types of the schema. What is absent or null in the payload is null.

        Raises:
            NotFoundError: The type has no schema, or no such version.
            InvalidInputError: An unknown column, another word for ``corrections``, or an instant
                without a zone.
            CorruptionError: A segment is damaged.
        """
        if corrections not in {AS_RECORDED, LATEST}:
            message = f"expected corrections={AS_RECORDED!r} or {LATEST!r}, found {corrections!r}"
            raise InvalidInputError(message)
        before = None if known_at is None else checked_instant(known_at, "known_at")
        source = self.read(lambda history: history.table(event_type, version, before))
        frame = self._typed(source, corrections)
        if subject is not None:
            frame = frame.filter(_about(subject, recursive=recursive))
        schema = source.version.schema
        there = shown_columns(schema, NAMED)
        frame = frame.select(there)
        if where is not None:
            frame = frame.filter(_condition(where, there))
        return frame.select(shown_columns(schema) if columns is None else _known(columns, there))

    def lifetimes(self, event_type: str) -> pl.DataFrame:
        """How long the events of a type spoke that were corrected, or correct others; in SQL the table is in the schema ``lifetimes``.

        An event spoke from its ``recorded_at`` until another one of its family (what was corrected,
        and all that corrects it) was recorded.

        Args:
            event_type: A registered one.

        Returns:
            ``source``, ``id`` String; ``eventlake until`` Datetime[us, UTC], when the next one was
            recorded, null where it speaks to this day; ``eventlake spoke`` Boolean, false for
            retractions, which say nothing. Events without corrections are not among them.

        Raises:
            NotFoundError: The type has no schema.
            CorruptionError: A segment is damaged.
        """
        return self.read(lambda history: polars_scan.lifetimes(history.table(event_type)))

    def _events(self, *, raw: bool, where: Sequence[pl.Expr] = ()) -> pl.LazyFrame:
        """The events that ``scan`` is asked for."""
        return self.read(lambda history: polars_scan.scan(history, raw=raw, where=where))

    def _typed(self, source: EventTable, corrections: str) -> pl.LazyFrame:
        """All rows of an event table, likewise."""
        return polars_scan.table(source, corrections)

    def collect(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """Collects a frame made of ``scan`` or ``table``; if that fails, says whether files are to blame that are damaged or gone.

        Raises:
            CorruptionError: A segment of the history is missing or damaged.
            StorageError: A file that the frame reads was garbage and has been collected.
        """
        try:
            return frame.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            gone = self.history.gone() or isinstance(error, FileNotFoundError)
            self.read(PinnedHistory.check)
            if not gone:
                raise
            message = f"a file that this frame reads is not needed any more and was collected: {str(error).partition(chr(10))[0]}"
            raise StorageError(
                message, "take the frame from the snapshot again, and collect it."
            ) from error

    def collected(self, make: Callable[["Snapshot"], pl.LazyFrame]) -> pl.DataFrame:
        """Collects the frame that ``make`` makes of this snapshot; makes it anew if files that it reads were collected meanwhile.

        Raises:
            CorruptionError: A segment of the history is missing or damaged.
        """
        try:
            return self.read(lambda _: make(self).collect())
        except (pl.exceptions.PolarsError, OSError):
            self.history.check()
            raise

    def sql(self, query: str, /, **parameters: Any) -> SqlResult:
        """Runs one DuckDB query in which ``events`` is this history.

        So are event types by their names, in double quotes; ``latest."payment.received"`` is
        without what was replaced or retracted, and ``lifetimes."payment.received"`` is what
        ``lifetimes`` gives.

        Args:
            query: One SELECT; ``$name`` stands for a parameter.
            parameters: Values of the query's parameters; a frame (anything with
                ``__arrow_c_stream__``) is a table of this name.

        Returns:
            The rows; hand it to anything that speaks Arrow, or call ``.polars()``, ``.pandas()``,
            ``.arrow()``.

        Raises:
            InvalidInputError: DuckDB refuses the query, or a frame has the name of a table of the
                history.
        """
        return self.read(lambda history: run_query(history, query, parameters))

    def event(self, sequence: int) -> dict[str, str | int | None]:
        """One event as its producer said it, for a proof: all attributes, null where unsaid, ``time`` in microseconds.

        Raises:
            NotFoundError: The history has no such sequence.
            CorruptionError: Its segment is damaged.
        """
        sequence = counts.integer(sequence, "sequence")
        if not 0 <= sequence < self.watermark:
            message = f"expected a sequence from 0 to {self.watermark - 1:,}, found {sequence:,}"
            raise NotFoundError(message, sequence=sequence)
        row = self.read(lambda history: history.row(sequence))
        said = {name: row.column(name)[0] for name in row.column_names if name in ATTRIBUTES}
        return {
            name: said[name].value if name == "time" else said[name].as_py() for name in said
        } | {name: None for name in ATTRIBUTES if name not in said}

    def types(self) -> dict[str, int]:
        """Event types and how many events of each, most frequent first. Answered without reading events where no segment is cut."""
        self.read(PinnedHistory.check_claims)
        counts: dict[str, int] = {}
        cut = False
        for stretch in self.history.stretches:
            cut |= stretch.stop < stretch.segment.stop
            for name, count in stretch.segment.types:
                counts[name] = counts.get(name, 0) + count
        if cut:
            rows = self.collected(
                lambda snapshot: snapshot.scan(columns=["type"]).group_by("type").len()
            ).rows()
            counts = dict(rows)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def card(self) -> Card:
        """What to show."""
        facts = (
            ("watermark", counted(self.watermark, "event")),
            ("checkpoint", str(self.checkpoint)),
            ("commit_hash", self.commit_hash or "none: the history is empty"),
        )
        rows = tuple((name, f"{count:,}") for name, count in self.types().items())
        return Card(f"snapshot of {self.checkpoint.origin}", facts, ("event type", "events"), rows)

    def __repr__(self) -> str:
        """``Snapshot(origin watermark@root)``."""
        return f"Snapshot({one_line(str(self.checkpoint))})"


def _about(subject: str, *, recursive: bool) -> pl.Expr:
    """The condition on ``subject``; as bounds, which readers of sorted files can use."""
    exact = pl.col("subject") == subject
    below = subject.rstrip("/") + "/"
    return (
        exact
        | ((pl.col("subject") >= below) & (pl.col("subject") < below[:-1] + chr(ord("/") + 1)))
        if recursive
        else exact
    )


def _condition(where: Any, among: Sequence[str]) -> pl.Expr:
    if not isinstance(where, pl.Expr):
        message = f"expected where as a Polars expression, found {where!r}"
        raise InvalidInputError(
            message, "write where=pl.col('amount') > 100; el.field is for features and spines."
        )
    _known([name for name in where.meta.root_names() if not name.startswith("^")], among)
    return where


def _known(columns: Sequence[str], among: Sequence[str]) -> list[str]:
    if isinstance(columns, str):
        message = f"expected a list of columns, found {columns!r}"
        raise InvalidInputError(message, f"write [{columns!r}].")
    unknown = [name for name in columns if name not in among]
    if unknown:
        near = get_close_matches(str(unknown[0]), among, 1)
        message = f"unknown columns {unknown}"
        raise InvalidInputError(
            message,
            (f"did you mean {near[0]!r}? " if near else "")
            + f"the columns are {', '.join(among)}.",
        )
    return list(columns)
