"""Run SQL expressions of upcasts: one value per row, over the fields of one version of a schema.

This is the only module of ``tables`` that runs DuckDB.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import duckdb
import pyarrow as pa

from eventlake.caches import CACHES
from eventlake.core.sql import identifier
from eventlake.database import Resources, open_database, tree_of
from eventlake.errors import InvalidInputError

ENGINE = f"duckdb-{duckdb.__version__}"
"""The engine of upcasts; tables that depend on an upcast have its version in their path."""
ENGINE_ERROR = duckdb.Error
"""Every error of the engine."""
OLD = "payloads"
"""The table of the old fields in a query."""
# Errors that a value causes; every other error is a failure of DuckDB, and no reason against a row.
_OF_A_ROW = (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException)
_MOST_DATABASES = 8


class _Databases:
    """One database per set of expressions, so that expressions of two lakes never share one.

    The most recently used databases stay open.

    Attributes:
        plans: The database in which expressions are planned, and evaluated over no rows after they
            passed the check; always open.
    """

    def __init__(self, most: int = _MOST_DATABASES) -> None:
        self._most = most
        self.plans = open_database(resources=Resources(threads=1))
        self._kept: OrderedDict[frozenset[tuple[str, str]], duckdb.DuckDBPyConnection] = (
            OrderedDict()
        )
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, expressions: Mapping[str, str]) -> duckdb.DuckDBPyConnection:
        """The database of these expressions.

        A database that is evicted closes when its last user releases it.
        """
        key = frozenset(expressions.items())
        with self._lock:
            if key not in self._kept:
                self._kept[key] = open_database(resources=Resources(threads=1))
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return self._kept[key]


_databases = CACHES.per_process(_Databases)


class EvaluationError(Exception):
    """An expression has no value for some row."""


def evaluate(
    expressions: Mapping[str, str], table: pa.Table, *, only_planned: bool = False
) -> pa.Table:
    """Evaluate expressions: one column per expression, one row per row.

    Args:
        expressions: The expressions of a checked upcast, by field.
        table: The fields that they read.
        only_planned: Whether the expressions are still being checked; then the database for plans
            is used.

    Raises:
        EvaluationError: A value cannot be computed.
        InvalidInputError: DuckDB itself failed.
    """
    columns = ", ".join(f"(\n{text}\n) AS {identifier(name)}" for name, text in expressions.items())
    databases = _databases()
    # The reference keeps the database open: another thread may evict it meanwhile.
    database = databases.plans if only_planned else databases.of(expressions)
    try:
        with database.cursor() as cursor:
            cursor.register(OLD, table)
            return cursor.sql(f"SELECT {columns} FROM {OLD}").to_arrow_table()
    except _OF_A_ROW as error:
        raise EvaluationError(str(error)) from error
    except duckdb.Error as error:
        message = f"DuckDB failed in an upcast: {error}"
        raise InvalidInputError(message, "give the process more memory, and try again.") from error
    except RuntimeError as error:
        # DuckDB raises this error in place of KeyboardInterrupt.
        if "interrupted" in str(error):
            raise KeyboardInterrupt from error
        raise


def parsed(expression: str) -> dict[str, Any]:
    """The syntax tree of an expression by itself."""
    tree: dict[str, Any] = tree_of(f"SELECT\n{expression}\n")
    return tree


def plan_over(expression: str, no_rows: pa.Table) -> dict[str, Any]:
    """The bound plan of an expression over the fields of an empty table, as DuckDB serializes it.

    An expression that closes the parentheses around it changes the query, so it must have been
    parsed by itself before.
    """
    # Temporary tables belong to the cursor's connection, so that threads do not see each other's.
    with _databases().plans.cursor() as cursor:
        cursor.register("no rows", no_rows)
        cursor.execute(f'CREATE TEMP TABLE {OLD} AS SELECT * FROM "no rows"')
        options = "skip_null := true, skip_empty := true, optimize := false"
        serialized = f"SELECT json_serialize_plan(?, {options})"
        query = f"SELECT (\n{expression}\n) AS x FROM {OLD}"
        plan: dict[str, Any] = json.loads(cursor.execute(serialized, [query]).fetchall()[0][0])
        return plan
