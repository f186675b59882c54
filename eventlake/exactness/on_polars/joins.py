"""The rows that joins return, and which of their keys survive."""

from collections.abc import Sequence

from eventlake.exactness.on_polars.context import Table
from eventlake.exactness.on_polars.nodes import Expression, Step
from eventlake.exactness.rows import Rows, product

KINDS = frozenset({"Inner", "Left", "Right", "Full", "Semi", "Anti", "Cross", "AsOf"})
"""Join types that are understood."""


def joined_rows(
    step: Step, left: Table, right: Table, on_left: Sequence[int], on_right: Sequence[int]
) -> Rows | None:
    """The rows of a join, as columns of ``step``; None if nothing is known of them.

    Args:
        step: The join, none of ``Semi`` and ``Anti``.
        left: The rows of its left side.
        right: The rows of its right side.
        on_left: The columns of the left side that must be equal to those of ``on_right``.
        on_right: The columns of the right side.
    """
    kind = step.options[0]
    columns = _output_columns(step, left, right)
    # In a full join both sides can be null, and the columns of both may be merged.
    if kind not in KINDS - {"Full"} or columns is None:
        return None
    left_once = left.rows.is_key(on_left)
    # An as-of join gives each left row at most one partner.
    right_once = kind == "AsOf" or right.rows.is_key(on_right)
    # The keys of the side that can be null do not tell rows without a partner apart.
    rows = product(
        left.rows,
        right.rows,
        left_keys=right_once and kind != "Right",
        right_keys=left_once and kind not in {"Left", "AsOf"},
    )
    if kind == "Inner" and len(on_left) == len(on_right) == len(step.outputs):
        start = len(left.names)
        rows = rows.equated(
            [(one, start + other) for one, other in zip(on_left, on_right, strict=True)]
        )
    return rows.projected(columns, step.types)


def is_sorted(step: Step, on: Expression) -> bool:
    """Whether a step's rows are sorted by a column, ascending."""
    if on.kind != "column":
        return False
    if step.kind == "sort":
        first = step.outputs[0][1]
        return first.kind == "column" and first.name == on.name and not step.options[0]
    if step.kind not in {"filter", "select", "with_columns", "project", "cache"}:
        return False
    # The column may have had another name below.
    outputs = dict(step.outputs) if step.kind in {"select", "with_columns"} else {}
    return is_sorted(step.inputs[0], outputs.get(on.name, on))


def _output_columns(step: Step, left: Table, right: Table) -> list[int] | None:
    """Per column of a join its place in the columns of both sides.

    None if the join has other names than expected: then nothing is assumed about its columns.
    """
    suffix, coalesced = step.options[1:3]
    merged_left, merged_right = _coalesced(step) if coalesced else (set(), set())
    places = [place for place, name in enumerate(left.names) if name not in merged_left]
    names = [left.names[place] for place in places]
    for place, name in enumerate(right.names):
        if name not in merged_right:
            names.append(name + suffix if name in names else name)
            places.append(len(left.names) + place)
    return places if tuple(names) == step.names else None


def _coalesced(step: Step) -> tuple[set[str], set[str]]:
    """Columns of the left and right side that are merged into the other side's column."""
    if step.options[0] == "Right":
        return {one.name for _, one in step.outputs}, set()
    by_right = step.options[4] if step.options[0] == "AsOf" else ()
    return set(), {one.name for _, one in step.others} | set(by_right)
