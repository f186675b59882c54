"""A snapshot: a read-only view of one checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

from eventlake.core import counts
from eventlake.core.attributes import ATTRIBUTES, EVENT_COLUMNS
from eventlake.core.card import Card, Shown, counted
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.names import AS_RECORDED, LATEST
from eventlake.errors import CorruptionError, InvalidInputError, NotFoundError, StorageError
from eventlake.history.pinned import PinnedHistory
from eventlake.history.resolve import at_checkpoint, checked_instant
from eventlake.log.chain.open_or_create import open_chain
from eventlake.public_calls import verbs
from eventlake.tables.columns import NAMED, shown_columns
from eventlake.tables.event_table import EventTable
from eventlake.visible import one_line, warn

if TYPE_CHECKING:
    import polars as pl

    from eventlake.history.sql.result import SqlResult

T = TypeVar("T")


@verbs
class Snapshot(Shown):
    """The events ``[0, watermark)`` of a lake. It never changes, whatever is appended later."""

    def __init__(self, history: PinnedHistory) -> None:
        self.history = history

    def read(self, read: Callable[[PinnedHistory], T]) -> T:
        """Call ``read`` on the history; call it again if files that it reads were collected.

        Segments that were compacted since this snapshot was taken may be collected. Then others
        hold the same events.
        """
        try:
            return self.history.retry(lambda: read(self.history))
        except CorruptionError:
            # The same checkpoint has the same events, whichever segments hold them now.
            again = at_checkpoint(
                open_chain(self.history.storage, self.history.trust), self.checkpoint
            )
            # Nothing was compacted, so the damage is real.
            if again.stretches == self.history.stretches:
                raise
            # The schemas remain those that this snapshot was taken with.
            self.history = replace(
                again, catalogue=self.history.catalogue, ignore_stored=self.history.ignore_stored
            )
            return self.history.retry(lambda: read(self.history))

    @property
    def watermark(self) -> int:
        """The number of events; exclusive bound of their sequences."""
        return self.history.watermark

    @property
    def root(self) -> str:
        """RFC 6962 Merkle tree hash of the events, in hex."""
        return self.checkpoint.root

    @property
    def checkpoint(self) -> Checkpoint:
        """The identity of this history."""
        return self.history.checkpoint

    @property
    def commit_hash(self) -> str | None:
        """Hash of the newest commit with an event in it; None in an empty history."""
        return self.history.commit_hash

    def scan(
        self,
        columns: Sequence[str] | None = None,
        types: str | Sequence[str] | None = None,
        subject: str | None = None,
        *,
        raw: bool = False,
    ) -> pl.LazyFrame:
        """The events in sequence order, as a lazy frame.

        Segments that were written since they were last hashed are hashed now. A file that changes
        between this call and ``collect`` is not noticed. If a compacted segment is collected in
        between, Polars does not find it: take a new frame, or pass the frame to ``collect``, which
        reports it.

        Args:
            columns: Any of ``sequence, id, source, type, subject, time, recorded_at,
                datacontenttype, dataschema, correlation_id, causation_id, corrects, correction,
                traceparent, extensions, data``; None for all, in that order.
            types: Only events of this type or these types. A type without events and without a
                schema gives no rows and a warning.
            subject: Only events about exactly this subject.
            raw: Leave ``time`` null if its producer gave none, so that the rows can be appended
                elsewhere as the same history.

        Returns:
            ``sequence`` Int64, ``time`` and ``recorded_at`` Datetime[us, UTC], the rest String.
            ``time`` is the event's own, or (unless ``raw``) its ``recorded_at`` if it has none;
            ``data`` is the payload's JSON text as given, null if there is none.

        Raises:
            InvalidInputError: A column is unknown.
        """
        import polars as pl

        if isinstance(types, str):
            types = [types]
        wanted = None if types is None else list(types)
        for event_type in wanted or ():
            if (
                isinstance(event_type, str)
                and (unknown := self.history.unknown_type(event_type)) is not None
            ):
                # Text that cannot be stored is an error, not a warning about an unknown type.
                event_type.encode()
                warn(" (".join(unknown).rstrip(".") + ")")
        where = [] if wanted is None else [pl.col("type").is_in(wanted)]
        if subject is not None:
            subject.encode()  # text that cannot be stored is an error, not an empty result
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
        """The events of one type as typed columns, as a lazy frame.

        The order of the rows is undefined: sort by ``sequence``. Columns that are not stored yet
        are derived first, stored with the lake, and reused from then on.

        Args:
            event_type: A registered type.
            columns: The columns; None for ``sequence, id, source, subject, time, recorded_at`` and
                the fields of the schema. The other attributes of an event are columns if they are
                named: ``correlation_id``, ``causation_id``, ``datacontenttype``, ``dataschema``,
                ``traceparent``, ``extensions``, ``corrects``, ``correction``. A field with the name
                of one of the first six, or of ``corrects`` or ``correction``, is called
                ``data_<name>``; a field with another attribute's name replaces it.
            subject: Only events about exactly this subject.
            recursive: Include subjects below it: ``/loan/7/payment/1`` is below ``/loan/7``.
            where: A condition on the columns.
            corrections: ``as_recorded`` for every event; ``latest`` without events that were
                replaced or retracted, as of the watermark.
            known_at: Only events recorded before this instant, with corrections as known then.
            version: The version of the schema; defaults to the newest.

        Returns:
            ``sequence`` Int64; ``time`` (``recorded_at`` for an event without one) and
            ``recorded_at`` Datetime[us, UTC]; ``id``, ``source``, ``subject`` String; the fields in
            the types of the schema. A field that is absent or null in the payload is null.

        Raises:
            NotFoundError: The type has no schema, or no such version.
            InvalidInputError: A column is unknown, ``corrections`` is another word, or the instant
                has no zone.
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
        """The lifetimes of events that were corrected or correct others.

        An event is valid from its ``recorded_at`` until another event of its family (the corrected
        event and all its corrections) is recorded. In SQL, the table is in the schema
        ``lifetimes``.

        Args:
            event_type: A registered type.

        Returns:
            ``source``, ``id`` String; ``eventlake until`` Datetime[us, UTC], when the next event of
            the family was recorded, null for the newest; ``eventlake spoke`` Boolean, false for
            retractions, which have no content. Events without corrections are not included.

        Raises:
            NotFoundError: The type has no schema.
            CorruptionError: A segment is damaged.
        """
        from eventlake.history import polars_scan

        return self.read(lambda history: polars_scan.lifetimes(history.table(event_type)))

    def _events(self, *, raw: bool, where: Sequence[pl.Expr] = ()) -> pl.LazyFrame:
        """The events for ``scan``; a subclass may replace them."""
        from eventlake.history import polars_scan

        return self.read(lambda history: polars_scan.scan(history, raw=raw, where=where))

    def _typed(self, source: EventTable, corrections: str) -> pl.LazyFrame:
        """All rows of an event table; a subclass may replace them."""
        from eventlake.history import polars_scan

        return polars_scan.table(source, corrections)

    def collect(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """Collect a frame made by ``scan`` or ``table``; report missing and damaged files by name.

        Raises:
            CorruptionError: A segment of the history is missing or damaged.
            StorageError: A file that the frame reads was collected as garbage.
        """
        import polars as pl

        try:
            return frame.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            # Asked first: ``read`` may pin the history again, which forgets the files that were
            # opened.
            is_missing = self.history.missing_files() or isinstance(error, FileNotFoundError)
            self.read(PinnedHistory.check)
            if not is_missing:
                raise
            # Polars appends the whole query plan after the first line.
            problem = str(error).partition(chr(10))[0]
            message = f"a file that this frame reads was collected as garbage: {problem}"
            raise StorageError(
                message, "take the frame from the snapshot again, and collect it."
            ) from error

    def collected(self, make: Callable[[Snapshot], pl.LazyFrame]) -> pl.DataFrame:
        """Collect the frame that ``make`` returns; make it again if its files were collected.

        Raises:
            CorruptionError: A segment of the history is missing or damaged.
        """
        import polars as pl

        try:
            # The frame is made inside: it must read the history as it is pinned now.
            return self.read(lambda _: make(self).collect())
        except (pl.exceptions.PolarsError, OSError):
            self.history.check()
            raise

    def sql(self, query: str, /, **parameters: Any) -> SqlResult:
        """Run one DuckDB query in which ``events`` is this history.

        Event types are tables by their names, in double quotes. ``latest."payment.received"`` is
        the type without replaced or retracted events, and ``lifetimes."payment.received"`` is the
        result of ``lifetimes``.

        Args:
            query: One SELECT; ``$name`` is a parameter.
            parameters: Values of the query's parameters. A frame (any object with
                ``__arrow_c_stream__``) is a table of this name.

        Returns:
            The rows; pass them to any library that reads Arrow, or call ``.polars()``,
            ``.pandas()`` or ``.arrow()``.

        Raises:
            InvalidInputError: DuckDB rejects the query, or a frame has the name of a table of the
                history.
        """
        from eventlake.history.sql.result import query as run_query

        return self.read(lambda history: run_query(history, query, parameters))

    def event(self, sequence: int) -> dict[str, str | int | None]:
        """One event as its producer gave it, for a proof.

        All attributes, null if they were not given; ``time`` in microseconds.

        Raises:
            NotFoundError: The history has no such sequence.
            CorruptionError: Its segment is damaged.
        """
        sequence = counts.integer(sequence, "sequence")
        if not 0 <= sequence < self.watermark:
            message = f"expected a sequence from 0 to {self.watermark - 1:,}, found {sequence:,}"
            raise NotFoundError(message, sequence=sequence)
        row = self.read(lambda history: history.row(sequence))
        given = {name: row.column(name)[0] for name in row.column_names if name in ATTRIBUTES}
        return {
            name: given[name].value if name == "time" else given[name].as_py() for name in given
        } | {name: None for name in ATTRIBUTES if name not in given}

    def types(self) -> dict[str, int]:
        """The number of events of each type, most frequent first.

        No event is read, unless the watermark cuts a segment.
        """
        self.read(PinnedHistory.check_claims)
        counts: dict[str, int] = {}
        cut = False
        for stretch in self.history.stretches:
            cut |= stretch.stop < stretch.segment.stop
            for name, count in stretch.segment.types:
                counts[name] = counts.get(name, 0) + count
        # Commits count the types of whole segments, not of a part.
        if cut:
            rows = self.collected(
                lambda snapshot: snapshot.scan(columns=["type"]).group_by("type").len()
            ).rows()
            counts = dict(rows)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def card(self) -> Card:
        """A summary to display."""
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
    """The condition on ``subject``, as bounds that readers of sorted files can use."""
    import polars as pl

    exact = pl.col("subject") == subject
    below = subject.rstrip("/") + "/"
    return (
        exact
        # "0" follows "/", so this half-open range is exactly the subjects that begin with
        # ``below``.
        | ((pl.col("subject") >= below) & (pl.col("subject") < below[:-1] + chr(ord("/") + 1)))
        if recursive
        else exact
    )


def _condition(where: Any, among: Sequence[str]) -> pl.Expr:
    import polars as pl

    if not isinstance(where, pl.Expr):
        message = f"expected where as a Polars expression, found {where!r}"
        raise InvalidInputError(
            message, "write where=pl.col('amount') > 100; el.field is for features and spines."
        )
    # Polars expands names that begin with ``^`` as regular expressions over the frame's columns.
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
