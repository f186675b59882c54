"""Parquet files that no writer would write: the footer and the headers of pages, taken apart and written again."""

import struct
from dataclasses import dataclass

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
MAGIC = b"PAR1"


@dataclass
class Value:
    """A value of Thrift's compact protocol; of a list, ``item`` is the kind of its values."""

    kind: int
    value: object
    item: int = 0


def i32(value):
    return Value(_I32, value)


def i64(value):
    return Value(_I64, value)


def parse(data, at=0):
    """A struct as its fields by number, and where it ends."""
    fields, number = {}, 0
    while (head := data[at]) != 0:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        fields[number], at = _value(data, at, head & 15, in_list=False)
    return fields, at + 1


def _value(data, at, kind, *, in_list):
    if kind in {_TRUE, _FALSE}:
        return (Value(data[at], None), at + 1) if in_list else (Value(kind, None), at)
    if kind == _BYTE:
        return Value(kind, data[at]), at + 1
    if kind in {_I16, _I32, _I64}:
        number, at = _zigzag(data, at)
        return Value(kind, number), at
    if kind == _DOUBLE:
        return Value(kind, data[at : at + 8]), at + 8
    if kind == _BINARY:
        length, at = _varint(data, at)
        return Value(kind, bytes(data[at : at + length])), at + length
    if kind == _STRUCT:
        fields, at = parse(data, at)
        return Value(kind, fields), at
    assert kind in {_LIST, _SET}
    count, item, at = data[at] >> 4, data[at] & 15, at + 1
    if count == 15:
        count, at = _varint(data, at)
    values = []
    for _ in range(count):
        value, at = _value(data, at, item, in_list=True)
        values.append(value)
    return Value(kind, values, item), at


def spell(fields):
    """The bytes of a struct."""
    out, before = bytearray(), 0
    for number, value in fields.items():
        step = number - before
        out += (
            bytes([step << 4 | value.kind])
            if 0 < step < 16
            else bytes([value.kind]) + _spelled(number)
        )
        out += _bytes(value, in_list=False)
        before = number
    return bytes(out + b"\0")


def _bytes(value, *, in_list):
    kind, said = value.kind, value.value
    if kind in {_TRUE, _FALSE}:
        return bytes([kind]) if in_list else b""
    if kind == _BYTE:
        return bytes([said & 255])
    if kind in {_I16, _I32, _I64}:
        return _spelled(said)
    if kind == _DOUBLE:
        return said
    if kind == _BINARY:
        return _unsigned(len(said)) + said
    if kind == _STRUCT:
        return spell(said)
    head = (
        bytes([len(said) << 4 | value.item])
        if len(said) < 15
        else bytes([0xF0 | value.item]) + _unsigned(len(said))
    )
    return head + b"".join(_bytes(one, in_list=True) for one in said)


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _zigzag(data, at):
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _spelled(number):
    return _unsigned((number << 1) ^ (number >> 63) if -(2**63) <= number < 2**63 else number << 1)


def _unsigned(number):
    number &= 2**70 - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def footer(data):
    """The footer of a file."""
    length = struct.unpack("<I", data[-8:-4])[0]
    return parse(data, len(data) - 8 - length)[0]


def with_footer(data, fields):
    """A file with another footer."""
    length = struct.unpack("<I", data[-8:-4])[0]
    spelled = spell(fields)
    return data[: len(data) - 8 - length] + spelled + struct.pack("<I", len(spelled)) + MAGIC


def chunks(fields):
    """The metadata of all column chunks of a footer."""
    return [chunk.value[3].value for group in fields[4].value for chunk in group.value[1].value]


def pages(data, chunk):
    """Where the pages of a chunk are: header, where it begins, where its values begin and end."""
    at = chunk[11].value if 11 in chunk and chunk[11].value else chunk[9].value
    stop, found = at + chunk[7].value, []
    while at < stop:
        header, begin = parse(data, at)
        found.append((header, at, begin, begin + header[3].value))
        at = found[-1][3]
    return found


def with_pages(data, number, change):
    """A file in which the pages of one column chunk are others.

    Args:
        data: The file.
        number: Which chunk.
        change: Gives the new pages, as pairs of header and bytes, from the old ones.
    """
    fields = footer(data)
    chunk = chunks(fields)[number]
    begin = chunk[11].value if 11 in chunk and chunk[11].value else chunk[9].value
    stop = begin + chunk[7].value
    old = [(header, data[first:last]) for header, _, first, last in pages(data, chunk)]
    made, starts = bytearray(), {}
    for header, values in change(old):
        starts.setdefault(header[1].value, begin + len(made))
        header[3] = i32(len(values))
        made += spell(header) + values
    longer = len(made) - (stop - begin)
    length = struct.unpack("<I", data[-8:-4])[0]
    body = data[:begin] + bytes(made) + data[stop : len(data) - 8 - length]
    for other in chunks(fields):
        for name in (9, 10, 11):
            if name in other and other[name].value >= stop:
                other[name].value += longer
    chunk[7].value += longer
    chunk[9].value = starts.get(0, starts.get(3, begin))
    for chunk_ in (one for group in fields[4].value for one in group.value[1].value):
        for name in (4, 5, 6, 7):
            chunk_.value.pop(name, None)
    return with_footer(body + data[len(data) - 8 - length :], fields)
