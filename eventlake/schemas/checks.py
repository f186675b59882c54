"""Check whole columns against a field's type, without saying which row fails.

Dates and instants arrive as text and are returned in their own type.
"""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.instants import YEAR, from_texts
from eventlake.columns.schema import INSTANT
from eventlake.core.instants import MAX_DAY, MAX_US, MIN_DAY, MIN_US
from eventlake.schemas.limits import Choices, NumberRange
from eventlake.schemas.schema import FieldType

_DATE = rf"^{YEAR}-[0-9]{{2}}-[0-9]{{2}}$"
_ARROW = {
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "utf8": pa.string(),
    "date": pa.date32(),
    "timestamp": INSTANT,
}


class OddError(Exception):
    """The column has a value that only ``parse_row`` can decide on."""


def arrow_type(kind: FieldType) -> pa.DataType:
    """The type of a column that holds values of ``kind``."""
    if kind.kind == "decimal":
        return pa.decimal128(kind.precision, kind.scale)
    if kind.kind == "struct":
        return pa.struct(list(arrow_schema(kind)))
    return pa.list_(arrow_type(kind.item)) if kind.item is not None else _ARROW[kind.kind]


def arrow_schema(payload: FieldType) -> pa.Schema:
    """The columns of a struct's fields."""
    return pa.schema([pa.field(field.name, arrow_type(field.type)) for field in payload.fields])


def checked(
    column: pa.Array, kind: FieldType, *, required: bool, within: pa.Array | None = None
) -> pa.Array:
    """The column as values of ``kind``.

    Args:
        column: A field as Arrow's JSON reader returns it, or a column that has the type already.
        kind: The type of its values.
        required: Whether no value may be missing.
        within: Booleans, true where the struct around the field is not null; None for everywhere.

    Raises:
        OddError: A value does not fit, or may not fit.
        pa.ArrowException: A value cannot be cast.
    """
    if (
        required
        and column.null_count
        and (within is None or pc.any(pc.and_(within, pc.is_null(column))).as_py())
    ):
        raise OddError
    if kind.kind == "struct":
        return _struct(column, kind)
    if kind.item is not None:
        return _list(column, kind.item)
    if kind.kind in {"date", "timestamp"}:
        return _moments(column, kind.kind)
    if kind.kind == "float64":
        if not pc.all(pc.is_finite(column), skip_nulls=True).as_py() and column.null_count < len(
            column
        ):
            raise OddError
        return pc.add(column, 0.0)  # -0.0 becomes 0.0, so that equal values have one hash
    if kind.values and not Choices(kind.values).allow(pc.unique(column).drop_null().to_pylist()):
        raise OddError
    if kind.kind == "decimal" or NumberRange(kind.minimum, kind.maximum):
        _check_bounds(column, kind)
    return column.cast(arrow_type(kind)) if kind.kind == "decimal" else column


def _struct(column: pa.Array, kind: FieldType) -> pa.Array:
    # Arrow has inferred further members, of some row at least.
    if kind.closed and column.type.num_fields > len(kind.fields):
        raise OddError
    there = pc.is_valid(column) if column.null_count else None
    children = [
        checked(
            pc.struct_field(column, field.name), field.type, required=field.required, within=there
        )
        for field in kind.fields
    ]
    return pa.StructArray.from_arrays(
        children, fields=list(arrow_schema(kind)), mask=None if there is None else pc.invert(there)
    )


def _list(column: pa.Array, item: FieldType) -> pa.Array:
    # ``flatten`` drops the items of null lists, so the offsets are computed again.
    items = checked(column.flatten(), item, required=True)
    offsets = np.zeros(len(column) + 1, np.int32)
    np.cumsum(pc.fill_null(pc.list_value_length(column), 0).to_numpy(), out=offsets[1:])
    mask = pc.is_null(column) if column.null_count else None
    return pa.ListArray.from_arrays(
        pa.array(offsets), items, type=pa.list_(arrow_type(item)), mask=mask
    )


def _moments(column: pa.Array, kind: str) -> pa.Array:
    if kind == "timestamp" and pa.types.is_string(column.type):
        instants = from_texts(column)
        if instants is None:
            raise OddError
        return instants
    # Arrow casts more spellings than ISO 8601 has, such as a day with a time.
    if pa.types.is_string(column.type):
        spelled = pc.match_substring_regex(column, _DATE)
        if not pc.all(spelled, skip_nulls=True, min_count=0).as_py():
            raise OddError
    moments = column.cast(_ARROW[kind])
    bounds = pc.min_max(
        moments.cast(pa.int32()).cast(pa.int64()) if kind == "date" else moments.cast(pa.int64())
    )
    low, high = (MIN_DAY, MAX_DAY) if kind == "date" else (MIN_US, MAX_US)
    if bounds["min"].is_valid and not (
        bounds["min"].as_py() >= low and bounds["max"].as_py() <= high
    ):
        raise OddError
    return moments


def _check_bounds(column: pa.Array, kind: FieldType) -> None:
    bounds = pc.min_max(column)
    if not bounds["min"].is_valid:
        return
    lowest, highest = Decimal(bounds["min"].as_py()), Decimal(bounds["max"].as_py())
    # Arrow's reader accepts 99999999999999999 as decimal(18, 2), which has no room for it.
    digits = Decimal(10) ** (kind.precision - kind.scale) if kind.kind == "decimal" else None
    if digits is not None and not -digits < lowest <= highest < digits:
        raise OddError
    if not NumberRange(kind.minimum, kind.maximum).allows(lowest, highest):
        raise OddError
