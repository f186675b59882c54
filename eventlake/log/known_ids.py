"""Which ``(source, id)`` pairs the lake holds, so that none is appended twice.

Each process reads the ids of a history once and keeps 8 bytes of each: a 64-bit fingerprint, sorted. A fingerprint that is met again is
only a suspicion; the stored ids decide.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from eventlake.columns.problems import Problem
from eventlake.core.commit import Segment
from eventlake.log.chain import Chain
from eventlake.log.stored import stored_events
from eventlake.progress import task

Fingerprints = npt.NDArray[np.uint64]
_KEY = ["source", "id"]
_MERGE_FACTOR = 4


class KnownIds:
    """Fingerprints of the ids of a chain, extended as it grows."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._runs: list[Fingerprints] = []
        self._watermark = 0

    def duplicates(self, events: pl.DataFrame) -> list[Problem]:
        """The rows of ``events`` whose ``(source, id)`` the lake holds already."""
        self._extend()
        keys = events.select(_KEY)
        prints = _fingerprints(keys)
        suspects = np.zeros(len(prints), bool)
        for run in self._runs:
            position = np.searchsorted(run, prints)
            suspects |= run[np.minimum(position, len(run) - 1)] == prints
        if not suspects.any():
            return []
        return list(self._confirm(keys.with_row_index("row").filter(pl.Series(suspects))))

    def add(self, events: pl.DataFrame, stop: int) -> None:
        """Remembers what this process has just appended, so that it need not be read back."""
        self._add(_fingerprints(events.select(_KEY)))
        self._watermark = stop

    def _extend(self) -> None:
        later = self._chain.entries[self._chain.version_of(self._watermark) :]
        new = [segment for entry in later for segment in entry.commit.segments if segment.start >= self._watermark]
        if not new:
            return
        with task("reading known ids", sum(segment.rows for segment in new)) as advance:
            for segment in new:
                self._add(_fingerprints(self._keys(segment)))
                self._watermark = segment.stop
                advance(segment.rows)

    def _add(self, prints: Fingerprints) -> None:
        run = np.sort(prints)
        while self._runs and len(self._runs[-1]) < _MERGE_FACTOR * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)

    def _keys(self, segment: Segment) -> pl.DataFrame:
        return pl.DataFrame(stored_events(self._chain.storage, segment, _KEY).select(_KEY))

    def _confirm(self, suspects: pl.DataFrame) -> Iterator[Problem]:
        for _, segment in self._chain.segments(self._chain.watermark):
            stored = self._keys(segment).with_row_index("stored_row")
            for row, source, event_id, at in suspects.join(stored, on=_KEY).select("row", *_KEY, "stored_row").iter_rows():
                message = f"(source, id) is in the lake already, at sequence {segment.start + at:,}"
                yield Problem(row, "id", message, (source, event_id))


class IdCensus:
    """Finds the ``(source, id)`` pairs that stand more than once among segments shown to it one by one; 8 bytes an event."""

    def __init__(self) -> None:
        self._shown: list[tuple[Segment, Fingerprints]] = []

    def add(self, segment: Segment, table: pa.Table) -> None:
        """Shows it one segment's events."""
        self._shown.append((segment, _fingerprints(pl.DataFrame(table.select(_KEY)))))

    def repeated(self, read: Callable[[Segment], pa.Table]) -> Iterator[tuple[Segment, int, tuple[str, str]]]:
        """``(segment, sequence, (source, id))`` of every event but the first of its pair; ``read`` gives a segment's events once more."""
        everything = np.sort(np.concatenate([prints for _, prints in self._shown])) if self._shown else np.empty(0, np.uint64)
        suspects = np.unique(everything[1:][everything[1:] == everything[:-1]])
        seen: set[tuple[str, str]] = set()
        for segment, prints in self._shown:
            rows = np.flatnonzero(np.isin(prints, suspects))
            keys = read(segment).select(_KEY).take(pa.array(rows)).to_pylist() if len(rows) else []
            for row, key in zip(rows.tolist(), keys, strict=True):
                pair = (key["source"], key["id"])
                if pair in seen:
                    yield segment, segment.start + row, pair
                seen.add(pair)


def _fingerprints(keys: pl.DataFrame) -> Fingerprints:
    return keys.select(pl.struct(_KEY).hash())["source"].to_numpy()
