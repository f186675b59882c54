"""What to write in place of an inexact part: the query's own expression, rewritten.

Every suggestion was tried: with it in its place, the query has fewer refusals and no new one.
"""

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eventlake.exactness.on_duckdb import rewrites
from eventlake.exactness.on_duckdb.scope import Scope, Tree
from eventlake.exactness.refusals import Refusal

# A call may need several rewrites: a mean over a window becomes a quotient, whose sum then needs a
# total order.
_MOST_REWRITES = 3
# Each trial binds the whole query once.
_MOST_TRIALS = 200
_SELECTS = frozenset({"SELECT_NODE", "SET_OPERATION_NODE"})
_CALLS = frozenset({"CAST", "FUNCTION", "OPERATOR", "WINDOW"})
_INTERVAL = re.compile(
    r"to_([a-z]+)s\((?:CAST\(trunc\()?CAST\((\d+) AS DOUBLE\)(?:\) AS (?:BIGINT|INTEGER)\))?\)"
)
_HOSTS = {
    "order": ("SELECT 1 AS one", "SELECT 1 AS one "),
    "join": ("SELECT * FROM one", "SELECT * FROM "),
    "expression": ("SELECT 1", "SELECT "),
}
Kind = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Engine:
    """What advice needs of DuckDB.

    Attributes:
        parse: Returns the syntax tree of a query.
        render: Returns the query of a syntax tree.
        refusals: Returns why a query is not exact; None if DuckDB refuses it.
        type_of: Returns the type of a query's only column; None if DuckDB refuses it.
    """

    parse: Callable[[str], Tree]
    render: Callable[[Tree], str]
    refusals: Callable[[str], Sequence[Refusal] | None]
    type_of: Callable[[str], str | None]


class Advice:
    """Rewrites a query step by step, as long as each step leaves fewer refusals.

    Attributes:
        suggestions: What to write instead, by the refusal that it resolves.
    """

    def __init__(self, tree: Tree, refusals: Sequence[Refusal], engine: Engine) -> None:
        """See ``advise`` for the arguments."""
        self.suggestions: dict[Kind, list[str]] = {}
        # Each trial changes the tree in place; the caller's stays as it is.
        self._tree = copy.deepcopy(tree)
        self._left = Counter(map(_kind, refusals))
        self._engine = engine
        self._trials = 0
        # A list, because the tree changes meanwhile. Inner parts come first: what is around them is
        # then rewritten with the new ones inside.
        for select, parent, place in list(_sites(self._tree)):
            self._improve(select, parent, place)

    def _improve(self, select: Tree, parent: Any, place: Any) -> None:
        """Rewrite ``parent[place]`` until no candidate resolves a refusal."""
        resolved: Counter[Kind] = Counter()
        scope = Scope(
            select,
            tuple(_sources(select, self._top())),
            lambda one: self._type(select, one),
            self._expression,
            _is_sorted(select, self._top()),
        )
        original = parent[place]
        rewrite, shown_as = _rewrites_of(original)
        for _ in range(_MOST_REWRITES):
            before = parent[place]
            for candidate in rewrite(before, scope):
                alias = {"alias": before["alias"]} if "alias" in before else {}
                parent[place] = candidate | alias
                left = self._remaining()
                # A proper sub-multiset: some refusal is resolved and none is new.
                if left is not None and left < self._left:
                    resolved += self._left - left
                    self._left = left
                    break
                parent[place] = before
            else:
                break
        for kind in resolved:
            self.suggestions.setdefault(kind, []).append(
                self._text(parent[place], shown_as, sampled=bool(original.get("sample")))
            )

    def _remaining(self) -> "Counter[Kind] | None":
        self._trials += 1
        if self._trials > _MOST_TRIALS or not self._left:
            return None
        refusals = self._engine.refusals(self._engine.render(self._tree))
        return None if refusals is None else Counter(map(_kind, refusals))

    def _top(self) -> Tree:
        top: Tree = self._tree["statements"][0]["node"]
        return top

    def _expression(self, text: str) -> Tree:
        expression: Tree = self._engine.parse(f"SELECT {text}")["statements"][0]["node"][
            "select_list"
        ][0]
        return expression

    def _type(self, select: Tree, expression: Tree) -> str | None:
        # The expression alone over the same tables: enough for its type, and quick to bind.
        query = self._engine.parse("SELECT 1")
        node = query["statements"][0]["node"]
        node["select_list"] = [expression]
        node["from_table"] = select.get("from_table", node["from_table"])
        node["cte_map"] = self._top().get("cte_map", {})
        return self._engine.type_of(self._engine.render(query))

    def _text(self, what: Tree, shown_as: str, *, sampled: bool = False) -> str:
        """A part of a query as SQL.

        DuckDB renders whole queries only, so the part is put into one, whose beginning is removed
        again.
        """
        host, prefix = _HOSTS[shown_as]
        query = self._engine.parse(host)
        node = query["statements"][0]["node"]
        if shown_as == "order":
            node["modifiers"] = [
                one for one in what.get("modifiers", []) if one["type"] != "DISTINCT_MODIFIER"
            ]
            # In place of a sample there is a condition, so it is shown as well.
            node |= {"where_clause": what["where_clause"]} if sampled else {}
        elif shown_as == "join":
            node["from_table"] = what["right"]
        else:
            node["select_list"] = [what | {"alias": ""}]
        return _plain(self._engine.render(query), self._engine).removeprefix(prefix)


def advise(tree: Tree, refusals: Sequence[Refusal], engine: Engine) -> list[Refusal]:
    """The refusals of a query, each once, with suggestions made of its own expressions.

    Args:
        tree: The query's syntax tree.
        refusals: The query's refusals.
        engine: Tries the suggestions.
    """
    suggestions: dict[Kind, list[str]] = {}
    if refusals and tree.get("statements"):
        suggestions = Advice(tree, refusals, engine).suggestions
    # The first of equal refusals is kept, at its place.
    each = {_kind(one): one for one in reversed(refusals)}
    return [
        replace(
            one,
            instead="\n      write ".join(dict.fromkeys(suggestions.get(kind, []))) or one.instead,
        )
        for kind, one in reversed(each.items())
    ]


def _kind(refusal: Refusal) -> Kind:
    return refusal.what, refusal.why


def _rewrites_of(what: Tree) -> tuple[Callable[[Tree, Scope], Iterator[Tree]], str]:
    """The rewrites of a part of a query, and how the result is shown."""
    if _is_select(what):
        return rewrites.orders, "order"
    if what.get("type") == "JOIN":
        return rewrites.joins, "join"
    return rewrites.calls, "expression"


def _is_select(tree: Tree) -> bool:
    return str(tree.get("type")) in _SELECTS


def _sites(tree: Any, select: Tree | None = None) -> Iterator[tuple[Tree, Any, Any]]:
    """The parts that can be rewritten, inner ones first.

    Yields:
        The SELECT around the part, the object or list that contains it, and its key or index there.
    """
    members: Iterable[tuple[Any, Any]] = ()
    if isinstance(tree, dict):
        members = tree.items()
    elif isinstance(tree, list):
        members = enumerate(tree)
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
    """The names of a SELECT's tables, and the columns that those that are queries group by."""
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
    """Whether the only table of a SELECT is a subquery that sorts its rows."""
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
    """The group columns that a query returns; none if it does not group."""
    if (
        # GROUP BY ALL has no group expressions before it is bound.
        not select.get("group_expressions")
        and select.get("aggregate_handling") != "FORCE_AGGREGATES"
    ):
        return ()
    columns = [one for one in select.get("select_list", []) if one.get("class") == "COLUMN_REF"]
    return tuple(one.get("alias") or one["column_names"][-1] for one in columns)


def _plain(text: str, engine: Engine) -> str:
    """The same query without unnecessary quotes, and with intervals as people write them."""
    plain = re.sub(r'"([a-z_][a-z0-9_]*)"', r"\1", text)
    plain = _INTERVAL.sub(r"INTERVAL \2 \1", plain)
    try:
        # A keyword or a name with capitals needs its quotes, so the shorter text is parsed again.
        same = engine.render(engine.parse(plain)) == text
    except ValueError:
        return text
    return plain if same else text
