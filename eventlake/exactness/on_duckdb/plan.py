"""The nodes of a bound plan, from the leaves up: what each needs to be exact, and what is known of the rows that it puts out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

from eventlake.exactness.on_duckdb.aggregates import check_aggregate, check_window
from eventlake.exactness.on_duckdb.expressions import (
    ROW_ID,
    Node,
    anded,
    check_all,
    column,
    columns_in,
    is_constant,
    name_of,
    places_read,
    type_of,
    unbound,
)
from eventlake.exactness.on_duckdb.json_text import Read, among, check_json, payload_of
from eventlake.exactness.refusals import DECLARED, ENDS_IN_A_KEY, TIES, Refusal
from eventlake.exactness.rows import EVENT_JSON, Payload, Rows, beside, either, is_loose

_ONE_SIDED = frozenset({"SEMI", "ANTI", "MARK"})
_ROW_ID_TYPE = {"id": "ROWID"}
_MARK = {"id": "BOOLEAN"}


class Analysis:
    """One walk over one plan.

    Attributes:
        refusals: What was found not to be exact.
        reads: What is read of the JSON of events.
    """

    def __init__(self, keys: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """``keys``: per table, case folded, sets of columns no two rows agree on."""
        self.refusals: list[Refusal] = []
        self.reads: set[Read] = set()
        self._keys = keys
        self._shared: dict[int, Rows] = {}
        self._inputs: list[list[Rows]] = [[]]

    def rows(self, node: Node) -> Rows:
        """The rows that a node puts out; what is not exact about it, or below, is noted."""
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
        made = rule(node)
        self._check_json(node, self._inputs.pop())
        chosen = node.get("projection_map") or []
        made = made.cut(chosen) if chosen else made
        self._inputs[-1].append(made)
        return made

    def _check_json(self, node: Node, inputs: Sequence[Rows]) -> None:
        """Notes what a node's own expressions read of JSON."""
        both = reduce(
            lambda left, right: beside(left, right, left_keys=False, right_keys=False),
            inputs,
            Rows.of([]),
        )
        if node["type"] == "LOGICAL_FILTER":
            both = among(both, [part for one in node.get("expressions", []) for part in anded(one)])
        for name, part in node.items():
            if name == "children":
                continue
            sides = (
                [
                    (one, "left", "right")
                    for one in part
                    if isinstance(one, Mapping) and "left" in one
                ]
                if name == "conditions"
                else []
            )
            for one, *named in sides:
                for side, rows in zip(named, inputs, strict=False):
                    self._note_json(one.get(side), rows)
            self._note_json(
                [one for one in part if "left" not in one] if name == "conditions" else part, both
            )

    def _note_json(self, node: Any, rows: Rows) -> None:
        refusals, reads = check_json(node, rows)
        self.refusals += refusals
        self.reads |= reads

    def _check(self, nodes: Sequence[Node], rows: Rows) -> None:
        self.refusals += check_all(nodes)
        self._refuse_row_ids(nodes, rows)

    def _refuse_row_ids(self, nodes: Sequence[Node], rows: Rows) -> None:
        if any(
            rows.types[place] is _ROW_ID_TYPE
            for one in nodes
            for place in columns_in(one)
            if place < len(rows.types)
        ):
            self._refuse("rowid", "it says where a row stands in memory", "", "sequence")

    def _refuse(self, what: str, why: str, example: str = "", instead: str = "") -> None:
        self.refusals.append(Refusal(what, why, example, instead))

    def _child(self, node: Node, number: int = 0) -> Rows:
        return self.rows(node["children"][number])

    # Leaves

    def _get(self, node: Node) -> Rows:
        places = places_read(node)
        names = node.get("names", [])
        name = name_of(node)
        # Where no column is read at all the place of the row stands in for one.
        types = [
            node["returned_types"][place] if place < ROW_ID else _ROW_ID_TYPE for place in places
        ]
        if name == "seq_scan":
            table = str(node["function_data"]["table"]).casefold()
            read = [names[place] if place < ROW_ID else "" for place in places]
            keys = [
                [read.index(part) for part in key]
                for key in self._keys.get(table, ())
                if set(key) <= set(read)
            ]
            payload = Payload(read.index("type") if "type" in read else None)
            payloads = {
                place: payload
                for place, one in enumerate(read)
                if table == "events" and one in EVENT_JSON
            }
            return self._picked(node, Rows.of(types, keys, payloads=payloads))
        if name not in {"range", "generate_series", "unnest"}:
            self._refuse(f"{name}()", "a table function that reads something else than the history")
        if node.get("children"):
            # A table function over the values of every row, which come out beside its own.
            child = self._child(node)
            return self._picked(
                node,
                Rows.of(
                    [*types, *(child.types[place] for place in node.get("projected_input", []))]
                ),
            )
        return self._picked(
            node,
            Rows.of(types, [range(len(types))] if name in {"range", "generate_series"} else ()),
        )

    @staticmethod
    def _picked(node: Node, rows: Rows) -> Rows:
        return rows.cut(node["projection_ids"]) if node.get("projection_ids") else rows

    def _dummy_scan(self, _: Node) -> Rows:
        return Rows.of([{"id": "INTEGER"}], [()])

    def _empty_result(self, node: Node) -> Rows:
        return Rows.of(node.get("return_types", []), [()])

    def _expression_get(self, node: Node) -> Rows:
        self._child(node)
        self.refusals += check_all(node["expressions"])
        return Rows.of(node["expr_types"])

    def _cte_ref(self, node: Node) -> Rows:
        known = self._shared.get(node["cte_index"])
        if known is None:
            self._refuse(
                "WITH RECURSIVE",
                "a recursion is not understood",
                "",
                "range() or generate_series()",
            )
            return Rows.of(node["chunk_types"])
        return (
            known if len(known.types) == len(node["chunk_types"]) else Rows.of(node["chunk_types"])
        )

    def _materialized_cte(self, node: Node) -> Rows:
        self._shared[node["table_index"]] = self._child(node)
        return self._child(node, 1)

    # One value after the other

    def _projection(self, node: Node) -> Rows:
        child = self._child(node)
        expressions = node.get("expressions", [])
        self._check(expressions, child)
        return child.taken(
            [column(one) for one in expressions],
            [type_of(one) for one in expressions],
            _payloads(expressions, child),
        )

    def _filter(self, node: Node) -> Rows:
        child = self._child(node)
        conditions = [part for one in node.get("expressions", []) for part in anded(one)]
        self._check(conditions, child)
        equal = [
            one["children"]
            for one in conditions
            if one.get("type") == "COMPARE_EQUAL" and len(one.get("children", [])) > 1
        ]
        pairs = [(column(left), column(right)) for left, right in equal]
        same = [(left, right) for left, right in pairs if left is not None and right is not None]
        fixed = [
            left
            for left, (_, right) in zip((one for one, _ in pairs), equal, strict=True)
            if left is not None and is_constant(right)
        ]
        return among(child.equated(same).without(fixed), conditions)

    def _unnest(self, node: Node) -> Rows:
        child = self._child(node)
        expressions = node["expressions"]
        self.refusals += check_all(expressions)
        start = len(child.types)
        made = Rows.of(
            (*child.types, *(type_of(one) for one in expressions)),
            (),
            (*child.same, *range(start, start + len(expressions))),
            child.payloads,
        )
        return made.with_payloads(_payloads(expressions, child, start))

    # Order

    def _order_by(self, node: Node) -> Rows:
        child = self._child(node)
        self._check([order["expression"] for order in node["orders"]], child)
        return child

    def _limit(self, node: Node) -> Rows:
        below = node["children"][0]
        child = self._child(node)
        orders, rows = self._ordering(below, child)
        if child.tells_apart(()):
            pass  # there is one row at most
        elif orders is None:
            self._refuse(
                "LIMIT",
                "without an ORDER BY any rows may come first",
                "a and b: either of them",
                ENDS_IN_A_KEY,
            )
        elif not _is_total(orders, rows, range(len(rows.types))):
            self._refuse(
                "LIMIT", f"its ORDER BY is not total: {TIES}", "two rows of one time", ENDS_IN_A_KEY
            )
        for bound in ("limit_val", "offset_val"):
            if node.get(bound, {}).get("type") not in {"CONSTANT_VALUE", "UNSET", None}:
                self._refuse("LIMIT", "a number of rows that is computed", "", "a number")
        one = node.get("limit_val", {})
        return (
            child.added([], [()])
            if one.get("constant_integer") == 1 and one.get("type") == "CONSTANT_VALUE"
            else child
        )

    def _ordering(self, node: Node, rows: Rows) -> tuple[list[Node] | None, Rows]:
        """What a node's rows are ordered by, and the rows that the order is over: a projection may take columns away after it."""
        if node["type"] == "LOGICAL_ORDER_BY":
            return [order["expression"] for order in node["orders"]], rows
        if (
            node["type"] == "LOGICAL_PROJECTION"
            and node["children"][0]["type"] == "LOGICAL_ORDER_BY"
        ):
            silent = Analysis(self._keys)
            silent._shared = self._shared
            return self._ordering(node["children"][0], silent.rows(node["children"][0]))
        return None, rows

    def _distinct(self, node: Node) -> Rows:
        child = self._child(node)
        targets = node["distinct_targets"]
        self._refuse_loose("DISTINCT", targets)
        kept = [place for place in (column(target) for target in targets) if place is not None]
        if node["distinct_type"] == "DISTINCT_ON":
            orders = [order["expression"] for order in node.get("order_by", {}).get("orders", [])]
            if not _is_total([*targets, *orders], child, range(len(child.types))):
                example = "two rows of one subject and time"
                self._refuse(
                    "DISTINCT ON", f"which row of several is kept: {TIES}", example, ENDS_IN_A_KEY
                )
        elif not child.are_told_by(kept, range(len(child.types))):
            why = "an ORDER BY of what is not selected: which of several rows says where a value comes is luck"
            self._refuse(
                "DISTINCT",
                why,
                "a at 1 and 3, b at 2",
                "GROUP BY in place of DISTINCT, and ORDER BY min(…) or max(…)",
            )
        return child.added([], [kept]) if len(kept) == len(targets) else child

    def _refuse_loose(self, what: str, nodes: Sequence[Node]) -> None:
        self.refusals += check_all(nodes)
        if any(is_loose(type_of(one)) for one in nodes):
            why = "by a double, or what else can be equal and not the same: 0.0 and -0.0, and which of them stays is luck"
            self._refuse(what, why, "0.0 and -0.0", DECLARED)

    # Several rows

    def _aggregate_and_group_by(self, node: Node) -> Rows:
        child = self._child(node)
        groups, aggregates = node.get("groups", []), node.get("expressions", [])
        self._refuse_loose("GROUP BY", groups)
        sets = node.get("grouping_sets", [])
        # Of several grouping sets only what all of them have in common is one value in every group.
        common = (
            set(range(len(groups))).intersection(*map(set, sets))
            if sets
            else set(range(len(groups)))
        )
        by = {place for number in common if (place := column(groups[number])) is not None}
        self._check(groups, child)
        for one in aggregates:
            self._check([one.get("filter", {}), *one.get("children", [])], child)
            self.refusals += check_aggregate(one, child, by)
        types = [type_of(one) for one in (*groups, *aggregates)]
        types += [{"id": "BIGINT"} for _ in node.get("grouping_functions", [])]
        if not groups:
            return Rows.of(types, [()], payloads=_payloads(aggregates, child))
        if len(sets) > 1:
            return Rows.of(types)
        kept = [column(one) for one in groups]
        columns = [*kept, *([None] * (len(types) - len(kept)))]
        return child.taken(columns, types, _payloads(aggregates, child, len(groups))).added(
            [], [range(len(groups))]
        )

    def _window(self, node: Node) -> Rows:
        child = self._child(node)
        made = child
        for one in node["expressions"]:
            self._refuse_row_ids([one], child)
            self.refusals += check_window(one, child)
            by = [column(part) for part in one.get("partitions", [])]
            numbered = (
                one["type"] == "WINDOW_ROW_NUMBER" and None not in by and not one.get("arg_orders")
            )
            place = len(made.types)
            made = made.added(
                [type_of(one)],
                [[*(part for part in by if part is not None), place]] if numbered else [],
            )
            made = made.with_payloads(_payloads([one], child, place))
        return made

    def _cross_product(self, node: Node) -> Rows:
        left, right = self._child(node), self._child(node, 1)
        return beside(left, right, left_keys=right.tells_apart(()), right_keys=left.tells_apart(()))

    def _any_join(self, node: Node) -> Rows:
        left, right = self._child(node), self._child(node, 1)
        self.refusals += check_all([node.get("condition", {})])
        return self._joined(node, left, right, [])

    def _comparison_join(self, node: Node) -> Rows:
        left, right = self._child(node), self._child(node, 1)
        conditions = node.get("conditions", [])
        sides = [one[side] for one in conditions for side in ("left", "right") if side in one]
        self._refuse_loose("JOIN", sides)
        self._refuse_row_ids([one["left"] for one in conditions if "left" in one], left)
        self._refuse_row_ids([one["right"] for one in conditions if "right" in one], right)
        self.refusals += check_all([one["expression"] for one in conditions if "expression" in one])
        equal = [
            one
            for one in conditions
            if one.get("comparison") in {"COMPARE_EQUAL", "COMPARE_NOT_DISTINCT_FROM"}
        ]
        pairs = [(column(one["left"]), column(one["right"])) for one in equal]
        return self._joined(
            node,
            left,
            right,
            [(one, other) for one, other in pairs if one is not None and other is not None],
        )

    def _joined(self, node: Node, left: Rows, right: Rows, pairs: list[tuple[int, int]]) -> Rows:
        kind = node["join_type"]
        shown = [
            rows.cut(node[name]) if node.get(name) else rows
            for rows, name in ((left, "left_projection_map"), (right, "right_projection_map"))
        ]
        if kind in _ONE_SIDED:
            return shown[0].added([_MARK]) if kind == "MARK" else shown[0]
        if kind in {"RIGHT_SEMI", "RIGHT_ANTI"}:
            return shown[1]
        left_once, right_once = (
            left.tells_apart(one for one, _ in pairs),
            right.tells_apart(other for _, other in pairs),
        )
        if kind == "SINGLE":
            return beside(shown[0], shown[1], left_keys=True, right_keys=False)
        outer_left, outer_right = kind == "LEFT", kind == "RIGHT"
        if kind in {"OUTER", "FULL"}:
            # A row without its other half has nulls where the other half's key would be, and so has
            # one without this half.
            return replace(
                beside(shown[0], shown[1], left_keys=False, right_keys=False), keys=frozenset()
            )
        made = beside(
            shown[0],
            shown[1],
            left_keys=right_once and not outer_right,
            right_keys=left_once and not outer_left,
        )
        if kind == "INNER":
            places = [
                list(node.get(name) or range(len(rows.types)))
                for rows, name in ((left, "left_projection_map"), (right, "right_projection_map"))
            ]
            start = len(shown[0].types)
            kept = [
                (places[0].index(one), start + places[1].index(other))
                for one, other in pairs
                if one in places[0] and other in places[1]
            ]
            return made.equated(kept)
        if kind not in {"LEFT", "RIGHT"}:
            self._refuse("JOIN", f"a {kind} join is not known to be exact")
        return made

    def _asof_join(self, node: Node) -> Rows:
        left, right = self._child(node), self._child(node, 1)
        conditions = node["conditions"]
        self._refuse_loose("ASOF", [one[side] for one in conditions for side in ("left", "right")])
        if not right.tells_apart(
            place for one in conditions if (place := column(one["right"])) is not None
        ):
            why = f"the right side may have several rows at one instant: {TIES}"
            instead = "a query with one row per key and instant as the right side: decide which of several events of one instant counts"
            self._refuse("ASOF", why, "two events of one time, 1 and 2: either of them", instead)
        shown = [
            rows.cut(node[name]) if node.get(name) else rows
            for rows, name in ((left, "left_projection_map"), (right, "right_projection_map"))
        ]
        made = beside(
            shown[0], shown[1], left_keys=node["join_type"] in {"INNER", "LEFT"}, right_keys=False
        )
        return made if node["join_type"] in {"INNER", "LEFT"} else replace(made, keys=frozenset())

    def _union(self, node: Node) -> Rows:
        children = [self.rows(child) for child in node["children"]]
        return Rows.of(children[0].types, payloads=either(children))

    def _except(self, node: Node) -> Rows:
        left = self._child(node)
        self._child(node, 1)
        if any(map(is_loose, left.types)):
            self._refuse(
                node["type"].removeprefix("LOGICAL_"),
                "of doubles: 0.0 and -0.0 are one value and two",
                "0.0 and -0.0",
            )
        return (
            left if node.get("setop_all") is False else Rows.of(left.types, payloads=left.payloads)
        )

    _intersect = _except


def _is_total(orders: Sequence[Node], rows: Rows, differing: Sequence[int] | range) -> bool:
    """Whether an order leaves no two rows equal, or none that differ in the columns that count."""
    by = {place for place in map(column, orders) if place is not None}
    return rows.are_told_by(by, differing)


def _payloads(expressions: Sequence[Node], rows: Rows, start: int = 0) -> dict[int, Payload]:
    """Which of some expressions hand on JSON of events, by their places from ``start``."""
    found = {start + place: payload_of(one, rows) for place, one in enumerate(expressions)}
    return {place: one for place, one in found.items() if one is not None}


def analyse(
    plan: Mapping[str, Any], tree: Any, keys: Mapping[str, Sequence[Sequence[str]]]
) -> tuple[list[Refusal], set[Read]]:
    """Why the rows of a serialised plan may not be exact, some of it more than once, and what it reads of the JSON of events.

    Args:
        plan: From ``json_serialize_plan`` with ``optimize := false``.
        tree: From ``json_serialize_sql``.
        keys: Per table, case folded, sets of columns no two of its rows agree on.
    """
    analysis = Analysis(keys)
    for one in plan["plans"]:
        analysis.rows(one)
    return [*unbound(tree), *analysis.refusals], analysis.reads
