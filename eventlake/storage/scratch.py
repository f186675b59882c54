"""The process's private folder for temporary files, and the removal of folders of dead processes.

A process holds an exclusive lock on its folder. The kernel releases the lock when the process and
every worker that inherited it have ended, in whatever way. So a folder whose lock is free belongs
to nobody, even if it was created in another container.
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

from eventlake.cleanup import before_exit
from eventlake.errors import StorageError

PREFIX = "eventlake-process-"
_TRIES = 10


@dataclass(frozen=True, slots=True)
class _Own:
    folder: Path
    lock: int


def scratch() -> Path | None:
    """This process's folder, created again if it was removed; None if it cannot have one."""
    own = _current()
    return None if own is None else own.folder


def lock_to_inherit() -> tuple[int, ...]:
    """The descriptors that a child must inherit so that the folder lives as long as the child."""
    own = _current()
    return () if own is None else (own.lock,)


@before_exit
def remove_scratch() -> None:
    """Remove this process's folder, for a process that ends without its exit handlers."""
    if _own.cache_info().currsize and (own := _own(os.getpid())) is not None:
        shutil.rmtree(own.folder, ignore_errors=True)


def new_folder() -> Path:
    """Create an empty folder inside this process's own.

    Raises:
        StorageError: No folder can be created.
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
    """Create an empty folder that is removed at the end of the block.

    Raises:
        StorageError: No folder can be created.
    """
    folder = new_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _current() -> _Own | None:
    own = _own(os.getpid())
    # Cleaners of /tmp remove folders of processes that run for weeks.
    if own is not None and not own.folder.is_dir():
        _own.cache_clear()
        own = _own(os.getpid())
    return own


@cache  # keyed by process: a forked child must neither share nor remove its parent's folder
def _own(process: int) -> _Own | None:
    del process
    try:
        above = Path(tempfile.gettempdir())
        _sweep(above)
        own = _create(above)
    except OSError:
        return None
    # Unlike atexit, this also runs at the end of a worker process, and only in the process that
    # registered it.
    util.Finalize(None, shutil.rmtree, (own.folder,), {"ignore_errors": True}, exitpriority=0)
    return own


def _create(above: Path) -> _Own:
    # Another process's sweep may remove the folder before it is locked; then a new one is tried.
    for _ in range(_TRIES):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=above)).resolve()
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            # On a file system without locks nobody can sweep, so the folder is safe without one.
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(lock, folder):
                return _Own(folder, lock)
            os.close(lock)
    message = f"folders in {above} are removed as soon as they are created"
    raise OSError(message)


def _is_same(descriptor: int, folder: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), folder.stat(follow_symlinks=False))
    return False


def _sweep(above: Path) -> None:
    """Remove this user's folders whose owners have ended."""
    with suppress(OSError), os.scandir(above) as entries:
        for entry in entries:
            with suppress(OSError):
                if (
                    entry.name.startswith(PREFIX)
                    # Anyone can create such a name in a shared folder.
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
