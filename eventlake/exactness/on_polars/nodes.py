"""A plan of Polars in plain words, typed: what ``projections.on_polars.plan`` reads and ``on_polars.plan`` here judges."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eventlake.exactness.rows import FLOATS, Type, is_float, parts

UNKNOWN = "not understood"
"""Kind of a node, or name of a type, that the visitor does not show."""

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
"""Types whose values are what they are; what is neither here nor a float is not understood."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One node of an expression.

    Attributes:
        kind: ``column literal len aggregate function binary cast ternary filter explode slice
            gather sort sort_by window``, or ``UNKNOWN``.
        name: The column, function or operator; why it is not understood.
        type: Of its values.
        children: What it is over; see ``projections.on_polars.plan`` for their order.
        options: The rest of what the plan says of it.
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
        names: Of its columns.
        types: Of its columns.
        inputs: What it is over.
        outputs: Its expressions, by name of the column: of a join those of the left side.
        others: Those of the right side of a join; the aggregates of a grouping.
        options: The rest of what the plan says of it.
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
    """A frame that a build hands out.

    Attributes:
        step: Its own plan.
        keys: Sets of columns no two of its rows agree on.
        payloads: Columns that hold JSON of events.
    """

    step: Step
    keys: tuple[tuple[str, ...], ...]
    payloads: tuple[str, ...] = ()


def within(expression: Expression) -> Iterator[Expression]:
    """The expressions inside of one, itself first."""
    yield expression
    for child in expression.children:
        yield from within(child)


def names_in(expression: Expression) -> set[str]:
    """The columns that an expression reads."""
    return {one.name for one in within(expression) if one.kind == "column"}


def strange(kind: Type) -> str | None:
    """The name of a type, or of one inside of it, that is not understood; None where there is none."""
    odd = sorted(parts(kind) - EXACT_TYPES - FLOATS)
    return odd[0] if odd else None


def all_float(kind: object) -> bool:
    """Whether a type is a floating-point one, and holds nothing else."""
    return isinstance(kind, dict) and is_float(kind) and set(kind) == {"id"}


def counts_rows(one: Expression) -> bool:
    """Whether a range of integers has one for every row, from 0."""
    start, stop = one.children[:2]
    while stop.kind == "cast":
        stop = stop.children[0]
    return (
        start.kind == "literal"
        and start.options[:1] == (0,)
        and stop.kind == "len"
        and one.options[:1] == (1,)
    )
