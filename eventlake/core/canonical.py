"""Canonical JSON and SHA-256: one spelling of a document, so that its bytes can be hashed and compared.

Canonical here means RFC 8785 without floats: keys sorted by code point, no blanks, UTF-8, integers only.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from eventlake.errors import CorruptionError

CHECKSUM = "checksum"


def canonical_json(value: Any) -> bytes:
    """The one spelling of ``value``: sorted keys, no blanks, no floats.

    Raises:
        TypeError: ``value`` holds a float or anything else that is not JSON.
    """
    _refuse_floats(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        message = f"a float has no canonical spelling: {value!r}"
        raise TypeError(message)
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                message = f"keys must be strings, found {key!r}"
                raise TypeError(message)
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)


def sha256_hex(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def seal(document: Mapping[str, Any]) -> bytes:
    """The canonical bytes of ``document`` with a checksum of itself under the key ``checksum``."""
    return canonical_json({**document, CHECKSUM: sha256_hex(canonical_json(document))})


def unseal(data: bytes, where: str) -> dict[str, Any]:
    """Reads what ``seal`` wrote and returns the document without its checksum.

    Any changed byte is noticed: the checksum covers the content, and only the canonical spelling of it is accepted.

    Raises:
        CorruptionError: The bytes are not canonical JSON, or the checksum does not match; ``where`` is named.
    """
    try:
        document = json.loads(data)
        checksum = document.pop(CHECKSUM)
        expected = sha256_hex(canonical_json(document))
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise _corrupt(where, f"not a sealed JSON document ({type(error).__name__}: {error})") from error
    if checksum != expected:
        raise _corrupt(where, f"expected checksum {expected}, found {checksum}")
    if seal(document) != data:
        raise _corrupt(where, "expected the canonical spelling, found another one of the same content")
    return dict(document)


def _corrupt(where: str, problem: str) -> CorruptionError:
    hint = "run 'eventlake verify LAKE' and restore the file from a backup; files of a lake are never edited."
    return CorruptionError(f"{where} is damaged: {problem}", hint, path=where)
