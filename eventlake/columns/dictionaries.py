"""Decode dictionary columns (categories, enums) and columns of views to plain values."""

import pyarrow as pa


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decode a dictionary column or one of views; other columns are returned unchanged."""
    kind = column.type
    if not pa.types.is_dictionary(kind):
        plain = _without_views(kind)
        return column if plain == kind else column.cast(plain)
    # Text is widened first: repeated values may exceed what ``string`` holds.
    values = kind.value_type
    plain = pa.large_string() if pa.types.is_string(values) else _without_views(values)
    chunks = [
        pa.DictionaryArray.from_arrays(
            chunk.indices, chunk.dictionary.cast(plain)
        ).dictionary_decode()
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, plain)


def _without_views(kind: pa.DataType) -> pa.DataType:
    """The type, or one for the same values if it is a view, which Arrow cannot take or filter."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(kind) else kind
