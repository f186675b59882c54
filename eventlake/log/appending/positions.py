"""Producer positions: a batch that is sent again is appended once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from eventlake.columns.hashing import leaves
from eventlake.core.attributes import ATTRIBUTES
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.delivery import Delivery, Position
from eventlake.core.hashing.merkle import CompactRange
from eventlake.errors import ConflictError
from eventlake.log.appending.receipt import Receipt, receipt_of
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.entry import Entry
from eventlake.log.chain.events_of_commits import events_of
from eventlake.log.chain.unfolded_keys import position_text


class Hashed(Protocol):
    """A batch that is compared with another by its leaf hashes."""

    @property
    def leaf_hashes(self) -> leaves.Hashes:
        """The leaf hash of every row."""


def earlier_receipt(chain: Chain, batch: Hashed, position: Position) -> Receipt | None:
    """The first receipt of a batch that was appended before; None if it is the producer's next.

    Raises:
        ConflictError: Another batch has the position, a position is missing before it, or it
            precedes the producer's first.
    """
    found = _delivered(
        chain, "position", position_text(position), lambda delivery: delivery.position == position
    )
    if found is not None:
        entry, delivery = found
        if _same_events(chain, entry.commit, delivery, batch):
            return replace(receipt_of(entry, delivery.start, delivery.stop), repeated=True)
        message = (
            f"{position} is in the lake already, with other events (commit {entry.commit.version})"
        )
        raise ConflictError(
            message,
            "a position always names the same batch; send corrections as new events.",
            found=position.position,
        )
    # Not delivered yet, so it must be the next one: a gap would be a batch that was lost.
    check_next(position, next_position(chain, position.producer))
    return None


def next_position(chain: Chain, producer: str) -> int | None:
    """The position that the producer's next batch must have; None for a new producer."""
    found = _delivered(
        chain, "producer", producer, lambda delivery: delivery.position.producer == producer
    )
    return None if found is None else found[1].position.position + 1


def _delivered(
    chain: Chain, kind: str, text: str, matches: Callable[[Delivery], bool]
) -> tuple[Entry, Delivery] | None:
    """The newest delivery that matches, in a commit that has the key ``text`` of ``kind``."""
    entry = chain.newest(
        kind, text, lambda entry: any(matches(delivery) for delivery in entry.commit.deliveries)
    )
    if entry is None:
        return None
    return entry, next(one for one in reversed(entry.commit.deliveries) if matches(one))


def check_next(position: Position, expected: int | None) -> None:
    """Check that a position is its producer's next.

    Args:
        position: The position of the batch.
        expected: The next position; None for a new producer, which may begin anywhere.

    Raises:
        ConflictError: It leaves a gap, or steps back.
    """
    if expected is not None and position.position != expected:
        kind = "a gap" if position.position > expected else "a step back"
        message = (
            f"expected position {expected:,} of {position.producer}, "
            f"found {position.position:,}: {kind}"
        )
        raise ConflictError(
            message,
            "send the batches in order; read the log for what has arrived.",
            expected=expected,
            found=position.position,
        )


def _same_events(chain: Chain, commit: Commit, delivery: Delivery, batch: Hashed) -> bool:
    """Whether a delivery holds exactly the events of ``batch``."""
    own = batch.leaf_hashes
    if delivery.stop - delivery.start != len(own):
        return False
    if (delivery.start, delivery.stop) == (commit.start, commit.stop):
        # The batch is the whole commit, whose segments name the hashes of their events.
        stored = CompactRange.empty(commit.start)
        for segment in commit.segments:
            stored = stored.merge(segment.range)
        return leaves.compact_range(own, commit.start) == stored
    for start, events in events_of(chain, [commit.version], list(ATTRIBUTES)):
        # A commit of a group holds other batches too, in the same segments.
        first, stop = max(start, delivery.start), min(start + events.num_rows, delivery.stop)
        expected = own[max(first - delivery.start, 0) : max(stop - delivery.start, 0)]
        if (
            leaves.leaf_hashes(events.slice(first - start, max(stop - first, 0))) != expected
        ).any():
            return False
    return True
