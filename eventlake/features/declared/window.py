"""Windows: stretches of time that end at, or before, a cutoff."""

import re
from dataclasses import dataclass
from datetime import timedelta

from eventlake.core.instants import MICROSECOND
from eventlake.errors import InvalidInputError

UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000}
"""Microseconds in a day, an hour, a minute, a second."""
_LENGTH = re.compile(r"([1-9][0-9]{0,8})([wdhms])")
_ALMOST = re.compile(
    r"\s*([1-9][0-9]{0,8})\s*(w|weeks?|d|days?|h|hr|hrs|hours?|min|mins|minutes?|s|sec|secs|seconds?)\s*",
    re.IGNORECASE,
)
_WEEK = 7 * UNITS["d"]
MOST_LENGTH = 200 * 366 * UNITS["d"]


Length = str | timedelta
"""A length of time as it is given."""


@dataclass(frozen=True, slots=True)
class Window:
    """``[cutoff - offset - length, cutoff - offset)``: its start belongs to it, its end does not.

    Attributes:
        length: In microseconds; None for everything before its end.
        offset: In microseconds; negative reaches beyond the cutoff, which labels do.
    """

    length: int | None = None
    offset: int = 0

    @property
    def start_offset(self) -> int | None:
        """How far before the cutoff it begins; None for the beginning of time."""
        return None if self.length is None else self.offset + self.length


def spelled(given: str | timedelta) -> str:
    """A length as it is written: a ``timedelta`` by the largest unit that it is a whole number of."""
    if isinstance(given, str):
        return given
    length = given // MICROSECOND
    return next(
        (
            f"{length // size}{unit}"
            for unit, size in UNITS.items()
            if length > 0 and length % size == 0
        ),
        str(given),
    )


def microseconds(given: object, what: str) -> int:
    """A length such as ``90d``, ``2w``, ``12h``, ``30m`` (minutes) or ``10s``, or a ``timedelta`` of whole seconds, in microseconds.

    Raises:
        InvalidInputError: It is none, or longer than two hundred years.
    """
    text = spelled(given) if isinstance(given, (str, timedelta)) else ""
    match = _LENGTH.fullmatch(text)
    if match is None:
        message = f"expected {what} as a whole number of w, d, h, m (minutes) or s, such as '90d', found {given!r}"
        raise InvalidInputError(message, _instead(given, what))
    length = int(match[1]) * (UNITS | {"w": _WEEK})[match[2]]
    if length > MOST_LENGTH:
        message = f"expected {what} of at most two hundred years, found {given!r}"
        raise InvalidInputError(message, "leave the window out for everything before the cutoff.")
    return length


def is_length(text: str) -> bool:
    """Whether text is a length."""
    return _LENGTH.fullmatch(text) is not None


def _instead(given: object, what: str) -> str:
    """What to write for a length that is none."""
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return f"say the unit: {what}='{given}d' for days, '{given}h' for hours."
    almost = _ALMOST.fullmatch(given) if isinstance(given, str) else None
    if almost:
        return f"write {what}='{almost[1]}{almost[2][0].lower()}'."
    return "a month or a year has no one length: say 30d or 365d."
