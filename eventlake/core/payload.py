"""Convert Python values to JSON text by rules that never change (see ``tests/formats``).

Payloads given as ``str`` or ``bytes`` are never serialized again; this is for dicts, lists and
scalars. Keys keep their order, only what must be escaped is escaped, and there are no blanks.

- ``float`` uses Python's shortest round-trip form.
- ``Decimal`` is in plain notation with all its digits: ``Decimal("100.00")`` is ``100.00``.
- An aware ``datetime`` is RFC 3339 in UTC, a ``date`` is ISO 8601, and a ``UUID`` is text.
"""

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from json.encoder import encode_basestring as quoted
from numbers import Integral
from typing import Any
from uuid import UUID

from eventlake.core.attributes import MAX_PAYLOAD_DEPTH
from eventlake.core.instants import format_instant, micros

# The largest power of ten in a double, which limits the numbers of a payload. In plain notation
# ``1E+999999999`` would be a gigabyte of zeros.
_MAX_DECIMAL_EXPONENT = 308
_BY_NAME = {
    "NAType": "None",
    "set": "sorted(value)",
    "frozenset": "sorted(value)",
    "bytes": "value.decode() for text, or base64.b64encode(value).decode()",
    "bytearray": "value.decode() for text, or base64.b64encode(value).decode()",
    "memoryview": "base64.b64encode(value).decode()",
    "timedelta": "value.total_seconds(), or str(value)",
    "DataFrame": "value.to_dicts() of Polars, value.to_dict('records') of pandas",
}
_BY_ATTRIBUTE = (
    ("model_dump", "value.model_dump(mode='json')"),
    ("__dataclass_fields__", "dataclasses.asdict(value)"),
    ("__attrs_attrs__", "attrs.asdict(value)"),
    ("_member_type_", "value.value"),
    ("to_list", "value.to_list()"),
    ("dtype", "value.item() for one number, value.tolist() for an array"),
    ("__fspath__", "str(value)"),
    ("__next__", "list(value)"),
    ("__iter__", "list(value)"),
)


def to_json(value: Any, depth: int = 0) -> str:
    """Convert a value to JSON text.

    Raises:
        ValueError: The value contains NaN, infinity or a naive datetime, or is nested too deeply.
        TypeError: The value contains a type or a key that JSON does not have.
    """
    if depth > MAX_PAYLOAD_DEPTH:
        message = f"nested deeper than {MAX_PAYLOAD_DEPTH}"
        raise ValueError(message)
    # By the exact type first: an ``isinstance`` with an abstract class is slow.
    if write := _BY_TYPE.get(type(value)):
        return write(value)
    if isinstance(value, str):
        return quoted(value)
    if type(value) is dict or isinstance(value, Mapping):
        return (
            "{"
            + ",".join([f"{_key(key)}:{to_json(item, depth + 1)}" for key, item in value.items()])
            + "}"
        )
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([to_json(item, depth + 1) for item in value]) + "]"
    return _scalar(value)


def _key(key: Any) -> str:
    if type(key) is str or isinstance(key, str):
        return quoted(key)
    message = f"expected keys as text, found {key!r}: write str(key)"
    raise TypeError(message)


def _scalar(value: Any) -> str:
    # Before integers and days, because a bool is an integer and a datetime is a date.
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Integral):
        # Subclasses may have a ``repr`` of their own: numpy writes ``np.float64(1.5)``.
        return int.__repr__(int(value))
    if isinstance(value, float | Decimal):
        return _number(value)
    if isinstance(value, datetime):
        return quoted(format_instant(_micros(value)))
    if isinstance(value, date):
        return quoted(value.isoformat())
    if isinstance(value, UUID):
        return quoted(str(value))
    message = f"{type(value).__name__} has no JSON form: write {plain_form(value)}"
    raise TypeError(message)


def plain_form(value: Any) -> str:
    """An expression in ``value`` that converts it to a type that JSON has."""
    kind = type(value).__name__
    if kind in _BY_NAME:
        return _BY_NAME[kind]
    return next(
        (form for attribute, form in _BY_ATTRIBUTE if hasattr(value, attribute)), "str(value)"
    )


def _micros(value: datetime) -> int:
    if value != value:  # noqa: PLR0124 - NaT differs from itself
        message = f"JSON has no {value}: write None for a value that is missing"
        raise ValueError(message)
    try:
        return micros(value)
    except ValueError as error:
        hint = ": write value.replace(tzinfo=UTC)" if value.tzinfo is None else ""
        message = f"{error}{hint}"
        raise ValueError(message) from None


def _number(value: float | Decimal) -> str:
    if not math.isfinite(value):
        message = f"JSON has no {value}: write None for a value that is missing"
        raise ValueError(message)
    if isinstance(value, float):
        return float.__repr__(value)
    if abs(value.adjusted()) > _MAX_DECIMAL_EXPONENT:
        message = (
            f"expected a decimal of at most {_MAX_DECIMAL_EXPONENT} digits "
            "before or after the point"
        )
        raise ValueError(message)
    return f"{value:f}"


_BY_TYPE: dict[type, Callable[[Any], str]] = {
    str: quoted,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): lambda _: "null",
    int: int.__repr__,
    float: _number,
    Decimal: _number,
}
"""How values of the most frequent types are written; equal to what ``_scalar`` does."""
