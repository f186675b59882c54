"""A cache of what engines can use again in the next build, limited in bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from eventlake.caches import CACHES
from eventlake.memory import bytes_named


class Cacheable(Protocol):
    """A value that was computed from the events of some entities."""

    @property
    def entities(self) -> Any:
        """Frame of the entities."""

    @property
    def size_bytes(self) -> int:
        """Approximate size in bytes."""


K = TypeVar("K", bound=Cacheable)
_NONE = None, 0
VARIABLE = "EVENTLAKE_ENGINE_CACHE"
_MOST_BYTES = 512 << 20


class EngineCache:
    """Keeps values up to a number of bytes; drops the least recently used first.

    Args:
        most_bytes: Returns the number of bytes to keep; called at each use.
    """

    def __init__(self, most_bytes: Callable[[], int]) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    @contextmanager
    def taken(self, key: Hashable | None, entities: Any, make: Callable[[], K]) -> Iterator[K]:
        """Yield the cached value of a key and entities, or a new one; cache it afterwards.

        A value is out of the cache while it is used, so that no two threads share it. It does not
        return if the body raises.

        Args:
            key: Key of the value; None for a value that is not cached.
            entities: Frame of the entities that the value covers, in a stable order.
            make: Makes a new value.
        """
        # Asked before the value is made: a wrong setting fails before the work.
        most = self._most_bytes()
        with self._lock:
            # Taken out, not only looked up: two builds at once must not share one database.
            kept, _ = self._kept.pop(key, _NONE)
        if kept is None or not kept.entities.equals(entities):
            kept = None  # freed before the next one is made, so that both never share memory
            kept = make()
        yield kept
        # No ``finally``: a value whose use failed may be half changed, and is dropped.
        if key is None:
            return
        with self._lock:
            # The size is measured after the use, which may have added tables to the value.
            self._kept[key] = kept, kept.size_bytes
            while sum(size for _, size in self._kept.values()) > most:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._kept.clear()


def limit_bytes() -> int:
    """The bytes that ``EVENTLAKE_ENGINE_CACHE`` allows; 512 MiB if it is not set.

    Raises:
        InvalidInputError: The variable is not a size.
    """
    named = bytes_named(VARIABLE, least=0)
    return _MOST_BYTES if named is None else named


ENGINE_CACHE = EngineCache(limit_bytes)
"""The cache of this process."""
CACHES.add(ENGINE_CACHE.clear)
