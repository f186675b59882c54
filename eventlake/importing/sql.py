"""Check the SQL of a mapping: one SELECT or condition that is deterministic and writes nothing."""

import json
from typing import Any

import duckdb

from eventlake.core.sql import quoted
from eventlake.database import FILE_FUNCTIONS, TABLE_FUNCTIONS, check_select, tree_of
from eventlake.errors import InvalidInputError
from eventlake.exactness.tree import nodes

_KEYWORDS = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
)
"""Functions for the current time that are written like columns."""
_STEADY = frozenset({"error", "getvariable", "make_timestamptz", "timezone"})
"""Functions that depend on the session; an import always configures it the same way."""
_HIDDEN = frozenset({"query"})
"""Functions that run SQL given as text."""
_PARQUET = frozenset({"parquet_scan", "read_parquet"})
_CONDITION = "write one expression, such as amount::DECIMAL(12, 2) > 0 AND status <> 'R'."
_HINT = (
    "the rows must be the same on every run: "
    "an interrupted import is resumed by running the query again."
)


def checked_select(connection: duckdb.DuckDBPyConnection, where: str, text: str) -> str:
    """Check that a text is one deterministic SELECT, and return it.

    Args:
        connection: Lists the functions.
        where: Name of the query in messages.
        text: The query of the mapping.

    Raises:
        InvalidInputError: It is something else, or it is not deterministic.
        duckdb.Error: DuckDB cannot parse it.
    """
    try:
        found = check_select(text, functions=TABLE_FUNCTIONS | FILE_FUNCTIONS)
    except InvalidInputError as error:
        message = f"{where}: {error.message}"
        raise InvalidInputError(
            message, "a table's query is one SELECT over the tables above it.", sql=text
        ) from error
    _check_steady(connection, where, _tree(where, found))
    return found


def checked_condition(connection: duckdb.DuckDBPyConnection, where: str, text: str) -> str:
    """Check that a text is one deterministic condition, and return it in parentheses.

    Raises:
        InvalidInputError: It is something else, or it is not deterministic.
        duckdb.Error: DuckDB cannot parse it.
    """
    # Parsed without parentheses, so that none in the text can close the one that is added below.
    alone = f"SELECT {text}\n"
    try:
        tree = _tree(where, check_select(alone))
    except InvalidInputError as error:
        message = f"{where}: expected one SQL condition, found {text!r}: {error.message}"
        raise InvalidInputError(message, _CONDITION, sql=text) from error
    found = [statement["node"] for statement in tree.get("statements", [])]
    if len(found) != 1 or not _is_expression(found[0]):
        message = f"{where}: expected one SQL condition, found {text!r}"
        raise InvalidInputError(message, _CONDITION, sql=text)
    _check_steady(connection, where, tree)
    # On a line of its own: a comment at the end of the text must not hide the parenthesis.
    return f"({text}\n)"


def int96_files(connection: duckdb.DuckDBPyConnection, tree: dict[str, Any]) -> list[str]:
    """The Parquet files with INT96 instants that a query reads, by function or by name.

    Raises:
        duckdb.Error: A file cannot be read.
    """
    named = [
        node["function"]["arguments"][0]["expression"]
        for node in nodes(tree)
        if node.get("type") == "TABLE_FUNCTION"
        and str(node["function"].get("function_name")).casefold() in _PARQUET
    ]
    files = {
        str(node.get("table_name")) for node in nodes(tree) if node.get("type") == "BASE_TABLE"
    }
    named += [
        _tree("", f"SELECT {quoted(name)}")["statements"][0]["node"]["select_list"][0]
        for name in sorted(files)
        if _is_file(name)
    ]
    found = []
    for argument in named:
        look = _tree("", "SELECT DISTINCT file_name FROM parquet_schema('') WHERE type = 'INT96'")
        for node in nodes(look):
            if node.get("type") == "TABLE_FUNCTION":
                node["function"]["arguments"][0]["expression"] = argument
        text = connection.execute(
            "SELECT json_deserialize_sql(?::JSON)", [json.dumps(look)]
        ).fetchall()[0][0]
        found += [str(row[0]) for row in connection.execute(text).fetchall()]
    return found


def _is_file(name: str) -> bool:
    return name.casefold().endswith((".parquet", ".parq"))


def _is_expression(node: dict[str, Any]) -> bool:
    rest = ("where_clause", "having", "qualify", "sample", "group_expressions", "modifiers")
    named = any(one.get("alias") for one in node.get("select_list", []))
    source = node.get("from_table") or {}
    return (
        len(node.get("select_list", [])) == 1
        and source.get("type") == "EMPTY"
        and not named
        and not any(node.get(name) for name in rest)
    )


def _tree(where: str, text: str) -> dict[str, Any]:
    tree: dict[str, Any] = tree_of(text)
    if tree.get("error"):
        message = f"{where}: DuckDB cannot parse it: {tree.get('error_message')}"
        raise InvalidInputError(message, "write it as a plain SELECT.", sql=text)
    return tree


def _check_steady(connection: duckdb.DuckDBPyConnection, where: str, tree: dict[str, Any]) -> None:
    """Refuse clocks, random numbers, functions of the session, and samples."""
    volatile = connection.execute(
        "SELECT function_name FROM duckdb_functions() GROUP BY 1 "
        "HAVING bool_and(coalesce(stability, 'CONSISTENT') <> 'CONSISTENT')"
    ).fetchall()
    unsteady = {name for (name,) in volatile} - _STEADY | _HIDDEN
    for node in nodes(tree):
        called = str(node.get("function_name") or "").casefold()
        names = node.get("column_names") or []
        if len(names) == 1 and str(names[0]).casefold() in _KEYWORDS:
            called = str(names[0]).casefold()
        # With one argument it counts from today.
        elif called == "age" and len(node.get("arguments") or []) == 1:
            called = "age of one argument"
        elif node.get("sample"):
            called = "a sample"
        elif called not in unsteady:
            continue
        message = f"{where}: {called} is not the same every time"
        raise InvalidInputError(message, _HINT)
