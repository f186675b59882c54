"""Some rows of a table whose text may be larger than 2 GiB, which is as much as one array of Arrow's ``string`` holds.

``take`` puts the chunks of a column together before it looks for rows, and fails there; ``filter``
goes chunk by chunk.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_MOST_BYTES = 1 << 30
"""Of columns that are put together as they are."""
_FEW_ROWS = 1_024
"""Rows whose text always fits, each being an attribute or a payload of at most 1 MiB."""


def chosen(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Some rows, named in ascending order."""
    mask = np.zeros(table.num_rows, np.bool_)
    mask[rows] = True
    return table.filter(pa.array(mask))


def gathered(table: pa.Table, indices: pa.Array) -> pa.Table:
    """Rows in any order; null stands for a row of nulls."""
    if table.nbytes < _MOST_BYTES:
        return table.combine_chunks().take(indices)
    wide = pa.schema([pa.field(field.name, _wide(field.type)) for field in table.schema])
    whole = table.cast(wide).combine_chunks()
    pieces = (
        whole.take(indices.slice(start, _FEW_ROWS)).cast(table.schema)
        for start in range(0, len(indices), _FEW_ROWS)
    )
    return pa.concat_tables([table.schema.empty_table(), *pieces])


def narrow(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as ``string``, in as many chunks as it needs.

    Raises:
        pa.ArrowInvalid: It is no UTF-8.
    """
    pieces = [piece.cast(pa.string()) for chunk in column.chunks for piece in _pieces(chunk)]
    return pa.chunked_array(pieces, pa.string())


def _pieces(array: pa.Array) -> Iterator[pa.Array]:
    if len(array) < 2 or array.nbytes < _MOST_BYTES:  # noqa: PLR2004 - one row cannot be halved
        # A part of a larger array begins at an offset that a cast would not take.
        yield array.filter(pa.array(np.ones(len(array), np.bool_))) if array.offset else array
        return
    middle = len(array) // 2
    yield from _pieces(array.slice(0, middle))
    yield from _pieces(array.slice(middle))


def _wide(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string(kind):
        return pa.large_string()
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _wide(field.type)) for field in kind])
    return pa.large_list(_wide(kind.value_type)) if pa.types.is_list(kind) else kind
