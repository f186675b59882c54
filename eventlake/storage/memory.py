"""Storage in the process's memory, for tests, examples and throw-away lakes."""

import secrets
import threading
import time
from collections.abc import Iterator, Sequence

from eventlake.storage.folderless import Folderless
from eventlake.storage.port import (
    ByteRange,
    ObjectExistsError,
    ObjectMissingError,
    State,
    StoredObject,
    check_recorded,
    whole_range,
)


class MemoryStorage(Folderless):
    """Objects in a dict, which threads may share; nothing survives the process."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._modified: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._store = secrets.token_hex(8)
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        """Always ``memory://``."""
        return "memory://"

    def check(self) -> None:
        """Do nothing: a new dict has nothing in the way."""

    def read(self, path: str) -> bytes:
        """See ``Storage.read``."""
        try:
            return self._objects[path]
        except KeyError:
            message = f"nothing at {path} in memory"
            raise ObjectMissingError(message, path=path) from None

    def read_sized(self, path: str, size_bytes: int) -> bytes:
        """See ``Storage.read_sized``."""
        data = self.read(path)
        check_recorded(path, len(data), size_bytes)
        return data

    def read_ranges(self, path: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.read_ranges``."""
        # Not ``self.read``: a subclass that counts or breaks reads would do so twice.
        data = MemoryStorage.read(self, path)
        return [whole_range(path, data[slice(*part)], part) for part in ranges]

    def exists(self, path: str) -> bool:
        """See ``Storage.exists``."""
        return path in self._objects

    def modified(self, path: str) -> int | None:
        """None: the only clock is the caller's."""
        if path not in self._objects:
            message = f"nothing at {path} in memory"
            raise ObjectMissingError(message, path=path)
        return None

    def create(self, path: str, data: bytes) -> None:
        """See ``Storage.create``."""
        with self._lock:
            if path in self._objects:
                message = f"{path} exists already in memory"
                raise ObjectExistsError(message, path=path)
            self._put(path, data)

    def replace(self, path: str, data: bytes) -> None:
        """See ``Storage.replace``."""
        with self._lock:
            self._put(path, data)

    def delete(self, path: str) -> None:
        """See ``Storage.delete``."""
        with self._lock:
            self._objects.pop(path, None)

    def _put(self, path: str, data: bytes) -> None:
        self._objects[path] = bytes(data)
        self._modified[path] = time.time_ns() // 1000
        self._written[path] = self._written.get(path, 0) + 1

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See ``Storage.list``."""
        with self._lock:
            # A copy under the lock: the caller may write while it iterates.
            items = sorted(self._objects.items())
        folder = f"{prefix}/" if prefix else ""
        yield from (
            StoredObject(path, len(data), self._modified.get(path, 0), self.state(path))
            for path, data in items
            if path.startswith(folder)
        )

    def state(self, path: str) -> State | None:
        """The store's random name, and the number of writes to the path."""
        data = self._objects.get(path)
        # The number of writes, because an object of the same length may have been put in its place.
        return None if data is None else (self._store, self._written.get(path, 0), id(data))
