"""Measure the text in a column of a Parquet file without keeping it in memory."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eventlake.columns.parquet.footers import Doubt, MalformedError, Measure

_BATCH_BYTES = 32 << 20
_MOST_BATCH_ROWS = 65_536


def text_bytes_in(source: bytes | str) -> Measure:
    """A function that measures text columns, for ``footers.problem``.

    Args:
        source: The bytes of a file, or its path.
    """

    def measure(doubt: Doubt, most: int) -> int:
        total = 0
        try:
            for lengths in _lengths(source, doubt):
                total += pc.sum(lengths).as_py() or 0
                if total > most:
                    break
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            message = f"the pages of column {'.'.join(doubt.leaf.path)[:100]} are damaged: {error}"
            raise MalformedError(message) from error
        return total

    return measure


def _lengths(source: bytes | str, doubt: Doubt) -> Iterator[pa.Array]:
    """Yield the lengths of a column's values in pieces."""
    path = ".".join(doubt.leaf.path)
    given = pa.BufferReader(source) if isinstance(source, bytes) else source
    if not doubt.has_deltas:
        # Values are read as a dictionary, which is no larger than the pages.
        file = pq.ParquetFile(given, read_dictionary=[path])
        for group in doubt.groups:
            for array in _values(file.read_row_group(group, columns=[path], use_threads=False)):
                yield (
                    pc.binary_length(array.dictionary).take(array.indices)
                    if pa.types.is_dictionary(array.type)
                    else pc.binary_length(array)
                )
        return
    if doubt.leaf.repeated:
        message = (
            f"column {path[:100]} holds lists of texts "
            "that are written as changes to the one before"
        )
        raise MalformedError(message)
    # A value may repeat all of the page before it, so the batch is sized for the longest possible
    # ones.
    rows = max(1, min(_MOST_BATCH_ROWS, _BATCH_BYTES // max(doubt.longest, 1)))
    file = pq.ParquetFile(given)
    for batch in file.iter_batches(
        rows, row_groups=doubt.groups, columns=[path], use_threads=False
    ):
        for array in _values(pa.Table.from_batches([batch])):
            yield pc.binary_length(array)


def _values(table: pa.Table) -> Iterator[pa.Array]:
    """The arrays of leaf values in a table with one leaf column, at any depth."""
    waiting = [chunk for column in table.columns for chunk in column.chunks]
    while waiting:
        array = waiting.pop()
        if pa.types.is_struct(array.type):
            waiting += array.flatten()
        elif pa.types.is_map(array.type):
            waiting += [array.keys, array.items]
        elif pa.types.is_nested(array.type):
            waiting.append(array.flatten())
        elif pa.types.is_dictionary(array.type) or not pa.types.is_primitive(array.type):
            yield array
