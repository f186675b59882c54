"""What engines keep for the next build, up to a number of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from eventlake.caches import CACHES
from eventlake.memory import bytes_named


class Cacheable(Protocol):
    """What was made of events, for some entities."""

    @property
    def entities(self) -> Any:
        """A frame of them."""

    @property
    def size_bytes(self) -> int:
        """Approximate size in bytes."""


K = TypeVar("K", bound=Cacheable)
_NONE = None, 0
VARIABLE = "EVENTLAKE_ENGINE_CACHE"
_MOST_BYTES = 512 << 20


class EngineCache:
    """Keeps what was used last.

    Args:
        most_bytes: Returns the number of bytes to keep; called at each use.
    """

    def __init__(self, most_bytes: Callable[[], int]) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    @contextmanager
    def taken(self, key: Hashable | None, entities: Any, make: Callable[[], K]) -> Iterator[K]:
        """What is kept under a key for the same entities, or something new; for one user at a time, and kept if nothing went wrong.

        Args:
            key: None where it is not kept.
            entities: A frame of them, in an order that is always the same.
            make: Makes something new.
        """
        most = self._most_bytes()
        with self._lock:
            kept, _ = self._kept.pop(key, _NONE)
        if kept is None or not kept.entities.equals(entities):
            kept = None  # given up before another one is made
            kept = make()
        yield kept
        if key is None:
            return
        with self._lock:
            self._kept[key] = kept, kept.size_bytes
            while sum(size for _, size in self._kept.values()) > most:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forgets everything."""
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
"""Of this process."""
CACHES.add(ENGINE_CACHE.clear)
