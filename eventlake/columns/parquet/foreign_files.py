"""Read Parquet files that other programs wrote: footers within limits, INT96 instants exactly."""

from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eventlake.columns.parquet import footers
from eventlake.columns.parquet.batches import joined, opened, pieces
from eventlake.columns.parquet.text_size import text_bytes_in
from eventlake.memory import batch_bytes, part_bytes


def read_parquet(path: str) -> pa.Table:
    """Read a Parquet file with INT96 instants in microseconds; ``path`` is not a pattern.

    Raises:
        pa.ArrowException: Not a Parquet file, or an INT96 instant is finer than a microsecond.
    """
    check_footer(path)
    table = pq.ParquetFile(path).read()
    # Arrow reads INT96 as nanoseconds, which wrap, or as microseconds, which are cut. Both are
    # read, and compared.
    legacy = int96_columns(path)
    if not legacy:
        return table
    return _in_microseconds(
        table, pq.ParquetFile(path, coerce_int96_timestamp_unit="us").read(columns=legacy)
    )


def check_footer(path: str) -> int:
    """Check a file's footer against the limits, and return its number of rows.

    Raises:
        pa.ArrowException: Not a Parquet file, or its rows would by far not fit into memory.
    """
    try:
        with Path(path).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            found = footers.problem(data, text_bytes_in(path))
    except ValueError as error:  # also from mmap of an empty file
        raise pa.ArrowInvalid(str(error)) from error
    if found:
        raise pa.ArrowInvalid(found)
    return int(pq.read_metadata(path).num_rows)


def decoded_bytes(path: str) -> int:
    """About the size that a file decodes to, as its footer states it.

    Raises:
        pa.ArrowException: Not a Parquet file.
    """
    metadata = pq.read_metadata(path)
    groups = range(metadata.num_row_groups)
    return sum(metadata.row_group(number).total_byte_size for number in groups)


def int96_columns(path: str) -> list[str]:
    """The columns that contain INT96 at any depth, a legacy nanosecond instant.

    Raises:
        pa.ArrowException: Not a Parquet file.
    """
    schema = pq.ParquetFile(path).schema
    leaves = [schema.column(number) for number in range(len(schema))]
    found = {leaf.path.partition(".")[0] for leaf in leaves if leaf.physical_type == "INT96"}
    return [name for name in schema.to_arrow_schema().names if name.partition(".")[0] in found]


def check_int96(path: str) -> None:
    """Refuse INT96 instants that are finer than a microsecond, which most readers truncate.

    Raises:
        pa.ArrowException: There is one, which the message names; or not a Parquet file.
    """
    if legacy := int96_columns(path):
        for _ in _pieces(path, batch_bytes(), legacy):
            pass


def _in_microseconds(fine: pa.Table, coarse: pa.Table, start: int = 0) -> pa.Table:
    """Replace the INT96 columns of ``fine`` by those of ``coarse``, truncated to microseconds.

    INT96 counts days and nanoseconds. As 64-bit nanoseconds it wraps after the year 2262. So does
    the truncated value that it is compared with.
    """
    for name, column in zip(coarse.column_names, coarse.columns, strict=True):
        whole = fine.column(name)
        cut = column.cast(whole.type, safe=False)
        if not cut.equals(whole):
            row = next(
                row for row in range(len(cut)) if not cut.slice(row, 1).equals(whole.slice(row, 1))
            )
            message = (
                f"column {name} has an instant (INT96) that is finer than a microsecond "
                f"in row {start + row:,}"
            )
            raise pa.ArrowInvalid(message)
        fine = fine.set_column(fine.schema.get_field_index(name), name, column)
    return fine


def parquet_parts(path: str, rows: int, most_bytes: int | None = None) -> Iterator[pa.Table]:
    """Read a Parquet file of events in tables of at most ``rows`` rows.

    A table has about ``most_bytes`` at most, by default ``memory.part_bytes()``.

    Raises:
        pa.ArrowException: Not a Parquet file.
    """
    most_bytes = most_bytes or part_bytes()
    yield from joined(_pieces(path, most_bytes), most_bytes, rows)


def _pieces(
    path: str, most_bytes: int, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The record batches of a file with INT96 instants in microseconds."""
    fine = pieces(opened(path), most_bytes, columns)
    legacy = int96_columns(path)
    if not legacy:
        yield from fine
        return
    coarse = pieces(opened(path, coerce_int96_timestamp_unit="us"), most_bytes, legacy)
    start = 0
    for whole, cut in zip(fine, coarse, strict=True):
        yield from _in_microseconds(
            pa.Table.from_batches([whole]), pa.Table.from_batches([cut]), start
        ).to_batches()
        start += whole.num_rows
