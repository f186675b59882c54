"""The storage port. Everything eventlake needs of a store; whoever implements it must keep every sentence below.

Paths are relative, with forward slashes, of the characters ``a-z 0-9 . _ - /``.
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
    """``create`` found the path taken. Whoever took it may have been an earlier try of the same writer."""

    kind = "object-exists"


class NotStoredError(StorageError):
    """``create`` failed, and the store is sure that nothing was stored."""

    kind = "not-stored"


class StorageFullError(NotStoredError):
    """``create`` failed for want of room, and nothing was stored. Reading and deleting still work."""

    kind = "storage-full"


class NotDurableError(StorageError):
    """The disk could not be made to keep what was written: whether it survives is unknown, and asking the same disk again proves nothing.

    After a failed fsync the kernel may forget that pages were never written, so a storage that saw
    one refuses to write ever after.
    """

    kind = "not-durable"


class ObjectMissingError(NotFoundError):
    """There is nothing at the path."""

    kind = "object-missing"


class SpecialFileError(CorruptionError):
    """A link, a pipe or a device is where a lake has a file or a folder. It is neither read, written nor followed."""

    kind = "special-file"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One stored object as a listing shows it.

    Attributes:
        path: Where it is.
        size_bytes: Its length.
        modified: When it was stored, by the store's own clock; microseconds since 1970-01-01 UTC.
    """

    path: str
    size_bytes: int
    modified: int


State = tuple[str | int, ...]
"""What tells an object from another one that was put in its place."""
_PIECE_BYTES = 64 << 20
ByteRange = tuple[int, int]
"""The bytes ``[start, stop)`` of an object."""


def whole_range(path: str, data: bytes, part: ByteRange) -> bytes:
    """``data``, read as a part of ``path``.

    Raises:
        StorageError: There are fewer.
    """
    start, stop = part
    if len(data) != stop - start:
        message = f"expected the bytes {start:,} to {stop:,} of {path}, found {len(data):,} of them"
        raise StorageError(message, "run 'eventlake verify LAKE'.", path=path)
    return data


def inside(path: str) -> str:
    """The path itself; plain text, for one commit names some thirty of them.

    Raises:
        InvalidInputError: It is not relative, or leaves the storage.
    """
    if path and (
        path.startswith("/") or "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/"))
    ):
        message = f"paths in a lake are relative and stay inside it, found {path!r}"
        raise InvalidInputError(message, path=path)
    return path


def check_size(path: str, size_bytes: int) -> None:
    """Refuses a document that is larger than any of its kind, before it is read into memory.

    Raises:
        CorruptionError: It is.
    """
    most = layout.most_bytes(path)
    if most is not None and size_bytes > most:
        message = f"{path} is damaged: expected at most {most:,} bytes, found {size_bytes:,}"
        raise CorruptionError(
            message, "run 'eventlake verify LAKE' and restore the file from a backup.", path=path
        )


def check_recorded(path: str, size_bytes: int, recorded: int) -> None:
    """Refuses an object that is longer than what was recorded of it, before it is read into memory.

    Raises:
        CorruptionError: It is.
    """
    if size_bytes > recorded:
        message = f"{path} is damaged: expected {recorded:,} bytes, found {size_bytes:,}"
        raise CorruptionError(
            message, "run 'eventlake verify LAKE' and restore the file from a backup.", path=path
        )


class Storage(Protocol):
    """Reads, creates and lists immutable objects.

    ``replace`` is for the hint alone, ``delete`` for garbage alone: what a commit names is never
    touched.
    """

    @property
    def uri(self) -> str:
        """How a person names this store; never holds a secret."""

    def check(self) -> None:
        """Whether a lake can be here at all.

        Raises:
            InvalidInputError: Something is in the way, such as a file where a folder must be.
        """

    def read(self, path: str) -> bytes:
        """The whole object.

        Raises:
            ObjectMissingError: Nothing is there.
            CorruptionError: It is not a plain object, or larger than ``layout.most_bytes`` allows.
            StorageError: The store failed.
        """

    def read_sized(self, path: str, size_bytes: int) -> bytes:
        """The whole object, whose length was recorded when it was written.

        Raises:
            ObjectMissingError: Nothing is there.
            CorruptionError: It is not a plain object, or longer; it was not read.
            StorageError: The store failed.
        """

    def read_ranges(self, path: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """Parts of an object, in the order in which they are asked for.

        Raises:
            ObjectMissingError: Nothing is there.
            StorageError: The store failed, or the object is shorter than the end of a part.
        """

    def exists(self, path: str) -> bool:
        """Whether something is at ``path``, without reading it.

        Raises:
            StorageError: The store failed.
        """

    def modified(self, path: str) -> int | None:
        """When the object at ``path`` was stored, by the store's own clock, in microseconds since 1970-01-01 UTC.

        None if the store has no clock but the caller's.

        Raises:
            ObjectMissingError: Nothing is there.
            StorageError: The store failed.
        """

    def create(self, path: str, data: bytes) -> None:
        """Publishes ``data`` at ``path`` in one step, only where nothing is: of many callers exactly one succeeds.

        On return the object is durable. No reader ever sees a part of it, whatever crashes.

        Raises:
            ObjectExistsError: Something is at ``path``; it was not touched.
            NotStoredError: The store failed, and nothing is there; ``StorageFullError`` if there is
                no room.
            NotDurableError: It was written, but may not survive; this storage writes no more.
            StorageError: The store failed; the object is there whole, or not at all.
        """

    def replace(self, path: str, data: bytes) -> None:
        """Puts ``data`` at ``path``, whatever is there. A reader sees the old object or the new one; a crash may lose either.

        Raises:
            StorageError: The store failed.
        """

    def delete(self, path: str) -> None:
        """Removes an object; nothing happens where none is.

        Raises:
            StorageError: The store failed.
        """

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object below the folder ``prefix`` (all of them for ``""``), in path order."""

    def sync(self, folder: str) -> None:
        """Makes durable what can be seen in ``folder``, whoever created it and however far they have got.

        For a reader that is about to name what it saw in something durable of its own.

        Raises:
            StorageError: The store failed.
        """

    def turn(self, path: str) -> AbstractContextManager[None]:
        """A block in which other writers of this store, where they can be asked, wait their turn at ``path``.

        A courtesy that spares lost races: it may do nothing, it gives up waiting after a while, and
        nothing correct depends on it.
        """

    def locate(self, path: str) -> str | None:
        """A path an engine can open by itself, or None where it must be handed the bytes.

        Raises:
            CorruptionError: What is there is not a plain object.
        """

    def state(self, path: str) -> State | None:
        """What the store says of an object: it is the same as long as nobody has written there, and differs afterwards.

        Returns:
            None if nothing is there, or if the store cannot tell.
        """


def state_of(storage: Storage, path: str) -> State | None:
    """``Storage.state``; None for a storage of somebody else's that does not have it."""
    state = getattr(storage, "state", None)
    found: State | None = None if state is None else state(path)
    return found


def read_sized(storage: Storage, path: str, size_bytes: int) -> bytes:
    """``Storage.read_sized``; ``Storage.read`` for a storage of somebody else's that does not have it."""
    read = getattr(storage, "read_sized", None)
    found: bytes = storage.read(path) if read is None else read(path, size_bytes)
    return found


def sha256_of(storage: Storage, path: str, size_bytes: int) -> str:
    """The SHA-256 of an object in hex, of which never more than a piece is in memory.

    Args:
        storage: Where it is.
        path: Its path.
        size_bytes: Its length, as listed.
    """
    if size_bytes <= _PIECE_BYTES:
        return sha256_hex(read_sized(storage, path, size_bytes))
    digest = hashlib.sha256()
    for start in range(0, size_bytes, _PIECE_BYTES):
        digest.update(
            storage.read_ranges(path, [(start, min(start + _PIECE_BYTES, size_bytes))])[0]
        )
    return digest.hexdigest()


def size_of(storage: Storage, path: str) -> int:
    """The length of an object, as listed now.

    Raises:
        ObjectMissingError: Nothing is there.
        StorageError: The store failed.
    """
    for item in storage.list(path.rpartition("/")[0]):
        if item.path == path:
            return item.size_bytes
    message = f"there is no {path} in {storage.uri}"
    raise ObjectMissingError(message, path=path)


def is_named_by(
    storage: Storage, path: str, sha256: str, size_bytes: int, *, ending: bytes = b""
) -> bool:
    """Whether an object, of which no size was recorded, has this hash; never more than a piece of it is in memory.

    Args:
        storage: Where it is.
        path: Its path.
        sha256: In hex.
        size_bytes: Its length, from ``size_of``.
        ending: The last bytes of every object of its kind. One that ends otherwise is not hashed: a
            sparse file is of any length.

    Raises:
        ObjectMissingError: Nothing is there.
        CorruptionError: It is not a plain object.
        StorageError: The store failed.
    """
    if size_bytes < len(ending) or storage.read_ranges(
        path, [(size_bytes - len(ending), size_bytes)]
    ) != [ending]:
        return False
    return sha256_of(storage, path, size_bytes) == sha256


def read_named(storage: Storage, path: str, sha256: str, *, ending: bytes = b"") -> bytes | None:
    """The whole object if it has this hash, else None; see ``is_named_by``. What has another hash is never held whole if it is large.

    Raises:
        ObjectMissingError: Nothing is there.
        CorruptionError: It is not a plain object, or became longer while it was read.
        StorageError: The store failed.
    """
    size_bytes = size_of(storage, path)
    if size_bytes > _PIECE_BYTES and not is_named_by(
        storage, path, sha256, size_bytes, ending=ending
    ):
        return None
    data = read_sized(storage, path, size_bytes)
    return data if sha256_hex(data) == sha256 else None
