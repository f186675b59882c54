"""The content hash a second time: naive, value by value over Python objects, without a line of eventlake's code.

Written from DESIGN.md section 4 ("Content hash") and the docstrings of
``columns/hashing/content.py``. Only ``hashlib``, ``struct`` and Arrow's type names are used; the
values are what ``to_pylist`` gives.
"""

import hashlib
import math
import struct
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal

import pyarrow as pa

MAGIC = b"eventlake content 1\n"
FORMATS = {
    "int8": "<b",
    "int16": "<h",
    "int32": "<i",
    "int64": "<q",
    "uint8": "<B",
    "uint16": "<H",
    "uint32": "<I",
    "uint64": "<Q",
}
WIDE = Context(prec=100)
MICROSECOND = timedelta(microseconds=1)


def size(value):
    return struct.pack("<Q", value)


def text(value):
    return size(len(value.encode())) + value.encode()


def logical(kind):
    """The logical name of any Arrow type, whatever its layout."""
    types = pa.types
    if types.is_dictionary(kind):
        return logical(kind.value_type)
    if types.is_struct(kind):
        return "struct<" + ", ".join(f"{field.name}: {logical(field.type)}" for field in kind) + ">"
    if (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
    ):
        return f"list<{logical(kind.value_type)}>"
    if types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})"
    if types.is_timestamp(kind):
        return "timestamp[us]" if kind.tz is None else "timestamp[us, UTC]"
    for test, name in (
        (types.is_date, "date"),
        (types.is_time, "time[us]"),
        (types.is_duration, "duration[us]"),
        (types.is_boolean, "bool"),
        (types.is_float32, "float32"),
        (types.is_float64, "float64"),
    ):
        if test(kind):
            return name
    if types.is_integer(kind):
        return str(kind)
    return "utf8" if "string" in str(kind) else "binary"


def value_bytes(value, kind):
    """One value of a type without children; None is zero or empty."""
    name = logical(kind)
    if name in FORMATS:
        return struct.pack(FORMATS[name], value or 0)
    if name == "bool":
        return b"\x01" if value else b"\x00"
    if name == "float64":
        number = 0.0 if value is None else value
        return (
            b"\x00\x00\x00\x00\x00\x00\xf8\x7f" if math.isnan(number) else struct.pack("<d", number)
        )
    if name == "float32":
        number = 0.0 if value is None else value
        return b"\x00\x00\xc0\x7f" if math.isnan(number) else struct.pack("<f", number)
    if name == "utf8":
        return (value or "").encode()
    if name == "binary":
        return value or b""
    if name == "date":
        return struct.pack("<i", 0 if value is None else (value - date(1970, 1, 1)).days)
    if name == "time[us]":
        moment = (
            0
            if value is None
            else ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000
            + value.microsecond
        )
        return struct.pack("<q", moment)
    if name == "duration[us]":
        return struct.pack("<q", 0 if value is None else value // MICROSECOND)
    if name.startswith("timestamp"):
        epoch = datetime(1970, 1, 1, tzinfo=UTC if "UTC" in name else None)
        return struct.pack("<q", 0 if value is None else (value - epoch) // MICROSECOND)
    unscaled = WIDE.scaleb(value, kind.scale) if value is not None else Decimal(0)
    assert unscaled == int(unscaled)
    return int(unscaled).to_bytes(16, "little", signed=True)


def column_digest(values, kind):
    """SHA-256 over rows, nulls and the digests of validity, lengths, values, then of the children."""
    if pa.types.is_dictionary(kind):
        return column_digest(values, kind.value_type)
    name = logical(kind)
    validity = b"".join(b"\x00" if value is None else b"\x01" for value in values)
    lengths, raw, children = b"", b"", []
    if name.startswith("struct"):
        children = [
            column_digest([None if row is None else row[field.name] for row in values], field.type)
            for field in kind
        ]
    elif name.startswith("list"):
        lengths = b"".join(size(len(row or ())) for row in values)
        children = [
            column_digest(
                [item for row in values if row is not None for item in row], kind.value_type
            )
        ]
    else:
        parts = [value_bytes(value, kind) for value in values]
        raw = b"".join(parts)
        if name in {"utf8", "binary"}:
            lengths = b"".join(size(len(part)) for part in parts)
    digests = [hashlib.sha256(part).digest() for part in (validity, lengths, raw)]
    return hashlib.sha256(
        size(len(values)) + size(values.count(None)) + b"".join(digests + children)
    ).digest()


def content_hash(table):
    """The content hash of an Arrow table, hex."""
    whole = MAGIC + size(table.num_rows) + size(table.num_columns)
    for name, column in zip(table.column_names, table.columns, strict=True):
        whole += (
            text(name) + text(logical(column.type)) + column_digest(column.to_pylist(), column.type)
        )
    return hashlib.sha256(whole).hexdigest()
