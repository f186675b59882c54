"""Traversal of the JSON that DuckDB writes for a query: a syntax tree or a plan."""

from collections.abc import Iterator
from typing import Any


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a tree, parents before children.

    Raises:
        RecursionError: The tree is deeper than Python's recursion limit.
    """
    if isinstance(tree, list):
        for item in tree:
            yield from nodes(item)
    elif isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from nodes(value)


def depth(tree: Any) -> int:
    """The number of nested lists and objects; computed without recursion."""
    levels, level = 0, [tree]
    while level := [one for one in level if isinstance(one, list | dict)]:
        levels += 1
        level = [
            inner for one in level for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return levels
