"""The DuckDB database of an import, which may be larger than memory."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from tempfile import gettempdir

import duckdb

from eventlake.database import open_database
from eventlake.errors import InvalidInputError, StorageError
from eventlake.importing.rules import Table
from eventlake.storage.scratch import temporary_folder


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
    files = [file_of(table, given) for table in tables if table.query is None]
    try:
        with (
            temporary_folder() as folder,
            open_database(
                files,
                folders=[input_folder(given), folder],
                stored_in=folder / "import.duckdb",
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
                "an import needs about as much room there as its input has"
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
