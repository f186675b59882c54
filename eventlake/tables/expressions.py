"""SQL expressions of upcasts: over the fields of a version of a schema, one value a row. The only place of ``tables`` that runs DuckDB.

What an expression can be is judged on DuckDB's bound plan: one value from one row, of the field's type, by functions that give the same
for the same arguments for ever, without a double on the way to a type that is exact.
"""

import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa

from eventlake.columns.schema import INSTANT
from eventlake.errors import InvalidInputError
from eventlake.schemas.checks import arrow_schema, arrow_type
from eventlake.schemas.definition import Field, FieldType, Schema
from eventlake.schemas.evolution import of_field

_OLD = "payloads"
_DOUBLES = frozenset({"DOUBLE", "FLOAT"})
_CHANGING = frozenset({"age", "current_catalog", "current_time", "current_timestamp", "localtime", "localtimestamp", "version"})
"""Other spellings, and functions of which DuckDB calls one form consistent, while another looks at today's date; and DuckDB's version."""


@lru_cache(maxsize=1)
def _database(process: int) -> duckdb.DuckDBPyConnection:
    """A database that reads nothing but what it is given, one a process: opening one costs more than most upcasts."""
    del process
    settings: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False, "threads": 1}
    connection = duckdb.connect(":memory:", config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


class EvaluationError(Exception):
    """DuckDB cannot evaluate an expression on these rows."""


def evaluate(expressions: Mapping[str, str], table: pa.Table) -> pa.Table:
    """One column an expression, one row a row.

    Raises:
        EvaluationError: A value cannot be computed.
    """
    try:
        with _database(os.getpid()).cursor() as cursor:
            cursor.register(_OLD, table)
            return cursor.sql(_query(expressions)).to_arrow_table()
    except duckdb.Error as error:
        raise EvaluationError(str(error)) from error


def complete(old: Schema, new: Schema, given: Mapping[str, str]) -> dict[str, str]:
    """An expression for every field of ``new``: the given one, or the old field where it can be read as it is, or null for a new field.

    Raises:
        InvalidInputError: A field needs an expression, one is given for none, or an expression is not allowed.
    """
    wrong = {name: text for name, text in given.items() if not (isinstance(text, str) and text.strip())}
    if wrong:
        message = f"upcast of {new.event_type}: expected SQL expressions by field, found {wrong!r}"
        raise InvalidInputError(message, 'such as {"amount": "CAST(cents AS DECIMAL(18, 2)) * 0.01"}.', event_type=new.event_type)
    unknown = sorted(set(given) - {field.name for field in new.fields})
    if unknown:
        message = f"upcast of {new.event_type}: expected fields of the new schema, found {', '.join(map(repr, unknown))}"
        raise InvalidInputError(message, event_type=new.event_type)
    fields = {field.name: field for field in old.fields}
    expressions = {field.name: given.get(field.name) or _unchanged(fields.get(field.name), field, new) for field in new.fields}
    for field in new.fields:
        _check(expressions[field.name], old, field, f"upcast of {new.event_type}, field {field.name}")
    return expressions


def _unchanged(old: Field | None, new: Field, schema: Schema) -> str:
    reason = "is new and required" if old is None and new.required else ""
    if old is not None:
        reason = "; ".join(f"{path}: {why}" if path != new.name else why for path, why in of_field(old, new, new.name))
    if reason:
        message = f"upcast of {schema.event_type}: field {new.name} needs an expression: {reason}"
        hint = f'give one over the old fields, such as {{"{new.name}": "CAST(old_field AS DECIMAL(12, 2))"}}.'
        raise InvalidInputError(message, hint, event_type=schema.event_type, field=new.name)
    return _identifier(new.name) if old is not None else "NULL"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _query(expressions: Mapping[str, str]) -> str:
    # The line ends keep a comment inside its parentheses.
    columns = ", ".join(f"(\n{text}\n) AS {_identifier(name)}" for name, text in expressions.items())
    return f"SELECT {columns} FROM {_OLD}"  # noqa: S608 - the expressions were checked when they were registered


def _check(expression: str, old: Schema, field: Field, where: str) -> None:
    """Refuses an expression that is none, or would not give the same for ever.

    Raises:
        InvalidInputError: With what is wrong and what to write instead.
    """
    hint = f"an upcast is one SQL expression over the fields {', '.join(_identifier(one.name) for one in old.fields)}."
    tree, plan, changing = _understood({field.name: expression}, old)
    if plan.get("error"):
        raise InvalidInputError(f"{where}: DuckDB refused {expression!r}: {plan.get('error_message')}", hint)
    if not _is_one_row_at_a_time(plan):
        raise InvalidInputError(f"{where}: expected one value from one row, found {expression!r}", hint)
    # A call without arguments is a value by the time it is bound, and may look like a column before.
    called = {name for node in _nodes([tree, plan]) for name in _names(node)} - {one.name.casefold() for one in old.fields}
    if called & changing:
        raise InvalidInputError(f"{where}: {min(called & changing)}() does not give the same tomorrow, found {expression!r}", hint)
    for node in _nodes(plan["plans"][0]["expressions"]):
        if not _DOUBLES.isdisjoint(_types(node)) and not _is_inexact(field.type):
            exact = "write CAST(field AS DECIMAL(18, 2)) * 0.01 in place of field / 100, and decimals without an exponent."
            raise InvalidInputError(f"{where}: {expression!r} goes through a DOUBLE, and {field.type} is exact", exact)
    try:
        found = evaluate({field.name: expression}, arrow_schema(old.payload).empty_table()).schema.field(0).type
    except EvaluationError as error:
        raise InvalidInputError(f"{where}: DuckDB refused {expression!r}: {error}", hint) from error
    if not _is_near(found, arrow_type(field.type)):
        raise InvalidInputError(f"{where}: expected {field.type}, {expression!r} gives {found}", "put a CAST around it.")


def _understood(expressions: Mapping[str, str], old: Schema) -> tuple[Any, dict[str, Any], frozenset[str]]:
    """How DuckDB parses the expressions, its plan of them over the old fields, and the functions that do not give the same for ever.

    Those that ask for the time zone do give the same, it is UTC; ``error`` gives nothing.
    """
    query = _query(expressions)
    with _database(os.getpid()).cursor() as cursor:
        cursor.register("no rows", arrow_schema(old.payload).empty_table())
        cursor.execute(f'CREATE TEMP TABLE {_OLD} AS SELECT * FROM "no rows"')  # noqa: S608 - names of ours
        serialized = "SELECT json_serialize_sql(?), json_serialize_plan(?, skip_null := true, skip_empty := true, optimize := false)"
        tree, plan = map(json.loads, cursor.execute(serialized, [query, query]).fetchall()[0])
        cursor.execute(f"DROP TABLE {_OLD}")
        found = cursor.execute(
            "SELECT function_name FROM duckdb_functions() WHERE function_type = 'scalar' AND NOT starts_with(function_name, 'timezone')"
            " AND function_name <> 'error' GROUP BY ALL HAVING count(*) FILTER (stability = 'CONSISTENT') = 0"
        ).fetchall()
    return tree, plan, _CHANGING | {name for (name,) in found}


def _names(node: Mapping[str, Any]) -> list[str]:
    """What a node calls, or may call."""
    path = node.get("qname", {}).get("path", [""])
    return [str(name).casefold() for name in (node.get("function_name"), path[-1], *(node.get("column_names") or [])[:1]) if name]


def _types(node: Mapping[str, Any]) -> set[str | None]:
    value = node.get("value")
    return {node.get("return_type", {}).get("id"), value.get("type", {}).get("id") if isinstance(value, dict) else None}


def _is_inexact(kind: FieldType) -> bool:
    inner = [kind.item] if kind.item is not None else [field.type for field in kind.fields]
    return kind.kind == "float64" or any(map(_is_inexact, inner))


def _is_one_row_at_a_time(plan: Mapping[str, Any]) -> bool:
    plans = plan["plans"]
    return (
        len(plans) == 1
        and plans[0]["type"] == "LOGICAL_PROJECTION"
        and len(plans[0]["expressions"]) == 1
        and [child["type"] for child in plans[0].get("children", [])] == ["LOGICAL_GET"]
        and not plans[0]["children"][0].get("children")
        and plans[0]["children"][0].get("function_data", {}).get("table") == _OLD
    )


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _nodes(item)
    elif isinstance(node, dict):
        yield node
        yield from _nodes(list(node.values()))


def _is_near(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of one type can be asked to be of another: numbers that are exact, instants, or the very same."""
    exact = all(pa.types.is_integer(kind) or pa.types.is_decimal(kind) for kind in (found, wanted))
    instants = wanted == INSTANT and pa.types.is_timestamp(found) and found.tz is not None
    return found == wanted or pa.types.is_null(found) or exact or instants or _text(found) == wanted


def _text(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind
