"""Open files and folders below a root without following links.

A lake that somebody else wrote may contain symbolic links, pipes and devices. Every path is opened
component by component, each relative to the folder before it and none through a link. Only regular
files are used. The root itself may be a link.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple, Self

_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC
_SEARCH = _FOLDER | getattr(os, "O_PATH", os.O_RDONLY)
"""Enough to reach a folder's entries; on Linux it needs no permission to read the folder."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""With ``O_NONBLOCK``, so that opening a pipe does not wait for its writer."""
_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_MODE = 0o666
"""The umask decides who may read."""
# A file of this size fits into memory, holes or not.
_UNCHECKED_BYTES = 64 << 20
"""Files up to this size may consist of holes."""
_MAX_SPARSENESS = 64
"""Larger files may be at most this many times as long as their data."""
_MAX_DEPTH = 64
"""Maximum depth of folders in a listing."""
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotRegularError(OSError):
    """Something other than a regular file or a folder is at the path.

    Attributes:
        found: What is there, such as ``a symbolic link``.
    """

    def __init__(self, found: str) -> None:
        super().__init__(errno.ELOOP, f"found {found}")
        self.found = found


class Place(NamedTuple):
    """A name in an open folder, or, without a folder, an absolute path directly below the root.

    As a context manager it closes the folder.
    """

    folder: int | None
    name: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.folder is not None:
            os.close(self.folder)


def place(root: str, path: str) -> Place:
    """Open the folder of ``path``, whose parts must exist and must not be links.

    Raises:
        NotRegularError: A folder on the way is a link, a pipe or a device.
        OSError: A folder on the way is missing, a file, or may not be searched.
    """
    folder, _, name = path.rpartition("/")
    if folder:
        return Place(open_folder(root, folder, _SEARCH), name)
    return Place(None, f"{root}/{name}" if name else root)


def open_folder(root: str, path: str, flags: int = _FOLDER | os.O_RDONLY) -> int:
    """Open a folder below the root, or the root itself for ``""``; the caller closes it.

    Returns:
        The descriptor.

    Raises:
        NotRegularError: The folder, or one on the way, is a link, a pipe or a device.
        OSError: The folder is missing or a file, or may not be opened.
    """
    if not path:
        return os.open(root, flags)
    # One component at a time: ``O_NOFOLLOW`` looks only at the last component of a path.
    first, *names = path.split("/")
    here = _step(Place(None, f"{root}/{first}"), flags if not names else _SEARCH)
    for number, name in enumerate(names, start=1):
        try:
            below = _step(Place(here, name), flags if number == len(names) else _SEARCH)
        finally:
            os.close(here)
        here = below
    return here


def _step(at: Place, flags: int) -> int:
    try:
        return os.open(at.name, flags | os.O_NOFOLLOW, dir_fd=at.folder)
    except OSError as error:
        # Which of the two a link gets depends on the system and the flags.
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            with suppress(FileNotFoundError):
                _refuse_special(os.stat(at.name, dir_fd=at.folder, follow_symlinks=False))
        raise


def _refuse_special(facts: os.stat_result) -> None:
    found = _KINDS.get(stat.S_IFMT(facts.st_mode))
    if found is not None:
        raise NotRegularError(found)


def facts_of(root: str, path: str) -> os.stat_result:
    """Stat the file or folder at ``path``.

    Raises:
        NotRegularError: It is neither a file nor a folder.
        OSError: It is missing, or a folder on the way may not be searched.
    """
    with place(root, path) as at:
        # Only the root may be a link: it is what the caller named.
        facts = os.stat(at.name, dir_fd=at.folder, follow_symlinks=not path)
    _refuse_special(facts)
    return facts


def open_file(root: str, path: str) -> tuple[int, int]:
    """Open a regular file for reading; the caller closes it.

    Returns:
        The descriptor and the file's size in bytes.

    Raises:
        NotRegularError: It is a link, a pipe or a device.
        OSError: It is missing, a folder, or may not be read.
    """
    with place(root, path) as at:
        try:
            descriptor = os.open(at.name, _READ, dir_fd=at.folder)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise NotRegularError(_KINDS[stat.S_IFLNK]) from error
            # A socket cannot be opened; ``ENXIO`` is what the kernel answers.
            if error.errno == errno.ENXIO:
                raise NotRegularError(_KINDS[stat.S_IFSOCK]) from error
            raise
    return _regular(descriptor)


def open_named(path: str) -> tuple[int, int]:
    """Like ``open_file``, for a path that the caller names, any part of which may be a link."""
    try:
        return _regular(os.open(path, _READ & ~os.O_NOFOLLOW))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise NotRegularError(_KINDS[stat.S_IFSOCK]) from error
        raise


def is_hollow(descriptor: int, size_bytes: int) -> bool:
    """Whether a large file is nearly all holes, which cost no disk space but would fill memory.

    Leaves the file position at the beginning.
    """
    if size_bytes <= _UNCHECKED_BYTES or not hasattr(os, "SEEK_DATA"):
        return False
    data, at = 0, 0
    try:
        # Stops at the first data that suffices: a real file costs one or two system calls.
        while data < size_bytes // _MAX_SPARSENESS:
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
            at = os.lseek(descriptor, begin, os.SEEK_HOLE)
            data += at - begin
    except OSError as error:
        # ENXIO: no data up to the end. Any other error: a file system that does not report holes.
        return error.errno == errno.ENXIO
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
    return False


def _regular(descriptor: int) -> tuple[int, int]:
    # Of the open file: a name could lead to something else by the time it is looked at.
    facts = os.fstat(descriptor)
    if stat.S_ISREG(facts.st_mode):
        return descriptor, facts.st_size
    os.close(descriptor)
    _refuse_special(facts)
    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def create(at: Place) -> int:
    """Create a file and return its descriptor, open for writing."""
    return os.open(at.name, _CREATE, _FILE_MODE, dir_fd=at.folder)


def unlink(at: Place) -> None:
    """Remove a name; of a link, the link itself."""
    os.unlink(at.name, dir_fd=at.folder)


def replace(old: Place, new: Place) -> None:
    """Rename ``old`` to ``new``; if ``new`` is a link, the link is replaced."""
    os.replace(old.name, new.name, src_dir_fd=old.folder, dst_dir_fd=new.folder)


def files(root: str, path: str) -> Iterator[tuple[str, os.stat_result]]:
    """List everything below a folder except folders, in path order.

    Links are listed but never followed.

    Raises:
        NotRegularError: The folder, or one on the way to it, is a link, a pipe or a device.
        OSError: It is missing or a file, or may not be read; or its folders are nested too deeply.
    """
    descriptor = open_folder(root, path)
    try:
        yield from _files(descriptor, f"{path}/" if path else "", 0)
    finally:
        os.close(descriptor)


def _files(folder: int, prefix: str, depth: int) -> Iterator[tuple[str, os.stat_result]]:
    if depth > _MAX_DEPTH:
        raise OSError(errno.ELOOP, f"expected folders at most {_MAX_DEPTH} deep")
    # A folder sorts by its name with a slash, so that the result is in the order of full paths.
    with os.scandir(folder) as entries:
        found = sorted(
            (f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name, entry)
            for entry in entries
        )
    for name, entry in found:
        # Other processes delete files while this one lists them.
        with suppress(FileNotFoundError, NotADirectoryError):
            if not name.endswith("/"):
                yield f"{prefix}{name}", entry.stat(follow_symlinks=False)
                continue
            below = _step(Place(folder, entry.name), _FOLDER | os.O_RDONLY)
            try:
                yield from _files(below, f"{prefix}{name}", depth + 1)
            finally:
                os.close(below)
