"""What must be undone before a process exits without unwinding, as on a signal."""

from collections.abc import Callable
from contextlib import suppress

_actions: list[Callable[[], None]] = []


def before_exit(action: Callable[[], None]) -> Callable[[], None]:
    """Register a function that ``clean_up`` calls; can be used as a decorator."""
    _actions.append(action)
    return action


def clean_up() -> None:
    """Call the registered functions, the last one first, whether or not they fail."""
    # The process is about to end, so nobody could handle an error.
    for action in reversed(_actions):
        with suppress(Exception):
            action()
