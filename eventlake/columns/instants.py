"""Whole columns of RFC 3339 text and of datetimes as instants, where no row can be wrong.

``core.instants`` decides on single values and names what is wrong with one; these functions return
the same instants a column at a time, or None if a row needs its judgement.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.schema import INSTANT
from eventlake.core.instants import MAX_US, MIN_US

YEAR = r"(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
"""A pattern without the year 0000, which Python's dates do not have."""
_OFFSET = r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
_INSTANT = rf"^{YEAR}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}{_OFFSET}$"


def from_texts(texts: pa.ChunkedArray | pa.Array) -> Any:
    """The instants of a text column; None if a text may be refused, or is spelled rarely."""
    # Arrow casts more spellings than RFC 3339 has, such as a day without a time.
    spelled = pc.match_substring_regex(texts, _INSTANT)
    if not pc.all(spelled, skip_nulls=True, min_count=0).as_py():
        return None
    try:
        return _within_bounds(texts.cast(INSTANT))
    except pa.ArrowInvalid:
        return None


def from_values(values: Sequence[Any]) -> Any:
    """The instants of texts or of datetimes; None if any of the values may be refused.

    Datetimes of a subclass, or of another zone than UTC, are left to ``core.instants``.
    """
    kinds = set(map(type, values)) - {type(None)}
    try:
        if kinds == {str}:
            return from_texts(pa.array(values, pa.string()))
        if kinds == {datetime}:
            zones = set(map(attrgetter("tzinfo"), filter(None, values)))
            # Arrow ignores zones if PYARROW_IGNORE_TIMEZONE is set, as pandera does on import.
            if all(map(_is_utc, zones)):
                return _within_bounds(pa.array(values, INSTANT))
    # Lone surrogates; zones without a hash.
    except (UnicodeEncodeError, TypeError):
        pass
    return None


def _is_utc(zone: Any) -> bool:
    return zone is UTC or (type(zone) is ZoneInfo and zone.key == "UTC")


def _within_bounds(instants: pa.ChunkedArray | pa.Array) -> Any:
    bounds = pc.min_max(instants.cast(pa.int64()))
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    return instants if low is None or MIN_US <= low <= high <= MAX_US else None
