"""The files of event tables: made if they are missing or a stranger's, merged if they are small, checked when they were written since."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from eventlake.columns.parquet import segments
from eventlake.columns.parquet.footers import PARQUET_ENDING
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import CorruptionError, StorageError
from eventlake.log.chain.checked_read import bytes_statement
from eventlake.log.chain.manifest import Manifest, SegmentInCommit
from eventlake.progress import task
from eventlake.schemas.version import Version
from eventlake.storage import (
    ObjectMissingError,
    State,
    Storage,
    is_named_by,
    read_named,
    size_of,
    state_of,
)
from eventlake.tables.columns import stored_schema
from eventlake.tables.derive import derive, joined, read_events
from eventlake.tables.derived import places, put
from eventlake.tables.ranges import (
    MERGED_ROWS,
    TableRange,
    commit_at,
    cover,
    folder,
    to_merge,
    true_ranges,
)
from eventlake.trust import Trust, statement

_LOG = logging.getLogger(__name__)
_TRIES = 5


@dataclass(frozen=True, slots=True)
class TableFile:
    """A part of an event table.

    Attributes:
        stop: Events from this sequence on do not belong to the history; None where all do.
        location: A path that an engine can open; None where there is ``rows``.
        rows: The rows themselves, in stored columns; None where there is ``location``.
    """

    stop: int | None
    location: str | None
    rows: pa.Table | None


@dataclass(frozen=True, slots=True)
class EventTable:
    """One event type under one schema, up to a watermark, as it can be had now."""

    version: Version
    parts: tuple[TableFile, ...]


def event_tables(
    storage: Storage,
    manifest: Manifest,
    versions: Sequence[Version],
    watermark: int,
    trust: Trust,
    *,
    fresh: bool = False,
) -> list[EventTable]:
    """The tables of event types, in the order asked for; what is missing of them is derived and stored, each segment being read once.

    Args:
        storage: Where the lake is.
        manifest: Reaches at least to ``watermark``; what it says of segments is so.
        versions: The schemas to read with, of types that differ.
        watermark: Exclusive.
        trust: What is believed of the lake.
        fresh: Look at no stored table and store none.

    Raises:
        CorruptionError: A segment is damaged.
    """
    if fresh:
        return [_fresh_table(storage, manifest, version, watermark, trust) for version in versions]
    tables = [_StoredTable(storage, manifest, version, watermark, trust) for version in versions]
    for _ in range(_TRIES):
        # A file that is taken away between choice and use is derived once more, but not for ever.
        if not _complete(storage, tables, trust):
            continue
        with suppress(CorruptionError, ObjectMissingError):
            return [EventTable(table.version, tuple(table.parts())) for table in tables]
    return [_fresh_table(storage, manifest, version, watermark, trust) for version in versions]


def _complete(storage: Storage, tables: Sequence["_StoredTable"], trust: Trust) -> bool:
    """Derives and stores what is missing of some tables; whether nothing is missing any more."""
    missing = [(one, table) for table in tables for one in table.missing()]
    if missing:
        missing.sort(key=lambda pair: pair[0].placed[1].start)
        with task(
            "deriving event tables", sum(one.stop - one.start for one, _ in missing)
        ) as advance:
            for _, alike in groupby(missing, key=lambda pair: pair[0].placed[1].start):
                pairs = list(alike)
                events = read_events(storage, pairs[0][0].placed, trust)
                for one, table in pairs:
                    table.add(one, derive(events, one.placed, table.version, one.start, one.stop))
                    advance(one.stop - one.start)
                _make_room(tables)
        for table in tables:
            table.store()
    return not any(table.missing() for table in tables)


def _make_room(tables: Sequence["_StoredTable"]) -> None:
    """Stores the largest tables until what is held in memory is bounded."""
    while sum(table.rows for table in tables) >= MERGED_ROWS:
        max(tables, key=lambda table: table.rows).store()


def _wanted(manifest: Manifest, event_type: str, watermark: int) -> list["_Stretch"]:
    """The segments with events of the type, and which stretch of each belongs to the history."""
    placed = manifest.between(0, watermark)
    return [
        _Stretch(one, one[1].start, min(one[1].stop, watermark))
        for one in placed
        if event_type in dict(one[1].types)
    ]


def _fresh_table(
    storage: Storage, manifest: Manifest, version: Version, watermark: int, trust: Trust
) -> EventTable:
    wanted = _wanted(manifest, version.schema.event_type, watermark)
    tables = [
        derive(read_events(storage, one.placed, trust), one.placed, version, one.start, one.stop)
        for one in wanted
    ]
    return EventTable(
        version,
        (TableFile(None, None, joined([stored_schema(version.schema).empty_table(), *tables])),),
    )


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Events ``[start, stop)`` of a segment."""

    placed: SegmentInCommit
    start: int
    stop: int


class _StoredTable:
    """One event table while it is brought up to a watermark.

    Attributes:
        version: The schema to read with.
        rows: How many rows are in memory, not stored yet.
    """

    def __init__(
        self, storage: Storage, manifest: Manifest, version: Version, watermark: int, trust: Trust
    ) -> None:
        self.version = version
        self.rows = 0
        self._storage = storage
        self._manifest = manifest
        self._watermark = watermark
        self._trust = trust
        self._wanted = _wanted(manifest, version.schema.event_type, watermark)
        self._places = {
            one: place for place in reversed(places(storage)) for one in _ranges(place, version)
        }
        self._chosen: list[TableRange] = []
        self._open: list[tuple[_Stretch, pa.Table]] = []
        self._kept: dict[TableRange, pa.Table] = {}

    def missing(self) -> list[_Stretch]:
        """What no sound file holds, in order."""
        stretches = [(one.start, one.stop) for one in self._wanted]
        while True:
            self._chosen, missing = cover(
                true_ranges([*self._places, *self._kept], self._manifest), stretches
            )
            unsound = [
                one for one in self._chosen if one not in self._kept and not self._is_sound(one)
            ]
            if not unsound:
                break
            for one in unsound:
                del self._places[one]
        holders = [
            next(one for one in self._wanted if one.start <= start < one.stop)
            for start, _ in missing
        ]
        return [
            _Stretch(holder.placed, start, stop)
            for holder, (start, stop) in zip(holders, missing, strict=True)
        ]

    def add(self, stretch: _Stretch, table: pa.Table) -> None:
        """Takes derived rows; what was taken before is stored where a file stands between, or where it is much."""
        if self._open and any(
            self._open[-1][0].stop <= one.start < stretch.start for one in self._chosen
        ):
            self.store()
        self._open.append((stretch, table))
        self.rows += table.num_rows
        if self.rows >= MERGED_ROWS // 2:
            self.store()

    def store(self) -> None:
        """Stores what was taken as one range, together with the small ranges just before it."""
        if not self._open:
            return
        start, stop = self._open[0][0].start, self._open[-1][0].stop
        merged = self._read_again(
            [one for one in to_merge(self._chosen, start, self.rows) if one not in self._kept]
        )
        rows = joined([*merged.values(), *(table for _, table in self._open)])
        data = segments.encode_sorted(rows)
        first = min((one.start for one in merged), default=start)
        made = TableRange(
            first, stop, rows.num_rows, commit_at(self._manifest, stop), sha256_hex(data)
        )
        place = put(self._storage, self._path(made), data)
        if place is None:
            self._kept[made] = rows
        else:
            self._places[made] = place
            if not self._trust.believes:
                self._trust.ledger.note([self._statement(made)])
            self._note_bytes(made, state_of(place, self._path(made)))
        self._chosen = sorted([*(one for one in self._chosen if one not in merged), made])
        self._open, self.rows = [], 0

    def _read_again(self, small: Sequence[TableRange]) -> dict[TableRange, pa.Table]:
        """The rows of neighbouring ranges, without those before one that was taken away meanwhile."""
        found: dict[TableRange, pa.Table] = {}
        for one in reversed(small):
            try:
                found[one] = self._rows(one)
            except (CorruptionError, ObjectMissingError):
                break
        return found

    def parts(self) -> list[TableFile]:
        """The files, cut at the watermark.

        Raises:
            CorruptionError: One was damaged since it was chosen.
            ObjectMissingError: One was taken away since.
        """
        return [
            self._part(one, self._watermark if one.stop > self._watermark else None)
            for one in self._chosen
        ]

    def _part(self, one: TableRange, stop: int | None) -> TableFile:
        if one in self._kept:
            return TableFile(stop, None, self._kept[one])
        location = self._places[one].locate(self._path(one))
        return (
            TableFile(stop, location, None)
            if location is not None
            else TableFile(stop, None, self._rows(one))
        )

    def _rows(self, one: TableRange) -> pa.Table:
        return stored_rows(self._places[one], self.version, one)

    def _path(self, one: TableRange) -> str:
        return f"{folder(self.version)}/{one.name}"

    def _is_sound(self, one: TableRange) -> bool:
        """Whether a file is there, holds what its name says, and was derived by somebody who is believed.

        One that is damaged is taken away, to be made again; one that a stranger derived is left
        alone.
        """
        if not self._trust.knows(self._statement(one)):
            return False
        place, path = self._places[one], self._path(one)
        state = state_of(place, path)
        if (
            state is not None
            and place.locate(path) is not None
            and self._trust.ledger.knows(bytes_statement(one.sha256, state))
        ):
            return True
        try:
            sound = is_named_by(
                place, path, one.sha256, size_of(place, path), ending=PARQUET_ENDING
            )
        except ObjectMissingError:
            return False
        if sound:
            self._note_bytes(one, state if state == state_of(place, path) else None)
            return True
        _LOG.warning("%s is damaged; it is derived from the segments, and made again", path)
        try:
            place.delete(path)
        except StorageError as error:
            _LOG.warning("it could not be taken away: %s", error.message)
        return False

    def _note_bytes(self, one: TableRange, state: State | None) -> None:
        if state is not None:
            self._trust.ledger.note([bytes_statement(one.sha256, state)])

    def _statement(self, one: TableRange) -> bytes:
        return table_statement(self._manifest, self.version, one)


def _ranges(place: Storage, version: Version) -> list[TableRange]:
    return [
        one
        for item in place.list(folder(version))
        if (one := TableRange.parse(item.path.rpartition("/")[2]))
    ]


def table_statement(manifest: Manifest, version: Version, one: TableRange) -> bytes:
    """The statement that a file holds what is derived from the events of a range under a schema."""
    last = manifest.commits[manifest.version_of(one.stop - 1)].commit_hash
    schema = version.schema
    return statement(
        "table",
        schema.event_type,
        version.schema_hash,
        folder(version),
        one.start,
        one.stop,
        one.rows,
        last,
        one.sha256,
    )


def stored_rows(place: Storage, version: Version, one: TableRange) -> pa.Table:
    """The rows of a range, as they are stored.

    Raises:
        CorruptionError: It does not hold what its name says, or is not a Parquet file of these
            columns.
        ObjectMissingError: It is gone.
    """
    path = f"{folder(version)}/{one.name}"
    data = read_named(place, path, one.sha256, ending=PARQUET_ENDING)
    if data is None:
        message = f"{path} is damaged: expected sha256 {one.sha256}, found another"
        raise CorruptionError(message, "it is derived: delete it, and it is made again.", path=path)
    schema = stored_schema(version.schema)
    try:
        return segments.read_bytes(data, path, rows=one.rows).select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError, ValueError) as error:
        message = f"{path} has other columns than its event type: {error}"
        raise CorruptionError(
            message, "it is derived: delete it, and it is made again.", path=path
        ) from error
