"""Numbers that a caller gives: counts and seconds within bounds; no bool, text, fraction of a count or NaN."""

from numbers import Integral, Real
from typing import Any

from eventlake.errors import InvalidInputError

_MOST = (1 << 63) - 1
_LONGEST = 1_000_000_000
"""Seconds: some 30 years, which every system call takes."""


def integer(value: Any, name: str) -> int:
    """A whole number as an int.

    Raises:
        TypeError: It is none; a verb says of which argument.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        message = f"expected {name} as an integer, found {value!r}"
        raise TypeError(message)
    return int(value)


def count(value: Any, name: str, least: int = 0, most: int = _MOST) -> int:
    """A whole number from ``least`` to ``most``, as an int.

    Raises:
        TypeError: It is no whole number.
        InvalidInputError: It is out of bounds.
    """
    number = integer(value, name)
    if not least <= number <= most:
        bounds = f"from {least:,}" if most == _MOST else f"from {least:,} to {most:,}"
        message = f"expected {name} {bounds}, found {number:,}"
        raise InvalidInputError(message, argument=name)
    return number


def seconds(value: Any, name: str, *, positive: bool = False) -> float:
    """Seconds from 0, or above 0.

    Raises:
        TypeError: It is no number; a verb says of which argument.
        InvalidInputError: It is out of bounds, or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        message = f"expected {name} as a number, found {value!r}"
        raise TypeError(message)
    number = float(value)
    if not 0 <= number <= _LONGEST or (positive and not number):
        message = f"expected {name} {'above' if positive else 'from'} 0 and at most {_LONGEST:,} seconds, found {value!r}"
        raise InvalidInputError(message, argument=name)
    return number
