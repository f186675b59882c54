"""Text of strangers made safe to show: what could steer a terminal, hide, or reorder what is read is spelled out; passwords are left out.

Every text that eventlake prints, logs, warns with, raises or puts on a page passes here: cards,
errors and progress see to it themselves.
"""

import inspect
import re
import warnings
from collections.abc import Iterator
from typing import Any

_SCHEME = re.compile(
    r"(?m)(?:([A-Za-z][A-Za-z0-9+.-]{0,30}):/|(?:^[+ -]?|(?<![A-Za-z0-9+./-]))([A-Za-z][A-Za-z0-9+.-]{0,30}):)/+"
)
"""The beginning of a URI. In a word, such as a password with a slash in it, it needs two slashes. A line may be one of a diff."""
_WEB = frozenset({"http", "https"})
_CONTAINERS = frozenset({"abfs", "abfss", "az", "azure"})
"""Schemes in which a user without a password is the name of a container."""
_NAME = r"(?:[^\s/@:'\"<>]|['\"<>](?=\w))*"
"""A quote ends a URI unless it stands in a word."""
_USER = re.compile(rf"{_NAME}@")
_PASSWORD = re.compile(rf"{_NAME}?(?::|%3[Aa])(?=\S)")
_HOST = re.compile(
    r"(?i)(?:\[[0-9a-f:.%]*\]|localhost|127\.0\.0\.1)(?::[0-9]*)?(?![^\s/?#'\"<>,;.)\]}])"
)
"""A host that cannot be a user. Behind any other name ``:80`` may be the beginning of a password."""
_WORD_END = re.compile(r"[@\s]")
_QUERY = re.compile(r"[?#](?=.)")
_CLOSING = "'\"<>,;.)]}"
"""What stands behind a URI in a sentence."""
_SECRET = re.compile(
    r"(?i)([?&#;][^?&#;=\s]{0,99}(?:sig|token|secret|key|pass|pwd|cred|auth|code|session|jwt|bearer|otp|\b(?:pin|pw|sas)\b)[^?&#;=\s]{0,99}=)[^&#\s]+"
)
_HIDDEN = "***"
_DEEPEST = 32


def printable(text: str) -> str:
    """The text with every control, format, bidirectional, separator and unassigned character spelled out, but line breaks and tabs."""
    return _spelled(text, "\n\t")


def one_line(text: str) -> str:
    """The same, with line breaks and tabs spelled out too."""
    return _spelled(text, "")


def _spelled(text: str, kept: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text
    )


def json_text(text: str) -> str:
    """JSON text with the same characters as JSON escapes: it means the same. Line breaks, which stand between tokens, are kept."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def redacted(text: str) -> str:
    """The text with ``***`` for the secrets of the URIs in it: users, passwords, and what a query says of keys, codes and signatures.

    Where an object store is named, all of the query: a store reads its credentials from the
    environment. A password may hold any character, so in doubt more is left out: what stands behind
    ``user:`` up to the last ``@`` that could end it.
    """
    if ":/" not in text:
        return text
    schemes = list(_schemes(text))
    ends = [after.start() for after in schemes[1:]] + [len(text)]
    shown = [text[: schemes[0].start()]] if schemes else [text]
    for scheme, end in zip(schemes, ends, strict=True) if schemes else ():
        line, rest = _line(text[scheme.end() : end])
        shown += [scheme[0], _without_secrets(scheme, line), rest]
    return "".join(shown)


def _schemes(text: str) -> Iterator[re.Match[str]]:
    """The beginnings of URIs, but not what looks like one in what may be the password of the one before."""
    password, end = None, -1
    for scheme in _SCHEME.finditer(text):
        begin = scheme.start()
        if password is not None and password.end() <= begin:
            # Looked for once, and only if another scheme follows: so all of it takes linear time.
            if end < 0:
                word_end = _WORD_END.search(text, password.start())
                end = word_end.start() if word_end else len(text)
            if begin < end:
                continue
        yield scheme
        password, end = _password(scheme, text, scheme.end()), -1


def _line(text: str) -> tuple[str, str]:
    """The first line, and the rest with the break before it."""
    line, newline, rest = text.partition("\n")
    return line, newline + rest


def _without_secrets(scheme: re.Match[str], line: str) -> str:
    """A line of text that begins behind the slashes of a URI."""
    length = _secret_length(scheme, line)
    uri, after = _word(line[length:])
    shown = (
        _SECRET.sub(rf"\1{_HIDDEN}", uri)
        if _name(scheme) in _WEB or _name(scheme) == "file"
        else _without_query(uri)
    )
    return (f"{_HIDDEN}@" if length else "") + shown + after


def _without_query(uri: str) -> str:
    """Hides what stands behind the first ``?`` or ``#``, but not the punctuation at the end."""
    query = _QUERY.search(uri)
    if query is None:
        return uri
    # At least one character is hidden.
    closing = len(uri) - max(len(uri.rstrip(_CLOSING)), query.end() + 1)
    return f"{uri[: query.end()]}{_HIDDEN}{uri[len(uri) - closing :]}"


def _name(scheme: re.Match[str]) -> str:
    return (scheme[1] or scheme[2]).lower()


def _is_path(scheme: re.Match[str]) -> bool:
    return _name(scheme) == "file" and scheme[0].endswith("///")


def _password(scheme: re.Match[str], text: str, begin: int = 0) -> re.Match[str] | None:
    """A user and the colon before a password, at a place of the text."""
    if _is_path(scheme) or (_name(scheme) in _WEB and _HOST.match(text, begin)):
        return None
    return _PASSWORD.match(text, begin)


def _secret_length(scheme: re.Match[str], line: str) -> int:
    """How much of the line is user, password and ``@``."""
    if not _password(scheme, line):
        user = None if _is_path(scheme) or _name(scheme) in _CONTAINERS else _USER.match(line)
        return user.end() if user else 0
    # A password may hold a slash, a blank and an '@'; so may what stands behind a host and its
    # port, which then is left out too.
    ends = (max(line.partition("/")[0].rfind("@"), _word(line)[0].rfind("@")), line.rfind("@"))
    return next((end for end in ends if end >= 0), -1) + 1


def _word(text: str) -> tuple[str, str]:
    """What stands before the first blank, and the rest."""
    length = next(
        (number for number, character in enumerate(text) if character.isspace()), len(text)
    )
    return text[:length], text[length:]


def redacted_values(value: Any, level: int = 0) -> Any:
    """The value with the texts in it, at any depth of lists, tuples, sets and dicts, redacted; others are as they are."""
    if isinstance(value, str):
        return redacted(value)
    if type(value) not in {list, tuple, set, frozenset, dict}:
        return value
    if level == _DEEPEST:
        return _HIDDEN
    if isinstance(value, dict):
        return {
            redacted_values(name, level + 1): redacted_values(one, level + 1)
            for name, one in value.items()
        }
    return type(value)(redacted_values(one, level + 1) for one in value)


def safe(text: str) -> str:
    """What may be shown of a text of several lines: printable and redacted."""
    return printable(redacted(text))


def warn(message: str) -> None:
    """Warns, in words that are safe to show, at the line outside of eventlake that called it."""
    frame, level = inspect.currentframe(), 1
    while (
        frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "eventlake"
    ):
        frame, level = frame.f_back, level + 1
    warnings.warn(safe(message), stacklevel=level)
