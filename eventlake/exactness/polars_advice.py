"""What to write in place of a Polars expression that is not exact: the user's own, changed so that it keeps its meaning."""

import json
from collections.abc import Iterable, Sequence

from eventlake.exactness.polars_nodes import Expression
from eventlake.exactness.refusals import DECLARED
from eventlake.exactness.rows import Rows, is_float

_INTEGERS = frozenset({"Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"})
_TIMES = frozenset({"time", "sequence", "recorded_at"})
"""Columns of events that are never null."""
DECIDE = "a sort by columns that tell apart every two rows: decide which of the equal ones comes first"


def source(one: Expression) -> str:
    """A column as one writes it; three dots for the expression as it is."""
    return f"pl.col({json.dumps(one.name)})" if one.kind == "column" else "…"


def mean(what: Expression) -> str:
    """A mean as a quotient: the exact sum and the count, as floats in the last step."""
    kind, shown = what.type["id"], source(what)
    if is_float(what.type):
        return DECLARED
    if kind in {"Decimal", "Boolean", "Int128"}:
        return f"{shown}.sum().cast(pl.Float64) / {shown}.count()"
    if kind in _INTEGERS:
        return f"{shown}.cast(pl.Int128).sum().cast(pl.Float64) / {shown}.count()"
    return "the sum and the count of an exact number, and divide the one by the other in the last step"


def key_of(names: Sequence[str], rows: Rows, by: Iterable[int] = ()) -> list[str]:
    """Columns that tell rows apart, ``sequence`` if it does; none where nothing is known to."""
    keys = [[names[place] for place in sorted(key)] for key in rows.without(by).keys if key]
    return min(keys, key=lambda key: (key != ["sequence"], len(key), key), default=[])


def sorted_by(orders: Sequence[str], key: Sequence[str], descending: Sequence[bool] = ()) -> str:
    """Arguments of a sort that ends in a key, in the direction of its last column; empty where there is no key."""
    columns = list(dict.fromkeys([*orders, *key]))
    shown = ", ".join(map(json.dumps, columns))
    flags = [*descending, *([descending[-1]] * len(columns) if descending else [])][: len(columns)]
    if not any(flags):
        return shown
    return f"{shown}, descending={flags if not all(flags) else True}"


def picked(what: Expression, by: Expression, key: Sequence[str], *, least: bool) -> str:
    """What ``max_by`` and ``min_by`` pick: the last or first value by an order that ends in a key."""
    if by.kind != "column" or not key:
        return DECIDE
    call = "first" if least else "last"
    if by.name in _TIMES:
        return f"{source(what)}.sort_by({sorted_by([by.name], key)}).{call}()"
    kept = f".filter({source(by)}.is_not_null())"
    orders = ", ".join(f"pl.col({json.dumps(name)}){kept}" for name in dict.fromkeys([by.name, *key]))
    return f"{source(what)}{kept}.sort_by({orders}).{call}()"
