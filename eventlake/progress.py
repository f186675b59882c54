"""Report progress: work reports its steps, and an interface that draws them registers itself."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol

from eventlake.visible import one_line

Advance = Callable[[int], None]


class Reporter(Protocol):
    """Draws the progress of named work."""

    def task(self, what: str, total: int) -> AbstractContextManager[Advance]:
        """Show ``what`` with ``total`` steps; the callable in the context advances it."""


# A context variable is not inherited by threads; a notebook's reporter must be seen in all of them.
_reporter: ContextVar[Reporter | None] = ContextVar("eventlake_progress", default=None)
_permanent: list[Reporter] = []


@contextmanager
def task(what: str, total: int) -> Iterator[Advance]:
    """Report ``what`` to the current reporter; without one, do nothing."""
    reporter = _reporter.get() or (_permanent[-1] if _permanent else None)
    if reporter is None:
        yield lambda _: None
        return
    with reporter.task(one_line(what), total) as advance:
        yield advance


def always_shown_by(reporter: Reporter) -> None:
    """Let ``reporter`` draw everything from now on, in every thread; for notebooks."""
    _permanent.append(reporter)


@contextmanager
def shown_by(reporter: Reporter) -> Iterator[None]:
    """Let ``reporter`` draw everything that happens inside the block."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)
