"""Functions that declare features of all values of a field. They skip nulls.

See ``functions`` for their arguments.
"""

from decimal import Decimal, InvalidOperation
from typing import Any, overload

from eventlake.errors import InvalidInputError
from eventlake.features.declared.calls import checked_call
from eventlake.features.declared.each_window import Where, Windows, each_window
from eventlake.features.declared.feature import Aggregate, FeatureList, Many
from eventlake.features.declared.window import Length


# Two signatures for each function: one window makes a feature, several make a list of features.
@overload
def sum(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def sum(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def sum(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The sum of a field; 0 if there are no values.

    int64 for an integer field, decimal(38, scale) for a decimal. A sum that does not fit its type
    fails the build.
    """
    return each_window("sum", event_type, field, window, offset=offset, where=where)


@overload
def mean(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def mean(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def mean(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The mean of a field, as float64; null if there are no values.

    The exact sum is divided by the number of values and rounded once.
    """
    return each_window("mean", event_type, field, window, offset=offset, where=where)


@overload
def std(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def std(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def std(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The sample standard deviation, as float64; null for fewer than two values.

    It is the square root of an exact quotient that is rounded once.
    """
    return each_window("std", event_type, field, window, offset=offset, where=where)


@overload
def min(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def min(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def min(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The smallest value, of the field's type; null if there are no values.

    Takes integers, decimals, text (compared by code point), dates and instants.
    """
    return each_window("min", event_type, field, window, offset=offset, where=where)


@overload
def max(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def max(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def max(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The greatest value, of the field's type; null if there are no values.

    Takes integers, decimals, text (compared by code point), dates and instants.
    """
    return each_window("max", event_type, field, window, offset=offset, where=where)


@overload
def distinct(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def distinct(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def distinct(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The number of distinct values, as int64; null does not count as a value."""
    return each_window("distinct", event_type, field, window, offset=offset, where=where)


@overload
def median(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def median(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def median(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The median, of the field's type: ``quantile`` for 0.5, always a value that occurs."""
    return each_window("median", event_type, field, window, offset=offset, where=where)


@overload
def quantile(
    event_type: str,
    field: str,
    q: float | Decimal | str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def quantile(
    event_type: str,
    field: str,
    q: float | Decimal | str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def quantile(
    event_type: str,
    field: str,
    q: float | Decimal | str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The smallest value of which at least the share ``q`` of the values is no greater.

    Of ``n`` values in ascending order it is the one at ``ceil(q * n)``, counted from 1, and the
    smallest for 0: the discrete quantile, as DuckDB's ``quantile_disc``. It is a value that occurs,
    of the field's type (integers, decimals, dates and instants), never one between two values.
    Nulls are skipped; the result is null if there are no values. ``q`` is a number of thousandths
    from 0 to 1: 0.5 is the median, 0.995 leaves out half a percent.

    Raises:
        InvalidInputError: ``q`` is not a whole number of thousandths from 0 to 1.
    """
    return each_window(
        "quantile", event_type, field, window, offset=offset, where=where, n=_per_mille(q)
    )


def _per_mille(q: object) -> int:
    """A share in thousandths, which are exact: 0.1 as a float is a little more than a tenth."""
    try:
        number = Decimal(repr(float(q)) if isinstance(q, float) else str(q))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or not 0 <= number <= 1 or number * 1_000 % 1:
        message = f"quantile(): expected q from 0 to 1 in thousandths, such as 0.9, found {q!r}"
        raise InvalidInputError(message, "write 0.95 for 95 percent.")
    return int(number * 1_000)
