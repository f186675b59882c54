"""What a process keeps between calls: bounded caches, and connections that are costly to open.

All that grows or is costly to open belongs to ``CACHES``. Any of them may be cleared at any moment:
the next call computes, reads or connects again.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, Generic, TypeVar

_Value = TypeVar("_Value")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class PerProcess(Generic[_Value]):
    """A value that each process makes at its first use. Safe among threads and after ``fork``."""

    def __init__(self, make: Callable[[], _Value]) -> None:
        self._make = make
        self._values: list[_Value] = []
        self._inherited: list[_Value] = []
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        # Kept: a child may neither use nor close a connection of its parent. The lock may be held
        # by a thread that was not forked.
        self._inherited += self._values
        self._values = []
        self._lock = threading.Lock()

    def __call__(self) -> _Value:
        """The value, made if this process has none."""
        with self._lock:
            if not self._values:
                self._values.append(self._make())
            return self._values[0]

    def clear(self) -> None:
        """Drop the value. A connection closes when its last user is done."""
        with self._lock:
            self._values = []


class BoundedMap(Generic[_Value]):
    """Keeps the values that were added or looked up last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, _Value] = OrderedDict()
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> _Value | None:
        """The value of a key, or None."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: _Value) -> None:
        """Add a value, and drop the least recently used if there are too many."""
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._most:
                self._values.popitem(last=False)

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._values.clear()


class BoundedSet:
    """Remembers the values that were added or looked up last."""

    def __init__(self, most: int) -> None:
        self._values: BoundedMap[bool] = BoundedMap(most)

    def __contains__(self, value: Hashable) -> bool:
        return self._values.get(value) is not None

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: Hashable) -> None:
        """Add a value, and drop the least recently used if there are too many."""
        self._values.put(value, True)

    def clear(self) -> None:
        """Drop all values."""
        self._values.clear()


class Caches:
    """The owner of caches and connections; each is made by one of its methods."""

    def __init__(self) -> None:
        self._clears: list[Callable[[], None]] = []

    def per_process(self, make: Callable[[], _Value]) -> PerProcess[_Value]:
        """Call ``make`` at the first use in a process, and return the same value from then on.

        A forked child makes a value of its own and leaves its parent's alone.
        """
        value = PerProcess(make)
        self.add(value.clear)
        return value

    def memo(self, most: int) -> Callable[[_Function], _Function]:
        """A decorator that keeps the ``most`` results of a function that were used last."""

        def decorate(function: _Function) -> _Function:
            kept = lru_cache(most)(function)
            self.add(kept.cache_clear)
            return kept  # type: ignore[return-value]

        return decorate

    def bounded_map(self, most: int) -> BoundedMap[Any]:
        """A mapping that keeps the ``most`` values that were used last."""
        values: BoundedMap[Any] = BoundedMap(most)
        self.add(values.clear)
        return values

    def bounded_set(self, most: int) -> BoundedSet:
        """A set that keeps the ``most`` values that were used last."""
        values = BoundedSet(most)
        self.add(values.clear)
        return values

    def add(self, clear: Callable[[], None]) -> None:
        """Add another cache, which ``clear`` empties."""
        self._clears.append(clear)

    def clear(self) -> None:
        """Empty all of them. Work in progress keeps what it holds."""
        for clear in self._clears:
            clear()


CACHES = Caches()
"""The caches of this process."""
