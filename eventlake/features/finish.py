"""From exact parts to columns. The only place where a float is computed, so that both engines' columns are equal bit for bit.

A quotient of integers is correctly rounded: where both are below 2^53 by one division of doubles,
which IEEE 754 rounds correctly, else by Python's division of integers, which rounds correctly as
well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.errors import InvalidInputError
from eventlake.features.declared.feature import Aggregate, Arithmetic, Feature
from eventlake.features.declared.window import UNITS
from eventlake.features.planned.plan import Part, Plan
from eventlake.schemas.schema import FieldType

Parts = Mapping[Part, pa.Array]
Numbers = npt.NDArray[Any]
"""64-bit integers, Python's integers where those do not reach, or doubles."""
_EXACT = 1 << 53
_INT64 = 1 << 63
_DIGITS = 38


def columns(plan: Plan, parts: Parts, rows: int) -> dict[str, pa.Array]:
    """The column of every feature.

    Args:
        plan: Says what each is made of.
        parts: As an engine found them, each of ``rows`` values.
        rows: Of the spine.

    Raises:
        InvalidInputError: A sum, or what is computed of one, does not fit its type.
    """
    finisher = _Finisher(plan, parts, rows)
    return {feature.column: finisher.column(feature) for feature in plan.features.features}


@dataclass(frozen=True, slots=True)
class _Finisher:
    plan: Plan
    parts: Parts
    rows: int

    def column(self, feature: Feature) -> pa.Array:
        try:
            return self._value(feature)
        except (pa.ArrowInvalid, OverflowError) as error:
            message = f"feature set {self.plan.features.name}: {feature.column} does not fit its type: {error}"
            hint = "an integer has 64 bits, a decimal 38 digits; use mean, or a smaller window."
            raise InvalidInputError(
                message, hint, projection=self.plan.features.name, column=feature.column
            ) from error

    def _value(self, feature: Feature | int | Decimal) -> pa.Array:
        if isinstance(feature, Arithmetic):
            return _arithmetic(feature.sign, self._value(feature.left), self._value(feature.right))
        if isinstance(feature, Feature):
            return self._aggregate(feature)
        kind = (
            pa.int64()
            if isinstance(feature, int)
            else pa.decimal128(_DIGITS, max(-int(feature.as_tuple().exponent), 0))
        )
        return pa.repeat(pa.scalar(feature, kind), self.rows)

    def _aggregate(self, feature: Feature) -> pa.Array:
        (one,) = feature.aggregates()
        found = [self.parts[part] for part in self.plan.parts[one]]
        return _MADE[one.kind](one, found, self.plan.types.get(one))


def _count(_: Aggregate, found: list[pa.Array], __: FieldType | None) -> pa.Array:
    return found[0]


def _exists(_: Aggregate, found: list[pa.Array], __: FieldType | None) -> pa.Array:
    return pc.greater(found[0], 0)


def _rate(one: Aggregate, found: list[pa.Array], _: FieldType | None) -> pa.Array:
    return quotients(
        _times(_integers(found[0]), UNITS[one.unit or ""]), np.full(len(found[0]), one.span.length)
    )


def _sum(_: Aggregate, found: list[pa.Array], kind: FieldType | None) -> pa.Array:
    if kind is not None and kind.kind == "decimal":
        return scaled(found[0], kind.scale)
    return found[0].cast(pa.int64())


def _mean(_: Aggregate, found: list[pa.Array], kind: FieldType | None) -> pa.Array:
    number, total = _integers(found[0]), _integers(found[1])
    return quotients(total, _times(number, _power(kind)))


def _std(_: Aggregate, found: list[pa.Array], kind: FieldType | None) -> pa.Array:
    """The root of ``(n Σx² - (Σx)²) / (n (n - 1))``, whose integers are exact."""
    number, total, squares = (_integers(one).astype(object) for one in found)
    above = number * squares - total * total
    below = number * (number - 1) * _power(kind) ** 2
    variance = quotients(_narrow(above), _narrow(below))
    return pa.array(
        np.sqrt(variance.fill_null(0).to_numpy()),
        mask=variance.is_null().to_numpy(zero_copy_only=False),
    )


def _stored(_: Aggregate, found: list[pa.Array], __: FieldType | None) -> pa.Array:
    return found[0]


def _since(one: Aggregate, found: list[pa.Array], _: FieldType | None) -> pa.Array:
    age = found[0]
    made = quotients(_integers(age.fill_null(0)), np.full(len(age), UNITS[one.unit or ""]))
    return pc.if_else(age.is_valid(), made, pa.scalar(None, pa.float64()))


def _delta(_: Aggregate, found: list[pa.Array], __: FieldType | None) -> pa.Array:
    return _arithmetic("-", found[0], found[1])


_MADE: dict[str, Callable[[Aggregate, list[pa.Array], FieldType | None], pa.Array]] = {
    "count": _count,
    "exists": _exists,
    "rate": _rate,
    "sum": _sum,
    "mean": _mean,
    "std": _std,
    "since_last": _since,
    "since_first": _since,
    "delta": _delta,
    **dict.fromkeys(("min", "max", "distinct", "last", "first", "lag"), _stored),
}


def _power(kind: FieldType | None) -> int:
    """How many units of its last digit make one."""
    return 10**kind.scale if kind is not None and kind.kind == "decimal" else 1


def _times(values: Numbers, factor: int) -> Numbers:
    """Integers times an integer, without a wrap."""
    fits = values.dtype != object and int(np.abs(values).max(initial=0)) * factor < _INT64
    return values * factor if fits else values.astype(object) * factor


def scaled(units: pa.Array, scale: int) -> pa.Array:
    """Integers in units of a decimal's last digit, as decimal(38, scale): the same bytes."""
    return pa.Array.from_buffers(
        pa.decimal128(_DIGITS, scale), len(units), units.buffers(), units.null_count, units.offset
    )


def _integers(array: pa.Array) -> Numbers:
    """The values of an array without nulls, as 64-bit integers where they fit, else as Python's."""
    if pa.types.is_integer(array.type):
        return np.asarray(array.cast(pa.int64()))
    words = np.frombuffer(array.buffers()[1], "<i8")[
        2 * array.offset : 2 * (array.offset + len(array))
    ].reshape(-1, 2)
    low, high = words[:, 0], words[:, 1]
    if np.array_equal(high, low >> 63):
        return low
    return np.array([int(value) for value in array.to_pylist()], object)


def _narrow(values: Numbers) -> Numbers:
    return values.astype(np.int64) if all(-_INT64 <= value < _INT64 for value in values) else values


def quotients(above: Numbers, below: Numbers) -> pa.Array:
    """float64: integers divided by integers, each correctly rounded; null where the divisor is 0."""
    missing = below == 0
    divisors = np.where(missing, 1, below)
    if object not in {above.dtype, divisors.dtype} and _below_2_53(above) and _below_2_53(divisors):
        return pa.array(above.astype(np.float64) / divisors.astype(np.float64), mask=missing)
    pairs = zip(above.tolist(), divisors.tolist(), strict=True)
    return pa.array(
        np.array([one / other for one, other in pairs], np.float64), mask=missing.astype(bool)
    )


def _below_2_53(values: Numbers) -> bool:
    return not len(values) or bool((values < _EXACT).all() and (values > -_EXACT).all())


def _arithmetic(sign: str, left: pa.Array, right: pa.Array) -> pa.Array:
    """Exact over integers and decimals but for quotients; over doubles as IEEE 754 has it. Null with null is null."""
    for side in (left, right):
        if not (
            pa.types.is_integer(side.type)
            or pa.types.is_decimal(side.type)
            or pa.types.is_floating(side.type)
        ):
            message = f"{side.type} cannot be computed with"
            raise pa.ArrowInvalid(message)
    null = pc.or_(left.is_null(), right.is_null()).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(left.type) or pa.types.is_floating(right.type):
        one, other = doubles(left), doubles(right)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            made = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}[sign](
                one, other
            )
        return pa.array(made, mask=null | (other == 0) if sign == "/" else null)
    (one, scale), (other, other_scale) = _units(left), _units(right)
    if sign == "/":
        made = quotients(_narrow(one * 10**other_scale), _narrow(other * 10**scale))
        return pc.if_else(pa.array(null), pa.scalar(None, pa.float64()), made)
    if sign == "*":
        made, scale = one * other, scale + other_scale
    else:
        both = max(scale, other_scale)
        one, other, scale = one * 10 ** (both - scale), other * 10 ** (both - other_scale), both
        made = one + other if sign == "+" else one - other
    made[null] = 0
    if pa.types.is_integer(left.type) and pa.types.is_integer(right.type):
        return pa.array(
            made.astype(np.int64), pa.int64(), mask=null
        )  # an OverflowError where one does not fit
    if scale > _DIGITS or any(abs(value) >= 10**_DIGITS for value in made):
        message = f"more than {_DIGITS} digits"
        raise pa.ArrowInvalid(message)
    return scaled(
        pa.array([Decimal(value) for value in made], pa.decimal128(_DIGITS, 0), mask=null), scale
    )


def _units(array: pa.Array) -> tuple[Numbers, int]:
    """Integers and decimals in their last digit, null being 0, and the number of digits behind the point."""
    if pa.types.is_integer(array.type):
        return array.fill_null(0).to_numpy().astype(object), 0
    plain = scaled(array.fill_null(pa.scalar(Decimal(0), array.type)), 0)
    return _integers(plain).astype(object), array.type.scale


def doubles(array: pa.Array) -> Numbers:
    """Numbers as doubles, each correctly rounded, null being 0."""
    if pa.types.is_floating(array.type):
        return np.asarray(array.fill_null(0))
    units, scale = _units(array)
    return np.asarray(quotients(_narrow(units), np.full(len(units), 10**scale)))
