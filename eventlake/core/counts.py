"""Check numbers of a caller: integers and seconds within bounds, never a bool, text or NaN."""

from numbers import Integral, Real
from typing import Any

from eventlake.errors import InvalidInputError

MIN_INT64, MAX_INT64 = -(1 << 63), (1 << 63) - 1
"""The range of integers in columns, in SQL and in stored documents."""
_MAX_SECONDS = 1_000_000_000
"""About 30 years, which every system call accepts."""


def integer(value: Any, name: str) -> int:
    """Convert an integer of any type to int.

    Raises:
        TypeError: The value is not an integer.
    """
    # ``True`` is an Integral and would pass for 1.
    if isinstance(value, bool) or not isinstance(value, Integral):
        message = f"expected {name} as an integer, found {value!r}"
        raise TypeError(message)
    return int(value)


def count(value: Any, name: str, least: int = 0, most: int = MAX_INT64) -> int:
    """Convert an integer from ``least`` to ``most``, inclusive, to int.

    Raises:
        TypeError: The value is not an integer.
        InvalidInputError: The value is out of bounds.
    """
    number = integer(value, name)
    if not least <= number <= most:
        bounds = f"from {least:,}" if most == MAX_INT64 else f"from {least:,} to {most:,}"
        message = f"expected {name} {bounds}, found {number:,}"
        raise InvalidInputError(message, argument=name)
    return number


def seconds(value: Any, name: str, *, positive: bool = False) -> float:
    """Convert a number of seconds, at least or above 0, to float.

    Raises:
        TypeError: The value is not a number.
        InvalidInputError: The value is out of bounds or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        message = f"expected {name} as a number, found {value!r}"
        raise TypeError(message)
    number = float(value)
    # NaN fails this comparison like a number out of bounds.
    if not 0 <= number <= _MAX_SECONDS or (positive and not number):
        least = "above" if positive else "from"
        message = f"expected {name} {least} 0 and at most {_MAX_SECONDS:,} seconds, found {value!r}"
        raise InvalidInputError(message, argument=name)
    return number
