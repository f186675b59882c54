"""Queries that only read: one SELECT, without a statement inside it that writes.

Queries are checked as DuckDB parses them, so that no second SQL parser can disagree with it. The
serialized tree is searched as text first, since most queries are harmless and parsing JSON costs
more than the search.
"""

import json
import re
from collections.abc import Collection
from typing import Any

import duckdb

from eventlake.caches import CACHES
from eventlake.database.connection import Resources, open_database
from eventlake.database.expansion import grows, may_grow
from eventlake.errors import InvalidInputError
from eventlake.exactness.tree import nodes


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Kinds of nodes that are not listed here count as writing, so a later DuckDB adds none unseen.
_NODE = re.compile(r'"type":"([A-Z_]+_NODE)"')
_READING = frozenset({"CTE_NODE", "RECURSIVE_CTE_NODE", "SELECT_NODE", "SET_OPERATION_NODE"})
"""Queries that write nothing. DuckDB accepts COPY, INSERT, UPDATE and DELETE in a SELECT's WITH."""
_HIDING = re.compile(r'"function_name":"(query|json_execute_serialized_sql)"', re.IGNORECASE)
"""Table functions that run SQL from a text."""
_SUSPECT = re.compile(
    r'"function_name":"(current_setting|getenv|pg_sleep|setval|sleep_ms|write_log)"', re.IGNORECASE
)
"""Functions that show settings, wait, write or read the environment."""
_SETTINGS = _words("calendar memory_limit threads timezone")
"""Arguments that ``current_setting`` may have: other settings hold paths of this machine."""
_MOST_LEVELS = 8
_TABLE_FUNCTION = '"type":"TABLE_FUNCTION"'
TABLE_FUNCTIONS = _words(
    """
    generate_series histogram histogram_values icu_calendar_names json_each json_tree
    pg_timezone_names query query_table range repeat repeat_row summary unnest
    parquet_bloom_probe parquet_file_metadata parquet_full_metadata parquet_kv_metadata
    parquet_metadata parquet_page_index parquet_scan parquet_schema read_csv read_csv_auto
    read_json read_json_auto read_json_objects read_json_objects_auto read_ndjson read_ndjson_auto
    read_ndjson_objects read_parquet sniff_csv
    duckdb_columns duckdb_constraints duckdb_dependencies duckdb_functions duckdb_indexes
    duckdb_keywords duckdb_memory duckdb_optimizers duckdb_schemas duckdb_sequences duckdb_tables
    duckdb_types duckdb_views pragma_collations pragma_database_size pragma_metadata_info
    pragma_platform pragma_show pragma_table_info pragma_user_agent pragma_version
    """
)
"""Table functions that are allowed after FROM.

They compute rows, read tables in files that the lock allows, or describe the database's tables. The
others call functions named in texts, change the process, or show its settings and files.
"""
FILE_FUNCTIONS = _words("glob read_blob read_text")
"""Further functions for mappings, which may list and read files of the folder they import."""


@CACHES.per_process
def _parser() -> duckdb.DuckDBPyConnection:
    """An empty database that parses queries and runs none.

    There is one per process, since opening a database costs more than most queries.
    """
    return open_database(resources=Resources(threads=1))


def tree_of(text: str) -> Any:
    """The syntax tree of a query, as DuckDB parses it; with ``error`` if it has no SELECT.

    Raises:
        RecursionError: The query is nested more deeply than Python's recursion limit.
        duckdb.Error: The text is not SQL.
    """
    return json.loads(_serialized(text))


def _serialized(text: str) -> str:
    # A cursor each, because a connection must not be shared among threads.
    with _parser().cursor() as cursor:
        rows = cursor.execute("SELECT json_serialize_sql(?, skip_null := true)", [text]).fetchall()
        return str(rows[0][0])


def check_select(text: str, *, functions: Collection[str] = TABLE_FUNCTIONS) -> str:
    """Check that a text is one SELECT that only reads, and return that statement.

    Args:
        text: The query.
        functions: The table functions that are allowed after FROM.

    Raises:
        InvalidInputError: It is not exactly one SELECT, it writes, or it runs computed SQL.
        duckdb.Error: The text is not SQL.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"expected a query in UTF-8, found {text[:200]!r}"
        raise InvalidInputError(
            message, "it contains half of a surrogate pair; decode the text correctly."
        ) from error
    return _checked(text, functions, 0)


def _checked(text: str, functions: Collection[str], level: int) -> str:
    with _parser().cursor() as cursor:
        statements = cursor.extract_statements(text)
    # COPY inside a WITH is a SELECT too, so the tree is looked at as well.
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        found = ", ".join(str(statement.type).rsplit(".", 1)[-1] for statement in statements)
        message = f"expected one SELECT, found {found or 'nothing'}"
        hint = (
            "a history is read-only; pass other rows as a frame: snapshot.sql(query, name=frame)."
        )
        # DuckDB expands a PIVOT without a list of values into several statements.
        if found == "MULTI":
            hint = "list the values of a PIVOT: PIVOT … ON type IN ('a', 'b')."
        raise InvalidInputError(message, hint, sql=text)
    # What is checked is what is run: the statement alone, without what surrounds it in the text.
    query = str(statements[0].query)
    tree = _serialized(query)
    writing = sorted(
        {kind.partition("_")[0] for kind in _NODE.findall(tree)}
        - {kind.partition("_")[0] for kind in _READING}
    )
    if writing:
        message = f"expected a SELECT that only reads, found {', '.join(writing)} in it"
        raise InvalidInputError(
            message,
            "a history is read-only; write the rows that .arrow() or .polars() returns.",
            sql=text,
        )
    if _SUSPECT.search(tree):
        _check_functions(tree, text)
    if _HIDING.search(tree):
        _check_hidden(tree, text, functions, level)
    if _TABLE_FUNCTION in tree:
        _check_table_functions(tree, text, functions)
    if may_grow(tree):
        _check_growth(tree, text)
    return query


def _check_growth(tree: str, text: str) -> None:
    try:
        reason = grows(json.loads(tree))
    except RecursionError:
        reason = "it is nested too deeply to check"
    if reason:
        message = f"expected a query that stays small when it is planned: {reason}"
        raise InvalidInputError(
            message, "compute the part once, in a WITH ... AS MATERIALIZED or a subquery.", sql=text
        )


def _check_functions(tree: str, text: str) -> None:
    """Refuse functions that wait, write, or show the machine."""
    names = sorted({name.casefold() for name in _SUSPECT.findall(tree)})
    if names != ["current_setting"] or not _shows_allowed_settings(tree):
        message = f"expected a SELECT that only reads the history, found {', '.join(names)}"
        raise InvalidInputError(
            message,
            f"leave it out; current_setting shows only {', '.join(sorted(_SETTINGS))}.",
            sql=text,
        )


def _shows_allowed_settings(tree: str) -> bool:
    try:
        calls = [
            node
            for node in nodes(json.loads(tree))
            if str(node.get("function_name", "")).casefold() == "current_setting"
        ]
    except RecursionError:
        return False
    settings = [
        argument["expression"].get("literal", {}).get("text")
        for call in calls
        for argument in call.get("arguments", [])
    ]
    # A computed argument has no literal and is refused.
    return bool(settings) and all(
        isinstance(one, str) and one.casefold() in _SETTINGS for one in settings
    )


def _check_table_functions(tree: str, text: str, functions: Collection[str]) -> None:
    """Refuse functions after FROM that do more than return rows."""
    try:
        calls = [
            node["function"]
            for node in nodes(json.loads(tree))
            if node.get("type") == "TABLE_FUNCTION"
        ]
        names = {str(call.get("function_name")).casefold() for call in calls}
    except RecursionError:
        message = "expected a query of fewer levels around a function after FROM"
        raise InvalidInputError(message, "put the inner query into a WITH.", sql=text) from None
    if others := sorted(names.difference(functions)):
        message = f"expected functions after FROM that only return rows, found {', '.join(others)}"
        raise InvalidInputError(
            message,
            "read a table of the lake, or pass other rows as a frame: snapshot.sql(query,"
            " name=frame).",
            sql=text,
        )


def _check_hidden(tree: str, text: str, functions: Collection[str], level: int) -> None:
    """Check the SQL inside constant texts, as in ``query('SELECT …')``; refuse computed SQL."""
    try:
        calls = [
            node
            for node in nodes(json.loads(tree))
            if str(node.get("function_name", "")).casefold() == "query"
        ]
    except RecursionError:
        calls = []
    for call in calls:
        arguments = [argument["expression"] for argument in call.get("arguments", [])]
        hidden = arguments[0].get("literal", {}).get("text") if len(arguments) == 1 else None
        if not isinstance(hidden, str) or level >= _MOST_LEVELS:
            break
        _checked(hidden, functions, level + 1)
    else:
        # Every occurrence must have been one of the calls checked above.
        if len(calls) == len(_HIDING.findall(tree)):
            return
    message = "expected a query without hidden SQL, found a function that runs SQL from a text"
    raise InvalidInputError(message, "write the query itself in the place of query('…').", sql=text)
