"""File names in SQL: each names exactly one file, whatever characters are in its path."""

import os
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from eventlake.core.sql import quoted
from eventlake.errors import InvalidInputError, StorageError
from eventlake.storage.scratch import scratch

_PATTERN = frozenset("*?[")
"""Characters that make DuckDB read a path as a pattern."""


def openable(path: str | Path) -> str:
    """A name by which DuckDB opens exactly this file.

    It is the absolute path. A locked DuckDB cannot escape the characters of a pattern, so a path
    with one of them, or one that is not UTF-8, is opened through a link in this process's private
    folder.

    Raises:
        InvalidInputError: There is no private folder, or its name has such characters too.
        StorageError: The link cannot be created.
    """
    plain = os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links
    # Plain paths stay as they are: they are what errors and plans show.
    return _linked(plain) if _is_special(plain) else plain


def _is_special(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return True
    return not _PATTERN.isdisjoint(path)


def _linked(path: str) -> str:
    folder = scratch()
    if folder is None or _is_special(str(folder)):
        message = (
            f"{path!r} has characters that DuckDB reads as a pattern, and no folder for temporary"
            " files can hold a link to it"
        )
        raise InvalidInputError(
            message,
            "rename the folder, or name a writable folder for temporary files by TMPDIR.",
            path=path,
        )
    # Named by its target, so that one file always has one link, however often it is opened.
    link = Path(folder, sha256(os.fsencode(path)).hexdigest() + Path(path).suffix)
    try:
        with suppress(FileExistsError):
            link.symlink_to(path)
    except OSError as error:
        message = f"no link to {path!r} can be created in {folder}: {error}"
        raise StorageError(
            message,
            "make room in the folder for temporary files, or name another one by TMPDIR.",
            path=folder,
        ) from error
    return str(link)


def parquet(files: Iterable[str | Path], *, by_name: bool = False) -> str:
    """SQL for the rows of Parquet files, to be used after FROM.

    Args:
        files: File names, taken literally: no patterns, no columns from the names of folders.
        by_name: Whether files may lack columns that other files have; these are null.
    """
    names = ", ".join(quoted(openable(file)) for file in files)
    # A folder called ``year=2026`` would otherwise become a column.
    union = "true" if by_name else "false"
    return f"read_parquet([{names}], hive_partitioning = false, union_by_name = {union})"
