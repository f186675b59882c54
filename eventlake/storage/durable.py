"""Write files so that they survive a power cut."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from eventlake.core.layout import TEMPORARY_PREFIX
from eventlake.storage import beneath
from eventlake.storage.beneath import Place


@contextmanager
def temporary_beside(target: Place) -> Iterator[Place]:
    """A unique name beside a file, which is removed afterwards."""
    # In the same folder, because a link or a rename cannot cross file systems.
    folder, slash, _ = target.name.rpartition("/")
    temporary = Place(
        target.folder, f"{folder}{slash}{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}"
    )
    try:
        yield temporary
    finally:
        with suppress(OSError):
            beneath.unlink(temporary)


def write(file: Place, data: bytes, flush: Callable[[int], None] | None = None) -> None:
    """Create a file with ``data``, and call ``flush`` with its descriptor before it is closed."""
    descriptor = beneath.create(file)
    try:
        view = memoryview(data)
        # One call may write less than it is given.
        while view:
            view = view[os.write(descriptor, view) :]
        if flush is not None:
            flush(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """Make a file's content durable."""
    # On macOS fsync stops at the drive's cache; only F_FULLFSYNC, which other systems do not have,
    # goes through it.
    try:
        from fcntl import (  # type: ignore[attr-defined, unused-ignore]  # noqa: PLC0415
            F_FULLFSYNC,
            fcntl,
        )
    except ImportError:
        os.fsync(descriptor)
    else:
        fcntl(descriptor, F_FULLFSYNC)


def sync_and_close(folder: int) -> None:
    """Make a folder's entries durable, and close it."""
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
