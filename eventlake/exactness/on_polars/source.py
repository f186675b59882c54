"""Expressions of a Polars plan as one writes them in Python, so that advice is made of the user's own."""

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
_OPERATORS = {"and": "&", "or": "|"}
_METHODS = {
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "&",
    "|",
    "^",
    *_OPERATORS,
}


def source(one: Expression) -> str | None:
    """Python that gives an expression; None if it has a part that is not known how to write."""
    children = [source(child) for child in one.children]
    written = [child for child in children if child is not None]
    if len(written) < len(children):
        return None
    rule = _RULES.get(one.kind)
    return None if rule is None else rule(one, written)


def _called(one: Expression, written: Sequence[str]) -> str | None:
    if one.name == "str.concat_vertical":
        return f"{written[0]}.str.join({one.options[0]!r}, ignore_nulls={one.options[1]!r})"
    if not one.children or one.children[0].kind == "literal":
        return None
    name = "neg" if one.name == "negate" else one.name
    return f"{written[0]}.{name}({', '.join(written[1:])})"


def _cast(one: Expression, written: Sequence[str]) -> str | None:
    name = _TYPES.get(str(one.type["id"]))
    return f"{written[0]}.cast(pl.{name})" if name else None


def _between(one: Expression, written: Sequence[str]) -> str | None:
    return (
        f"({written[0]} {_OPERATORS.get(one.name, one.name)} {written[1]})"
        if one.name in _METHODS
        else None
    )


def _literal(one: Expression, _: Sequence[str]) -> str | None:
    value = one.options[0] if one.options else None
    plain = value is None or isinstance(value, bool | int | float | str)
    return repr(value) if plain and one.name != "series" else None


_RULES: dict[str, Callable[[Expression, Sequence[str]], str | None]] = {
    "aggregate": _called,
    "binary": _between,
    "cast": _cast,
    "column": lambda one, _: f"pl.col({json.dumps(one.name)})",
    "filter": _called,
    "function": _called,
    "gather": lambda _, written: f"{written[0]}.get({written[1]})",
    "len": lambda _, __: "pl.len()",
    "literal": _literal,
    "slice": _called,
    "ternary": lambda _, written: (
        f"pl.when({written[0]}).then({written[1]}).otherwise({written[2]})"
    ),
}
