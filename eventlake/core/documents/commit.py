"""A commit: a numbered, immutable log entry that is chained to the previous one by its hash."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from msgspec import Meta

from eventlake.core.documents.delivery import Delivery, DeliveryDocument
from eventlake.core.documents.manifest import (
    NOTHING_RECENT,
    Recent,
    RecentDocument,
    Tier,
    TierDocument,
)
from eventlake.core.documents.segment import Segment, SegmentDocument
from eventlake.core.documents.stored import (
    Document,
    FormatNumber,
    Instant,
    Origin,
    Sequence,
    Sha256,
    Uuid,
    VersionNumber,
    damaged,
    unsealed,
)
from eventlake.core.hashing.canonical import seal, sha256_hex
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.merkle import CompactRange
from eventlake.errors import UnsupportedFormatError

Kind = Literal["append", "compact", "fence", "fold", "schema"]
KINDS: tuple[str, ...] = get_args(Kind)
FORMAT = 1
"""The on-disk format that this version writes. Format 1 stays readable; format 0 was a draft."""
_NOUN = "commit"


class CommitDocument(Document):
    """A commit as stored; ``Commit`` documents the members."""

    checksum: Sha256
    commit_id: Uuid
    fence: VersionNumber | None
    format: FormatNumber
    # A frontier has at most one subtree per level of a tree with less than 2^64 leaves.
    frontier: Annotated[tuple[Sha256, ...], Meta(max_length=64)]
    kind: Kind
    origin: Origin
    prev: Sha256 | None
    recent: RecentDocument
    recorded_at: Instant
    root: Sha256
    schemas: Sha256 | None
    segments: tuple[SegmentDocument, ...]
    start: Sequence
    stop: Sequence
    tiers: tuple[TierDocument, ...]
    version: VersionNumber
    # Members with a default were added later, or are rare. They are omitted if they equal it, so
    # that a commit without them has the bytes that it always had.
    deliveries: tuple[DeliveryDocument, ...] = ()
    clock: Instant | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """One entry of the log.

    Attributes:
        version: Number of the commit; 0 for the first, without gaps.
        origin: Origin of the lake.
        prev: ``commit_hash`` of the previous commit; None for the first.
        commit_id: Random id of the writer's attempt.
        kind: ``append`` adds events, and no other kind does. ``compact`` names segments that
            replace smaller ones with the same events. ``fold`` names new tiers. ``fence`` takes a
            number so that no delayed write can. ``schema`` names a new catalogue.
        recorded_at: Microseconds; the events' ``recorded_at``, or that of the last event of a
            copied history. A commit without events repeats the head's: only events move this clock.
        start: Watermark before the commit.
        stop: Watermark after the commit.
        root: RFC 6962 root over ``[0, stop)`` in hex.
        frontier: Compact range of ``[0, stop)`` in hex.
        segments: Segments that were appended, or that replace older ones, in order.
        fence: Version of the newest fence, this commit included; None if there is none. A writer
            must not name after a fence what it stored before it, because a garbage collector
            commits a fence before it deletes.
        deliveries: Batches of producers among the events, in order. Events without a producer
            belong to none.
        tiers: The folded part of the manifest, oldest first and without gaps.
        recent: Keys of the commits after the newest tier, this one included.
        schemas: SHA-256 of the current catalogue of schemas in hex; None if none was registered.
        clock: Instant up to which ``recorded_at`` may be ahead of a writer's clock because somebody
            accepted it; None if nobody had to.
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
    fence: int | None = None
    deliveries: tuple[Delivery, ...] = ()
    tiers: tuple[Tier, ...] = ()
    recent: Recent = NOTHING_RECENT
    schemas: str | None = None
    clock: int | None = None

    def encode(self) -> bytes:
        """Encode the log entry; the SHA-256 of these bytes is the ``commit_hash``."""
        return seal(self.document())

    def document(self) -> dict[str, Any]:
        """The document as plain JSON values, without the checksum."""
        document: dict[str, Any] = {
            "commit_id": self.commit_id,
            "fence": self.fence,
            "format": FORMAT,
            "frontier": list(self.frontier),
            "kind": self.kind,
            "origin": self.origin,
            "prev": self.prev,
            "recent": self.recent.document(),
            "recorded_at": self.recorded_at,
            "root": self.root,
            "schemas": self.schemas,
            "segments": [segment.document() for segment in self.segments],
            "start": self.start,
            "stop": self.stop,
            "tiers": [tier.document() for tier in self.tiers],
            "version": self.version,
        }
        # Decoding accepts only the bytes in which defaults are omitted.
        if self.deliveries:
            document["deliveries"] = [delivery.document() for delivery in self.deliveries]
        return document if self.clock is None else document | {"clock": self.clock}

    @classmethod
    def decode(cls, data: bytes, where: str) -> Self:
        """Decode and check a log entry.

        Raises:
            UnsupportedFormatError: A newer eventlake wrote it.
            CorruptionError: It is damaged, or its members contradict each other.
        """
        document = unsealed(
            data, where, CommitDocument, _NOUN, newer=lambda plain: _check_kind(plain, where)
        )
        try:
            commit = cls._of(document)
            disagreement = commit.disagreement()
        except ValueError as error:
            raise damaged(where, _NOUN, str(error)) from None
        if disagreement:
            raise damaged(where, _NOUN, disagreement)
        return commit

    @classmethod
    def _of(cls, document: CommitDocument) -> Self:
        return cls(
            version=document.version,
            origin=document.origin,
            prev=document.prev,
            commit_id=document.commit_id,
            kind=document.kind,
            recorded_at=document.recorded_at,
            start=document.start,
            stop=document.stop,
            root=document.root,
            frontier=document.frontier,
            segments=tuple(map(Segment.of, document.segments)),
            fence=document.fence,
            deliveries=tuple(map(Delivery.of, document.deliveries)),
            tiers=tuple(map(Tier.of, document.tiers)),
            recent=Recent.of(document.recent),
            schemas=document.schemas,
            clock=document.clock,
        )

    def disagreement(self) -> str | None:
        """A contradiction between members of the commit; None if there is none."""
        # Every version keeps these rules. A forged commit can have valid hashes and break one.
        if bool(self.segments) is not (self.kind in {"append", "compact"}):
            return f"a {self.kind} commit with {len(self.segments)} segments"
        if (self.prev is None) is not (self.version == 0) or (
            self.fence is not None and self.fence > self.version
        ):
            return f"commit {self.version} after {self.prev}, with the fence {self.fence}"
        if (self.start < self.stop) is not (self.kind == "append"):
            return f"a {self.kind} commit over [{self.start}, {self.stop})"
        if self.range.root().hex() != self.root:
            return "its root is not that of its frontier"
        if self.kind == "schema" and self.schemas is None:
            return "a schema commit without schemas"
        return (
            self._disagreement_of_deliveries()
            or self._disagreement_of_clock()
            or self._disagreement_of_tiers()
            or self._disagreement_of_segments()
        )

    def _disagreement_of_deliveries(self) -> str | None:
        done, positions = self.start, dict[str, int]()
        for one in self.deliveries:
            if not self.start <= one.start < one.stop <= self.stop:
                return "a delivery lies outside of it"
            if one.start < done:
                return (
                    f"expected a delivery of events from {done} on, "
                    f"found one of [{one.start}, {one.stop})"
                )
            name, position = one.position.producer, one.position.position
            # A group commit may hold several batches of a producer; its positions are consecutive.
            if positions.setdefault(name, position) != position:
                return f"expected position {positions[name]} of {name}, found {position}"
            done, positions[name] = one.stop, position + 1
        return None

    def _disagreement_of_clock(self) -> str | None:
        if self.clock is not None and self.clock < self.recorded_at:
            return f"it accepts the clock {self.clock}, and was recorded at {self.recorded_at}"
        return None

    def _disagreement_of_tiers(self) -> str | None:
        folded = 0
        for tier in self.tiers:
            if tier.start != folded or tier.stop <= tier.start:
                return f"expected a tier from commit {folded}, found [{tier.start}, {tier.stop})"
            # Cells in a key file count from its own start: another start would point to other
            # commits.
            if tier.keys.start != tier.start:
                return (
                    f"expected keys from commit {tier.start} on for a tier, "
                    f"found them from {tier.keys.start} on"
                )
            folded = tier.stop
        if not folded == self.recent.start <= self.version:
            return f"its tiers end at {folded}, what is recent begins at {self.recent.start}"
        starts = [file.start for file in self.recent.files]
        if starts != sorted(set(starts)) or any(
            not self.recent.start <= start <= self.version for start in starts
        ):
            return (
                f"expected key files of commits from {self.recent.start} to {self.version}, "
                f"found some of {starts[:10]}"
            )
        return None

    def _disagreement_of_segments(self) -> str | None:
        # A compaction may replace some segments only, so its segments may have gaps between them.
        position = self.start if self.kind == "append" else 0
        for segment in self.segments:
            if (
                segment.start < position
                or segment.stop <= segment.start
                or (segment.start > position and self.kind == "append")
            ):
                return (
                    f"expected a segment from {position}, found [{segment.start}, {segment.stop})"
                )
            if problem := segment.disagreement():
                return problem
            position = segment.stop
            if (
                segment.recorded
                and not segment.recorded[0] <= segment.recorded[1] <= self.recorded_at
            ):
                return (
                    f"segment [{segment.start}, {segment.stop}) was recorded at "
                    f"{segment.recorded}, its commit at {self.recorded_at}"
                )
        if position > self.stop or (position < self.stop and self.kind == "append"):
            return f"segments end at {position}, the commit at {self.stop}"
        return None

    @property
    def range(self) -> CompactRange:
        """The frontier: the compact range ``[0, stop)``."""
        return CompactRange.from_hex(0, self.stop, list(self.frontier))

    @property
    def checkpoint(self) -> Checkpoint:
        """The identity of the history up to and including this commit."""
        return Checkpoint(self.origin, self.stop, self.root)


def commit_hash(data: bytes) -> str:
    """SHA-256 of a log entry's bytes in hex."""
    return sha256_hex(data)


def _check_kind(document: dict[str, Any], where: str) -> None:
    """Refuse commits of a kind that a newer eventlake added.

    Raises:
        UnsupportedFormatError: The kind of commit is unknown.
    """
    if isinstance(kind := document.get("kind"), str) and kind not in KINDS:
        message = f"{where} is a {kind!r} commit, which this version does not know"
        raise UnsupportedFormatError(message, "pip install --upgrade eventlake", path=where)
