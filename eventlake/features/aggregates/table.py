"""The table of aggregates. A new aggregate is one row here and one function in ``declared``."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.features.aggregates.exact_columns import (
    arithmetic,
    integers,
    quotients,
    scaled,
    standard_deviations,
    times,
)
from eventlake.features.aggregates.part_kinds import (
    COUNT,
    DISTINCT,
    MAX,
    MIN,
    SQUARES,
    SUM,
    PartKind,
    Quantile,
    age,
    value,
)
from eventlake.schemas.schema import FieldType

UNKNOWN = "unknown"
"""The type of every field if no schema is consulted."""
# A segment tree keeps that many events in each of its nodes.
MOST_BEFORE = 1_000
"""How many events before the last a lag may look at."""
UNIT_NAMES = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_SUMMED = {"int64", "decimal"}
_MEASURED = _SUMMED | {"date", "timestamp"}
_ORDERED = _MEASURED | {"utf8"}
_NUMBERS = _SUMMED | {"float64", UNKNOWN}
_SQUARED_DIGITS = 18
_NONE = range(1)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the value of an aggregate depends on, besides its parts.

    Attributes:
        field_type: Type of its field; None without a field.
        unit: Microseconds of its unit; 0 without one.
        length: Microseconds of its window; None without a start.
    """

    field_type: FieldType | None
    unit: int
    length: int | None

    @property
    def scale(self) -> int:
        """Digits after the point of the field."""
        decimal = self.field_type is not None and self.field_type.kind == "decimal"
        return self.field_type.scale if decimal and self.field_type else 0


Finish = Callable[[list[pa.Array], Terms], pa.Array]


@dataclass(frozen=True, slots=True)
class AggregateKind:
    """Everything that declarations, plans and the finisher know of an aggregate.

    Attributes:
        parts: Returns the exact parts that it is made of, for ``n``.
        finish: Makes the column of those parts, in their order.
        expected_types: Returns the types it takes if it does not take that of a field, otherwise
            None. The attribute is None for an aggregate that takes no field.
        takes_unit: Whether it has a unit of time. If so, it cannot be a label.
        needs_window: Whether a window without a start is refused.
        n: Values that ``n`` may have.
        text: Its part of a column's name, a format of ``n``, ``share`` (``n`` thousandths),
            ``unit`` (one day) and ``units``; None for its name.
        is_truth: Whether its column is boolean.
        gives_field: Whether its column has the type of the field.
    """

    parts: Callable[[int], tuple[PartKind, ...]]
    finish: Finish
    expected_types: Callable[[FieldType], str | None] | None = None
    takes_unit: bool = False
    needs_window: bool = False
    n: range = _NONE
    text: str | None = None
    is_truth: bool = False
    gives_field: bool = False

    @property
    def takes_field(self) -> bool:
        """Whether it reads a field of the payload."""
        return self.expected_types is not None

    def is_numeric(self, field_type: FieldType | None) -> bool:
        """Whether arithmetic takes its column."""
        if self.gives_field and field_type is not None:
            return field_type.kind in _NUMBERS
        return not self.is_truth


def _summed(kind: FieldType) -> str | None:
    return None if kind.kind in _SUMMED else "integers and decimals"


def _squared(kind: FieldType) -> str | None:
    if kind.kind == "decimal" and kind.precision > _SQUARED_DIGITS:
        return f"decimals of at most {_SQUARED_DIGITS} digits, whose squares can be added up"
    return _summed(kind)


def _ordered(kind: FieldType) -> str | None:
    return None if kind.kind in _ORDERED else "integers, decimals, text, dates and instants"


def _measured(kind: FieldType) -> str | None:
    return None if kind.kind in _MEASURED else "integers, decimals, dates and instants"


def _counted(kind: FieldType) -> str | None:
    return None if kind.kind == "bool" else _ordered(kind)


def _single(kind: FieldType) -> str | None:
    return "fields that hold one value" if kind.kind in {"list", "struct"} else None


def _stored(found: list[pa.Array], _: Terms) -> pa.Array:
    return found[0]


def _exists(found: list[pa.Array], _: Terms) -> pa.Array:
    return pc.greater(found[0], 0)


def _rate(found: list[pa.Array], terms: Terms) -> pa.Array:
    return quotients(times(integers(found[0]), terms.unit), np.full(len(found[0]), terms.length))


def _sum(found: list[pa.Array], terms: Terms) -> pa.Array:
    if terms.field_type is not None and terms.field_type.kind == "decimal":
        return scaled(found[0], terms.scale)
    return found[0].cast(pa.int64())


def _mean(found: list[pa.Array], terms: Terms) -> pa.Array:
    number, total = integers(found[0]), integers(found[1])
    return quotients(total, times(number, 10**terms.scale))


def _std(found: list[pa.Array], terms: Terms) -> pa.Array:
    return standard_deviations(*map(integers, found), unit=10**terms.scale)


def _since(found: list[pa.Array], terms: Terms) -> pa.Array:
    elapsed = found[0]
    made = quotients(integers(elapsed.fill_null(0)), np.full(len(elapsed), terms.unit))
    return pc.if_else(elapsed.is_valid(), made, pa.scalar(None, pa.float64()))


def _delta(found: list[pa.Array], _: Terms) -> pa.Array:
    return arithmetic("-", found[0], found[1])


def _always(*kinds: PartKind) -> Callable[[int], tuple[PartKind, ...]]:
    return lambda _: kinds


AGGREGATES = {
    "count": AggregateKind(_always(COUNT), _stored),
    "sum": AggregateKind(_always(SUM), _sum, _summed),
    "mean": AggregateKind(_always(COUNT, SUM), _mean, _summed),
    "std": AggregateKind(_always(COUNT, SUM, SQUARES), _std, _squared),
    "min": AggregateKind(_always(MIN), _stored, _ordered, gives_field=True),
    "max": AggregateKind(_always(MAX), _stored, _ordered, gives_field=True),
    "distinct": AggregateKind(_always(DISTINCT), _stored, _counted),
    "last": AggregateKind(_always(value(0)), _stored, _single, gives_field=True),
    "first": AggregateKind(_always(value(-1)), _stored, _single, gives_field=True),
    "delta": AggregateKind(lambda n: (value(0), value(n)), _delta, _summed, n=range(1, 2)),
    "exists": AggregateKind(_always(COUNT), _exists, is_truth=True),
    "lag": AggregateKind(
        lambda n: (value(n),),
        _stored,
        _single,
        n=range(MOST_BEFORE + 1),
        text="lag_{n}",
        gives_field=True,
    ),
    "since_last": AggregateKind(
        _always(age(0)), _since, takes_unit=True, text="{units}_since_last"
    ),
    "since_first": AggregateKind(
        _always(age(-1)), _since, takes_unit=True, text="{units}_since_first"
    ),
    "rate": AggregateKind(
        _always(COUNT), _rate, takes_unit=True, needs_window=True, text="rate_per_{unit}"
    ),
    "median": AggregateKind(_always(Quantile("quantile")), _stored, _measured, gives_field=True),
    "quantile": AggregateKind(
        lambda n: (Quantile("quantile", per_mille=n),),
        _stored,
        _measured,
        n=range(1_001),
        text="quantile_{share}",
        gives_field=True,
    ),
}
"""By the name of the function that declares it."""


def column_text(kind: str, n: int, unit: str | None) -> str:
    """An aggregate's part of a column's name, such as ``lag_2`` or ``days_since_last``."""
    units = UNIT_NAMES[unit] if unit else ""
    text = AGGREGATES[kind].text or kind
    return text.format(n=n, share=f"{n / 1_000:g}", units=units, unit=units[:-1])
