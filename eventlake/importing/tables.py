"""The tables of an input, in the import's DuckDB database.

Text of CSV and JSON files stays text: no types are guessed.
"""

import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from eventlake.columns.parquet.foreign_files import check_int96
from eventlake.core.sql import identifier, integer
from eventlake.database import tree_of
from eventlake.errors import InvalidInputError, NotFoundError
from eventlake.exactness.tree import nodes
from eventlake.importing.database import file_of, first_line, input_folder
from eventlake.importing.file_formats import FORMATS, check_content, format_of
from eventlake.importing.files import (
    CHUNK_BYTES,
    check_names,
    delimiter_hint,
    readable,
)
from eventlake.importing.problems import ROW
from eventlake.importing.rules import Events, Table
from eventlake.importing.sql import checked_condition, checked_select, int96_files
from eventlake.progress import task

CHUNK_ROWS = 100_000
_TYPES = frozenset({
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT",
    "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT", "DOUBLE",
    "DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS",
    "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS",
})  # fmt: skip
"""DuckDB's names of the types, besides text and decimals, that an event can hold."""


class Tables:
    """The tables of an input.

    Args:
        connection: The database, from ``database``.
        scratch: Folder for copies of files.
        given: The file or folder to import.
        tables: Tables in the order of their creation.
        chunk_rows: Maximum number of rows of which events are made at once.
        chunk_bytes: Maximum bytes of their text, except for a single row's.

    Raises:
        NotFoundError: A file does not exist.
        InvalidInputError: A query is not one SELECT or fails, or a file has other content than
            expected.
        InvalidEventsError: Lines of a CSV file are broken; each is listed.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        scratch: Path,
        given: Path,
        tables: tuple[Table, ...],
        *,
        chunk_rows: int = CHUNK_ROWS,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        self._connection = connection
        self._chunk_rows = chunk_rows
        self._chunk_bytes = chunk_bytes
        self._scratch = scratch
        self._without_columns: set[str] = set()
        self._created: list[str] = []
        if not given.exists():
            message = f"there is no file or folder {given}"
            raise NotFoundError(message, path=str(given))
        connection.execute("SET VARIABLE folder = ?", [str(input_folder(given))])
        for table in tables:
            if table.query is not None:
                self._query(table, table.query)
            elif given.is_dir() and not table.file:
                message = f"{given} is a folder: its files need names"
                raise InvalidInputError(
                    message, 'give each in the mapping: [tables.loan] with file = "loan.csv".'
                )
            else:
                self._file(table, file_of(table, given))
            self._created.append(table.name)
        self._names = [table.name for table in tables]

    def _file(self, table: Table, path: Path) -> None:
        with readable(table, path):
            # A pipe would be waited for without end, and a device read without end.
            if not stat.S_ISREG(path.stat().st_mode):
                message = f"table {table.name}: expected {path} as a regular file"
                raise InvalidInputError(message, path=str(path))
            # Denied permission is reported as such here, and not in DuckDB's words.
            path.open("rb").close()
        check_content(table, path)
        kind = format_of(table, path)
        try:
            if not FORMATS[kind].create(self._connection, table, path, self._scratch):
                self._without_columns.add(table.name)
        except (duckdb.Error, pa.ArrowException) as error:
            message = f"table {table.name}: {path} cannot be read as {kind}: {first_line(error)}"
            raise InvalidInputError(message, path=str(path)) from error

    def _query(self, table: Table, text: str) -> None:
        try:
            query = checked_select(self._connection, f"table {table.name}", text)
            self._prepare(table.name, query)
            # Checked on the query, because CREATE TABLE renames one of two equal names.
            check_names(table, self._connection.sql(query).columns)
            self._connection.execute(f"CREATE TABLE {identifier(table.name)} AS {query}")
        except pa.ArrowException as error:
            message = f"table {table.name}: a Parquet file of its query: {first_line(error)}"
            hint = (
                "DuckDB cuts what is finer; import the file as a table of its own, "
                "or write it with another type of instants."
            )
            raise InvalidInputError(message, hint, sql=text) from error
        except duckdb.Error as error:
            message = f"table {table.name}: DuckDB refused its query: {error}"
            raise InvalidInputError(
                message,
                "a query reads the tables above it and files below getvariable('folder').",
                sql=text,
            ) from error

    def _prepare(self, table: str, query: str) -> None:
        """Check the files that a query reads, and give tables without rows the columns it names."""
        tree = tree_of(query)
        for path in int96_files(self._connection, tree):
            check_int96(path)
        hollow = {
            str(node.get("alias") or node["table_name"]): str(node["table_name"])
            for node in nodes(tree)
            if node.get("type") == "BASE_TABLE" and node["table_name"] in self._without_columns
        }
        if hollow:
            self._without_columns.add(table)
            self._name_columns(hollow, tree, query)

    def _name_columns(self, hollow: Mapping[str, str], tree: Any, query: str) -> None:
        """Give tables without rows the columns that a query reads from them.

        Args:
            hollow: These tables, by their names in the query.
            tree: The query's syntax tree.
            query: The query's text.
        """
        read = [node["column_names"] for node in nodes(tree) if node.get("class") == "COLUMN_REF"]
        own = {
            (hollow[names[0]], names[-1]) for names in read if len(names) > 1 and names[0] in hollow
        }
        joined = [
            str(name)
            for node in nodes(tree)
            if node.get("type") == "JOIN"
            for name in node.get("using_columns", [])
        ]
        plain = {str(names[0]) for names in read if len(names) == 1}
        others = {
            name for one in set(self._created) - set(hollow.values()) for name in self.columns(one)
        }
        self._add_columns(
            own | {(one, name) for one in hollow.values() for name in [*joined, *(plain - others)]}
        )
        # A column without a table name may belong to a table that has it. Only if the query does
        # not bind that way does the empty table get one of that name too.
        try:
            self._connection.sql(query)
        except duckdb.BinderException:
            self._add_columns({(one, name) for one in hollow.values() for name in plain & others})

    def _add_columns(self, added: Iterable[tuple[str, str]]) -> None:
        for table, name in sorted(added):
            self._connection.execute(
                f"ALTER TABLE {identifier(table)} "
                f"ADD COLUMN IF NOT EXISTS {identifier(name)} VARCHAR"
            )

    def _is_empty(self, table: str) -> bool:
        """Whether a table has neither known columns nor rows."""
        return (
            table in self._without_columns
            and not self._connection.execute(f"FROM {identifier(table)} LIMIT 1").fetchall()
        )

    def columns(self, table: str) -> dict[str, str]:
        """The columns of a table, and DuckDB's names of their types."""
        return {
            str(row[0]): str(row[1])
            for row in self._connection.execute(f"DESCRIBE {identifier(table)}").fetchall()
        }

    def check_columns(self, rules: Events) -> None:
        """Refuse rules for columns that are missing or have a type that no event can hold.

        Raises:
            InvalidInputError: The message names these columns; the hint lists the existing ones.
        """
        if self._is_empty(rules.table):
            return
        there = self.columns(rules.table)
        where = f"mapping, [[events]] {rules.number + 1}: table {rules.table}"
        missing = [column for column in rules.columns if column not in there]
        if missing:
            message = f"{where} has no column {', '.join(map(repr, missing))}"
            raise InvalidInputError(
                message,
                f"its columns are {', '.join(there)}.{delimiter_hint(there)}",
                columns=list(there),
            )
        odd = [f"{column} ({there[column]})" for column in rules.columns if _is_odd(there[column])]
        if odd:
            message = f"{where} has columns of types that no event can hold: {', '.join(odd)}"
            raise InvalidInputError(
                message,
                "make text, numbers or times of them in a query of the mapping; "
                "to_json(…) gives JSON text.",
            )

    def rows(self, rules: Events) -> Iterator[pl.DataFrame]:
        """Yield the matching rows in table order, with the columns that the rules name and ``ROW``.

        Raises:
            InvalidInputError: DuckDB refuses the condition.
        """
        if self._is_empty(rules.table):
            return
        name = identifier(rules.table)
        total = int(self._connection.execute(f"FROM {name} SELECT count(*)").fetchall()[0][0])
        kinds = self.columns(rules.table)
        wanted = [
            # UUIDs, enums and JSON become text as well.
            f"{identifier(column)}::VARCHAR AS {identifier(column)}"
            if _is_text(kinds[column])
            else identifier(column)
            for column in rules.columns
        ]
        columns = ", ".join([f"rowid AS {identifier(ROW)}", *wanted])
        condition = f"AND {self._condition(rules, rules.where)}" if rules.where else ""
        with task(f"making events of {rules.table}", total) as advance:
            for start, stop in self._chunks(rules, total):
                text = (
                    f"FROM {name} SELECT {columns} "
                    f"WHERE {_between(start, stop)} {condition} ORDER BY rowid"
                )
                try:
                    yield pl.DataFrame(self._connection.sql(text).to_arrow_table())
                except duckdb.Error as error:
                    raise self._refused(rules, error) from error
                advance(stop - start)

    def drop(self) -> None:
        """Drop the tables, to free their memory once events have been made of their rows."""
        for name in self._created:
            self._connection.execute(f"DROP TABLE {identifier(name)}")

    def _chunks(self, rules: Events, total: int) -> Iterator[tuple[int, int]]:
        """Ranges of rows, limited by rows and by bytes of text, with at least one row."""
        name, kinds = identifier(rules.table), self.columns(rules.table)
        texts = [
            f"coalesce(strlen({identifier(column)}::VARCHAR), 0)"
            for column in rules.columns
            if _is_text(kinds[column])
        ]
        size = f"({' + '.join(['0', *texts])})::BIGINT"
        # A small Parquet file can decode to 100,000 long texts, so bytes are counted too.
        for first in range(0, total, self._chunk_rows):
            last = min(first + self._chunk_rows, total)
            start, held = first, 0
            sizes = self._connection.execute(
                f"FROM {name} SELECT {size} WHERE {_between(first, last)} ORDER BY rowid"
            )
            for row, (bytes_,) in enumerate(sizes.fetchall(), first):
                if row > start and held + bytes_ > self._chunk_bytes:
                    yield start, row
                    start, held = row, 0
                held += bytes_
            yield start, last

    def _condition(self, rules: Events, text: str) -> str:
        try:
            condition = checked_condition(
                self._connection, f"mapping, [[events]] {rules.number + 1}, where", text
            )
            for path in int96_files(self._connection, tree_of(f"SELECT {condition}")):
                check_int96(path)
        except pa.ArrowException as error:
            message = (
                f"mapping, [[events]] {rules.number + 1}, where: "
                f"a Parquet file that it reads: {first_line(error)}"
            )
            raise InvalidInputError(
                message,
                "DuckDB cuts what is finer; write the file with another type of instants.",
                sql=text,
            ) from error
        except duckdb.Error as error:
            raise self._refused(rules, error) from error
        return condition

    def _refused(self, rules: Events, error: duckdb.Error) -> InvalidInputError:
        message = (
            f"mapping, [[events]] {rules.number + 1}: "
            f"DuckDB refused where = {rules.where!r}: {error}"
        )
        there = ", ".join(self.columns(rules.table))
        return InvalidInputError(
            message, f"the columns are {there}; those of CSV and JSON files are text."
        )


def _between(start: int, stop: int) -> str:
    return f"rowid >= {integer(start)} AND rowid < {integer(stop)}"


def _is_text(kind: str) -> bool:
    return kind in {"VARCHAR", "UUID", "JSON"} or kind.startswith("ENUM(")


def _is_odd(kind: str) -> bool:
    return kind.endswith("]") or not (
        kind in _TYPES or _is_text(kind) or kind.startswith("DECIMAL(")
    )
