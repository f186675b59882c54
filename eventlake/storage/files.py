"""Files outside a lake, such as ``dataset.toml`` and ``dataset.lock``.

A folder may come from an untrusted source: a file that one of its documents names must be a regular
file below that folder, and no part of its path may be a link. Files are written atomically.
"""

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path, PurePosixPath

from eventlake.errors import StorageError
from eventlake.storage import beneath
from eventlake.storage.durable import sync_and_close


def read_below(folder: Path, name: str, most_bytes: int) -> bytes:
    """Read a file that a document in ``folder`` names.

    Raises:
        OSError: As for ``check_below``, or the file is larger than ``most_bytes``.
    """
    return _bounded(_open_below(folder, name), most_bytes)


def read_file(file: str, most_bytes: int) -> bytes:
    """Read a small document that the caller names.

    Raises:
        OSError: It is missing, a pipe or a device, may not be read, or is larger than
            ``most_bytes``.
    """
    return _bounded(beneath.open_named(file), most_bytes)


def _bounded(opened: tuple[int, int], most_bytes: int) -> bytes:
    descriptor, size = opened
    with os.fdopen(descriptor, "rb") as file:
        # The size alone is no bound: the file may grow while it is read, and files of /proc say 0.
        if size <= most_bytes and len(data := file.read(most_bytes + 1)) <= most_bytes:
            return data
    raise OSError(errno.EFBIG, f"expected at most {most_bytes:,} bytes, found more")


def check_below(folder: Path, name: str) -> Path:
    """Check a file that a document in ``folder`` names, and return its path.

    Raises:
        OSError: It is missing, not below the folder, not a regular file, or reached through a link;
            or it may not be read.
    """
    os.close(_open_below(folder, name)[0])
    return folder / name


def _open_below(folder: Path, name: str) -> tuple[int, int]:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise OSError(errno.EPERM, "expected a file below the folder of the document that names it")
    return beneath.open_file(str(folder), str(path))


def write_file(file: Path, text: str, hint: str | None = None, *, follow: bool = True) -> None:
    """Write text to ``file`` atomically and durably, replacing any earlier file.

    Args:
        file: The path.
        text: Stored as UTF-8.
        hint: The error's hint if the file cannot be written.
        follow: Whether to follow a link to the file to replace, and to write to special files such
            as ``/dev/stdout``. Otherwise both are refused.

    Raises:
        StorageError: The file cannot be written; an earlier file is untouched.
    """
    # Renaming onto a link would replace the link instead of the file behind it.
    target = Path(os.path.realpath(file)) if follow else file
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(6)}.tmp")
    try:
        if not follow:
            _refuse_special(target)
        # A device cannot be replaced by a file; what is written to it goes through.
        elif target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return
        with temporary.open("x", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # After the fsync: otherwise a crash could leave the new name with an empty file.
        temporary.replace(target)
        sync_and_close(os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        message = f"{file} cannot be written: {error.strerror}"
        raise StorageError(message, hint, path=str(file), errno=error.errno) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _refuse_special(file: Path) -> None:
    with suppress(FileNotFoundError):
        beneath.facts_of(str(file.parent), file.name)
