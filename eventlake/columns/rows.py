"""Select rows of a table whose text may exceed 2 GiB, the limit of an Arrow ``string`` array.

``take`` combines the chunks of a column first, and fails if they are too large; ``filter`` works
chunk by chunk.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

COMBINED_BYTES = 1 << 30
"""Maximum size of a table whose chunks are combined without widening its text."""
WINDOW_BYTES = 1 << 28
"""Maximum size of the text that is grouped at a time, which is a copy."""
FEW_ROWS = 1_024
"""Rows whose text always fits: an attribute or payload has at most 1 MiB."""


def chosen(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Select rows by ascending indices."""
    mask = np.zeros(table.num_rows, np.bool_)
    mask[rows] = True
    return table.filter(pa.array(mask))


def numbered(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int32], list[Any]]:
    """The number of each row's value, and the distinct values in the order of their numbers.

    Values are numbered as they first appear. No value may be null.
    """
    chunks = column.dictionary_encode().chunks
    if not chunks:
        return np.empty(0, np.int32), []
    # Arrow gives all chunks the same dictionary.
    return np.concatenate([chunk.indices for chunk in chunks]), chunks[-1].dictionary.to_pylist()


Group = tuple[int, npt.NDArray[np.int64], pa.ChunkedArray]
"""The number of a group, its rows, and their values."""


def grouped(
    column: pa.ChunkedArray, groups: npt.NDArray[np.int32], window_bytes: int = WINDOW_BYTES
) -> Iterator[list[Group]]:
    """Partition a text column by the group of each row, in one pass.

    Yields the groups of one window of rows after the other, each with its rows in ascending order.
    A window has at most ``window_bytes``, or one row. Rows of a negative group are left out.
    """
    start = 0
    for window in _windows(column, window_bytes):
        mine = groups[start : start + len(window)]
        if mine[0] >= 0 and (mine == mine[0]).all():
            yield [(int(mine[0]), np.arange(start, start + len(mine)), window)]
        else:
            # NumPy sorts numbers of 16 bits in linear time.
            small = mine.astype(np.int16) if mine.max() < 1 << 15 else mine
            order = np.argsort(small, kind="stable")
            numbers, counts = np.unique(mine, return_counts=True)
            values = window.take(pa.array(order[np.searchsorted(mine[order], 0) :]))
            yield list(_cut(numbers, counts, order + start, values))
        start += len(window)


def _cut(
    numbers: npt.NDArray[np.int32],
    counts: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    values: pa.ChunkedArray,
) -> Iterator[Group]:
    left_out = len(rows) - len(values)
    stops = np.cumsum(counts).tolist()
    for number, count, stop in zip(numbers.tolist(), counts.tolist(), stops, strict=True):
        if number >= 0:
            first = stop - count
            yield number, rows[first:stop], values.slice(first - left_out, count)


def _windows(column: pa.ChunkedArray, window_bytes: int) -> Iterator[pa.ChunkedArray]:
    if not len(column):
        return
    if len(column) == 1 or column.nbytes <= window_bytes:
        yield column
        return
    middle = len(column) // 2
    yield from _windows(column.slice(0, middle), window_bytes)
    yield from _windows(column.slice(middle), window_bytes)


def gathered(
    table: pa.Table,
    indices: pa.Array,
    *,
    combined_bytes: int = COMBINED_BYTES,
    few_rows: int = FEW_ROWS,
) -> pa.Table:
    """Select rows in any order; a null index gives a row of nulls.

    A table of ``combined_bytes`` or more is gathered in pieces of ``few_rows`` rows.
    """
    if table.nbytes < combined_bytes:
        return _take(table.combine_chunks(), indices)
    whole = combined(table, combined_bytes)
    pieces = (
        taken(whole, indices.slice(start, few_rows), table.schema)
        for start in range(0, len(indices), few_rows)
    )
    return pa.concat_tables([table.schema.empty_table(), *pieces])


def combined(table: pa.Table, combined_bytes: int = COMBINED_BYTES) -> pa.Table:
    """A table with one chunk a column, to take rows from; its text is wide if it is large."""
    if table.nbytes >= combined_bytes:
        wide = pa.schema([pa.field(field.name, _wide(field.type)) for field in table.schema])
        table = table.cast(wide)
    return table.combine_chunks()


def taken(whole: pa.Table, indices: pa.Array, schema: pa.Schema) -> pa.Table:
    """Select some rows of a ``combined`` table; their text must fit the types of ``schema``."""
    return _take(whole, indices).cast(schema)


def _take(table: pa.Table, indices: pa.Array) -> pa.Table:
    # Most events have none of the optional attributes.
    columns = [
        pa.nulls(len(indices), column.type)
        if column.null_count == len(column)
        else column.take(indices)
        for column in table.columns
    ]
    return pa.Table.from_arrays(columns, schema=table.schema)


def narrow(column: pa.ChunkedArray, combined_bytes: int = COMBINED_BYTES) -> pa.ChunkedArray:
    """Cast text to ``string``, in as many chunks as necessary.

    No chunk of several rows has ``combined_bytes`` or more.

    Raises:
        pa.ArrowInvalid: The text is not UTF-8.
    """
    pieces = [
        piece.cast(pa.string())
        for chunk in column.chunks
        for piece in _pieces(chunk, combined_bytes)
    ]
    return pa.chunked_array(pieces, pa.string())


def _pieces(array: pa.Array, combined_bytes: int) -> Iterator[pa.Array]:
    if len(array) < 2 or array.nbytes < combined_bytes:  # noqa: PLR2004 - one row cannot be halved
        # A slice of a larger array may start at an offset too large for a cast; filter copies it.
        yield array.filter(pa.array(np.ones(len(array), np.bool_))) if array.offset else array
        return
    middle = len(array) // 2
    yield from _pieces(array.slice(0, middle), combined_bytes)
    yield from _pieces(array.slice(middle), combined_bytes)


def _wide(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string(kind):
        return pa.large_string()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _wide(field.type)) for field in kind])
    return pa.large_list(_wide(kind.value_type)) if pa.types.is_list(kind) else kind
