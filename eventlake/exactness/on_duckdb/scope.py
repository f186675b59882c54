"""The context of an expression in a query, and syntax trees that are built for that context."""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Tree = dict[str, Any]
INTEGER = re.compile(r"U?(?:TINY|SMALL|BIG|HUGE)?INT(?:EGER)?")
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")


@dataclass(frozen=True, slots=True)
class Scope:
    """The context of an expression.

    Attributes:
        select: The SELECT that contains it.
        sources: The names of the tables in its FROM; for a subquery that groups, with the columns
            that it groups by.
        type_of: Returns the engine's type of an expression in this context, or None.
        parse: Returns the syntax tree of an expression.
        sorted: Whether the rows come from a subquery that sorts them.
    """

    select: Tree
    sources: tuple[tuple[str, tuple[str, ...]], ...]
    type_of: Callable[[Tree], str | None]
    parse: Callable[[str], Tree]
    sorted: bool = False

    def fill(self, text: str, **parts: Tree) -> Tree:
        """The syntax tree of ``text``, with other trees in place of the columns they are named by.

        Placeholders end in an underscore, as no column of a query is likely to.
        """
        tree: Tree = _filled(self.parse(text), parts)
        return tree

    def row_keys(self) -> Iterator[Tree]:
        """Columns that may be a key of the first table; the most likely first."""
        first = self.sources[0][0] if len(self.sources) > 1 else ""
        yield from (
            column(*([first] if first else []), name) for name in ("id", "sequence", "spine_row")
        )

    def tie_breakers(self, *read: Tree) -> Iterator[list[Tree]]:
        """Columns that may make an order total; the most likely first.

        Args:
            read: What the order, or the call that contains it, reads; keys of the tables that are
                read come first.
        """
        own = [
            one["column_names"][0] for one in reversed(read) if len(one.get("column_names", [])) > 1
        ]
        named = sorted(
            (name for name, _ in self.sources if name),
            key=lambda name: own.index(name) if name in own else len(own),
        )
        if len(self.sources) == 1:
            # With one table the name needs no prefix, unless the query itself writes one.
            yield [column(*own[:1], "sequence")]
        yield from ([column(name, key)] for key in ("sequence", "spine_row") for name in named)
        if len(named) > 1:
            yield [column(name, "sequence") for name in named]
        grouped = [
            column(*([name] if name and len(self.sources) > 1 else []), one)
            for name, columns in self.sources
            for one in columns
        ]
        yield from ([one] for one in grouped)
        if len(grouped) > 1:
            yield grouped


def column(*names: str) -> Tree:
    """The syntax tree of a column; ``names`` may begin with the name of its table."""
    return {
        "class": "COLUMN_REF",
        "type": "COLUMN_REF",
        "alias": "",
        "query_location": 0,
        "column_names": list(names),
    }


def is_exact(kind: str | None) -> bool:
    """Whether a type is an integer or decimal type."""
    return kind is not None and bool(INTEGER.fullmatch(kind) or _DECIMAL.fullmatch(kind))


def decimal_of(kind: str | None) -> tuple[int, int] | None:
    """Precision and scale of a decimal type; None for other types."""
    found = _DECIMAL.fullmatch(kind or "")
    return (int(found[1]), int(found[2])) if found else None


def renamed_call(node: Tree, name: str) -> Tree:
    """The same call, of another function."""
    call = copy.deepcopy(node) | {"function_name": name, "alias": ""}
    if "qualified_name" in call:
        call["qualified_name"] = {"path": [name]}
    return call


def _filled(tree: Any, parts: dict[str, Tree]) -> Any:
    if isinstance(tree, list):
        return [_filled(one, parts) for one in tree]
    if not isinstance(tree, dict):
        return tree
    names = tree.get("column_names", [])
    if tree.get("class") == "COLUMN_REF" and len(names) == 1 and names[0] in parts:
        # A copy for each place, because later rewrites change trees in place.
        return copy.deepcopy(parts[names[0]]) | {"alias": ""}
    return {name: _filled(value, parts) for name, value in tree.items()}
