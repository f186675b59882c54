"""Walking what DuckDB writes of a query as JSON, a syntax tree or a plan."""

from collections.abc import Iterator
from typing import Any


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in a tree, each before those inside of it.

    Raises:
        RecursionError: It is deeper than Python goes.
    """
    if isinstance(tree, list):
        for item in tree:
            yield from nodes(item)
    elif isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from nodes(value)


def depth(tree: Any) -> int:
    """How many levels of lists and objects a tree has."""
    levels, level = 0, [tree]
    while level := [one for one in level if isinstance(one, list | dict)]:
        levels += 1
        level = [
            inner for one in level for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return levels
