"""The event bytes of one event in plain Python, for a verifier without a lake.

docs/reference/format.md, "Event bytes", defines them. ``columns.hashing.leaves`` computes them for
whole columns; tests hold the two together.
"""

import hashlib
from collections.abc import Mapping

from eventlake.core.attributes import ATTRIBUTES
from eventlake.errors import InvalidInputError


def event_bytes(event: Mapping[str, str | int | None]) -> bytes:
    """The bytes that an event's leaf hash covers.

    Args:
        event: Attributes by our names: ``time`` in microseconds since 1970-01-01 UTC, ``data`` as
            JSON text, the rest as text. Missing and None are equal. ``sequence`` and
            ``recorded_at`` are not covered and ignored.

    Raises:
        InvalidInputError: ``time`` is not an int, or another attribute is not text.
    """
    pieces = []
    for name in ATTRIBUTES:
        value = event.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or isinstance(value, int) != (name == "time"):
            expected = "microseconds" if name == "time" else "text"
            message = f"expected {name} as {expected}, found {value!r}"
            raise InvalidInputError(message)
        text = str(value).encode()
        # The hash stands for the payload, so that the tree can be checked without it.
        content = hashlib.sha256(text).hexdigest().encode() if name == "data" else text
        # Lengths keep two events from having the same bytes, whatever characters their values
        # contain.
        pieces.append(b"%s=%d:%s," % (name.encode(), len(content), content))
    return b"".join(pieces)
