"""JSON text in a bound plan: both engines read a JSON number as a double, so what reads one must say where the text comes from.

Text that an event holds is checked before the build: a number at a path that is read must keep its
value as a double. Of other text nothing is known.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

from eventlake.exactness.on_duckdb.expressions import (
    Node,
    anded,
    column,
    name_of,
    texts_of,
    type_of,
)
from eventlake.exactness.refusals import DIGITS, Refusal
from eventlake.exactness.rows import Payload, Rows, parts

Path = tuple[str | int, ...]
"""Members and places from a document's root; everything below is read too."""
MEMBERS = "(data ->> 'member')::TYPE, member by member: text becomes any type digit by digit"


class Read(NamedTuple):
    """What is read of the JSON of events.

    Attributes:
        path: Where in their documents.
        types: Which events; None for all.
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
_HANDING = frozenset({"list_extract", "array_extract", "list_element"})
_LISTING = frozenset({"list_value", "list_pack"})
_CHOOSING = frozenset(
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
_PLACES = frozenset(
    {"WINDOW_FIRST_VALUE", "WINDOW_LAG", "WINDOW_LAST_VALUE", "WINDOW_LEAD", "WINDOW_NTH_VALUE"}
)
_CASTS = frozenset({"__cast", "__try_cast"})
_STEP = re.compile(
    r"""\.(?:([A-Za-z_][A-Za-z0-9_]*)|"([^"\\]*)")(?=[.\[]|$)|\[(?:([0-9]+)|'([^'\\]*)'|"([^"\\]*)")\]"""
)
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]*")


def path_of(text: str) -> Path:
    """What a path of DuckDB or Polars names: as much of it as is plain, from the root."""
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
    """Whether a type is JSON, or holds it."""
    return "JSON" in parts(kind)


def payload_of(node: Node, rows: Rows) -> Payload | None:
    """What is known of JSON that an event holds, or a part of it that is JSON again; None if an expression hands on no such thing."""
    place = column(node)
    if place is not None:
        return rows.payloads.get(place)
    if node.get("type") == "OPERATOR_COALESCE":
        return _either([one for one in node["children"] if not _is_numberless(one)], rows)
    if name_of(node) in _LISTING:
        return _either(node.get("children", []), rows)
    handed = (
        node["child"]
        if node.get("expression_class") == "BOUND_UNNEST"
        else next(iter(node.get("children") or []), None)
    )
    if handed is None or not _hands_on(node):
        return None
    # What LAG and LEAD give where there is no row may be anything.
    instead = node["children"][2:] if node.get("type") in {"WINDOW_LAG", "WINDOW_LEAD"} else []
    found = _either(
        [handed, *(one for one in instead if not _is_numberless(one))], among(rows, filters(node))
    )
    # A value of another row is not about the event of this one.
    return (
        found._replace(kind=None)
        if found and node.get("expression_class") in {"BOUND_AGGREGATE", "BOUND_WINDOW"}
        else found
    )


def _either(several: Sequence[Node], rows: Rows) -> Payload | None:
    found = [payload_of(one, rows) for one in several]
    known = [one for one in found if one is not None]
    return reduce(Payload.either, known) if known and len(known) == len(found) else None


def _hands_on(node: Node) -> bool:
    """Whether an expression hands its first child on, or a part of it that is JSON."""
    kind, name = node.get("expression_class"), name_of(node)
    if kind == "BOUND_FUNCTION":
        is_text = name in _CASTS and str(type_of(node).get("id")) == "VARCHAR"
        return is_text or name in _HANDING or (name in _READERS and is_json(type_of(node)))
    return (
        kind == "BOUND_UNNEST"
        or node.get("type") in _PLACES
        or (kind == "BOUND_AGGREGATE" and name in _CHOOSING)
    )


def filters(node: Node) -> list[Node]:
    """The conditions of an aggregate's or a window's FILTER."""
    return [part for name in ("filter", "filters") if node.get(name) for part in anded(node[name])]


def among(rows: Rows, conditions: Sequence[Node]) -> Rows:
    """Those of the rows for which the conditions hold: of events of fewer types, perhaps."""
    for one in conditions:
        found = texts_of(one)
        if found is not None:
            rows = rows.among(*found)
    return rows


def check_json(node: Any, rows: Rows) -> tuple[list[Refusal], set[Read]]:
    """What of the JSON that an expression reads is not an event's, or becomes another type on the way; and what is read of the rest."""
    refusals: list[Refusal] = []
    reads: set[Read] = set()
    _walk(node, rows, refusals, reads)
    return refusals, reads


def _walk(node: Any, rows: Rows, refusals: list[Refusal], reads: set[Read]) -> None:
    """Notes what is read in a tree, of the events that each of its parts is about: a value that a condition leaves out changes nothing."""
    if isinstance(node, list):
        for one in node:
            _walk(one, rows, refusals, reads)
        return
    if not isinstance(node, dict):
        return
    rows = among(rows, anded(node) if node.get("type") == "CONJUNCTION_AND" else filters(node))
    if node.get("expression_class") == "BOUND_CASE":
        for one in node.get("case_checks", []):
            _walk(one["when_expr"], rows, refusals, reads)
            _walk(one["then_expr"], among(rows, anded(one["when_expr"])), refusals, reads)
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
            reads |= {Read(path, payload.only) for path in _paths(node["children"][1:])}
        else:
            why = f"{_WHY}, and here of text that is not the data of an event as it is stored"
            refusals.append(
                Refusal(
                    f"{name}()",
                    why,
                    DIGITS,
                    "a column of the event type's table, under a schema that declares it",
                )
            )
    elif name in _WRITERS and any(is_json(type_of(child)) for child in node["children"]):
        refusals.append(
            Refusal(
                f"{name}()",
                "it writes the numbers of JSON anew, as doubles",
                DIGITS,
                "the JSON as it is, as text",
            )
        )
    elif name in _CASTS and is_json(type_of(what)) and not _is_text(type_of(node)):
        target = str(type_of(node)["id"])
        refusals.append(Refusal("CAST", f"JSON becomes {target}: {_WHY}", DIGITS, MEMBERS))


def _is_numberless(node: Node) -> bool:
    inner = node["children"][0] if name_of(node) in _CASTS else node
    return inner.get("expression_class") == "BOUND_CONSTANT" and not re.search(
        "[0-9]", str(inner["value"].get("value"))
    )


def _is_text(kind: Mapping[str, Any]) -> bool:
    return parts(kind) <= {"VARCHAR", "JSON", "LIST", "BOOLEAN"}


def _paths(arguments: list[Node]) -> Iterator[Path]:
    for one in arguments:
        inner = one["children"][0] if name_of(one) in _CASTS else one
        value = (
            inner.get("value", {}).get("value")
            if inner.get("expression_class") == "BOUND_CONSTANT"
            else None
        )
        several = value.get("children", []) if isinstance(value, Mapping) else [{"value": value}]
        for item in several:
            text = item.get("value")
            yield path_of(text) if isinstance(text, str) else ()
