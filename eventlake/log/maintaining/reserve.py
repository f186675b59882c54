"""Free space on a full disk, so that maintenance can write the little it must before it deletes.

A lake on a disk keeps a *reserve*: a file without meaning. If a fence or a note finds no space, the
reserve is deleted and the write is repeated; the next maintenance that finds space creates a new
one. Without a reserve, derived files are deleted, one at a time. Deleting either is safe at any
moment, so a crash in between costs nothing but the reserve.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from eventlake.core import layout
from eventlake.errors import StorageError
from eventlake.storage import Storage, StorageFullError

T = TypeVar("T")

RESERVE_BYTES = 1 << 17
"""Several times the size of a fence. Random bytes, so that no file system compresses them."""


def keep_reserve(storage: Storage) -> None:
    """Create the reserve if it is missing and there is space; only on a local disk."""
    with suppress(StorageError):
        if storage.locate(layout.RESERVE) is not None and not storage.exists(layout.RESERVE):
            storage.create(layout.RESERVE, secrets.token_bytes(RESERVE_BYTES))


def with_room(storage: Storage, write: Callable[[], T], more: Iterable[str] = ()) -> T:
    """Call ``write``; while the disk is full, delete one spare file and call it again.

    Args:
        storage: The lake's storage.
        write: Stores one small object. Called again after each ``StorageFullError``.
        more: Paths that the caller can spare: deleted after the reserve, before derived files.

    Returns:
        What ``write`` returns.

    Raises:
        StorageFullError: Nothing is left to delete.
    """
    # One iterator for all tries: what it has yielded is gone.
    spare = _spare(storage, more)
    while True:
        try:
            return write()
        except StorageFullError:
            path = next(spare, None)
            if path is None:
                raise
            storage.delete(path)


def _spare(storage: Storage, more: Iterable[str]) -> Iterator[str]:
    """Yield spare files, the cheapest first; each folder is listed only when it is needed."""
    yield layout.RESERVE
    yield from more
    for folder in (layout.TABLES, layout.RECIPES):
        yield from [item.path for item in storage.list(folder)]
    # The hint last: without it, opening the lake takes more requests.
    yield layout.HINT
