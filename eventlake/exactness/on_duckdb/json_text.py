"""JSON text in a bound plan: which paths of the events' JSON are read, and what is not exact.

Both engines read a JSON number as a double. JSON of events is checked before the build: every
number at a path that is read must keep its value as a double. Nothing is known of other text, so
that reading JSON from it is refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

from eventlake.exactness.on_duckdb.expressions import (
    CASTS,
    Node,
    accepted_texts,
    column,
    conjuncts,
    name_of,
    type_of,
)
from eventlake.exactness.refusals import DIGITS, Refusal
from eventlake.exactness.rows import Payload, Rows, type_names

Path = tuple[str | int, ...]
"""Member names and list positions from a document's root; everything below is read too."""
MEMBERS = "(data ->> 'member')::TYPE, member by member: text becomes any type digit by digit"


class Read(NamedTuple):
    """One path that a query reads of the JSON of events.

    Attributes:
        path: The path in the document.
        types: The event types that it is read of; None for all.
    """

    path: Path
    types: frozenset[str] | None = None


_WHY = "it reads JSON numbers as doubles"
_READERS = frozenset(
    {
        "->>",
        "json_extract",
        "json_extract_path",
        "json_extract_path_text",
        "json_extract_string",
        "json_value",
    }
)
_WRITERS = frozenset({"json_array", "json_object", "json_quote", "to_json"})
_ITEM_FUNCTIONS = frozenset({"list_extract", "array_extract", "list_element"})
_LIST_FUNCTIONS = frozenset({"list_value", "list_pack"})
# These return one of their values as it is, so it stays JSON of an event.
_SELECTING_AGGREGATES = frozenset(
    {
        "any_value",
        "arbitrary",
        "arg_max",
        "arg_max_null",
        "arg_min",
        "arg_min_null",
        "first",
        "last",
        "max",
        "max_by",
        "min",
        "min_by",
    }
)
_SELECTING_WINDOWS = frozenset(
    {"WINDOW_FIRST_VALUE", "WINDOW_LAG", "WINDOW_LAST_VALUE", "WINDOW_LEAD", "WINDOW_NTH_VALUE"}
)
_STEP = re.compile(
    r"""\.(?:([A-Za-z_][A-Za-z0-9_]*)|"([^"\\]*)")(?=[.\[]|$)"""
    r"""|\[(?:([0-9]+)|'([^'\\]*)'|"([^"\\]*)")\]"""
)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]*")


def path_of(text: str) -> Path:
    """The path that a JSON path of DuckDB or Polars names, up to the first part that is not plain.

    A shorter path is safe: everything below it counts as read.
    """
    if _PLAIN.fullmatch(text):
        return (text,)
    if not text.startswith("$"):
        return ()
    found: list[str | int] = []
    at = 1
    while step := _STEP.match(text, at):
        at = step.end()
        member = next(one for one in step.groups() if one is not None)
        found.append(int(member) if step[3] is not None else member)
    return tuple(found)


def is_json(kind: Any) -> bool:
    """Whether a type is JSON or contains it."""
    return "JSON" in type_names(kind)


def payload_of(node: Node, rows: Rows) -> Payload | None:
    """What is known of an expression's value if it is JSON of events, or a part of it.

    None if the value is not JSON of events, or may be something else.
    """
    place = column(node)
    if place is not None:
        return rows.payloads.get(place)
    if node.get("type") == "OPERATOR_COALESCE":
        return _common([one for one in node["children"] if not _is_numberless(one)], rows)
    if name_of(node) in _LIST_FUNCTIONS:
        return _common(node.get("children", []), rows)
    argument = (
        node["child"]
        if node.get("expression_class") == "BOUND_UNNEST"
        else next(iter(node.get("children") or []), None)
    )
    if argument is None or not _passes_on(node):
        return None
    # The default of LAG and LEAD may be any value.
    defaults = node["children"][2:] if node.get("type") in {"WINDOW_LAG", "WINDOW_LEAD"} else []
    found = _common(
        [argument, *(one for one in defaults if not _is_numberless(one))],
        narrowed(rows, filters(node)),
    )
    # A value of another row does not belong to the event type of this one.
    if found and node.get("expression_class") in {"BOUND_AGGREGATE", "BOUND_WINDOW"}:
        return found._replace(type_column=None)
    return found


def payloads_of(expressions: Sequence[Node], rows: Rows, start: int = 0) -> dict[int, Payload]:
    """The expressions that return JSON of events, by their places from ``start`` on."""
    found = {start + place: payload_of(one, rows) for place, one in enumerate(expressions)}
    return {place: one for place, one in found.items() if one is not None}


def _common(expressions: Sequence[Node], rows: Rows) -> Payload | None:
    """What is known of a value that is that of any of these expressions."""
    found = [payload_of(one, rows) for one in expressions]
    known = [one for one in found if one is not None]
    return reduce(Payload.union, known) if known and len(known) == len(found) else None


def _passes_on(node: Node) -> bool:
    """Whether an expression returns its first argument, or a part of it that is JSON."""
    kind, name = node.get("expression_class"), name_of(node)
    if kind == "BOUND_FUNCTION":
        is_text = name in CASTS and str(type_of(node).get("id")) == "VARCHAR"
        return is_text or name in _ITEM_FUNCTIONS or (name in _READERS and is_json(type_of(node)))
    return (
        kind == "BOUND_UNNEST"
        or node.get("type") in _SELECTING_WINDOWS
        or (kind == "BOUND_AGGREGATE" and name in _SELECTING_AGGREGATES)
    )


def filters(node: Node) -> list[Node]:
    """The conditions of an aggregate's or a window's FILTER."""
    return [
        part for name in ("filter", "filters") if node.get(name) for part in conjuncts(node[name])
    ]


def narrowed(rows: Rows, conditions: Sequence[Node]) -> Rows:
    """The rows for which the conditions hold; some conditions restrict the event types."""
    for one in conditions:
        found = accepted_texts(one)
        if found is not None:
            rows = rows.of_types(*found)
    return rows


def check_json(node: Any, rows: Rows) -> tuple[list[Refusal], set[Read]]:
    """The inexact uses of JSON in an expression, and what it reads of the JSON of events.

    Args:
        node: The expression, or a list of expressions.
        rows: The rows that it is computed over.
    """
    refusals: list[Refusal] = []
    reads: set[Read] = set()
    _walk(node, rows, refusals, reads)
    return refusals, reads


def _walk(node: Any, rows: Rows, refusals: list[Refusal], reads: set[Read]) -> None:
    """Collect what a tree reads, for the event types that each of its parts can see.

    A CASE or FILTER by the event type protects its branch: numbers in other events do not matter.
    """
    if isinstance(node, list):
        for one in node:
            _walk(one, rows, refusals, reads)
        return
    if not isinstance(node, dict):
        return
    rows = narrowed(
        rows, conjuncts(node) if node.get("type") == "CONJUNCTION_AND" else filters(node)
    )
    if node.get("expression_class") == "BOUND_CASE":
        for one in node.get("case_checks", []):
            _walk(one["when_expr"], rows, refusals, reads)
            _walk(one["then_expr"], narrowed(rows, conjuncts(one["when_expr"])), refusals, reads)
        _walk(node.get("else_expr"), rows, refusals, reads)
        return
    if node.get("expression_class") == "BOUND_FUNCTION" and node.get("children"):
        _check_function(node, rows, refusals, reads)
    for part in node.values():
        _walk(part, rows, refusals, reads)


def _check_function(node: Node, rows: Rows, refusals: list[Refusal], reads: set[Read]) -> None:
    name, what = name_of(node), node["children"][0]
    if name in _READERS:
        payload = payload_of(what, rows)
        if payload is not None:
            reads |= {Read(path, payload.event_types) for path in _paths(node["children"][1:])}
        else:
            refusals.append(
                Refusal(
                    f"{name}()",
                    f"{_WHY}, and this text is not the data of an event as it is stored",
                    DIGITS,
                    "a column of the event type's table, under a schema that declares it",
                )
            )
    elif name in _WRITERS and any(is_json(type_of(child)) for child in node["children"]):
        refusals.append(
            Refusal(
                f"{name}()",
                "it rewrites JSON numbers as doubles",
                DIGITS,
                "the JSON as it is, as text",
            )
        )
    elif name in CASTS and is_json(type_of(what)) and not _is_text(type_of(node)):
        target = str(type_of(node)["id"])
        refusals.append(Refusal("CAST", f"JSON becomes {target}: {_WHY}", DIGITS, MEMBERS))


def _is_numberless(node: Node) -> bool:
    """Whether an expression is a constant without digits, which every engine reads alike."""
    inner = node["children"][0] if name_of(node) in CASTS else node
    return inner.get("expression_class") == "BOUND_CONSTANT" and not re.search(
        "[0-9]", str(inner["value"].get("value"))
    )


def _is_text(kind: Mapping[str, Any]) -> bool:
    return type_names(kind) <= {"VARCHAR", "JSON", "LIST", "BOOLEAN"}


def _paths(arguments: list[Node]) -> Iterator[Path]:
    for one in arguments:
        inner = one["children"][0] if name_of(one) in CASTS else one
        value = (
            inner.get("value", {}).get("value")
            if inner.get("expression_class") == "BOUND_CONSTANT"
            else None
        )
        # A list of paths reads each of them.
        several = value.get("children", []) if isinstance(value, Mapping) else [{"value": value}]
        for item in several:
            text = item.get("value")
            # A computed path may be any, so the whole document counts as read.
            yield path_of(text) if isinstance(text, str) else ()
