"""Read values from text, such as a CSV file's, by their declared types, without guessing."""

import re
from typing import Any

from eventlake.schemas.parse_row import NUMBER, scalar
from eventlake.schemas.schema import MAX_DIGITS, FieldType

TYPES = ("utf8", "bool", "int64", "float64", "date", "timestamp", "decimal(p, s)")
"""The names of types in the mapping of an import."""

DECIMAL_TYPE = re.compile(r"decimal\(\s*([0-9]{1,2})\s*,\s*([0-9]{1,2})\s*\)")
# Bounded, because ``int`` takes quadratic time and refuses more than 4,300 digits.
_INTEGER = re.compile(r"[+-]?[0-9]{1,100}")
_BOOLEANS = {"true": True, "false": False}


def type_named(name: Any) -> FieldType | None:
    """The type with a name; None if there is no such type."""
    match = DECIMAL_TYPE.fullmatch(name) if isinstance(name, str) else None
    if match:
        precision, scale = int(match[1]), int(match[2])
        if not 1 <= precision <= MAX_DIGITS or scale > precision:
            return None
        return FieldType("decimal", precision, scale)
    return FieldType(name) if name in TYPES else None


def value_of(text: str, kind: FieldType) -> tuple[str | None, Any]:
    """What was expected, None if the text fits; and the value, instants in microseconds."""
    if kind.kind == "bool":
        return (None, _BOOLEANS[text]) if text in _BOOLEANS else ("expected true or false", None)
    if kind.kind == "int64":
        return scalar(int(text) if _INTEGER.fullmatch(text) else None, kind)
    if kind.kind == "float64":
        value = float(text) if NUMBER.fullmatch(text) else None
        finite = value is not None and abs(value) != float("inf")
        return (None, value) if finite else ("expected a finite number", None)
    return scalar(text, kind)
