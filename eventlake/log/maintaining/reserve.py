"""Room on a full disk: what a lake gives up so that maintenance can write the little that it must write before it deletes.

A lake on a disk keeps a *reserve*: a file that means nothing. When a fence or a note finds no room,
the reserve is deleted and the write is tried again; the next maintenance that finds room makes a
new one. A lake without a reserve gives up what is derived, one file at a time. Deleting either is
safe at any moment, so a crash between two steps costs nothing but the reserve.
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
"""Several times the size of a fence. Random, so that a file system that compresses does not make it small."""


def keep_reserve(storage: Storage) -> None:
    """Makes the reserve if it is missing and there is room; only where objects are files of this machine."""
    with suppress(StorageError):
        if storage.locate(layout.RESERVE) is not None and not storage.exists(layout.RESERVE):
            storage.create(layout.RESERVE, secrets.token_bytes(RESERVE_BYTES))


def with_room(storage: Storage, write: Callable[[], T], more: Iterable[str] = ()) -> T:
    """What ``write`` returns; while the disk is full, something is given up before each further try.

    Args:
        storage: Of the lake.
        write: Stores one small object. Called again after each ``StorageFullError``.
        more: Paths that the caller can spare: given up after the reserve, before what is derived.

    Raises:
        StorageFullError: There is nothing left to give up.
    """
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
    """Everything that can be given up, that which costs least first. Nothing is looked for before it is needed."""
    yield layout.RESERVE
    yield from more
    for folder in (layout.TABLES, layout.RECIPES):
        yield from [item.path for item in storage.list(folder)]
    yield layout.HINT
