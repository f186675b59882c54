"""Where derived tables are kept: beside the lake, or in the user's cache folder if the lake cannot be written to."""

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
"""When the cache folder holds more, the files stored first are deleted."""
_FOLDER = "derived"


def places(storage: Storage) -> list[Storage]:
    """Where tables may be found, the lake first."""
    kept = kept_apart()
    return [storage] if kept is None else [storage, kept]


def kept_apart() -> LocalStorage | None:
    """The place in the user's cache folder; None if there is none."""
    folder = cache_folder()
    return None if folder is None else _storage(folder / _FOLDER)


@CACHES.memo(4)
def _storage(folder: Path) -> LocalStorage:
    return LocalStorage(folder)


def put(storage: Storage, path: str, data: bytes) -> Storage | None:
    """Stores a file in the first place that takes it; None if none does."""
    for place in places(storage):
        with suppress(StorageError):
            if _stored(place, path, data):
                if place is not storage:
                    _make_room(place)
                return place
    return None


def _stored(place: Storage, path: str, data: bytes) -> bool:
    """Whether the file is there now; another one may be in its place that cannot be taken away."""
    try:
        place.create(path, data)
    except ObjectExistsError:
        with suppress(ObjectMissingError, CorruptionError):
            return read_sized(place, path, len(data)) == data
        return False
    return True


def _make_room(place: Storage) -> None:
    found = sorted(place.list(layout.TABLES), key=lambda item: item.modified)
    size = sum(item.size_bytes for item in found)
    for item in found[:-1]:
        if size <= MOST_BYTES:
            break
        place.delete(item.path)
        size -= item.size_bytes
