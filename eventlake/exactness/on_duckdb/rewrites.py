"""Changes of a part of a query's syntax tree that may make it exact and keep its meaning; ``advice`` tries them."""

import copy
from collections.abc import Iterator, Sequence

from eventlake.exactness.on_duckdb import quotients
from eventlake.exactness.on_duckdb.functions import ORDERED, PICKING
from eventlake.exactness.on_duckdb.json_members import members
from eventlake.exactness.on_duckdb.scope import Scope, Tree, called, column, is_exact
from eventlake.exactness.on_duckdb.texts import joined
from eventlake.exactness.tree import nodes

_TIMES = frozenset({"time", "sequence", "recorded_at"})
"""Columns of events that are never null."""
_VALUES = frozenset(
    {"WINDOW_FIRST_VALUE", "WINDOW_LAST_VALUE", "WINDOW_NTH_VALUE", "WINDOW_AGGREGATE"}
)
"""Windows whose calls may have an order of their own."""


def calls(node: Tree, scope: Scope) -> Iterator[Tree]:
    """What may stand in place of a call."""
    name = str(node.get("function_name") or "").casefold()
    arguments = [one["expression"] for one in node.get("arguments", [])]
    if node.get("class") in {"CAST", "FUNCTION"}:
        yield from members(node, name, scope, arguments)
    if node.get("class") == "WINDOW":
        yield from (
            _picking_windows(node, name, scope, arguments)
            if name in PICKING
            else _windows(node, scope)
        )
    elif node.get("class") == "FUNCTION" and name in ORDERED:
        yield from _ordered(node, scope, arguments)
    elif node.get("class") == "FUNCTION" and name in PICKING:
        yield from _picking(node, name, scope, arguments)
    if name in quotients.MEANS and arguments:
        yield from quotients.means(node, scope, arguments[0])
    elif name in quotients.SPREADS and arguments:
        yield from quotients.spread(node, name, scope, arguments[0])
    elif name in quotients.PAIRS:
        yield from quotients.pairs(node, name, scope, arguments)
    elif name in quotients.SCALED and arguments:
        yield from quotients.scaled(node, name, scope, arguments[0])
    elif name == "mode" and arguments and node.get("class") == "FUNCTION":
        counts = called(node, "histogram")
        text = "list_max(list_transform(map_entries(counts_), lambda one: {'n': one.value, 'value': one.key})).value"
        yield scope.made(text, counts_=counts)
    else:
        yield from _scalars(name, scope, arguments, node)


def _scalars(name: str, scope: Scope, arguments: Sequence[Tree], node: Tree) -> Iterator[Tree]:
    if name == "approx_count_distinct":
        yield called(node, "count") | {"distinct": True}
    elif name in {"approx_quantile", "reservoir_quantile"}:
        made = called(node, "quantile_disc")
        yield made | {"arguments": made["arguments"][:2]}
    elif name in {"printf", "format"} and arguments:
        yield from joined(name, scope, arguments)
    elif name == "random":
        text = "CAST(CAST('0x' || left(md5(CAST(x_ AS VARCHAR)), 13) AS BIGINT) AS DOUBLE) / 4503599627370496"
        yield from (scope.made(text, x_=key) for key in scope.row_keys())
    elif name in {"pow", "power", "^", "**"}:
        yield from _powers(scope, arguments)
    elif name == "hash" and arguments:
        whole = (
            "x0_"
            if len(arguments) == 1
            else f"({', '.join(f'x{place}_' for place in range(len(arguments)))})"
        )
        text = f"CAST('0x' || left(md5(CAST({whole} AS VARCHAR)), 15) AS BIGINT)"
        yield scope.made(text, **{f"x{place}_": one for place, one in enumerate(arguments)})
    elif name in {"list_distinct", "array_distinct"}:
        yield scope.made("list_sort(whole_)", whole_=node)
    elif name in {"round", "floor"} and arguments and arguments[0].get("function_name") == "/":
        yield from _rounded(name, scope, arguments)


def _powers(scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    power = arguments[1].get("literal", {}).get("text") if len(arguments) > 1 else None
    if power in {"2", "3"}:
        yield scope.made(f"CAST({' * '.join(['x_'] * int(power))} AS DOUBLE)", x_=arguments[0])
    elif power == "0.5":
        yield scope.made("sqrt(x_)", x_=arguments[0])


def _rounded(name: str, scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    what, by = (one["expression"] for one in arguments[0]["arguments"])
    if name == "round":
        yield from quotients.rounded(scope, what, by, arguments[1:])
    elif by.get("literal", {}).get("kind") == "INTEGER" and is_exact(scope.type_of(what)):
        yield scope.made("CAST(x_ - (x_ % n_ + n_) % n_ AS BIGINT) // n_", x_=what, n_=by)


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
    whole = name.endswith("_nulls_last")
    if not whole and (by.get("column_names", [""])[-1] not in _TIMES or len(scope.sources) > 1):
        known.append(by)
    nulls = ("NULLS_LAST" if first else "NULLS_FIRST") if whole else "ORDER_DEFAULT"
    conditions = [scope.made("x_ IS NOT NULL", x_=one) for one in known]
    filters = [*([node["filter"]] if node.get("filter") else []), *conditions]
    several = len(arguments) > 2  # noqa: PLR2004 - the greatest so many
    for tie in [*scope.ties(value, by), [value]]:
        made = called(node, "list" if several else "first" if first else "last")
        made["arguments"] = made["arguments"][:1]
        kind = "ASCENDING" if first or not several else "DESCENDING"
        orders = [
            {"type": kind if several else "ORDER_DEFAULT", "null_order": nulls, "expression": by}
        ]
        made["order_bys"] = {"type": "ORDER_MODIFIER", "orders": orders + _as_orders(tie, orders)}
        if filters:
            made["filter"] = scope.made(
                " AND ".join(f"f{place}_" for place in range(len(filters))), **_numbered(filters)
            )
        yield scope.made("whole_[1:n_]", whole_=made, n_=arguments[2]) if several else made


def _numbered(parts: Sequence[Tree]) -> dict[str, Tree]:
    return {f"f{place}_": part for place, part in enumerate(parts)}


def _picking_windows(
    node: Tree, name: str, scope: Scope, arguments: Sequence[Tree]
) -> Iterator[Tree]:
    if len(arguments) != 2 or name.endswith("_nulls_last"):  # noqa: PLR2004 - what is picked and by what; not several of those
        return
    by = arguments[1]
    given = [node["filter_expr"]] if node.get("filter_expr") else []
    known = [*given, scope.made("x_ IS NOT NULL", x_=by)]
    for tie in scope.ties(*arguments):
        made = called(node, name)
        keys = {f"k{place}_": one for place, one in enumerate(tie)}
        made["arguments"][1] = made["arguments"][1] | {
            "expression": scope.made(f"(by_, {', '.join(keys)})", by_=by, **keys)
        }
        made["filter_expr"] = scope.made(
            " AND ".join(f"f{place}_" for place in range(len(known))), **_numbered(known)
        )
        yield made


def _windows(node: Tree, scope: Scope) -> Iterator[Tree]:
    # More columns would make other frames of those that reach so far in values or in groups of
    # equal rows.
    bound = {
        "EXPR_PRECEDING_RANGE",
        "EXPR_FOLLOWING_RANGE",
        "EXPR_PRECEDING_GROUPS",
        "EXPR_FOLLOWING_GROUPS",
        "CURRENT_ROW_GROUPS",
    }
    fixed = bool(bound & {node.get("start"), node.get("end")})
    for name in ("arg_orders",) if fixed else ("orders", "arg_orders"):
        if name == "arg_orders" and not node.get(name):
            if not fixed or node["type"] not in _VALUES:
                continue
            node = node | {name: copy.deepcopy(node.get("orders", []))}
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


def orders(node: Tree, scope: Scope) -> Iterator[Tree]:
    """A SELECT whose order goes further, or that takes rows by a key in place of a sample."""
    if node.get("sample"):
        yield from _sampled(node, scope)
        return
    modifiers = node.get("modifiers", [])
    bounded = any(
        one["type"] in {"LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER"}
        or one.get("distinct_on_targets")
        for one in modifiers
    )
    if not any(one.get("orders") for one in modifiers) and (not bounded or scope.sorted):
        return
    shown = [one for one in node.get("select_list", []) if one.get("class") == "COLUMN_REF"]
    groups = [one for one in node.get("group_expressions", []) if one.get("class") == "COLUMN_REF"]
    named = [
        one
        for one in shown
        if one["column_names"][-1] in {group["column_names"][-1] for group in groups}
    ] or groups
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
    read = [
        one["column_names"]
        for one in nodes(node.get("condition", {}))
        if one.get("class") == "COLUMN_REF"
    ]
    columns = [*node.get("using_columns", []), *(names[-1] for names in read if names[0] == name)]
    if columns:
        made = copy.deepcopy(node)
        sub = scope.parse(
            "(SELECT * FROM table_ QUALIFY row_number() OVER (PARTITION BY part_ ORDER BY sequence DESC) = 1)"
        )["subquery"]
        for one in nodes(sub):
            if one.get("type") == "BASE_TABLE":
                one.update({key: value for key, value in right.items() if key != "alias"})
            if one.get("class") == "WINDOW":
                one["partitions"] = [column(part) for part in dict.fromkeys(columns)]
        made["right"] = {
            "type": "SUBQUERY",
            "alias": name,
            "query_location": 0,
            "subquery": sub,
            "column_name_alias": [],
        }
        yield made


def _sampled(node: Tree, scope: Scope) -> Iterator[Tree]:
    size = node["sample"].get("sample_size", {}).get("value")
    if not node["sample"].get("is_percentage") or size is None or size * 100 != int(size * 100):
        return
    parts = (100, int(size)) if size == int(size) else (10000, int(size * 100))
    for key in scope.row_keys():
        chosen = scope.made(
            f"CAST('0x' || left(md5(CAST(x_ AS VARCHAR)), 8) AS BIGINT) % {parts[0]} < {parts[1]}",
            x_=key,
        )
        before = node.get("where_clause")
        where = scope.made("a_ AND b_", a_=before, b_=chosen) if before else chosen
        yield {name: value for name, value in copy.deepcopy(node).items() if name != "sample"} | {
            "where_clause": where
        }
