"""The nodes of a bound DuckDB plan, bottom-up: what each needs to be exact, and what it returns.

Every node type has a method of its name. A node without one is refused, so that a new version of
DuckDB cannot bring in steps that nobody has reviewed.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

from eventlake.exactness.on_duckdb.aggregates import (
    check_aggregate,
    check_window,
    grouped_rows,
    windowed_rows,
)
from eventlake.exactness.on_duckdb.expressions import (
    Node,
    check_all,
    check_names,
    column,
    columns_in,
    conjuncts,
    is_constant,
    name_of,
    type_of,
)
from eventlake.exactness.on_duckdb.joins import KINDS, asof_rows, equal_columns, joined_rows
from eventlake.exactness.on_duckdb.json_text import Read, check_json, narrowed, payloads_of
from eventlake.exactness.on_duckdb.scans import ROW_ID_TYPE, column_types, scanned_rows
from eventlake.exactness.refusals import DECLARED, ENDS_IN_A_KEY, TIES, ZEROS, Refusal
from eventlake.exactness.rows import Rows, common_payloads, is_ambiguous, product

_SERIES = frozenset({"range", "generate_series"})


class Analysis:
    """One traversal of one plan.

    Attributes:
        refusals: What is not exact.
        reads: What is read of the JSON of events.
    """

    def __init__(self, keys: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """``keys``: the keys of each table, by its case-folded name."""
        self.refusals: list[Refusal] = []
        self.reads: set[Read] = set()
        self._keys = keys
        self._ctes: dict[int, Rows] = {}
        # A stack: the rows that the children of each node on the way down returned so far.
        self._inputs: list[list[Rows]] = [[]]

    def rows(self, node: Node) -> Rows:
        """The rows that a node returns; notes what in it, or below it, is not exact."""
        rule: Callable[[Node], Rows] | None = getattr(
            self, f"_{node['type'].removeprefix('LOGICAL_').casefold()}", None
        )
        if rule is None:
            name = node["type"].removeprefix("LOGICAL_").replace("_", " ")
            by_key = "a WHERE by a key, such as ('0x' || left(md5(id), 8))::BIGINT % 100 < 10"
            self._refuse(
                name, "a step that is not known to be exact", "", by_key if name == "SAMPLE" else ""
            )
            children = [self.rows(child) for child in node.get("children", [])]
            return Rows.of([kind for child in children for kind in child.types])
        self._inputs.append([])
        rows = rule(node)
        self._check_json(node, self._inputs.pop())
        kept = node.get("projection_map") or []
        rows = rows.select(kept) if kept else rows
        self._inputs[-1].append(rows)
        return rows

    def _check_json(self, node: Node, inputs: Sequence[Rows]) -> None:
        """Note what a node's own expressions read of JSON."""
        # An expression over several inputs numbers their columns one after the other.
        both = reduce(
            lambda left, right: product(left, right, left_keys=False, right_keys=False),
            inputs,
            Rows.of([]),
        )
        if node["type"] == "LOGICAL_FILTER":
            conditions = [part for one in node.get("expressions", []) for part in conjuncts(one)]
            both = narrowed(both, conditions)
        for name, part in node.items():
            if name == "conditions":
                # The sides of a comparison number the columns of their own input.
                for one in part:
                    for side, rows in zip(("left", "right"), inputs, strict=False):
                        if isinstance(one, Mapping) and "left" in one:
                            self._note_json(one.get(side), rows)
                self._note_json([one for one in part if "left" not in one], both)
            elif name != "children":
                self._note_json(part, both)

    def _note_json(self, node: Any, rows: Rows) -> None:
        refusals, reads = check_json(node, rows)
        self.refusals += refusals
        self.reads |= reads

    def _check(self, nodes: Sequence[Node], rows: Rows) -> None:
        self.refusals += check_all(nodes)
        self._refuse_row_ids(nodes, rows)

    def _refuse_row_ids(self, nodes: Sequence[Node], rows: Rows) -> None:
        places = [place for one in nodes for place in columns_in(one) if place < len(rows.types)]
        if any(rows.types[place] is ROW_ID_TYPE for place in places):
            self._refuse("rowid", "it is the position of a row in memory", "", "sequence")

    def _refuse_ambiguous(self, what: str, nodes: Sequence[Node]) -> None:
        self.refusals += check_all(nodes)
        if any(is_ambiguous(type_of(one)) for one in nodes):
            why = (
                "by a double or another type whose values can be equal and still differ: which of"
                f" {ZEROS} is kept is not determined"
            )
            self._refuse(what, why, ZEROS, DECLARED)

    def _refuse(self, what: str, why: str, example: str = "", instead: str = "") -> None:
        self.refusals.append(Refusal(what, why, example, instead))

    def _child(self, node: Node, number: int = 0) -> Rows:
        return self.rows(node["children"][number])

    # Sources

    def _get(self, node: Node) -> Rows:
        name, types = name_of(node), column_types(node)
        if name == "seq_scan":
            rows = scanned_rows(node, types, self._keys)
        elif name in _SERIES and not node.get("children"):
            rows = Rows.of(types, [range(len(types))])
        else:
            if name not in {*_SERIES, "unnest"}:
                self._refuse(
                    f"{name}()", "a table function that reads something other than the history"
                )
            if node.get("children"):
                # The function runs for every row of its child and returns its columns too.
                child = self._child(node)
                types += [child.types[place] for place in node.get("projected_input", [])]
            rows = Rows.of(types)
        return rows.select(node["projection_ids"]) if node.get("projection_ids") else rows

    def _dummy_scan(self, _: Node) -> Rows:
        # A SELECT without FROM has one row.
        return Rows.of([{"id": "INTEGER"}], [()])

    def _empty_result(self, node: Node) -> Rows:
        return Rows.of(node.get("return_types", []), [()])

    def _expression_get(self, node: Node) -> Rows:
        self._child(node)
        self.refusals += check_all(node["expressions"])
        return Rows.of(node["expr_types"])

    def _cte_ref(self, node: Node) -> Rows:
        known = self._ctes.get(node["cte_index"])
        if known is None:
            self._refuse(
                "WITH RECURSIVE",
                "recursion is not understood",
                "",
                "range() or generate_series()",
            )
        # DuckDB may prune columns of the definition that no reference uses.
        if known is None or len(known.types) != len(node["chunk_types"]):
            return Rows.of(node["chunk_types"])
        return known

    def _materialized_cte(self, node: Node) -> Rows:
        self._ctes[node["table_index"]] = self._child(node)
        return self._child(node, 1)

    # Row by row

    def _projection(self, node: Node) -> Rows:
        child = self._child(node)
        expressions = node.get("expressions", [])
        self._check(expressions, child)
        return child.projected(
            [column(one) for one in expressions],
            [type_of(one) for one in expressions],
            payloads_of(expressions, child),
        )

    def _filter(self, node: Node) -> Rows:
        child = self._child(node)
        conditions = [part for one in node.get("expressions", []) for part in conjuncts(one)]
        self._check(conditions, child)
        equal, constant = [], []
        for one in conditions:
            if one.get("type") != "COMPARE_EQUAL" or len(one.get("children", [])) < 2:  # noqa: PLR2004 - both sides
                continue
            left, right = one["children"]
            place, other = column(left), column(right)
            if place is not None and other is not None:
                equal.append((place, other))
            elif place is not None and is_constant(right):
                constant.append(place)
        return narrowed(child.equated(equal).with_constant(constant), conditions)

    def _unnest(self, node: Node) -> Rows:
        child = self._child(node)
        expressions = node["expressions"]
        self.refusals += check_all(expressions)
        start = len(child.types)
        # A row comes out once per item, so no key survives.
        rows = Rows.of(
            (*child.types, *(type_of(one) for one in expressions)),
            (),
            (*child.first_equal, *range(start, start + len(expressions))),
            child.payloads,
        )
        return rows.with_payloads(payloads_of(expressions, child, start))

    # Order

    def _order_by(self, node: Node) -> Rows:
        child = self._child(node)
        # Not checked for ties: rows are stored in the order of their key. LIMIT and others look at
        # it again.
        self._check([order["expression"] for order in node["orders"]], child)
        return child

    def _limit(self, node: Node) -> Rows:
        child = self._child(node)
        orders, rows = self._ordering(node["children"][0], child)
        at_most_one = child.is_key(())
        if orders is None and not at_most_one:
            self._refuse(
                "LIMIT",
                "without an ORDER BY any rows may come first",
                "a and b: either of them",
                ENDS_IN_A_KEY,
            )
        elif not at_most_one and not _is_total(orders or [], rows, range(len(rows.types))):
            self._refuse(
                "LIMIT", f"its ORDER BY is not total: {TIES}", "two rows of one time", ENDS_IN_A_KEY
            )
        for bound in ("limit_val", "offset_val"):
            if node.get(bound, {}).get("type") not in {"CONSTANT_VALUE", "UNSET", None}:
                self._refuse("LIMIT", "the number of rows is computed", "", "a number")
        limit = node.get("limit_val", {})
        # After LIMIT 1 there is nothing left to tell apart.
        is_one = limit.get("constant_integer") == 1 and limit.get("type") == "CONSTANT_VALUE"
        return child.with_columns([], [()]) if is_one else child

    def _ordering(self, node: Node, rows: Rows) -> tuple[list[Node] | None, Rows]:
        """The order of a node's rows, and the rows that the order sees.

        A projection above an ORDER BY may drop the columns of the order.
        """
        if node["type"] == "LOGICAL_ORDER_BY":
            return [order["expression"] for order in node["orders"]], rows
        if (
            node["type"] == "LOGICAL_PROJECTION"
            and node["children"][0]["type"] == "LOGICAL_ORDER_BY"
        ):
            # A second analysis, so that the refusals below are not noted twice.
            scratch = Analysis(self._keys)
            scratch._ctes = self._ctes
            return self._ordering(node["children"][0], scratch.rows(node["children"][0]))
        return None, rows

    def _distinct(self, node: Node) -> Rows:
        child = self._child(node)
        targets = node["distinct_targets"]
        self._refuse_ambiguous("DISTINCT", targets)
        kept = [place for place in (column(target) for target in targets) if place is not None]
        # Which row is kept decides the columns that are not among the targets.
        if node["distinct_type"] == "DISTINCT_ON":
            orders = [order["expression"] for order in node.get("order_by", {}).get("orders", [])]
            if not _is_total([*targets, *orders], child, range(len(child.types))):
                example = "two rows of one subject and time"
                self._refuse(
                    "DISTINCT ON", f"which row of several is kept: {TIES}", example, ENDS_IN_A_KEY
                )
        elif not child.determines(kept, range(len(child.types))):
            self._refuse(
                "DISTINCT",
                "its ORDER BY is by a column that is not selected: which of several rows decides"
                " the position of a value is not determined",
                "a at 1 and 3, b at 2",
                "GROUP BY in place of DISTINCT, and ORDER BY min(…) or max(…)",
            )
        return child.with_columns([], [kept]) if len(kept) == len(targets) else child

    # Several rows

    def _aggregate_and_group_by(self, node: Node) -> Rows:
        child = self._child(node)
        groups, aggregates = node.get("groups", []), node.get("expressions", [])
        self._refuse_ambiguous("GROUP BY", groups)
        sets = node.get("grouping_sets", [])
        # Only a column that is in all grouping sets has one value in every group.
        common = set(range(len(groups))).intersection(*map(set, sets))
        by = {place for number in common if (place := column(groups[number])) is not None}
        self._check(groups, child)
        for one in aggregates:
            self._check([one.get("filter", {}), *one.get("children", [])], child)
            self.refusals += check_aggregate(one, child, by)
        return grouped_rows(node, child)

    def _window(self, node: Node) -> Rows:
        child = self._child(node)
        rows = child
        for one in node["expressions"]:
            self._refuse_row_ids([one], child)
            self.refusals += check_window(one, child)
            rows = windowed_rows(one, child, rows)
        return rows

    def _cross_product(self, node: Node) -> Rows:
        left, right = self._child(node), self._child(node, 1)
        return product(left, right, left_keys=right.is_key(()), right_keys=left.is_key(()))

    def _any_join(self, node: Node) -> Rows:
        left, right = self._child(node), self._child(node, 1)
        self.refusals += check_all([node.get("condition", {})])
        return self._joined(node, left, right, [])

    def _comparison_join(self, node: Node) -> Rows:
        left, right = self._child(node), self._child(node, 1)
        conditions = node.get("conditions", [])
        sides = [one[side] for one in conditions for side in ("left", "right") if side in one]
        self._refuse_ambiguous("JOIN", sides)
        self._refuse_row_ids([one["left"] for one in conditions if "left" in one], left)
        self._refuse_row_ids([one["right"] for one in conditions if "right" in one], right)
        self.refusals += check_all([one["expression"] for one in conditions if "expression" in one])
        return self._joined(node, left, right, equal_columns(conditions))

    def _joined(
        self, node: Node, left: Rows, right: Rows, equal: Sequence[tuple[int, int]]
    ) -> Rows:
        if node["join_type"] not in KINDS:
            self._refuse("JOIN", f"a {node['join_type']} join is not known to be exact")
        return joined_rows(node, left, right, equal)

    def _asof_join(self, node: Node) -> Rows:
        left, right = self._child(node), self._child(node, 1)
        conditions = node["conditions"]
        self._refuse_ambiguous(
            "ASOF", [one[side] for one in conditions for side in ("left", "right")]
        )
        matched = [column(one["right"]) for one in conditions]
        if not right.is_key(place for place in matched if place is not None):
            self._refuse(
                "ASOF",
                f"the right side may have several rows at one instant: {TIES}",
                "two events of one time, 1 and 2: either of them",
                "a query with one row per key and instant as the right side: decide which of"
                " several events of one instant counts",
            )
        return asof_rows(node, left, right)

    def _union(self, node: Node) -> Rows:
        children = [self.rows(child) for child in node["children"]]
        # The same row may come from both sides, so no key survives.
        return Rows.of(children[0].types, payloads=common_payloads(children))

    def _except(self, node: Node) -> Rows:
        left = self._child(node)
        self._child(node, 1)
        if any(map(is_ambiguous, left.types)):
            self._refuse(
                node["type"].removeprefix("LOGICAL_"),
                f"of doubles: {ZEROS} count as one value or as two",
                ZEROS,
            )
        if node.get("setop_all") is False:
            return left
        return Rows.of(left.types, payloads=left.payloads)

    _intersect = _except


def _is_total(orders: Sequence[Node], rows: Rows, read: Sequence[int] | range) -> bool:
    """Whether rows that are equal by an order are one row, or agree on the columns ``read``."""
    by = {place for place in map(column, orders) if place is not None}
    return rows.determines(by, read)


def analyse(
    plan: Mapping[str, Any], tree: Any, keys: Mapping[str, Sequence[Sequence[str]]]
) -> tuple[list[Refusal], set[Read]]:
    """Why a plan's rows may not be exact, and what the plan reads of the JSON of events.

    A reason may occur more than once.

    Args:
        plan: The output of ``json_serialize_plan`` with ``optimize := false``.
        tree: The output of ``json_serialize_sql``.
        keys: The keys of each table, by its case-folded name.
    """
    analysis = Analysis(keys)
    for one in plan["plans"]:
        analysis.rows(one)
    return [*check_names(tree), *analysis.refusals], analysis.reads
