"""Make proofs from the hashes that commits name for whole segments.

Only a segment that a range cuts is read and hashed again, once for each proof.
"""

from eventlake.columns.hashing import leaves
from eventlake.core import counts
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.merkle import CompactRange
from eventlake.core.hashing.proofs import (
    ConsistencyProof,
    InclusionProof,
    LeafRange,
    consistency_ranges,
    inclusion_ranges,
)
from eventlake.history.pinned import PinnedHistory
from eventlake.history.stretch import Stretch
from eventlake.log.chain.checked_read import check_claims


def prove_inclusion(history: PinnedHistory, sequence: int) -> InclusionProof:
    """Prove that the event at ``sequence`` is in this history.

    Raises:
        InvalidInputError: No event of the history has that sequence.
        CorruptionError: A segment that must be read is damaged.
    """
    sequence = counts.integer(sequence, "sequence")
    ranges = inclusion_ranges(sequence, history.watermark)
    # The proof holds only the hashes beside the event; here the event is checked against its own.
    check_claims(history.storage, [history.stretch_of(sequence).placed], history.trust)
    return InclusionProof(history.checkpoint, sequence, _roots(history, ranges))


def prove_consistency(history: PinnedHistory, old: Checkpoint) -> ConsistencyProof:
    """Prove that this history extends ``old``, which must be a prefix of it."""
    ranges = consistency_ranges(old.watermark, history.watermark)
    return ConsistencyProof(old, history.checkpoint, _roots(history, ranges))


def _roots(history: PinnedHistory, ranges: list[LeafRange]) -> tuple[bytes, ...]:
    hashed: dict[str, leaves.Hashes] = {}
    return tuple(_range(history, start, stop, hashed).root() for start, stop in ranges)


def _range(
    history: PinnedHistory, start: int, stop: int, hashed: dict[str, leaves.Hashes]
) -> CompactRange:
    total = CompactRange.empty(start)
    for stretch in history.stretches:
        first, last = max(start, stretch.segment.start), min(stop, stretch.stop)
        if first < last:
            total = total.merge(_part(history, stretch, first, last, hashed))
    return total


def _part(
    history: PinnedHistory,
    stretch: Stretch,
    first: int,
    last: int,
    hashed: dict[str, leaves.Hashes],
) -> CompactRange:
    segment = stretch.segment
    # Commits hold the nodes of whole segments, so nothing is read.
    if (first, last) == (segment.start, segment.stop):
        return segment.range
    # A proof asks for several ranges of the same segment.
    if segment.sha256 not in hashed:
        hashed[segment.sha256] = leaves.leaf_hashes(history.read(stretch))
    return leaves.compact_range(
        hashed[segment.sha256][first - segment.start : last - segment.start], first
    )
