"""Verify segments: hash their bytes and, if asked, their events."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from eventlake.columns.parquet import segments
from eventlake.core import layout
from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import EventlakeError
from eventlake.history.verifying.report import Tally
from eventlake.history.verifying.seen_events import SeenEvents, SegmentSummary
from eventlake.log.chain.claims import wrong_claims
from eventlake.log.chain.manifest import SegmentInCommit
from eventlake.progress import task
from eventlake.storage import Storage, read_sized

_AT_ONCE = 2
"""Segments that are checked at once; each may use all cores."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """The result of checking one segment."""

    summary: CommitSummary
    segment: Segment
    problems: list[object]
    size_bytes: int
    seen: SegmentSummary | None


def verify_segments(
    storage: Storage,
    files: dict[str, int],
    expected: list[SegmentInCommit],
    tally: Tally,
    seen: SeenEvents | None,
    *,
    hash_events: bool,
) -> list[SegmentInCommit]:
    """Hash every segment and, with ``hash_events``, every event in it.

    Args:
        storage: Where the lake is.
        files: The size of every file, by path.
        expected: The segments.
        tally: Collects the findings.
        seen: Collects the keys and subjects of all events; None for neither.
        hash_events: Whether to hash events.

    Returns:
        The segments that match their commits in every respect, if events were hashed.
    """
    valid = []
    with task("hashing segments", sum(segment.rows for _, segment in expected)) as advance:
        for checked in _check_all(storage, files, expected, deep=hash_events):
            path = layout.segment_path(checked.segment.sha256)
            for problem in checked.problems:
                tally.blame(path, problem)
            tally.size_bytes += checked.size_bytes
            if hash_events and not checked.problems:
                valid.append((checked.summary, checked.segment))
            if seen is not None and checked.seen is not None:
                seen.add(checked.seen)
            advance(checked.segment.rows)
    if seen is not None:
        for segment, sequence, key in seen.repeated(lambda part: _decode(storage, part)):
            tally.blame(
                _path(segment),
                f"(source, id) is stored twice: {key}, again at sequence {sequence:,}",
            )
    return valid


def _decode(storage: Storage, segment: Segment) -> pa.Table:
    return segments.decode(
        read_sized(storage, _path(segment), segment.size_bytes), _path(segment), rows=segment.rows
    )


def _check_all(
    storage: Storage, files: dict[str, int], expected: list[SegmentInCommit], *, deep: bool
) -> Iterator[_Checked]:
    """Check the segments, a few at once; yields the results in order."""
    waiting: deque[Future[_Checked]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for placed in expected:
            waiting.append(pool.submit(_check_one, storage, files, placed, deep=deep))
            # Bounded: each result may hold a segment's keys, and they are collected in order.
            if len(waiting) > _AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _path(segment: Segment) -> str:
    return layout.segment_path(segment.sha256)


def _check_one(
    storage: Storage, files: dict[str, int], placed: SegmentInCommit, *, deep: bool
) -> _Checked:
    summary, segment = placed
    path = _path(segment)
    where = f"events {segment.start:,}-{segment.stop:,} of commit {summary.version}"
    problems: list[object] = []
    data, seen = b"", None
    if path not in files:
        problems.append(f"missing; it holds {where}")
    # A file of another size is damaged for certain, so it need not be read.
    elif files[path] != segment.size_bytes:
        problems.append(
            f"expected {segment.size_bytes:,} bytes, found {files[path]:,}; it holds {where}"
        )
    else:
        try:
            data = read_sized(storage, path, segment.size_bytes)
            found = sha256_hex(data)
            if found != segment.sha256:
                problems.append(
                    f"expected sha256 {segment.sha256}, found {found}; it holds {where}"
                )
            elif deep:
                more, seen = _check_events(summary, segment, data, path)
                problems += more
        except EventlakeError as error:
            # One bad sector must not hide the rest.
            problems.append(error)
    return _Checked(summary, segment, problems, len(data), seen)


def _check_events(
    summary: CommitSummary, segment: Segment, data: bytes, path: str
) -> tuple[list[str], SegmentSummary | None]:
    """Compare a segment's events with its commit, and summarize them (None without events).

    Raises:
        CorruptionError: The bytes are not a Parquet file of events.
    """
    seen: list[SegmentSummary] = []

    def summarize(table: pa.Table, frame: pl.DataFrame) -> None:
        seen.append(SegmentSummary.of(segment, table, frame))

    problems = wrong_claims(summary, segment, data, path, summarize)
    return problems, SegmentSummary.joined(segment, seen) if seen else None
