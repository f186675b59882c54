"""An upper bound of what an upcast can make of a row, so that memory is bounded beforehand.

The bound is computed from the expression's syntax tree, as a multiple of the row plus a number of
bytes. Functions that repeat text need a literal count, and nothing may grow by the product of two
values of the row.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eventlake.exactness.tree import nodes
from eventlake.schemas.schema import FieldType

MOST_COUNT = 1_000
"""The largest count of a function that repeats: characters, values or repetitions."""
MOST_TIMES = 64
"""The largest multiple of the row that an expression, or a part of it, may reach."""
MOST_BYTES = 1 << 16
"""The most bytes that it may add to that."""
_VALUE_BYTES = 20
_SERIES_BYTES = 2 * MOST_COUNT * 8
# A byte has eight digits in bin and two in hex; a control character has six in JSON (``\u0000``).
_EXPANDING = {
    **dict.fromkeys(("bin", "to_binary"), 8),
    **dict.fromkeys(
        (
            "hex",
            "to_hex",
            "like_escape",
            "ilike_escape",
            "not_like_escape",
            "not_ilike_escape",
            "regexp_escape",
        ),
        2,
    ),
    **dict.fromkeys(("base64", "to_base64", "lower", "lcase", "upper", "ucase"), 2),
    **dict.fromkeys(("nfc_normalize",), 3),
    **dict.fromkeys(("json_quote", "to_json", "json_array", "json_object", "json_structure"), 6),
    **dict.fromkeys(("split", "str_split", "string_split", "string_to_array"), 4),
    **dict.fromkeys(
        ("str_split_regex", "string_split_regex", "regexp_split_to_array", "regexp_extract_all"), 4
    ),
    **dict.fromkeys(("strftime",), 16),
}
"""The most bytes that a function can return per byte of its arguments."""
_REFUSED = {
    **dict.fromkeys(
        ("list_reduce", "array_reduce", "reduce"), "it can double a value at every step"
    ),
    **dict.fromkeys(
        ("levenshtein", "editdist3", "damerau_levenshtein"),
        "its time grows with the product of two lengths",
    ),
}
_FILTERS = frozenset({"filter", "list_filter", "array_filter"})
_LONG_FORMAT = re.compile(r"\d{4}|\*|\{[^}]*\{")


class GrowthError(ValueError):
    """An expression can exceed the bound, or its size is not known."""


@dataclass(frozen=True, slots=True)
class Size:
    """An upper bound of a size: a multiple of the row, plus a number of bytes."""

    times: int = 0
    bytes: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.times + other.times, self.bytes + other.bytes)

    def __mul__(self, count: int) -> "Size":
        return Size(self.times * count, self.bytes * count)


_VALUE, _BOOLEAN = Size(0, _VALUE_BYTES), Size(0, 1)
_CONDITIONS = frozenset({"BETWEEN", "COMPARISON", "CONJUNCTION"})
_ROW = Size(1)
Node = Mapping[str, Any]
Names = Mapping[str, Size | None]
"""The sizes of columns and lambda variables; None for what a lambda must not read."""


def growth(expression: Node, fields: Mapping[str, FieldType]) -> Size:
    """An upper bound of the size of an expression's value.

    Args:
        expression: Its syntax tree.
        fields: The types of the fields that it may read.

    Raises:
        GrowthError: The bound is too large, or is not known.
    """
    names = {
        # SQL ignores the case of names.
        name.casefold(): _ROW if _has_length(kind) else _VALUE
        for name, kind in fields.items()
    }
    return _size(expression, names)


def _has_length(kind: FieldType) -> bool:
    return kind.kind in {"utf8", "list", "struct"}


def _size(node: Node, names: Names) -> Size:
    kind = node["class"]
    if kind == "CONSTANT":
        found = Size(0, len(str(node["literal"].get("text", "")).encode()))
    elif kind == "COLUMN_REF":
        found = _column_size(str(node["column_names"][0]), names)
    elif kind == "FUNCTION":
        found = _call_size(node, names)
    elif kind == "LAMBDA":
        message = "a lambda is only allowed as an argument of a function"
        raise GrowthError(message)
    elif any(
        str(one.get("type_name")).casefold() == "array" for one in nodes(node.get("type_expr"))
    ):
        message = "a list of fixed length, which takes the same memory if it is null"
        raise GrowthError(message)
    else:
        # The sum is computed for conditions too, since it checks what they contain.
        found = sum((_size(one, names) for one in _children(node)), Size())
        found = _BOOLEAN if kind in _CONDITIONS else found
    if found.times > MOST_TIMES or found.bytes > MOST_BYTES:
        message = f"it can become more than {MOST_TIMES} times the row and {MOST_BYTES:,} bytes"
        raise GrowthError(message)
    return found


def _children(node: Any) -> list[Node]:
    """The expressions directly inside a node."""
    found: list[Node] = []
    for value in node.values() if isinstance(node, Mapping) else node:
        if isinstance(value, Mapping) and value.get("class") not in {None, "TYPE"}:
            found.append(value)
        elif isinstance(value, Mapping | list):
            found += _children(value)
    return found


def _column_size(name: str, names: Names) -> Size:
    size = names.get(name.casefold(), _ROW if None not in names.values() else None)
    if size is None:
        message = (
            f"a lambda reads {name}, which is outside of it and may be long; it may read numbers,"
            " instants and its own values"
        )
        raise GrowthError(message)
    return size


def _call_size(node: Node, names: Names) -> Size:
    name = str(node["function_name"]).casefold()
    if name in _REFUSED:
        message = f"{name}(): {_REFUSED[name]}"
        raise GrowthError(message)
    arguments = node.get("arguments") or []
    if name in _RULES and any(one.get("name") for one in arguments):
        message = f"{name}(): arguments must be positional"
        raise GrowthError(message)
    passed = [one["expression"] for one in arguments]
    lambdas = [one for one in passed if one["class"] == "LAMBDA"]
    values = [one for one in passed if one["class"] != "LAMBDA"]
    sizes = [_size(one, names) for one in values]
    if lambdas and sizes:
        # The lambda of a filter is checked too, although its values are not kept.
        mapped = sum((_lambda_size(one, sizes[0], names) for one in lambdas), Size())
        return sizes[0] if name in _FILTERS else mapped
    if name in _RULES:
        try:
            return _RULES[name](name, values, sizes)
        except IndexError:
            message = f"{name}(): expected more arguments"
            raise GrowthError(message) from None
    return sum(sizes, Size()) * _EXPANDING.get(name, 1)


def _lambda_size(node: Node, over: Size, names: Names) -> Size:
    """A bound for all values of a lambda over a list, which has at most as many items as bytes."""
    first, *others = [str(one["column_names"][0]).casefold() for one in _references(node["lhs"])]
    inside: dict[str, Size | None] = {
        name: size if size is not None and not size.times else None for name, size in names.items()
    }
    # The entry for "" makes unknown names, such as the table's, count as outside the lambda.
    each = _size(node["expr"], {**inside, "": None, **dict.fromkeys(others, _VALUE), first: _ROW})
    return Size((each.times + each.bytes) * over.times, (each.times + each.bytes) * over.bytes)


def _references(node: Node) -> list[Node]:
    if node["class"] == "COLUMN_REF":
        return [node]
    return [inner for one in _children(node) for inner in _references(one)]


def _count(name: str, node: Node) -> int:
    """The value of a literal count."""
    literal = node["literal"] if node["class"] == "CONSTANT" else {}
    text = str(literal.get("text", ""))
    if (
        literal.get("kind") != "INTEGER"
        or not text.lstrip("-").isdigit()
        or abs(int(text)) > MOST_COUNT
    ):
        message = f"{name}(): the count must be a literal integer up to {MOST_COUNT:,}"
        raise GrowthError(message)
    return abs(int(text))


def _text(name: str, node: Node) -> str:
    if node["class"] != "CONSTANT":
        message = f"{name}(): the text that is inserted must be a literal"
        raise GrowthError(message)
    return str(node["literal"].get("text", ""))


def _repeat(name: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    return sizes[0] * max(_count(name, passed[1]), 1)


def _pad(name: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    return sum(sizes, Size(0, 4 * _count(name, passed[1])))


def _resize(name: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    return sizes[0] + sum(sizes[2:], _VALUE) * _count(name, passed[1])


def _series(name: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    for node in passed:
        _count(name, node)
    return sum(sizes, Size(0, _SERIES_BYTES))


def _replace(name: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    put = len(_text(name, passed[2]).encode())
    taken = len(_text(name, passed[1]).encode()) if passed[1]["class"] == "CONSTANT" else 1
    return sizes[0] * max(1, -(-put // max(taken, 1))) + sizes[1] + sizes[2]


def _regexp_replace(name: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    put = _text(name, passed[2])
    # Every reference may be the whole text. With option 'g', an empty pattern matches at every
    # byte.
    has_options = len(passed) > 3  # noqa: PLR2004
    times = 1 + put.count("\\") + (len(put.encode()) if has_options else 0)
    return sizes[0] * times + sum(sizes[1:], _VALUE)


def _translate(name: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    return sizes[0] * (1 if _text(name, passed[2]).isascii() else 4) + sizes[1] + sizes[2]


def _joined(name: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    between = [len(_text(name, one).encode()) for one in passed[1:]]
    return sizes[0] * (1 + sum(between)) + sum(sizes[1:], _VALUE)


def _aggregated(name: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    between = sum(len(_text(name, one).encode()) for one in passed[2:])
    return sizes[0] * (1 + between) + sum(sizes[1:], _VALUE)


def _concat_ws(_: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    return sum(sizes[1:], sizes[0] * len(passed))


def _extracted(name: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    if any(size.times for size in sizes[1:]):
        message = f"{name}(): the path must be a literal"
        raise GrowthError(message)
    # A list of paths extracts as many texts.
    paths = sum(len(_children(node)) for node in passed[1:])
    return sizes[0] * (1 + paths) + sum(sizes[1:], _VALUE)


def _selected(name: str, _: Sequence[Node], sizes: Sequence[Size]) -> Size:
    if sizes[0].times and sizes[1].times:
        message = f"{name}(): the positions must be literals"
        raise GrowthError(message)
    return sizes[0] * max(1, sizes[1].bytes) + sizes[1] * max(1, sizes[0].bytes)


def _formatted(name: str, passed: Sequence[Node], sizes: Sequence[Size]) -> Size:
    text = _text(name, passed[0])
    if _LONG_FORMAT.search(text):
        message = f"{name}(): widths must be literal numbers up to 999"
        raise GrowthError(message)
    places = text.count("%") + text.count("{")
    return sum(sizes, Size()) * max(1, places) + Size(0, MOST_COUNT * places)


def _member(_: str, __: Sequence[Node], sizes: Sequence[Size]) -> Size:
    return sizes[0]


_RULES: Mapping[str, Callable[[str, Sequence[Node], Sequence[Size]], Size]] = {
    "repeat": _repeat,
    **dict.fromkeys(("lpad", "rpad"), _pad),
    **dict.fromkeys(("list_resize", "array_resize"), _resize),
    **dict.fromkeys(("range", "generate_series"), _series),
    "replace": _replace,
    "regexp_replace": _regexp_replace,
    "translate": _translate,
    **dict.fromkeys(("struct_extract", "list_extract", "array_extract"), _member),
    **dict.fromkeys(
        (
            "json_extract",
            "json_extract_path",
            "json_extract_string",
            "json_extract_path_text",
            "json_value",
            "json_keys",
        ),
        _extracted,
    ),
    **dict.fromkeys(("->", "->>", "regexp_extract"), _extracted),
    "array_to_string": _joined,
    **dict.fromkeys(
        ("aggregate", "array_aggr", "array_aggregate", "list_aggr", "list_aggregate"), _aggregated
    ),
    "concat_ws": _concat_ws,
    **dict.fromkeys(("list_select", "array_select"), _selected),
    **dict.fromkeys(("printf", "format"), _formatted),
}
