"""Write a block of payloads as JSON in one call, if all their values are plain.

``core.payload`` defines how a value is written. For text, booleans, null, integers, and doubles
that need no exponent, msgspec writes the same bytes in a tenth of the time; tests hold the two
together. It would write other values in its own way (NaN as null, a set as an array), so a block
that has any is left to ``core.payload``.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from eventlake.core.attributes import MAX_PAYLOAD_DEPTH

BLOCK_ROWS = 4_096
_BLOCK_VALUES = 1 << 20
"""Maximum number of values in a level of a block, which one list holds. A payload that contains one
list many times has more values than the memory has room for."""
_LISTS = frozenset({list, tuple})
# The exact types: msgspec writes an enumeration, which may be a ``str``, by rules of its own.
_PLAIN = frozenset({str, int, float, bool, type(None), dict, *_LISTS})
_TEXT = frozenset({str})
_WITHOUT_EXPONENT = 1e-4, 1e16
"""The range of doubles that Python and msgspec write in the same way, without an exponent."""
_ENCODER = msgspec.json.Encoder()


def plain_texts(payloads: Sequence[Any]) -> list[str | None] | None:
    """The JSON texts of payloads, of which text and None are kept.

    None for the whole block if some value in it is not plain, or cannot be written.
    """
    given = [value for value in payloads if value is not None and type(value) is not str]
    if not given:
        return list(payloads)
    if not _are_plain(given):
        return None
    try:
        # No JSON text has a line feed: in a string it is escaped.
        lines = iter(_ENCODER.encode_lines(given).decode().split("\n"))
    except (ValueError, OverflowError, RecursionError):
        return None
    return [value if value is None or type(value) is str else next(lines) for value in payloads]


def _are_plain(values: list[Any]) -> bool:
    """Whether values and all that they contain are plain, and not nested too deeply."""
    # One level at a time, so that loops run in C over all payloads.
    for _ in range(MAX_PAYLOAD_DEPTH + 1):
        kinds = set(map(type, values))
        if not kinds <= _PLAIN or (float in kinds and not _have_no_exponent(values)):
            return False
        objects = [value for value in values if type(value) is dict] if dict in kinds else []
        arrays = [value for value in values if type(value) in _LISTS] if kinds & _LISTS else []
        if sum(map(len, objects)) + sum(map(len, arrays)) > _BLOCK_VALUES:
            return False
        if not _TEXT.issuperset(map(type, chain.from_iterable(objects))):
            return False
        values = list(chain(*map(dict.values, objects), *arrays))
        if not values:
            return True
    return False


def _have_no_exponent(values: list[Any]) -> bool:
    size = np.abs(np.array([value for value in values if type(value) is float]))
    low, high = _WITHOUT_EXPONENT
    # NaN is in no range.
    return bool((((size >= low) & (size < high)) | (size == 0)).all())
