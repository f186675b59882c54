"""Refuse values that fit their Arrow type but not every reader's.

These are days outside the years 1 to 9999, times of 24:00 or later, and decimals with too many
digits.
"""

from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.hashing.content import logical_type
from eventlake.errors import SchemaMismatchError

_DAYS = (-719_162, 2_932_896)
"""0001-01-01 to 9999-12-31 in days since 1970-01-01, the range of ``datetime``."""
_DAY = 86_400_000_000
# DuckDB stores an infinite timestamp or date as one of these numbers, and Arrow passes them on.
_INFINITE = {
    2**63 - 1: "infinity",
    -(2**63 - 1): "-infinity",
    2**31 - 1: "infinity",
    -(2**31 - 1): "-infinity",
}


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The smallest and the largest value of a type, with the texts of the error."""

    least: int | Decimal
    most: int | Decimal
    expected: str
    hint: str


_YEARS = "from 0001-01-01 to 9999-12-31"
_FINITE = (
    "write null, or another day, in its place: "
    "CASE WHEN v BETWEEN '0001-01-01' AND '9999-12-31' THEN v END."
)
_DATES = _Bounds(*_DAYS, _YEARS, _FINITE)
_INSTANTS = _Bounds(_DAYS[0] * _DAY, (_DAYS[1] + 1) * _DAY - 1, _YEARS, _FINITE)
_TIMES = _Bounds(0, _DAY - 1, "before 24:00", "write 00:00, and the next day if there is a day.")


def check_bounds(table: pa.Table) -> None:
    """Refuse values that some reader of the dataset cannot represent.

    Args:
        table: A table of normal types.

    Raises:
        SchemaMismatchError: A day or instant is infinite or outside the years 1 to 9999, a time is
            24:00 or later, or a number has more digits than its type.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        for chunk in column.chunks:
            _check(chunk, name)


def _check(array: pa.Array, where: str) -> None:
    kind = array.type
    if pa.types.is_struct(kind):
        for field, values in zip(kind, array.flatten(), strict=True):
            _check(values, f"{where}.{field.name}")
    elif pa.types.is_large_list(kind):
        _check(array.flatten(), f"{where}[]")
    elif pa.types.is_date32(kind):
        _within(array, array.cast(pa.int32()), _DATES, where)
    elif pa.types.is_timestamp(kind):
        _within(array, array.cast(pa.int64()), _INSTANTS, where)
    elif pa.types.is_time64(kind):
        _within(array, array.cast(pa.int64()), _TIMES, where)
    elif pa.types.is_decimal(kind):
        # DuckDB hands a HUGEINT over as decimal(38, 0), even if it has 39 digits.
        most = Decimal(f"{'9' * kind.precision}e-{kind.scale}")
        hint = "write it as text: CAST(v AS VARCHAR)."
        _within(
            array,
            array,
            _Bounds(most.copy_negate(), most, f"of at most {kind.precision} digits", hint),
            where,
        )


def _within(array: pa.Array, numbers: pa.Array, bounds: _Bounds, where: str) -> None:
    found = pc.min_max(numbers)
    # One pass over the column: values that are out of bounds are so rare that none is searched for.
    low, high = found["min"].as_py(), found["max"].as_py()
    if low is not None and (low < bounds.least or high > bounds.most):
        odd = low if low < bounds.least else high
        shown = _INFINITE.get(odd, odd) if pa.types.is_temporal(array.type) else odd
        message = (
            f"column {where}: expected values of {logical_type(array.type)} {bounds.expected}, "
            f"found {shown}"
        )
        raise SchemaMismatchError(message, bounds.hint, column=where)
