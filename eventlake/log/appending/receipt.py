"""The receipt of an append."""

from dataclasses import dataclass, field

from eventlake.core.card import Card, Shown, counted
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.instants import format_instant
from eventlake.log.chain.entry import Entry
from eventlake.public_calls import helpful


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Receipt(Shown):
    """Proof that a batch is durable, and where.

    Attributes:
        start: Sequence of its first event; the watermark before.
        stop: Exclusive. If ``start == stop``, nothing was committed.
        checkpoint: Identity of the history that ends with the commit of the batch.
        commit_hash: Hash of the commit, in hex; None if nothing was committed.
        skipped: Events left out because they are already stored byte-identically
            (``duplicates="skip_identical"``).
        recorded_at: Microseconds since 1970-01-01 UTC; that of the last event in a copied history;
            None if nothing was committed.
        repeated: Whether the batch was appended before, and this is its first receipt; ignored when
            receipts are compared.
    """

    start: int
    stop: int
    checkpoint: Checkpoint
    commit_hash: str | None
    recorded_at: int | None
    skipped: int = 0
    repeated: bool = field(default=False, compare=False)

    @property
    def count(self) -> int:
        """The number of events that were appended."""
        return self.stop - self.start

    def __repr__(self) -> str:
        """The title of the card."""
        return f"<Receipt: {self.card().title}>"

    def card(self) -> Card:
        """A summary to display."""
        if self.commit_hash is None or self.recorded_at is None:
            why = (
                f"{counted(self.skipped, 'event')} in the lake already"
                if self.skipped
                else "the batch was empty"
            )
            return Card(f"nothing appended: {why}", (("watermark", f"{self.stop:,}"),))
        facts = (
            ("sequences", f"{self.start:,} … {self.stop - 1:,}"),
            ("recorded_at", format_instant(self.recorded_at)),
            ("checkpoint", str(self.checkpoint)),
            ("commit_hash", self.commit_hash),
        )
        skipped = f", {self.skipped:,} in the lake already" if self.skipped else ""
        return Card(f"appended {counted(self.count, 'event')}{skipped}", facts)


def receipt_of(entry: Entry, start: int | None = None, stop: int | None = None) -> Receipt:
    """The receipt of a commit in the log, or of the events ``[start, stop)`` in it."""
    commit = entry.commit
    first, last = commit.start if start is None else start, commit.stop if stop is None else stop
    return Receipt(first, last, commit.checkpoint, entry.commit_hash, commit.recorded_at)
