"""Decode Parquet in batches of bounded bytes, whatever the file's row groups are.

A row group has at least as many bytes as its writer cared for: 122,880 payloads of 5 KB are 600 MB.
So batches are not row groups: pages are decoded as they are needed, a few rows at a time, and these
rows are put together up to the wanted size.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

PIECE_ROWS = 4_096
"""Rows decoded at once. Longer pieces are no faster, and a dictionary may repeat a long text."""
_PIECES = 4
"""Pieces of a full batch: it is exceeded by one of them at most."""


def opened(source: pa.NativeFile | str, **options: object) -> pq.ParquetFile:
    """A file to be read piece by piece."""
    # With ``pre_buffer`` Arrow keeps every row group that it has read, so memory would grow to the
    # size of the file.
    return pq.ParquetFile(source, pre_buffer=False, **options)


def piece_rows(metadata: pq.FileMetaData, most_bytes: int) -> int:
    """Rows of a file that are decoded at once for batches of ``most_bytes``."""
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    row_bytes = max(
        (group.total_byte_size // group.num_rows for group in groups if group.num_rows), default=0
    )
    return max(1, min(PIECE_ROWS, most_bytes // (_PIECES * max(row_bytes, 1))))


def pieces(
    file: pq.ParquetFile, most_bytes: int, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of an ``opened`` file in pieces, on the caller's thread."""
    rows = piece_rows(file.metadata, most_bytes)
    yield from file.iter_batches(rows, columns=columns, use_threads=False)


def joined(
    parts: Iterable[pa.RecordBatch],
    most_bytes: int,
    most_rows: int | None = None,
    *,
    combine: bool = True,
) -> Iterator[pa.Table]:
    """Put pieces together to tables of about ``most_bytes`` and at most ``most_rows`` rows.

    Without ``combine``, which copies them, the pieces stay the chunks of a table.
    """
    held: list[pa.RecordBatch] = []
    size = rows = 0
    for part in parts:
        held.append(part)
        size, rows = size + part.nbytes, rows + part.num_rows
        while most_rows is not None and rows >= most_rows:
            table = pa.Table.from_batches(held)
            yield table.slice(0, most_rows).combine_chunks()
            held = table.slice(most_rows).to_batches()
            size, rows = sum(one.nbytes for one in held), rows - most_rows
        if size >= most_bytes:
            table = _table(held, combine=combine)
            held, size, rows = [], 0, 0
            yield table
            del table  # makes room for the next batch
    if rows:
        yield _table(held, combine=combine)


def _table(parts: list[pa.RecordBatch], *, combine: bool) -> pa.Table:
    table = pa.Table.from_batches(parts)
    return table.combine_chunks() if combine else table
