"""Read TOML with limits.

The limits are checked before parsing, because ``tomllib`` is slow on long keys, deep values and
huge numbers.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from eventlake.storage.files import read_below

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 32
# More digits than a double can have; ``int`` takes quadratic time for many.
MAX_DIGITS = 400
MAX_MEMBERS = 100_000
_MAX_BYTES = 4 * MAX_CHARACTERS

_TOKENS = re.compile(
    r"""
    \"{3}(?:\\.|[^\\])*?(?:\"{3}|\Z)        # text of several lines
    | '{3}.*?(?:'{3}|\Z)
    | "(?:\\.|[^"\\\n])*"?                  # text of one line
    | '[^'\n]*'?
    | \#[^\n]*                              # a comment
    | (?P<open>[\[{]) | (?P<close>[\]}])
    | (?P<dot>\.) | (?P<end>[=\n,])
    | (?P<digits>[0-9A-Fa-f_]{400,})
    """,
    re.DOTALL | re.VERBOSE,
)


class NotTomlError(ValueError):
    """A text is not TOML, or larger or deeper than any document of a lake."""


def read(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        OSError: The file cannot be read.
        NotTomlError: As for ``parse``; or the file is not a regular one, or not UTF-8.
    """
    if path.exists() and not path.is_file():
        message = "expected a regular file"
        raise NotTomlError(message)
    with path.open("rb") as file:
        return _decode(file.read(_MAX_BYTES + 1))


def read_in(folder: Path, name: str) -> dict[str, Any]:
    """Read a TOML file in a folder from an untrusted source.

    Raises:
        OSError: The file cannot be read, or is a link or not a regular file.
        NotTomlError: As for ``parse``; or the file is not UTF-8.
    """
    return _decode(read_below(folder, name, _MAX_BYTES))


def _decode(data: bytes) -> dict[str, Any]:
    try:
        return parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NotTomlError(str(error)) from error


def parse(text: str) -> dict[str, Any]:
    """Parse TOML text.

    Raises:
        NotTomlError: The text is not TOML, or too large or too deep.
    """
    if problem := _exceeded_limit(text):
        raise NotTomlError(problem)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotTomlError(str(error)) from error


def _exceeded_limit(text: str) -> str | None:
    if len(text) > MAX_CHARACTERS:
        return f"expected at most {MAX_CHARACTERS:,} characters, found {len(text):,}"
    # Text and comments match first, so brackets inside them do not count.
    depth = dots = all_dots = members = 0
    for token in _TOKENS.finditer(text):
        kind = token.lastgroup
        if kind == "digits":
            return (
                f"expected numbers and names of fewer than {MAX_DIGITS} digits, "
                f"found one of {len(token[0]):,}"
            )
        depth += (kind == "open") - (kind == "close")
        # A dotted key is as deep as it has parts.
        dots = 0 if kind in {"end", "open"} else dots + (kind == "dot")
        all_dots += kind == "dot"
        members += kind in {"end", "open"}
        if depth > MAX_DEPTH or dots > MAX_DEPTH:
            return f"expected at most {MAX_DEPTH} levels of nesting, found more"
        if max(members, all_dots) > MAX_MEMBERS:
            return f"expected at most {MAX_MEMBERS:,} members and lines, found more"
    return None
