"""The files of event tables: made where they are missing, merged where they are small, checked when a process first reads them."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from eventlake.columns import segments
from eventlake.core.canonical import sha256_hex
from eventlake.errors import StorageError
from eventlake.log.manifest import Manifest, Placed
from eventlake.progress import task
from eventlake.schemas.version import Version
from eventlake.storage import ObjectExistsError, ObjectMissingError, Storage
from eventlake.tables.columns import stored_schema
from eventlake.tables.derive import derive, joined, read_events
from eventlake.tables.ranges import MERGED_ROWS, Range, commit_at, cover, folder, to_merge, true_ranges

_LOG = logging.getLogger(__name__)
_verified: set[tuple[str, str]] = set()
"""Storage and path of files whose bytes this process has found to be what their names say."""


@dataclass(frozen=True, slots=True)
class Part:
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
    parts: tuple[Part, ...]


def event_tables(
    storage: Storage, manifest: Manifest, versions: Sequence[Version], watermark: int, *, fresh: bool = False
) -> list[EventTable]:
    """The tables of event types, in the order asked for; what is missing of them is derived and stored, each segment being read once.

    Args:
        storage: Where the lake is.
        manifest: Reaches at least to ``watermark``.
        versions: The schemas to read with, of types that differ.
        watermark: Exclusive.
        fresh: Look at no stored table and store none.

    Raises:
        CorruptionError: A segment is damaged.
    """
    if fresh:
        return [_fresh_table(storage, manifest, version, watermark) for version in versions]
    tables = [_StoredTable(storage, manifest, version, watermark) for version in versions]
    while missing := [(one, table) for table in tables for one in table.missing()]:
        missing.sort(key=lambda pair: pair[0].placed[1].start)
        with task("deriving event tables", sum(one.stop - one.start for one, _ in missing)) as advance:
            for _, alike in groupby(missing, key=lambda pair: pair[0].placed[1].start):
                pairs = list(alike)
                events = read_events(storage, pairs[0][0].placed)
                for one, table in pairs:
                    table.add(one, derive(events, one.placed, table.version, one.start, one.stop))
                    advance(one.stop - one.start)
                _make_room(tables)
        for table in tables:
            table.store()
    return [EventTable(table.version, tuple(table.parts())) for table in tables]


def _make_room(tables: Sequence["_StoredTable"]) -> None:
    """Stores the largest tables until what is held in memory is bounded."""
    while sum(table.rows for table in tables) >= MERGED_ROWS:
        max(tables, key=lambda table: table.rows).store()


def _wanted(manifest: Manifest, event_type: str, watermark: int) -> list["_Stretch"]:
    """The segments with events of the type, and which stretch of each belongs to the history."""
    placed = manifest.between(0, watermark)
    return [_Stretch(one, one[1].start, min(one[1].stop, watermark)) for one in placed if event_type in dict(one[1].types)]


def _fresh_table(storage: Storage, manifest: Manifest, version: Version, watermark: int) -> EventTable:
    wanted = _wanted(manifest, version.schema.event_type, watermark)
    tables = [derive(read_events(storage, one.placed), one.placed, version, one.start, one.stop) for one in wanted]
    return EventTable(version, (Part(None, None, joined([stored_schema(version.schema).empty_table(), *tables])),))


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Events ``[start, stop)`` of a segment."""

    placed: Placed
    start: int
    stop: int


class _StoredTable:
    """One event table while it is brought up to a watermark.

    Attributes:
        version: The schema to read with.
        rows: How many rows are in memory, not stored yet.
    """

    def __init__(self, storage: Storage, manifest: Manifest, version: Version, watermark: int) -> None:
        self.version = version
        self.rows = 0
        self._storage = storage
        self._manifest = manifest
        self._watermark = watermark
        self._wanted = _wanted(manifest, version.schema.event_type, watermark)
        self._found = [one for item in storage.list(folder(version)) if (one := Range.parse(item.path.rpartition("/")[2]))]
        self._chosen: list[Range] = []
        self._open: list[tuple[_Stretch, pa.Table]] = []
        self._kept: dict[Range, pa.Table] = {}

    def missing(self) -> list[_Stretch]:
        """What no sound file holds, in order."""
        stretches = [(one.start, one.stop) for one in self._wanted]
        while True:
            self._chosen, missing = cover(true_ranges(self._found, self._manifest), stretches)
            damaged = [one for one in self._chosen if one not in self._kept and not _is_sound(self._storage, self.version, one)]
            if not damaged:
                break
            self._found = [one for one in self._found if one not in damaged]
        holders = [next(one for one in self._wanted if one.start <= start < one.stop) for start, _ in missing]
        return [_Stretch(holder.placed, start, stop) for holder, (start, stop) in zip(holders, missing, strict=True)]

    def add(self, stretch: _Stretch, table: pa.Table) -> None:
        """Takes derived rows; what was taken before is stored where a file stands between, or where it is much."""
        if self._open and any(self._open[-1][0].stop <= one.start < stretch.start for one in self._chosen):
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
        merged = [one for one in to_merge(self._chosen, start, self.rows) if one not in self._kept]
        rows = joined([*(stored_rows(self._storage, self.version, one) for one in merged), *(table for _, table in self._open)])
        data = segments.encode_sorted(rows)
        first = merged[0].start if merged else start
        made = Range(first, stop, rows.num_rows, commit_at(self._manifest, stop), sha256_hex(data))
        path = f"{folder(self.version)}/{made.name}"
        if _put(self._storage, path, data):
            _verified.add((self._storage.uri, path))
        else:
            self._kept[made] = rows
        self._found.append(made)
        self._chosen = sorted([*(one for one in self._chosen if one not in merged), made])
        self._open, self.rows = [], 0

    def parts(self) -> list[Part]:
        """The files, cut at the watermark."""
        parts = []
        for one in self._chosen:
            stop = self._watermark if one.stop > self._watermark else None
            kept = self._kept.get(one)
            parts.append(_part(self._storage, self.version, one, stop) if kept is None else Part(stop, None, kept))
        return parts


def stored_rows(storage: Storage, version: Version, one: Range) -> pa.Table:
    """The rows of a range, as they are stored.

    Raises:
        CorruptionError: Not a Parquet file of these columns.
        ObjectMissingError: It is gone.
    """
    path = f"{folder(version)}/{one.name}"
    return segments.read_bytes(storage.read(path), path).cast(stored_schema(version.schema))


def _is_sound(storage: Storage, version: Version, one: Range) -> bool:
    """Whether a file is there and holds what its name says; a damaged one is taken away, to be made again."""
    path = f"{folder(version)}/{one.name}"
    if (storage.uri, path) in _verified and storage.locate(path) is not None and storage.exists(path):
        return True
    try:
        data = storage.read(path)
    except ObjectMissingError:
        return False
    if sha256_hex(data) == one.sha256:
        _verified.add((storage.uri, path))
        return True
    _LOG.warning("%s is damaged; it is derived from the segments, and made again", path)
    try:
        storage.delete(path)
    except StorageError as error:
        _LOG.warning("it could not be taken away: %s", error.message)
    return False


def _part(storage: Storage, version: Version, one: Range, stop: int | None) -> Part:
    location = storage.locate(f"{folder(version)}/{one.name}")
    return Part(stop, location, None) if location is not None else Part(stop, None, stored_rows(storage, version, one))


def _put(storage: Storage, path: str, data: bytes) -> bool:
    """Stores a file; False where a damaged one is in its place and cannot be taken away."""
    try:
        storage.create(path, data)
    except ObjectExistsError:
        with suppress(ObjectMissingError):
            return storage.read(path) == data
        return False
    return True
