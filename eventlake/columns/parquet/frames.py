"""Dataset rows and spines to Parquet bytes and back. Their bytes are never identity: that is the content hash."""

from collections.abc import Iterator

import pyarrow as pa

from eventlake.columns.hashing.content import normalise
from eventlake.columns.parquet.segments import plain_row_groups, read_bytes, write_bytes

PART_ROWS = 1_000_000


def encode(table: pa.Table) -> bytes:
    """Parquet bytes of one table."""
    return write_bytes(table)


def encode_parts(table: pa.Table) -> Iterator[bytes]:
    """Parquet bytes of consecutive slices; an empty table is one part."""
    for start in range(0, max(table.num_rows, 1), PART_ROWS):
        yield encode(table.slice(start, PART_ROWS))


def decode(data: bytes, where: str, *, rows: int | None = None) -> pa.Table:
    """The table, in normal types; ``rows`` is how many it must have, None if nothing else says.

    Raises:
        CorruptionError: Not a Parquet file.
    """
    return normalise(read_bytes(data, where, rows=rows))


def batches(data: bytes, where: str) -> Iterator[pa.Table]:
    """The table in pieces, one row group at a time, in normal types; none of an empty one.

    Raises:
        CorruptionError: Not a Parquet file.
    """
    for table in plain_row_groups(data, where):
        yield normalise(table)
