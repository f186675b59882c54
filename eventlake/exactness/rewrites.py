"""Changes of a part of a query's syntax tree that may make it exact and keep its meaning; ``advice`` tries them."""

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eventlake.exactness.functions import ORDERED, PICKING
from eventlake.exactness.tree import nodes

Tree = dict[str, Any]
_MEANS = frozenset({"avg", "mean"})
_SPREADS = {"stddev": 1, "stddev_samp": 1, "stddev_pop": 0, "variance": 1, "var_samp": 1, "var_pop": 0}
"""By how much less than the number of values the squares are divided."""
_VARIANCES = frozenset({"variance", "var_samp", "var_pop"})
_EXTREMES = frozenset({"max", "min", "sum"})
_INTEGER = re.compile(r"U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?")
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_MOST_DIGITS = 38
_TIMES = frozenset({"time", "sequence", "recorded_at"})
"""Columns of events that are never null."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an expression stands.

    Attributes:
        select: The SELECT that it is a part of.
        sources: What its tables are called, each with the columns that it is grouped by where that is a subquery's.
        type_of: The engine's type of an expression here; None where it has none.
        parse: An expression's syntax tree.
    """

    select: Tree
    sources: tuple[tuple[str, tuple[str, ...]], ...]
    type_of: Callable[[Tree], str | None]
    parse: Callable[[str], Tree]

    def made(self, text: str, **parts: Tree) -> Tree:
        """An expression, with others in the place of columns."""
        filled: Tree = _filled(self.parse(text), parts)
        return filled

    def ties(self, *beside: Tree) -> Iterator[list[Tree]]:
        """Columns that may tell apart what an order leaves equal; the likeliest first.

        Args:
            beside: What else the order, or the call that it is in, reads: its own table comes first.
        """
        own = [one["column_names"][0] for one in reversed(beside) if len(one.get("column_names", [])) > 1]
        named = sorted((name for name, _ in self.sources if name), key=lambda name: own.index(name) if name in own else len(own))
        if len(self.sources) == 1:
            yield [column(*own[:1], "sequence")]
        yield from ([column(name, key)] for key in ("sequence", "spine_row") for name in named)
        if len(named) > 1:
            yield [column(name, "sequence") for name in named]
        grouped = [column(*([name] if name and len(self.sources) > 1 else []), one) for name, columns in self.sources for one in columns]
        yield from ([one] for one in grouped)
        if len(grouped) > 1:
            yield grouped


def column(*names: str) -> Tree:
    """A column by its name, and that of its table before it."""
    return {"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": "", "query_location": 0, "column_names": list(names)}


def calls(node: Tree, scope: Scope) -> Iterator[Tree]:
    """What may stand in place of a call."""
    name = str(node.get("function_name") or "").casefold()
    arguments = [one["expression"] for one in node.get("arguments", [])]
    if node.get("class") == "WINDOW":
        yield from _windows(node, scope)
    elif node.get("class") == "FUNCTION" and name in ORDERED:
        yield from _ordered(node, scope, arguments)
    elif node.get("class") == "FUNCTION" and name in PICKING:
        yield from _picking(node, name, scope, arguments)
    if name in _MEANS and arguments:
        total, number = _called(node, "sum"), _called(node, "count")
        yield scope.made("CAST(total_ AS DOUBLE) / number_", total_=total, number_=number)
    elif name in _SPREADS and arguments:
        yield from _spread(node, name, scope, arguments[0])
    elif name in _EXTREMES and arguments and arguments[0].get("class") == "CAST":
        inner = _called(node, name)
        inner["arguments"][0]["expression"] = arguments[0]["child"]
        yield scope.made("CAST(inner_ AS DOUBLE)", inner_=inner)
    elif name == "mode" and arguments and node.get("class") == "FUNCTION":
        counts = _called(node, "histogram")
        text = "list_max(list_transform(map_entries(counts_), lambda one: {'n': one.value, 'value': one.key})).value"
        yield scope.made(text, counts_=counts)
    else:
        yield from _scalars(name, scope, arguments, node)


def _scalars(name: str, scope: Scope, arguments: Sequence[Tree], node: Tree) -> Iterator[Tree]:
    x = arguments[0] if arguments else {}
    if name == "approx_count_distinct":
        made = _called(node, "count")
        yield made | {"distinct": True}
    elif name in {"approx_quantile", "reservoir_quantile"}:
        made = _called(node, "quantile_disc")
        yield made | {"arguments": made["arguments"][:2]}
    elif name == "epoch" and arguments:
        yield scope.made("CAST(epoch_us(x_) AS DOUBLE) / 1000000", x_=x)
    elif name in {"pow", "power", "^", "**"} and arguments[1].get("literal", {}).get("text") == "2":
        yield scope.made("CAST(x_ * x_ AS DOUBLE)", x_=x)
    elif name == "hash" and len(arguments) == 1:
        yield scope.made("CAST('0x' || left(md5(CAST(x_ AS VARCHAR)), 15) AS BIGINT)", x_=x)
    elif name in {"list_distinct", "array_distinct"}:
        yield scope.made("list_sort(whole_)", whole_=node)
    elif name == "round" and x.get("function_name") == "/":
        total, number = (one["expression"] for one in x["arguments"])
        yield from _rounded_mean(scope, total, number, arguments[1:])
    elif name == "floor" and arguments and x.get("function_name") == "/":
        what, by = (one["expression"] for one in x["arguments"])
        if by.get("literal", {}).get("kind") == "INTEGER" and _exact(scope.type_of(what)):
            yield scope.made("CAST(x_ - (x_ % n_ + n_) % n_ AS BIGINT) // n_", x_=what, n_=by)


def _exact(kind: str | None) -> bool:
    return kind is not None and bool(_INTEGER.fullmatch(kind) or _DECIMAL.fullmatch(kind))


def _called(node: Tree, name: str) -> Tree:
    """The same call of another function."""
    made = copy.deepcopy(node) | {"function_name": name, "alias": ""}
    if "qualified_name" in made:
        made["qualified_name"] = {"path": [name]}
    return made


def _ordered(node: Tree, scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    before = [one["expression"] for one in node.get("order_bys", {}).get("orders", [])]
    for tie in [*scope.ties(*arguments, *before), list(arguments[:1])]:
        made = copy.deepcopy(node)
        orders = made.setdefault("order_bys", {"type": "ORDER_MODIFIER"}).setdefault("orders", [])
        orders += _as_orders(tie, orders)
        yield made


def _picking(node: Tree, name: str, scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    value, by = arguments[:2]
    first = "min" in name
    known = [] if name.endswith(("_null", "_nulls_last")) else [value]
    if by.get("column_names", [""])[-1] not in _TIMES or len(scope.sources) > 1:
        known.append(by)
    conditions = [scope.made("x_ IS NOT NULL", x_=one) for one in known]
    filters = [*([node["filter"]] if node.get("filter") else []), *conditions]
    several = len(arguments) > 2  # noqa: PLR2004 - the greatest so many
    for tie in [*scope.ties(value, by), [value]]:
        made = _called(node, "list" if several else "first" if first else "last")
        made["arguments"] = made["arguments"][:1]
        kind = "ASCENDING" if first or not several else "DESCENDING"
        orders = [{"type": kind if several else "ORDER_DEFAULT", "null_order": "ORDER_DEFAULT", "expression": by}]
        made["order_bys"] = {"type": "ORDER_MODIFIER", "orders": orders + _as_orders(tie, orders)}
        if filters:
            made["filter"] = scope.made(" AND ".join(f"f{place}_" for place in range(len(filters))), **_numbered(filters))
        yield scope.made("whole_[1:n_]", whole_=made, n_=arguments[2]) if several else made


def _numbered(parts: Sequence[Tree]) -> dict[str, Tree]:
    return {f"f{place}_": part for place, part in enumerate(parts)}


def _windows(node: Tree, scope: Scope) -> Iterator[Tree]:
    for name in ("orders", "arg_orders"):
        if name == "arg_orders" and not node.get(name):
            continue
        for tie in scope.ties(*(one["expression"] for one in node.get(name, []))):
            made = copy.deepcopy(node)
            made[name] = [*made.get(name, []), *_as_orders(tie, made.get(name, []))]
            yield made


def _as_orders(tie: Sequence[Tree], before: Sequence[Tree]) -> list[Tree]:
    """Orders by more columns: by an event's sequence in the direction of the last one before, by other columns ascending."""
    last = before[-1]["type"] if before else "ORDER_DEFAULT"
    return [
        {
            "type": last if one.get("column_names", [""])[-1] == "sequence" else "ORDER_DEFAULT",
            "null_order": "ORDER_DEFAULT",
            "expression": one,
        }
        for one in copy.deepcopy(list(tie))
    ]


def _spread(node: Tree, name: str, scope: Scope, what: Tree) -> Iterator[Tree]:
    found = _unit(what, scope)
    if found is None:
        return
    unit, scale = found
    number, total, squares = (_called(node, one) for one in ("count", "sum", "sum"))
    total["arguments"][0]["expression"] = scope.made(unit, x_=what)
    squares["arguments"][0]["expression"] = scope.made(f"{unit} * {unit}", x_=what)
    below = "nullif(n_ * (n_ - 1), 0)" if _SPREADS[name] else "(n_ * n_)"
    text = f"CAST(n_ * q_ - s_ * s_ AS DOUBLE) / {below}"
    if name not in _VARIANCES:
        text = f"sqrt({text})"
    divisor = 10 ** (scale * (2 if name in _VARIANCES else 1))
    yield scope.made(f"{text} / {divisor}" if scale else text, n_=number, s_=total, q_=squares)


def _unit(what: Tree, scope: Scope) -> tuple[str, int] | None:
    """How ``x_`` becomes a whole number of units, and of which power of ten; None where it does not."""
    kind = scope.type_of(what)
    decimal = _DECIMAL.fullmatch(kind or "")
    scale = int(decimal[2]) if decimal else 0
    if not _exact(kind) or (decimal and int(decimal[1]) + scale > _MOST_DIGITS):
        return None
    return (f"CAST(x_ * {10**scale} AS HUGEINT)" if scale else "CAST(x_ AS HUGEINT)"), scale


def _rounded_mean(scope: Scope, total: Tree, number: Tree, digits: Sequence[Tree]) -> Iterator[Tree]:
    """A rounded quotient of a sum and a count, in whole numbers up to the last step; half is rounded away from zero."""
    total = total["child"] if total.get("class") == "CAST" else total
    places = digits[0].get("literal", {}).get("text", "") if digits else "0"
    if total.get("function_name") != "sum" or number.get("function_name") not in {"count", "count_star"} or not places.isdecimal():
        return
    what = total["arguments"][0]["expression"]
    unit = _unit(what, scope)
    if unit is not None:
        units = _called(total, "sum")
        units["arguments"][0]["expression"] = scope.made(unit[0], x_=what)
        by, shown = 10 ** unit[1], 10 ** int(places)
        text = f"CAST(sign(u_) * ((abs(u_) * {2 * shown} + n_ * {by}) // (nullif(n_, 0) * {2 * by})) AS DOUBLE) / {shown}"
        yield scope.made(text, u_=units, n_=number)


def orders(node: Tree, scope: Scope) -> Iterator[Tree]:
    """A SELECT whose LIMIT or DISTINCT ON has an order that goes further."""
    modifiers = node.get("modifiers", [])
    if not any(one["type"] in {"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER"} or one.get("distinct_on_targets") for one in modifiers):
        return
    shown = [one for one in node.get("select_list", []) if one.get("class") == "COLUMN_REF"]
    groups = [one for one in node.get("group_expressions", []) if one.get("class") == "COLUMN_REF"]
    named = [one for one in shown if one["column_names"][-1] in {group["column_names"][-1] for group in groups}] or groups
    numbered = [
        node["select_list"][int(one["literal"]["text"]) - 1]
        for one in node.get("group_expressions", [])
        if one.get("literal", {}).get("kind") == "INTEGER"
    ]
    grouped = named + [one for one in numbered if one.get("class") == "COLUMN_REF"]
    before = [one["expression"] for modifier in modifiers for one in modifier.get("orders", [])]
    ties = [grouped] if grouped else [*scope.ties(*before), shown]
    for tie in (one for one in ties if one):
        made = copy.deepcopy(node)
        order = next((one for one in made["modifiers"] if one["type"] == "ORDER_MODIFIER"), None)
        if order is None:
            order = {"type": "ORDER_MODIFIER", "orders": []}
            made["modifiers"].insert(0, order)
        order["orders"] += _as_orders(tie, order["orders"])
        yield made


def joins(node: Tree, scope: Scope) -> Iterator[Tree]:
    """An ASOF join whose right side has one row a key and instant."""
    right = node.get("right", {})
    if node.get("ref_type") != "ASOF" or right.get("type") != "BASE_TABLE":
        return
    name = right.get("alias") or right["table_name"]
    read = [one["column_names"] for one in nodes(node.get("condition", {})) if one.get("class") == "COLUMN_REF"]
    columns = [*node.get("using_columns", []), *(names[-1] for names in read if names[0] == name)]
    if columns:
        made = copy.deepcopy(node)
        sub = scope.parse("(SELECT * FROM table_ QUALIFY row_number() OVER (PARTITION BY part_ ORDER BY sequence DESC) = 1)")["subquery"]
        for one in nodes(sub):
            if one.get("type") == "BASE_TABLE":
                one.update({key: value for key, value in right.items() if key != "alias"})
            if one.get("class") == "WINDOW":
                one["partitions"] = [column(part) for part in dict.fromkeys(columns)]
        made["right"] = {"type": "SUBQUERY", "alias": name, "query_location": 0, "subquery": sub, "column_name_alias": []}
        yield made


def _filled(tree: Any, parts: dict[str, Tree]) -> Any:
    if isinstance(tree, list):
        return [_filled(one, parts) for one in tree]
    if not isinstance(tree, dict):
        return tree
    names = tree.get("column_names", [])
    if tree.get("class") == "COLUMN_REF" and len(names) == 1 and names[0] in parts:
        return copy.deepcopy(parts[names[0]]) | {"alias": ""}
    return {name: _filled(value, parts) for name, value in tree.items()}
