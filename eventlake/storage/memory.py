"""Storage in this process's memory: for tests, examples and throw-away lakes. Nothing survives the process."""

import threading
from collections.abc import Iterator

from eventlake.storage.port import ObjectExistsError, ObjectMissingError, StoredObject


class MemoryStorage:
    """Keeps objects in a dict; safe to share among threads."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        """Always ``memory://``."""
        return "memory://"

    def check(self) -> None:
        """Always."""

    def read(self, path: str) -> bytes:
        """See ``Storage.read``."""
        try:
            return self._objects[path]
        except KeyError:
            message = f"nothing at {path} in memory"
            raise ObjectMissingError(message, path=path) from None

    def create(self, path: str, data: bytes) -> None:
        """See ``Storage.create``."""
        with self._lock:
            if path in self._objects:
                message = f"{path} exists already in memory"
                raise ObjectExistsError(message, path=path)
            self._objects[path] = bytes(data)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See ``Storage.list``."""
        with self._lock:
            items = sorted(self._objects.items())
        folder = f"{prefix}/" if prefix else ""
        yield from (StoredObject(path, len(data)) for path, data in items if path.startswith(folder))

    def sync(self, folder: str) -> None:
        """Nothing to do: nothing survives the process."""

    def locate(self, path: str) -> str | None:
        """Always None: engines are handed the bytes."""
        del path
        return None
