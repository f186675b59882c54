"""Giving a file its name only where the name is free: a hard link, or an exclusive rename where links are missing (exFAT, some mounts)."""

import ctypes
import errno
import os
import sys

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
"""Linux, ``renameat2(2)``."""
_RENAME_EXCL = 4
"""macOS, ``renamex_np(2)``."""


def claim(temporary: str, target: str) -> None:
    """Makes ``temporary`` appear at ``target`` in one step; afterwards the temporary name may be gone or not.

    Raises:
        FileExistsError: ``target`` is taken; it was not touched.
        OSError: The file system can do neither, or failed.
    """
    try:
        os.link(temporary, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        rename_exclusively(temporary, target)


def rename_exclusively(old: str, new: str) -> None:
    """``rename`` that fails where ``new`` exists.

    Raises:
        FileExistsError: ``new`` exists.
        OSError: The file system refuses such a rename.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    source, target = os.fsencode(old), os.fsencode(new)
    try:
        if sys.platform == "darwin":
            failed = libc.renamex_np(source, target, _RENAME_EXCL)
        else:
            failed = libc.renameat2(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE)
    except AttributeError:
        raise OSError(errno.ENOSYS, "no exclusive rename", new) from None
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), old, None, new)
