"""DuckDB types that Arrow would change silently: sign, time zone or padding would be lost."""

from typing import Any

from eventlake.errors import SchemaMismatchError

_INSTEAD = {
    "bignum": "CAST({0} AS DECIMAL(38, 0)), or CAST({0} AS VARCHAR) for longer numbers",
    "bit": "CAST({0} AS VARCHAR), or bit_count({0})",
    "geometry": "CAST({0} AS VARCHAR)",
    "interval": "epoch_us({0}), its microseconds; or date_diff('day', …, …)",
    "map": "map_entries({0}), a list of structs",
    "time with time zone": "CAST({0} AS VARCHAR); for an instant (time AT TIME ZONE 'UTC')::TIME",
    "uhugeint": "CAST({0} AS DECIMAL(38, 0)), or CAST({0} AS VARCHAR) for longer numbers",
    "union": "a struct with a column for each member",
    "variant": "CAST({0} AS VARCHAR)",
}


def check_types(names: list[str], types: list[Any]) -> None:
    """Check that a dataset can hold the types of all columns.

    Args:
        names: The names of the columns.
        types: Their DuckDB types.

    Raises:
        SchemaMismatchError: A type, perhaps inside a list or struct, is not supported.
    """
    for name, kind in zip(names, types, strict=True):
        for inner in _within(kind):
            if inner.id in _INSTEAD:
                message = f"column {name} has type {kind}, and a dataset cannot hold {inner}"
                hint = f"write {_INSTEAD[inner.id].format('v' if inner is not kind else name)}"
                raise SchemaMismatchError(message, f"{hint}.", column=name, found=str(kind))


def _within(kind: Any) -> list[Any]:
    """A type and the types nested in it."""
    children = kind.children if kind.id in {"list", "array", "struct", "tuple", "map"} else []
    return [kind, *(one for _, child in children if hasattr(child, "id") for one in _within(child))]
