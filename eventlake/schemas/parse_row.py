"""Parse one payload with a schema: its values, and what is wrong with it.

This is the reference; ``parse`` does the same for whole columns and falls back to this module for
anything unusual. An integer has no point and no exponent. A decimal is a number, or a text of one.
Only fields that are declared as doubles pass through a double.
"""

import re
from collections.abc import Iterator
from datetime import date
from decimal import Context, Decimal, DecimalException
from typing import Any

from eventlake.columns.intake.exact_json import decimal_of, exact_json
from eventlake.core.counts import MAX_INT64, MIN_INT64
from eventlake.core.instants import parse_instant
from eventlake.schemas.limits import NumberRange
from eventlake.schemas.schema import FieldType

Broken = tuple[str, str, Any]
"""The path of a value, what was expected, and what was found."""

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SHOWN = 200
_FAR = 1_000
"""No decimal of 38 digits has its first digit this far from the point."""
# Python's default context rounds to 28 digits, and a payload's number may have more.
_WIDE = Context(prec=10_000, Emax=999_999, Emin=-999_999)
_PYTHON = {"bool": bool, "utf8": str}


def read(
    payload: str | None, schema: FieldType, *, stored: bool = False
) -> tuple[dict[str, Any], list[Broken]]:
    """The values of the schema's fields in a payload, and everything that is wrong with it.

    Args:
        payload: JSON text; None and ``null`` are read as ``{}``.
        schema: The struct to read.
        stored: Whether the payload was accepted before. Its instants may have offsets that only
            earlier versions accepted.

    Returns:
        Values by field, instants in microseconds; and the problems.
    """
    broken: list[Broken] = []
    try:
        value = None
        if payload is not None:
            value = exact_json(payload)
        found = _value({} if value is None else value, schema, "data", broken, stored=stored)
    except (ValueError, DecimalException) as error:
        return {}, [("data", f"expected JSON ({error})", (payload or "")[:_SHOWN])]
    return (found if isinstance(found, dict) else {}), broken


def _value(value: Any, kind: FieldType, path: str, broken: list[Broken], *, stored: bool) -> Any:
    if kind.kind == "struct":
        return _struct(value, kind, path, broken, stored=stored)
    if kind.item is not None:
        return _list(value, kind.item, path, broken, stored=stored)
    expected, found = scalar(value, kind, stored=stored)
    if expected is not None:
        broken.append((path, expected, value))
    return found


def _struct(
    value: Any, kind: FieldType, path: str, broken: list[Broken], *, stored: bool
) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        broken.append((path, "expected an object", value))
        return None
    found: dict[str, Any] = {}
    for field in kind.fields:
        item = value.get(field.name)
        below = f"{path}.{field.name}"
        if item is not None:
            found[field.name] = _value(item, field.type, below, broken, stored=stored)
        elif field.required:
            broken.append(
                (
                    below,
                    f"required ({field.type}), but {'null' if field.name in value else 'missing'}",
                    None,
                )
            )
    if kind.closed:
        known = {field.name for field in kind.fields}
        broken += [
            (f"{path}.{name}", "no such field in the schema", item)
            for name, item in value.items()
            if name not in known
        ]
    return found


def _list(
    value: Any, item: FieldType, path: str, broken: list[Broken], *, stored: bool
) -> list[Any] | None:
    if not isinstance(value, list):
        broken.append((path, "expected an array", value))
        return None
    broken += [
        (f"{path}[{number}]", f"expected {item}", None)
        for number, one in enumerate(value)
        if one is None
    ]
    return [
        _value(one, item, f"{path}[{number}]", broken, stored=stored)
        for number, one in enumerate(value)
        if one is not None
    ]


def scalar(value: Any, kind: FieldType, *, stored: bool = False) -> tuple[str | None, Any]:
    """What was expected, None if the value fits; and the value."""
    if kind.kind in _PYTHON:
        # The exact type: ``True`` is an int.
        if type(value) is not _PYTHON[kind.kind] or (kind.values and value not in kind.values):
            return f"expected {kind}", None
        return None, value
    if kind.kind in {"date", "timestamp"}:
        return _moment(value, kind.kind, stored=stored)
    return _number(value, kind)


def _moment(value: Any, kind: str, *, stored: bool) -> tuple[str | None, Any]:
    try:
        if kind == "date":
            if isinstance(value, str) and DATE.fullmatch(value):
                return None, date.fromisoformat(value)
        elif isinstance(value, str):
            return None, parse_instant(value, stored=stored)
    except ValueError:
        pass
    if kind == "date":
        return "expected a date as YYYY-MM-DD", None
    return "expected an instant as RFC 3339 with a zone, to the microsecond", None


def _number(value: Any, kind: FieldType) -> tuple[str | None, Any]:  # noqa: PLR0911 - a reason each
    if kind.kind == "decimal" and isinstance(value, str) and NUMBER.fullmatch(value):
        value = decimal_of(value)
    if type(value) is not int and not isinstance(value, Decimal):
        return f"expected {kind}", None
    if kind.kind == "float64":
        return None, float(value) + 0.0  # -0.0 becomes 0.0, so that equal values have one hash
    if kind.kind == "int64":
        if type(value) is not int or not MIN_INT64 <= value <= MAX_INT64:
            return f"expected {kind}: a whole number of 64 bits, without point and exponent", None
        exact = Decimal(value)
    else:
        given = Decimal(value)
        # Beyond that the context would round silently, to 0 at its lower end.
        if given and (abs(given.adjusted()) > _FAR or _WIDE.create_decimal(given) != given):
            return f"expected {kind}, no digit lost", None
        unscaled = (_WIDE.create_decimal(given) if given else Decimal(0)).scaleb(kind.scale, _WIDE)
        if (
            unscaled != unscaled.to_integral_value(context=_WIDE)
            or unscaled.copy_abs() >= 10**kind.precision
        ):
            return f"expected {kind}, no digit lost", None
        exact = value = unscaled.to_integral_value(context=_WIDE).scaleb(-kind.scale, _WIDE)
    if not NumberRange(kind.minimum, kind.maximum).allows(exact, exact):
        return f"expected {kind}", None
    return None, value


def problems(payload: str | None, schema: FieldType) -> Iterator[Broken]:
    """What is wrong with a payload."""
    yield from read(payload, schema)[1]
