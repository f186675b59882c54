"""Queries that only read: one SELECT, and no statement hidden in it that writes."""

import json
import re
from collections.abc import Collection
from typing import Any

import duckdb

from eventlake.caches import CACHES
from eventlake.database.connection import Resources, open_database
from eventlake.database.expansion import grows
from eventlake.errors import InvalidInputError
from eventlake.exactness.tree import nodes


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NODE = re.compile(r'"type":"([A-Z_]+_NODE)"')
_READING = frozenset({"CTE_NODE", "RECURSIVE_CTE_NODE", "SELECT_NODE", "SET_OPERATION_NODE"})
"""Queries that write nothing. DuckDB takes COPY, INSERT, UPDATE and DELETE in a WITH of a SELECT."""
_HIDING = re.compile(r'"function_name":"(query|json_execute_serialized_sql)"', re.IGNORECASE)
"""Table functions that run the SQL in a text."""
_SUSPECT = re.compile(
    r'"function_name":"(current_setting|getenv|pg_sleep|setval|sleep_ms|write_log)"', re.IGNORECASE
)
"""Functions that show settings, wait, write or read the environment."""
_SETTINGS = _words("calendar memory_limit threads timezone")
"""What ``current_setting`` may be asked for: other settings hold paths of this machine."""
_DEEPEST = 8
_NAMED = re.compile(r'"alias":"[^"]')
_FEW_NAMES = 14
"""Fewer names cannot double often enough to matter."""
_TABLE_FUNCTION = '"type":"TABLE_FUNCTION"'
TABLE_FUNCTIONS = _words(
    """
    generate_series histogram histogram_values icu_calendar_names json_each json_tree pg_timezone_names query query_table range repeat
    repeat_row summary unnest
    parquet_bloom_probe parquet_file_metadata parquet_full_metadata parquet_kv_metadata parquet_metadata parquet_page_index
    parquet_scan parquet_schema read_csv read_csv_auto read_json read_json_auto read_json_objects read_json_objects_auto
    read_ndjson read_ndjson_auto read_ndjson_objects read_parquet sniff_csv
    duckdb_columns duckdb_constraints duckdb_dependencies duckdb_functions duckdb_indexes
    duckdb_keywords duckdb_memory duckdb_optimizers duckdb_schemas duckdb_sequences duckdb_tables duckdb_types
    duckdb_views pragma_collations pragma_database_size pragma_metadata_info pragma_platform pragma_show
    pragma_table_info pragma_user_agent pragma_version
    """
)
"""What may stand behind FROM: rows that are computed, tables in files that the lock allows, and what a database says of its tables. Others
call functions by their names in texts, change the process, or show its settings and files."""
FILE_FUNCTIONS = _words("glob read_blob read_text")
"""What a mapping may read besides, of the folder that is imported: whole files, and which there are."""


@CACHES.per_process
def _parser() -> duckdb.DuckDBPyConnection:
    """An empty database that takes queries apart and runs none, one a process: opening one costs more than most queries."""
    return open_database(resources=Resources(threads=1))


def tree_of(text: str) -> Any:
    """How DuckDB parses a query, as JSON; with ``error`` if it is not made of SELECTs.

    Raises:
        RecursionError: It is nested deeper than Python goes.
        duckdb.Error: It is no SQL.
    """
    return json.loads(_written(text))


def _written(text: str) -> str:
    with _parser().cursor() as cursor:
        return str(
            cursor.execute("SELECT json_serialize_sql(?, skip_null := true)", [text]).fetchall()[0][
                0
            ]
        )


def check_select(text: str, *, functions: Collection[str] = TABLE_FUNCTIONS) -> str:
    """One SELECT that only reads, as it stands in ``text``.

    Args:
        text: The query.
        functions: What may stand behind FROM.

    Raises:
        InvalidInputError: More or other than one SELECT, or one that writes, or runs SQL that is
            computed.
        duckdb.Error: It is no SQL.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"expected a query in UTF-8, found {text[:200]!r}"
        raise InvalidInputError(
            message, "half a surrogate pair is no character; decode the text once more."
        ) from error
    return _checked(text, functions, 0)


def _checked(text: str, functions: Collection[str], level: int) -> str:
    with _parser().cursor() as cursor:
        statements = cursor.extract_statements(text)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        found = (
            ", ".join(str(statement.type).rsplit(".", 1)[-1] for statement in statements)
            or "nothing"
        )
        message = f"expected one SELECT, found {found}"
        pivot = (
            "list the values of a PIVOT: PIVOT … ON type IN ('a', 'b')."
            if found == "MULTI"
            else None
        )
        reads = "a history is read-only; hand in other rows as a frame: snapshot.sql(query, name=frame)."
        raise InvalidInputError(message, pivot or reads, sql=text)
    query = str(statements[0].query)
    written = _written(query)
    writing = sorted(
        {kind.partition("_")[0] for kind in _NODE.findall(written)}
        - {kind.partition("_")[0] for kind in _READING}
    )
    if writing:
        message = f"expected a SELECT that only reads, found {', '.join(writing)} in it"
        raise InvalidInputError(
            message,
            "a history is read-only; write the rows that .arrow() or .polars() gives.",
            sql=text,
        )
    if _SUSPECT.search(written):
        _check_functions(written, text)
    if _HIDING.search(written):
        _check_hidden(written, text, functions, level)
    if _TABLE_FUNCTION in written:
        _check_table_functions(written, text, functions)
    if "CTE_MATERIALIZE_NEVER" in written or len(_NAMED.findall(written)) >= _FEW_NAMES:
        _check_growth(written, text)
    return query


def _check_growth(written: str, text: str) -> None:
    """Refuses queries that double with every line when they are planned: nothing interrupts that."""
    try:
        reason = grows(json.loads(written))
    except RecursionError:
        reason = "it is nested too deeply to tell"
    if reason:
        message = f"expected a query that stays small when it is planned: {reason}"
        raise InvalidInputError(
            message, "compute the part once, in a WITH ... AS MATERIALIZED or a subquery.", sql=text
        )


def _check_functions(written: str, text: str) -> None:
    """Refuses functions that wait, write, or show the machine."""
    names = sorted({name.casefold() for name in _SUSPECT.findall(written)})
    if names != ["current_setting"] or not _shows_known_settings(written):
        message = f"expected a SELECT that only reads the history, found {', '.join(names)}"
        raise InvalidInputError(
            message,
            f"leave it out; current_setting shows {', '.join(sorted(_SETTINGS))} alone.",
            sql=text,
        )


def _shows_known_settings(written: str) -> bool:
    try:
        calls = [
            node
            for node in nodes(json.loads(written))
            if str(node.get("function_name", "")).casefold() == "current_setting"
        ]
    except RecursionError:
        return False
    asked = [
        argument["expression"].get("literal", {}).get("text")
        for call in calls
        for argument in call.get("arguments", [])
    ]
    return bool(asked) and all(
        isinstance(one, str) and one.casefold() in _SETTINGS for one in asked
    )


def _check_table_functions(written: str, text: str, functions: Collection[str]) -> None:
    """Refuses functions behind FROM that do more than give rows."""
    try:
        calls = [
            node["function"]
            for node in nodes(json.loads(written))
            if node.get("type") == "TABLE_FUNCTION"
        ]
        names = {str(call.get("function_name")).casefold() for call in calls}
    except RecursionError:
        message = "expected a query of fewer levels around a function behind FROM"
        raise InvalidInputError(message, "put the inner query into a WITH.", sql=text) from None
    if others := sorted(names.difference(functions)):
        message = f"expected functions behind FROM that only give rows, found {', '.join(others)}"
        raise InvalidInputError(
            message,
            "read a table of the lake, or hand in other rows as a frame: snapshot.sql(query, name=frame).",
            sql=text,
        )


def _check_hidden(written: str, text: str, functions: Collection[str], level: int) -> None:
    """Looks at the SQL that a text in a query holds."""
    try:
        calls = [
            node
            for node in nodes(json.loads(written))
            if str(node.get("function_name", "")).casefold() == "query"
        ]
    except RecursionError:
        calls = []
    for call in calls:
        found = [argument["expression"] for argument in call.get("arguments", [])]
        hidden = found[0].get("literal", {}).get("text") if len(found) == 1 else None
        if not isinstance(hidden, str) or level >= _DEEPEST:
            break
        _checked(hidden, functions, level + 1)
    else:
        if len(calls) == len(_HIDING.findall(written)):
            return
    message = "expected a query whose SQL stands in it, found a function that runs SQL from a text"
    raise InvalidInputError(message, "write the query itself in the place of query('…').", sql=text)
