"""How much a query grows when DuckDB plans it.

Some short queries double with every line, and planning cannot be interrupted.
"""

from typing import Any

from eventlake.exactness.tree import nodes

MOST_COPIES = 1_000
"""The most copies of WITH queries that planning may make."""
MOST_NODES = 100_000
"""The most nodes of a select list after its aliases are replaced by their expressions."""


def grows(tree: Any) -> str | None:
    """Why a query would exceed the limits when it is planned; None if it stays within them.

    DuckDB copies a WITH query that is NOT MATERIALIZED to every place that names it. It replaces an
    alias that is used later in the same select list by its expression.

    Args:
        tree: The syntax tree, from ``tree_of``.

    Raises:
        RecursionError: The query is nested more deeply than Python's recursion limit.
    """
    copies = 1
    named = [
        str(node.get("table_name", "")).casefold()
        for node in nodes(tree)
        if node.get("type") == "BASE_TABLE"
    ]
    for node in nodes(tree):
        value = node.get("value")
        if isinstance(value, dict) and value.get("materialized") == "CTE_MATERIALIZE_NEVER":
            # An upper bound: the product over all of them is at least the number of paths to any.
            copies *= max(1, named.count(str(node.get("key", "")).casefold()))
            if copies > MOST_COPIES:
                return (
                    f"{node.get('key')} would be copied more than {MOST_COPIES:,} times"
                    " (NOT MATERIALIZED)"
                )
    for node in nodes(tree):
        name = _growing_alias(node.get("select_list"))
        if name is not None:
            return (
                f"{name} would become more than {MOST_NODES:,} operations: it repeats other names"
                " of its SELECT"
            )
    return None


def _growing_alias(items: Any) -> str | None:
    """The first alias of a select list whose expression would exceed ``MOST_NODES``."""
    sizes: dict[str, int] = {}
    for item in items if isinstance(items, list) else ():
        size = 0
        for node in nodes(item):
            path = node.get("column_names") if node.get("class") == "COLUMN_REF" else None
            size += (
                sizes.get(str(path[0]).casefold(), 1)
                if isinstance(path, list) and len(path) == 1
                else 1
            )
            if size > MOST_NODES:
                return str(item.get("alias"))
        if isinstance(item, dict) and item.get("alias"):
            sizes[str(item["alias"]).casefold()] = size
    return None
