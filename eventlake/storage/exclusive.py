"""Give a file its name only if the name is free.

This takes a hard link, or an exclusive rename on file systems without links (exFAT, some mounts).
"""

import ctypes
import errno
import os
import sys

from eventlake.storage.beneath import Place

# What file systems answer that have no hard links, or allow no more of them.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_AT_FDCWD = -100
_AT_FDCWD_MACOS = -2
_RENAME_NOREPLACE = 1
"""Linux, ``renameat2(2)``."""
_RENAME_EXCL = 4
"""macOS, ``renameatx_np(2)``."""


def claim(temporary: Place, target: Place) -> None:
    """Make ``temporary`` appear at ``target`` in one step; the temporary name may remain.

    Raises:
        FileExistsError: ``target`` is taken; it was not touched.
        OSError: The file system supports neither way, or failed.
    """
    try:
        os.link(
            temporary.name,
            target.name,
            src_dir_fd=temporary.folder,
            dst_dir_fd=target.folder,
            follow_symlinks=False,
        )
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        rename_exclusively(temporary, target)


def rename_exclusively(old: Place, new: Place) -> None:
    """Rename ``old`` to ``new``, failing if ``new`` exists.

    Raises:
        FileExistsError: ``new`` exists.
        OSError: The file system does not support such a rename.
    """
    # Python has no function for it, and ``os.rename`` replaces an existing file.
    libc = ctypes.CDLL(None, use_errno=True)
    here = _AT_FDCWD_MACOS if sys.platform == "darwin" else _AT_FDCWD
    places = [
        part
        for at in (old, new)
        for part in (here if at.folder is None else at.folder, os.fsencode(at.name))
    ]
    try:
        failed = (
            libc.renameatx_np(*places, _RENAME_EXCL)
            if sys.platform == "darwin"
            else libc.renameat2(*places, _RENAME_NOREPLACE)
        )
    except AttributeError:
        raise OSError(errno.ENOSYS, "no exclusive rename", new.name) from None
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), old.name, None, new.name)
