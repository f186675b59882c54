"""Whether a query is a function of one entity's rows at a time: then it may be run over some entities, and the results put together.

A *carrier* is a column that holds, in every row, the entity of all the rows that it was made of,
or, as ``spine_row`` and ``sequence`` do, tells it. A step that puts rows together must do so by a
carrier: group and partition by it, join by one that holds the entity. What is not understood is a
reason against.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eventlake.core.sql import folded
from eventlake.exactness.on_duckdb.expressions import (
    ROW_ID,
    Node,
    anded,
    column,
    name_of,
    places_read,
)
from eventlake.exactness.rows import is_loose

_GENERATORS = frozenset({"range", "generate_series", "unnest"})
_EQUAL = frozenset({"COMPARE_EQUAL", "COMPARE_NOT_DISTINCT_FROM"})


@dataclass(frozen=True, slots=True)
class EntityPlaces:
    """The columns that carry one entity.

    Attributes:
        holding: Those that hold it.
        spine_rows: Those that hold the number of a row of the spine, which is about one entity.
        sequences: Those that hold the sequence of an event, which is about one entity.
    """

    holding: frozenset[int] = frozenset()
    spine_rows: frozenset[int] = frozenset()
    sequences: frozenset[int] = frozenset()

    def mapped(self, places: Callable[[int], Iterable[int]]) -> "EntityPlaces":
        """The same columns at other places."""
        kinds = (self.holding, self.spine_rows, self.sequences)
        return EntityPlaces(
            *(frozenset(to for place in kind for to in places(place)) for kind in kinds)
        )

    def meets(self, other: "EntityPlaces", own: int, others: int) -> bool:
        """Whether one value in a column of each says that both are about one entity."""
        kinds = (
            (self.holding, other.holding),
            (self.spine_rows, other.spine_rows),
            (self.sequences, other.sequences),
        )
        return any(own in mine and others in theirs for mine, theirs in kinds)

    def joined(self, other: "EntityPlaces") -> "EntityPlaces":
        """The columns of both, which carry the same entity."""
        return EntityPlaces(
            self.holding | other.holding,
            self.spine_rows | other.spine_rows,
            self.sequences | other.sequences,
        )

    def common(self, other: "EntityPlaces") -> "EntityPlaces":
        """The columns that carry it in both."""
        return EntityPlaces(
            self.holding & other.holding,
            self.spine_rows & other.spine_rows,
            self.sequences & other.sequences,
        )

    @property
    def all(self) -> frozenset[int]:
        """Every one of them."""
        return self.holding | self.spine_rows | self.sequences


@dataclass(frozen=True, slots=True)
class Parts:
    """The rows of a step.

    Attributes:
        width: How many columns they have.
        carriers: One for every entity that a row is made of; none where it is made of none, because
            it comes from no table.
    """

    width: int
    carriers: tuple[EntityPlaces, ...] = ()

    def taken(self, columns: Sequence[int | None]) -> "Parts":
        """The rows with these columns in place of their own; None for one that is computed."""
        return Parts(
            len(columns),
            tuple(
                one.mapped(lambda place: [at for at, of in enumerate(columns) if of == place])
                for one in self.carriers
            ),
        )

    def equated(self, pairs: Iterable[tuple[int, int]]) -> "Parts":
        """Those of the rows that have the same value in both columns of each pair."""
        left = list(self.carriers)
        for one, other in pairs:
            met = [
                (first, second)
                for first in left
                for second in left
                if first is not second and first.meets(second, one, other)
            ]
            for first, second in met[:1]:
                left = [
                    first.joined(second),
                    *(
                        carrier
                        for carrier in left
                        if carrier is not first and carrier is not second
                    ),
                ]
        return Parts(self.width, tuple(left))

    def beside(self, other: "Parts") -> "Parts":
        """Every row with every row of another step."""
        moved = (one.mapped(lambda place: [place + self.width]) for one in other.carriers)
        return Parts(self.width + other.width, (*self.carriers, *moved))

    @property
    def one(self) -> EntityPlaces:
        """The carrier of rows about one entity; one without columns where there are several entities, or none."""
        return self.carriers[0] if len(self.carriers) == 1 else EntityPlaces()


class Locality:
    """One walk over one plan.

    Attributes:
        reasons: Why it is no function of one entity's rows at a time; empty where it is one.
    """

    def __init__(self, by: str, spine_by: str) -> None:
        """``by`` and ``spine_by``: the columns that name the entity, in every table of events that is read and in the spine."""
        self.reasons: list[str] = []
        self._by = folded(by)
        self._spine_by = folded(spine_by)
        self._type: Any = None
        self._shared: dict[int, Parts] = {}

    def parts(self, node: Node) -> Parts:
        """The rows that a step puts out."""
        name = node["type"].removeprefix("LOGICAL_")
        rule: Callable[[Node], Parts] | None = getattr(self, f"_{name.casefold()}", None)
        if rule is None:
            known = {
                "LIMIT": "LIMIT takes rows of all entities",
                "DELIM_GET": "a correlated subquery",
            }
            return self._not_local(
                known.get(name, f"{name.replace('_', ' ')} is not understood"), node
            )
        made = rule(node)
        chosen = node.get("projection_map") or []
        return made.taken(chosen) if chosen else made

    def _not_local(self, reason: str, node: Node) -> Parts:
        self.reasons.append(reason)
        children = [self.parts(child) for child in node.get("children", [])]
        return Parts(sum(child.width for child in children), (EntityPlaces(),))

    def _child(self, node: Node, number: int = 0) -> Parts:
        return self.parts(node["children"][number])

    def _need(self, parts: Parts, places: Iterable[int | None], what: str) -> None:
        """A step that puts rows together does so by a carrier."""
        if parts.carriers and parts.one.all.isdisjoint(
            place for place in places if place is not None
        ):
            self.reasons.append(
                f"{what} puts rows of several entities together; do it by {self._by}"
            )

    # Leaves

    def _get(self, node: Node) -> Parts:
        places = places_read(node)
        names = [folded(str(name)) for name in node.get("names", [])]
        name = name_of(node)
        if name == "seq_scan":
            table = str(node["function_data"]["table"])
            by = self._spine_by if folded(table) == "spine" else self._by
            if by not in names:
                self.reasons.append(f"the table {table} has no column {by}")
            else:
                kind = node["returned_types"][names.index(by)]
                if is_loose(kind) or (self._type and self._type != kind):
                    self.reasons.append(
                        f"the column {by} of {table} has a type that names nothing exactly, or another than elsewhere"
                    )
                self._type = kind
            read = {at: names[place] for at, place in enumerate(places) if place < ROW_ID}
            made = Parts(len(places), (self._carrier(folded(table), read),))
        elif name in _GENERATORS and node.get("children"):
            made = Parts(len(places)).beside(
                self._child(node).taken(node.get("projected_input", []))
            )
        elif name in _GENERATORS:
            made = Parts(len(places))
        else:
            return self._not_local(f"{name}() reads something else than events", node)
        return made.taken(node["projection_ids"]) if node.get("projection_ids") else made

    def _carrier(self, table: str, read: Mapping[int, str]) -> EntityPlaces:
        def named(name: str) -> frozenset[int]:
            return frozenset(at for at, one in read.items() if one == name)

        if table == "spine":
            return EntityPlaces(named(self._spine_by), named("spine_row"))
        return EntityPlaces(named(self._by), sequences=named("sequence"))

    def _dummy_scan(self, _: Node) -> Parts:
        return Parts(1)

    def _empty_result(self, node: Node) -> Parts:
        return Parts(len(node.get("return_types", [])))

    def _expression_get(self, node: Node) -> Parts:
        self._child(node)
        return Parts(len(node["expr_types"]))

    def _cte_ref(self, node: Node) -> Parts:
        known = self._shared.get(node["cte_index"])
        if known is None or known.width != len(node["chunk_types"]):
            self.reasons.append("a recursion is not understood")
            return Parts(len(node["chunk_types"]), (EntityPlaces(),))
        return known

    def _materialized_cte(self, node: Node) -> Parts:
        self._shared[node["table_index"]] = self._child(node)
        return self._child(node, 1)

    # One row after the other

    def _projection(self, node: Node) -> Parts:
        return self._child(node).taken([column(one) for one in node.get("expressions", [])])

    def _filter(self, node: Node) -> Parts:
        child = self._child(node)
        conditions = [part for one in node.get("expressions", []) for part in anded(one)]
        equal = [
            one["children"]
            for one in conditions
            if one.get("type") in _EQUAL and len(one.get("children", [])) > 1
        ]
        pairs = [(column(left), column(right)) for left, right in equal]
        return child.equated(
            [(left, right) for left, right in pairs if left is not None and right is not None]
        )

    def _unnest(self, node: Node) -> Parts:
        child = self._child(node)
        return Parts(child.width + len(node["expressions"]), child.carriers)

    def _order_by(self, node: Node) -> Parts:
        return self._child(node)

    # Several rows

    def _aggregate_and_group_by(self, node: Node) -> Parts:
        child = self._child(node)
        groups, sets = (
            [column(one) for one in node.get("groups", [])],
            node.get("grouping_sets", []),
        )
        common = (
            set(range(len(groups))).intersection(*map(set, sets))
            if sets
            else set(range(len(groups)))
        )
        self._need(
            child,
            [groups[number] for number in common],
            "GROUP BY" if groups else "an aggregate over all rows",
        )
        width = (
            len(groups) + len(node.get("expressions", [])) + len(node.get("grouping_functions", []))
        )
        kept = [groups[at] if at in common else None for at in range(len(groups))]
        return child.taken([*kept, *([None] * (width - len(kept)))])

    def _window(self, node: Node) -> Parts:
        child = self._child(node)
        for one in node["expressions"]:
            self._need(child, [column(part) for part in one.get("partitions", [])], "a window")
        return Parts(child.width + len(node["expressions"]), child.carriers)

    def _distinct(self, node: Node) -> Parts:
        child = self._child(node)
        self._need(child, [column(target) for target in node["distinct_targets"]], "DISTINCT")
        return child

    def _cross_product(self, node: Node) -> Parts:
        # Whether a row is about one entity may be said by a condition that comes later.
        return self._child(node).beside(self._child(node, 1))

    def _comparison_join(self, node: Node) -> Parts:
        left, right = self._child(node), self._child(node, 1)
        kind = node["join_type"]
        conditions = node.get("conditions", [])
        equal = [one for one in conditions if one.get("comparison") in _EQUAL]
        pairs = [(column(one["left"]), column(one["right"])) for one in equal]
        places = [
            (one, left.width + other)
            for one, other in pairs
            if one is not None and other is not None
        ]
        both = left.beside(right).equated(places)
        if kind == "MARK":
            # EXISTS asks without nulls; IN says null where there is one, of whichever entity.
            kind = (
                "SEMI"
                if all(one.get("comparison") == "COMPARE_NOT_DISTINCT_FROM" for one in conditions)
                else kind
            )
        if kind != "INNER" or node["type"] == "LOGICAL_ASOF_JOIN":
            self._check_join(kind, left, right, both)
        if kind in {"SEMI", "ANTI", "MARK"}:
            shown = _shown(left, node, "left_projection_map")
            return Parts(shown.width + (node["join_type"] == "MARK"), shown.carriers)
        if kind in {"RIGHT_SEMI", "RIGHT_ANTI"}:
            return _shown(right, node, "right_projection_map")
        kept = {
            "INNER": range(both.width),
            "LEFT": range(left.width),
            "SINGLE": range(left.width),
            "RIGHT": range(left.width, both.width),
        }
        # The other side's columns are null where it has no row.
        sure = frozenset(kept.get(kind, ()))
        both = Parts(
            both.width, tuple(one.mapped(lambda place: {place} & sure) for one in both.carriers)
        )
        return both.taken(_shown_of_both(node, left, right))

    def _check_join(self, kind: str, left: Parts, right: Parts, both: Parts) -> None:
        """A join that keeps rows without a partner, or picks among partners: what it keeps must be about one entity before, and by what."""
        if kind not in {
            "INNER",
            "LEFT",
            "SINGLE",
            "RIGHT",
            "SEMI",
            "ANTI",
            "RIGHT_SEMI",
            "RIGHT_ANTI",
            "OUTER",
            "FULL",
        }:
            why = (
                "IN with a subquery looks at nulls of all entities; write EXISTS or a join"
                if kind == "MARK"
                else f"a {kind} join is not understood"
            )
            self.reasons.append(why)
        led, other = (right, left) if kind.startswith("RIGHT") else (left, right)
        # A side without a table is whole in every part: it may be looked up, not led by.
        looked_up = led.carriers and not other.carriers and kind not in {"OUTER", "FULL"}
        if len(left.carriers) > 1 or len(right.carriers) > 1 or len(both.carriers) > 1:
            self.reasons.append(f"a {kind} join that is not on {self._by}")
        elif both.carriers and not (led.carriers and other.carriers) and not looked_up:
            self.reasons.append(
                f"a {kind} join would repeat rows of no entity for every one of them"
            )

    def _asof_join(self, node: Node) -> Parts:
        return self._comparison_join(node)

    def _any_join(self, node: Node) -> Parts:
        left, right = self._child(node), self._child(node, 1)
        if (left.carriers and right.carriers) or node["join_type"] != "INNER":
            self.reasons.append(f"a join that is not on {self._by}")
        both = left.beside(right)
        return both.taken(_shown_of_both(node, left, right))

    def _union(self, node: Node) -> Parts:
        children = [self.parts(child) for child in node["children"]]
        if any(child.carriers for child in children):
            if not all(child.carriers for child in children):
                self.reasons.append("a UNION with rows of no entity")
            if any(len(child.carriers) > 1 for child in children):
                self.reasons.append(f"a join that is not on {self._by}")
            held = children[0].one
            for child in children[1:]:
                held = held.common(child.one)
            if not node.get("setop_all", True) and not held.all:
                self.reasons.append(
                    f"UNION puts rows of several entities together; select {self._by}, or write UNION ALL"
                )
            return Parts(children[0].width, (held,))
        return children[0]

    def _except(self, node: Node) -> Parts:
        name = node["type"].removeprefix("LOGICAL_")
        left, right = self._child(node), self._child(node, 1)
        if left.carriers or right.carriers:
            held = left.one.common(right.one)
            if not held.all:
                self.reasons.append(
                    f"{name} puts rows of several entities together; select {self._by}"
                )
            return Parts(left.width, (held,))
        return left

    _intersect = _except


def _shown_of_both(node: Node, left: Parts, right: Parts) -> list[int]:
    """The columns that a join puts out, by their places beside each other."""
    return [
        *(node.get("left_projection_map") or range(left.width)),
        *(left.width + place for place in node.get("right_projection_map") or range(right.width)),
    ]


def _shown(parts: Parts, node: Node, name: str) -> Parts:
    return parts.taken(node[name]) if node.get(name) else parts


def carrier_of(plan: Mapping[str, Any], by: str, spine_by: str) -> tuple[EntityPlaces, list[str]]:
    """Which columns of a query's rows carry their entity, and why the query is no function of one entity's rows at a time.

    Args:
        plan: From ``json_serialize_plan`` with ``optimize := false``.
        by: The column that names the entity, in every table of events that is read.
        spine_by: The one of the spine.
    """
    walk = Locality(by, spine_by)
    made = [walk.parts(one) for one in plan["plans"]][-1]
    if not made.carriers:
        walk.reasons.append("it reads no table")
    elif len(made.carriers) > 1:
        walk.reasons.append(f"a join that is not on {by}")
    return made.one, list(dict.fromkeys(walk.reasons))
