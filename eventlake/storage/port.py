"""The storage port: everything eventlake needs from a store.

An implementation must keep every sentence below. Paths are relative, use forward slashes, and
consist of the characters ``a-z 0-9 . _ - /``.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from eventlake.core import layout
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import (
    AlreadyExistsError,
    CorruptionError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)


class ObjectExistsError(AlreadyExistsError):
    """``create`` found the path taken, perhaps by an earlier attempt of the same writer."""

    kind = "object-exists"


class NotStoredError(StorageError):
    """``create`` failed, and the store is sure that nothing was stored."""

    kind = "not-stored"


class StorageFullError(NotStoredError):
    """``create`` failed because the store is full; nothing was stored.

    Reading and deleting still work.
    """

    kind = "storage-full"


class NotDurableError(StorageError):
    """An fsync failed, so it is unknown whether the written data survives a crash.

    After a failed fsync the kernel may forget that pages were never written, and a second fsync
    proves nothing. So a storage that saw one refuses all further writes.
    """

    kind = "not-durable"


class ObjectMissingError(NotFoundError):
    """No object exists at the path."""

    kind = "object-missing"


class SpecialFileError(CorruptionError):
    """A link, a pipe or a device is at a path of a lake; it is not read, written or followed."""

    kind = "special-file"


State = tuple[str | int, ...]
"""Distinguishes an object from another one that replaced it."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One stored object in a listing.

    Attributes:
        path: Path in the storage.
        size_bytes: Length of the object.
        modified: When it was stored, by the store's own clock; microseconds since 1970-01-01 UTC.
        state: What ``Storage.state`` says of it; None if the listing does not tell.
    """

    path: str
    size_bytes: int
    modified: int
    state: State | None = None


PIECE_BYTES = 64 << 20
"""Bytes of an object that are hashed at once, unless the storage has its own ``piece_bytes``."""
ByteRange = tuple[int, int]
"""The bytes ``[start, stop)`` of an object."""


def whole_range(path: str, data: bytes, part: ByteRange) -> bytes:
    """Return ``data``, the bytes read for a range of ``path``, if it is complete.

    Raises:
        StorageError: The object ends before the range does.
    """
    start, stop = part
    # A store answers a range that reaches beyond the end with the bytes that there are.
    if len(data) != stop - start:
        message = f"expected the bytes {start:,} to {stop:,} of {path}, found {len(data):,} of them"
        raise StorageError(message, "run 'eventlake verify LAKE'.", path=path)
    return data


def inside(path: str) -> str:
    """Return the path if it stays inside the storage.

    Raises:
        InvalidInputError: The path is not relative, or leaves the storage.
    """
    # Text operations only: a commit checks about thirty paths, and pathlib is much slower.
    if path and (
        path.startswith("/") or "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/"))
    ):
        message = f"paths in a lake are relative and stay inside it, found {path!r}"
        raise InvalidInputError(message, path=path)
    return path


def check_size(path: str, size_bytes: int) -> None:
    """Refuse a document that is larger than any valid one, before it is read into memory.

    Raises:
        CorruptionError: The document is larger than ``layout.most_bytes`` allows.
    """
    most = layout.most_bytes(path)
    if most is not None and size_bytes > most:
        message = f"{path} is damaged: expected at most {most:,} bytes, found {size_bytes:,}"
        raise CorruptionError(
            message, "run 'eventlake verify LAKE' and restore the file from a backup.", path=path
        )


def check_recorded(path: str, size_bytes: int, recorded: int) -> None:
    """Refuse an object that is longer than recorded, before it is read into memory.

    Raises:
        CorruptionError: The object is longer than ``recorded`` bytes.
    """
    # Shorter objects are read: their hash is wrong, which names the damage better.
    if size_bytes > recorded:
        message = f"{path} is damaged: expected {recorded:,} bytes, found {size_bytes:,}"
        raise CorruptionError(
            message, "run 'eventlake verify LAKE' and restore the file from a backup.", path=path
        )


class Storage(Protocol):
    """Reads, creates and lists immutable objects.

    ``replace`` is for hints, leases and entries of an index, ``delete`` for garbage and what is
    derived: what a commit names is never touched.
    """

    @property
    def uri(self) -> str:
        """The store's name for people; never contains a secret."""

    def check(self) -> None:
        """Check that a lake can be created here.

        Raises:
            InvalidInputError: Something is in the way, such as a file in place of a folder.
        """

    def read(self, path: str) -> bytes:
        """Read a whole object.

        Raises:
            ObjectMissingError: No object exists at ``path``.
            CorruptionError: It is not a plain object, or larger than ``layout.most_bytes`` allows.
            StorageError: The store failed.
        """

    def read_sized(self, path: str, size_bytes: int) -> bytes:
        """Read a whole object whose length was recorded when it was written.

        Raises:
            ObjectMissingError: No object exists at ``path``.
            CorruptionError: It is not a plain object, or longer than ``size_bytes``; it was not
                read.
            StorageError: The store failed.
        """

    def read_ranges(self, path: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """Read ranges of an object, in the order of ``ranges``.

        Raises:
            ObjectMissingError: No object exists at ``path``.
            StorageError: The store failed, or the object ends before one of the ranges.
        """

    def exists(self, path: str) -> bool:
        """Whether an object exists at ``path``, without reading it.

        Raises:
            StorageError: The store failed.
        """

    def modified(self, path: str) -> int | None:
        """When the object at ``path`` was stored, by the store's own clock.

        Returns:
            Microseconds since 1970-01-01 UTC; None if the store has no clock of its own.

        Raises:
            ObjectMissingError: No object exists at ``path``.
            StorageError: The store failed.
        """

    def create(self, path: str, data: bytes) -> None:
        """Publish ``data`` at ``path`` in one step, only if nothing exists there.

        Of many callers exactly one succeeds. On return the object is durable. No reader ever sees a
        part of it, whatever crashes.

        Raises:
            ObjectExistsError: Something is at ``path``; it was not touched.
            NotStoredError: The store failed, and nothing is there; ``StorageFullError`` if there is
                no room.
            NotDurableError: It was written, but may not survive; this storage writes no more.
            StorageError: The store failed; the object is there whole, or not at all.
        """

    def replace(self, path: str, data: bytes) -> None:
        """Put ``data`` at ``path``, replacing any earlier object.

        A reader sees the old object or the new one; a crash may lose either.

        Raises:
            StorageError: The store failed.
        """

    def delete(self, path: str) -> None:
        """Remove an object, if it exists.

        Raises:
            StorageError: The store failed.
        """

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List every object below the folder ``prefix``, or all for ``""``, in path order."""

    def sync(self, folder: str) -> None:
        """Make every visible object in ``folder`` durable, no matter who is creating it.

        A reader calls this before it refers to what it saw in a durable object of its own.

        Raises:
            StorageError: The store failed.
        """

    def turn(self, path: str) -> AbstractContextManager[None]:
        """A block in which other writers wait for their turn at ``path``, if the store has locks.

        An optimization that avoids lost races. It may do nothing and stops waiting after a while;
        correctness does not depend on it.
        """

    def locate(self, path: str) -> str | None:
        """A path that an engine can open itself, or None if it must be handed the bytes.

        Raises:
            CorruptionError: The path does not hold a plain object.
        """

    def state(self, path: str) -> State | None:
        """A value that changes whenever somebody writes to ``path``, and only then.

        Returns:
            None if no object exists there, or if the store has no such value.
        """


def state_of(storage: Storage, path: str) -> State | None:
    """``Storage.state``; None for a third-party storage without that method."""
    state = getattr(storage, "state", None)
    found: State | None = None if state is None else state(path)
    return found


def read_sized(storage: Storage, path: str, size_bytes: int) -> bytes:
    """``Storage.read_sized``, or ``Storage.read`` for a third-party storage without that method."""
    read = getattr(storage, "read_sized", None)
    found: bytes = storage.read(path) if read is None else read(path, size_bytes)
    return found


def _piece_bytes(storage: Storage) -> int:
    found: int = getattr(storage, "piece_bytes", PIECE_BYTES)
    return found


def sha256_of(storage: Storage, path: str, size_bytes: int) -> str:
    """The SHA-256 of an object in hex, computed piece by piece.

    Args:
        storage: The storage.
        path: Path of the object.
        size_bytes: Length of the object, as listed.
    """
    piece_bytes = _piece_bytes(storage)
    if size_bytes <= piece_bytes:
        return sha256_hex(read_sized(storage, path, size_bytes))
    digest = hashlib.sha256()
    # In pieces, because what is hashed here may not be what a lake wrote, and have any length.
    for start in range(0, size_bytes, piece_bytes):
        stop = min(start + piece_bytes, size_bytes)
        digest.update(storage.read_ranges(path, [(start, stop)])[0])
    return digest.hexdigest()


def size_of(storage: Storage, path: str) -> int:
    """The length of an object in bytes, as listed now.

    Raises:
        ObjectMissingError: No object exists at ``path``.
        StorageError: The store failed.
    """
    # The port has no request for the size of a single object.
    for item in storage.list(path.rpartition("/")[0]):
        if item.path == path:
            return item.size_bytes
    message = f"there is no {path} in {storage.uri}"
    raise ObjectMissingError(message, path=path)


def is_named_by(
    storage: Storage, path: str, sha256: str, size_bytes: int, *, ending: bytes = b""
) -> bool:
    """Whether an object whose size was not recorded has this hash, which is computed piecewise.

    Args:
        storage: The storage.
        path: Path of the object.
        sha256: The expected hash in hex.
        size_bytes: Length of the object, from ``size_of``.
        ending: The last bytes of every object of this kind. An object that ends differently is not
            hashed, because a sparse file may have any length.

    Raises:
        ObjectMissingError: No object exists at ``path``.
        CorruptionError: It is not a plain object.
        StorageError: The store failed.
    """
    if size_bytes < len(ending) or storage.read_ranges(
        path, [(size_bytes - len(ending), size_bytes)]
    ) != [ending]:
        return False
    return sha256_of(storage, path, size_bytes) == sha256


def read_named(
    storage: Storage, path: str, sha256: str, size_bytes: int | None = None, *, ending: bytes = b""
) -> bytes | None:
    """Read an object if it has this hash, else return None; see ``is_named_by``.

    A large object with another hash is never held in memory as a whole.

    Args:
        storage: The storage.
        path: Path of the object.
        sha256: The expected hash in hex.
        size_bytes: Length of the object, if the caller listed it.
        ending: As for ``is_named_by``.

    Raises:
        ObjectMissingError: No object exists at ``path``.
        CorruptionError: It is not a plain object, or became longer while it was read.
        StorageError: The store failed.
    """
    most = _piece_bytes(storage)
    # Of a large object the size now, as it is read piece by piece.
    size_bytes = size_bytes if size_bytes and size_bytes <= most else size_of(storage, path)
    if size_bytes > most and not is_named_by(storage, path, sha256, size_bytes, ending=ending):
        return None
    data = read_sized(storage, path, size_bytes)
    return data if sha256_hex(data) == sha256 else None
