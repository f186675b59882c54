"""How much a query grows when DuckDB plans it.

Some short queries double with every line, and planning cannot be interrupted.
"""

import math
import re
from collections import Counter
from typing import Any

from eventlake.exactness.tree import nodes

MOST_COPIES = 1_000
"""The most copies of WITH queries that planning may make."""
MOST_NODES = 100_000
"""The most nodes of a select list after its aliases are replaced by their expressions."""
_NOT_MATERIALIZED = "CTE_MATERIALIZE_NEVER"
_ALIAS = re.compile(r'"alias":"((?:[^"\\]|\\.)+)"')
_COLUMN = re.compile(r'"column_names":\["((?:[^"\\]|\\.)+)"\]')
_LEAST_NODE_CHARACTERS = 20


def may_grow(serialized: str) -> bool:
    """Whether a query must be checked by ``grows``, told by its serialized tree at little cost.

    If ``n`` uses of aliases are spread over ``k`` of them, one use stands for at most
    ``(n / k) ** k`` copies, which is the product of the uses in each.
    """
    if _NOT_MATERIALIZED in serialized:
        return True
    aliases = {name.casefold() for name in _ALIAS.findall(serialized)}
    uses = Counter(name.casefold() for name in _COLUMN.findall(serialized))
    used = {name: number for name, number in uses.items() if name in aliases}
    total = sum(used.values())
    if not total:
        return False
    # The bound is largest where k is total / e. Logarithms, for the product may be astronomical.
    spread = max(1.0, min(len(used), total / math.e))
    copies = spread * math.log(total / spread)
    return copies + math.log(len(serialized) / _LEAST_NODE_CHARACTERS) > math.log(MOST_NODES)


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
    references = Counter(
        # Names are compared without case, as SQL does, and without scopes: that counts too many,
        # never too few.
        str(node.get("table_name", "")).casefold()
        for node in nodes(tree)
        if node.get("type") == "BASE_TABLE"
    )
    for node in nodes(tree):
        value = node.get("value")
        if isinstance(value, dict) and value.get("materialized") == _NOT_MATERIALIZED:
            # An upper bound: the product over all of them is at least the number of paths to any.
            copies *= max(1, references[str(node.get("key", "")).casefold()])
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
        # An alias is as large as its expression with all earlier aliases replaced.
        size = 0
        for node in nodes(item):
            path = node.get("column_names") if node.get("class") == "COLUMN_REF" else None
            if isinstance(path, list) and len(path) == 1:
                size += sizes.get(str(path[0]).casefold(), 1)
            else:
                size += 1
            if size > MOST_NODES:
                return str(item.get("alias"))
        if isinstance(item, dict) and item.get("alias"):
            sizes[str(item["alias"]).casefold()] = size
    return None
