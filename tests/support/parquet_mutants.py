"""Parquet files changed at random: fields of the footer, headers of pages, bytes of pages, and values that are written again."""

import copy
import io

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.parquet_forging import Value, chunks, footer, pages, spell, with_footer

_NUMBERS, _BINARY, _LIST, _SET, _STRUCT = (4, 5, 6), 8, 9, 10, 12
_LARGE = (0, 1, -1, 7, 255, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
_TEXTS = (
    "",
    "\0",
    "é" * 50,
    "'; DROP TABLE events; --",
    '{"amount":',
    '{"amount":"1e999"}',
    "9" * 400,
    "x" * 20_000,
)


def parquet_mutant(dice, data):
    """A file that is changed in one way, by a writer who knows how such files are made."""
    return dice.choice(
        [
            _other_footer,
            _other_page_header,
            _other_page_header,
            _other_page,
            _other_page,
            _other_values,
            _cut,
        ]
    )(dice, data)


def _other_footer(dice, data):
    fields = footer(data)
    for _ in range(dice.choice([1, 1, 2])):
        _change(dice, fields)
    return with_footer(data, fields)


def _other_page_header(dice, data):
    """The header is written over the old one; the bytes after it are moved, unless its length is what is changed."""
    chunk = dice.choice(chunks(footer(data)))
    header, at, begin, _ = dice.choice(pages(data, chunk))
    changed = copy.deepcopy(header)
    _change(dice, changed)
    return data[:at] + spell(changed) + data[begin:]


def _other_page(dice, data):
    chunk = dice.choice(chunks(footer(data)))
    _, _, begin, end = dice.choice(pages(data, chunk))
    changed = bytearray(data)
    for _ in range(dice.choice([1, 1, 3, 10])):
        if end > begin:
            changed[dice.randrange(begin, end)] = dice.choice(
                [0, 1, 127, 128, 255, dice.randrange(256)]
            )
    return bytes(changed)


def _cut(dice, data):
    at = dice.randrange(len(data))
    return dice.choice(
        [data[:at], data[at:], data[:at] + data[at + 1 :], data[:at] + b"\0" + data[at:]]
    )


def _other_values(dice, data):
    """Rows that a writer of Parquet wrote: another value, type, column or number of rows."""
    table = pq.read_table(io.BytesIO(data))
    number = dice.randrange(table.num_columns)
    name, column = table.column_names[number], table.column(number)
    what = dice.randrange(7)
    if what == 0 and table.num_rows:
        values = column.to_pylist()
        values[dice.randrange(len(values))] = _other_value(dice, column)
        table = table.set_column(number, name, pa.chunked_array([pa.array(values, column.type)]))
    elif what == 1:
        table = table.set_column(number, name, pa.nulls(table.num_rows, column.type))
    elif what == 2:
        table = table.drop_columns([name])
    elif what == 3:
        table = table.append_column(dice.choice([name, "", "\0", "new"]), column)
    elif what == 4:
        kind = dice.choice(
            [
                pa.string(),
                pa.int64(),
                pa.float32(),
                pa.list_(pa.int64()),
                pa.struct({"a": pa.int8()}),
                pa.null(),
            ]
        )
        table = table.set_column(number, name, pa.nulls(table.num_rows, kind))
    elif what == 5:
        table = table.take(pa.array(dice.sample(range(table.num_rows), table.num_rows), pa.int64()))
    else:
        table = dice.choice(
            [table.slice(1), table.slice(0, 0), pa.concat_tables([table, table.slice(0, 1)])]
        )
    sink = io.BytesIO()
    pq.write_table(
        table, sink, compression=dice.choice(["zstd", "none"]), use_dictionary=dice.random() < 0.5
    )
    return sink.getvalue()


def _other_value(dice, column):
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return dice.choice([None, *_TEXTS])
    if pa.types.is_integer(column.type):
        bits = column.type.bit_width
        least, most = (
            (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            if pa.types.is_signed_integer(column.type)
            else (0, 2**bits - 1)
        )
        return dice.choice([None, 0, 1, least, most])
    return None


def _change(dice, fields):
    """Changes one value at any depth of a struct."""
    holder, step = dice.choice(list(_places(fields)))
    value = holder[step]
    if dice.random() < 0.2:
        del holder[step]
    elif value.kind in _NUMBERS:
        bits = {4: 16, 5: 32, 6: 64}[value.kind]
        number = dice.choice(
            [
                *_LARGE,
                value.value + 1,
                value.value - 1,
                value.value * 2,
                -value.value,
                dice.randrange(100),
            ]
        )
        holder[step] = Value(value.kind, (number + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1))
    elif value.kind == _BINARY:
        holder[step] = Value(
            _BINARY,
            dice.choice(
                [b"", b"\xff\xfe", b"\0", b"a" * 5_000, value.value + b"x", value.value[:-1]]
            ),
        )
    elif value.kind in {_LIST, _SET}:
        holder[step] = Value(
            value.kind,
            dice.choice([[], value.value[:-1], value.value * 2, value.value[::-1]]),
            value.item,
        )
    else:
        holder[step] = dice.choice([Value(5, 1), Value(_BINARY, b"x"), Value(_STRUCT, {})])


def _places(fields):
    for step, value in fields.items() if isinstance(fields, dict) else enumerate(fields):
        yield fields, step
        if value.kind in {_LIST, _SET, _STRUCT}:
            yield from _places(value.value)
