"""Scalar expressions of a bound DuckDB plan, held to the allow-list."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eventlake.exactness.on_duckdb.functions import (
    AGGREGATES,
    CARRIERS,
    FLOAT_STEPS,
    MACROS,
    ORDERED,
    PICKING,
    REFUSALS,
    SCALARS,
    refused,
)
from eventlake.exactness.refusals import Refusal
from eventlake.exactness.rows import EXACT_TYPES, FLOATS, Type, is_float, type_names
from eventlake.exactness.tree import nodes

Node = Mapping[str, Any]

CASTS = frozenset({"__cast", "__try_cast"})
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
"""Functions that SQL calls without parentheses, so that they parse as columns."""
_SORTING = frozenset({"list_sort", "list_reverse_sort", "array_sort", "array_reverse_sort"})
_UNSORTED = frozenset({"list_distinct", "array_distinct"})
"""Functions whose result has the order of a hash table; exact inside of a sort."""
_WHOLE = frozenset({"to_milliseconds", "to_seconds"})
"""Functions that take doubles and are exact if these were integers."""
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
_ALIASES = frozenset({"JSON"})
"""Aliases of VARCHAR."""


def column(node: Node) -> int | None:
    """The column that an expression is; None if it is computed."""
    return int(node["index"]) if node.get("expression_class") == "BOUND_REF" else None


def type_of(node: Node) -> Type:
    """The type of an expression's values."""
    if "return_type" in node:
        kind: Type = node["return_type"]
        return kind
    value = node.get("value")
    # Constants carry their type inside. Comparisons and conjunctions have none: they are booleans.
    return value["type"] if isinstance(value, Mapping) and "type" in value else {"id": "BOOLEAN"}


def name_of(node: Node) -> str:
    """The name of the function that a node calls, case folded; empty if it calls none."""
    path = node.get("qname", {}).get("path", [""])
    return str(path[-1]).casefold()


def subexpressions(node: Any) -> Iterator[Node]:
    """An expression and everything inside it, parents first."""
    return (one for one in nodes(node) if "expression_class" in one)


def columns_in(node: Any) -> set[int]:
    """The columns that an expression reads."""
    return {
        int(one["index"]) for one in subexpressions(node) if one["expression_class"] == "BOUND_REF"
    }


def conjuncts(node: Node) -> list[Node]:
    """The conditions that an AND joins; the condition itself if it is not an AND."""
    if node.get("type") == "CONJUNCTION_AND":
        return [part for child in node["children"] for part in conjuncts(child)]
    return [node]


def text_of(node: Node) -> str | None:
    """The value of a constant text; None for any other expression."""
    inner = (
        node["children"][0]
        if name_of(node) in CASTS and type_of(node).get("id") == "VARCHAR" and node.get("children")
        else node
    )
    value = inner.get("value") if inner.get("expression_class") == "BOUND_CONSTANT" else None
    if isinstance(value, Mapping) and isinstance(value.get("value"), str):
        return str(value["value"])
    return None


def accepted_texts(condition: Node) -> tuple[int, frozenset[str]] | None:
    """A column and the texts that a condition accepts for it: ``type = 'a'``, ``type IN (…)``.

    None if the condition is of another form.
    """
    children = condition.get("children", [])
    if condition.get("type") in {"COMPARE_EQUAL", "COMPARE_IN"} and children:
        first, *rest = children if column(children[0]) is not None else reversed(children)
        place, texts = column(first), [text_of(one) for one in rest]
        known = frozenset(one for one in texts if one is not None)
        return (place, known) if place is not None and texts and None not in texts else None
    if condition.get("type") == "CONJUNCTION_OR" and children:
        found = [accepted_texts(one) for one in children]
        columns = {one[0] for one in found if one is not None}
        if None not in found and len(columns) == 1:
            return columns.pop(), frozenset().union(*(one[1] for one in found if one is not None))
    return None


def is_constant(node: Node) -> bool:
    """Whether an expression reads no column."""
    return not columns_in(node)


def check(node: Any) -> Iterator[Refusal]:
    """What is not exact in a scalar expression."""
    # By identity: the same call elsewhere is not sorted.
    sorted_ = {
        id(one["children"][0])
        for one in subexpressions(node)
        if name_of(one) in _SORTING and one.get("children")
    }
    for one in subexpressions(node):
        kind = one["expression_class"]
        if id(one) in sorted_ and name_of(one) in _UNSORTED:
            continue
        unlisted = sorted(type_names(type_of(one)) - EXACT_TYPES - FLOATS - _ALIASES)
        if unlisted:
            instead = _TYPES.get(unlisted[0], "")
            yield Refusal(unlisted[0], "a type that is not known to be exact", "", instead)
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
    # IEEE 754 defines every comparison of doubles.
    if str(node.get("type", "")).startswith(_COMPARISONS):
        return
    doubles = [child for child in children if is_float(type_of(child)) and not is_constant(child)]
    # DuckDB has these functions for doubles only, and casts integers for them.
    if name in _WHOLE and all(
        name_of(one) in CASTS and str(type_of(one["children"][0])["id"]) in _INTEGERS
        for one in doubles
    ):
        doubles = []
    if name in CASTS:
        if doubles and not is_float(type_of(node)):
            yield Refusal(
                "CAST",
                f"a double becomes {type_of(node)['id']!s}: how it is rounded depends on the"
                " engine, and later steps would treat the result as exact",
                "0.125 to two digits",
                "DECIMAL from the beginning, and doubles in the last step alone; or cast when the"
                " dataset is read",
            )
        return
    # age() of one instant compares it with today.
    if name == "age" and len(children) < _ALL_ARGUMENTS:
        yield refused("current_date")
    elif doubles or is_float(type_of(node)):
        if name not in FLOAT_STEPS and name not in CARRIERS and not is_constant(node):
            if name not in SCALARS or name in REFUSALS:
                yield refused(name)
            else:
                yield _refuse_double(name)
    elif name not in SCALARS:
        yield refused(name)


def _refuse_double(name: str) -> Refusal:
    if name == "//":
        return Refusal(
            "//()",
            "of decimals or doubles, which it divides without rounding",
            "7.5 // 2 is 3.75",
            "floor(… / …)",
        )
    instead = (
        f"{name} of an exact value, such as DECIMAL; or {name} when the dataset is read: doubles"
        " are for the last step"
    )
    return Refusal(f"{name}()", "of a double", "", instead)


def check_names(tree: Any) -> Iterator[Refusal]:
    """What a query names in its text and the allow-list does not contain.

    The bound plan is not enough: binding replaces some calls by values, ``now()`` among them.

    Args:
        tree: The output of ``json_serialize_sql``.
    """
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
        # Window functions have kinds of their own in the plan, where they are checked.
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
                "texts that are equal and still differ: which of them is kept is not determined",
                "a and A",
                "lower(x)",
            )
        names = node.get("column_names") or []
        if len(names) == 1 and str(names[0]).casefold() in _KEYWORDS:
            yield refused(str(names[0]).casefold())


def check_all(expressions: Sequence[Any]) -> list[Refusal]:
    """What is not exact in several expressions."""
    return [refusal for one in expressions for refusal in check(one)]
