"""Exact arithmetic over columns. Floats are computed only here.

Both engines return the same exact parts, so columns are equal bit for bit whichever engine ran.

A quotient of integers is correctly rounded. If both are below 2^53, one division of doubles does it
(IEEE 754 rounds it correctly); otherwise Python divides the integers, and rounds correctly as well.
"""

from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.core.counts import MAX_INT64, MIN_INT64

Numbers = npt.NDArray[Any]
"""64-bit integers, Python's integers if 64 bits are too few, or doubles."""
# The most that a decimal128 holds.
DIGITS = 38
_EXACT = 1 << 53


def times(values: Numbers, factor: int) -> Numbers:
    """Integers times an integer, as Python's integers if 64 bits are too few."""
    fits = values.dtype != object and int(np.abs(values).max(initial=0)) * factor <= MAX_INT64
    return values * factor if fits else values.astype(object) * factor


def scaled(units: pa.Array, scale: int) -> pa.Array:
    """Integers in units of a decimal's last digit, as decimal(38, scale): the same bytes."""
    # The buffers are read under another type. A cast would multiply the integers by a power of ten.
    return pa.Array.from_buffers(
        pa.decimal128(DIGITS, scale), len(units), units.buffers(), units.null_count, units.offset
    )


def integers(array: pa.Array) -> Numbers:
    """The values of an array without nulls, as Python's integers if 64 bits are too few."""
    if pa.types.is_integer(array.type):
        return np.asarray(array.cast(pa.int64()))
    words = np.frombuffer(array.buffers()[1], "<i8")[
        2 * array.offset : 2 * (array.offset + len(array))
    ].reshape(-1, 2)
    low, high = words[:, 0], words[:, 1]
    # A decimal128 is two 64-bit words. If the high one only repeats the sign, the low one is the
    # value.
    if np.array_equal(high, low >> 63):
        return low
    return np.array([int(value) for value in array.to_pylist()], object)


def _narrow(values: Numbers) -> Numbers:
    return (
        values.astype(np.int64)
        if all(MIN_INT64 <= value <= MAX_INT64 for value in values)
        else values
    )


def quotients(above: Numbers, below: Numbers) -> pa.Array:
    """Quotients of integers as float64, correctly rounded; null if the divisor is 0."""
    missing = below == 0
    divisors = np.where(missing, 1, below)
    if object not in {above.dtype, divisors.dtype} and _below_2_53(above) and _below_2_53(divisors):
        return pa.array(above.astype(np.float64) / divisors.astype(np.float64), mask=missing)
    pairs = zip(above.tolist(), divisors.tolist(), strict=True)
    return pa.array(
        # The comparison of Python's integers gives an array of objects, which a mask may not be.
        np.array([one / other for one, other in pairs], np.float64),
        mask=missing.astype(bool),
    )


def _below_2_53(values: Numbers) -> bool:
    return not len(values) or bool((values < _EXACT).all() and (values > -_EXACT).all())


def standard_deviations(
    number: Numbers, total: Numbers, squares: Numbers, *, unit: int
) -> pa.Array:
    """float64: the root of ``(n Σx² - (Σx)²) / (n (n - 1))``, whose integers are exact.

    Args:
        number: How many values.
        total: Their sum, in units of the last digit.
        squares: The sum of their squares, likewise.
        unit: How many units make one.
    """
    # Python's integers, because the products exceed 64 bits.
    number, total, squares = (one.astype(object) for one in (number, total, squares))
    above = number * squares - total * total
    below = number * (number - 1) * unit**2
    variance = quotients(_narrow(above), _narrow(below))
    return pa.array(
        np.sqrt(variance.fill_null(0).to_numpy()),
        mask=variance.is_null().to_numpy(zero_copy_only=False),
    )


def arithmetic(sign: str, left: pa.Array, right: pa.Array) -> pa.Array:
    """Arithmetic over two columns; null if either value is null, or for a division by 0.

    Exact over integers and decimals, except that quotients are rounded once to float64. If a float
    takes part, both sides are float64 (IEEE 754).
    """
    for side in (left, right):
        if not (
            pa.types.is_integer(side.type)
            or pa.types.is_decimal(side.type)
            or pa.types.is_floating(side.type)
        ):
            message = f"{side.type} is not numeric"
            raise pa.ArrowInvalid(message)
    null = pc.or_(left.is_null(), right.is_null()).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(left.type) or pa.types.is_floating(right.type):
        one, other = doubles(left), doubles(right)
        # Infinities and NaN are results of IEEE 754; NumPy would warn of them.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            result = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}[sign](
                one, other
            )
        return pa.array(result, mask=null | (other == 0) if sign == "/" else null)
    (one, scale), (other, other_scale) = _units(left), _units(right)
    if sign == "/":
        result = quotients(_narrow(one * 10**other_scale), _narrow(other * 10**scale))
        return pc.if_else(pa.array(null), pa.scalar(None, pa.float64()), result)
    if sign == "*":
        result, scale = one * other, scale + other_scale
    else:
        both = max(scale, other_scale)
        one, other, scale = one * 10 ** (both - scale), other * 10 ** (both - other_scale), both
        result = one + other if sign == "+" else one - other
    # A null counts as 0 above; its result is masked, but could overflow before.
    result[null] = 0
    if pa.types.is_integer(left.type) and pa.types.is_integer(right.type):
        # Python's integers are converted one by one: a value that does not fit is an OverflowError.
        return pa.array(result.astype(np.int64), pa.int64(), mask=null)
    if scale > DIGITS or any(abs(value) >= 10**DIGITS for value in result):
        message = f"more than {DIGITS} digits"
        raise pa.ArrowInvalid(message)
    return scaled(
        pa.array([Decimal(value) for value in result], pa.decimal128(DIGITS, 0), mask=null), scale
    )


def _units(array: pa.Array) -> tuple[Numbers, int]:
    """Values in units of the last digit, 0 for null, and the number of digits after the point."""
    if pa.types.is_integer(array.type):
        return array.fill_null(0).to_numpy().astype(object), 0
    plain = scaled(array.fill_null(pa.scalar(Decimal(0), array.type)), 0)
    return integers(plain).astype(object), array.type.scale


def doubles(array: pa.Array) -> Numbers:
    """Numbers as doubles, correctly rounded; 0 for null."""
    if pa.types.is_floating(array.type):
        return np.asarray(array.fill_null(0))
    units, scale = _units(array)
    return np.asarray(quotients(_narrow(units), np.full(len(units), 10**scale)))
