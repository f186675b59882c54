"""The finished rows of a build.

Few rows are in memory. Many are hashed, encoded and kept in a file while the next ones are made, so
that no more than two pieces of them are in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import IO

import pyarrow as pa

from eventlake.columns.empty import empty_columns
from eventlake.columns.hashing.content import RunningHash, content_hash, schema_of
from eventlake.columns.parquet import frames
from eventlake.errors import StorageError
from eventlake.storage.scratch import scratch

Schema = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MadeRows:
    """Finished rows, in key order.

    Attributes:
        content_hash: Their hash.
        number: Their number.
        schema: Names and logical types of their columns.
        table: Returns the rows.
        parts: Returns the rows, encoded as the parts to store.
        empty: Returns the columns that have only nulls, zeros and false.
        in_memory: Whether the rows are in memory.
        close: Gives back what holds them.
    """

    content_hash: str
    number: int
    schema: Schema
    table: Callable[[], pa.Table]
    parts: Callable[[], Iterator[bytes]]
    empty: Callable[[], set[str]]
    in_memory: bool = True
    close: Callable[[], None] = lambda: None


def kept(table: pa.Table) -> MadeRows:
    """Rows in memory."""
    return MadeRows(
        content_hash(table),
        table.num_rows,
        _schema(table),
        lambda: table,
        lambda: frames.encode_parts(table),
        lambda: empty_columns(table),
    )


def streamed(tables: Iterator[pa.Table], part_rows: int = frames.PART_ROWS) -> MadeRows:
    """Rows that come table by table; a single table is kept in memory.

    Args:
        tables: Finished rows in key order, of one schema; at least one table.
        part_rows: Rows of a part.

    Raises:
        StorageError: The temporary file cannot be written.
    """
    first, second = next(tables), next(tables, None)
    if second is None:
        return kept(first)
    encoder = _Encoder(first.schema, part_rows)
    try:
        # One table is hashed and encoded while the next one is made.
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(encoder.add, first)
            del first
            for table in chain([second], tables):
                done.result()
                done = pool.submit(encoder.add, table)
                del table
            done.result()
        return encoder.finish()
    except BaseException:
        encoder.close()
        raise


class _Encoder:
    """Hashes tables, and writes them as parts to a file without a name."""

    def __init__(self, schema: pa.Schema, part_rows: int) -> None:
        self._schema, self._part_rows = schema, part_rows
        self._hash = RunningHash(schema)
        self._number = 0
        self._waiting = schema.empty_table()
        self._empty = set(schema.names)
        self._ends = [0]
        with _in_temporary_file():
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=scratch())  # noqa: SIM115 - closed by ``close``

    def add(self, table: pa.Table) -> None:
        """Add the next rows."""
        self._hash.update(table)
        self._number += table.num_rows
        self._empty = empty_columns(table.select(sorted(self._empty)))
        waiting = pa.concat_tables([self._waiting, table])
        while waiting.num_rows >= self._part_rows:
            self._write(waiting.slice(0, self._part_rows))
            waiting = waiting.slice(self._part_rows)
        self._waiting = waiting

    def finish(self) -> MadeRows:
        """All rows that were added."""
        if self._waiting.num_rows or len(self._ends) == 1:
            self._write(self._waiting)
        self._waiting = self._schema.empty_table()
        return MadeRows(
            self._hash.hexdigest(),
            self._number,
            _schema(self._waiting),
            self._table,
            self._parts,
            lambda: self._empty,
            in_memory=False,
            close=self.close,
        )

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def _write(self, table: pa.Table) -> None:
        data = frames.encode(table)
        with _in_temporary_file():
            self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def _parts(self) -> Iterator[bytes]:
        for start, stop in pairwise(self._ends):
            with _in_temporary_file():
                self._file.seek(start)
                part = self._file.read(stop - start)
            yield part

    def _table(self) -> pa.Table:
        name = "the rows of a build"
        return pa.concat_tables([frames.decode(part, name) for part in self._parts()])


def _schema(table: pa.Table) -> Schema:
    return tuple((name, kind) for name, kind in schema_of(table))


@contextmanager
def _in_temporary_file() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = (
            f"the rows of this build cannot be kept in {scratch() or tempfile.gettempdir()}: "
            f"{error.strerror}"
        )
        hint = "make room there, or set TMPDIR to a folder with more; nothing was published."
        raise StorageError(message, hint) from error
