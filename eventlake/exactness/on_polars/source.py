"""Expressions of a Polars plan as Python code, so that advice can quote the user's own."""

import json
from collections.abc import Callable, Sequence

from eventlake.exactness.on_polars.nodes import Expression

_TYPES = {"DOUBLE": "Float64", "FLOAT": "Float32"} | {
    name: name
    for name in (
        "Boolean",
        "Date",
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "Int128",
        "String",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
    )
}
_OPERATORS = {
    name: name
    for name in ["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "//", "%", "&", "|", "^"]
} | {
    "and": "&",
    "or": "|",
}
"""Python's operator by the plan's."""


def source(one: Expression) -> str | None:
    """Python code of an expression; None if a part of it has no known spelling."""
    children = [source(child) for child in one.children]
    written = [child for child in children if child is not None]
    if len(written) < len(children):
        return None
    rule = _RULES.get(one.kind)
    return None if rule is None else rule(one, written)


def _method(one: Expression, written: Sequence[str]) -> str | None:
    # The plan's name of ``str.join``.
    if one.name == "str.concat_vertical":
        return f"{written[0]}.str.join({one.options[0]!r}, ignore_nulls={one.options[1]!r})"
    if not one.children or one.children[0].kind == "literal":
        return None
    name = "neg" if one.name == "negate" else one.name
    return f"{written[0]}.{name}({', '.join(written[1:])})"


def _cast(one: Expression, written: Sequence[str]) -> str | None:
    name = _TYPES.get(str(one.type["id"]))
    return f"{written[0]}.cast(pl.{name})" if name else None


def _operator(one: Expression, written: Sequence[str]) -> str | None:
    operator = _OPERATORS.get(one.name)
    return f"({written[0]} {operator} {written[1]})" if operator else None


def _literal(one: Expression, _: Sequence[str]) -> str | None:
    value = one.options[0] if one.options else None
    # Other values, such as instants, have no literal in Python.
    plain = value is None or isinstance(value, bool | int | float | str)
    return repr(value) if plain and one.name != "series" else None


_RULES: dict[str, Callable[[Expression, Sequence[str]], str | None]] = {
    "aggregate": _method,
    "binary": _operator,
    "cast": _cast,
    "column": lambda one, _: f"pl.col({json.dumps(one.name)})",
    "filter": _method,
    "function": _method,
    "gather": lambda _, written: f"{written[0]}.get({written[1]})",
    "len": lambda _, __: "pl.len()",
    "literal": _literal,
    "slice": _method,
    "ternary": lambda _, written: (
        f"pl.when({written[0]}).then({written[1]}).otherwise({written[2]})"
    ),
}
