"""Progress reports: work reports its steps, and an interface that draws them subscribes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol

from eventlake.visible import one_line

Advance = Callable[[int], None]


class Reporter(Protocol):
    """Draws the progress of named work."""

    def task(self, what: str, total: int) -> AbstractContextManager[Advance]:
        """Opens a line for ``what`` with ``total`` steps; the callable given back advances it."""


_reporter: ContextVar[Reporter | None] = ContextVar("eventlake_progress", default=None)
_standing: list[Reporter] = []


@contextmanager
def task(what: str, total: int) -> Iterator[Advance]:
    """Reports ``what`` to whoever listens; silent otherwise."""
    reporter = _reporter.get() or (_standing[-1] if _standing else None)
    if reporter is None:
        yield lambda _: None
        return
    with reporter.task(one_line(what), total) as advance:
        yield advance


def always_shown_by(reporter: Reporter) -> None:
    """Lets ``reporter`` draw everything from now on, in every thread: for a notebook."""
    _standing.append(reporter)


@contextmanager
def shown_by(reporter: Reporter) -> Iterator[None]:
    """Lets ``reporter`` draw everything that happens inside the block."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)
