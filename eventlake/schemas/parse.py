"""Parse payloads into typed columns, a whole column at a time, with the results of ``parse_row``.

Arrow's JSON reader keeps a number's digits as text until it knows the column's type, so that a
decimal or an int64 is never a double. Dates and instants are read as text and cast after a check of
their spelling. If the reader or a check finds anything unusual, the rows of that chunk are parsed
one by one by ``parse_row``, which decides and names what is wrong.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from eventlake.columns.decimals import wide
from eventlake.columns.intake.problems import Problem
from eventlake.core.attributes import MAX_PAYLOAD_DEPTH
from eventlake.schemas import parse_row
from eventlake.schemas.checks import OddError, arrow_schema, arrow_type, checked
from eventlake.schemas.schema import FieldType

_FAR = r"[eE](?:-(?:39|[4-9][0-9])|[+-]?[0-9]{3})"
"""An exponent below -38, or of three digits."""
_FAR_NUMBER = rf'[:\[,\s]-?[0-9]+(?:\.[0-9]+)?{_FAR}|"[\s+-]*[0-9.]+{_FAR}[0-9]*\s*"'
_ESCAPED = r"\\u00(?:[46]5|3[0-9]|2[bBdDeE])"
"""Escapes of characters of numbers, which no writer needs."""
CHUNK_ROWS = 32_768
CHUNK_BYTES = 16 << 20
# Starting threads takes longer than parsing so few rows.
_FEW_ROWS = 512
"""Fewer rows are read without threads."""

_FEWEST_ROWS = 16
"""Starting Arrow's reader takes longer than checking so few rows one by one."""

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Parsed:
    """Payloads as columns.

    Attributes:
        table: One column per field, one row per payload; values that could not be read are null.
        problems: What is wrong, by row and path.
    """

    table: pa.Table
    problems: list[Problem]


def parse(payloads: pa.ChunkedArray, schema: FieldType, *, stored: bool = False) -> Parsed:
    """Parse a column of JSON texts.

    Args:
        payloads: Valid JSON texts; null means ``{}``.
        schema: The struct to read.
        stored: Whether the payloads were accepted before; see ``parse_row.read``.
    """
    tables, found, row = [arrow_schema(schema).empty_table()], [], 0
    few = len(payloads) < _FEW_ROWS
    for table, broken in _each(
        list(_chunks(payloads)), lambda chunk: _parse(chunk, schema, stored=stored), few=few
    ):
        tables.append(table)
        found += [problem.shifted(row) for problem in broken]
        row += table.num_rows
    return Parsed(pa.concat_tables(tables), found)


def problems(columns: Sequence[tuple[pa.ChunkedArray, FieldType]]) -> list[list[Problem]]:
    """What ``parse`` finds wrong in each of many columns, which are read side by side."""
    parts = [
        (number, chunk)
        for number, (payloads, _) in enumerate(columns)
        for chunk in _chunks(payloads)
    ]

    def broken(part: tuple[int, pa.Array]) -> tuple[int, int, list[Problem]]:
        number, chunk = part
        schema = columns[number][1]
        if len(chunk) > _FEWEST_ROWS:
            return number, len(chunk), _parse(chunk, schema, stored=False)[1]
        return number, len(chunk), list(_broken(chunk, schema))

    found: list[list[Problem]] = [[] for _ in columns]
    rows = [0] * len(columns)
    few = sum(len(payloads) for payloads, _ in columns) < _FEW_ROWS
    for number, length, some in _each(parts, broken, few=few):
        found[number] += [problem.shifted(rows[number]) for problem in some]
        rows[number] += length
    return found


def _each(
    parts: Sequence[_Part], read: Callable[[_Part], _Result], *, few: bool
) -> Iterable[_Result]:
    # Chunk by chunk, so that one unusual payload does not send all of them to the slow parser.
    if few or len(parts) < 2:  # noqa: PLR2004 - one chunk needs one thread
        return map(read, parts)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(read, parts))


def _chunks(payloads: pa.ChunkedArray) -> Iterator[pa.Array]:
    for chunk in _together(payloads.chunks):
        whole = pc.fill_null(chunk, "{}") if chunk.null_count else chunk
        step = CHUNK_ROWS
        # Long payloads get smaller chunks: the reader holds a chunk's text and columns at once.
        while step > 1 and len(whole) and _bytes_of(whole).size * step > CHUNK_BYTES * len(whole):
            step //= 2
        yield from (whole.slice(start, step) for start in range(0, len(whole), step))


def _together(chunks: Sequence[pa.Array]) -> Iterator[pa.Array]:
    """Join small chunks, because each call of Arrow's reader costs as much as many payloads."""
    held: list[pa.Array] = []
    rows = size = 0
    for chunk in chunks:
        rows, size = rows + len(chunk), size + chunk.nbytes
        if held and (rows > CHUNK_ROWS or size > CHUNK_BYTES):
            yield _joined(held)
            held, rows, size = [], len(chunk), chunk.nbytes
        held.append(chunk)
    if held:
        yield _joined(held)


def _joined(chunks: Sequence[pa.Array]) -> pa.Array:
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def _bytes_of(texts: pa.Array) -> pa.Buffer:
    """The texts concatenated, without a copy."""
    texts = texts.cast(pa.large_string()) if not pa.types.is_string(texts.type) else texts
    width = 4 if pa.types.is_string(texts.type) else 8
    _, offsets, data = texts.buffers()
    at = memoryview(offsets).cast("B").cast("i" if width == 4 else "q")  # noqa: PLR2004 - bytes of an offset
    first, last = at[texts.offset], at[texts.offset + len(texts)]
    return data.slice(first, last - first) if data is not None else pa.py_buffer(b"")


def _parse(
    payloads: pa.Array, schema: FieldType, *, stored: bool
) -> tuple[pa.Table, list[Problem]]:
    try:
        return _columns(payloads, schema), []
    except (pa.ArrowException, OddError):
        return _row_by_row(payloads, schema, stored=stored)


def _row_by_row(
    payloads: pa.Array, schema: FieldType, *, stored: bool
) -> tuple[pa.Table, list[Problem]]:
    rows, problems = [], []
    for row, payload in enumerate(payloads.to_pylist()):
        values, broken = parse_row.read(payload, schema, stored=stored)
        rows.append(values)
        problems += [Problem(row, *one) for one in broken]
    wire = pa.schema(
        [pa.field(field.name, _wire_type(field.type, as_read=False)) for field in schema.fields]
    )
    return pa.Table.from_pylist(rows, wire).cast(arrow_schema(schema)), problems


def _broken(payloads: pa.Array, schema: FieldType) -> Iterator[Problem]:
    for row, payload in enumerate(payloads.to_pylist()):
        yield from (Problem(row, *one) for one in parse_row.problems(payload, schema))


def _columns(payloads: pa.Array, schema: FieldType) -> pa.Table:
    """The columns, from Arrow's reader.

    Raises:
        pa.ArrowException: Arrow cannot read the payloads.
        OddError: The values may differ from those of the schema.
    """
    if not len(payloads):
        return arrow_schema(schema).empty_table()
    # Arrow's reader crashes on a null row if it is told to refuse unknown members.
    if not pc.all(pc.starts_with(payloads, "{")).as_py():
        raise OddError
    text = _bytes_of(payloads)
    plain = text.to_pybytes()
    if _may_be_deep(payloads, plain) or (_has_decimals(schema) and _may_be_tiny(payloads, plain)):
        raise OddError
    wire = pa.schema(
        [pa.field(field.name, _wire_type(field.type, as_read=True)) for field in schema.fields]
    )
    table = pj.read_json(
        # The texts are read where they lie, one after the other: JSON values need no separator.
        pa.BufferReader(text),
        # One block, because Arrow refuses a value that crosses the end of one.
        read_options=pj.ReadOptions(use_threads=False, block_size=text.size + 1),
        parse_options=pj.ParseOptions(
            explicit_schema=wire, unexpected_field_behavior=_unexpected(schema)
        ),
    )
    # Each payload must have become one row, or all rows after it would be shifted.
    if table.num_rows != len(payloads) or (schema.closed and table.num_columns > len(wire)):
        raise OddError
    columns = [
        checked(table.column(field.name).combine_chunks(), field.type, required=field.required)
        for field in schema.fields
    ]
    return pa.Table.from_arrays(columns, schema=arrow_schema(schema))


def _has_decimals(kind: FieldType) -> bool:
    inner = [field.type for field in kind.fields] + ([] if kind.item is None else [kind.item])
    return kind.kind == "decimal" or any(map(_has_decimals, inner))


def _may_be_tiny(payloads: pa.Array, plain: bytes) -> bool:
    """Whether a number, or a text that may be one, has an exponent below -38 or of three digits.

    For a decimal such as 1e-999 Arrow reads beyond a table of powers: it returns 0, or crashes. The
    table has 76, so that 38 digits after the point and an exponent of -38 are within it.
    """
    suspects = []
    # A shorter pattern first, which is in every match of the exact one and takes half as long.
    if pc.any(pc.match_substring_regex(payloads, _FAR)).as_py():
        suspects.append(_FAR_NUMBER)
    # A single byte is found much faster, and most payloads escape nothing.
    if b"\\" in plain and b"\\u00" in plain:
        suspects.append(_ESCAPED)
    return any(pc.any(pc.match_substring_regex(payloads, pattern)).as_py() for pattern in suspects)


def _may_be_deep(payloads: pa.Array, plain: bytes) -> bool:
    """Whether a payload may be nested more deeply than an append accepts.

    Arrow's reader would exhaust the stack on it.
    """
    codes = np.frombuffer(plain, np.uint8)
    opened = sum(np.count_nonzero(codes == code) for code in b"[{")
    # Every payload opens at least one object, so below this sum none opens more than the limit.
    if opened < len(payloads) + MAX_PAYLOAD_DEPTH:
        return False
    most = pc.max(
        pc.add(pc.count_substring(payloads, "["), pc.count_substring(payloads, "{"))
    ).as_py()
    return bool(most > MAX_PAYLOAD_DEPTH)


def _unexpected(schema: FieldType) -> str:
    """What Arrow does with a member that is not a field; closed structs must notice them."""
    closed = list(_closed(schema))
    if not any(closed):
        return "ignore"
    # If only some structs are closed, Arrow reads all members, and ``checked`` counts them.
    return "error" if all(closed) else "infer"


def _closed(kind: FieldType) -> Iterator[bool]:
    if kind.item is not None:
        yield from _closed(kind.item)
    if kind.kind == "struct":
        yield kind.closed
        for field in kind.fields:
            yield from _closed(field.type)


def _wire_type(kind: FieldType, *, as_read: bool) -> pa.DataType:
    """The type of values on their way to ``kind``: from Arrow's reader, or from ``parse_row``."""
    if kind.kind == "struct":
        return pa.struct(
            [pa.field(field.name, _wire_type(field.type, as_read=as_read)) for field in kind.fields]
        )
    if kind.item is not None:
        return pa.list_(_wire_type(kind.item, as_read=as_read))
    if kind.kind == "timestamp":
        return pa.string() if as_read else pa.int64()
    if as_read and kind.kind == "date":
        return pa.string()
    # The reader moves the point of a number, in as many bits as the type has.
    return wide(arrow_type(kind)) if as_read and kind.kind == "decimal" else arrow_type(kind)
