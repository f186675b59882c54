"""Reading a segment so that nobody works on other bytes than were written."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from eventlake.columns import leaves, segments
from eventlake.core import layout
from eventlake.core.canonical import sha256_hex
from eventlake.core.merkle import CompactRange
from eventlake.core.segment import Segment
from eventlake.errors import CorruptionError
from eventlake.schemas.catalogue import Catalogue
from eventlake.storage import ObjectMissingError, Storage

_AT_ONCE = 2
_found_sound: set[tuple[int, ...]] = set()
"""Files whose bytes this process has found to be what they should be, by what the file system says of them."""


def check_segments(storage: Storage, segments_: Sequence[Segment], *, changed_only: bool = False) -> Iterator[None]:
    """Hashes segments again, two at a time; yields after each.

    Args:
        storage: Where they are.
        segments_: Which ones.
        changed_only: Pass over files that this process has hashed before and that nobody has written since: same device, inode, size,
            time of modification and of change.

    Raises:
        CorruptionError: One of them is not what was written; it is named.
    """

    def check(segment: Segment) -> None:
        before = _state(storage, segment)
        if changed_only and before in _found_sound:
            return
        checked_bytes(storage, segment)
        if before is not None and before == _state(storage, segment):
            _found_sound.add(before)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(check, segments_)


def _state(storage: Storage, segment: Segment) -> tuple[int, ...] | None:
    """What the file system says of a segment's file; None where there is none of its own."""
    location = storage.locate(layout.segment_path(segment.sha256))
    try:
        found = None if location is None else Path(location).lstat()
    except OSError:
        return None
    return found and (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def checked_bytes(storage: Storage, segment: Segment) -> bytes:
    """A segment's bytes.

    Raises:
        CorruptionError: The file is gone, or its bytes are not those that were written.
    """
    path = layout.segment_path(segment.sha256)
    where = f"segment {segment.start:,}-{segment.stop:,}"
    try:
        data = storage.read(path)
    except ObjectMissingError as error:
        raise missing(segment) from error
    found = sha256_hex(data)
    if found != segment.sha256:
        message = f"{where} does not match its commit: expected sha256 {segment.sha256}, read {found} ({path})"
        hint = "run 'eventlake verify LAKE' and restore the file from a backup; never edit files under segments/."
        raise CorruptionError(message, hint, path=path, expected=segment.sha256, found=found)
    return data


def missing(segment: Segment) -> CorruptionError:
    """What to say where a segment's file is gone."""
    path = layout.segment_path(segment.sha256)
    message = f"segment {segment.start:,}-{segment.stop:,} is missing ({path})"
    return CorruptionError(message, "run 'eventlake verify LAKE' and restore the file from a backup.", path=path)


def stored_events(storage: Storage, segment: Segment, columns: list[str] | None = None) -> pa.Table:
    """A segment's events, those of ``columns`` that it has; all for None.

    Raises:
        CorruptionError: The file is gone, or its bytes are not those that were written.
    """
    return segments.decode(checked_bytes(storage, segment), layout.segment_path(segment.sha256), columns)


def read_catalogue(storage: Storage, sha256: str | None) -> Catalogue:
    """The catalogue of schemas with this hash; an empty one for None.

    Raises:
        CorruptionError: It is gone, or not what was written.
    """
    if sha256 is None:
        return Catalogue()
    path = layout.schemas_path(sha256)
    try:
        data = storage.read(path)
    except ObjectMissingError as error:
        message = f"the schemas are missing ({path})"
        raise CorruptionError(message, "run 'eventlake verify LAKE' and restore the file from a backup.", path=path) from error
    found = sha256_hex(data)
    if found != sha256:
        message = f"the schemas are not what was written: expected sha256 {sha256}, read {found} ({path})"
        raise CorruptionError(message, "run 'eventlake verify LAKE' and restore the file from a backup.", path=path)
    return Catalogue.decode(data, path)


def part_of(storage: Storage, segment: Segment, first: int, last: int) -> CompactRange:
    """The compact range of the events ``[first, last)`` of a segment; it is read only where the whole of it is not meant.

    Raises:
        CorruptionError: As ``stored_events``.
    """
    if (first, last) == (segment.start, segment.stop):
        return segment.range
    table = stored_events(storage, segment).slice(first - segment.start, last - first)
    return leaves.compact_range(leaves.leaf_hashes(table), first)
