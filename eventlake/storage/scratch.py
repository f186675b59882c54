"""This process's private folder for temporary files, and the removal of those that dead processes left.

A process keeps an exclusive lock on its folder. The kernel releases it when the process, and every
worker that inherited it, has ended, however that happened. So a folder whose lock is free belongs
to nobody, also if it was made in another container.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import util
from pathlib import Path

from eventlake.errors import StorageError

PREFIX = "eventlake-process-"
_TRIES = 10


@dataclass(frozen=True, slots=True)
class _Own:
    folder: Path
    lock: int


def scratch() -> Path | None:
    """This process's folder, made again if it was taken away; None if it cannot have one."""
    own = _current()
    return None if own is None else own.folder


def lock_to_inherit() -> tuple[int, ...]:
    """The descriptors that a child process must inherit so that this process's folder outlives it."""
    own = _current()
    return () if own is None else (own.lock,)


def remove_scratch() -> None:
    """Removes this process's folder with what is in it, before the process ends without its exit handlers."""
    if _own.cache_info().currsize and (own := _own(os.getpid())) is not None:
        shutil.rmtree(own.folder, ignore_errors=True)


def new_folder() -> Path:
    """A new, empty folder inside this process's own.

    Raises:
        StorageError: There is no place for it.
    """
    above = scratch()
    try:
        if above is not None:
            return Path(tempfile.mkdtemp(dir=above))
        message = "expected a folder for temporary files that this user can write to, found none"
    except OSError as error:
        message = f"no folder for temporary files can be made in {above}: {error.strerror}"
    raise StorageError(
        message, "make room, or name a writable folder by the environment variable TMPDIR."
    )


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new, empty folder that is removed at the end of the block.

    Raises:
        StorageError: There is no place for it.
    """
    folder = new_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _current() -> _Own | None:
    own = _own(os.getpid())
    if own is not None and not own.folder.is_dir():
        _own.cache_clear()
        own = _own(os.getpid())
    return own


@cache  # a process that was forked must not share, or remove, the folder of the one before it
def _own(process: int) -> _Own | None:
    del process
    try:
        above = Path(tempfile.gettempdir())
        _sweep(above)
        own = _made(above)
    except OSError:
        return None
    # Unlike atexit it runs at the end of a worker process too, and only in the process that made
    # it.
    util.Finalize(None, shutil.rmtree, (own.folder,), {"ignore_errors": True}, exitpriority=0)
    return own


def _made(above: Path) -> _Own:
    """A new folder with its lock; another one if a sweep of another process took it before it was locked."""
    for _ in range(_TRIES):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=above)).resolve()
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            # A file system without locks has folders that nobody sweeps.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(lock, folder):
                return _Own(folder, lock)
            os.close(lock)
    message = f"folders in {above} are taken away as soon as they are made"
    raise OSError(message)


def _is_same(descriptor: int, folder: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), folder.stat(follow_symlinks=False))
    return False


def _sweep(above: Path) -> None:
    """Removes this user's folders whose owners have ended."""
    with suppress(OSError), os.scandir(above) as entries:
        for entry in entries:
            with suppress(OSError):
                if (
                    entry.name.startswith(PREFIX)
                    and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
                ):
                    _remove_if_dead(above / entry.name)


def _remove_if_dead(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
