"""Encode a batch's segments as Parquet and hash its leaves on all cores, ahead of their use."""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from eventlake.columns.hashing import leaves
from eventlake.columns.intake.batch_limits import FEW_ROWS
from eventlake.columns.intake.few_rows import FewRows
from eventlake.columns.parquet import segments
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.core.hashing.merkle import CompactRange

_FEW_ROWS = 20_000
"""Smaller batches are encoded on demand; threads would cost more than they save."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One segment of a batch.

    Attributes:
        table: The segment's columns.
        data: The table as Parquet.
        sha256: SHA-256 of ``data`` in hex.
        hashes: Leaf hashes, one per row.
        statistics: Facts for the commit.
    """

    table: pa.Table
    data: bytes
    sha256: str
    hashes: leaves.Hashes
    statistics: segments.Statistics


class Encoding:
    """The segments of a table of events; each but the last has ``segment_rows`` rows."""

    def __init__(self, events: pl.DataFrame | FewRows, stored: pa.Table, segment_rows: int) -> None:
        self._parts = [
            (events.slice(start, segment_rows), stored.slice(start, segment_rows))
            for start in range(0, stored.num_rows, segment_rows)
        ]
        self._started = (
            [_start(*part) for part in self._parts] if stored.num_rows > _FEW_ROWS else []
        )
        self._yielded = 0

    def __iter__(self) -> Iterator[Encoded]:
        """Yield the segments in order as they are finished; a second pass yields other bytes."""
        for number, (events, stored) in enumerate(self._parts):
            if self._started:
                data, hashes, statistics = self._started[number]
                # Bytes that were handed out may be stored and collected since. Stored again, they
                # need another name, so they are encoded again.
                parquet, sha256 = data.result() if number >= self._yielded else _encoded(stored)
                self._yielded = max(self._yielded, number + 1)
                yield Encoded(
                    stored,
                    parquet,
                    sha256,
                    np.concatenate([part.result() for part in hashes]),
                    statistics.result(),
                )
            else:
                yield Encoded(stored, *_encoded(stored), *_described(events, stored))

    def abandon(self) -> None:
        """Cancel the work that has not started."""
        for data, hashes, statistics in self._started:
            data.cancel()
            statistics.cancel()
            for part in hashes:
                part.cancel()


_Started = tuple[
    Future[tuple[bytes, str]], list[Future[leaves.Hashes]], Future[segments.Statistics]
]


def _described(
    events: pl.DataFrame | FewRows, stored: pa.Table
) -> tuple[leaves.Hashes, segments.Statistics]:
    if not isinstance(events, FewRows):
        return leaves.leaf_hashes(events), segments.statistics(stored)
    # The plain values do not have ``recorded_at``, which only a copied history has.
    if "recorded_at" in stored.column_names:
        return events.leaf_hashes(), segments.statistics(stored)
    return events.leaf_hashes(), events.statistics()


def _start(events: pl.DataFrame | FewRows, stored: pa.Table) -> _Started:
    frame = events if isinstance(events, pl.DataFrame) else pl.DataFrame(stored)
    pool = ThreadPoolExecutor(max(os.cpu_count() or 1, 2))
    data = pool.submit(_encoded, stored)
    step = leaves.ROWS_AT_ONCE
    hashes = [
        pool.submit(leaves.leaf_hashes, frame.slice(start, step))
        for start in range(0, frame.height, step)
    ]
    started = data, hashes, pool.submit(segments.statistics, stored)
    # The work goes on; the threads end when it is done.
    pool.shutdown(wait=False)
    return started


def _encoded(stored: pa.Table) -> tuple[bytes, str]:
    data = segments.encode(stored)
    return data, sha256_hex(data)


class Ranges:
    """The compact range of some leaves for any start sequence."""

    def __init__(self, hashes: leaves.Hashes) -> None:
        self.hashes = hashes
        self._last: CompactRange | None = None
        self._blocks: list[leaves.Hashes] = []

    def at(self, start: int) -> CompactRange:
        """The compact range if the first leaf has the sequence ``start``."""
        if self._last is None or self._last.start != start:
            self._last = self._at(start)
        return self._last

    def _at(self, start: int) -> CompactRange:
        if len(self.hashes) <= FEW_ROWS:
            # For few leaves plain Python is faster than vectors.
            return CompactRange.of_leaves(start, [leaf.tobytes() for leaf in self.hashes])
        if self._blocks:
            return leaves.moved_range(self.hashes, self._blocks, start)
        return leaves.compact_range(self.hashes, start)

    def is_quick(self, start: int) -> bool:
        """Whether ``at(start)`` takes milliseconds."""
        return (
            len(self.hashes) <= leaves.CHUNK_ROWS
            or bool(self._blocks)
            or (self._last is not None and self._last.start == start)
        )

    def make_quick(self) -> None:
        """Precompute the hashes for every start, so that ``at`` is quick; costs six ranges."""
        if len(self.hashes) > leaves.CHUNK_ROWS and not self._blocks:
            self._blocks = leaves.blocks(self.hashes)
