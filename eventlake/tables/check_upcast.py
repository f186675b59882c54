"""Check upcasts: the SQL expressions by which a version of a schema reads older events.

An expression is checked as DuckDB parses and binds it: it must give one value from one row, of the
field's type, by functions of the allow-list, and without a double on the way to an exact type.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from eventlake.caches import CACHES
from eventlake.columns.schema import INSTANT
from eventlake.core.hashing.canonical import canonical_json, sha256_hex
from eventlake.core.sql import identifier
from eventlake.errors import CorruptionError, InvalidInputError
from eventlake.exactness.on_duckdb.expressions import check, check_names, subexpressions, type_of
from eventlake.exactness.rows import FLOATS, type_names
from eventlake.exactness.tree import depth, nodes
from eventlake.schemas.checks import arrow_schema, arrow_type
from eventlake.schemas.evolution import of_field
from eventlake.schemas.schema import Field, FieldType, Schema
from eventlake.schemas.version import Version
from eventlake.tables.expressions import (
    ENGINE_ERROR,
    OLD,
    EvaluationError,
    evaluate,
    parsed,
    plan_over,
)
from eventlake.tables.growth import GrowthError, Size, growth

_MOST_CHARACTERS = 2_000
_MOST_LEVELS = 500
"""Levels of nesting in a serialized expression; each further term of a sum adds two."""
# Without subqueries, windows and stars: an expression gives one value from one row.
_CLASSES = frozenset(
    {
        "BETWEEN",
        "CASE",
        "CAST",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "FUNCTION",
        "LAMBDA",
        "LAMBDA_REF",
        "OPERATOR",
        "TYPE",
    }
)
_checked = CACHES.bounded_set(10_000)
"""Upcasts that passed the check, by the hash of everything that the check depends on."""


def complete(old: Schema, new: Schema, given: Mapping[str, str]) -> dict[str, str]:
    """The expressions that a version records, after a check.

    Fields without an expression are read from the old field of the same name, or are null.

    Args:
        old: The schema before.
        new: The schema to upcast to.
        given: The expressions, by field of ``new``.

    Raises:
        InvalidInputError: A field needs an expression, an expression has no field, or an expression
            is not allowed.
    """
    where = f"upcast of {new.event_type}"
    named = isinstance(given, Mapping) and all(isinstance(name, str) for name in given)
    if not named or not all(isinstance(text, str) and text.strip() for text in given.values()):
        message = f"{where}: expected SQL expressions by field, found {given!r}"
        raise InvalidInputError(
            message,
            'such as {"amount": "CAST(cents AS DECIMAL(18, 2)) * 0.01"}.',
            event_type=new.event_type,
        )
    unknown = sorted(set(given) - {field.name for field in new.fields})
    if unknown:
        message = (
            f"{where}: expected fields of the new schema, found {', '.join(map(repr, unknown))}"
        )
        raise InvalidInputError(message, event_type=new.event_type)
    fields = {field.name: field for field in old.fields}
    for field in new.fields:
        if field.name in given:
            _check(given[field.name], old, field, f"{where}, field {field.name}")
        else:
            _check_unchanged(fields, field, where)
    return dict(given)


def check_stored(version: Version) -> None:
    """Check the stored upcast of a version as its registration did.

    Anybody who can write to the lake may have written its catalogue.

    Raises:
        CorruptionError: The upcast could not have been registered.
    """
    if version.upcast is None or version.before is None:
        return
    step = sha256_hex(canonical_json(version.step()))
    if step in _checked:
        return
    try:
        complete(version.before.schema, version.schema, version.upcast)
    except InvalidInputError as error:
        name = version.schema.event_type
        message = (
            f"the stored schema of {name}, version {version.number}, has an upcast that cannot have"
            f" been registered: {error.message}"
        )
        raise CorruptionError(
            message,
            "run 'eventlake verify LAKE'; do not use this lake unless you trust who wrote it.",
        ) from error
    _checked.add(step)


def largest(version: Version) -> Size:
    """An upper bound of the size of an upcast row, for a checked upcast."""
    if version.before is None:
        return Size()
    types = _types(version.before.schema)
    trees = [parsed(text) for text in (version.upcast or {}).values()]
    return sum(
        (growth(tree["statements"][0]["node"]["select_list"][0], types) for tree in trees), Size()
    )


def _types(schema: Schema) -> dict[str, FieldType]:
    return {field.name: field.type for field in schema.fields}


def _check_unchanged(old: Mapping[str, Field], new: Field, where: str) -> None:
    """Refuse a field without an expression if its old values cannot be read as they are."""
    before = old.get(new.name)
    if before is not None:
        reasons = [
            why if path == new.name else f"{path}: {why}"
            for path, why in of_field(before, new, new.name)
        ]
    else:
        alike = [name for name in old if name.casefold() == new.name.casefold()]
        reasons = [f"the old field is called {name!r}" for name in alike] or (
            ["is new and required"] if new.required else []
        )
    if reasons:
        message = f"{where}: field {new.name} needs an expression: {'; '.join(reasons)}"
        hint = (
            "give one over the old fields, such as"
            f' {{"{new.name}": "CAST(old_field AS DECIMAL(12, 2))"}}.'
        )
        raise InvalidInputError(message, hint, field=new.name)


def _check(expression: str, old: Schema, field: Field, where: str) -> None:
    """Refuse an expression that is not allowed.

    Raises:
        InvalidInputError: What is wrong, and what to write instead.
    """
    names = ", ".join(identifier(one.name) for one in old.fields)
    hint = f"an upcast is one SQL expression over the fields {names}."

    def refuse(reason: object, instead: str = "") -> InvalidInputError:
        return InvalidInputError(
            f"{where}: {expression[:200]!r}: {reason}",
            f"{f'write {instead}; ' if instead else ''}{hint}",
            field=field.name,
        )

    try:
        tree, plan = _planned(expression, old)
        _check_plan(tree, plan, field, refuse)
        # Over no rows: this gives the type of the value as Arrow returns it.
        no_rows = arrow_schema(old.payload).empty_table()
        computed = evaluate({field.name: expression}, no_rows, only_planned=True)
        found_type = computed.schema.field(0).type
    except InvalidInputError:
        # A ValueError too, whose message says already what is wrong.
        raise
    except GrowthError as error:
        raise refuse(error) from error
    except EvaluationError as error:
        raise refuse(f"DuckDB refused it: {error}") from error
    except (ValueError, RecursionError, ENGINE_ERROR) as error:
        raise refuse(f"cannot be understood: {error}") from error
    if not _is_convertible(found_type, arrow_type(field.type)):
        raise refuse(f"expected {field.type}, found {found_type}", "a CAST around it")


def _check_plan(
    tree: Mapping[str, Any],
    plan: Mapping[str, Any],
    field: Field,
    refuse: Callable[..., InvalidInputError],
) -> None:
    if tree.get("error") or plan.get("error"):
        raise refuse(f"DuckDB refused it: {tree.get('error_message') or plan.get('error_message')}")
    if not _is_alone(tree) or not _is_one_value(plan):
        raise refuse("expected one value from one row")
    bound = plan["plans"][0]["expressions"][0]
    for refusal in (*check_names(tree), *check(bound)):
        raise refuse(f"{refusal.what}: {refusal.why}")
    # Text may come from JSON; any other value of JSON went through a double.
    inexact = _types_inside(bound) & (FLOATS if field.type.kind == "utf8" else FLOATS | {"JSON"})
    if inexact and not _is_inexact(field.type):
        raise refuse(
            f"goes through {min(inexact)}, and {field.type} is exact",
            "CAST(field AS DECIMAL(18, 2)) * 0.01 in place of field / 100",
        )
    if type_of(bound).get("id") == "HUGEINT":
        raise refuse(
            "a HUGEINT may be too large for any field",
            "CAST(… AS BIGINT) or CAST(… AS DECIMAL(38, 0)) around it",
        )


def _types_inside(bound: Mapping[str, Any]) -> set[str]:
    """The names of the types of an expression and of everything inside it."""
    return set().union(*(type_names(type_of(node)) for node in subexpressions(bound)))


def _planned(expression: str, old: Schema) -> tuple[dict[str, Any], dict[str, Any]]:
    """The syntax tree of an expression by itself, and its plan over the old fields.

    Raises:
        ValueError: The text is too long, nested too deeply, or not UTF-8.
    """
    # Fails for lone surrogates, which DuckDB cannot be given.
    expression.encode()
    if len(expression) > _MOST_CHARACTERS:
        message = f"expected at most {_MOST_CHARACTERS:,} characters, found {len(expression):,}"
        raise ValueError(message)
    # Parsed by itself first: what is one expression alone cannot close the parentheses around it.
    # The line breaks keep a comment inside them.
    tree = parsed(expression)
    if not tree.get("error"):
        if not _is_alone(tree):
            return tree, {}
        # Before anything is planned, since planning evaluates constants.
        growth(tree["statements"][0]["node"]["select_list"][0], _types(old))
    plan = plan_over(expression, arrow_schema(old.payload).empty_table())
    if max(depth(tree), depth(plan)) > _MOST_LEVELS:
        message = f"nested in more than {_MOST_LEVELS} levels"
        raise ValueError(message)
    return tree, plan


def _is_alone(tree: Mapping[str, Any]) -> bool:
    """Whether a query is SELECT and one expression, and nothing else."""
    node = tree["statements"][0]["node"] if len(tree["statements"]) == 1 else {}
    alone = (
        node.get("type") == "SELECT_NODE"
        and len(node.get("select_list", [])) == 1
        and node["from_table"]["type"] == "EMPTY"
    )
    return (
        alone
        and not any(
            node.get(name)
            for name in (
                "where_clause",
                "having",
                "qualify",
                "sample",
                "group_expressions",
                "modifiers",
            )
        )
        and all(one["class"] in _CLASSES for one in nodes(node["select_list"]) if "class" in one)
    )


def _is_one_value(plan: Mapping[str, Any]) -> bool:
    """Whether a plan is one value per row of the old fields."""
    tops = plan["plans"]
    return bool(
        len(tops) == 1
        and tops[0]["type"] == "LOGICAL_PROJECTION"
        and len(tops[0]["expressions"]) == 1
        and [child["type"] for child in tops[0].get("children", [])] == ["LOGICAL_GET"]
        and not tops[0]["children"][0].get("children")
        and tops[0]["children"][0].get("function_data", {}).get("table") == OLD
    )


def _is_inexact(kind: FieldType) -> bool:
    """Whether a type contains doubles only, so that doubles inside the expression do no harm."""
    inner = [kind.item] if kind.item is not None else [field.type for field in kind.fields]
    return kind.kind == "float64" or bool(inner and all(map(_is_inexact, inner)))


def _is_convertible(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of a type can be converted to another without loss, or fail if they cannot."""
    exact = all(pa.types.is_integer(kind) or pa.types.is_decimal(kind) for kind in (found, wanted))
    instants = wanted == INSTANT and pa.types.is_timestamp(found) and found.tz is not None
    texts = wanted == pa.string() and (
        pa.types.is_large_string(found) or pa.types.is_string_view(found)
    )
    return found == wanted or pa.types.is_null(found) or exact or instants or texts
