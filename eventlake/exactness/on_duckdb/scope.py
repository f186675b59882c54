"""Where an expression stands in a query, and how others are made to stand there."""

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
    """Where an expression stands.

    Attributes:
        select: The SELECT that it is a part of.
        sources: What its tables are called, each with the columns that it is grouped by where that
            is a subquery's.
        type_of: The engine's type of an expression here; None where it has none.
        parse: An expression's syntax tree.
        sorted: Whether the rows come from a query that sorts them.
    """

    select: Tree
    sources: tuple[tuple[str, tuple[str, ...]], ...]
    type_of: Callable[[Tree], str | None]
    parse: Callable[[str], Tree]
    sorted: bool = False

    def made(self, text: str, **parts: Tree) -> Tree:
        """An expression, with others in the place of columns."""
        filled: Tree = _filled(self.parse(text), parts)
        return filled

    def row_keys(self) -> Iterator[Tree]:
        """Columns of the first table of which each may tell its rows apart; the likeliest first."""
        first = self.sources[0][0] if len(self.sources) > 1 else ""
        yield from (
            column(*([first] if first else []), name) for name in ("id", "sequence", "spine_row")
        )

    def ties(self, *beside: Tree) -> Iterator[list[Tree]]:
        """Columns that may tell apart what an order leaves equal; the likeliest first.

        Args:
            beside: What else the order, or the call that it is in, reads: its own table comes
                first.
        """
        own = [
            one["column_names"][0]
            for one in reversed(beside)
            if len(one.get("column_names", [])) > 1
        ]
        named = sorted(
            (name for name, _ in self.sources if name),
            key=lambda name: own.index(name) if name in own else len(own),
        )
        if len(self.sources) == 1:
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
    """A column by its name, and that of its table before it."""
    return {
        "class": "COLUMN_REF",
        "type": "COLUMN_REF",
        "alias": "",
        "query_location": 0,
        "column_names": list(names),
    }


def is_exact(kind: str | None) -> bool:
    """Whether a type is of whole numbers or decimals."""
    return kind is not None and bool(INTEGER.fullmatch(kind) or _DECIMAL.fullmatch(kind))


def decimal_of(kind: str | None) -> tuple[int, int] | None:
    """The digits of a decimal type, and those behind the point; None for other types."""
    found = _DECIMAL.fullmatch(kind or "")
    return (int(found[1]), int(found[2])) if found else None


def called(node: Tree, name: str) -> Tree:
    """The same call of another function."""
    made = copy.deepcopy(node) | {"function_name": name, "alias": ""}
    if "qualified_name" in made:
        made["qualified_name"] = {"path": [name]}
    return made


def _filled(tree: Any, parts: dict[str, Tree]) -> Any:
    if isinstance(tree, list):
        return [_filled(one, parts) for one in tree]
    if not isinstance(tree, dict):
        return tree
    names = tree.get("column_names", [])
    if tree.get("class") == "COLUMN_REF" and len(names) == 1 and names[0] in parts:
        return copy.deepcopy(parts[names[0]]) | {"alias": ""}
    return {name: _filled(value, parts) for name, value in tree.items()}
