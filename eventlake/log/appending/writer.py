"""A writer that many threads share: it gathers their batches briefly and commits them together."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from eventlake.core import counts
from eventlake.core.documents.delivery import Position
from eventlake.errors import InvalidInputError
from eventlake.log.appending.group_commit import Member
from eventlake.log.appending.read_events import countable
from eventlake.log.appending.receipt import Receipt
from eventlake.public_calls import verbs


@verbs
class Writer:
    """Made by ``Lake.writer``; a context manager. Leaving the block commits what is waiting.

    Args:
        commit: Commits members and sets their outcomes.
        max_delay: Seconds that a batch may wait for others before its group is committed.
        max_events: Number of events at which a group is committed at once.
        max_pending: Maximum number of events that are not committed yet; above it, ``append``
            blocks.
        after: Called at the end, after the last commit.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Member]], None],
        max_delay: float,
        max_events: int,
        max_pending: int,
        after: Callable[[], None],
    ) -> None:
        self._commit = commit
        self._after = after
        self._max_delay = counts.seconds(max_delay, "max_delay")
        self._max_events = counts.count(max_events, "max_events", 1)
        self._max_pending = counts.count(max_pending, "max_pending", 1)
        self._waiting: deque[Member] = deque()
        self._waiting_rows = 0
        self._pending = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="eventlake-writer", daemon=True)
        self._thread.start()

    def append(
        self, events: Any, *, producer: str | None = None, position: int | None = None
    ) -> Future[Receipt]:
        """Append a batch; the future resolves when it is durable, or to the batch's own error.

        Batches of one thread are committed in the order in which they were passed. Each succeeds or
        fails by itself. Do not change the dicts before the future is done.

        Args:
            events: See ``Lake.append``; without ``recorded_at`` and ``sequence``.
            producer: See ``Lake.append``.
            position: See ``Lake.append``.

        Raises:
            InvalidInputError: The writer is closed, or ``events`` is not a collection of events.
            NotFoundError: ``events`` is the path of a file that does not exist.
        """
        member = Member(countable(events), Position.of(producer, position))
        rows = member.rows
        with self._changed:
            # A batch that is larger than the limit is let through once nothing else waits.
            self._changed.wait_for(
                lambda: (
                    self._closed or not self._pending or self._pending + rows <= self._max_pending
                )
            )
            if self._closed:
                message = "the writer is closed"
                raise InvalidInputError(message, "append inside its with block.")
            self._waiting.append(member)
            self._waiting_rows += rows
            self._pending += rows
            # The gathering thread is woken by the first batch and by the one that fills the group,
            # not by every batch between them.
            if len(self._waiting) == 1 or self._waiting_rows >= self._max_events:
                self._changed.notify_all()
        return member.outcome

    def close(self) -> None:
        """Commit and fold what is waiting, and stop; further appends are refused."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._after()

    def __enter__(self) -> Self:
        """The writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """See ``close``."""
        self.close()

    def _run(self) -> None:
        group: list[Member] = []
        try:
            while group := self._gather():
                self._commit(group)
                with self._changed:
                    # Only after the commit: events on their way still count against the limit.
                    self._pending -= sum(member.rows for member in group)
                    self._changed.notify_all()
        except BaseException as error:
            # A bug must reach the callers that wait, not end in a thread that nobody watches.
            with self._changed:
                self._closed = True
                for member in (*group, *self._waiting):
                    if not member.outcome.done():
                        member.outcome.set_exception(error)
                self._changed.notify_all()
            raise

    def _gather(self) -> list[Member]:
        """The next group, in order of arrival; empty if the writer is closed and nothing waits."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            # The delay begins with the first batch, so no batch waits longer than it.
            deadline = time.monotonic() + self._max_delay
            while not self._closed and self._waiting_rows < self._max_events:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            group: list[Member] = []
            rows = 0
            # At least one batch, even if it is larger than a group.
            while self._waiting and (not group or rows + self._waiting[0].rows <= self._max_events):
                member = self._waiting.popleft()
                group.append(member)
                rows += member.rows
            self._waiting_rows -= rows
            return group
