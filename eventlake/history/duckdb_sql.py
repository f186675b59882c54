"""A pinned history in DuckDB: the table ``events``, and results that other libraries can take over.

The only place of the read side that runs DuckDB. Connections are in memory, in UTC, without extensions.
"""

from collections.abc import Mapping
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from eventlake.columns.schema import INSTANT, TYPES
from eventlake.core.attributes import EVENT_COLUMNS
from eventlake.errors import InvalidInputError, MissingDependencyError
from eventlake.history import polars_scan
from eventlake.history.pinned import PinnedHistory

SAFE: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
"""Settings of every connection: nothing is downloaded."""


def connect(history: PinnedHistory, settings: dict[str, str | int | bool] | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory database with the view ``events`` over the history."""
    connection = duckdb.connect(":memory:", config={**SAFE, **(settings or {})})
    connection.execute("SET TimeZone = 'UTC'")
    create_events(connection, history)
    return connection


def create_events(connection: duckdb.DuckDBPyConnection, history: PinnedHistory) -> None:
    """Makes the view ``events`` with the columns of ``EVENT_COLUMNS``."""
    locations = history.locations()
    if locations:
        connection.execute(f"CREATE VIEW events AS {_files_query(history, locations)}")
    else:
        connection.register("events", polars_scan.scan(history).collect().to_arrow())


def _files_query(history: PinnedHistory, locations: list[str]) -> str:
    stretches = history.stretches
    present = [set(stretch.segment.columns) for stretch in stretches]
    everywhere, somewhere = set.intersection(*present), set.union(*present)
    starts = ", ".join(str(stretch.segment.start) for stretch in stretches)
    sequence = f"list_extract([{starts}]::BIGINT[], (file_index + 1)::BIGINT) + file_row_number"
    runs = [stretch.recorded_at for stretch in stretches]
    recorded_at = _recorded_at(runs, "recorded_at" in somewhere)
    expressions = {"sequence": sequence, "recorded_at": recorded_at}
    for name in TYPES:
        expressions[name] = name if name in somewhere else f"NULL::{'TIMESTAMPTZ' if name == 'time' else 'VARCHAR'}"
    if history.undated:
        expressions["time"] = f"coalesce({expressions['time']}, {recorded_at})"
    columns = ", ".join(f"{expressions[name]} AS {name}" for name in EVENT_COLUMNS)
    files = ", ".join(quoted(path) for path in locations)
    union = "true" if everywhere != somewhere else "false"
    last = stretches[-1]
    cut = f"WHERE {sequence} < {history.watermark}" if last.stop < last.segment.stop else ""
    return f"SELECT {columns} FROM read_parquet([{files}], union_by_name = {union}) {cut}"  # noqa: S608 - paths are quoted, the rest is ours


def _recorded_at(runs: list[int | None], in_files: bool) -> str:  # noqa: FBT001 - one private caller
    if all(run is None for run in runs):
        return "recorded_at"
    values = ", ".join("NULL" if run is None else str(run) for run in runs)
    assigned = f"make_timestamptz(list_extract([{values}]::BIGINT[], (file_index + 1)::BIGINT))"
    return f"coalesce(recorded_at, {assigned})" if in_files else assigned


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


class SqlResult:
    """Rows of one query, computed once; any library that speaks Arrow can take them (``__arrow_c_stream__``)."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The Arrow PyCapsule stream."""
        return self._table.__arrow_c_stream__(requested_schema)

    def arrow(self) -> pa.Table:
        """As a pyarrow table; timestamps with a zone are timestamp[us, UTC]."""
        return self._table

    def polars(self) -> pl.DataFrame:
        """As a Polars frame."""
        return pl.DataFrame(self._table)

    def pandas(self) -> Any:
        """As a pandas frame.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        return to_pandas(self._table)

    def __repr__(self) -> str:
        """The first rows."""
        return repr(self.polars())

    def _repr_html_(self) -> str:
        return self.polars()._repr_html_()


def to_pandas(table: pa.Table) -> Any:
    """``table`` as a pandas frame.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        return table.to_pandas()
    except ModuleNotFoundError as error:
        message = "pandas is not installed"
        raise MissingDependencyError(message, "pip install 'eventlake[pandas]', or use .polars() or .arrow().") from error


def query(history: PinnedHistory, text: str, parameters: dict[str, Any] | None = None) -> SqlResult:
    """Runs one SELECT over ``events``.

    Raises:
        InvalidInputError: More or other than one SELECT, or DuckDB refuses the query; its message is kept.
        CorruptionError: A segment is missing or damaged.
    """
    try:
        with connect(history) as connection:
            return SqlResult(select(connection, text, parameters or {}))
    except duckdb.Error as error:
        # Bad bytes and bad queries look alike to an engine; the hashes tell them apart.
        history.check()
        message = f"DuckDB refused the query: {error}"
        raise InvalidInputError(message, "the table is called events; its columns: " + ", ".join(EVENT_COLUMNS), sql=text) from error


def select(connection: duckdb.DuckDBPyConnection, text: str, parameters: Mapping[str, Any], *, run: bool = True) -> pa.Table | None:
    """The rows of one SELECT; None where it is only bound, with ``run=False``.

    Raises:
        InvalidInputError: More or other than one SELECT.
        duckdb.Error: DuckDB refuses it.
    """
    statements = connection.extract_statements(text)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        found = ", ".join(str(statement.type).rsplit(".", 1)[-1] for statement in statements) or "nothing"
        message = f"expected one SELECT, found {found}"
        pivot = "list the values of a PIVOT: PIVOT … ON type IN ('a', 'b')." if found == "MULTI" else None
        raise InvalidInputError(message, pivot or "a history is read-only; make tables in a database of your own from its rows.", sql=text)
    relation = connection.sql(text, params=dict(parameters) or None)
    return normal_zone(relation.to_arrow_table()) if run else None


def normal_zone(table: pa.Table) -> pa.Table:
    """DuckDB calls UTC ``Etc/UTC``; the rest of the world does not."""
    fields = [field.with_type(INSTANT) if pa.types.is_timestamp(field.type) and field.type.tz else field for field in table.schema]
    return table.cast(pa.schema(fields))
