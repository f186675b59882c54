"""Check whether Arrow converts a pandas column of Python objects without changing a value.

Arrow takes the type of an instant from the first value. It then truncates nanoseconds, gives naive
datetimes the zone UTC, drops the time of day of a datetime among dates and the zone of a time,
encodes text among bytes, and stores a set in arbitrary order.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from eventlake.columns.intake.payload_text import none_if_missing

_FAMILIES = {
    frozenset(
        {"dates", "datetimes with a zone", "datetimes without a zone"}
    ): "make each of them a datetime with its zone, or each a date.",
    frozenset({"text", "bytes"}): "decode the bytes, or encode the text.",
    frozenset({"booleans", "integers"}): "write 0 and 1, or False and True.",
}
"""Kinds that Arrow would convert to one type, and what to write instead."""
_FINER = ("nanosecond", "nanoseconds")
"""Attributes of a pandas Timestamp and Timedelta that Python's types do not have."""
_SURE = frozenset(
    {"string", "bytes", "integer", "floating", "boolean", "decimal", "mixed-integer-float", "empty"}
)
"""Types inferred by pandas whose values Arrow reads unchanged, or refuses."""


def problem_of(values: Any) -> tuple[str, str] | None:
    """Find a value of a pandas series or index that Arrow would change.

    Args:
        values: A series or index of dtype ``object``.

    Returns:
        The problem and what to write instead; None if no value would be changed.
    """
    import pandas as pd  # noqa: PLC0415 - an extra, already imported by the caller

    # pandas looks at all values in compiled code; the loop below is for the columns that it leaves
    # open.
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
    """Yield the values at any depth, with a path shared by values that get the same type.

    Missing values are left out: they get any type.
    """
    for value in values:
        if none_if_missing(value) is None:
            continue
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield from _scalars([inner], f"{path}.{name}")
        elif isinstance(value, list | tuple) or bool(getattr(value, "ndim", False)):
            yield from _scalars(value, f"{path}[]")
        else:
            yield path, value


def _is_fine(value: Any) -> bool:
    """Whether a pandas value has nanoseconds."""
    return any(bool(getattr(value, name, 0)) for name in _FINER)


def _kind(value: Any) -> str | None:  # noqa: PLR0911 - one return per kind
    """The kind of a value, if Arrow may convert it to the type of another kind."""
    if isinstance(value, timedelta):
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
