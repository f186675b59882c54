"""The description of a segment in a commit; a segment is a Parquet file with a run of events."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from msgspec import Meta

from eventlake.core.documents.stored import (
    Count,
    Document,
    Instant,
    Positive,
    Sequence,
    Sha256,
    Text,
)
from eventlake.core.hashing.merkle import CompactRange, subtrees

StoredColumn = Literal[
    "id", "source", "type", "subject", "time", "datacontenttype", "dataschema",
    "correlation_id", "causation_id", "corrects",
    "correction", "traceparent", "extensions", "data", "sequence", "recorded_at",
]  # fmt: skip
"""Every column that a segment may have; see ``core.attributes``."""

COLUMNS = frozenset(get_args(StoredColumn))


class SegmentDocument(Document):
    """A segment as stored in a commit; ``Segment`` documents the members."""

    bytes: Positive
    # At least id, source and type.
    columns: Annotated[tuple[StoredColumn, ...], Meta(min_length=3)]
    # At most two subtrees for each of the 62 levels below ``MAX_SEQUENCE``.
    range: Annotated[tuple[Sha256, ...], Meta(min_length=1, max_length=128)]
    recorded_at: tuple[Instant, Instant] | None
    sha256: Sha256
    start: Sequence
    stop: Sequence
    time: tuple[Instant, Instant] | None
    types: Annotated[dict[Text, Positive], Meta(min_length=1)]
    undated: Count


@dataclass(frozen=True, slots=True)
class Segment:
    """One immutable Parquet file with the events ``[start, stop)``, as described by its commit.

    Attributes:
        sha256: SHA-256 of the file, which is also its name.
        size_bytes: Size of the file.
        start: Sequence of the first row; row ``i`` has the sequence ``start + i``.
        columns: Columns of the file, in order, without attributes that are null in every row.
        nodes: Compact range of the leaves in lower-case hex.
        types: Number of events by event type.
        time: First and last ``time`` in microseconds; None if no event has one.
        undated: Number of events without ``time``, which are read with their ``recorded_at``.
        recorded: First and last ``recorded_at`` if the file has that column (a copied history).
            Otherwise None, and the commit's applies.
    """

    sha256: str
    size_bytes: int
    start: int
    stop: int
    columns: tuple[str, ...]
    nodes: tuple[str, ...]
    types: tuple[tuple[str, int], ...]
    time: tuple[int, int] | None
    undated: int
    recorded: tuple[int, int] | None

    @property
    def rows(self) -> int:
        """Number of events."""
        return self.stop - self.start

    @property
    def range(self) -> CompactRange:
        """The compact range of the leaves."""
        return CompactRange.from_hex(self.start, self.stop, list(self.nodes))

    def document(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return {
            "bytes": self.size_bytes,
            "columns": list(self.columns),
            "range": list(self.nodes),
            "recorded_at": list(self.recorded) if self.recorded else None,
            "sha256": self.sha256,
            "start": self.start,
            "stop": self.stop,
            "time": list(self.time) if self.time else None,
            "types": dict(self.types),
            "undated": self.undated,
        }

    @classmethod
    def of(cls, document: SegmentDocument) -> Self:
        """The inverse of ``document``, from decoded members."""
        return cls(
            sha256=document.sha256,
            size_bytes=document.bytes,
            start=document.start,
            stop=document.stop,
            columns=document.columns,
            nodes=document.range,
            types=tuple(sorted(document.types.items())),
            time=document.time,
            undated=document.undated,
            recorded=document.recorded_at,
        )

    def disagreement(self) -> str | None:
        """A contradiction between members; None if there is none."""
        where = f"segment [{self.start}, {self.stop})"
        if self.stop <= self.start:
            return f"{where} is empty"
        if len(set(self.columns)) != len(self.columns) or not {"id", "source", "type"} <= set(
            self.columns
        ):
            return (
                f"expected columns of {where} with id, source and type, each once, "
                f"found {', '.join(self.columns)}"
            )
        # Readers skip segments by these counts and bounds, so they must be possible at least.
        # Whether they are true is known once the events are read.
        if sum(count for _, count in self.types) != self.rows:
            return f"event types of {where} do not add up to its rows"
        if self.time is None:
            times_agree = self.undated == self.rows
        else:
            times_agree = self.undated < self.rows and self.time[0] <= self.time[1]
        if not times_agree:
            return (
                f"expected times of {where} for all but {self.undated} of its rows, "
                f"found {self.time}"
            )
        if len(self.nodes) != subtrees(self.start, self.stop):
            return f"expected the subtrees of {where}, found {len(self.nodes)}"
        return None
