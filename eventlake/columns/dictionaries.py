"""Dictionary columns (categories, enums) to their plain values."""

import pyarrow as pa


def decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values without a dictionary; other columns as they are.

    Text is widened first: a few values repeated may be more than ``string`` holds, and Arrow has no
    kernel that takes from a string view.
    """
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
