"""Append a batch: store its segments, then publish one commit by create-if-absent.

The commit is the moment at which the events exist. A lost race costs a kilobyte: sequences are
positions, so the segments stay and only the commit is rebuilt on the new head. Nothing is deleted
on failure; a segment that no commit names is harmless.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pyarrow as pa

from eventlake.backoff import pause_after_lost_race
from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.problems import Problem
from eventlake.core import layout
from eventlake.core.documents.delivery import Position
from eventlake.core.expectation import Expectation
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.instants import format_instant
from eventlake.errors import ConflictError, InvalidEventsError, InvalidInputError
from eventlake.log.appending.bulk_load import store_load
from eventlake.log.appending.check_payloads import content_problems, hint_for
from eventlake.log.appending.duplicates import drop_known, known_problems
from eventlake.log.appending.expectations import check_expectations
from eventlake.log.appending.known_ids import Incoming, find_known
from eventlake.log.appending.load import Unstored
from eventlake.log.appending.positions import earlier_receipt
from eventlake.log.appending.read_events import by_row_and_field
from eventlake.log.appending.receipt import Receipt, receipt_of
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import vouch
from eventlake.log.chain.publish import publish
from eventlake.log.clock import MAX_LEAD_US, check_writer, instant_of_commit
from eventlake.log.next_commit import Delivered, append_commit
from eventlake.log.store_batch import StoredBatch, prepare


@dataclass(frozen=True, slots=True)
class Terms:
    """The conditions of an append.

    Attributes:
        position: The batch's position in its producer's stream. A batch that was appended before
            gets its first receipt.
        expect: Expectations that must hold at the commit before.
        skip_identical: Skip events that are already stored byte-identically, instead of refusing
            them.
    """

    position: Position | None = None
    expect: tuple[Expectation, ...] = ()
    skip_identical: bool = False

    def delivered(self, rows: int) -> tuple[Delivered, ...]:
        """The rows of a commit that the producer's batch covers."""
        return ((self.position, 0, rows),) if self.position else ()


def append(chain: Chain, batch: Batch, now: int, terms: Terms) -> Receipt:
    """Append a checked batch, whole or not at all; on return it is durable.

    Args:
        chain: The lake's log; refreshed to the new head.
        batch: From ``read_events.checked_batch``.
        now: The writer's clock; microseconds since 1970-01-01 UTC.
        terms: The conditions of the append.

    Raises:
        InvalidEventsError: The lake already holds a ``(source, id)`` of the batch.
        ConflictError: The batch names sequences that are not the next ones, its position is not the
            producer's next, or an expectation does not hold.
        CommitUnknownError: The store failed while the commit was published.
        StorageError: The store failed before that; nothing was appended.
    """
    chain.refresh()
    given = batch.rows
    if not given:
        return empty_receipt(chain, terms.position)
    positions = [terms.position] if terms.position else []
    while True:
        if terms.skip_identical:
            # Again at every try: another writer may have appended some of the events meanwhile.
            batch = drop_known(chain, batch)
        if earlier := _earlier_or_sound(chain, batch, now, terms, 0):
            return earlier
        if not batch.rows:
            return empty_receipt(chain, None, skipped=given)
        receipt = _commit(chain, batch, prepare(chain, batch, positions), now, terms)
        if receipt is not None:
            return replace(receipt, skipped=given - batch.rows)


def append_parts(
    chain: Chain, parts: Callable[[], Iterable[pa.Table]], now: int, terms: Terms
) -> Receipt:
    """Append a batch that does not fit into memory, whole or not at all.

    Args:
        chain: The lake's log; refreshed to the new head.
        parts: Returns tables of the events in order; starts at the beginning at every call.
        now: The writer's clock; microseconds since 1970-01-01 UTC.
        terms: The conditions of the append.

    Raises:
        InvalidEventsError: Rules are broken in a part or between parts, or the lake already holds a
            ``(source, id)`` of the batch.
        ConflictError: An expectation does not hold, the batch's position is not the producer's
            next, or the batch names sequences that are not the next ones.
        CommitUnknownError: The store failed while the commit was published.
        StorageError: The store failed before that; nothing was appended.
    """
    positions = [terms.position] if terms.position else []
    while True:
        chain.refresh()
        # A batch that is sent again is read and compared, and nothing of it is stored.
        if terms.position and (
            earlier := earlier_receipt(chain, Unstored(parts, chain.limits.batch), terms.position)
        ):
            return earlier
        check_expectations(chain, terms.expect)
        load = store_load(chain, parts(), skip_identical=terms.skip_identical)
        # A file without rows is an empty batch, not an error.
        if not load.rows:
            return empty_receipt(chain, terms.position, skipped=load.skipped)
        if earlier := _earlier_or_sound(chain, load, now, terms, load.next_version):
            return earlier
        prepared = load.prepared(chain.limits.inline_keys, positions)
        receipt = _commit(chain, load, prepared, now, terms)
        if receipt is not None:
            return replace(receipt, skipped=load.skipped)


def _commit(
    chain: Chain, batch: Incoming, prepared: StoredBatch, now: int, terms: Terms
) -> Receipt | None:
    """Commit a stored batch; return None if it must be checked and stored again."""
    checked, attempt = prepared.next_version, 0
    while True:
        with chain.storage.turn(layout.LOG):
            chain.refresh()
            # After a fence, garbage collection may delete the segments, so they are stored again.
            if not prepared.holds(chain):
                return None
            if chain.next_version > checked:
                # Another writer stored some of these events: they must be skipped, not refused.
                # Only commits that are new since the last check are searched, so a lost race stays
                # cheap.
                if terms.skip_identical and find_known(chain, batch, checked):
                    return None
                if earlier := _earlier_or_sound(chain, batch, now, terms, checked):
                    return earlier
                checked = chain.next_version
            # A large batch is hashed for a new start outside the turn, so that others may commit.
            if prepared.is_quick(chain.watermark):
                commit = append_commit(
                    chain,
                    prepared,
                    recorded_at(chain, batch, prepared, now),
                    terms.delivered(batch.rows),
                )
                data = commit.encode()
                # In the ledger before it is published: a reader must find both.
                vouch(chain, commit, data)
                if publish(chain, commit, data):
                    return receipt_of(chain.published(commit, data))
        # Outside the turn: other writers commit while this batch's hashes are computed.
        prepared.make_quick()
        attempt += 1
        pause_after_lost_race(attempt)


def _earlier_or_sound(
    chain: Chain, batch: Incoming, now: int, terms: Terms, since: int
) -> Receipt | None:
    """The batch's first receipt if it was appended before; None if it can follow the head.

    Raises:
        InvalidEventsError: A commit from version ``since`` on holds a ``(source, id)`` of the
            batch, or its ``recorded_at`` does not fit.
        ConflictError: Another condition does not hold.
    """
    if terms.position and (earlier := earlier_receipt(chain, batch, terms.position)):
        return earlier
    check_expectations(chain, terms.expect)
    if problems := problems_of(chain, batch, now, since):
        raise InvalidEventsError(problems, hint_for(problems))
    # A batch that names its sequences must get exactly these, or none.
    if batch.sequence is not None and batch.sequence[0].as_py() != chain.watermark:
        found = batch.sequence[0].as_py()
        message = (
            f"the batch expects the sequences from {found:,}, the next one is {chain.watermark:,}"
        )
        raise ConflictError(
            message,
            "drop the column 'sequence' to take the next ones.",
            expected=chain.watermark,
            found=found,
        )
    return None


def problems_of(chain: Chain, batch: Incoming, now: int, since: int = 0) -> list[Problem]:
    """List what prevents a batch from following the head, by row and field.

    Args:
        chain: The lake's log.
        batch: A batch that passed every check that needs no lake.
        now: The writer's clock; microseconds since 1970-01-01 UTC.
        since: Ids of commits before this version were checked already, and if it is not 0, so were
            schemas and corrections.
    """
    if not batch.rows:
        return []
    problems = known_problems(find_known(chain, batch, since), batch)
    # A large batch that was stored in parts has been checked against schemas already, part by part.
    if isinstance(batch, Batch) and not since:
        problems += content_problems(chain, batch)
    if batch.recorded_at is not None:
        problems += _clock_problems(chain, batch, batch.recorded_at, now)
    return sorted(problems, key=by_row_and_field)


def empty_receipt(chain: Chain, position: Position | None, *, skipped: int = 0) -> Receipt:
    """The receipt of a batch without events, or with none left to append.

    Raises:
        InvalidInputError: The batch has a position.
    """
    if position:
        message = f"an empty batch cannot take {position}"
        raise InvalidInputError(message, "leave the position to the next batch that has events.")
    return Receipt(
        chain.watermark,
        chain.watermark,
        Checkpoint(chain.origin, chain.watermark, chain.root),
        None,
        None,
        skipped,
    )


def _clock_problems(
    chain: Chain, batch: Incoming, recorded_at: pa.Array, now: int
) -> list[Problem]:
    # A copied history is sorted, so its first and last instants bound all others.
    first, last = recorded_at[0].value, recorded_at[-1].value
    problems = []
    if chain.head and first < chain.head.commit.recorded_at:
        head = format_instant(chain.head.commit.recorded_at)
        problems.append(
            Problem(
                batch.number(0),
                "recorded_at",
                f"expected nothing before the head's {head}",
                format_instant(first),
            )
        )
    if last > now + MAX_LEAD_US:
        message = f"expected nothing more than five minutes after now ({format_instant(now)})"
        problems.append(
            Problem(batch.number(batch.rows - 1), "recorded_at", message, format_instant(last))
        )
    return problems


def recorded_at(chain: Chain, batch: Incoming, prepared: StoredBatch, now: int) -> int:
    """The ``recorded_at`` of the commit that would follow the head.

    Raises:
        StorageError: This writer's clock, or the head's, is too far ahead.
    """
    check_writer(chain, layout.segment_path(prepared.pieces[-1].sha256), now)
    if batch.recorded_at is not None:
        return int(batch.recorded_at[-1].value)
    return instant_of_commit(chain, now)
