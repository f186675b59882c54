"""Writing files that are no part of a lake, such as ``dataset.lock``: in one step, whoever else writes the same one."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from eventlake.errors import StorageError


def write_file(file: Path, text: str, hint: str | None = None) -> None:
    """Puts text at ``file``, whatever is there. Readers and other writers see the old file or the new one; on return it is durable.

    A link stays, and the file that it points to is replaced. What is no regular file, such as ``/dev/stdout``, is written to.

    Args:
        file: Where.
        text: Stored as UTF-8.
        hint: What to tell whoever cannot write there.

    Raises:
        StorageError: It cannot be written; what was there is untouched.
    """
    target = Path(os.path.realpath(file))
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(6)}.tmp")
    try:
        if target.exists() and not target.is_file():
            target.write_text(text, encoding="utf-8")
            return
        with temporary.open("x", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
        _sync(target.parent)
    except OSError as error:
        message = f"{file} cannot be written: {error.strerror}"
        raise StorageError(message, hint, path=str(file), errno=error.errno) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
