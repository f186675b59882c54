"""The rows that joins return, and which of their keys survive."""

from collections.abc import Sequence
from dataclasses import replace

from eventlake.exactness.on_duckdb.expressions import Node, column
from eventlake.exactness.rows import Rows, product

KINDS = frozenset(
    [
        "INNER",
        "LEFT",
        "RIGHT",
        "OUTER",
        "FULL",
        "SEMI",
        "ANTI",
        "MARK",
        "SINGLE",
        "RIGHT_SEMI",
        "RIGHT_ANTI",
    ]
)
"""Join types that are understood."""
EQUALITIES = frozenset({"COMPARE_EQUAL", "COMPARE_NOT_DISTINCT_FROM"})
_ONE_SIDED = frozenset({"SEMI", "ANTI", "MARK"})
_BOOLEAN = {"id": "BOOLEAN"}
_MAPS = ("left_projection_map", "right_projection_map")
"""Members of a join that list the columns it keeps of each side; empty for all."""


def joined_rows(node: Node, left: Rows, right: Rows, equal: Sequence[tuple[int, int]]) -> Rows:
    """The rows of a join.

    Args:
        node: The join, of one of ``KINDS``; what is known of another one is unreliable.
        left: The rows of its left side.
        right: The rows of its right side.
        equal: Columns of both sides on which the rows must agree.
    """
    kind = node["join_type"]
    shown = _outputs(node, left, right)
    if kind in _ONE_SIDED:
        return shown[0].with_columns([_BOOLEAN]) if kind == "MARK" else shown[0]
    if kind in {"RIGHT_SEMI", "RIGHT_ANTI"}:
        return shown[1]
    if kind == "SINGLE":
        # A scalar subquery: DuckDB fails if it has more than one row.
        return product(*shown, left_keys=True, right_keys=False)
    if kind in {"OUTER", "FULL"}:
        # A row without a partner has nulls in place of the partner's key, on either side.
        both = product(*shown, left_keys=False, right_keys=False)
        return replace(both, keys=frozenset())
    left_once = left.is_key(one for one, _ in equal)
    right_once = right.is_key(other for _, other in equal)
    # The keys of the side that can be null do not tell rows without a partner apart.
    rows = product(
        *shown,
        left_keys=right_once and kind != "RIGHT",
        right_keys=left_once and kind != "LEFT",
    )
    return rows.equated(_visible(node, left, right, equal)) if kind == "INNER" else rows


def asof_rows(node: Node, left: Rows, right: Rows) -> Rows:
    """The rows of an ASOF join, which gives each left row at most one right row."""
    keeps_left = node["join_type"] in {"INNER", "LEFT"}
    rows = product(*_outputs(node, left, right), left_keys=keeps_left, right_keys=False)
    return rows if keeps_left else replace(rows, keys=frozenset())


def equal_columns(conditions: Sequence[Node]) -> list[tuple[int, int]]:
    """The columns of both sides that a join's conditions compare for equality."""
    pairs = [
        (column(one["left"]), column(one["right"]))
        for one in conditions
        if one.get("comparison") in EQUALITIES
    ]
    return [(one, other) for one, other in pairs if one is not None and other is not None]


def _outputs(node: Node, left: Rows, right: Rows) -> tuple[Rows, Rows]:
    one, other = (
        rows.select(node[name]) if node.get(name) else rows
        for rows, name in zip((left, right), _MAPS, strict=True)
    )
    return one, other


def _visible(
    node: Node, left: Rows, right: Rows, equal: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The equal columns that the join returns, by their places in its rows."""
    left_places, right_places = (
        list(node.get(name) or range(len(rows.types)))
        for rows, name in zip((left, right), _MAPS, strict=True)
    )
    start = len(left_places)
    return [
        (left_places.index(one), start + right_places.index(other))
        for one, other in equal
        if one in left_places and other in right_places
    ]
