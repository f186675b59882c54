"""Make text from untrusted sources safe to show.

Characters that could control a terminal, hide text or reorder it are escaped, and passwords in
URIs are redacted. Every text that eventlake prints, logs, raises or renders passes through here;
cards, errors and progress apply it themselves.

- ``safe`` for text of several lines, ``one_line`` for a single line: escaped and redacted.
- ``json_text`` for JSON, whose meaning must not change: escaped only.
- ``redacted`` for facts and URIs, which are escaped when they are printed.
- ``escaped`` for the rows of a dataset, which are shown as stored.
"""

import inspect
import re
import warnings
from collections.abc import Iterator
from typing import Any

_SCHEME = re.compile(
    r"(?m)(?:([A-Za-z][A-Za-z0-9+.-]{0,30}):/"
    r"|(?:^[+ -]?|(?<![A-Za-z0-9+./-]))([A-Za-z][A-Za-z0-9+.-]{0,30}):)/+"
)
"""The beginning of a URI.

Within a word, such as a password that contains a slash, it needs two slashes. A line may begin with
the mark of a diff.
"""
_WEB = frozenset({"http", "https"})
_CONTAINERS = frozenset({"abfs", "abfss", "az", "azure"})
"""Schemes in which a user without a password is the name of a container."""
_NAME = r"(?:[^\s/@:'\"<>]|['\"<>](?=\w))*"
"""A quote ends a URI unless it is within a word."""
_USER = re.compile(rf"{_NAME}@")
_PASSWORD = re.compile(rf"{_NAME}?(?::|%3[Aa])(?=\S)")
_HOST = re.compile(
    r"(?i)(?:\[[0-9a-f:.%]*\]|localhost|127\.0\.0\.1)(?::[0-9]*)?(?![^\s/?#'\"<>,;.)\]}])"
)
"""A host that cannot be a user. After any other name, ``:80`` may be the start of a password."""
_WORD_END = re.compile(r"[@\s]")
_QUERY = re.compile(r"[?#](?=.)")
_CLOSING = "'\"<>,;.)]}"
"""Punctuation that may follow a URI in a sentence."""
_SECRET = re.compile(
    r"(?i)([?&#;][^?&#;=\s]{0,99}"
    r"(?:sig|token|secret|key|pass|pwd|cred|auth|code|session|jwt|bearer|otp|\b(?:pin|pw|sas)\b)"
    r"[^?&#;=\s]{0,99}=)[^&#\s]+"
)
_HIDDEN = "***"
_MAX_DEPTH = 32


def safe(text: str) -> str:
    """Redact text of several lines and escape its unprintable characters."""
    return escaped(redacted(text))


def one_line(text: str) -> str:
    """Redact text and escape its unprintable characters, line breaks and tabs included."""
    return escaped(redacted(text), keep="")


def escaped(text: str, *, keep: str = "\n\t") -> str:
    """Escape control, format, bidirectional, separator and unassigned characters.

    Args:
        text: Any text.
        keep: Unprintable characters to keep.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def json_text(text: str) -> str:
    """Escape unprintable characters as JSON does, so that the document means the same.

    Line breaks, which JSON has only between tokens, are kept.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def redacted(text: str) -> str:
    """Replace the secrets of URIs in a text by ``***``.

    Secrets are users, passwords, and the keys, codes and signatures of a query. The whole query of
    an object store's URI is redacted, because a store reads its credentials from the environment.
    A password may contain any character. In doubt too much is redacted: everything after ``user:``
    up to the last ``@`` that could end it.
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
    """The beginnings of URIs, except those that may be part of the password of the one before."""
    password, end = None, -1
    for scheme in _SCHEME.finditer(text):
        begin = scheme.start()
        if password is not None and password.end() <= begin:
            # The end of the word is searched for at most once per URI, and only if another scheme
            # follows; so the total time is linear.
            if end < 0:
                word_end = _WORD_END.search(text, password.start())
                end = word_end.start() if word_end else len(text)
            if begin < end:
                continue
        yield scheme
        password, end = _password(scheme, text, scheme.end()), -1


def _line(text: str) -> tuple[str, str]:
    line, newline, rest = text.partition("\n")
    return line, newline + rest


def _without_secrets(scheme: re.Match[str], line: str) -> str:
    """Redact a line of text that begins after the slashes of a URI."""
    length = _secret_length(scheme, line)
    uri, after = _word(line[length:])
    shown = (
        _SECRET.sub(rf"\1{_HIDDEN}", uri)
        if _name(scheme) in _WEB or _name(scheme) == "file"
        else _without_query(uri)
    )
    return (f"{_HIDDEN}@" if length else "") + shown + after


def _without_query(uri: str) -> str:
    """Redact everything after the first ``?`` or ``#``, except punctuation at the end."""
    query = _QUERY.search(uri)
    if query is None:
        return uri
    # At least one character is redacted.
    closing = len(uri) - max(len(uri.rstrip(_CLOSING)), query.end() + 1)
    return f"{uri[: query.end()]}{_HIDDEN}{uri[len(uri) - closing :]}"


def _name(scheme: re.Match[str]) -> str:
    return (scheme[1] or scheme[2]).lower()


def _is_path(scheme: re.Match[str]) -> bool:
    return _name(scheme) == "file" and scheme[0].endswith("///")


def _password(scheme: re.Match[str], text: str, begin: int = 0) -> re.Match[str] | None:
    """Match a user and the colon before a password at a position of the text."""
    if _is_path(scheme) or (_name(scheme) in _WEB and _HOST.match(text, begin)):
        return None
    return _PASSWORD.match(text, begin)


def _secret_length(scheme: re.Match[str], line: str) -> int:
    """The length of user, password and ``@`` at the beginning of the line."""
    if not _password(scheme, line):
        user = None if _is_path(scheme) or _name(scheme) in _CONTAINERS else _USER.match(line)
        return user.end() if user else 0
    # A password may contain a slash, a blank and an '@'. So may the text after a host and its
    # port, which is then redacted too.
    ends = (max(line.partition("/")[0].rfind("@"), _word(line)[0].rfind("@")), line.rfind("@"))
    return next((end for end in ends if end >= 0), -1) + 1


def _word(text: str) -> tuple[str, str]:
    """Split a text before its first blank."""
    length = next(
        (number for number, character in enumerate(text) if character.isspace()), len(text)
    )
    return text[:length], text[length:]


def redacted_values(value: Any, level: int = 0) -> Any:
    """Redact the strings in a value, at any depth of lists, tuples, sets and dicts."""
    if isinstance(value, str):
        return redacted(value)
    if type(value) not in {list, tuple, set, frozenset, dict}:
        return value
    # Values may come from a stranger's file, nested without end.
    if level == _MAX_DEPTH:
        return _HIDDEN
    if isinstance(value, dict):
        return {
            redacted_values(name, level + 1): redacted_values(one, level + 1)
            for name, one in value.items()
        }
    return type(value)(redacted_values(one, level + 1) for one in value)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with a text that is safe to show, at the line outside eventlake that made the call."""
    frame, level = inspect.currentframe(), 1
    while (
        frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "eventlake"
    ):
        frame, level = frame.f_back, level + 1
    warnings.warn(safe(message), category, stacklevel=level)
