"""Instants as microseconds since 1970-01-01 UTC, and their RFC 3339 form."""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)
MIN_US = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND
MAX_US = (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) - EPOCH) // MICROSECOND
MIN_DAY, MAX_DAY = (
    date.toordinal() - EPOCH.toordinal()
    for date in (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
)
"""Bounds of a date in days since the epoch."""

# Without ``ASCII``, ``\d`` matches the digits of every script.
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|([+-])(\d\d):(\d\d))?", re.ASCII
)


def parse_instant(text: str, *, stored: bool = False) -> int:
    """Parse an RFC 3339 date-time with a zone to microseconds since the epoch.

    Args:
        text: The date-time.
        stored: Whether to accept what an earlier version accepted, which read an offset such as
            ``+01:99`` as 2 hours and 39 minutes.

    Raises:
        ValueError: Not RFC 3339, no zone, finer than a microsecond, or outside the years 1 to 9999.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        message = "expected an RFC 3339 instant like 2026-01-31T12:00:00Z"
        raise ValueError(message)
    day, clock, fraction, zone, sign, hours, minutes = match.groups()
    if zone is None:
        message = "expected a zone (Z or +01:00), found a naive time"
        raise ValueError(message)
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    if offset >= _DAY or (not stored and minutes is not None and minutes > "59"):
        message = f"expected an offset from -23:59 to +23:59 with minutes up to 59, found {zone}"
        raise ValueError(message)
    # Python 3.14 reads 24:00 as midnight of the next day, earlier versions refuse it.
    if clock > "24":
        message = f"expected an hour from 00 to 23, found {clock[:2]}"
        raise ValueError(message)
    fraction = (fraction or "").rstrip("0")
    if len(fraction) > 6:  # noqa: PLR2004 - microseconds have six digits
        message = "expected microseconds at the finest"
        raise ValueError(message)
    try:
        moment = datetime.fromisoformat(
            f"{day}T{clock}{'.' + fraction.ljust(6, '0') if fraction else ''}"
        )
    except ValueError as error:
        message = f"expected a day of the calendar and a time of day ({error})"
        raise ValueError(message) from None
    return _bounded(
        (moment.replace(tzinfo=UTC) - EPOCH - (-offset if sign == "-" else offset)) // MICROSECOND
    )


def instant_of(value: object) -> int:
    """Convert RFC 3339 text or a datetime with a zone to microseconds since the epoch.

    Raises:
        ValueError: The value is neither, or cannot be represented exactly.
    """
    return parse_instant(value) if isinstance(value, str) else micros(value)


def micros(moment: object) -> int:
    """Convert a datetime to microseconds since the epoch.

    Raises:
        ValueError: ``moment`` is not a datetime, is naive, outside the years 1 to 9999 in UTC, or
            (pandas) finer than a microsecond.
    """
    if not isinstance(moment, datetime) or moment != moment:  # noqa: PLR0124 - pandas' NaT
        message = f"expected a datetime with a zone or RFC 3339 text, found {type(moment).__name__}"
        raise ValueError(message)
    if getattr(moment, "nanosecond", 0):
        message = "expected microseconds at the finest"
        raise ValueError(message)
    if moment.utcoffset() is None:
        message = "expected a time with a zone, found a naive one"
        raise ValueError(message)
    # In integers: ``datetime.timestamp`` is a double, which does not hold every microsecond.
    return _bounded((moment - EPOCH) // MICROSECOND)


def _bounded(value: int) -> int:
    if not MIN_US <= value <= MAX_US:
        message = "expected an instant in the years 1 to 9999 UTC"
        raise ValueError(message)
    return value


def from_micros(value: int) -> datetime:
    """The aware UTC datetime ``value`` microseconds after the epoch."""
    return EPOCH + timedelta(microseconds=value)


def format_instant(value: int) -> str:
    """Format microseconds as RFC 3339 in UTC, with a fraction only if it is not zero."""
    return from_micros(value).isoformat().replace("+00:00", "Z")
