"""Canonical JSON and SHA-256: a document has exactly one spelling, which can be hashed.

This is RFC 8785 without floats: keys sorted by code point, no blanks, UTF-8, integers only.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from eventlake.errors import CorruptionError

CHECKSUM = "checksum"
# ``json.dumps`` creates a new encoder at each call with such options.
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
)


def canonical_json(value: Any) -> bytes:
    """Encode a value as canonical JSON.

    Raises:
        TypeError: The value contains a float, or anything else that is not JSON.
    """
    # A double has several spellings, and its shortest one depends on the library.
    _refuse_floats(value)
    return _ENCODER.encode(value).encode()


def _refuse_floats(value: Any) -> None:
    if isinstance(value, (str, int)) or value is None:
        return
    if isinstance(value, float):
        message = f"a float has no canonical spelling: {value!r}"
        raise TypeError(message)
    if isinstance(value, (list, tuple)):
        for item in value:
            _refuse_floats(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                message = f"keys must be strings, found {key!r}"
                raise TypeError(message)
            _refuse_floats(item)


def sha256_hex(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def seal(document: Mapping[str, Any]) -> bytes:
    """Encode a document with a member ``checksum`` over its canonical bytes."""
    return _sealed(document)[0]


def _sealed(document: Mapping[str, Any]) -> tuple[bytes, str]:
    """The sealed bytes and the checksum; each member is encoded only once."""
    # The checksum is a member among the others by its name. The members before and after it are the
    # same bytes in what is hashed and in what is stored.
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for key, value in document.items():
        (before if key < CHECKSUM else after)[key] = value
    first, last = canonical_json(before)[1:-1], canonical_json(after)[1:-1]
    checksum = sha256_hex(_members(first, last))
    return _members(first, b'"%s":"%s"' % (CHECKSUM.encode(), checksum.encode()), last), checksum


def _members(*parts: bytes) -> bytes:
    return b"{" + b",".join(part for part in parts if part) + b"}"


def unseal(data: bytes, where: str) -> dict[str, Any]:
    """Decode what ``seal`` wrote, and return the document without its checksum.

    Every changed byte is detected: the checksum covers the content, and only its canonical spelling
    is accepted.

    Raises:
        CorruptionError: The bytes are not canonical JSON, or the checksum does not match; the
            message names ``where``.
    """
    try:
        document = json.loads(data)
        checksum = document.pop(CHECKSUM)
        sealed, expected = _sealed(document)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise _corrupt(
            where, f"not a sealed JSON document ({type(error).__name__}: {error})"
        ) from error
    if checksum != expected:
        raise _corrupt(where, f"expected checksum {expected}, found {checksum}")
    # The checksum covers the content: a repeated key or another spelling would pass it.
    if sealed != data:
        raise _corrupt(
            where, "expected the canonical spelling, found another one of the same content"
        )
    return dict(document)


def _corrupt(where: str, problem: str) -> CorruptionError:
    hint = (
        "run 'eventlake verify LAKE' and restore the file from a backup; "
        "files of a lake are never edited."
    )
    return CorruptionError(f"{where} is damaged: {problem}", hint, path=where)
