"""Text of strangers made safe to show: what could steer a terminal, hide, or reorder what is read is spelled out; passwords are left out.

Every text that eventlake prints, logs, warns with, raises or puts on a page passes here: cards, errors and progress see to it themselves.
"""

import inspect
import re
import warnings

_URI = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>/+)(?P<rest>[^\s'\"<>]*)")
_WEB = frozenset({"http", "https"})
_CONTAINERS = frozenset({"abfs", "abfss", "az", "azure"})
"""Schemes in which a user without a password is the name of a container."""
_SECRET = re.compile(r"(?i)([?&#;][^=&#\s]*(?:sig|token|secret|key|pass|cred|auth)[^=&#\s]*=)[^&#\s]+")
_HIDDEN = "***"


def printable(text: str) -> str:
    """The text with every control, format, bidirectional, separator and unassigned character spelled out, but line breaks and tabs."""
    return _spelled(text, "\n\t")


def one_line(text: str) -> str:
    """The same, with line breaks and tabs spelled out too."""
    return _spelled(text, "")


def _spelled(text: str, kept: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def json_text(text: str) -> str:
    """JSON text with the same characters as JSON escapes: it means the same. Line breaks, which stand between tokens, are kept."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def redacted(text: str) -> str:
    """The text with ``***`` for the secrets of the URIs in it: users, passwords, and what a query says of keys and signatures.

    Where an object store is named, all of the query: a store reads its credentials from the environment.
    """
    return _URI.sub(_without_secrets, text) if ":/" in text else text


def _without_secrets(uri: re.Match[str]) -> str:
    scheme, rest = uri["scheme"].lower(), uri["rest"]
    if scheme in _WEB:
        # An address in somebody's events: only its first part can hold a password.
        user, at, _ = rest.partition("/")[0].rpartition("@")
        rest = _SECRET.sub(rf"\1{_HIDDEN}", rest)
        return f"{uri['scheme']}:{uri['slashes']}{_HIDDEN}@{rest[len(user) + 1 :]}" if at else f"{uri['scheme']}:{uri['slashes']}{rest}"
    if scheme != "file":
        rest = re.sub(r"([?#]).+", rf"\1{_HIDDEN}", rest, count=1)
    user, at, host = rest.rpartition("@")
    # Without a colon it is an '@' in a path, or a container's name.
    hidden = at and (":" in user or ("/" not in user and scheme not in _CONTAINERS))
    return f"{uri['scheme']}:{uri['slashes']}{_HIDDEN}@{host}" if hidden else f"{uri['scheme']}:{uri['slashes']}{rest}"


def safe(text: str) -> str:
    """What may be shown of a text of several lines: printable and redacted."""
    return printable(redacted(text))


def warn(message: str) -> None:
    """Warns, in words that are safe to show, at the line outside of eventlake that called it."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "eventlake":
        frame, level = frame.f_back, level + 1
    warnings.warn(safe(message), stacklevel=level)
