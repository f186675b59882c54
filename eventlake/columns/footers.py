"""What a Parquet file may come to, told by its footer before a page is decoded: a few bytes can stand for more rows than memory holds."""

from typing import Any

FREE_BYTES = 1 << 30
"""Columns that take no more in pages are read whatever they were compressed to."""
MOST_RATIO = 1_000
"""Larger ones must not be this many times the file."""
MOST_ROWS = 1 << 40
MOST_CHUNKS = 1 << 20


def problem(metadata: Any, size_bytes: int, rows: int | None = None) -> str | None:
    """Why a file must not be decoded; None if it may.

    Args:
        metadata: Its ``FileMetaData``.
        size_bytes: Its length.
        rows: How many rows it must have; None if nothing else says.
    """
    expected = f"exactly {rows:,}" if rows is not None else f"at most {MOST_ROWS:,}"
    if metadata.num_rows != rows if rows is not None else not 0 <= metadata.num_rows <= MOST_ROWS:
        return f"expected {expected} rows, its footer says {metadata.num_rows:,}"
    if metadata.num_row_groups * metadata.num_columns > MOST_CHUNKS:
        return f"expected at most {MOST_CHUNKS:,} column chunks, its footer says {metadata.num_row_groups * metadata.num_columns:,}"
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    if any(group.num_rows < 0 for group in groups) or sum(group.num_rows for group in groups) != metadata.num_rows:
        return f"expected row groups of {metadata.num_rows:,} rows together, its footer says otherwise"
    # A column's own entry is not asked for: pyarrow ends the process where one is damaged.
    most = max(FREE_BYTES, MOST_RATIO * size_bytes)
    if any(group.total_byte_size < 0 for group in groups) or sum(group.total_byte_size for group in groups) > most:
        return f"expected at most {most:,} bytes of pages, its footer says more"
    return None


def is_too_dense(metadata: Any, size_bytes: int) -> bool:
    """Whether a reader would refuse a file of ours for how well it was compressed."""
    total = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    return bool(total > max(FREE_BYTES, MOST_RATIO * size_bytes))
