"""Values that a process makes once, such as databases that are costly to open."""

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Made = TypeVar("_Made")


class _PerProcess(Generic[_Made]):
    def __init__(self, make: Callable[[], _Made]) -> None:
        self._make = make
        self._made: list[_Made] = []
        self._inherited: list[_Made] = []
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        # Kept: a child may neither use nor close a connection of its parent. The lock may be held
        # by a thread that was not forked.
        self._inherited += self._made
        self._made = []
        self._lock = threading.Lock()

    def __call__(self) -> _Made:
        with self._lock:
            if not self._made:
                self._made.append(self._make())
            return self._made[0]


def per_process(make: Callable[[], _Made]) -> _PerProcess[_Made]:
    """Calls ``make`` at the first call of a process and gives the same value ever after.

    Safe among threads. A forked child makes a value of its own and leaves its parent's alone.
    """
    return _PerProcess(make)
