"""Run a query over a history, and return its rows."""

from collections.abc import Mapping
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from eventlake.columns.intake.given import table_of
from eventlake.columns.schema import INSTANT
from eventlake.database import UNLIMITED, Limits, check_select, fetched
from eventlake.errors import InvalidInputError, MissingDependencyError
from eventlake.history.pinned import PinnedHistory
from eventlake.history.sql.duckdb_views import connect
from eventlake.history.sql.refusals import advice, reason, tables_hint
from eventlake.public_calls import helpful
from eventlake.visible import safe

_FRAMES = (
    "A query reads the history alone; pass other rows as a frame: snapshot.sql(query, name=frame)."
)


@helpful
class SqlResult:
    """The rows of a query, computed once; any Arrow library can read them."""

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
        return safe(repr(self.polars()))

    def _repr_html_(self) -> str:
        return safe(self.polars()._repr_html_())


def to_pandas(table: pa.Table) -> Any:
    """Convert ``table`` to a pandas frame without changing a value.

    Integers and booleans become pandas' nullable types, because nulls would turn them into doubles;
    decimals and dates become Python objects; lists and structs become Arrow-backed columns.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        message = "pandas is not installed"
        raise MissingDependencyError(
            message, "pip install 'eventlake[pandas]', or use .polars() or .arrow()."
        ) from error

    def exact(kind: pa.DataType) -> Any:
        if pa.types.is_boolean(kind):
            return pd.BooleanDtype()
        if pa.types.is_integer(kind):
            # pandas spells its nullable types Int64 and UInt64.
            return getattr(pd, str(kind).replace("i", "I").replace("uI", "UI") + "Dtype")()
        return pd.ArrowDtype(kind) if pa.types.is_nested(kind) else None

    return table.to_pandas(types_mapper=exact)


def query(history: PinnedHistory, text: str, parameters: dict[str, Any] | None = None) -> SqlResult:
    """Run one SELECT over ``events``, event types, and parameters that are frames.

    Raises:
        InvalidInputError: It is not exactly one SELECT, or DuckDB rejects it; the message contains
            DuckDB's reason.
        CorruptionError: A segment is missing or damaged.
    """
    try:
        with connect(history, text) as connection:
            values = dict(parameters or {})
            frames = [name for name, value in values.items() if _is_frame(value)]
            for name in frames:
                _register(connection, history, name, values.pop(name))
            return SqlResult(select(connection, text, values))
    except duckdb.Error as error:
        # Damaged files and invalid queries raise the same errors; the hashes tell them apart.
        history.check()
        message = f"DuckDB refused the query: {reason(error)}"
        known = (
            "" if isinstance(error, duckdb.PermissionException) else tables_hint(history.catalogue)
        )
        hint = advice(error, text, history.catalogue, "snapshot.sql(query, {}=…)") + known
        # These are raised for names and files that the query wanted to read from elsewhere.
        if isinstance(error, duckdb.PermissionException | duckdb.CatalogException):
            hint = f"{hint} {_FRAMES}" if hint else _FRAMES
        raise InvalidInputError(message, hint, sql=text) from error


def _is_frame(value: object) -> bool:
    return hasattr(value, "__arrow_c_stream__") or isinstance(value, pl.LazyFrame)


def _register(
    connection: duckdb.DuckDBPyConnection, history: PinnedHistory, name: str, frame: Any
) -> None:
    """Register a frame as a table."""
    there = {
        one
        for (one,) in connection.execute(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
    }
    # DuckDB's names ignore case; a frame must never replace a table of the history.
    if name.casefold() in {one.casefold() for one in {"events", *history.catalogue.types, *there}}:
        message = f"expected a table under a name of its own, found {name}, which the history has"
        raise InvalidInputError(message, "choose another name.")
    if isinstance(frame, pl.LazyFrame):
        message = f"{name}: expected a frame, found a LazyFrame"
        raise InvalidInputError(message, "collect it.")
    connection.register(name, table_of(frame, name))


def select(
    connection: duckdb.DuckDBPyConnection,
    text: str,
    parameters: Mapping[str, Any],
    *,
    limits: Limits = UNLIMITED,
) -> pa.Table:
    """Run one SELECT.

    Args:
        connection: The database.
        text: The query.
        parameters: Values of its parameters.
        limits: Limits on its time and its rows.

    Raises:
        InvalidInputError: It is not exactly one SELECT that only reads, or takes longer than
            ``limits`` allow.
        NotIdenticalError: It returns more rows than ``limits`` allow.
        duckdb.Error: DuckDB rejects it.
    """
    relation = connection.sql(check_select(text), params=dict(parameters) or None)
    return normal_zone(fetched(connection, relation, limits))


def normal_zone(table: pa.Table) -> pa.Table:
    """Rename the time zone ``Etc/UTC``, DuckDB's name for UTC, to ``UTC``."""
    fields = [
        field.with_type(INSTANT) if pa.types.is_timestamp(field.type) and field.type.tz else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))
