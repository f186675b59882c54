"""A URI taken apart. It names one place exactly, or it is refused: nothing in it is passed over."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from eventlake.errors import InvalidInputError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_REFUSED = ("/", "\0")
"""What a percent escape may not stand for: it would separate folders, or end a name."""


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a URI without query and fragment.

    Attributes:
        scheme: In lower case.
        authority: Between ``//`` and the next slash, as given; it may hold credentials.
        path: With escapes resolved; empty or from its first slash on.
        spelled: The path as given.
    """

    scheme: str
    authority: str
    path: str
    spelled: str


def address(text: str) -> Address | None:
    """The parts of a URI; None if the text is a path.

    Raises:
        InvalidInputError: It has a query, a fragment, or an escape that names nothing exactly. It
            is not shown: it may hold credentials.
    """
    match = _SCHEME.fullmatch(text)
    if match is None:
        return None
    scheme, rest = match[1].lower(), match[2]
    authority, slash, path = rest.partition("/")
    spelled = slash + path
    for mark, name in (("?", "a query"), ("#", "a fragment")):
        if mark in rest:
            message = f"expected a {scheme}:// URI without {name}, found {mark!r} in it"
            raise InvalidInputError(
                message, f"if {mark} is part of a name, write %{ord(mark):02X}."
            )
    return Address(scheme, authority, _resolved(scheme, spelled), spelled)


def _resolved(scheme: str, path: str) -> str:
    if _PERCENT.search(path):
        message = f"expected a {scheme}:// URI with two hexadecimal digits after each % of its path"
        raise InvalidInputError(message, "a percent sign itself is %25.")
    try:
        parts = [unquote_to_bytes(part).decode() for part in path.split("/")]
    except UnicodeError:
        message = f"expected a {scheme}:// URI whose escapes are UTF-8"
        raise InvalidInputError(message, "a folder with another name is given as a path.") from None
    if any(mark in part for part in parts for mark in _REFUSED):
        message = f"expected a {scheme}:// URI without %2F and %00 in its path"
        raise InvalidInputError(message, "write a slash as it is.")
    return "/".join(parts)
