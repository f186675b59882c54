"""Runs SQL projections. The only place below ``projections/`` that runs DuckDB.

Settings that can touch rows are fixed and recorded: one thread, one memory limit, UTC. The database is locked down: it reads the history
and the spine, and nothing else.
"""

import json
from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa

from eventlake.core.attributes import EVENT_COLUMNS
from eventlake.core.dataset import Parameter
from eventlake.errors import InvalidInputError, InvalidProjectionError
from eventlake.history.duckdb_sql import SAFE, connect, quoted, select
from eventlake.history.pinned import PinnedHistory

VERSION = duckdb.__version__
SETTINGS: dict[str, str | int | bool] = {"memory_limit": "4GB", "preserve_insertion_order": True, "threads": 1}
_ELSEWHERE = "<catalogue>"
_PURE_TABLE_FUNCTIONS = frozenset({"generate_series", "range", "unnest"})
_SHADOW_TYPES = {"sequence": "BIGINT", "time": "TIMESTAMPTZ", "recorded_at": "TIMESTAMPTZ"}


def run(name: str, query: str, history: PinnedHistory, spine: pa.Table | None, parameters: Mapping[str, Parameter]) -> pa.Table:
    """The rows of one SELECT over ``events`` and ``spine``.

    Raises:
        InvalidProjectionError: DuckDB refuses the query, or it asks for anything but the history and the spine.
    """
    tables = "the table events" if spine is None else "the tables events and spine"
    hint = f"a projection reads {tables} and nothing else; events has the columns {', '.join(EVENT_COLUMNS)}."
    try:
        # Bound over empty tables first, where there is no file to open: a segment read by its path could show what is beyond the watermark.
        with _shadow(spine) as shadow:
            select(shadow, query, parameters, run=False)
        with connect(history, SETTINGS) as connection:
            if spine is not None:
                connection.register("spine", spine)
            _lock_down(connection, history)
            return select(connection, query, parameters)
    except duckdb.Error as error:
        message = f"projection {name}: DuckDB refused the query: {error}"
        raise InvalidProjectionError(message, hint, projection=name) from error
    except InvalidInputError as error:
        message = f"projection {name}: {error.message}"
        raise InvalidProjectionError(message, hint, projection=name) from error


def _lock_down(connection: duckdb.DuckDBPyConnection, history: PinnedHistory) -> None:
    files = ", ".join(quoted(path) for path in history.locations() or [])
    connection.execute(f"SET allowed_paths = [{files}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _shadow(spine: pa.Table | None) -> duckdb.DuckDBPyConnection:
    """A locked database with empty tables of the right columns: what binds here reads nothing but them."""
    columns = ", ".join(f"{name} {_SHADOW_TYPES.get(name, 'VARCHAR')}" for name in EVENT_COLUMNS)
    connection = duckdb.connect(":memory:", config=dict(SAFE))
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE TABLE events ({columns})")
    if spine is not None:
        connection.register("spine_rows", spine.slice(0, 0))
        connection.execute("CREATE TABLE spine AS SELECT * FROM spine_rows")
        connection.unregister("spine_rows")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def reads_clock(query: str, history: PinnedHistory, spine: pa.Table | None) -> bool:
    """Whether the query can see a ``recorded_at``: the column itself, or ``time`` where an event without one stands in the history.

    Asked of DuckDB's bound plan over empty tables. What cannot be planned so (some queries with parameters) counts as reading it.
    """
    with _shadow(spine) as connection:
        sql = "SELECT json_serialize_plan(?, skip_null := true, skip_empty := true, optimize := false)"
        plan = json.loads(connection.execute(sql, [query]).fetchall()[0][0])
    if plan.get("error"):
        return True
    seen = _columns_read(plan)
    return bool({"recorded_at", _ELSEWHERE} & seen) or ("time" in seen and history.undated)


def _columns_read(node: Any) -> set[str]:
    """The columns of ``events`` that a serialised plan reads anywhere, and ``_ELSEWHERE`` where it reads DuckDB's own catalogue."""
    if isinstance(node, list):
        return set().union(*map(_columns_read, node))
    if not isinstance(node, dict):
        return set()
    columns = _columns_read(list(node.values()))
    if node.get("type") != "LOGICAL_GET":
        return columns
    table = node.get("function_data", {}).get("table")
    if table == "events":
        names = node["names"]
        return columns | {names[reference["index"]] for reference in node["column_indexes"] if reference["index"] < len(names)}
    known = table == "spine" or node["qname"]["path"][-1] in _PURE_TABLE_FUNCTIONS
    return columns if known else columns | {_ELSEWHERE}
