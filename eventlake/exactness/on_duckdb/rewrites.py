"""Rewrites of a part of a query that may make it exact and keep its meaning; ``advice`` tries them.

Each function yields candidates as syntax trees, the most likely first.
"""

import copy
from collections.abc import Iterator, Sequence

from eventlake.exactness.on_duckdb import quotients
from eventlake.exactness.on_duckdb.format_strings import concatenations
from eventlake.exactness.on_duckdb.functions import ORDERED, PICKING
from eventlake.exactness.on_duckdb.json_members import members
from eventlake.exactness.on_duckdb.scope import Scope, Tree, column, is_exact, renamed_call
from eventlake.exactness.tree import nodes

_TIMES = frozenset({"time", "sequence", "recorded_at"})
"""Columns of events that are never null."""
_OWN_ORDER = frozenset(
    {"WINDOW_FIRST_VALUE", "WINDOW_LAST_VALUE", "WINDOW_NTH_VALUE", "WINDOW_AGGREGATE"}
)
"""Window functions whose call may have an ORDER BY of its own."""


def calls(node: Tree, scope: Scope) -> Iterator[Tree]:
    """Rewrites of a call or a cast."""
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
        counts = renamed_call(node, "histogram")
        # The greatest of the most frequent values: structs compare by count, then by value.
        pairs = "lambda one: {'n': one.value, 'value': one.key}"
        text = f"list_max(list_transform(map_entries(counts_), {pairs})).value"
        yield scope.fill(text, counts_=counts)
    else:
        yield from _scalars(name, scope, arguments, node)


def _scalars(name: str, scope: Scope, arguments: Sequence[Tree], node: Tree) -> Iterator[Tree]:
    if name == "approx_count_distinct":
        yield renamed_call(node, "count") | {"distinct": True}
    elif name in {"approx_quantile", "reservoir_quantile"}:
        call = renamed_call(node, "quantile_disc")
        yield call | {"arguments": call["arguments"][:2]}
    elif name in {"printf", "format"} and arguments:
        yield from concatenations(name, scope, arguments)
    elif name == "random":
        # 13 hexadecimal digits are the 52 bits of a double's fraction.
        bits = "CAST('0x' || left(md5(CAST(x_ AS VARCHAR)), 13) AS BIGINT)"
        text = f"CAST({bits} AS DOUBLE) / {2**52}"
        yield from (scope.fill(text, x_=key) for key in scope.row_keys())
    elif name in {"pow", "power", "^", "**"}:
        yield from _powers(scope, arguments)
    elif name == "hash" and arguments:
        # 15 hexadecimal digits are 60 bits, which BIGINT holds.
        values = ", ".join(f"x{place}_" for place in range(len(arguments)))
        whole = values if len(arguments) == 1 else f"({values})"
        text = f"CAST('0x' || left(md5(CAST({whole} AS VARCHAR)), 15) AS BIGINT)"
        yield scope.fill(text, **{f"x{place}_": one for place, one in enumerate(arguments)})
    elif name in {"list_distinct", "array_distinct"}:
        yield scope.fill("list_sort(whole_)", whole_=node)
    elif name in {"round", "floor"} and arguments and arguments[0].get("function_name") == "/":
        yield from _rounded(name, scope, arguments)


def _powers(scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    power = arguments[1].get("literal", {}).get("text") if len(arguments) > 1 else None
    # Multiplied exactly, and then a double, as pow returns one.
    if power in {"2", "3"}:
        yield scope.fill(f"CAST({' * '.join(['x_'] * int(power))} AS DOUBLE)", x_=arguments[0])
    elif power == "0.5":
        yield scope.fill("sqrt(x_)", x_=arguments[0])


def _rounded(name: str, scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    what, by = (one["expression"] for one in arguments[0]["arguments"])
    if name == "round":
        yield from quotients.rounded(scope, what, by, arguments[1:])
    elif by.get("literal", {}).get("kind") == "INTEGER" and is_exact(scope.type_of(what)):
        # // truncates towards zero, so what it divides is first rounded down to a multiple of n.
        yield scope.fill("CAST(x_ - (x_ % n_ + n_) % n_ AS BIGINT) // n_", x_=what, n_=by)


def _ordered(node: Tree, scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    before = [one["expression"] for one in node.get("order_bys", {}).get("orders", [])]
    # The value itself comes last: then ties no longer matter.
    for tie in [*scope.tie_breakers(*arguments, *before), list(arguments[:1])]:
        call = copy.deepcopy(node)
        orders = call.setdefault("order_bys", {"type": "ORDER_MODIFIER"}).setdefault("orders", [])
        orders += _as_orders(tie, orders)
        yield call


def _picking(node: Tree, name: str, scope: Scope, arguments: Sequence[Tree]) -> Iterator[Tree]:
    """``max_by`` and its kind as ``first``, ``last`` or ``list`` in a total order.

    These do not skip nulls as ``max_by`` does, so that a filter must.
    """
    value, by = arguments[:2]
    first = "min" in name
    known = [] if name.endswith(("_null", "_nulls_last")) else [value]
    whole = name.endswith("_nulls_last")
    if not whole and (by.get("column_names", [""])[-1] not in _TIMES or len(scope.sources) > 1):
        known.append(by)
    nulls = "ORDER_DEFAULT"
    if whole:
        nulls = "NULLS_LAST" if first else "NULLS_FIRST"
    conditions = [scope.fill("x_ IS NOT NULL", x_=one) for one in known]
    filters = [*([node["filter"]] if node.get("filter") else []), *conditions]
    several = len(arguments) > 2  # noqa: PLR2004 - max_by(value, order, n)
    picking = "first" if first else "last"
    # The value last, as in ``_ordered``.
    for tie in [*scope.tie_breakers(value, by), [value]]:
        call = renamed_call(node, "list" if several else picking)
        call["arguments"] = call["arguments"][:1]
        kind = "ASCENDING" if first or not several else "DESCENDING"
        orders = [
            {"type": kind if several else "ORDER_DEFAULT", "null_order": nulls, "expression": by}
        ]
        call["order_bys"] = {"type": "ORDER_MODIFIER", "orders": orders + _as_orders(tie, orders)}
        if filters:
            call["filter"] = _all_of(filters, scope)
        yield scope.fill("whole_[1:n_]", whole_=call, n_=arguments[2]) if several else call


def _all_of(conditions: Sequence[Tree], scope: Scope) -> Tree:
    named = {f"f{place}_": condition for place, condition in enumerate(conditions)}
    return scope.fill(" AND ".join(named), **named)


def _picking_windows(
    node: Tree, name: str, scope: Scope, arguments: Sequence[Tree]
) -> Iterator[Tree]:
    if len(arguments) != 2 or name.endswith("_nulls_last"):  # noqa: PLR2004 - max_by(value, order)
        return
    by = arguments[1]
    filters = [node["filter_expr"]] if node.get("filter_expr") else []
    filters.append(scope.fill("x_ IS NOT NULL", x_=by))
    for tie in scope.tie_breakers(*arguments):
        call = renamed_call(node, name)
        keys = {f"k{place}_": one for place, one in enumerate(tie)}
        call["arguments"][1] = call["arguments"][1] | {
            "expression": scope.fill(f"(by_, {', '.join(keys)})", by_=by, **keys)
        }
        call["filter_expr"] = _all_of(filters, scope)
        yield call


def _windows(node: Tree, scope: Scope) -> Iterator[Tree]:
    # A frame that is bounded by values or peer groups would change with the columns of its order;
    # then only the call may get an order of its own.
    peer_bounds = {
        "EXPR_PRECEDING_RANGE",
        "EXPR_FOLLOWING_RANGE",
        "EXPR_PRECEDING_GROUPS",
        "EXPR_FOLLOWING_GROUPS",
        "CURRENT_ROW_GROUPS",
    }
    fixed = bool(peer_bounds & {node.get("start"), node.get("end")})
    for name in ("arg_orders",) if fixed else ("orders", "arg_orders"):
        if name == "arg_orders" and not node.get(name):
            if not fixed or node["type"] not in _OWN_ORDER:
                continue
            node = node | {name: copy.deepcopy(node.get("orders", []))}
        for tie in scope.tie_breakers(*(one["expression"] for one in node.get(name, []))):
            call = copy.deepcopy(node)
            call[name] = [*call.get(name, []), *_as_orders(tie, call.get(name, []))]
            yield call


def _as_orders(tie: Sequence[Tree], before: Sequence[Tree]) -> list[Tree]:
    """Further terms of an ORDER BY.

    An event's sequence is sorted in the direction of the last term before it, so that "the latest"
    stays the latest; other columns are sorted ascending.
    """
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
    """A SELECT with a longer ORDER BY, or with a filter by a key in place of a sample."""
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
    selected = [one for one in node.get("select_list", []) if one.get("class") == "COLUMN_REF"]
    groups = [one for one in node.get("group_expressions", []) if one.get("class") == "COLUMN_REF"]
    named = [
        one
        for one in selected
        if one["column_names"][-1] in {group["column_names"][-1] for group in groups}
    ] or groups
    # GROUP BY 1 groups by the first column of the SELECT.
    numbered = [
        node["select_list"][int(one["literal"]["text"]) - 1]
        for one in node.get("group_expressions", [])
        if one.get("literal", {}).get("kind") == "INTEGER"
    ]
    grouped = named + [one for one in numbered if one.get("class") == "COLUMN_REF"]
    before = [one["expression"] for modifier in modifiers for one in modifier.get("orders", [])]
    ties = [grouped] if grouped else [*scope.tie_breakers(*before), selected]
    for tie in (one for one in ties if one):
        select = copy.deepcopy(node)
        order = next((one for one in select["modifiers"] if one["type"] == "ORDER_MODIFIER"), None)
        if order is None:
            # DuckDB applies modifiers in their order: ORDER BY comes before LIMIT.
            order = {"type": "ORDER_MODIFIER", "orders": []}
            select["modifiers"].insert(0, order)
        order["orders"] += _as_orders(tie, order["orders"])
        yield select


def joins(node: Tree, scope: Scope) -> Iterator[Tree]:
    """An ASOF join whose right side has one row per key and instant."""
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
        join = copy.deepcopy(node)
        # Of several events at one instant the latest counts.
        number = "row_number() OVER (PARTITION BY part_ ORDER BY sequence DESC)"
        sub = scope.parse(f"(SELECT * FROM table_ QUALIFY {number} = 1)")["subquery"]
        for one in nodes(sub):
            if one.get("type") == "BASE_TABLE":
                one.update({key: value for key, value in right.items() if key != "alias"})
            if one.get("class") == "WINDOW":
                one["partitions"] = [column(part) for part in dict.fromkeys(columns)]
        join["right"] = {
            "type": "SUBQUERY",
            "alias": name,
            "query_location": 0,
            "subquery": sub,
            "column_name_alias": [],
        }
        yield join


def _sampled(node: Tree, scope: Scope) -> Iterator[Tree]:
    size = node["sample"].get("sample_size", {}).get("value")
    if not node["sample"].get("is_percentage") or size is None or size * 100 != int(size * 100):
        return
    parts = (100, int(size)) if size == int(size) else (10000, int(size * 100))
    for key in scope.row_keys():
        chosen = scope.fill(
            f"CAST('0x' || left(md5(CAST(x_ AS VARCHAR)), 8) AS BIGINT) % {parts[0]} < {parts[1]}",
            x_=key,
        )
        before = node.get("where_clause")
        where = scope.fill("a_ AND b_", a_=before, b_=chosen) if before else chosen
        select = {name: value for name, value in copy.deepcopy(node).items() if name != "sample"}
        yield select | {"where_clause": where}
