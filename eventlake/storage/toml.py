"""TOML files: bounded before they are parsed, for ``tomllib`` is slow on long keys, deep values and huge numbers."""

import re
import tomllib
from pathlib import Path
from typing import Any

from eventlake.storage.files import read_below

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 32
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
    """A text is no TOML, or larger or deeper than any document of a lake."""


def read(path: Path) -> dict[str, Any]:
    """The document in a file.

    Raises:
        OSError: It cannot be read.
        NotTomlError: As ``parse``; or it is no regular file, or not UTF-8.
    """
    if path.exists() and not path.is_file():
        message = "expected a regular file"
        raise NotTomlError(message)
    with path.open("rb") as file:
        return _parsed(file.read(_MAX_BYTES + 1))


def read_in(folder: Path, name: str) -> dict[str, Any]:
    """The document in a file of a folder that may come from a stranger.

    Raises:
        OSError: It cannot be read, or is a link or no regular file.
        NotTomlError: As ``parse``; or it is not UTF-8.
    """
    return _parsed(read_below(folder, name, _MAX_BYTES))


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        return parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise NotTomlError(str(error)) from error


def parse(text: str) -> dict[str, Any]:
    """The document in ``text``.

    Raises:
        NotTomlError: It is no TOML, or too large or too deep.
    """
    if problem := _too_much(text):
        raise NotTomlError(problem)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotTomlError(str(error)) from error


def _too_much(text: str) -> str | None:
    if len(text) > MAX_CHARACTERS:
        return f"expected at most {MAX_CHARACTERS:,} characters, found {len(text):,}"
    depth = dots = every = members = 0
    for token in _TOKENS.finditer(text):
        kind = token.lastgroup
        if kind == "digits":
            return f"expected numbers and names of fewer than {MAX_DIGITS} digits, found one of {len(token[0]):,}"
        depth += (kind == "open") - (kind == "close")
        dots = 0 if kind in {"end", "open"} else dots + (kind == "dot")
        every += kind == "dot"
        members += kind in {"end", "open"}
        if depth > MAX_DEPTH or dots > MAX_DEPTH:
            return f"expected at most {MAX_DEPTH} levels of nesting, found more"
        if max(members, every) > MAX_MEMBERS:
            return f"expected at most {MAX_MEMBERS:,} members and lines, found more"
    return None
