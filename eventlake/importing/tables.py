"""The input's tables, and the events made of them, in a DuckDB database of their own that may be larger than memory.

The only place of the imports that runs DuckDB. Texts of CSV and JSON files stay text: nothing is
guessed about their types.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from eventlake.columns.parquet.segments import check_footer, check_int96
from eventlake.core.sql import identifier, integer, quoted
from eventlake.database import open_database, openable, parquet, tree_of
from eventlake.errors import InvalidEventsError, InvalidInputError, NotFoundError, StorageError
from eventlake.exactness.tree import nodes
from eventlake.importing.files import (
    CHUNK_BYTES,
    as_utf8,
    check_kind,
    check_names,
    csv_columns,
    delimiter_hint,
    format_of,
    json_rows,
    readable,
    reason_of,
)
from eventlake.importing.problems import MOST_ALIKE, ROW, ImportProblem
from eventlake.importing.rules import OWN, Events, Table
from eventlake.importing.sql import checked_condition, checked_select, int96_files
from eventlake.progress import task
from eventlake.storage.scratch import temporary_folder

_CHUNK_ROWS = 100_000
_REJECTS = f"{OWN}rejects"
_TYPES = frozenset({
    *("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("FLOAT", "DOUBLE", "DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"),
})  # fmt: skip


@contextmanager
def database(
    given: Path, tables: Sequence[Table]
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A database in a folder that ends with the block, for copies of files too.

    It reads the input's folder, because queries of a mapping may, and the files of the tables, by
    whatever name they have.

    Args:
        given: The file or folder that is imported.
        tables: What is made of it.

    Raises:
        StorageError: There is no room for it on the disk or in memory.
    """
    there = input_folder(given)
    files = [_file_of(table, given) for table in tables if table.query is None]
    try:
        with (
            temporary_folder() as folder,
            open_database(
                files, folders=[there, folder], stored_in=folder / "import.duckdb"
            ) as connection,
        ):
            yield connection, folder
    except (InvalidInputError, duckdb.Error, OSError, MemoryError) as error:
        reason = (
            error.__cause__ if isinstance(error, InvalidInputError) and error.__cause__ else error
        )
        if _is_full(reason):
            message = f"the folder for temporary files, {gettempdir()}, is full: an import needs about as much room there as its input has"
            hint = "make room, or name another folder by the environment variable TMPDIR."
            raise StorageError(message, hint, path=gettempdir()) from error
        if isinstance(reason, duckdb.OutOfMemoryException | MemoryError):
            message = f"expected enough memory for the import of {given}: {_first_line(reason) or 'there is no more'}"
            hint = "end what else uses memory, raise the memory limit of this process, or import on a machine with more."
            raise StorageError(message, hint, path=str(given)) from error
        raise


def input_folder(given: Path) -> Path:
    """The absolute path of the folder whose files an import may read."""
    return Path(os.path.abspath(given if given.is_dir() else given.parent))  # noqa: PTH100 - links are not followed


def _file_of(table: Table, given: Path) -> Path:
    return input_folder(given) / table.file if table.file else given


def _is_full(error: BaseException) -> bool:
    """Whether a disk is full; DuckDB calls its limit of temporary files, and their size, memory too."""
    said = str(error)
    return os.strerror(ENOSPC) in said or (
        isinstance(error, duckdb.OutOfMemoryException) and "max_temp_directory_size" in said
    )


class Tables:
    """The tables of an input.

    Args:
        connection: From ``database``.
        scratch: A folder for copies.
        given: The file or folder that is imported.
        tables: In the order in which they are made.

    Raises:
        NotFoundError: A file is not there.
        InvalidInputError: A query is not one SELECT or cannot be run, or a file is not what it
            should be.
        InvalidEventsError: Lines of a CSV file are broken; each is named.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        scratch: Path,
        given: Path,
        tables: tuple[Table, ...],
    ) -> None:
        self._connection = connection
        self._scratch = scratch
        self._without_columns: set[str] = set()
        self._made: list[str] = []
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
                self._file(table, _file_of(table, given))
            self._made.append(table.name)
        self._names = [table.name for table in tables]

    def _file(self, table: Table, path: Path) -> None:
        with readable(table, path):
            if not stat.S_ISREG(path.stat().st_mode):
                message = f"table {table.name}: expected {path} as a regular file"
                raise InvalidInputError(message, path=str(path))
            path.open("rb").close()
        check_kind(table, path)
        kind = format_of(table, path)
        try:
            if kind == "csv":
                self._csv(table, path)
            elif kind == "parquet":
                check_footer(str(path))
                check_int96(str(path))  # DuckDB would cut them
                self._connection.execute(
                    f"CREATE TABLE {identifier(table.name)} AS FROM {parquet([path])}"
                )
                check_names(table, list(self.columns(table.name)))
            else:
                self._json(table, path, lines=kind == "ndjson")
        except (duckdb.Error, pa.ArrowException) as error:
            message = f"table {table.name}: {path} cannot be read as {kind}: {_first_line(error)}"
            raise InvalidInputError(message, path=str(path)) from error

    def _csv(self, table: Table, path: Path) -> None:
        names = csv_columns(table, path)
        columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
        options = {
            "auto_detect": "false",
            "header": "false" if table.columns else "true",
            "delim": quoted(table.delimiter),
            "quote": quoted(table.quote),
            "escape": quoted(table.escape if table.quote else ""),
            "columns": f"{{{columns}}}",
            "hive_partitioning": "false",
            "union_by_name": "false",
            "store_rejects": "true",
            "rejects_table": quoted(_REJECTS),
            "rejects_scan": quoted(f"{_REJECTS}_scans"),
        }
        if not table.empty_is_null:
            options["force_not_null"] = f"[{', '.join(map(quoted, names))}]"
        source = quoted(openable(as_utf8(table, path, self._scratch)))
        settings = ", ".join(f"{name} = {value}" for name, value in options.items())
        self._connection.execute(
            f"CREATE TABLE {identifier(table.name)} AS FROM read_csv({source}, {settings})"
        )
        self._refuse_rejected(table, path)

    def _refuse_rejected(self, table: Table, path: Path) -> None:
        """Refuses a file with broken lines: the first are named, the others counted.

        Raises:
            InvalidEventsError: As said.
        """
        rejects = identifier(_REJECTS)
        count = f"FROM {rejects} SELECT count(DISTINCT line), coalesce(bool_or(error_type = 'UNQUOTED VALUE'), false)"
        counts = self._connection.execute(count).fetchall()[0]
        total, at_least = int(counts[0]), "at least " if counts[1] else ""
        # A line that is too short is told for each of its missing columns.
        first = f"FROM {rejects} SELECT line, error_message, column_name QUALIFY row_number() OVER (PARTITION BY line ORDER BY column_idx) = 1"
        rejected = self._connection.execute(
            f"{first} ORDER BY line LIMIT {integer(MOST_ALIKE)}"
        ).fetchall()
        problems = [
            ImportProblem(
                table.name,
                None,
                f"line {line:,}",
                reason_of(str(reason)) + (f" (column {column})" if column else ""),
            )
            for line, reason, column in rejected
        ]
        if total > MOST_ALIKE:
            problems.append(
                ImportProblem(
                    table.name,
                    None,
                    "lines",
                    f"broken: {at_least}{total - MOST_ALIKE:,} lines more",
                )
            )
        if problems:
            hint = f"correct {path}, or give its delimiter, quote and escape in the mapping."
            raise InvalidEventsError(problems, hint, within="input", path=str(path))

    def _json(self, table: Table, path: Path, *, lines: bool) -> None:
        name = identifier(table.name)
        made: set[str] = set()
        for rows in json_rows(table, path, lines=lines):
            self._connection.register("rows of json", rows)
            if not made:
                self._connection.execute(f'CREATE TABLE {name} AS FROM "rows of json" LIMIT 0')
                made = set(rows.column_names)
            for column in rows.column_names:
                if column not in made:
                    self._connection.execute(
                        f"ALTER TABLE {name} ADD COLUMN {identifier(column)} VARCHAR"
                    )
                    made.add(column)
            self._connection.execute(f'INSERT INTO {name} BY NAME FROM "rows of json"')
            self._connection.unregister("rows of json")
        if not made:
            # Objects name the columns; without rows nobody knows which there are.
            self._connection.execute(f"CREATE TABLE {name} (none VARCHAR)")
            self._without_columns.add(table.name)

    def _query(self, table: Table, text: str) -> None:
        try:
            query = checked_select(self._connection, f"table {table.name}", text)
            self._prepare(table.name, query)
            # As DuckDB names them, before it makes two of the same name different.
            check_names(table, self._connection.sql(query).columns)
            self._connection.execute(f"CREATE TABLE {identifier(table.name)} AS {query}")
        except pa.ArrowException as error:
            message = f"table {table.name}: a Parquet file of its query: {_first_line(error)}"
            hint = "DuckDB cuts what is finer; import the file as a table of its own, or write it with another type of instants."
            raise InvalidInputError(message, hint, sql=text) from error
        except duckdb.Error as error:
            message = f"table {table.name}: DuckDB refused its query: {error}"
            raise InvalidInputError(
                message,
                "a query reads the tables above it and files below getvariable('folder').",
                sql=text,
            ) from error

    def _prepare(self, table: str, query: str) -> None:
        """Looks at what a query reads: no instant of its files may be cut, and tables without rows have the columns that it names."""
        tree = tree_of(query)
        for path in int96_files(self._connection, tree):
            check_int96(path)  # DuckDB would cut them
        hollow = {
            str(node.get("alias") or node["table_name"]): str(node["table_name"])
            for node in nodes(tree)
            if node.get("type") == "BASE_TABLE" and node["table_name"] in self._without_columns
        }
        if hollow:
            self._without_columns.add(table)
            self._name_columns(hollow, tree, query)

    def _name_columns(self, hollow: Mapping[str, str], tree: Any, query: str) -> None:
        """Gives tables without rows the columns that a query reads of them.

        Args:
            hollow: Those tables, by their names in the query.
            tree: The query's.
            query: Its text.
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
            name for one in set(self._made) - set(hollow.values()) for name in self.columns(one)
        }
        self._add_columns(
            own | {(one, name) for one in hollow.values() for name in [*joined, *(plain - others)]}
        )
        try:
            self._connection.sql(query)
        except duckdb.BinderException:
            self._add_columns({(one, name) for one in hollow.values() for name in plain & others})

    def _add_columns(self, added: Iterable[tuple[str, str]]) -> None:
        for table, name in sorted(added):
            self._connection.execute(
                f"ALTER TABLE {identifier(table)} ADD COLUMN IF NOT EXISTS {identifier(name)} VARCHAR"
            )

    def _is_empty(self, table: str) -> bool:
        """Whether a table has no columns that anybody knows, and no rows."""
        return (
            table in self._without_columns
            and not self._connection.execute(f"FROM {identifier(table)} LIMIT 1").fetchall()
        )

    def columns(self, table: str) -> dict[str, str]:
        """A table's columns, and DuckDB's names of their types."""
        return {
            str(row[0]): str(row[1])
            for row in self._connection.execute(f"DESCRIBE {identifier(table)}").fetchall()
        }

    def check_columns(self, rules: Events) -> None:
        """Refuses columns that a table does not have, or that have a type which is nothing for an event.

        Raises:
            InvalidInputError: It names them, and the columns that there are.
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
                "make text, numbers or times of them in a query of the mapping; to_json(…) gives JSON text.",
            )

    def rows(self, rules: Events) -> Iterator[pl.DataFrame]:
        """The columns that the rules name, of the rows that they are about, with ``ROW``, in the table's order.

        Raises:
            InvalidInputError: DuckDB refuses the condition.
        """
        if self._is_empty(rules.table):
            return
        name = identifier(rules.table)
        total = int(self._connection.execute(f"FROM {name} SELECT count(*)").fetchall()[0][0])
        kinds = self.columns(rules.table)
        wanted = [
            f"{identifier(column)}::VARCHAR AS {identifier(column)}"
            if _is_text(kinds[column])
            else identifier(column)
            for column in rules.columns
        ]
        columns = ", ".join([f"rowid AS {identifier(ROW)}", *wanted])
        condition = f"AND {self._condition(rules, rules.where)}" if rules.where else ""
        with task(f"making events of {rules.table}", total) as advance:
            for start, stop in self._chunks(rules, total):
                text = f"FROM {name} SELECT {columns} WHERE {_between(start, stop)} {condition} ORDER BY rowid"
                try:
                    yield pl.DataFrame(self._connection.sql(text).to_arrow_table())
                except duckdb.Error as error:
                    raise self._refused(rules, error) from error
                advance(stop - start)

    def drop(self) -> None:
        """Drops the tables once events are made of their rows, so that they take no memory beside the events."""
        for name in self._made:
            self._connection.execute(f"DROP TABLE {identifier(name)}")

    def _chunks(self, rules: Events, total: int) -> Iterator[tuple[int, int]]:
        """Ranges of rows, each of at most ``_CHUNK_ROWS`` rows and, unless it is one row, ``CHUNK_BYTES`` of the text that is read."""
        name, kinds = identifier(rules.table), self.columns(rules.table)
        texts = [
            f"coalesce(strlen({identifier(column)}::VARCHAR), 0)"
            for column in rules.columns
            if _is_text(kinds[column])
        ]
        size = f"({' + '.join(['0', *texts])})::BIGINT"
        for first in range(0, total, _CHUNK_ROWS):
            last = min(first + _CHUNK_ROWS, total)
            start, held = first, 0
            sizes = self._connection.execute(
                f"FROM {name} SELECT {size} WHERE {_between(first, last)} ORDER BY rowid"
            )
            for row, (bytes_,) in enumerate(sizes.fetchall(), first):
                if row > start and held + bytes_ > CHUNK_BYTES:
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
            message = f"mapping, [[events]] {rules.number + 1}, where: a Parquet file that it reads: {_first_line(error)}"
            raise InvalidInputError(
                message,
                "DuckDB cuts what is finer; write the file with another type of instants.",
                sql=text,
            ) from error
        except duckdb.Error as error:
            raise self._refused(rules, error) from error
        return condition

    def _refused(self, rules: Events, error: duckdb.Error) -> InvalidInputError:
        message = f"mapping, [[events]] {rules.number + 1}: DuckDB refused where = {rules.where!r}: {error}"
        there = ", ".join(self.columns(rules.table))
        return InvalidInputError(
            message, f"the columns are {there}; those of CSV and JSON files are text."
        )


def _between(start: int, stop: int) -> str:
    return f"rowid >= {integer(start)} AND rowid < {integer(stop)}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _is_text(kind: str) -> bool:
    return kind in {"VARCHAR", "UUID", "JSON"} or kind.startswith("ENUM(")


def _is_odd(kind: str) -> bool:
    return kind.endswith("]") or not (
        kind in _TYPES or _is_text(kind) or kind.startswith("DECIMAL(")
    )
