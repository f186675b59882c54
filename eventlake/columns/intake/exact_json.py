"""Read JSON without losing a digit of its numbers."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any

import jiter

from eventlake.columns.intake.json_scan import scan_one

_FARTHEST = 10**17
"""An exponent that ``Decimal`` accepts, beyond every other type of numbers."""


def exact_json(text: str) -> Any:
    """The value of a payload; numbers with a point or an exponent are ``Decimal``.

    Raises:
        ValueError: The text is no payload.
    """
    data = text.encode()
    try:
        return jiter.from_json(
            data, float_mode="decimal", catch_duplicate_keys=True, allow_inf_nan=False
        )
    except ValueError:
        # A payload may have an exponent of 19 digits, from which ``Decimal`` makes no number.
        if scan_one(data) is not None:
            raise
        return json.loads(text, parse_float=decimal_of)


def decimal_of(number: str) -> Decimal:
    """A number in JSON's spelling, or Python's, as a decimal.

    An exponent that ``Decimal`` does not accept is replaced by a smaller one of the same sign: the
    value is the same as a double, and beyond every other type, as it was. Zero stays zero.
    """
    try:
        return Decimal(number)
    except InvalidOperation:
        digits, _, exponent = number.lower().partition("e")
        sign = "-" if exponent.startswith("-") else ""
        return Decimal(f"{digits}e{sign}{_FARTHEST}")
