"""Build the commit that would follow the head."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eventlake.core.documents.commit import Commit
from eventlake.core.documents.delivery import Delivery, Position
from eventlake.core.documents.manifest import NOTHING_RECENT, KeyFile, Recent, Tier
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.merkle import CompactRange
from eventlake.core.instants import MIN_US
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.unfolded_keys import OwnKeys, own_keys, recent_after
from eventlake.log.store_batch import StoredBatch, new_commit_id

Delivered = tuple[Position, int, int]
"""A producer's position and the rows ``[first, last)`` of the batch that it covers."""


def append_commit(
    chain: Chain, prepared: StoredBatch, recorded_at: int, delivered: Sequence[Delivered]
) -> Commit:
    """Build the commit that would append a stored batch after the head."""
    start = chain.watermark
    frontier: CompactRange = chain.frontier
    placed = prepared.at(start)
    for segment in placed:
        frontier = frontier.merge(segment.range)
    commit = _after(chain, "append", prepared.commit_id, recorded_at, prepared.keys)
    return replace(
        commit,
        stop=frontier.stop,
        root=frontier.root().hex(),
        frontier=tuple(frontier.hex()),
        segments=placed,
        deliveries=tuple(
            Delivery(position, start + first, start + last) for position, first, last in delivered
        ),
    )


def plain_commit(
    chain: Chain,
    kind: str,
    *,
    placed: tuple[Segment, ...] = (),
    tiers: tuple[Tier, ...] | None = None,
    recent: Recent | None = None,
    schemas: str | None = None,
    clock: int | None = None,
) -> Commit:
    """Build a commit without events that would follow the head.

    It takes the head's ``recorded_at``: only events advance that clock. Otherwise a copied history,
    whose events keep their instants, could not be continued after it.
    """
    recorded_at = chain.head.commit.recorded_at if chain.head else MIN_US
    commit_id = new_commit_id()
    # Commits without events have a key too, so that ``resolve_commit`` finds their id.
    own = own_keys(np.empty(0, np.uint64), None, (), commit_id)
    if tiers is not None and recent is not None:
        # The fold itself is in none of the tiers that it names, so its key is a recent one.
        folded = recent_after(recent, chain.next_version, own)
        return replace(_after(chain, kind, commit_id, recorded_at, own), tiers=tiers, recent=folded)
    commit = _after(chain, kind, commit_id, recorded_at, own)
    return replace(
        commit, segments=placed, schemas=schemas or chain.schemas, clock=clock or commit.clock
    )


def _after(
    chain: Chain, kind: str, commit_id: str, recorded_at: int, own: OwnKeys | KeyFile
) -> Commit:
    """Build a commit after the head that changes nothing yet."""
    head = chain.head.commit if chain.head else None
    # An accepted clock ends as soon as real time has passed it.
    accepted = head.clock if head and head.clock is not None and recorded_at <= head.clock else None
    return Commit(
        version=chain.next_version,
        origin=chain.origin,
        prev=chain.head.commit_hash if chain.head else None,
        commit_id=commit_id,
        kind=kind,
        recorded_at=recorded_at,
        start=chain.watermark,
        stop=chain.watermark,
        root=chain.root,
        frontier=head.frontier if head else (),
        segments=(),
        fence=chain.next_version if kind == "fence" else chain.fence,
        tiers=head.tiers if head else (),
        recent=recent_after(head.recent if head else NOTHING_RECENT, chain.next_version, own),
        schemas=chain.schemas,
        clock=accepted,
    )
