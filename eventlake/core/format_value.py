"""Format values as JSON and as unambiguous text."""

import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

_LONGEST = 200
_AROUND = 20


def plain(value: Any) -> Any:
    """Convert a value to JSON values; dates, times, bytes and inexact numbers become text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return _text(value)


def _text(value: Any) -> str:
    # Plain notation keeps trailing zeros and has no exponent.
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime | date | time):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value // timedelta(microseconds=1)} µs"
    return str(value)


def shown(value: Any) -> str:
    """Format a value on one line, with text in quotes."""
    if isinstance(value, str | list | tuple | dict | bool) or value is None:
        return json.dumps(plain(value), ensure_ascii=False)
    return str(plain(value))


def shown_pair(before: Any, after: Any) -> tuple[str, str]:
    """Format two values on one line each; long ones are cut around their first difference."""
    first, second = shown(before), shown(after)
    if len(first) <= _LONGEST and len(second) <= _LONGEST:
        return first, second
    same = next(
        (n for n, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]),
        min(len(first), len(second)),
    )
    # Values that differ near their beginning are shown from the beginning.
    start = max(0, same - _AROUND) if same > _LONGEST // 2 else 0
    return _cut(first, start), _cut(second, start)


def shown_short(value: Any) -> str:
    """Format a value on one line, cut if it is long."""
    return _cut(shown(value), 0)


def _cut(text: str, start: int) -> str:
    cut = text[start : start + _LONGEST]
    more = len(text) - start - len(cut)
    return ("… " if start else "") + cut + (f" … ({more:,} more characters)" if more > 0 else "")
