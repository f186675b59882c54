"""Scalar expressions of a bound plan: what each of their parts may be."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eventlake.exactness.on_duckdb.functions import (
    AGGREGATES,
    CARRIERS,
    FLOAT_STEPS,
    MACROS,
    ORDERED,
    PICKING,
    SCALARS,
    TOLD,
    refused,
)
from eventlake.exactness.refusals import Refusal
from eventlake.exactness.rows import EXACT_TYPES, FLOATS, Type, is_float, parts
from eventlake.exactness.tree import nodes

Node = Mapping[str, Any]
ROW_ID = 2**63
"""The places of real columns lie below it."""

_CASTS = frozenset({"__cast", "__try_cast"})
_COMPARISONS = "COMPARE_"
_PLAIN = frozenset(
    {
        "BOUND_REF",
        "BOUND_CONSTANT",
        "BOUND_CONJUNCTION",
        "BOUND_BETWEEN",
        "BOUND_CASE",
        "BOUND_LAMBDA",
        "BOUND_LAMBDA_REF",
        "BOUND_UNNEST",
    }
)
_OPERATORS = frozenset(
    {
        "ARRAY_CONSTRUCTOR",
        "ARRAY_EXTRACT",
        "ARRAY_SLICE",
        "ARROW",
        "COMPARE_IN",
        "COMPARE_NOT_IN",
        "GROUPING_FUNCTION",
        "OPERATOR_COALESCE",
        "OPERATOR_IS_NOT_NULL",
        "OPERATOR_IS_NULL",
        "OPERATOR_NOT",
        "OPERATOR_NULLIF",
        "OPERATOR_TRY",
        "STRUCT_EXTRACT",
    }
)
_ALL_ARGUMENTS = 2
_CALLABLE = (
    SCALARS
    | FLOAT_STEPS
    | CARRIERS
    | MACROS
    | AGGREGATES
    | ORDERED
    | PICKING
    | {"unnest", "grouping", "grouping_id"}
)
_KEYWORDS = frozenset(
    {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
    | {"current_role", "current_user", "session_user", "user"}
)
"""Calls that look like columns."""
_SORTING = frozenset({"list_sort", "list_reverse_sort", "array_sort", "array_reverse_sort"})
_UNSORTED = frozenset({"list_distinct", "array_distinct"})
"""Lists in the order of a hash table, which sorting takes away."""
_WHOLE = frozenset({"to_milliseconds", "to_seconds"})
"""Functions that take doubles, and are exact of whole numbers."""
_INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)
_TYPES = {
    "BIGNUM": "DECIMAL(38, 0), or VARCHAR",
    "TIME WITH TIME ZONE": "TIME, such as (time AT TIME ZONE 'UTC')::TIME",
    "TIME_NS": "TIME, which has microseconds",
    "UHUGEINT": "HUGEINT, or DECIMAL(38, 0)",
    "UNION": "a struct with a field for each member",
    "VARIANT": "the type of the values, or VARCHAR",
}
"""What to write in place of types that are not exact."""
_NAMED = frozenset({"JSON"})
"""Text under another name."""


def column(node: Node) -> int | None:
    """The place of the column that an expression is; None where it computes something."""
    return int(node["index"]) if node.get("expression_class") == "BOUND_REF" else None


def type_of(node: Node) -> Type:
    """The type of an expression's values."""
    if "return_type" in node:
        kind: Type = node["return_type"]
        return kind
    value = node.get("value")
    return value["type"] if isinstance(value, Mapping) and "type" in value else {"id": "BOOLEAN"}


def name_of(node: Node) -> str:
    """What a node calls, case folded."""
    path = node.get("qname", {}).get("path", [""])
    return str(path[-1]).casefold()


def within(node: Any) -> Iterator[Node]:
    """The expressions inside of one, itself first."""
    return (one for one in nodes(node) if "expression_class" in one)


def columns_in(node: Any) -> set[int]:
    """The columns that an expression reads."""
    return {int(one["index"]) for one in within(node) if one["expression_class"] == "BOUND_REF"}


def anded(node: Node) -> list[Node]:
    """The conditions that must all hold."""
    if node.get("type") == "CONJUNCTION_AND":
        return [part for child in node["children"] for part in anded(child)]
    return [node]


def text_of(node: Node) -> str | None:
    """The text that an expression is; None if it is no constant text."""
    inner = (
        node["children"][0]
        if name_of(node) in _CASTS and type_of(node).get("id") == "VARCHAR" and node.get("children")
        else node
    )
    value = inner.get("value") if inner.get("expression_class") == "BOUND_CONSTANT" else None
    return (
        value["value"]
        if isinstance(value, Mapping) and isinstance(value.get("value"), str)
        else None
    )


def texts_of(condition: Node) -> tuple[int, frozenset[str]] | None:
    """The column, and the texts that it must be one of for a condition to hold; None if a condition says something else."""
    children = condition.get("children", [])
    if condition.get("type") in {"COMPARE_EQUAL", "COMPARE_IN"} and children:
        first, *rest = children if column(children[0]) is not None else reversed(children)
        place, texts = column(first), [text_of(one) for one in rest]
        known = frozenset(one for one in texts if one is not None)
        return (place, known) if place is not None and texts and None not in texts else None
    if condition.get("type") == "CONJUNCTION_OR" and children:
        found = [texts_of(one) for one in children]
        columns = {one[0] for one in found if one is not None}
        if None not in found and len(columns) == 1:
            return columns.pop(), frozenset().union(*(one[1] for one in found if one is not None))
    return None


def places_read(node: Node) -> list[int]:
    """The columns of a table that a scan reads, by their places in the table; from ``ROW_ID`` on it is the row's own place."""
    return [
        place if isinstance(place, int) else place["index"]
        for place in node.get("column_indexes", [])
    ]


def is_constant(node: Node) -> bool:
    """Whether an expression reads no column."""
    return not columns_in(node)


def check(node: Any) -> Iterator[Refusal]:
    """What in a scalar expression is not exact."""
    sorted_ = {
        id(one["children"][0])
        for one in within(node)
        if name_of(one) in _SORTING and one.get("children")
    }
    for one in within(node):
        kind = one["expression_class"]
        if id(one) in sorted_ and name_of(one) in _UNSORTED:
            continue
        odd = sorted(parts(type_of(one)) - EXACT_TYPES - FLOATS - _NAMED)
        if odd:
            yield Refusal(
                odd[0], "a type that is not known to be exact", "", _TYPES.get(odd[0], "")
            )
        if kind == "BOUND_FUNCTION":
            yield from _check_function(one)
        elif kind == "BOUND_AGGREGATE":
            if name_of(one) not in AGGREGATES or any(
                is_float(type_of(child)) for child in one.get("children", ())
            ):
                yield refused(name_of(one), aggregate=True)
        elif kind == "BOUND_OPERATOR":
            if one["type"] not in _OPERATORS:
                yield Refusal(one["type"], "an operator that is not known to be exact")
        elif kind not in _PLAIN:
            yield Refusal(kind, "a kind of expression that is not known to be exact")


def _check_function(node: Node) -> Iterator[Refusal]:
    name, children = name_of(node), node.get("children", [])
    if str(node.get("type", "")).startswith(_COMPARISONS):
        return
    inexact = [child for child in children if is_float(type_of(child)) and not is_constant(child)]
    if name in _WHOLE and all(
        name_of(one) in _CASTS and str(type_of(one["children"][0])["id"]) in _INTEGERS
        for one in inexact
    ):
        inexact = []
    if name in _CASTS:
        if inexact and not is_float(type_of(node)):
            target = str(type_of(node)["id"])
            why = f"a double becomes {target}: how it is rounded is the engine's affair, and what follows would count as exact"
            yield Refusal(
                "CAST",
                why,
                "0.125 to two digits",
                "DECIMAL from the beginning, and doubles in the last step alone; or cast when the dataset is read",
            )
        return
    if name == "age" and len(children) < _ALL_ARGUMENTS:
        yield refused("current_date")
    elif inexact or is_float(type_of(node)):
        if name not in FLOAT_STEPS and name not in CARRIERS and not is_constant(node):
            yield refused(name) if name not in SCALARS or name in TOLD else _of_double(name)
    elif name not in SCALARS:
        yield refused(name)


def _of_double(name: str) -> Refusal:
    if name == "//":
        return Refusal(
            "//()",
            "of decimals or doubles, which it divides without rounding",
            "7.5 // 2 is 3.75",
            "floor(… / …)",
        )
    instead = f"{name} of an exact value, such as DECIMAL; or {name} when the dataset is read: doubles are for the last step"
    return Refusal(f"{name}()", "of a double", "", instead)


def unbound(tree: Any) -> Iterator[Refusal]:
    """What a query calls by name that is not on a list: binding turns some calls into values, clocks among them."""
    sorted_ = {
        id(argument.get("expression"))
        for node in nodes(tree)
        if str(node.get("function_name") or "").casefold() in _SORTING
        for argument in node.get("arguments") or []
    }
    for node in nodes(tree):
        called = str(node.get("function_name") or "").casefold()
        if called in _UNSORTED and id(node) in sorted_:
            continue
        if called and called not in _CALLABLE and node.get("class") != "WINDOW":
            yield refused(called)
        if (
            called == "age"
            and len(node.get("children") or node.get("arguments") or []) < _ALL_ARGUMENTS
        ):
            yield refused("current_date")
        if node.get("class") == "COLLATE":
            yield Refusal(
                "COLLATE",
                "texts that are equal and not the same: which of them stays is luck",
                "a and A",
                "lower(x)",
            )
        names = node.get("column_names") or []
        if len(names) == 1 and str(names[0]).casefold() in _KEYWORDS:
            yield refused(str(names[0]).casefold())


def check_all(expressions: Sequence[Any]) -> list[Refusal]:
    """``check`` of several."""
    return [refusal for one in expressions for refusal in check(one)]
