"""Tables that nobody stores: rows in memory, and in temporary files beyond a bound."""

import os
import shutil
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from eventlake.columns.parquet import segments
from eventlake.errors import StorageError
from eventlake.storage.scratch import new_folder
from eventlake.tables.derive import joined
from eventlake.tables.event_table import TableFile


def temporary_parts(tables: Iterable[pa.Table], end: int, most_bytes: int) -> Iterator[TableFile]:
    """The rows of tables, of which about ``most_bytes`` are in memory at a time.

    The files exist as long as one of the parts does.

    Args:
        tables: The rows, piece by piece, in stored columns; at least one table.
        end: See ``TableFile``.
        most_bytes: Rows of this size become a file. If no file can be written, they stay in memory.
    """
    folder: _Folder | None = None
    held: list[pa.Table] = []
    size = 0
    for table in tables:
        held.append(table)
        size += table.nbytes
        del table  # makes room for the next piece
        if size < most_bytes:
            continue
        rows = joined(held)
        try:
            folder = folder or _Folder()
            yield TableFile(end, None, str(folder.write(rows)), None, keep=folder)
        except (OSError, StorageError):
            yield TableFile(end, None, None, rows)
        held, size = [rows.slice(0, 0)], 0
        del rows
    # Also without rows, for their columns.
    if folder is None or size:
        yield TableFile(end, None, None, joined(held))


class _Folder:
    """A folder of files, which is removed when nothing refers to it any more."""

    def __init__(self) -> None:
        self._path = new_folder()
        self._files = 0
        weakref.finalize(self, _remove, self._path, os.getpid())

    def write(self, rows: pa.Table) -> Path:
        self._files += 1
        file = self._path / f"{self._files}.parquet"
        file.write_bytes(segments.encode_sorted(rows))
        return file


def _remove(folder: Path, process: int) -> None:
    # A forked child has a copy of the object, but the folder is its parent's.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
