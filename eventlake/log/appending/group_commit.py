"""Group commit: batches of many threads share one commit, and each succeeds or fails by itself.

If nothing is wrong, all members are checked at once, so a member costs only a Python object or two.
If something is wrong, each member is checked by itself to find the one to blame.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, cast

import pyarrow as pa

from eventlake.backoff import pause_after_lost_race
from eventlake.columns.intake.batch_limits import BATCH_LIMITS, BatchLimits
from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.problems import Problem
from eventlake.columns.keys.key_runs import doubled
from eventlake.core import layout
from eventlake.core.documents.delivery import Position
from eventlake.errors import EventlakeError, InvalidEventsError, InvalidInputError
from eventlake.log.appending.append import empty_receipt, recorded_at
from eventlake.log.appending.check_payloads import content_problems, hint_for
from eventlake.log.appending.duplicates import known_problems
from eventlake.log.appending.known_ids import find_known
from eventlake.log.appending.positions import check_next, earlier_receipt
from eventlake.log.appending.read_events import by_row_and_field, checked_batch
from eventlake.log.appending.receipt import Receipt, receipt_of
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import vouch
from eventlake.log.chain.publish import publish
from eventlake.log.next_commit import Delivered, append_commit
from eventlake.log.store_batch import StoredBatch, prepare

_KEY = ["source", "id"]


class Member:
    """One batch in a group.

    Attributes:
        events: A list of dicts, or a table; see ``Lake.append``.
        position: Its position in its producer's stream, or None.
        outcome: Resolves to its receipt when the commit is durable, or to its own error.
        rows: The number of events.
        whole: The checked batch of several members that its events are part of; None if it was
            checked by itself.
    """

    def __init__(self, events: Any, position: Position | None) -> None:
        self.events = events
        self.position = position
        self.outcome: Future[Receipt] = Future()
        self.rows = len(events)
        self.whole: Batch | None = None
        self._first = 0
        self._batch: Batch | None = None

    def share(self, whole: Batch, first: int) -> None:
        """Use the rows of ``whole`` from ``first`` on as its events."""
        self.whole, self._first = whole, first

    def check(self, limits: BatchLimits = BATCH_LIMITS) -> None:
        """Check the events, unless that was done.

        Raises:
            InvalidEventsError: The batch breaks the event rules.
            InvalidInputError: It has ``recorded_at`` or ``sequence`` of its own.
        """
        if self._batch is None and self.whole is None:
            self._batch = _groupable(checked_batch(self.events, limits=limits))

    def checked(self) -> Batch:
        """The events as a checked batch; only after ``share`` or ``check``."""
        if self._batch is None and self.whole is not None:
            table = self.whole.table.slice(self._first, self.rows)
            self._batch = Batch(table, limits=self.whole.limits)
        return cast("Batch", self._batch)


def _groupable(batch: Batch) -> Batch:
    if batch.recorded_at is not None or batch.sequence is not None:
        message = "a group shares one commit; a batch with recorded_at or sequence cannot be in it"
        raise InvalidInputError(message, "append a copied history with lake.append.")
    return batch


def commit_group(chain: Chain, members: Sequence[Member], now: int) -> None:
    """Append the members in order, in one commit; every member's outcome is set on return."""
    try:
        chain.refresh()
        _commit(chain, _valid(members, chain.limits.batch), now)
    except EventlakeError as error:
        for member in members:
            if not member.outcome.done():
                member.outcome.set_exception(error)


def _valid(members: Sequence[Member], limits: BatchLimits) -> list[Member]:
    """The members that keep the event rules; the outcomes of the others are set."""
    plain = [member for member in members if _is_plain(member.events)]
    try:
        # Checking a thousand small lists costs far more than one list of the same events.
        events = [event for member in plain for event in member.events]
        together = _groupable(checked_batch(events, limits=limits))
    except Exception:  # noqa: BLE001 - whatever the reading of a caller's objects raises
        # At least one member is invalid: each is checked by itself below, to tell which.
        plain = []
    row = 0
    for member in plain:
        member.share(together, row)
        row += member.rows
    valid = []
    for member in members:
        try:
            member.check(limits)
        except Exception as error:  # noqa: BLE001 - told to the caller whose events raised it
            member.outcome.set_exception(error)
        else:
            valid.append(member)
    return valid


def _is_plain(events: Any) -> bool:
    return isinstance(events, list) and all(isinstance(event, Mapping) for event in events)


def _commit(chain: Chain, members: Sequence[Member], now: int) -> None:
    admitted: list[Member] = []
    waiting, attempt, checked = list(members), 0, 0
    prepared: StoredBatch | None = None
    while True:
        # Schemas may have changed since the members were checked; then they are checked from 0.
        since = checked if prepared is not None and prepared.schemas == chain.schemas else 0
        before, admitted = admitted, _admit(chain, waiting, since)
        checked = chain.next_version
        if not admitted:
            return
        if prepared is None or admitted != before or not prepared.holds(chain):
            batch = _concat(admitted)
            delivered = _delivered(admitted)
            prepared = prepare(chain, batch, [position for position, _, _ in delivered])
        with chain.storage.turn(layout.LOG):
            chain.refresh()
            # Only if nobody committed since the check, the members are known to fit the head.
            if chain.next_version == checked and prepared.is_quick(chain.watermark):
                commit = append_commit(
                    chain, prepared, recorded_at(chain, batch, prepared, now), delivered
                )
                data = commit.encode()
                vouch(chain, commit, data)
                if publish(chain, commit, data):
                    entry = chain.published(commit, data)
                    break
                chain.refresh()
        prepared.make_quick()
        # Members keep their order, so a retry admits the same ones unless the lake has changed.
        waiting, attempt = admitted, attempt + 1
        pause_after_lost_race(attempt)
    start = commit.start
    for member in admitted:
        member.outcome.set_result(receipt_of(entry, start, start + member.rows))
        start += member.rows


def _concat(members: Sequence[Member]) -> Batch:
    """The events of all members, in order."""
    # Members that were checked together are one table already.
    whole = members[0].whole
    if (
        whole is not None
        and all(member.whole is whole for member in members)
        and whole.rows == sum(member.rows for member in members)
    ):
        return whole
    batches = [member.checked() for member in members]
    table = pa.concat_tables([batch.table for batch in batches]).combine_chunks()
    return Batch(table, limits=batches[0].limits)


def _delivered(members: Sequence[Member]) -> list[Delivered]:
    delivered, row = [], 0
    for member in members:
        if member.position:
            delivered.append((member.position, row, row + member.rows))
        row += member.rows
    return delivered


def _admit(chain: Chain, members: Sequence[Member], since: int) -> list[Member]:
    """The members that can follow the head in this order; the outcomes of the others are set."""
    placed = _without_repeats(chain, members)
    if not placed:
        return []
    together = _concat(placed)
    fits = bool(since) or not content_problems(chain, together)
    if fits and not len(doubled(together.sorted_keys)) and not find_known(chain, together, since):
        return placed
    admitted: list[Member] = []
    # Something is wrong with at least one member, so each is checked as if it followed the others.
    taken: set[tuple[str, str]] = set()
    for member in placed:
        own = member.checked()
        pairs = own.frame.select(_KEY).rows()
        message = "(source, id) is in a batch before this one"
        problems = known_problems(find_known(chain, own, since), own)
        problems += [
            Problem(row, "id", message, pair) for row, pair in enumerate(pairs) if pair in taken
        ]
        problems += _content_problems_after(chain, admitted, member)
        if problems:
            problems.sort(key=by_row_and_field)
            member.outcome.set_exception(InvalidEventsError(problems, hint_for(problems)))
        else:
            taken.update(pairs)
            admitted.append(member)
    # A member that was refused leaves a gap in its producer's positions, so these are looked at
    # again.
    return admitted if len(admitted) == len(placed) else _without_repeats(chain, admitted)


def _content_problems_after(
    chain: Chain, admitted: Sequence[Member], member: Member
) -> list[Problem]:
    """The content problems of a member that follows the admitted ones in its group."""
    rows = sum(one.rows for one in admitted)
    problems = content_problems(chain, _concat([*admitted, member]))
    return [
        problem.shifted(-rows)
        for problem in problems
        if problem.row is not None and problem.row >= rows
    ]


def _without_repeats(chain: Chain, members: Sequence[Member]) -> list[Member]:
    """The members that need a commit and have their producer's next position, or none.

    The outcomes of the others are set.
    """
    placed = []
    expected: dict[str, int] = {}
    for member in members:
        try:
            receipt = _earlier(chain, member, expected)
        except EventlakeError as error:
            member.outcome.set_exception(error)
            continue
        if receipt is not None:
            member.outcome.set_result(receipt)
            continue
        if member.position:
            expected[member.position.producer] = member.position.position + 1
        placed.append(member)
    return placed


def _earlier(chain: Chain, member: Member, expected: dict[str, int]) -> Receipt | None:
    """The receipt of a member that needs no commit: it is empty, or was appended before."""
    position = member.position
    if not member.rows:
        return empty_receipt(chain, position)
    if position is None:
        return None
    # An earlier member of this group has the position before, which the lake does not hold yet.
    if position.producer in expected:
        check_next(position, expected[position.producer])
        return None
    return earlier_receipt(chain, member.checked(), position)
