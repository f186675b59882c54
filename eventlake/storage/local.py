"""Storage in a folder of a local disk, durable at every return.

An object is published by the oldest trick there is: write a temporary file beside it, fsync it, ``link`` it to its name (which fails
where the name is taken), unlink the temporary name, fsync the folder. A crash at any moment leaves the object whole or absent, and at
worst a ``.tmp-`` file that readers never look at.
"""

import errno
import fcntl
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from eventlake.core.layout import TEMPORARY_PREFIX
from eventlake.errors import InvalidInputError, StorageError
from eventlake.storage.exclusive import claim
from eventlake.storage.port import NotDurableError, NotStoredError, ObjectExistsError, ObjectMissingError, Range, StoredObject, whole_range

_FILE_MODE = 0o666
"""The umask decides who may read."""
TURN_SECONDS = 1.0
"""How long a writer waits for another one's turn to end before it goes ahead all the same; that one may be stopped or stuck."""
_IMPATIENT_SECONDS = 10.0
"""For so long it does not wait again."""


class LocalStorage:
    """Objects are files below ``root``, which is made when the first of them is created."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root).absolute()
        self._durable_folders: set[str] = set()
        self._distrust: str | None = None
        self._impatient_until = 0.0

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return str(self._root)

    def check(self) -> None:
        """See ``Storage.check``."""
        if self._root.exists() and not self._root.is_dir():
            message = f"expected a folder, found a file: {self._root}"
            raise InvalidInputError(message, "give a new or empty folder.", path=str(self._root))

    def read(self, path: str) -> bytes:
        """See ``Storage.read``."""
        try:
            return _read(self._file(path))
        except (FileNotFoundError, NotADirectoryError):
            message = f"there is no {path} in {self._root}"
            raise ObjectMissingError(message, path=path) from None
        except OSError as error:
            raise self._failure("read", path, error) from error

    def read_ranges(self, path: str, ranges: Sequence[Range]) -> list[bytes]:
        """See ``Storage.read_ranges``."""
        try:
            descriptor = os.open(self._file(path), os.O_RDONLY | os.O_CLOEXEC)
            try:
                return [whole_range(path, os.pread(descriptor, stop - start, start), (start, stop)) for start, stop in ranges]
            finally:
                os.close(descriptor)
        except (FileNotFoundError, NotADirectoryError):
            message = f"there is no {path} in {self._root}"
            raise ObjectMissingError(message, path=path) from None
        except OSError as error:
            raise self._failure("read", path, error) from error

    def exists(self, path: str) -> bool:
        """See ``Storage.exists``."""
        return os.path.exists(self._file(path))  # noqa: PTH110 - see _file

    def create(self, path: str, data: bytes) -> None:
        """See ``Storage.create``; on return file and folder are fsynced."""
        target = self._file(path)
        folder, temporary = _beside(target)
        self._trust_disk(path)
        try:
            self._write_and_claim(folder, temporary, data, target)
        except FileExistsError:
            # Whoever made it may have died before the folder was durable; a caller that builds on it must not.
            self._sync_parent(folder, path)
            message = f"{path} exists already in {self._root}"
            raise ObjectExistsError(message, path=path) from None
        except OSError as error:
            raise self._failure("create", path, error, NotStoredError) from error
        finally:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - see _file
        self._sync_parent(folder, path)

    def _write_and_claim(self, folder: str, temporary: str, data: bytes, target: str) -> None:
        """Once more where the temporary file or its folder is gone.

        To whoever collects garbage, what a slow writer has there looks abandoned; and folders of what is derived may be deleted by anybody.
        """
        for attempt in range(2):
            try:
                self._make_folder(folder)
                _write(temporary, data, self._sync_file)
                claim(temporary, target)
            except FileNotFoundError:
                if attempt:
                    raise
                self._durable_folders.discard(folder)
            else:
                return

    def _trust_disk(self, path: str) -> None:
        if self._distrust is not None:
            message = f"could not create {path}: an earlier fsync on this disk failed ({self._distrust})"
            raise NotStoredError(message, "check the disk, then start the process again.", path=path)

    def _sync_file(self, descriptor: int) -> None:
        try:
            _sync(descriptor)
        except OSError as error:
            self._distrust = str(error)
            raise

    def _sync_parent(self, folder: str, path: str) -> None:
        try:
            _sync_folder(folder)
        except OSError as error:
            self._distrust = str(error)
            raise self._failure("durably create", path, error, NotDurableError) from error

    def replace(self, path: str, data: bytes) -> None:
        """See ``Storage.replace``; not fsynced, for what it replaces is advice."""
        target = self._file(path)
        folder, temporary = _beside(target)
        try:
            if folder not in self._durable_folders:
                Path(folder).mkdir(parents=True, exist_ok=True)
            _write(temporary, data)
            os.replace(temporary, target)  # noqa: PTH105 - see _file
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - see _file
            raise self._failure("replace", path, error) from error

    def delete(self, path: str) -> None:
        """See ``Storage.delete``."""
        try:
            os.unlink(self._file(path))  # noqa: PTH108 - see _file
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._failure("delete", path, error) from error

    @contextmanager
    def turn(self, path: str) -> Iterator[None]:
        """A lock on the folder ``path`` that the kernel drops when its holder dies; waited for at most ``TURN_SECONDS``."""
        try:
            descriptor = os.open(self._file(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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
                    self._impatient_until = time.monotonic() + _IMPATIENT_SECONDS
                    return
                # Whoever has waited longer looks more often, so that nobody waits for ever.
                time.sleep(random.uniform(0.2, 1) * 0.002 / (1 + 200 * waited))  # noqa: S311 - jitter, no secret
            except OSError:
                return
            else:
                return

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See ``Storage.list``; temporary files are listed too, so that ``verify`` can tell of them."""
        top = self._file(prefix) if prefix else str(self._root)
        try:
            for entry in _files_below(top):
                with suppress(FileNotFoundError):
                    facts = entry.stat(follow_symlinks=False)
                    path = Path(entry.path).relative_to(self._root).as_posix()
                    yield StoredObject(path, facts.st_size, facts.st_mtime_ns // 1000)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise self._failure("list", prefix, error) from error

    def sync(self, folder: str) -> None:
        """See ``Storage.sync``."""
        try:
            _sync_folder(self._file(folder))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failure("sync", folder, error) from error

    def locate(self, path: str) -> str | None:
        """The file's absolute path."""
        return self._file(path)

    def _file(self, path: str) -> str:
        """The file as text: a commit names some thirty of them, and each costs a ``Path`` more than its system call."""
        if ".." in path.split("/") or path.startswith("/"):
            message = f"paths in a lake are relative and stay inside it, found {path!r}"
            raise InvalidInputError(message, path=path)
        return f"{self._root}/{path}" if path else str(self._root)

    def _make_folder(self, name: str) -> None:
        """Makes ``folder`` and, once per process, makes sure that it and its parents up to the root survive a power cut.

        A folder found below the root may have been made by a process that died before it synced the folder above.
        """
        if name in self._durable_folders:
            return
        folder = Path(name)
        made = [above for above in (folder, *folder.parents) if not above.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        inside = [above for above in (folder, *folder.parents) if self._root in above.parents]
        for child in {*made, *inside}:
            _sync_folder(str(child.parent))
        self._durable_folders.add(name)

    def _failure(self, verb: str, path: str, error: OSError, kind: type[StorageError] = StorageError) -> StorageError:
        hints = {
            errno.ENOSPC: "the disk is full: free some space and run the same command again; nothing was half-written.",
            errno.EACCES: "check who owns the folder and its permissions.",
            errno.EROFS: "the file system is read-only.",
            errno.EINVAL: "the file system knows no hard links and no exclusive rename: put the lake on a local disk.",
            errno.ENOSYS: "the file system knows no hard links and no exclusive rename: put the lake on a local disk.",
        }
        name = errno.errorcode.get(error.errno or 0, "")
        message = f"could not {verb} {path or '.'} in {self._root}: {error.strerror or error} {name}".rstrip()
        return kind(message, hints.get(error.errno or 0), path=path, errno=error.errno)


def _beside(target: str) -> tuple[str, str]:
    """The folder of a file, and a name in it that nobody else has."""
    folder = target.rpartition("/")[0]
    return folder, f"{folder}/{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"


def _read(file: str) -> bytes:
    with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 - see _file
        return stream.read()


def _write(file: str, data: bytes, sync: Callable[[int], None] | None = None) -> None:
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _FILE_MODE)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if sync is not None:
            sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    """Down to the platter: on macOS ``fsync`` alone stops at the drive's cache."""
    try:
        from fcntl import F_FULLFSYNC, fcntl  # type: ignore[attr-defined, unused-ignore]  # noqa: PLC0415 - macOS alone has it
    except ImportError:
        os.fsync(descriptor)
    else:
        fcntl(descriptor, F_FULLFSYNC)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files_below(folder: str) -> Iterator[os.DirEntry[str]]:
    """Every file in path order, in which a folder stands where its name with a slash would."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            with suppress(FileNotFoundError):
                yield from _files_below(entry.path)
        else:
            yield entry
