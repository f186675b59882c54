"""The DuckDB database of an import, which spills what is larger than its memory."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from tempfile import gettempdir

import duckdb

from eventlake.core.sql import integer
from eventlake.database import DEFAULT, Resources, open_database
from eventlake.errors import InvalidInputError, StorageError
from eventlake.importing.rules import Table
from eventlake.memory import limit_bytes
from eventlake.storage.scratch import temporary_folder

_MOST_BYTES, _LEAST_BYTES = 512_000_000, 64_000_000


@contextmanager
def database(
    given: Path, tables: Sequence[Table]
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """Open a database in a temporary folder, which also has room for copies of files.

    The database may read the input's folder, because queries of a mapping may, and the files of
    the tables, whatever their names are.

    Args:
        given: The file or folder to import.
        tables: The tables to create.

    Raises:
        StorageError: The disk or memory is full.
    """
    # Not in a file: DuckDB would compress and sync what is read a few times and then deleted.
    files = [file_of(table, given) for table in tables if table.query is None]
    try:
        with (
            temporary_folder() as folder,
            open_database(
                files,
                folders=[input_folder(given), folder],
                resources=resources_of(tables),
            ) as connection,
        ):
            yield connection, folder
    except (InvalidInputError, duckdb.Error, OSError, MemoryError) as error:
        # An error of DuckDB may already have been translated to one of ours.
        reason = (
            error.__cause__ if isinstance(error, InvalidInputError) and error.__cause__ else error
        )
        if is_disk_full(reason):
            message = (
                f"the folder for temporary files, {gettempdir()}, is full: "
                "an import needs about twice as much room there as its input has"
            )
            hint = "make room, or name another folder by the environment variable TMPDIR."
            raise StorageError(message, hint, path=gettempdir()) from error
        if isinstance(reason, duckdb.OutOfMemoryException | MemoryError):
            message = (
                f"expected enough memory for the import of {given}: "
                f"{first_line(reason) or 'there is no more'}"
            )
            hint = (
                "end what else uses memory, raise the memory limit of this process, "
                "or import on a machine with more."
            )
            raise StorageError(message, hint, path=str(given)) from error
        raise


def resources_of(tables: Sequence[Table]) -> Resources:
    """Bounded memory, unless the mapping has queries, which may sort what DuckDB cannot spill."""
    if any(table.query is not None for table in tables):
        return DEFAULT
    most = min(_MOST_BYTES, limit_bytes() // 4)
    return Resources(memory=f"{integer(max(most, _LEAST_BYTES) // 10**6)}MB")


def input_folder(given: Path) -> Path:
    """The absolute path of the folder whose files an import may read."""
    return Path(os.path.abspath(given if given.is_dir() else given.parent))  # noqa: PTH100 - links are not followed


def file_of(table: Table, given: Path) -> Path:
    """The path of a table's file."""
    return input_folder(given) / table.file if table.file else given


def is_disk_full(error: BaseException) -> bool:
    """Whether an error says that the disk is full.

    DuckDB reports its own limit for temporary files as out of memory.
    """
    text = str(error)
    return os.strerror(ENOSPC) in text or (
        isinstance(error, duckdb.OutOfMemoryException) and "max_temp_directory_size" in text
    )


def first_line(error: Exception) -> str:
    """The first line of an error's message; the rest is DuckDB's excerpt of the query."""
    return str(error).partition("\n")[0]
