"""The functions that declare features, as a user writes them: ``el.count("payment.missed", window="90d")``.

All of them look at the events of one type with the entity's name, inside ``[cutoff - window,
cutoff)``; the cutoff itself is outside. Without a window everything before the cutoff counts. With
``offset="30d"`` the window ends that much before the cutoff. Several windows, given as a list (None
for no window), make a list of features, which ``.name("late")`` calls ``late_30d``, ``late_90d``.
``where`` is a condition on the event's fields, or a dict of fields and the values they must have.
Two events at the same ``time`` come in the order of their sequence. Sums, means and extremes pass
over events whose field is null.
"""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, cast, overload

from eventlake.errors import InvalidInputError
from eventlake.features.aggregates.table import AGGREGATES
from eventlake.features.declared.calls import checked_call
from eventlake.features.declared.conditions import Condition, Value
from eventlake.features.declared.feature import (
    Aggregate,
    Arithmetic,
    Feature,
    FeatureList,
    Many,
    aggregate,
)
from eventlake.features.declared.window import Length

Windows = (
    list[str]
    | list[timedelta]
    | list[str | None]
    | list[Length]
    | list[Length | None]
    | tuple[Length | None, ...]
)
_ELSEWHERE = {
    "nunique": "write el.distinct(type, field)",
    "n_unique": "write el.distinct(type, field)",
    "count_distinct": "write el.distinct(type, field)",
    "avg": "write el.mean(type, field)",
    "average": "write el.mean(type, field)",
    "stddev": "write el.std(type, field)",
    "var": "write el.std(type, field), and square it where the model is trained",
    "any": "write el.exists(type, where=…)",
    "latest": "write el.last(type, field)",
    "shift": "write el.lag(type, field, n)",
    "diff": "write el.delta(type, field)",
    "age": "write el.since_first(type)",
    "recency": "write el.since_last(type)",
    "percentile": "write el.quantile(type, field, 0.95)",
    "mode": "no feature is one; count each value with where=, or choose the most frequent one in SQL over a spine",
}
Where = Condition | Mapping[str, Value] | None


def _each(kind: str, event_type: str, of: str | None, window: Many, **more: Any) -> Any:
    if not isinstance(window, (list, tuple)):
        return aggregate(kind, event_type, of, window=cast("Length | None", window), **more)
    if not window:
        message = f"{kind}({event_type!r}): expected window as text such as '90d', or a list of such, found {window!r}"
        raise InvalidInputError(message)
    return FeatureList(aggregate(kind, event_type, of, window=one, **more) for one in window)


@overload
def count(
    event_type: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def count(
    event_type: str, *, window: Windows, offset: Length | None = None, where: Where = None
) -> FeatureList: ...
@checked_call
def count(
    event_type: str, *, window: Many = None, offset: Length | None = None, where: Where = None
) -> Any:
    """int64: how many events; 0 where there is none."""
    return _each("count", event_type, None, window, offset=offset, where=where)


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
    """The sum of an integer field as int64, of a decimal as decimal(38, scale); 0 where there is none. What does not fit is an error."""
    return _each("sum", event_type, field, window, offset=offset, where=where)


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
    """float64: the exact sum divided by the number of values, rounded once; null where there is none."""
    return _each("mean", event_type, field, window, offset=offset, where=where)


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
    """float64: the standard deviation of the sample, the root of an exact quotient that is rounded once; null for fewer than two values."""
    return _each("std", event_type, field, window, offset=offset, where=where)


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
    """The least value, of the field's type: integers, decimals, text (by code point), dates and instants; null where there is none."""
    return _each("min", event_type, field, window, offset=offset, where=where)


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
    """The greatest value, likewise."""
    return _each("max", event_type, field, window, offset=offset, where=where)


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
    """int64: how many different values, null not being one."""
    return _each("distinct", event_type, field, window, offset=offset, where=where)


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
    return _each("median", event_type, field, window, offset=offset, where=where)


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
    return _each("quantile", event_type, field, window, offset=offset, where=where, n=_per_mille(q))


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


@overload
def last(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def last(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def last(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The field of the last event, of the field's type; null where there is no event, or where its field is null."""
    return _each("last", event_type, field, window, offset=offset, where=where)


@overload
def first(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def first(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def first(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The field of the first event, likewise."""
    return _each("first", event_type, field, window, offset=offset, where=where)


@overload
def delta(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def delta(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def delta(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The field of the last event less that of the one before it, integers as int64, decimals as decimals; null without either."""
    return _each("delta", event_type, field, window, offset=offset, where=where, n=1)


@overload
def exists(
    event_type: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def exists(
    event_type: str, *, window: Windows, offset: Length | None = None, where: Where = None
) -> FeatureList: ...
@checked_call
def exists(
    event_type: str, *, window: Many = None, offset: Length | None = None, where: Where = None
) -> Any:
    """bool: whether there is an event."""
    return _each("exists", event_type, None, window, offset=offset, where=where)


@overload
def lag(
    event_type: str,
    field: str,
    n: int = 1,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def lag(
    event_type: str,
    field: str,
    n: int = 1,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def lag(
    event_type: str,
    field: str,
    n: int = 1,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The field of the event ``n`` before the last one, of the field's type; null where there are not so many."""
    return _each("lag", event_type, field, window, offset=offset, where=where, n=n)


@overload
def since_last(
    event_type: str,
    *,
    unit: str = "d",
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def since_last(
    event_type: str,
    *,
    unit: str = "d",
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def since_last(
    event_type: str,
    *,
    unit: str = "d",
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """float64: the time from the last event to the cutoff, in days unless ``unit`` is ``h``, ``m`` or ``s``; null without an event."""
    return _each("since_last", event_type, None, window, offset=offset, where=where, unit=unit)


@overload
def since_first(
    event_type: str,
    *,
    unit: str = "d",
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def since_first(
    event_type: str,
    *,
    unit: str = "d",
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def since_first(
    event_type: str,
    *,
    unit: str = "d",
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """float64: the time from the first event to the cutoff, likewise."""
    return _each("since_first", event_type, None, window, offset=offset, where=where, unit=unit)


@overload
def rate(
    event_type: str,
    *,
    window: Length,
    unit: str = "d",
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def rate(
    event_type: str,
    *,
    window: Windows,
    unit: str = "d",
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def rate(
    event_type: str,
    *,
    window: Many,
    unit: str = "d",
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """float64: how many events a day (an hour, a minute, a second), over the whole length of the window.

    Raises:
        InvalidInputError: There is no window, or none among several.
    """
    if not window or (isinstance(window, (list, tuple)) and None in window):
        message = f"rate({event_type!r}): expected a window, over whose length events are counted"
        raise InvalidInputError(message)
    return _each("rate", event_type, None, window, offset=offset, where=where, unit=unit)


@checked_call
def ratio(part: Feature, whole: Feature) -> Arithmetic:
    """float64: one feature divided by another; null where either is null, or the second is 0."""
    if not all(isinstance(one, Feature) for one in (part, whole)):
        message = f"ratio(): expected two features, found {part!r} and {whole!r}"
        raise InvalidInputError(
            message,
            "write el.ratio(el.count('payment.missed', window='90d'), el.count('payment.received', window='90d')).",
        )
    return part / whole


def no_feature(name: str) -> str | None:
    """What to say of a feature that is called otherwise here; None if no other library has one of that name."""
    of_field = sorted(name for name, kind in AGGREGATES.items() if kind.takes_field)
    kinds = [*of_field, *sorted({*AGGREGATES, "ratio"} - {*of_field})]
    return f"{_ELSEWHERE[name]}. Features are {', '.join(kinds)}" if name in _ELSEWHERE else None
