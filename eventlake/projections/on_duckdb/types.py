"""Types of DuckDB whose values Arrow hands over as something else: the sign, the zone or the padding would be lost without a word."""

from typing import Any

from eventlake.errors import SchemaMismatchError

_INSTEAD = {
    "bignum": "CAST({0} AS DECIMAL(38, 0)), or CAST({0} AS VARCHAR) for longer numbers",
    "bit": "CAST({0} AS VARCHAR), or bit_count({0})",
    "geometry": "CAST({0} AS VARCHAR)",
    "interval": "epoch_us({0}), its microseconds; or date_diff('day', …, …)",
    "map": "map_entries({0}), a list of structs",
    "time with time zone": "CAST({0} AS VARCHAR); of an instant (time AT TIME ZONE 'UTC')::TIME",
    "uhugeint": "CAST({0} AS DECIMAL(38, 0)), or CAST({0} AS VARCHAR) for longer numbers",
    "union": "a struct with a column for each member",
    "variant": "CAST({0} AS VARCHAR)",
}


def check_types(names: list[str], types: list[Any]) -> None:
    """Refuses columns of types that a dataset cannot hold.

    Args:
        names: Of the columns.
        types: Of DuckDB.

    Raises:
        SchemaMismatchError: There is one, perhaps inside of a list or struct.
    """
    for name, kind in zip(names, types, strict=True):
        for inner in _within(kind):
            if inner.id in _INSTEAD:
                message = f"column {name} has type {kind}, and a dataset cannot hold {inner}"
                hint = f"write {_INSTEAD[inner.id].format('v' if inner is not kind else name)}"
                raise SchemaMismatchError(message, f"{hint}.", column=name, found=str(kind))


def _within(kind: Any) -> list[Any]:
    """A type and those inside of it."""
    children = kind.children if kind.id in {"list", "array", "struct", "tuple", "map"} else []
    return [kind, *(one for _, child in children if hasattr(child, "id") for one in _within(child))]
