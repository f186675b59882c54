"""The rows that stored event tables must hold, kept until a whole range of them is derived."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from eventlake.columns.rows import combined, taken
from eventlake.errors import StorageError
from eventlake.storage.scratch import new_folder
from eventlake.tables.derive import sorted_order


class DerivedRows:
    """The rows of one range, in the order of their sequences: in memory, or in temporary files.

    Attributes:
        size_bytes: The size of the rows in memory.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self._rows: list[pa.Table] = []
        self._files: list[Path] = []

    def add(self, rows: pa.Table) -> None:
        """Add the next rows."""
        self._rows.append(rows)
        self.size_bytes += rows.nbytes

    def spill(self, file: Path) -> None:
        """Move the rows in memory to a new file.

        Raises:
            OSError: The file cannot be written; the rows stay in memory.
        """
        if not self._rows:
            return
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, self._rows[0].schema) as to:
            for rows in self._rows:
                to.write_table(rows)
        self._files.append(file)
        self._rows, self.size_bytes = [], 0

    def are(self, stored: Iterable[pa.Table]) -> bool:
        """Whether the rows, sorted as a table is, are those that are stored; gives up the rows.

        Args:
            stored: The stored rows, batch by batch, so that they are never in memory as a whole.
        """
        whole, order = self._combined()
        place = 0
        for batch in stored:
            mine = order.slice(place, batch.num_rows)
            place += batch.num_rows
            if len(mine) != batch.num_rows:
                return False
            if len(mine) and not batch.equals(taken(whole, mine, batch.schema)):
                return False
        return place == len(order)

    def _combined(self) -> tuple[pa.Table, pa.Array]:
        """The rows, with their order; they are held nowhere else afterwards."""
        parts = [*_read(self._files), *self._rows]
        self._rows, self.size_bytes = [], 0
        if not parts:
            return pa.table({}), pa.array([], pa.int64())
        rows = pa.concat_tables(parts)
        return combined(rows), pa.array(sorted_order(rows))

    def discard(self) -> None:
        """Free the memory and the files."""
        self._rows, self.size_bytes = [], 0
        for file in self._files:
            file.unlink(missing_ok=True)
        self._files = []


def _read(files: Sequence[Path]) -> Iterator[pa.Table]:
    for file in files:
        # The tables keep the mapping open; its pages are read as they are needed.
        yield pa.ipc.open_file(pa.memory_map(str(file))).read_all()


class Spill:
    """A bound for the rows in memory; the largest are moved to a temporary folder.

    Args:
        most_bytes: The bound.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._folder: Path | None = None
        self._files = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def limit(self, all_rows: Iterable[DerivedRows]) -> None:
        """Keep within the bound, if there is room for temporary files."""
        held = sorted(all_rows, key=lambda rows: rows.size_bytes)
        size = sum(rows.size_bytes for rows in held)
        if size <= self._most_bytes:
            return
        # Without room the rows stay in memory, as they would without a bound.
        with suppress(StorageError, OSError):
            self._folder = self._folder or new_folder()
            # Down to half of the bound, so that a file holds more than the last batch.
            while held and size > self._most_bytes // 2:
                self._files += 1
                size -= held[-1].size_bytes
                held.pop().spill(self._folder / f"{self._files}.arrow")
