"""Rewrite casts of JSON so that each member is read as text, which keeps all digits.

``(data -> 'a')::STRUCT(b DECIMAL(18, 2))`` becomes a struct of
``json_extract_string(data, '$.a.b')::DECIMAL(18, 2)``.
"""

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eventlake.core.sql import identifier, quoted
from eventlake.exactness.on_duckdb.scope import Scope, Tree

_TRANSFORMS = {
    "from_json": True,
    "json_transform": True,
    "from_json_strict": False,
    "json_transform_strict": False,
}
"""Functions that convert JSON, and whether they return null for values that do not fit."""
_SCALAR = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\([0-9]+(?:, *[0-9]+)?\))?")
"""The name of a scalar type, perhaps with its precision and scale."""
_EXTRACTS = frozenset({"json_extract", "json_extract_path"})


def members(node: Tree, name: str, scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    """Rewrites of a cast of JSON, or of a call of one of ``_TRANSFORMS``."""
    if node.get("class") == "CAST":
        what, path = _read(node["child"])
        kind, lenient = node["type_expr"], bool(node.get("try_cast"))
    elif name in _TRANSFORMS and len(arguments) > 1:
        (what, path), lenient = _read(arguments[0]), _TRANSFORMS[name]
        kind = _structure(arguments[1].get("literal", {}).get("text"), scope)
    else:
        return
    if path is not None and kind is not None and scope.type_of(what) in {"VARCHAR", "JSON"}:
        value = _value(what, path, kind, scope, lenient=lenient)
        if value is not None:
            yield value


def _read(node: Tree) -> tuple[Tree, str | None]:
    """The document that JSON is read from, and the path; None if the path is computed."""
    if node.get("class") == "LAMBDA" and node.get("syntax_type") == "SINGLE_ARROW":
        what, at = node["lhs"], node["expr"]
    elif str(node.get("function_name")).casefold() in _EXTRACTS and len(node["arguments"]) > 1:
        what, at = (one["expression"] for one in node["arguments"][:2])
    else:
        is_cast = node.get("class") == "CAST" and _name(node["type_expr"]) == "json"
        return (node["child"] if is_cast else node), "$"
    inner, path = _read(what)
    literal = at.get("literal", {})
    text = literal.get("text") if literal.get("kind") == "STRING" else None
    if text is None or path is None:
        return inner, None
    if text.startswith("$"):
        return inner, path + text[1:]
    # Such a name cannot be written in a path, or is a JSON pointer.
    return inner, None if '"' in text or text.startswith("/") else f'{path}."{text}"'


def _name(kind: Tree) -> str:
    return str(kind.get("type_name")).casefold()


def _value(what: Tree, path: str, kind: Tree, scope: Scope, *, lenient: bool) -> Tree | None:
    at = quoted(path)
    if _name(kind) == "struct":
        fields = {
            one.get("alias") or "": _value(
                what, f'{path}."{one.get("alias")}"', one, scope, lenient=lenient
            )
            for one in kind["children"]
        }
        known = {
            name: one
            for name, one in fields.items()
            if one is not None and name and '"' not in name
        }
        if len(known) < len(kind["children"]):
            return None
        packed = ", ".join(f"{quoted(name)}: v{place}_" for place, name in enumerate(known))
        values = {f"v{place}_": one for place, one in enumerate(known.values())}
        # A cast makes null of what is not an object. Members alone would make a struct of nulls.
        return scope.fill(
            f"CASE WHEN json_type(x_, {at}) = 'OBJECT' THEN {{{packed}}} END", x_=what, **values
        )
    if _name(kind) == "list":
        # Items come out as texts, whose members cannot be read by a path.
        if _name(kind["children"][0]) in {"struct", "list", "json"}:
            return None
        text = _cast(
            scope.fill(f"json_extract_string(x_, {quoted(path + '[*]')})", x_=what),
            kind,
            scope,
            lenient=lenient,
        )
        return scope.fill(f"CASE WHEN json_type(x_, {at}) = 'ARRAY' THEN t_ END", x_=what, t_=text)
    text = scope.fill(f"json_extract_string(x_, {at})", x_=what)
    return text if _name(kind) == "varchar" else _cast(text, kind, scope, lenient=lenient)


def _cast(what: Tree, kind: Tree, scope: Scope, *, lenient: bool) -> Tree:
    template = "TRY_CAST(x_ AS INTEGER)" if lenient else "CAST(x_ AS INTEGER)"
    plain = {name: value for name, value in kind.items() if name != "alias"}
    return copy.deepcopy(scope.parse(template)) | {"child": what, "type_expr": plain}


def _structure(text: Any, scope: Scope) -> Tree | None:
    """The type that a structure argument of ``json_transform`` names; None if it is not one."""
    try:
        name = _type_name(json.loads(text))
        return None if name is None else scope.parse(f"CAST(NULL AS {name})")["type_expr"]
    except (TypeError, ValueError, KeyError):
        return None


def _type_name(structure: Any) -> str | None:
    if isinstance(structure, str):
        return structure if _SCALAR.fullmatch(structure) else None
    if isinstance(structure, list):
        item = _type_name(structure[0]) if len(structure) == 1 else None
        return None if item is None else f"{item}[]"
    if isinstance(structure, Mapping) and structure:
        inner = {name: _type_name(one) for name, one in structure.items()}
        if None not in inner.values() and not any('"' in name for name in inner):
            fields = ", ".join(f"{identifier(name)} {one}" for name, one in inner.items())
            return f"STRUCT({fields})"
    return None
