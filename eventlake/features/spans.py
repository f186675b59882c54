"""Windows: stretches of time that end at, or before, a cutoff."""

import re
from dataclasses import dataclass

from eventlake.errors import InvalidInputError

UNITS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000}
"""Microseconds in a day, an hour, a minute, a second."""
_LENGTH = re.compile(r"([1-9][0-9]{0,8})([dhms])")
MOST_LENGTH = 200 * 366 * UNITS["d"]


@dataclass(frozen=True, slots=True)
class Span:
    """``[cutoff - offset - length, cutoff - offset)``: its start belongs to it, its end does not.

    Attributes:
        length: In microseconds; None for everything before its end.
        offset: In microseconds; negative reaches beyond the cutoff, which labels do.
    """

    length: int | None = None
    offset: int = 0

    @property
    def far(self) -> int | None:
        """How far before the cutoff it begins; None for the beginning of time."""
        return None if self.length is None else self.offset + self.length


def microseconds(text: object, what: str) -> int:
    """A length such as ``90d``, ``12h``, ``30m`` (minutes) or ``10s``, in microseconds.

    Raises:
        InvalidInputError: It is none, or longer than two hundred years.
    """
    match = _LENGTH.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        message = f"expected {what} as a whole number of d, h, m (minutes) or s, such as '90d', found {text!r}"
        raise InvalidInputError(message, "a month or a year has no one length: say 30d or 365d.")
    length = int(match[1]) * UNITS[match[2]]
    if length > MOST_LENGTH:
        message = f"expected {what} of at most two hundred years, found {text!r}"
        raise InvalidInputError(message, "leave the window out for everything before the cutoff.")
    return length
