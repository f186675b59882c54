"""Read the events of commits while another process compacts and collects their segments."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

import pyarrow as pa

from eventlake.columns.schema import whole_columns
from eventlake.errors import CorruptionError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.checked_read import stored_batches
from eventlake.log.chain.manifest import SegmentRanges
from eventlake.log.chain.open_or_create import reopen

T = TypeVar("T")
_FEW_COMMITS = 64
"""With more commits than this, the manifest finds their segments; reading each commit is slower."""


def events_of(
    chain: Chain,
    versions: Collection[int],
    columns: list[str],
    within: tuple[int, int] | None = None,
) -> Iterator[tuple[int, pa.Table]]:
    """Yield columns of the events of some commits, in batches of bounded bytes.

    The events are read from the segments that the commits named. If those were compacted and
    collected since, or if there are many commits, they are read from the current segments.

    Args:
        chain: The lake's log.
        versions: The commits.
        columns: Columns to read. A column that a segment lacks is null.
        within: Only events with the sequences ``[start, stop)``; None for all.

    Yields:
        The sequence of the first row, and the rows.

    Raises:
        CorruptionError: A segment is damaged.
    """
    wanted = (
        _named_segments(chain, versions)
        if len(versions) <= _FEW_COMMITS
        else chain.manifest().holding(_sequences(chain, versions))
    )
    if within:
        wanted = _clipped(wanted, *within)
    failed: set[str] = set()
    while wanted:
        lost = []
        for placed, ranges in wanted:
            segment = placed[1]
            batches = stored_batches(chain.storage, placed, chain.trust, columns)
            try:
                # Reads and checks the whole file.
                first = next(batches)
            except CorruptionError:
                # A segment that the newest manifest still names was not collected: it is damaged.
                if segment.sha256 in failed:
                    raise
                failed.add(segment.sha256)
                lost += ranges
                continue
            for at, table in itertools.chain([first], batches):
                whole = whole_columns(table, columns)
                for start, stop in _overlaps(ranges, at, at + whole.num_rows):
                    yield start, whole.slice(start - at, stop - start)
        wanted = reopen(chain).manifest().holding(lost) if lost else []


def _named_segments(chain: Chain, versions: Collection[int]) -> list[SegmentRanges]:
    entries = [chain.entry(version) for version in sorted(versions)]
    return [
        ((entry.summary, segment), [(segment.start, segment.stop)])
        for entry in entries
        if entry.commit.kind == "append"
        for segment in entry.commit.segments
    ]


def _clipped(wanted: Iterable[SegmentRanges], start: int, stop: int) -> list[SegmentRanges]:
    """The parts of segments within ``[start, stop)``."""
    clipped = ((placed, _overlaps(ranges, start, stop)) for placed, ranges in wanted)
    return [(placed, ranges) for placed, ranges in clipped if ranges]


def _overlaps(ranges: Iterable[tuple[int, int]], start: int, stop: int) -> list[tuple[int, int]]:
    clipped = ((max(first, start), min(last, stop)) for first, last in ranges)
    return [(first, last) for first, last in clipped if first < last]


def _sequences(chain: Chain, versions: Collection[int]) -> list[tuple[int, int]]:
    commits = chain.manifest().commits
    return [(commits[version].start, commits[version].stop) for version in sorted(versions)]


def retry_after_compaction(chain: Chain, read: Callable[[Chain], T]) -> T:
    """Call ``read``; call it once more if the segments it needed were compacted and collected.

    Raises:
        CorruptionError: Nothing was compacted, so the segments are damaged.
    """
    try:
        return read(chain)
    except CorruptionError:
        # Another chain, because the caller's stays at its snapshot.
        now = reopen(chain)
        if now.manifest().segments == chain.manifest().segments:
            raise
        return read(now)
