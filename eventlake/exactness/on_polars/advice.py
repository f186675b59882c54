"""What to write in place of an inexact Polars expression: the user's own, rewritten."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from eventlake.exactness.on_polars.nodes import Expression
from eventlake.exactness.refusals import DECLARED
from eventlake.exactness.rows import Rows, Type, is_float

_INTEGERS = frozenset({"Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"})
_TIMES = frozenset({"time", "sequence", "recorded_at"})
"""Columns of events that are never null."""
DECIDE = (
    "a sort by columns that tell apart every two rows: decide which of the equal ones comes first"
)


class Trial(Protocol):
    """Tries suggestions with Polars, which this package does not import."""

    def tries(self, code: str, context: Any, other: Type | None = None) -> bool:
        """Whether code runs over the rows of a context and is exact.

        Args:
            code: Python of an expression, or of a frame's method.
            context: The ``Context`` that the code is run in.
            other: The type of the expression that an ellipsis in ``code`` stands for.
        """

    def gives(self, code: str, one: Expression, context: Any) -> bool:
        """Whether code evaluates to exactly this expression."""


def column(name: str) -> str:
    """Python of a column."""
    return f"pl.col({json.dumps(name)})"


def mean(what: Expression, shown: str) -> str:
    """A mean as a quotient of an exact sum and a count.

    Args:
        what: The values.
        shown: The values as Python.
    """
    kind = what.type["id"]
    if is_float(what.type):
        return DECLARED
    if kind in {"Decimal", "Boolean", "Int128"}:
        return f"{shown}.sum().cast(pl.Float64) / {shown}.count()"
    # Sums of integers wrap around in Polars; one of 128 bits is beyond every history.
    if kind in _INTEGERS:
        return f"{shown}.cast(pl.Int128).sum().cast(pl.Float64) / {shown}.count()"
    return "the sum and the count of an exact number, and divide them in the last step"


def spread(what: Expression, shown: str, *, less: int, root: bool) -> str:
    """A standard deviation or variance of integers as a quotient; empty for other types.

    Args:
        what: The values.
        shown: The values as Python.
        less: The degrees of freedom that are subtracted from the count.
        root: Whether it is the standard deviation.
    """
    if what.type["id"] not in {*_INTEGERS, "Int128"}:
        return ""
    whole, number = f"{shown}.cast(pl.Int128)", f"{shown}.count().cast(pl.Int128)"
    squares = (
        f"({number} * ({whole} * {whole}).sum() - {whole}.sum() * {whole}.sum()).cast(pl.Float64)"
    )
    # In integers up to the last division; ``when`` gives null where the aggregate does.
    below = f"({number} * ({number} - {less}))" if less else f"({number} * {number})"
    return f"pl.when({number} > {less}).then(({squares} / {below}){'.sqrt()' if root else ''})"


def key_of(names: Sequence[str], rows: Rows, by: Iterable[int] = ()) -> list[str]:
    """The shortest key of some rows, preferably ``sequence``; empty if none is known.

    Args:
        names: The columns' names.
        rows: The rows.
        by: Columns that have one value in all rows.
    """
    keys = [[names[place] for place in sorted(key)] for key in rows.with_constant(by).keys if key]
    return min(keys, key=lambda key: (key != ["sequence"], len(key), key), default=[])


def sorted_by(
    orders: Sequence[str], key: Sequence[str], flags: Mapping[str, Sequence[bool]] | None = None
) -> str:
    """Arguments of a sort that ends in a key, in the direction of the last column before it.

    Args:
        orders: The columns that are sorted by.
        key: The key's columns.
        flags: ``descending`` and ``nulls_last`` per column of ``orders``.
    """
    columns = list(dict.fromkeys([*orders, *key]))
    shown = ", ".join(map(json.dumps, columns))
    for name, given in (flags or {}).items():
        # The key follows the direction of the last column, so that "the latest" stays the latest.
        extended = [*given, *([given[-1]] * len(columns) if given else [])][: len(columns)]
        if any(extended):
            shown += f", {name}={True if all(extended) else extended}"
    return shown


def picked(shown: str, by: Expression, key: Sequence[str], *, least: bool) -> Iterator[str]:
    """``max_by`` or ``min_by`` as the last or first value in an order that ends in a key.

    Args:
        shown: The values as Python.
        by: What ``max_by`` picks by.
        key: The key's columns.
        least: Whether it is ``min_by``.
    """
    if by.kind != "column" or not key:
        return
    call = "first" if least else "last"
    if by.name in _TIMES:
        yield f"{shown}.sort_by({sorted_by([by.name], key)}).{call}()"
        return
    # max_by skips nulls; a sort puts them first.
    kept = f".filter({column(by.name)}.is_not_null())"
    orders = ", ".join(f"{column(name)}{kept}" for name in dict.fromkeys([by.name, *key]))
    yield f"{shown}{kept}.sort_by({orders}).{call}()"
