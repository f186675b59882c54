"""Aggregates and window functions: over exact values, and in a total order if order matters."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from eventlake.exactness.on_duckdb.expressions import (
    Node,
    check_all,
    column,
    columns_in,
    is_constant,
    name_of,
    subexpressions,
    type_of,
)
from eventlake.exactness.on_duckdb.functions import AGGREGATES, ORDERED, PICKING, refused
from eventlake.exactness.on_duckdb.json_text import payloads_of
from eventlake.exactness.refusals import (
    ADDITION,
    ADDITION_EXAMPLE,
    DECLARED,
    ENDS_IN_A_KEY,
    TIES,
    ZEROS,
    Refusal,
)
from eventlake.exactness.rows import Rows, is_ambiguous, is_float

_COUNTING = frozenset({"count", "count_star", "count_if", "countif", "regr_count"})
_RANKS = frozenset({"WINDOW_RANK", "WINDOW_RANK_DENSE", "WINDOW_PERCENT_RANK", "WINDOW_CUME_DIST"})
_POSITIONAL = frozenset(
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
_UNBOUNDED = frozenset({"UNBOUNDED_PRECEDING", "UNBOUNDED_FOLLOWING"})


def grouped_rows(node: Node, child: Rows) -> Rows:
    """The rows of a GROUP BY; without groups, one row."""
    groups, aggregates = node.get("groups", []), node.get("expressions", [])
    types = [type_of(one) for one in (*groups, *aggregates)]
    types += [{"id": "BIGINT"} for _ in node.get("grouping_functions", [])]
    if not groups:
        # The empty key: at most one row.
        return Rows.of(types, [()], payloads=payloads_of(aggregates, child))
    # With several grouping sets the groups hold nulls that stand for any value.
    if len(node.get("grouping_sets", [])) > 1:
        return Rows.of(types)
    kept = [column(one) for one in groups]
    columns = [*kept, *([None] * (len(types) - len(kept)))]
    rows = child.projected(columns, types, payloads_of(aggregates, child, len(groups)))
    return rows.with_columns([], [range(len(groups))])


def windowed_rows(node: Node, child: Rows, rows: Rows) -> Rows:
    """``rows`` with the column of a window function over ``child``."""
    partitions = [column(part) for part in node.get("partitions", [])]
    by = [part for part in partitions if part is not None]
    place = len(rows.types)
    # A row number and its partition are a key.
    numbers = node["type"] == "WINDOW_ROW_NUMBER" and not node.get("arg_orders")
    key = [[*by, place]] if numbers and len(by) == len(partitions) else []
    rows = rows.with_columns([type_of(node)], key)
    return rows.with_payloads(payloads_of([node], child, place))


def check_aggregate(node: Node, rows: Rows, by: Collection[int]) -> Iterator[Refusal]:
    """What is not exact about an aggregate.

    Args:
        node: The aggregate.
        rows: The rows that it aggregates.
        by: Columns that have one value in every group.
    """
    arguments = node.get("children", [])
    orders = [order["expression"] for order in node.get("order_bys", {}).get("orders", [])]
    yield from check_all(_inner(node))
    yield from _check_call(node, arguments, orders, rows, by)


def _inner(node: Node) -> list[Any]:
    """Everything inside an aggregate or window: arguments, orders, filters and bounds."""
    return [part for part in node.values() if isinstance(part, dict | list)]


def _check_call(
    node: Node, arguments: Sequence[Node], orders: Sequence[Node], rows: Rows, by: Collection[int]
) -> Iterator[Refusal]:
    name = name_of(node)
    distinct = node.get("aggregate_type") == "DISTINCT" or node.get("distinct") is True
    # A constant argument, such as the share of a quantile, is the same for every row.
    computed = [type_of(one) for one in arguments if not is_constant(one)]
    if name in PICKING:
        yield from _check_picking(name, arguments, rows, by)
    elif name in ORDERED:
        if not _is_total(orders, arguments, rows, by):
            why = "in no order" if not orders else f"its ORDER BY is not total: {TIES}"
            yield Refusal(
                f"{name}()", why, "two rows, 1 and 2: either of them first", ENDS_IN_A_KEY
            )
        if distinct and any(map(is_float, computed)):
            yield Refusal(
                f"{name}()", f"of distinct doubles: {ZEROS} count as one value or as two", ZEROS
            )
    elif name not in AGGREGATES:
        yield refused(name, aggregate=True)
    # Counting looks at no value, except to tell distinct ones apart.
    elif any(map(is_float, computed)) and (name not in _COUNTING or distinct):
        yield _refuse_double(name)
    elif any(map(is_ambiguous, computed)) and (name not in {*_COUNTING, "sum"} or distinct):
        yield Refusal(
            f"{name}()",
            "of values that can be equal and still differ",
            "a month and thirty days",
            f"{name} over days or microseconds: epoch_us(…)",
        )


def _refuse_double(name: str) -> Refusal:
    if name in {"min", "max"}:
        why = "of a double: 0.0 and -0.0 are equal, and either may be the result"
        return Refusal(f"{name}()", why, ZEROS, DECLARED)
    if name == "sum":
        return Refusal("sum()", f"of a double: {ADDITION}", ADDITION_EXAMPLE, DECLARED)
    return Refusal(f"{name}()", "of a double", "", DECLARED)


def _check_picking(
    name: str, arguments: Sequence[Node], rows: Rows, by: Collection[int]
) -> Iterator[Refusal]:
    value, order = arguments[0], arguments[1]
    if is_float(type_of(order)):
        yield Refusal(f"{name}()", "by a double", ZEROS, DECLARED)
    elif not _is_total([order], [value], rows, by):
        yield Refusal(
            f"{name}()",
            f"by a value that two rows can share: {TIES}",
            "two rows of one time, 1 and 2: either of them",
            f"{'first' if 'min' in name else 'last'}(… ORDER BY …), and in it {ENDS_IN_A_KEY}",
        )


def _is_total(
    orders: Sequence[Node], arguments: Sequence[Node], rows: Rows, by: Collection[int]
) -> bool:
    """Whether rows of one group that are equal by ``orders`` have the same arguments."""
    fixed = {place for place in map(column, orders) if place is not None} | set(by)
    for order in orders:
        # A struct of columns is an order by each of them.
        if name_of(order) in {"row", "struct_pack"}:
            members = map(column, order.get("children", []))
            fixed |= {place for place in members if place is not None}
    read = {place for one in arguments for place in columns_in(one)}
    # The variables of a lambda are numbered like columns, so that the columns read are not known.
    has_lambda = any(
        part["expression_class"] == "BOUND_LAMBDA"
        for one in arguments
        for part in subexpressions(one)
    )
    return rows.is_key(fixed) if has_lambda else rows.determines(fixed, read)


def check_window(node: Node, rows: Rows) -> Iterator[Refusal]:
    """What is not exact about a window function.

    Args:
        node: The window function.
        rows: The rows that it is computed over.
    """
    arguments = node.get("children", [])
    # A call may order its arguments itself: lag(x ORDER BY y) OVER (ORDER BY z).
    orders, own = (
        [order["expression"] for order in node.get(name, [])] for name in ("orders", "arg_orders")
    )
    partitions = node.get("partitions", [])
    yield from check_all(_inner(node))
    # Rows of different partitions never meet, so the partition's columns take part in every key.
    by = {place for place in map(column, partitions) if place is not None}
    is_aggregate = node["type"] == "WINDOW_AGGREGATE"
    what = name_of(node) if is_aggregate else node["type"].removeprefix("WINDOW_").casefold()
    if any(is_float(type_of(one)) for one in (*partitions, *orders, *own)):
        yield Refusal(
            f"{what}()",
            "a window over a double: 0.0 and -0.0 are equal, and either may come first",
            ZEROS,
            DECLARED,
        )
    if node.get("distinct") and what in ORDERED:
        ordering = {place for one in own or orders for place in columns_in(one)}
        if not ordering <= {place for one in arguments for place in columns_in(one)}:
            yield Refusal(
                f"{what}()",
                "of distinct values in an order of something else: any of several equal values may"
                " decide their position",
                "a at 1 and 3, b at 2",
                "an ORDER BY of the values themselves in the call",
            )
    # Every row gets a result of its own, so it is not enough that tied rows have the same
    # arguments: the order must tell all columns apart.
    whole = [{"expression_class": "BOUND_REF", "index": place} for place in range(len(rows.types))]
    total = _is_total(orders, whole, rows, by)
    own_total = bool(own) and _is_total(own, whole, rows, by)
    why = None
    if node["type"] in _POSITIONAL:
        # Ties do not change which rows a frame of values contains, so a total order in the call is
        # enough.
        suffices = own_total and node["type"] in _VALUES and not _counts_rows(node)
        if not (suffices or (total and (own_total or not own))):
            why = "the ORDER BY of its window is not total"
    # Rows that are tied share their rank, and a frame by values contains all of them or none.
    elif node["type"] in _RANKS or is_aggregate:
        if is_aggregate:
            yield from _check_call(node, arguments, own or orders, rows, by)
        counts = _bounds_rows(node) if name_of(node) in AGGREGATES else _counts_rows(node)
        if counts and not total:
            why = "ROWS of a window whose ORDER BY is not total"
    else:
        yield Refusal(f"{what}()", "a window function that is not known to be exact")
    if why:
        yield Refusal(f"{what}()", f"{why}: {TIES}", "two rows of one time", ENDS_IN_A_KEY)


def _bounds_rows(node: Node) -> bool:
    """Whether a frame starts or ends a number of rows away, not at a value or the partition."""
    bounds = {str(node.get("start")), str(node.get("end"))} - _UNBOUNDED
    return any(bound.endswith("_ROWS") for bound in bounds)


def _counts_rows(node: Node) -> bool:
    """Whether the rows of a frame depend on the position of a row among its ties."""
    return _bounds_rows(node) or str(node.get("exclude_clause", "NO_OTHER")) == "CURRENT_ROW"
