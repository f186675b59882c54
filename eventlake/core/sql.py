"""Spelling SQL: whatever is not written in the project's own source reaches a query through one of these functions."""

from collections.abc import Iterable

from eventlake.errors import InvalidInputError

_INT64 = 1 << 63

_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def folded(name: str) -> str:
    """A name as DuckDB compares names: without the case of ASCII letters, and of no others."""
    return name.translate(_LOWER)


def named(columns: Iterable[str], name: str) -> str | None:
    """The column that a name means; None where there is none."""
    return next((column for column in columns if folded(column) == folded(name)), None)


def alike_in_sql(columns: Iterable[str]) -> tuple[str, str] | None:
    """The first two different names that SQL does not tell apart; None if there are none."""
    first: dict[str, str] = {}
    return next(
        (
            (other, name)
            for name in columns
            if (other := first.setdefault(folded(name), name)) != name
        ),
        None,
    )


def identifier(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def integer(value: int) -> str:
    """A SQL integer of 64 bits.

    Raises:
        InvalidInputError: It is no such integer.
    """
    if type(value) is not int or not -_INT64 <= value < _INT64:
        message = f"expected a whole number of 64 bits, found {str(value)[:200]!r}"
        raise InvalidInputError(message)
    return str(value)
