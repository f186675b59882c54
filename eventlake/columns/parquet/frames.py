"""Encode and decode dataset rows and spines as Parquet.

Their identity is the content hash, never the bytes.
"""

from collections.abc import Iterator

import pyarrow as pa

from eventlake.columns.hashing.content import normalise
from eventlake.columns.parquet.segments import (
    ROW_GROUP_ROWS,
    plain_batches,
    read_bytes,
    write_bytes,
)

PART_ROWS = 1_000_000


def encode(table: pa.Table, group_rows: int = ROW_GROUP_ROWS) -> bytes:
    """Encode a table."""
    return write_bytes(table, group_rows=group_rows)


def encode_parts(
    table: pa.Table, part_rows: int = PART_ROWS, group_rows: int = ROW_GROUP_ROWS
) -> Iterator[bytes]:
    """Encode consecutive slices of a table; an empty table is one part."""
    for start in range(0, max(table.num_rows, 1), part_rows):
        yield encode(table.slice(start, part_rows), group_rows)


def decode(data: bytes, where: str, *, rows: int | None = None) -> pa.Table:
    """Decode a table in normal types, of exactly ``rows`` rows unless that is None.

    Raises:
        CorruptionError: Not a Parquet file.
    """
    return normalise(read_bytes(data, where, rows=rows))


def batches(data: bytes, where: str) -> Iterator[pa.Table]:
    """Decode in batches of bounded bytes, in normal types; an empty table has none.

    Raises:
        CorruptionError: Not a Parquet file.
    """
    for table in plain_batches(data, where):
        yield normalise(table)
