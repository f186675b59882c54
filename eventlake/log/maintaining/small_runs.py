"""Which small neighbouring segments a compaction merges."""

from collections.abc import Callable, Sequence

from eventlake.columns.parquet.footers import LENGTH_BYTES, TAIL_BYTES, MalformedError, stated_bytes
from eventlake.core import layout
from eventlake.core.documents.segment import Segment
from eventlake.errors import StorageError
from eventlake.storage import Storage

_FEW_BYTES = 128 << 10
"""Smaller segments are not asked for their decoded size; a read would take longer than it saves."""
_USUAL_RATIO = 8


def small_runs(
    current: Sequence[Segment],
    target_bytes: int,
    segment_rows: int,
    decoded_bytes: Callable[[Segment], int],
    most_decoded: int,
) -> list[list[Segment]]:
    """Find runs of at least two small neighbours that together stay within every limit.

    A segment with half of a limit is not small.

    Args:
        current: The segments in order.
        target_bytes: Maximum size of a run's files.
        segment_rows: Maximum number of its events.
        decoded_bytes: The decoded size of a segment.
        most_decoded: Maximum decoded size of a run, which is held in memory.
    """
    limits = (target_bytes, segment_rows, most_decoded)
    runs: list[list[Segment]] = [[]]
    total = [0, 0, 0]
    for segment in current:
        small = 2 * segment.size_bytes < target_bytes and 2 * segment.rows < segment_rows
        sizes = (
            segment.size_bytes,
            segment.rows,
            decoded_bytes(segment) if small else most_decoded,
        )
        if 2 * sizes[2] >= most_decoded:
            runs.append([])
            total = [0, 0, 0]
            continue
        if any(have + new > most for have, new, most in zip(total, sizes, limits, strict=True)):
            runs.append([])
            total = [0, 0, 0]
        runs[-1].append(segment)
        total = [have + new for have, new in zip(total, sizes, strict=True)]
    return [run for run in runs if len(run) > 1]


def decoded_bytes(storage: Storage, segment: Segment) -> int:
    """About the decoded size of a segment, as its footer states it."""
    size, path = segment.size_bytes, layout.segment_path(segment.sha256)
    if size >= _FEW_BYTES:
        try:
            (tail,) = storage.read_ranges(path, [(size - TAIL_BYTES, size)])
            length = int.from_bytes(tail[:LENGTH_BYTES], "little")
            start = max(size - TAIL_BYTES - length, 0)
            (footer,) = storage.read_ranges(path, [(start, size - TAIL_BYTES)])
            return stated_bytes(footer)
        except (StorageError, MalformedError):
            pass  # damaged: merging it reports that
    return _USUAL_RATIO * size
