"""The event bytes of one event, in plain Python: what a verifier without a lake needs (docs/reference/format.md, "Event bytes").

``columns.hashing.leaves`` does the same for whole columns; tests hold the two together.
"""

import hashlib
from collections.abc import Mapping

from eventlake.core.attributes import ATTRIBUTES
from eventlake.errors import InvalidInputError


def event_bytes(event: Mapping[str, str | int | None]) -> bytes:
    """The bytes whose leaf hash stands in the tree.

    Args:
        event: Attributes by our names; ``time`` in microseconds since 1970-01-01 UTC, ``data`` the
            payload's JSON text, the rest text. Attributes that are missing or None are left out.
            ``sequence`` and ``recorded_at`` are no part of it and are ignored.

    Raises:
        InvalidInputError: ``time`` is not an int, or another attribute is not text.
    """
    pieces = []
    for name in ATTRIBUTES:
        value = event.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or isinstance(value, int) != (name == "time"):
            message = f"expected {name} as {'microseconds' if name == 'time' else 'text'}, found {value!r}"
            raise InvalidInputError(message)
        text = str(value).encode()
        content = hashlib.sha256(text).hexdigest().encode() if name == "data" else text
        pieces.append(b"%s=%d:%s," % (name.encode(), len(content), content))
    return b"".join(pieces)
