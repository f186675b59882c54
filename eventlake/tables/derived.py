"""Where derived tables are stored: in the lake, or in the user's cache if it is read-only."""

from contextlib import suppress
from pathlib import Path

from eventlake.caches import CACHES
from eventlake.core import layout
from eventlake.errors import CorruptionError, StorageError
from eventlake.storage import (
    LocalStorage,
    ObjectExistsError,
    ObjectMissingError,
    Storage,
    read_sized,
)
from eventlake.trust import cache_folder

MOST_BYTES = 20 << 30
"""Maximum size of the cache folder; beyond it, the oldest files are deleted."""
_FOLDER = "derived"


def places(storage: Storage) -> list[Storage]:
    """The storages that may hold tables, the lake's first."""
    cache = cache_storage()
    return [storage] if cache is None else [storage, cache]


def cache_storage() -> LocalStorage | None:
    """The storage in the user's cache folder; None if there is no such folder."""
    folder = cache_folder()
    return None if folder is None else _storage(folder / _FOLDER)


@CACHES.memo(4)
def _storage(folder: Path) -> LocalStorage:
    return LocalStorage(folder)


def put(storage: Storage, path: str, data: bytes) -> Storage | None:
    """Store a file in the first storage that accepts it; None if none does."""
    for place in places(storage):
        with suppress(StorageError):
            # A table is derived data: if nobody can store it, it stays in memory.
            if _store(place, path, data):
                if place is not storage:
                    _evict(place)
                return place
    return None


def _store(place: Storage, path: str, data: bytes) -> bool:
    """Whether the file is stored now."""
    try:
        place.create(path, data)
    except ObjectExistsError:
        # Another process stored it, or a damaged file has the name and could not be deleted.
        with suppress(ObjectMissingError, CorruptionError):
            return read_sized(place, path, len(data)) == data
        return False
    return True


def _evict(place: Storage) -> None:
    files = sorted(place.list(layout.TABLES), key=lambda item: item.modified)
    size = sum(item.size_bytes for item in files)
    # The newest file stays, whatever its size: it is about to be read.
    for item in files[:-1]:
        if size <= MOST_BYTES:
            break
        place.delete(item.path)
        size -= item.size_bytes
