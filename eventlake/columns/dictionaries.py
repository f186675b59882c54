"""Decode dictionary columns (categories, enums) to plain values."""

import pyarrow as pa


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Decode a dictionary column; other columns are returned unchanged."""
    # Text is widened first: repeated values may exceed what ``string`` holds, and Arrow has no
    # take kernel for string views.
    kind = column.type
    if not pa.types.is_dictionary(kind):
        return column
    text = pa.types.is_string_view(kind.value_type) or pa.types.is_string(kind.value_type)
    plain = pa.large_string() if text else kind.value_type
    chunks = [
        pa.DictionaryArray.from_arrays(
            chunk.indices, chunk.dictionary.cast(plain)
        ).dictionary_decode()
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, plain)
