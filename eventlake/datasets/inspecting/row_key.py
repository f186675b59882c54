"""The key by which a caller names one row of a dataset."""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any

import polars as pl

from eventlake.core.instants import instant_of
from eventlake.errors import InvalidInputError, NotFoundError


def row_of_key(
    pieces: Iterable[pl.DataFrame], schema: pl.Schema, names: tuple[str, ...], key: Any
) -> pl.DataFrame:
    """Find the one row with a key.

    Args:
        pieces: The rows of a dataset, of which one piece is in memory at a time.
        schema: Their columns.
        names: The key's columns.
        key: The value of the key column, the values of several in order, or a mapping of any
            columns to values. Text can stand for a value of any type.

    Raises:
        NotFoundError: There is no such row.
        InvalidInputError: The key is invalid, or several rows have it.
    """
    given = key.values() if isinstance(key, Mapping) else key
    parts = list(given) if isinstance(key, Mapping | list | tuple) else [key]
    values = dict(key) if isinstance(key, Mapping) else dict(zip(names, parts, strict=False))
    if (
        not values
        or (not isinstance(key, Mapping) and len(parts) != len(names))
        or not set(values) <= set(schema)
    ):
        message = (
            f"expected a key as values of {', '.join(names)}, "
            f"or a dict of columns and values, found {key!r}"
        )
        raise InvalidInputError(message, f"the columns are {', '.join(schema)}.")
    found, height = pl.DataFrame(schema=schema), 0
    try:
        chosen = [_is(schema[name], name, value) for name, value in values.items()]
        # An empty piece tells whether the key is valid, before any row is read.
        for piece in chain([found], pieces):
            there = piece.filter(*chosen)
            height += there.height
            found = found if found.height else there
    except (pl.exceptions.PolarsError, TypeError, ValueError, ArithmeticError) as error:
        message = f"{key!r} is not a valid key of these rows: {error}"
        raise InvalidInputError(message) from error
    described = ", ".join(f"{name} {value!r}" for name, value in values.items())
    if not height:
        message = f"there is no row with the key {described}"
        raise NotFoundError(message)
    if height > 1:
        message = f"{height:,} rows have {described}"
        raise InvalidInputError(message, f"name more columns; the key is {', '.join(names)}.")
    return found


def _is(kind: pl.DataType, name: str, value: Any) -> pl.Expr:
    """Whether a column has a value, which may be given as text.

    Raises:
        TypeError: It is not a single value, or a boolean for a column of another type.
        ValueError: It is not a finite number.
    """
    if value is None:
        return pl.col(name).is_null()
    if not isinstance(value, str | int | float | Decimal | date) or (
        # True would equal 1.
        isinstance(value, bool) and kind != pl.Boolean
    ):
        message = f"{name} is {kind}, not {value!r}"
        raise TypeError(message)
    if isinstance(kind, pl.Datetime) and isinstance(value, str | date):
        return pl.col(name).cast(pl.Int64) == _microseconds(value, zoned=kind.time_zone is not None)
    if isinstance(kind, pl.Decimal):
        with suppress(InvalidOperation):
            value = Decimal(str(value))
    if isinstance(value, Decimal | float) and not math.isfinite(value):
        message = f"{value!r} is not a finite number"
        raise ValueError(message)
    return (
        # The command line passes keys as text.
        pl.col(name).cast(pl.String) == value if isinstance(value, str) else pl.col(name) == value
    )


def _microseconds(value: str | date, *, zoned: bool) -> int:
    """An instant of a key in microseconds; without a time zone if the column has none."""
    if not zoned and isinstance(value, str):
        value = f"{value}Z"
    elif not zoned and isinstance(value, datetime):
        value = value.replace(tzinfo=UTC)
    return instant_of(value)
