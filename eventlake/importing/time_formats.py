"""Formats of times: the allowed directives, and the exact shape of a text in a format.

Parsers are lenient: they read ``2024111`` as ``%Y%m%d`` and skip the zone of ``%Z``. So a text must
match the shape of its format before it is parsed, and directives that would be skipped are refused.
"""

import re

FRACTION = r"(?:\.[0-9]{1,9})?"
"""A fraction of a second as ``%.f`` reads it, the only part that may be finer than 1 µs."""

_DIRECTIVES = {
    "%Y": "[0-9]{4}",
    "%y": "[0-9]{2}",
    "%m": "[0-9]{2}",
    "%-m": "[0-9]{1,2}",
    "%b": "[A-Za-z]{3}",
    "%B": "[A-Za-z]+",
    "%d": "[0-9]{2}",
    "%-d": "[0-9]{1,2}",
    "%e": "[ 0-9][0-9]",
    "%j": "[0-9]{3}",
    "%F": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "%H": "[0-9]{2}",
    "%-H": "[0-9]{1,2}",
    "%I": "[0-9]{2}",
    "%-I": "[0-9]{1,2}",
    "%M": "[0-5][0-9]",
    "%S": "[0-5][0-9]",
    "%R": "[0-9]{2}:[0-5][0-9]",
    "%T": "[0-9]{2}:[0-5][0-9]:[0-5][0-9]",
    "%p": "(?:AM|PM|am|pm)",
    "%.f": FRACTION,
    "%.3f": r"\.[0-9]{3}",
    "%.6f": r"\.[0-9]{6}",
    "%3f": "[0-9]{3}",
    "%6f": "[0-9]{6}",
    "%z": "[+-][0-9]{2}:?[0-9]{2}",
    "%:z": "[+-][0-9]{2}:[0-9]{2}",
    "%%": "%",
}
_TOKEN = re.compile(r"%(?:[-:]?[A-Za-z%]|\.?[0-9]?f)|%|[^%]", re.DOTALL)


def shape_of(pattern: str) -> str:
    """The regular expression that matches every text of a format.

    Raises:
        ValueError: A directive cannot be read exactly, or the format has no whole date or no whole
            time of day.
    """
    shape, found = "", set()
    for token in _TOKEN.findall(pattern):
        if token.startswith("%"):
            if token not in _DIRECTIVES:
                message = f"{token!r} cannot be read; the directives are {' '.join(_DIRECTIVES)}"
                raise ValueError(message)
            shape += _DIRECTIVES[token]
            found.add(token.replace("-", ""))
        else:
            # Rust's regular expressions refuse a backslash before a letter or digit.
            shape += token if token.isalnum() or ord(token) > 0x7F else "\\" + token  # noqa: PLR2004 - ASCII ends there
    _check_whole(found)
    return f"^{shape}$"


def _check_whole(found: set[str]) -> None:
    date = "%F" in found or bool(
        {"%Y", "%y"} & found
        and ("%j" in found or ({"%m", "%b", "%B"} & found and {"%d", "%e"} & found))
    )
    if not date:
        message = "it names no whole date: a year, a month and a day"
        raise ValueError(message)
    clock = bool({"%R", "%T"} & found)
    hours = "%H" in found or {"%I", "%p"} <= found
    if (
        hours != ("%M" in found)
        or ("%I" in found) != ("%p" in found)
        or ("%S" in found and not (hours or clock))
    ):
        message = "it names no whole time of day: hours with minutes, %I with %p"
        raise ValueError(message)
