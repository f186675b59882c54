"""Whether a query can be computed entity by entity.

Then it may run over buckets of entities, and its results are concatenated.

A *carrier* is a column that holds, in every row, the entity of all rows that the row was computed
from; or that determines it, as ``spine_row`` and ``sequence`` do. A step that combines rows must do
so by a carrier: group by it, partition by it, join on it. What is not understood is a reason
against.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from eventlake.core.sql import folded
from eventlake.exactness.on_duckdb.carriers import Carriers, EntityRows
from eventlake.exactness.on_duckdb.expressions import Node, column, conjuncts, name_of
from eventlake.exactness.on_duckdb.joins import EQUALITIES, KINDS, equal_columns
from eventlake.exactness.on_duckdb.scans import columns_read
from eventlake.exactness.rows import is_ambiguous

_GENERATORS = frozenset({"range", "generate_series", "unnest"})
_KNOWN_REASONS = {
    "LIMIT": "LIMIT takes rows of all entities",
    "DELIM_GET": "a correlated subquery",
}


class Locality:
    """One traversal of one plan.

    Attributes:
        reasons: Why the query cannot be computed entity by entity; empty if it can.
    """

    def __init__(self, by: str, spine_by: str) -> None:
        """See ``carriers_of`` for the arguments."""
        self.reasons: list[str] = []
        self._by = folded(by)
        self._spine_by = folded(spine_by)
        self._entity_type: Any = None
        self._ctes: dict[int, EntityRows] = {}

    def rows(self, node: Node) -> EntityRows:
        """The rows that a node returns."""
        name = node["type"].removeprefix("LOGICAL_")
        rule: Callable[[Node], EntityRows] | None = getattr(self, f"_{name.casefold()}", None)
        if rule is None:
            unknown = f"{name.replace('_', ' ')} is not understood"
            return self._refused(_KNOWN_REASONS.get(name, unknown), node)
        rows = rule(node)
        kept = node.get("projection_map") or []
        return rows.projected(kept) if kept else rows

    def _refused(self, reason: str, node: Node) -> EntityRows:
        self.reasons.append(reason)
        children = [self.rows(child) for child in node.get("children", [])]
        # An entity that no column carries: no step above can combine rows by it.
        return EntityRows(sum(child.width for child in children), (Carriers(),))

    def _child(self, node: Node, number: int = 0) -> EntityRows:
        return self.rows(node["children"][number])

    def _require_carrier(self, rows: EntityRows, places: Iterable[int | None], what: str) -> None:
        """Note a step that combines rows by columns none of which is a carrier."""
        by = {place for place in places if place is not None}
        if rows.carriers and rows.one.all.isdisjoint(by):
            self.reasons.append(f"{what} combines rows of several entities; do it by {self._by}")

    # Sources

    def _get(self, node: Node) -> EntityRows:
        numbers = columns_read(node)
        name = name_of(node)
        if name == "seq_scan":
            rows = EntityRows(len(numbers), (self._scanned_carriers(node, numbers),))
        # The generator runs for each row of its child, which keeps its entity.
        elif name in _GENERATORS and node.get("children"):
            rows = EntityRows(len(numbers)).product(
                self._child(node).projected(node.get("projected_input", []))
            )
        elif name in _GENERATORS:
            rows = EntityRows(len(numbers))
        else:
            return self._refused(f"{name}() reads something other than events", node)
        return rows.projected(node["projection_ids"]) if node.get("projection_ids") else rows

    def _scanned_carriers(self, node: Node, numbers: Sequence[int | None]) -> Carriers:
        table = str(node["function_data"]["table"])
        is_spine = folded(table) == "spine"
        by = self._spine_by if is_spine else self._by
        names = [folded(str(name)) for name in node.get("names", [])]
        if by in names:
            # One entity must be one value in all tables, or the buckets would differ.
            kind = node["returned_types"][names.index(by)]
            if is_ambiguous(kind) or (self._entity_type and self._entity_type != kind):
                self.reasons.append(
                    f"the column {by} of {table} has an inexact type, or another than elsewhere"
                )
            self._entity_type = kind
        else:
            self.reasons.append(f"the table {table} has no column {by}")

        def named(name: str) -> frozenset[int]:
            return frozenset(
                place
                for place, number in enumerate(numbers)
                if number is not None and names[number] == name
            )

        if is_spine:
            return Carriers(named(by), spine_rows=named("spine_row"))
        return Carriers(named(by), sequences=named("sequence"))

    def _dummy_scan(self, _: Node) -> EntityRows:
        return EntityRows(1)

    def _empty_result(self, node: Node) -> EntityRows:
        return EntityRows(len(node.get("return_types", [])))

    def _expression_get(self, node: Node) -> EntityRows:
        self._child(node)
        return EntityRows(len(node["expr_types"]))

    def _cte_ref(self, node: Node) -> EntityRows:
        known = self._ctes.get(node["cte_index"])
        if known is None or known.width != len(node["chunk_types"]):
            self.reasons.append("recursion is not understood")
            return EntityRows(len(node["chunk_types"]), (Carriers(),))
        return known

    def _materialized_cte(self, node: Node) -> EntityRows:
        self._ctes[node["table_index"]] = self._child(node)
        return self._child(node, 1)

    # Row by row

    def _projection(self, node: Node) -> EntityRows:
        return self._child(node).projected([column(one) for one in node.get("expressions", [])])

    def _filter(self, node: Node) -> EntityRows:
        child = self._child(node)
        conditions = [part for one in node.get("expressions", []) for part in conjuncts(one)]
        pairs = [
            (column(one["children"][0]), column(one["children"][1]))
            for one in conditions
            if one.get("type") in EQUALITIES and len(one.get("children", [])) > 1
        ]
        return child.equated(
            [(left, right) for left, right in pairs if left is not None and right is not None]
        )

    def _unnest(self, node: Node) -> EntityRows:
        child = self._child(node)
        return EntityRows(child.width + len(node["expressions"]), child.carriers)

    def _order_by(self, node: Node) -> EntityRows:
        return self._child(node)

    # Several rows

    def _aggregate_and_group_by(self, node: Node) -> EntityRows:
        child = self._child(node)
        groups = [column(one) for one in node.get("groups", [])]
        # Only a column that is in all grouping sets separates the groups of each of them.
        common = set(range(len(groups))).intersection(*map(set, node.get("grouping_sets", [])))
        what = "GROUP BY" if groups else "an aggregate over all rows"
        self._require_carrier(child, [groups[number] for number in common], what)
        computed = len(node.get("expressions", [])) + len(node.get("grouping_functions", []))
        kept = [groups[number] if number in common else None for number in range(len(groups))]
        return child.projected([*kept, *([None] * computed)])

    def _window(self, node: Node) -> EntityRows:
        child = self._child(node)
        for one in node["expressions"]:
            partitions = [column(part) for part in one.get("partitions", [])]
            self._require_carrier(child, partitions, "a window")
        return EntityRows(child.width + len(node["expressions"]), child.carriers)

    def _distinct(self, node: Node) -> EntityRows:
        child = self._child(node)
        targets = [column(target) for target in node["distinct_targets"]]
        self._require_carrier(child, targets, "DISTINCT")
        return child

    def _cross_product(self, node: Node) -> EntityRows:
        # A condition that comes later may equate the entities of both sides.
        return self._child(node).product(self._child(node, 1))

    def _comparison_join(self, node: Node) -> EntityRows:
        left, right = self._child(node), self._child(node, 1)
        kind = node["join_type"]
        conditions = node.get("conditions", [])
        equal = equal_columns(conditions)
        both = left.product(right).equated([(one, left.width + other) for one, other in equal])
        # EXISTS compares without nulls and is a semi join. IN becomes null if any row on the right
        # is null, whatever its entity.
        null_safe = all(one.get("comparison") == "COMPARE_NOT_DISTINCT_FROM" for one in conditions)
        if kind == "MARK" and null_safe:
            kind = "SEMI"
        if kind != "INNER" or node["type"] == "LOGICAL_ASOF_JOIN":
            self._check_join(kind, left, right, both)
        if kind in {"SEMI", "ANTI", "MARK"}:
            shown = _output(left, node, "left_projection_map")
            return EntityRows(shown.width + (node["join_type"] == "MARK"), shown.carriers)
        if kind in {"RIGHT_SEMI", "RIGHT_ANTI"}:
            return _output(right, node, "right_projection_map")
        # The columns of the other side are null for rows without a partner.
        never_null: frozenset[int] = frozenset()
        if kind in {"INNER", "LEFT", "SINGLE"}:
            never_null |= frozenset(range(left.width))
        if kind in {"INNER", "RIGHT"}:
            never_null |= frozenset(range(left.width, both.width))
        kept = tuple(one.mapped(lambda place: {place} & never_null) for one in both.carriers)
        return EntityRows(both.width, kept).projected(_outputs(node, left, right))

    def _check_join(self, kind: str, left: EntityRows, right: EntityRows, both: EntityRows) -> None:
        """Check a join that keeps rows without a partner, or that picks among partners.

        Each side must have one entity per row before the join, and the join must equate them.
        """
        if kind == "MARK":
            self.reasons.append(
                "IN with a subquery looks at nulls of all entities; write EXISTS or a join"
            )
        elif kind not in KINDS:
            self.reasons.append(f"a {kind} join is not understood")
        outer, other = (right, left) if kind.startswith("RIGHT") else (left, right)
        # A side that reads no table is complete in every bucket: looking rows up in it is fine,
        # but keeping its rows would repeat them in every bucket.
        looked_up = outer.carriers and not other.carriers and kind not in {"OUTER", "FULL"}
        if len(left.carriers) > 1 or len(right.carriers) > 1 or len(both.carriers) > 1:
            self.reasons.append(f"a {kind} join that is not on {self._by}")
        elif both.carriers and not (outer.carriers and other.carriers) and not looked_up:
            self.reasons.append(f"a {kind} join would repeat rows of no entity for every entity")

    def _asof_join(self, node: Node) -> EntityRows:
        return self._comparison_join(node)

    def _any_join(self, node: Node) -> EntityRows:
        left, right = self._child(node), self._child(node, 1)
        if (left.carriers and right.carriers) or node["join_type"] != "INNER":
            self.reasons.append(f"a join that is not on {self._by}")
        return left.product(right).projected(_outputs(node, left, right))

    def _union(self, node: Node) -> EntityRows:
        children = [self.rows(child) for child in node["children"]]
        if not any(child.carriers for child in children):
            return children[0]
        if not all(child.carriers for child in children):
            self.reasons.append("a UNION with rows of no entity")
        if any(len(child.carriers) > 1 for child in children):
            self.reasons.append(f"a join that is not on {self._by}")
        common = children[0].one
        for child in children[1:]:
            common = common.common(child.one)
        if not node.get("setop_all", True) and not common.all:
            self.reasons.append(
                f"UNION combines rows of several entities; select {self._by}, or write UNION ALL"
            )
        return EntityRows(children[0].width, (common,))

    def _except(self, node: Node) -> EntityRows:
        name = node["type"].removeprefix("LOGICAL_")
        left, right = self._child(node), self._child(node, 1)
        if not (left.carriers or right.carriers):
            return left
        common = left.one.common(right.one)
        if not common.all:
            self.reasons.append(f"{name} combines rows of several entities; select {self._by}")
        return EntityRows(left.width, (common,))

    _intersect = _except


def _outputs(node: Node, left: EntityRows, right: EntityRows) -> list[int]:
    """The columns that a join returns, by their places in the product of both sides."""
    return [
        *(node.get("left_projection_map") or range(left.width)),
        *(left.width + place for place in node.get("right_projection_map") or range(right.width)),
    ]


def _output(rows: EntityRows, node: Node, name: str) -> EntityRows:
    return rows.projected(node[name]) if node.get(name) else rows


def carriers_of(plan: Mapping[str, Any], by: str, spine_by: str) -> tuple[Carriers, list[str]]:
    """The carriers of a query's rows, and why it cannot be computed entity by entity.

    Args:
        plan: The output of ``json_serialize_plan`` with ``optimize := false``.
        by: The column that names the entity in every table of events.
        spine_by: The column that names it in the spine.

    Returns:
        The carriers, by the places of the result's columns; and the reasons, none if it can.
    """
    walk = Locality(by, spine_by)
    rows = [walk.rows(one) for one in plan["plans"]][-1]
    if not rows.carriers:
        walk.reasons.append("it reads no table")
    elif len(rows.carriers) > 1:
        walk.reasons.append(f"a join that is not on {by}")
    return rows.one, list(dict.fromkeys(walk.reasons))
