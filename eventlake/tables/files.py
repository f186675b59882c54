"""The files of event tables: made where they are missing, merged where they are small, checked when a process first reads them."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa

from eventlake.columns import segments
from eventlake.core.canonical import sha256_hex
from eventlake.errors import StorageError
from eventlake.log.manifest import Manifest, Placed
from eventlake.progress import task
from eventlake.schemas.catalogue import Version
from eventlake.storage import ObjectExistsError, ObjectMissingError, Storage
from eventlake.tables.columns import stored_schema
from eventlake.tables.derive import derive, joined
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


def event_table(storage: Storage, manifest: Manifest, version: Version, watermark: int, *, fresh: bool = False) -> EventTable:
    """The table of an event type; what is missing of it is derived and stored.

    Args:
        storage: Where the lake is.
        manifest: Reaches at least to ``watermark``.
        version: The schema to read with.
        watermark: Exclusive.
        fresh: Look at no stored table and store none.

    Raises:
        CorruptionError: A segment is damaged.
    """
    wanted = _wanted(manifest, version.schema.event_type, watermark)
    if fresh:
        tables = [derive(storage, one, version, start, stop) for one, start, stop in wanted]
        return EventTable(version, (Part(None, None, joined([stored_schema(version.schema).empty_table(), *tables])),))
    return EventTable(version, tuple(_part(storage, version, one, watermark) for one in _ranges(storage, manifest, version, wanted)))


def _wanted(manifest: Manifest, event_type: str, watermark: int) -> list[tuple[Placed, int, int]]:
    """The segments with events of the type, and which stretch of each belongs to the history."""
    placed = manifest.between(0, watermark)
    return [(one, one[1].start, min(one[1].stop, watermark)) for one in placed if event_type in dict(one[1].types)]


def _ranges(storage: Storage, manifest: Manifest, version: Version, wanted: Sequence[tuple[Placed, int, int]]) -> list[Range]:
    stretches = [(start, stop) for _, start, stop in wanted]
    found = [one for item in storage.list(folder(version)) if (one := Range.parse(item.path.rpartition("/")[2]))]
    while True:
        chosen, missing = cover(true_ranges(found, manifest), stretches)
        damaged = [one for one in chosen if not _is_sound(storage, version, one)]
        if damaged:
            found = [one for one in found if one not in damaged]
        elif missing:
            found.append(_extended(_Maker(storage, manifest, version), wanted, chosen, missing))
        else:
            return chosen


@dataclass(frozen=True, slots=True)
class _Maker:
    """What a new range is made with."""

    storage: Storage
    manifest: Manifest
    version: Version


def _extended(
    maker: _Maker, wanted: Sequence[tuple[Placed, int, int]], chosen: Sequence[Range], missing: Sequence[tuple[int, int]]
) -> Range:
    """A new range: as much of what is missing first as goes into one, and the small ranges just before it."""
    storage, version = maker.storage, maker.version
    limit = min((one.start for one in chosen if one.start > missing[0][0]), default=None)
    tables: list[pa.Table] = []
    stop = missing[0][0]
    with task(f"deriving {version.schema.event_type}", sum(last - first for first, last in missing)) as advance:
        for first, last in missing:
            if (limit is not None and first >= limit) or sum(table.num_rows for table in tables) >= MERGED_ROWS // 2:
                break
            placed = next(one for one, start, end in wanted if start <= first < end)
            tables.append(derive(storage, placed, version, first, last))
            stop = last
            advance(last - first)
    merged = to_merge(chosen, missing[0][0], sum(table.num_rows for table in tables))
    rows = joined([*(_read(storage, version, one) for one in merged), *tables])
    start = merged[0].start if merged else missing[0][0]
    data = segments.encode_sorted(rows)
    made = Range(start, stop, rows.num_rows, commit_at(maker.manifest, stop), sha256_hex(data))
    path = f"{folder(version)}/{made.name}"
    # Where somebody else has made it too, it is the same file.
    with suppress(ObjectExistsError):
        storage.create(path, data)
    _verified.add((storage.uri, path))
    return made


def _read(storage: Storage, version: Version, one: Range) -> pa.Table:
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


def _part(storage: Storage, version: Version, one: Range, watermark: int) -> Part:
    stop = watermark if one.stop > watermark else None
    location = storage.locate(f"{folder(version)}/{one.name}")
    return Part(stop, location, None) if location is not None else Part(stop, None, _read(storage, version, one))
