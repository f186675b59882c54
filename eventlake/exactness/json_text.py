"""JSON text in a bound plan: both engines read a JSON number as a double, so what reads one must say where the text comes from.

Text that an event holds is checked before the build: a number at a path that is read must keep its value as a double. Of other text
nothing is known.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from eventlake.exactness.expressions import Node, column, name_of, type_of, within
from eventlake.exactness.refusals import DIGITS, Refusal
from eventlake.exactness.rows import Rows, parts

Path = tuple[str | int, ...]
"""Members and places from a document's root; everything below is read too."""
_WHY = "it reads JSON numbers as doubles"
_READERS = frozenset({"->>", "json_extract", "json_extract_path", "json_extract_path_text", "json_extract_string", "json_value"})
_WRITERS = frozenset({"json_array", "json_object", "json_quote", "to_json"})
_HANDING = frozenset({"list_extract", "array_extract", "list_element", "list_value", "list_pack"})
_CHOOSING = frozenset(
    {"any_value", "arbitrary", "arg_max", "arg_max_null", "arg_min", "arg_min_null", "first", "last", "max", "max_by", "min", "min_by"}
)
_PLACES = frozenset({"WINDOW_FIRST_VALUE", "WINDOW_LAG", "WINDOW_LAST_VALUE", "WINDOW_LEAD", "WINDOW_NTH_VALUE"})
_CASTS = frozenset({"__cast", "__try_cast"})
_STEP = re.compile(r"""\.(?:([A-Za-z_][A-Za-z0-9_]*)|"([^"\\]*)")(?=[.\[]|$)|\[(?:([0-9]+)|'([^'\\]*)'|"([^"\\]*)")\]""")
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


def is_payload(node: Node, rows: Rows) -> bool:
    """Whether an expression hands on JSON that an event holds, or a part of it that is JSON again."""
    place = column(node)
    if place is not None:
        return place in rows.payloads
    if node.get("type") == "OPERATOR_COALESCE":
        return all(is_payload(one, rows) or _is_numberless(one) for one in node["children"])
    handed = node["child"] if node.get("expression_class") == "BOUND_UNNEST" else next(iter(node.get("children") or []), None)
    return handed is not None and _hands_on(node) and is_payload(handed, rows)


def _hands_on(node: Node) -> bool:
    """Whether an expression hands its first child on, or a part of it that is JSON."""
    kind, name = node.get("expression_class"), name_of(node)
    if kind == "BOUND_FUNCTION":
        is_text = name in _CASTS and str(type_of(node).get("id")) == "VARCHAR"
        return is_text or name in _HANDING or (name in _READERS and is_json(type_of(node)))
    return kind == "BOUND_UNNEST" or node.get("type") in _PLACES or (kind == "BOUND_AGGREGATE" and name in _CHOOSING)


def check_json(node: Any, rows: Rows) -> tuple[list[Refusal], set[Path]]:
    """What of the JSON that an expression reads is not an event's, or becomes another type on the way; and the paths of the rest."""
    refusals: list[Refusal] = []
    paths: set[Path] = set()
    for one in within(node):
        if one["expression_class"] != "BOUND_FUNCTION" or not one.get("children"):
            continue
        name, what = name_of(one), one["children"][0]
        if name in _READERS:
            if is_payload(what, rows):
                paths |= set(_paths(one["children"][1:]))
            else:
                why = f"{_WHY}, and here of text that is not the data of an event as it is stored"
                refusals.append(Refusal(f"{name}()", why, DIGITS, "a column of the event type's table, under a schema that declares it"))
        elif name in _WRITERS and any(is_json(type_of(child)) for child in one["children"]):
            refusals.append(Refusal(f"{name}()", "it writes the numbers of JSON anew, as doubles", DIGITS, "the JSON as it is, as text"))
        elif name in _CASTS and is_json(type_of(what)) and not _is_text(type_of(one)):
            target = str(type_of(one)["id"])
            refusals.append(Refusal("CAST", f"JSON becomes {target}: {_WHY}", DIGITS, f"(… ->> 'member')::{target} instead of ->"))
    return refusals, paths


def _is_numberless(node: Node) -> bool:
    inner = node["children"][0] if name_of(node) in _CASTS else node
    return inner.get("expression_class") == "BOUND_CONSTANT" and not re.search("[0-9]", str(inner["value"].get("value")))


def _is_text(kind: Mapping[str, Any]) -> bool:
    return parts(kind) <= {"VARCHAR", "JSON", "LIST", "BOOLEAN"}


def _paths(arguments: list[Node]) -> Iterator[Path]:
    for one in arguments:
        inner = one["children"][0] if name_of(one) in _CASTS else one
        value = inner.get("value", {}).get("value") if inner.get("expression_class") == "BOUND_CONSTANT" else None
        several = value.get("children", []) if isinstance(value, Mapping) else [{"value": value}]
        for item in several:
            text = item.get("value")
            yield path_of(text) if isinstance(text, str) else ()
