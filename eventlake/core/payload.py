"""Python values to JSON text, by one rule that never changes (golden vectors in ``tests/golden``).

Text given as ``str`` or ``bytes`` is never re-serialised: this is for dicts, lists and scalars alone. Keys keep their order, nothing is
escaped that need not be, no blanks. ``int`` and ``bool`` as JSON has them; ``float`` by Python's shortest round-trip spelling;
``Decimal`` in plain notation with every digit it has (``Decimal("100.00")`` is ``100.00``); an aware ``datetime`` as RFC 3339 in UTC,
``date`` as ISO 8601, ``UUID`` as text.
"""

import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from json.encoder import encode_basestring as quoted
from numbers import Integral
from typing import Any
from uuid import UUID

from eventlake.core.attributes import MAX_PAYLOAD_DEPTH
from eventlake.core.instants import format_instant, micros

_MAX_DECIMAL_EXPONENT = 308


def to_json(value: Any, depth: int = 0) -> str:
    """The JSON text of ``value``.

    Raises:
        ValueError: NaN or infinity, a naive datetime, nesting deeper than the limit.
        TypeError: A value or key that JSON has no place for.
    """
    if depth > MAX_PAYLOAD_DEPTH:
        message = f"nested deeper than {MAX_PAYLOAD_DEPTH}"
        raise ValueError(message)
    if isinstance(value, str):
        return quoted(value)
    if type(value) is dict or isinstance(value, Mapping):
        return "{" + ",".join([f"{_key(key)}:{to_json(item, depth + 1)}" for key, item in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([to_json(item, depth + 1) for item in value]) + "]"
    return _scalar(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return quoted(key)
    message = f"keys must be strings, found {key!r}"
    raise TypeError(message)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Integral):
        return int.__repr__(int(value))
    if isinstance(value, float | Decimal):
        return _number(value)
    if isinstance(value, datetime):
        return quoted(format_instant(micros(value)))
    if isinstance(value, date):
        return quoted(value.isoformat())
    if isinstance(value, UUID):
        return quoted(str(value))
    message = f"{type(value).__name__} has no JSON form"
    raise TypeError(message)


def _number(value: float | Decimal) -> str:
    if not math.isfinite(value):
        message = f"JSON has no {value}"
        raise ValueError(message)
    if isinstance(value, float):
        return float.__repr__(value)
    if abs(value.adjusted()) > _MAX_DECIMAL_EXPONENT:
        message = f"expected a decimal of at most {_MAX_DECIMAL_EXPONENT} digits before or behind the point"
        raise ValueError(message)
    return f"{value:f}"
