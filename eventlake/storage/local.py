"""Storage in a folder of a local disk, durable at every return.

An object is published in the classic way: write a temporary file beside it, fsync it, ``link`` it
to its name (which fails if the name is taken), unlink the temporary name, fsync the folder. A crash
at any moment leaves the object whole or absent, and at worst a ``.tmp-`` file that readers ignore.
Links inside the folder are never followed (see ``beneath``).
"""

import errno
import fcntl
import io
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from eventlake.backoff import pause_before_lock
from eventlake.errors import CorruptionError, EventlakeError, InvalidInputError, StorageError
from eventlake.storage import beneath
from eventlake.storage.durable import sync, sync_and_close, temporary_beside, write
from eventlake.storage.exclusive import claim
from eventlake.storage.port import (
    ByteRange,
    NotDurableError,
    NotStoredError,
    ObjectExistsError,
    ObjectMissingError,
    SpecialFileError,
    State,
    StorageFullError,
    StoredObject,
    check_recorded,
    check_size,
    inside,
    whole_range,
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Errors of the temporary file, which say nothing about the name.
_BEFORE_THE_NAME = _FULL | {errno.EROFS, errno.EACCES, errno.EPERM}
_MAKE_ROOM = (
    "{}: free some space and run the same command again; nothing was half-written. "
    "'eventlake gc LAKE --delete' and "
    "'eventlake prune LAKE --older-than-days 90 --delete' free space even now."
)
_NO_EXCLUSIVE_NAMES = (
    "the file system has neither hard links nor exclusive renames: put the lake on a local disk."
)
TURN_SECONDS = 1.0
"""Seconds that a writer waits for its turn before it proceeds anyway; the holder may be stuck."""
_IMPATIENT_SECONDS = 10.0
"""Seconds after such a timeout in which the writer does not wait again."""


_Data = TypeVar("_Data")


class LocalStorage:
    """Objects as files below ``root``, a folder or a link to one; created with the first object."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        # Absolute, so that a later ``chdir`` does not move the lake.
        self._root = str(Path(root).absolute())
        self._durable_folders: set[str] = set()
        self._distrust: str | None = None
        self._impatient_until = 0.0

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return self._root

    def check(self) -> None:
        """See ``Storage.check``."""
        root = Path(self._root)
        try:
            taken = root.exists() and not root.is_dir()
        except OSError as error:
            raise self._failure("look for", "", error) from error
        if taken:
            message = f"expected a folder, found a file: {self._root}"
            raise InvalidInputError(message, "give a new or empty folder.", path=self._root)

    def read(self, path: str) -> bytes:
        """See ``Storage.read``."""
        return self._read(path, _whole, check_size)

    def read_sized(self, path: str, size_bytes: int) -> bytes:
        """See ``Storage.read_sized``."""
        return self._read(path, _whole, lambda path, found: check_recorded(path, found, size_bytes))

    def read_ranges(self, path: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.read_ranges``."""
        return self._read(
            path,
            lambda file: [
                whole_range(path, os.pread(file, stop - start, start), (start, stop))
                for start, stop in ranges
            ],
        )

    def _read(
        self,
        path: str,
        parts: Callable[[int], _Data],
        check: Callable[[str, int], None] | None = None,
    ) -> _Data:
        try:
            descriptor, size = beneath.open_file(self._root, inside(path))
            try:
                if check is not None:
                    check(path, size)
                # A recorded size does not help: whoever forged the file may have recorded its size
                # too.
                if beneath.is_hollow(descriptor, size):
                    message = (
                        f"{path} is damaged: expected {size:,} bytes of data, "
                        "found a file that is nearly all holes"
                    )
                    raise CorruptionError(
                        message,
                        "run 'eventlake verify LAKE' and restore the file from a backup.",
                        path=path,
                    )
                return parts(descriptor)
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            message = f"there is no {path} in {self._root}"
            raise ObjectMissingError(message, path=path) from None
        except OSError as error:
            raise self._failure("read", path, error) from error

    def exists(self, path: str) -> bool:
        """See ``Storage.exists``."""
        try:
            beneath.facts_of(self._root, inside(path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._failure("look for", path, error) from error
        return True

    def modified(self, path: str) -> int | None:
        """See ``Storage.modified``: the file system's clock."""
        try:
            return beneath.facts_of(self._root, inside(path)).st_mtime_ns // 1000
        except (FileNotFoundError, NotADirectoryError):
            message = f"there is no {path} in {self._root}"
            raise ObjectMissingError(message, path=path) from None
        except OSError as error:
            raise self._failure("look for", path, error) from error

    def create(self, path: str, data: bytes) -> None:
        """See ``Storage.create``; on return file and folder are fsynced."""
        folder = inside(path).rpartition("/")[0]
        check_size(path, len(data))
        self._trust_disk(path)
        try:
            self._write(path, data, claim, self._sync_file)
        except OSError as error:
            # A full or read-only disk refuses the temporary file before the name is tried, so the
            # name may be taken all the same.
            if isinstance(error, FileExistsError) or (
                error.errno in _BEFORE_THE_NAME and self._is_taken(path)
            ):
                # Its writer may have died before the folder was durable. The caller will build on
                # the object, so it must be durable first.
                self._sync_parent(folder, path)
                message = f"{path} exists already in {self._root}"
                raise ObjectExistsError(message, path=path) from None
            kind = StorageFullError if error.errno in _FULL else NotStoredError
            raise self._failure("create", path, error, kind) from error
        self._sync_parent(folder, path)

    def _write(
        self,
        path: str,
        data: bytes,
        publish: Callable[[beneath.Place, beneath.Place], None],
        flush: Callable[[int], None] | None = None,
    ) -> None:
        """Write a temporary file and ``publish`` it at ``path``."""
        folder = path.rpartition("/")[0]
        # A second attempt is made if the temporary file or its folder is gone: a garbage collector
        # takes the file of a slow writer for abandoned, and folders of derived data may be deleted
        # at any time.
        for attempt in range(2):
            try:
                self._make_folder(folder)
                with (
                    beneath.place(self._root, path) as target,
                    temporary_beside(target) as temporary,
                ):
                    write(temporary, data, flush)
                    publish(temporary, target)
            except FileNotFoundError:
                if attempt:
                    raise
                self._durable_folders.discard(folder)
            else:
                return

    def _is_taken(self, path: str) -> bool:
        """Whether an object certainly exists at ``path``."""
        try:
            return self.exists(path)
        except EventlakeError:
            return False

    def _trust_disk(self, path: str) -> None:
        if self._distrust is not None:
            message = (
                f"could not create {path}: an earlier fsync on this disk failed ({self._distrust})"
            )
            raise NotStoredError(
                message, "check the disk, then start the process again.", path=path
            )

    def _sync_file(self, descriptor: int) -> None:
        try:
            sync(descriptor)
        except OSError as error:
            # A file that found no room is deleted again; nothing that was stored before is in
            # doubt.
            if error.errno not in _FULL:
                self._distrust = str(error)
            raise

    def _sync_parent(self, folder: str, path: str) -> None:
        try:
            descriptor = beneath.open_folder(self._root, folder)
            try:
                sync_and_close(descriptor)
            except OSError as error:
                self._distrust = str(error)
                raise
        # A folder that was deleted or moved meanwhile says nothing about the disk.
        except OSError as error:
            raise self._failure("durably create", path, error, NotDurableError) from error

    def _sync_folder(self, folder: str) -> None:
        sync_and_close(beneath.open_folder(self._root, folder))

    def replace(self, path: str, data: bytes) -> None:
        """See ``Storage.replace``; without fsync, because it only writes hints."""
        check_size(inside(path), len(data))
        try:
            self._write(path, data, beneath.replace)
        except OSError as error:
            raise self._failure("replace", path, error) from error

    def delete(self, path: str) -> None:
        """See ``Storage.delete``."""
        try:
            with beneath.place(self._root, inside(path)) as target:
                beneath.unlink(target)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._failure("delete", path, error) from error

    @contextmanager
    def turn(self, path: str) -> Iterator[None]:
        """Hold a lock on the folder ``path``, after waiting for at most ``TURN_SECONDS``.

        The kernel releases the lock when its holder dies.
        """
        try:
            descriptor = beneath.open_folder(self._root, inside(path))
        except OSError:
            yield
            return
        try:
            self._wait_for_turn(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _wait_for_turn(self, descriptor: int) -> None:
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = time.monotonic() - began
                if waited > TURN_SECONDS or time.monotonic() < self._impatient_until:
                    # Without this memory, every append would wait a second for a process that is
                    # stopped.
                    self._impatient_until = time.monotonic() + _IMPATIENT_SECONDS
                    return
                pause_before_lock(waited)
            except OSError:
                return
            else:
                return

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See ``Storage.list``; also lists temporary files and links, which ``verify`` reports."""
        try:
            for path, facts in beneath.files(self._root, inside(prefix)):
                # A link, which is never read, has no state.
                state = _state(facts) if stat.S_ISREG(facts.st_mode) else None
                yield StoredObject(path, facts.st_size, facts.st_mtime_ns // 1000, state)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._failure("list", prefix, error) from error

    def sync(self, folder: str) -> None:
        """See ``Storage.sync``."""
        try:
            self._sync_folder(inside(folder))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failure("sync", folder, error) from error

    def locate(self, path: str) -> str | None:
        """The absolute path of a file or folder.

        Raises:
            SpecialFileError: It, or a folder on the way, is a link, a pipe or a device.
        """
        # An engine opens the path itself and would follow links, so it is checked first.
        self.exists(path)
        return f"{self._root}/{path}"

    def state(self, path: str) -> State | None:
        """Device, inode, size, mtime and ctime."""
        try:
            return _state(beneath.facts_of(self._root, inside(path)))
        except OSError:
            return None

    def _make_folder(self, name: str) -> None:
        """Create a folder and, once per process, make it and its parents durable."""
        # An existing folder is synced too: the process that created it may have died before it
        # synced the folder above.
        if name in self._durable_folders:
            return
        root = Path(self._root)
        # The root's entry in its own parent must be durable as well, or a crash loses the whole
        # lake.
        made = [above for above in (root, *root.parents) if not above.exists()]
        root.mkdir(parents=True, exist_ok=True)
        for child in made:
            sync_and_close(os.open(child.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        names = name.split("/") if name else []
        for depth in range(len(names)):
            with (
                beneath.place(self._root, "/".join(names[: depth + 1])) as at,
                suppress(FileExistsError),
            ):
                os.mkdir(at.name, dir_fd=at.folder)
            self._sync_folder("/".join(names[:depth]))
        self._durable_folders.add(name)

    def _failure(
        self, verb: str, path: str, error: OSError, kind: type[StorageError] = StorageError
    ) -> EventlakeError:
        if isinstance(error, beneath.NotRegularError):
            message = (
                f"could not {verb} {path or '.'} in {self._root}: "
                f"expected regular files and folders, {error.strerror}"
            )
            hint = (
                "a lake holds no links, pipes or devices (its own folder may be a link): "
                "replace it with the file that it leads to, or remove it."
            )
            return SpecialFileError(message, hint, path=path)
        hints = {
            errno.ENOSPC: _MAKE_ROOM.format("the disk is full"),
            errno.EDQUOT: _MAKE_ROOM.format("the disk quota is used up"),
            errno.EACCES: "check who owns the folder and its permissions.",
            errno.EPERM: "check who owns the folder and its permissions.",
            errno.ENAMETOOLONG: "give the folder a shorter name.",
            errno.EROFS: "the file system is read-only.",
            errno.EINVAL: _NO_EXCLUSIVE_NAMES,
            errno.ENOSYS: _NO_EXCLUSIVE_NAMES,
        }
        reason = f"{error.strerror or error} {errno.errorcode.get(error.errno or 0, '')}".rstrip()
        message = f"could not {verb} {path or '.'} in {self._root}: {reason}"
        return kind(message, hints.get(error.errno or 0), path=path, errno=error.errno)


def _state(facts: os.stat_result) -> State:
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _whole(descriptor: int) -> bytes:
    return io.FileIO(descriptor, closefd=False).readall()
