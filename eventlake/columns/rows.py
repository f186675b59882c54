"""Select rows of a table whose text may exceed 2 GiB, the limit of an Arrow ``string`` array.

``take`` combines the chunks of a column first, and fails if they are too large; ``filter`` works
chunk by chunk.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

COMBINED_BYTES = 1 << 30
"""Maximum size of a table whose chunks are combined without widening its text."""
FEW_ROWS = 1_024
"""Rows whose text always fits: an attribute or payload has at most 1 MiB."""


def chosen(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Select rows by ascending indices."""
    mask = np.zeros(table.num_rows, np.bool_)
    mask[rows] = True
    return table.filter(pa.array(mask))


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
        return table.combine_chunks().take(indices)
    wide = pa.schema([pa.field(field.name, _wide(field.type)) for field in table.schema])
    whole = table.cast(wide).combine_chunks()
    pieces = (
        whole.take(indices.slice(start, few_rows)).cast(table.schema)
        for start in range(0, len(indices), few_rows)
    )
    return pa.concat_tables([table.schema.empty_table(), *pieces])


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
