"""Aggregates and window functions: of exact values, in an order that leaves nothing to luck."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from eventlake.exactness.on_duckdb.expressions import (
    Node,
    check_all,
    column,
    columns_in,
    is_constant,
    name_of,
    type_of,
    within,
)
from eventlake.exactness.on_duckdb.functions import AGGREGATES, ORDERED, PICKING, refused
from eventlake.exactness.refusals import DECLARED, ENDS_IN_A_KEY, TIES, Refusal
from eventlake.exactness.rows import Rows, is_float, is_loose

_COUNTING = frozenset({"count", "count_star", "count_if", "countif", "regr_count"})
_RANKS = frozenset({"WINDOW_RANK", "WINDOW_RANK_DENSE", "WINDOW_PERCENT_RANK", "WINDOW_CUME_DIST"})
_PLACES = frozenset(
    {
        "WINDOW_FIRST_VALUE",
        "WINDOW_LAG",
        "WINDOW_LAST_VALUE",
        "WINDOW_LEAD",
        "WINDOW_NTH_VALUE",
        "WINDOW_NTILE",
        "WINDOW_ROW_NUMBER",
    }
)
_VALUES = frozenset({"WINDOW_FIRST_VALUE", "WINDOW_LAST_VALUE", "WINDOW_NTH_VALUE"})
_WHOLE = frozenset({"UNBOUNDED_PRECEDING", "UNBOUNDED_FOLLOWING"})


def check_aggregate(node: Node, rows: Rows, by: Collection[int]) -> Iterator[Refusal]:
    """What of an aggregate is not exact.

    Args:
        node: The aggregate.
        rows: What it is over.
        by: The columns that its groups have in common.
    """
    arguments = node.get("children", [])
    orders = [order["expression"] for order in node.get("order_bys", {}).get("orders", [])]
    yield from check_all(_inside(node))
    yield from _check_call(node, arguments, orders, rows, by)


def _inside(node: Node) -> list[Any]:
    """All that an aggregate or window holds: arguments, orders, conditions, bounds, by whatever name."""
    return [part for part in node.values() if isinstance(part, dict | list)]


def _check_call(
    node: Node, arguments: Sequence[Node], orders: Sequence[Node], rows: Rows, by: Collection[int]
) -> Iterator[Refusal]:
    name, distinct = (
        name_of(node),
        node.get("aggregate_type") == "DISTINCT" or node.get("distinct") is True,
    )
    inexact = any(is_float(type_of(one)) and not is_constant(one) for one in arguments)
    if name in PICKING:
        yield from _check_picking(name, arguments, rows, by)
    elif name in ORDERED:
        if not _is_total(orders, arguments, rows, by):
            why = "in no order" if not orders else f"its ORDER BY is not total: {TIES}"
            yield Refusal(
                f"{name}()", why, "two rows, 1 and 2: either of them first", ENDS_IN_A_KEY
            )
        if distinct and inexact:
            yield Refusal(
                f"{name}()",
                "of distinct doubles: 0.0 and -0.0 are one value and two",
                "0.0 and -0.0",
            )
    elif name not in AGGREGATES:
        yield refused(name, aggregate=True)
    elif inexact and (name not in _COUNTING or distinct):
        yield _of_doubles(name)
    elif any(is_loose(type_of(one)) and not is_constant(one) for one in arguments) and (
        name not in {*_COUNTING, "sum"} or distinct
    ):
        yield Refusal(
            f"{name}()",
            "of values that can be equal and not the same",
            "a month and thirty days",
            f"{name} over days or microseconds: epoch_us(…)",
        )


def _of_doubles(name: str) -> Refusal:
    if name in {"min", "max"}:
        return Refusal(
            f"{name}()",
            "of a double: 0.0 and -0.0 are equal, and either may come out",
            "0.0 and -0.0",
            DECLARED,
        )
    if name == "sum":
        why = "of a double: a + b + c depends on which two are added first, and threads decide that"
        return Refusal("sum()", why, "0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1", DECLARED)
    return Refusal(f"{name}()", "of a double", "", DECLARED)


def _check_picking(
    name: str, arguments: Sequence[Node], rows: Rows, by: Collection[int]
) -> Iterator[Refusal]:
    value, greatest = arguments[0], arguments[1]
    if is_float(type_of(greatest)):
        yield Refusal(f"{name}()", "by a double", "0.0 and -0.0", DECLARED)
    elif not _is_total([greatest], [value], rows, by):
        yield Refusal(
            f"{name}()",
            f"by what two rows can have in common: {TIES}",
            "two rows of one time, 1 and 2: either of them",
            f"{'first' if 'min' in name else 'last'}(… ORDER BY …), and in it {ENDS_IN_A_KEY}",
        )


def _is_total(
    orders: Sequence[Node], arguments: Sequence[Node], rows: Rows, by: Collection[int]
) -> bool:
    """Whether rows of one group that are equal by ``orders`` are one row, or give the same arguments."""
    fixed = {place for place in map(column, orders) if place is not None} | set(by)
    for order in orders:
        # A struct of columns is an order by each of them.
        if name_of(order) in {"row", "struct_pack"}:
            fixed |= {
                place for child in order.get("children", []) if (place := column(child)) is not None
            }
    read = {place for one in arguments for place in columns_in(one)}
    # The variables of a lambda are counted like columns, from elsewhere.
    strange = any(
        part["expression_class"] == "BOUND_LAMBDA" for one in arguments for part in within(one)
    )
    return rows.tells_apart(fixed) if strange else rows.are_told_by(fixed, read)


def check_window(node: Node, rows: Rows) -> Iterator[Refusal]:
    """What of a window function is not exact."""
    arguments = node.get("children", [])
    orders, own = (
        [order["expression"] for order in node.get(name, [])] for name in ("orders", "arg_orders")
    )
    partitions = node.get("partitions", [])
    yield from check_all(_inside(node))
    by = {place for place in map(column, partitions) if place is not None}
    what = (
        node["type"].removeprefix("WINDOW_").casefold()
        if node["type"] != "WINDOW_AGGREGATE"
        else name_of(node)
    )
    if any(is_float(type_of(one)) for one in (*partitions, *orders, *own)):
        yield Refusal(
            f"{what}()",
            "a window over a double: 0.0 and -0.0 are equal, and neither comes first",
            "0.0 and -0.0",
            DECLARED,
        )
    if node.get("distinct") and what in ORDERED:
        by_values = {place for one in own or orders for place in columns_in(one)} <= {
            p for one in arguments for p in columns_in(one)
        }
        if not by_values:
            reason = "of distinct values in an order of something else: of several equal values any may say where they come"
            yield Refusal(
                f"{what}()",
                reason,
                "a at 1 and 3, b at 2",
                "an ORDER BY of the values themselves in the call",
            )
    # What comes out is given to a row: it is not enough that rows that are equal by the order have
    # the same arguments.
    whole = [{"expression_class": "BOUND_REF", "index": place} for place in range(len(rows.types))]
    total = _is_total(orders, whole, rows, by)
    owned = bool(own) and _is_total(own, whole, rows, by)
    why = None
    if node["type"] in _PLACES:
        # Which rows a frame of values has does not depend on ties, so an order of the call's own is
        # enough.
        enough = owned and node["type"] in _VALUES and not _counts_rows(node)
        if not (enough or (total and (owned or not own))):
            why = "the ORDER BY of its window is not total"
    elif node["type"] in _RANKS or node["type"] == "WINDOW_AGGREGATE":
        if node["type"] == "WINDOW_AGGREGATE":
            yield from _check_call(node, arguments, own or orders, rows, by)
        counts = _bounds_rows(node) if name_of(node) in AGGREGATES else _counts_rows(node)
        if counts and not total:
            why = "ROWS of a window whose ORDER BY is not total"
    else:
        yield Refusal(f"{what}()", "a window function that is not known to be exact")
    if why:
        yield Refusal(f"{what}()", f"{why}: {TIES}", "two rows of one time", ENDS_IN_A_KEY)


def _bounds_rows(node: Node) -> bool:
    """Whether a frame begins or ends at some row, and not at some value or at the partition's end."""
    bounds = {str(node.get("start")), str(node.get("end"))} - _WHOLE
    return any(bound.endswith("_ROWS") for bound in bounds)


def _counts_rows(node: Node) -> bool:
    """Whether which rows a frame has depends on where a row stands among its equals."""
    return _bounds_rows(node) or str(node.get("exclude_clause", "NO_OTHER")) == "CURRENT_ROW"
