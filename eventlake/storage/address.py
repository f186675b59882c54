"""Parse a URI strictly: it names exactly one place, or it is refused; no part is ignored."""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from eventlake.errors import InvalidInputError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_REFUSED = ("/", "\0")
"""Characters that must not be percent-encoded: they would separate folders or end a name."""


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a URI without query and fragment.

    Attributes:
        scheme: In lower case.
        authority: The text between ``//`` and the next slash, as given; it may contain credentials.
        path: The decoded path; empty, or begins with a slash.
        spelled: The path as given.
    """

    scheme: str
    authority: str
    path: str
    spelled: str

    @property
    def uri(self) -> str:
        """The URI, with its scheme in lower case."""
        return f"{self.scheme}://{self.authority}{self.spelled}"


def address(text: str) -> Address | None:
    """Parse a URI; None if the text is a path.

    Raises:
        InvalidInputError: It has a query, a fragment or an ambiguous escape. The message does not
            show the URI, which may contain credentials.
    """
    match = _SCHEME.fullmatch(text)
    if match is None:
        return None
    # Taken apart by hand: ``urlsplit`` would cut ``file:///x#1`` and ``file:///x?v=1`` down to the
    # lake ``x``.
    scheme, rest = match[1].lower(), match[2]
    authority, slash, path = rest.partition("/")
    spelled = slash + path
    for mark, name in (("?", "a query"), ("#", "a fragment")):
        if mark in rest:
            message = f"expected a {scheme}:// URI without {name}, found {mark!r} in it"
            raise InvalidInputError(
                message, f"if {mark} is part of a name, write %{ord(mark):02X}."
            )
    return Address(scheme, authority, _decode(scheme, spelled), spelled)


def _decode(scheme: str, path: str) -> str:
    if _PERCENT.search(path):
        message = f"expected a {scheme}:// URI with two hexadecimal digits after each % of its path"
        raise InvalidInputError(message, "a percent sign itself is %25.")
    try:
        # As bytes first, because ``unquote`` replaces what is not UTF-8.
        parts = [unquote_to_bytes(part).decode() for part in path.split("/")]
    except UnicodeError:
        message = f"expected a {scheme}:// URI whose escapes are UTF-8"
        raise InvalidInputError(message, "a folder with another name is given as a path.") from None
    if any(mark in part for part in parts for mark in _REFUSED):
        message = f"expected a {scheme}:// URI without %2F and %00 in its path"
        raise InvalidInputError(message, "write a slash as it is.")
    return "/".join(parts)
