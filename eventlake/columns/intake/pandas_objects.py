"""Python values in a pandas column of objects: whether Arrow gives them one type without changing any of them.

Arrow looks at the first value for the type of an instant. It then cuts nanoseconds, gives naive
datetimes the zone UTC, takes the time of day off a datetime among dates and the zone off a time,
encodes text among bytes, and keeps a set in any order.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

_FAMILIES = {
    frozenset(
        {"dates", "datetimes with a zone", "datetimes without a zone"}
    ): "make each of them a datetime with its zone, or each a date.",
    frozenset({"text", "bytes"}): "decode the bytes, or encode the text.",
    frozenset({"booleans", "integers"}): "write 0 and 1, or False and True.",
}
"""Kinds of which Arrow would make one, and what to write instead."""
_FINER = ("nanosecond", "nanoseconds")
"""What pandas calls the part of a Timestamp and a Timedelta that Python's types do not have."""
_SURE = frozenset(
    {"string", "bytes", "integer", "floating", "boolean", "decimal", "mixed-integer-float", "empty"}
)
"""What pandas infers of values that Arrow reads as they are, or refuses."""


def problem_of(values: Any) -> tuple[str, str] | None:
    """What Arrow would change of the values of a pandas series or index, and what to write instead; None if nothing.

    Args:
        values: Of dtype ``object``.
    """
    import pandas as pd  # noqa: PLC0415 - an extra, and it made the values

    if pd.api.types.infer_dtype(values, skipna=True) in _SURE:
        return None
    kinds: dict[str, set[str]] = {}
    for path, value in _scalars(values, ""):
        if isinstance(value, set | frozenset):
            return (
                f"expected lists, found {value!r}",
                "a set has no order: sorted(value) makes a list of it.",
            )
        if isinstance(value, time) and value.tzinfo is not None:
            return (
                f"expected times without a zone, found {value!r}",
                "give a datetime, or the time in one zone for all rows.",
            )
        if _is_fine(value):
            return (
                f"expected microseconds at the finest, found {value!r}",
                "round it where it is made: value.round('us').",
            )
        kind = _kind(value)
        if kind is not None:
            kinds.setdefault(path, set()).add(kind)
    for found in kinds.values():
        for family, hint in _FAMILIES.items():
            if len(found & family) > 1:
                return (
                    f"expected values of one type, found {' and '.join(sorted(found & family))}",
                    hint,
                )
    return None


def _scalars(values: Iterable[Any], path: str) -> Iterator[tuple[str, Any]]:
    """The values, those inside of lists and dicts too, with a path that is the same for those that get one type."""
    for value in values:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield from _scalars([inner], f"{path}.{name}")
        elif isinstance(value, list | tuple) or bool(getattr(value, "ndim", False)):
            yield from _scalars(value, f"{path}[]")
        else:
            yield path, value


def _is_fine(value: Any) -> bool:
    """Whether a value of pandas' has nanoseconds; NaT has none."""
    return bool(value == value) and any(bool(getattr(value, name, 0)) for name in _FINER)  # noqa: PLR0124 - NaT


def _kind(value: Any) -> str | None:  # noqa: PLR0911 - a kind each
    """The kind of a value that Arrow would take for another kind beside it."""
    if value != value or isinstance(value, timedelta):  # noqa: PLR0124 - NaN and NaT
        return None
    if isinstance(value, datetime):
        return "datetimes without a zone" if value.utcoffset() is None else "datetimes with a zone"
    if isinstance(value, date):
        return "dates"
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return "booleans"
    return "integers" if hasattr(value, "bit_length") or hasattr(value, "bit_count") else None
