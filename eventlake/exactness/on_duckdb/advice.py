"""What to write in place of what is not exact: the user's own expression, changed so that it keeps its meaning.

Nothing is suggested that was not tried: with it in its place the query has fewer reasons against
it, and none that it did not have.
"""

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eventlake.exactness.on_duckdb import rewrites
from eventlake.exactness.on_duckdb.scope import Scope, Tree
from eventlake.exactness.refusals import Refusal

_ROUNDS = 3
"""A call may need several changes: a mean over a window becomes a quotient, in an order that is total."""
_TRIALS = 200
_SELECTS = frozenset({"SELECT_NODE", "SET_OPERATION_NODE"})
_CALLS = frozenset({"CAST", "FUNCTION", "OPERATOR", "WINDOW"})
_INTERVAL = re.compile(
    r"to_([a-z]+)s\((?:CAST\(trunc\()?CAST\((\d+) AS DOUBLE\)(?:\) AS (?:BIGINT|INTEGER)\))?\)"
)
Kind = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Engine:
    """What is asked of the engine.

    Attributes:
        parse: The syntax tree of a query.
        render: The query of a syntax tree.
        refusals: Why a query is not exact; None where it is none.
        type_of: The type of the only column of a query; None where it has none.
    """

    parse: Callable[[str], Tree]
    render: Callable[[Tree], str]
    refusals: Callable[[str], Sequence[Refusal] | None]
    type_of: Callable[[str], str | None]


class Advice:
    """Changes a query step by step, as long as it has fewer refusals after each.

    Attributes:
        written: What to write instead, by the reason that goes away.
    """

    def __init__(self, tree: Tree, found: Sequence[Refusal], engine: Engine) -> None:
        self.written: dict[Kind, list[str]] = {}
        self._tree = copy.deepcopy(tree)
        self._left = Counter(map(_kind, found))
        self._engine = engine
        self._trials = 0
        for select, holder, place in list(_sites(self._tree)):
            self._improve(select, holder, place)

    def _improve(self, select: Tree, holder: Any, place: Any) -> None:
        gone: Counter[Kind] = Counter()
        ordered = _is_sorted(select, self._top())
        scope = Scope(
            select,
            tuple(_sources(select, self._top())),
            lambda one: self._type(select, one),
            self._expression,
            ordered,
        )
        what = holder[place]
        make, show = _means(what)
        for _ in range(_ROUNDS):
            before = holder[place]
            for made in make(before, scope):
                holder[place] = made | ({"alias": before["alias"]} if "alias" in before else {})
                left = self._remaining()
                if left is not None and left < self._left:
                    gone += self._left - left
                    self._left = left
                    break
                holder[place] = before
            else:
                break
        for kind in gone:
            self.written.setdefault(kind, []).append(
                self._text(holder[place], show, sampled=bool(what.get("sample")))
            )

    def _remaining(self) -> "Counter[Kind] | None":
        self._trials += 1
        if self._trials > _TRIALS or not self._left:
            return None
        found = self._engine.refusals(self._engine.render(self._tree))
        return None if found is None else Counter(map(_kind, found))

    def _top(self) -> Tree:
        top: Tree = self._tree["statements"][0]["node"]
        return top

    def _expression(self, text: str) -> Tree:
        expression: Tree = self._engine.parse(f"SELECT {text}")["statements"][0]["node"][
            "select_list"
        ][0]
        return expression

    def _type(self, select: Tree, expression: Tree) -> str | None:
        made = self._engine.parse("SELECT 1")
        node = made["statements"][0]["node"]
        node["select_list"] = [expression]
        node["from_table"] = select.get("from_table", node["from_table"])
        node["cte_map"] = self._top().get("cte_map", {})
        return self._engine.type_of(self._engine.render(made))

    def _text(self, what: Tree, show: str, *, sampled: bool = False) -> str:
        made = self._engine.parse(
            "SELECT 1 AS one"
            if show == "order"
            else "SELECT * FROM one"
            if show == "join"
            else "SELECT 1"
        )
        node = made["statements"][0]["node"]
        prefix = "SELECT "
        if show == "order":
            node["modifiers"] = [
                one for one in what.get("modifiers", []) if one["type"] != "DISTINCT_MODIFIER"
            ]
            node |= {"where_clause": what["where_clause"]} if sampled else {}
            prefix = "SELECT 1 AS one "
        elif show == "join":
            node["from_table"] = what["right"]
            prefix = "SELECT * FROM "
        else:
            node["select_list"] = [what | {"alias": ""}]
        text = self._engine.render(made)
        return _plain(text, self._engine).removeprefix(prefix)


def advised(tree: Tree, found: Sequence[Refusal], engine: Engine) -> list[Refusal]:
    """The refusals of a query, each once, with what to write instead.

    Args:
        tree: The query's.
        found: Its refusals.
        engine: Checks what is suggested.
    """
    written = Advice(tree, found, engine).written if found and tree.get("statements") else {}
    each = {_kind(one): one for one in reversed(found)}
    return [
        replace(
            one, instead="\n      write ".join(dict.fromkeys(written.get(kind, []))) or one.instead
        )
        for kind, one in reversed(each.items())
    ]


def _kind(refusal: Refusal) -> Kind:
    return refusal.what, refusal.why


def _means(what: Tree) -> tuple[Callable[[Tree, Scope], Iterator[Tree]], str]:
    if _is_select(what):
        return rewrites.orders, "order"
    if what.get("type") == "JOIN":
        return rewrites.joins, "join"
    return rewrites.calls, "expression"


def _is_select(tree: Tree) -> bool:
    return str(tree.get("type")) in _SELECTS


def _sites(tree: Any, select: Tree | None = None) -> Iterator[tuple[Tree, Any, Any]]:
    """What may be changed, with the SELECT around it and the place that it has; what is inside of it comes before it."""
    members = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    inner = tree if isinstance(tree, dict) and _is_select(tree) else select
    for place, one in members:
        yield from _sites(one, inner)
        if not isinstance(one, dict):
            continue
        if _is_select(one):
            yield one, tree, place
        elif inner is not None and (one.get("class") in _CALLS or one.get("type") == "JOIN"):
            yield inner, tree, place


def _sources(select: Tree, top: Tree) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What the tables of a SELECT are called, and what those that are queries are grouped by."""
    named = {
        one["key"]: one["value"]["query_node"] for one in top.get("cte_map", {}).get("map", [])
    }
    left = [select.get("from_table", {})]
    while left:
        one = left.pop(0)
        if one.get("type") == "JOIN":
            left = [one["left"], one["right"], *left]
        elif one.get("type") == "SUBQUERY":
            yield one.get("alias") or "", _grouped(one["subquery"]["node"])
        elif one.get("type") == "PIVOT":
            left = [one["source"], *left]
        elif one.get("type") == "BASE_TABLE":
            yield one.get("alias") or one["table_name"], _grouped(named.get(one["table_name"], {}))


def _is_sorted(select: Tree, top: Tree) -> bool:
    """Whether the only table of a SELECT is a query that sorts its rows."""
    named = {
        one["key"]: one["value"]["query_node"] for one in top.get("cte_map", {}).get("map", [])
    }
    table = select.get("from_table", {})
    inner = (
        table["subquery"]["node"]
        if table.get("type") == "SUBQUERY"
        else named.get(table.get("table_name"), {})
    )
    return any(one.get("orders") for one in inner.get("modifiers", []))


def _grouped(select: Tree) -> tuple[str, ...]:
    """The columns that a query puts out and that are not computed from several rows, where it groups."""
    if (
        not select.get("group_expressions")
        and select.get("aggregate_handling") != "FORCE_AGGREGATES"
    ):
        return ()
    columns = [one for one in select.get("select_list", []) if one.get("class") == "COLUMN_REF"]
    return tuple(one.get("alias") or one["column_names"][-1] for one in columns)


def _plain(text: str, engine: Engine) -> str:
    """The same query without the quotes that its names do not need."""
    plain = re.sub(r'"([a-z_][a-z0-9_]*)"', r"\1", text)
    plain = _INTERVAL.sub(r"INTERVAL \2 \1", plain)
    try:
        same = engine.render(engine.parse(plain)) == text
    except ValueError:
        return text
    return plain if same else text
