"""Windows of time relative to a cutoff."""

import re
from dataclasses import dataclass, replace
from datetime import timedelta

from eventlake.core.instants import MICROSECOND
from eventlake.errors import InvalidInputError
from eventlake.features.declared.bound import Bound

UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000}
"""Microseconds in a day, an hour, a minute, a second."""
_LENGTH = re.compile(r"([1-9][0-9]{0,8})([wdhms])")
_ALMOST = re.compile(
    r"\s*([1-9][0-9]{0,8})\s*(w|weeks?|d|days?|h|hr|hrs|hours?|min|mins|minutes?|s|sec|secs|seconds?)\s*",
    re.IGNORECASE,
)
# Not in ``UNITS``, so that a ``timedelta`` of seven days still names its column ``7d``.
_WEEK = 7 * UNITS["d"]
MOST_LENGTH = 200 * 366 * UNITS["d"]


Length = str | timedelta
"""A length of time as a caller writes it."""


@dataclass(frozen=True, slots=True)
class Window:
    """The half-open interval ``[cutoff - offset - length, cutoff - offset)``.

    Attributes:
        length: Microseconds; None for everything before its end.
        offset: Microseconds from its end to the cutoff; negative for labels, which look ahead.
    """

    length: int | None = None
    offset: int = 0

    @property
    def start(self) -> Bound | None:
        """Its first instant; None without a start."""
        return None if self.length is None else Bound(self.offset + self.length)

    @property
    def end(self) -> Bound:
        """The instant after its last one."""
        return Bound(self.offset)

    def without_start(self) -> "Window":
        """Everything before its end."""
        return replace(self, length=None)


def spelled(given: str | timedelta) -> str:
    """A length as text; a ``timedelta`` in the largest unit that divides it."""
    if isinstance(given, str):
        return given
    length = given // MICROSECOND
    for unit, size in UNITS.items():
        if length > 0 and length % size == 0:
            return f"{length // size}{unit}"
    # Not a whole number of seconds: ``microseconds`` refuses the text.
    return str(given)


def microseconds(given: object, what: str) -> int:
    """Microseconds of a length such as ``90d``, or of a ``timedelta`` of whole seconds.

    Units are ``w`` (seven days), ``d``, ``h``, ``m`` (minutes) and ``s``.

    Raises:
        InvalidInputError: It is not a length, or longer than two hundred years.
    """
    text = spelled(given) if isinstance(given, (str, timedelta)) else ""
    match = _LENGTH.fullmatch(text)
    if match is None:
        message = (
            f"expected {what} as a whole number of w, d, h, m (minutes) or s, such as '90d', found "
            f"{given!r}"
        )
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
    """What to write instead of something that is not a length."""
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return f"give the unit: {what}='{given}d' for days, '{given}h' for hours."
    almost = _ALMOST.fullmatch(given) if isinstance(given, str) else None
    if almost:
        # The first letter of each of these words is its unit.
        return f"write {what}='{almost[1]}{almost[2][0].lower()}'."
    return "months and years have no fixed length: write 30d or 365d."
