"""A commit: one numbered, immutable log entry, chained to the one before by its hash (docs/format.md)."""

from dataclasses import dataclass
from typing import Any, Self

from eventlake.core.canonical import seal, sha256_hex, unseal
from eventlake.core.checkpoint import Checkpoint
from eventlake.core.formats import check_format
from eventlake.core.merkle import CompactRange
from eventlake.errors import CorruptionError, InvalidInputError, UnsupportedFormatError

MAX_PRODUCER = 200
KINDS = ("append", "fence")
FORMAT = 0
"""The on-disk format this version writes. Format 0 may change; format 1 will be readable for ever."""


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


@dataclass(frozen=True, slots=True)
class Position:
    """Where a batch stands in its producer's stream.

    Attributes:
        producer: The stream's name.
        position: Dense: each batch has the one after the batch before; the first may have any.
    """

    producer: str
    position: int

    def __post_init__(self) -> None:
        if not isinstance(self.producer, str) or not 0 < len(self.producer) <= MAX_PRODUCER or not self.producer.isprintable():
            message = f"expected a producer of 1 to {MAX_PRODUCER} printable characters, found {self.producer!r}"
            raise InvalidInputError(message)
        if type(self.position) is not int or self.position < 0:
            message = f"expected a position from 0, found {self.position!r}"
            raise InvalidInputError(message)

    @classmethod
    def of(cls, producer: str | None, position: int | None) -> Self | None:
        """The position of a producer, or None where neither is given.

        Raises:
            InvalidInputError: One without the other, or either is not usable.
        """
        if producer is None and position is None:
            return None
        if producer is None or position is None:
            message = f"expected a producer with a position, or neither, found {producer!r} and {position!r}"
            raise InvalidInputError(message)
        return cls(producer, position)

    def __str__(self) -> str:
        """``position 7 of core-bank``."""
        return f"position {self.position:,} of {self.producer}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A producer's batch in a commit: its position, and the events ``[start, stop)`` that it became."""

    position: Position
    start: int
    stop: int

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"name": self.position.producer, "position": self.position.position, "start": self.start, "stop": self.stop}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """The inverse of ``document``."""
        return cls(Position(document["name"], document["position"]), document["start"], document["stop"])


@dataclass(frozen=True, slots=True)
class Commit:
    """What one append added.

    Attributes:
        version: 0 for the first commit, dense.
        origin: The lake's.
        prev: ``commit_hash`` of the commit before, None for the first.
        commit_id: Random, says which writer's attempt this is.
        kind: ``append``; or ``fence``, which holds no events and takes a number so that no delayed write can.
        recorded_at: Microseconds; the events' ``recorded_at``, or that of the last event of a copied history.
        start: Watermark before.
        stop: Watermark after.
        root: RFC 6962 root over ``[0, stop)``, hex.
        frontier: Compact range of ``[0, stop)``, hex.
        segments: What was appended, in order.
        deliveries: The producers' batches among the events, in order; events that nobody gave a position are in none.
    """

    version: int
    origin: str
    prev: str | None
    commit_id: str
    kind: str
    recorded_at: int
    start: int
    stop: int
    root: str
    frontier: tuple[str, ...]
    segments: tuple[Segment, ...]
    deliveries: tuple[Delivery, ...] = ()

    def encode(self) -> bytes:
        """The bytes of the log entry; their SHA-256 is the ``commit_hash``."""
        return seal(
            {
                "commit_id": self.commit_id,
                "format": FORMAT,
                "frontier": list(self.frontier),
                "kind": self.kind,
                "origin": self.origin,
                "prev": self.prev,
                "recorded_at": self.recorded_at,
                "root": self.root,
                "segments": [segment.document() for segment in self.segments],
                "start": self.start,
                "stop": self.stop,
                "version": self.version,
            }
            | ({"deliveries": [delivery.document() for delivery in self.deliveries]} if self.deliveries else {})
        )

    @classmethod
    def decode(cls, data: bytes, where: str) -> Self:
        """Reads and checks the bytes of a log entry.

        Raises:
            UnsupportedFormatError: Written by a newer eventlake.
            CorruptionError: Damaged, or its own figures do not agree.
        """
        document = unseal(data, where)
        check_format(document, where, FORMAT)
        check_kind(document, where)
        try:
            commit = cls(
                version=document["version"],
                origin=document["origin"],
                prev=document["prev"],
                commit_id=document["commit_id"],
                kind=document["kind"],
                recorded_at=document["recorded_at"],
                start=document["start"],
                stop=document["stop"],
                root=document["root"],
                frontier=tuple(document["frontier"]),
                segments=tuple(Segment.from_document(segment) for segment in document["segments"]),
                deliveries=tuple(Delivery.from_document(delivery) for delivery in document.get("deliveries", [])),
            )
            disagreement = commit.disagreement()
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            disagreement = f"malformed ({error})"
        if disagreement:
            message = f"{where} is not a valid commit: {disagreement}"
            raise CorruptionError(message, "run 'eventlake verify LAKE'; restore the file from a backup.", path=where)
        return commit

    def disagreement(self) -> str | None:
        """What in this commit does not fit together, or None."""
        if bool(self.segments) is not (self.kind == "append"):
            return f"a {self.kind} commit with {len(self.segments)} segments"
        if self.range.root().hex() != self.root:
            return "its root is not that of its frontier"
        if any(not self.start <= delivery.start < delivery.stop <= self.stop for delivery in self.deliveries):
            return "a delivery lies outside of it"
        return self._disagreement_of_segments()

    def _disagreement_of_segments(self) -> str | None:
        position = self.start
        for segment in self.segments:
            if segment.start != position or segment.stop <= segment.start:
                return f"expected a segment from {position}, found [{segment.start}, {segment.stop})"
            if sum(count for _, count in segment.types) != segment.rows:
                return f"event types of segment [{segment.start}, {segment.stop}) do not add up to its rows"
            _ = segment.range
            position = segment.stop
            if segment.recorded and not segment.recorded[0] <= segment.recorded[1] <= self.recorded_at:
                return f"segment [{segment.start}, {segment.stop}) was recorded at {segment.recorded}, its commit at {self.recorded_at}"
        return None if position == self.stop else f"segments end at {position}, the commit at {self.stop}"

    @property
    def range(self) -> CompactRange:
        """The frontier: the compact range ``[0, stop)``."""
        return CompactRange.from_hex(0, self.stop, list(self.frontier))

    @property
    def checkpoint(self) -> Checkpoint:
        """The identity of the history up to and including this commit."""
        return Checkpoint(self.origin, self.stop, self.root)


def commit_hash(data: bytes) -> str:
    """SHA-256 of a log entry's bytes, hex."""
    return sha256_hex(data)


def check_kind(document: dict[str, Any], where: str) -> None:
    """Refuses commits that a newer eventlake knows how to read.

    Raises:
        UnsupportedFormatError: A kind of commit that is unknown here.
    """
    if document.get("kind") not in KINDS:
        message = f"{where} is a {document.get('kind')!r} commit, which this version does not know"
        raise UnsupportedFormatError(message, "pip install --upgrade eventlake", path=where)
