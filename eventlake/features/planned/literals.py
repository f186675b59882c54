"""Values of conditions, spelled in the type of their field, and written for either engine."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any

import polars as pl

from eventlake.core.counts import MAX_INT64, MIN_INT64
from eventlake.core.instants import from_micros, parse_instant
from eventlake.core.sql import integer, quoted
from eventlake.schemas.schema import FieldType

Plain = str | int | bool
"""Values that JSON represents exactly."""


def spelled(value: Plain, kind: FieldType, sign: str) -> Plain:
    """The one spelling of a value of a type.

    Raises:
        ValueError: The value is not of the type; the error's argument is what was found.
    """
    # Booleans have no order.
    if kind.kind not in _SPELL or (kind.kind == "bool" and sign not in {"==", "!=", "in"}):
        raise ValueError(repr(value))
    try:
        return _SPELL[kind.kind](value, kind)
    except (TypeError, ValueError, OverflowError, InvalidOperation) as error:
        raise ValueError(repr(value)) from error


def _bool(value: Plain, _: FieldType) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _number(value: Plain) -> Decimal:
    number = Decimal(value) if not isinstance(value, bool) else None
    if number is None or not number.is_finite():
        raise ValueError
    return number


def _int(value: Plain, _: FieldType) -> int:
    number = _number(value)
    if number != int(number) or not MIN_INT64 <= number <= MAX_INT64:
        raise ValueError
    return int(number)


def _decimal(value: Plain, kind: FieldType) -> str:
    number = _number(value)
    # ``quantize`` fails if the result has more digits than the type.
    with localcontext(prec=kind.precision):
        placed = number.quantize(Decimal(1).scaleb(-kind.scale))
    if placed != number:
        raise ValueError
    return f"{placed:f}"


def _float(value: Plain, _: FieldType) -> str:
    return repr(float(_number(value)))


def _text(value: Plain, kind: FieldType) -> str:
    if not isinstance(value, str) or (kind.values and value not in kind.values):
        raise ValueError
    return value


def _date(value: Plain, _: FieldType) -> str:
    return date.fromisoformat(str(value)).isoformat()


def _instant(value: Plain, _: FieldType) -> str:
    return from_micros(parse_instant(str(value))).isoformat()


_SPELL: dict[str, Callable[[Plain, FieldType], Plain]] = {
    "bool": _bool,
    "int64": _int,
    "decimal": _decimal,
    "float64": _float,
    "utf8": _text,
    "date": _date,
    "timestamp": _instant,
}


def in_sql(value: Plain, kind: FieldType) -> str:
    """A spelled value in SQL; without a cast if its type is unknown, as in a plan for reading."""
    if kind.kind not in _SPELL:
        if isinstance(value, str):
            return quoted(value)
        # In Python, a bool is an integer as well.
        if isinstance(value, bool):
            return "true" if value else "false"
        return integer(value)
    types = {
        "bool": "BOOLEAN",
        "int64": "BIGINT",
        "decimal": f"DECIMAL({integer(kind.precision)}, {integer(kind.scale)})",
        "float64": "DOUBLE",
        "utf8": "VARCHAR",
        "date": "DATE",
        "timestamp": "TIMESTAMPTZ",
    }
    # Every value is quoted text with a cast, so that none is read as another type.
    return f"{quoted(str(value))}::{types[kind.kind]}"


def in_polars(value: Plain, kind: FieldType) -> pl.Expr:
    """A spelled value as a Polars literal."""
    if kind.kind == "decimal":
        return pl.lit(Decimal(str(value)), pl.Decimal(kind.precision, kind.scale))
    python: dict[str, Any] = {
        "float64": float,
        "date": date.fromisoformat,
        "timestamp": datetime.fromisoformat,
    }
    plain = python[kind.kind](value) if kind.kind in python else value
    return pl.lit(plain, pl.Datetime("us", "UTC") if kind.kind == "timestamp" else None)


def in_python(value: Plain, kind: FieldType) -> str:
    """A spelled value as the source of a Polars literal."""
    if kind.kind == "decimal":
        return f"pl.lit(Decimal({value!r}), pl.Decimal({kind.precision}, {kind.scale}))"
    if kind.kind == "timestamp":
        return f"pl.lit(datetime.fromisoformat({value!r}), pl.Datetime('us', 'UTC'))"
    in_polars = {"date": f"date.fromisoformat({value!r})", "float64": f"float({value!r})"}
    return f"pl.lit({in_polars.get(kind.kind, repr(value))})"
