"""Quote values for SQL; every value that is not a literal of the source passes through here."""

from collections.abc import Iterable

from eventlake.core.counts import MAX_INT64, MIN_INT64
from eventlake.errors import InvalidInputError

# ``str.lower`` would join names that DuckDB keeps apart, such as É and é.
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def folded(name: str) -> str:
    """Fold a name as DuckDB compares names: only ASCII letters ignore case."""
    return name.translate(_LOWER)


def named(columns: Iterable[str], name: str) -> str | None:
    """The column that a name refers to in SQL; None if there is none."""
    return next((column for column in columns if folded(column) == folded(name)), None)


def alike_in_sql(columns: Iterable[str]) -> tuple[str, str] | None:
    """The first two names that differ only in case for SQL; None if there are none."""
    # One pass over the names, as in ``names.repeated``.
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
    """Quote a SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """Quote a SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def integer(value: int) -> str:
    """Format a SQL integer of 64 bits.

    Raises:
        InvalidInputError: The value is not an integer of 64 bits.
    """
    if type(value) is not int or not MIN_INT64 <= value <= MAX_INT64:
        message = f"expected a whole number of 64 bits, found {str(value)[:200]!r}"
        raise InvalidInputError(message)
    return str(value)
