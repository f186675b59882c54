"""What to write in place of a Polars expression that is not exact: the user's own, changed so that it keeps its meaning."""

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
    """Tries suggestions on an engine."""

    def tries(self, code: str, context: Any, other: Type | None = None) -> bool:
        """Whether Python over the rows of a context runs and is exact; ``other`` is the type of what three dots stand for."""

    def gives(self, code: str, one: Expression, context: Any) -> bool:
        """Whether Python gives this very expression."""


def mean(what: Expression, shown: str) -> str:
    """A mean as a quotient: the exact sum and the count, as floats in the last step."""
    kind = what.type["id"]
    if is_float(what.type):
        return DECLARED
    if kind in {"Decimal", "Boolean", "Int128"}:
        return f"{shown}.sum().cast(pl.Float64) / {shown}.count()"
    if kind in _INTEGERS:
        return f"{shown}.cast(pl.Int128).sum().cast(pl.Float64) / {shown}.count()"
    return (
        "the sum and the count of an exact number, and divide the one by the other in the last step"
    )


def spread(what: Expression, shown: str, *, less: int, root: bool) -> str:
    """A deviation or variance of whole numbers; empty for others."""
    if what.type["id"] not in {*_INTEGERS, "Int128"}:
        return ""
    whole, number = f"{shown}.cast(pl.Int128)", f"{shown}.count().cast(pl.Int128)"
    squares = (
        f"({number} * ({whole} * {whole}).sum() - {whole}.sum() * {whole}.sum()).cast(pl.Float64)"
    )
    below = f"({number} * ({number} - {less}))" if less else f"({number} * {number})"
    return f"pl.when({number} > {less}).then(({squares} / {below}){'.sqrt()' if root else ''})"


def key_of(names: Sequence[str], rows: Rows, by: Iterable[int] = ()) -> list[str]:
    """Columns that tell rows apart, ``sequence`` if it does; none where nothing is known to."""
    keys = [[names[place] for place in sorted(key)] for key in rows.without(by).keys if key]
    return min(keys, key=lambda key: (key != ["sequence"], len(key), key), default=[])


def sorted_by(
    orders: Sequence[str], key: Sequence[str], flags: Mapping[str, Sequence[bool]] | None = None
) -> str:
    """Arguments of a sort that ends in a key, in the direction of its last column; empty where there is no key.

    Args:
        orders: What is sorted by.
        key: Columns that tell rows apart.
        flags: ``descending`` and ``nulls_last`` of what is sorted by.
    """
    columns = list(dict.fromkeys([*orders, *key]))
    shown = ", ".join(map(json.dumps, columns))
    for name, given in (flags or {}).items():
        all_ = [*given, *([given[-1]] * len(columns) if given else [])][: len(columns)]
        if any(all_):
            shown += f", {name}={all_ if not all(all_) else True}"
    return shown


def picked(shown: str, by: Expression, key: Sequence[str], *, least: bool) -> Iterator[str]:
    """What ``max_by`` and ``min_by`` pick: the last or first value by an order that ends in a key."""
    if by.kind != "column" or not key:
        return
    call = "first" if least else "last"
    if by.name in _TIMES:
        yield f"{shown}.sort_by({sorted_by([by.name], key)}).{call}()"
        return
    kept = f".filter(pl.col({json.dumps(by.name)}).is_not_null())"
    orders = ", ".join(
        f"pl.col({json.dumps(name)}){kept}" for name in dict.fromkeys([by.name, *key])
    )
    yield f"{shown}{kept}.sort_by({orders}).{call}()"
