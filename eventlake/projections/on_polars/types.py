"""Polars types in the terms of the allow-list."""

from typing import Any

import polars as pl

from eventlake.exactness.rows import Type

_FLOATS = {"Float16": "FLOAT", "Float32": "FLOAT", "Float64": "DOUBLE"}


def type_of(dtype: Any) -> Type:
    """A Polars type in the terms of the allow-list."""
    name = str(dtype.base_type())
    kind: dict[str, Any] = {"id": _FLOATS.get(name, name)}
    if isinstance(dtype, pl.List | pl.Array):
        kind["child_type"] = type_of(dtype.inner)
    elif isinstance(dtype, pl.Struct):
        kind["child_types"] = [
            {"name": field.name, "type": type_of(field.dtype)} for field in dtype.fields
        ]
    # The precision of a decimal and the zone of an instant do not decide exactness: left out.
    return kind
