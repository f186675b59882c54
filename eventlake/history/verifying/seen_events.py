"""The key and the subject of every event, kept during a deep verification to rebuild all keys."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from eventlake.columns.keys.key_runs import Keys, distinct, rows_of
from eventlake.columns.keys.keys import event_keys
from eventlake.core.documents.segment import Segment

_KEY = ["source", "id"]


@dataclass(frozen=True, slots=True)
class SegmentSummary:
    """The key and the subject of each event of a segment, in order."""

    segment: Segment
    keys: Keys
    subjects: pa.DictionaryArray

    @classmethod
    def of(cls, segment: Segment, table: pa.Table, frame: pl.DataFrame) -> "SegmentSummary":
        """Summarize a segment's events, which are given as a table and as a frame."""
        subjects = (
            table.column("subject").combine_chunks()
            if "subject" in table.column_names
            else pa.nulls(table.num_rows, pa.string())
        )
        # Many events share their subject, and numbers are grouped faster than texts.
        return cls(segment, event_keys(frame), subjects.dictionary_encode())

    @classmethod
    def joined(cls, segment: Segment, parts: Sequence["SegmentSummary"]) -> "SegmentSummary":
        """Join the summaries of consecutive parts of a segment."""
        return cls(
            segment,
            np.concatenate([part.keys for part in parts]),
            _together([part.subjects for part in parts]),
        )


def _together(parts: Sequence[pa.DictionaryArray]) -> pa.DictionaryArray:
    return pa.chunked_array(parts).combine_chunks()


@dataclass(frozen=True, slots=True)
class Events:
    """The key and the subject of every event of a history.

    Attributes:
        rows: ``key``, and ``subject`` as a number or null.
        names: The subjects by their numbers, each once.
    """

    rows: pl.DataFrame
    names: pl.Series


class SeenEvents:
    """The keys and subjects of all events, segment by segment in sequence order."""

    def __init__(self) -> None:
        self._seen: list[SegmentSummary] = []

    def add(self, seen: SegmentSummary) -> None:
        """Add the next segment."""
        self._seen.append(seen)

    def events(self, watermark: int) -> Events | None:
        """The events ``[0, watermark)``; None if some are missing."""
        stop = 0
        for seen in self._seen:
            if seen.segment.start != stop:
                return None
            stop = seen.segment.stop
        # Keys of a history with gaps would differ from those stored.
        if stop != watermark or not watermark:
            return None
        subjects = _together([seen.subjects for seen in self._seen])
        rows = {"key": self._keys(), "subject": pl.Series(subjects.indices, dtype=pl.Int32)}
        return Events(pl.DataFrame(rows), pl.Series(subjects.dictionary, dtype=pl.String))

    def repeated(
        self, read: Callable[[Segment], pa.Table]
    ) -> Iterator[tuple[Segment, int, tuple[str, str]]]:
        """Find events whose ``(source, id)`` an earlier event has.

        Args:
            read: Reads a segment's events.

        Yields:
            The segment, the sequence, and ``(source, id)``.
        """
        # Equal keys are only suspects, so the pairs themselves are read and compared.
        everything = np.sort(self._keys())
        suspects = distinct(everything[1:][everything[1:] == everything[:-1]])
        first: set[tuple[str, str]] = set()
        for seen in self._seen if len(suspects) else ():
            rows = rows_of(seen.keys, suspects)
            pairs = (
                read(seen.segment).select(_KEY).take(pa.array(rows)).to_pylist()
                if len(rows)
                else []
            )
            for row, key in zip(rows.tolist(), pairs, strict=True):
                pair = (key["source"], key["id"])
                if pair in first:
                    yield seen.segment, seen.segment.start + row, pair
                first.add(pair)

    def _keys(self) -> Keys:
        return np.concatenate([np.empty(0, np.uint64), *(seen.keys for seen in self._seen)])
