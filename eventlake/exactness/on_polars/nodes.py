"""A Polars plan as plain, typed values.

``projections.on_polars.plan`` reads them from Polars; ``exactness.on_polars.plan`` checks them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eventlake.exactness.rows import FLOATS, Type, is_float, type_names

UNKNOWN = "not understood"
"""The kind of a node, or the name of a type, that Polars' visitor does not expose."""

EXACT_TYPES = frozenset(
    {
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "Int128",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
        "UInt128",
        "Decimal",
        "Boolean",
        "String",
    }
    | {"Binary", "Date", "Time", "Datetime", "Duration", "Enum", "Null", "List", "Array", "Struct"}
)
"""Types whose values are exact. A type that is neither here nor a float is refused."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One node of an expression.

    Attributes:
        kind: ``column literal len aggregate function binary cast ternary filter explode slice
            gather sort sort_by window``, or ``UNKNOWN``.
        name: The name of the column, function or operator; for ``UNKNOWN``, what is not understood.
        type: The type of its values.
        children: The expressions it is computed over, in the order of
            ``projections.on_polars.plan``.
        options: Further arguments from the plan.
    """

    kind: str
    name: str
    type: Type
    children: tuple["Expression", ...] = ()
    options: tuple[Any, ...] = ()


Named = tuple[str, Expression]


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a plan.

    Attributes:
        kind: ``scan frame select with_columns project filter group_by join sort slice unique union
            map cache``, or ``UNKNOWN``.
        names: The columns' names.
        types: The columns' types.
        inputs: The steps it reads.
        outputs: Its expressions with the names of their columns; for a join, the left keys.
        others: For a join, the right keys; for a grouping, the aggregates.
        options: Further arguments from the plan.
    """

    kind: str
    names: tuple[str, ...]
    types: tuple[Type, ...]
    inputs: tuple["Step", ...] = ()
    outputs: tuple[Named, ...] = ()
    others: tuple[Named, ...] = ()
    options: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A frame that a build passes to the user's function.

    Attributes:
        step: The frame's own plan.
        keys: Sets of columns on which no two rows agree.
        payloads: Columns that hold JSON of events.
    """

    step: Step
    keys: tuple[tuple[str, ...], ...]
    payloads: tuple[str, ...] = ()


def subexpressions(expression: Expression) -> Iterator[Expression]:
    """An expression and everything inside it, parents first."""
    yield expression
    for child in expression.children:
        yield from subexpressions(child)


def names_in(expression: Expression) -> set[str]:
    """The names of the columns that an expression reads."""
    return {one.name for one in subexpressions(expression) if one.kind == "column"}


def unknown_type(kind: Type) -> str | None:
    """The name of an unlisted type, which is ``kind`` or inside it; None if all are listed."""
    unlisted = sorted(type_names(kind) - EXACT_TYPES - FLOATS)
    return unlisted[0] if unlisted else None


def all_float(kind: object) -> bool:
    """Whether a type is a floating-point type, not a list or struct of one."""
    return isinstance(kind, dict) and is_float(kind) and set(kind) == {"id"}


def counts_rows(one: Expression) -> bool:
    """Whether an ``int_range`` numbers the rows: ``int_range(0, pl.len())`` with step 1."""
    start, stop = one.children[:2]
    # Polars casts ``len()`` to the type of the range.
    while stop.kind == "cast":
        stop = stop.children[0]
    return (
        start.kind == "literal"
        and start.options[:1] == (0,)
        and stop.kind == "len"
        and one.options[:1] == (1,)
    )
