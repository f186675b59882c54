"""What a commit says of a segment: one immutable Parquet file with a run of events (docs/format.md)."""

from dataclasses import dataclass
from typing import Any, Self

from eventlake.core.merkle import CompactRange


@dataclass(frozen=True, slots=True)
class Segment:
    """One immutable Parquet file with the events ``[start, stop)``, as its commit describes it.

    Attributes:
        sha256: Of the file; also its name.
        size_bytes: Of the file.
        start: Sequence of its first row; row ``i`` has sequence ``start + i``.
        columns: The columns it holds, in order; attributes that are null in every row are left out.
        nodes: Compact range of its leaves, lower-case hex.
        types: Event types it holds and how many events of each.
        time: First and last ``time`` in microseconds, or None where no event has one.
        undated: Events without a ``time`` (read as their ``recorded_at``).
        recorded: First and last ``recorded_at`` where the column is in the file (copied history), else None: then it is the commit's.
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
        """The compact range of its leaves."""
        return CompactRange.from_hex(self.start, self.stop, list(self.nodes))

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
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
    def from_document(cls, document: dict[str, Any]) -> Self:
        """The inverse of ``document``."""
        time, recorded = document["time"], document["recorded_at"]
        return cls(
            sha256=document["sha256"],
            size_bytes=document["bytes"],
            start=document["start"],
            stop=document["stop"],
            columns=tuple(document["columns"]),
            nodes=tuple(document["range"]),
            types=tuple(sorted(document["types"].items())),
            time=(time[0], time[1]) if time else None,
            undated=document["undated"],
            recorded=(recorded[0], recorded[1]) if recorded else None,
        )
