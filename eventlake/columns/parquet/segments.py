"""The segment codec: event columns to Parquet bytes and back. The only place that knows ``pyarrow.parquet``."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eventlake.columns.parquet import footers
from eventlake.columns.parquet.text_size import text_bytes_in
from eventlake.columns.schema import INSTANT, TYPES
from eventlake.core.attributes import REQUIRED
from eventlake.core.names import repeated
from eventlake.errors import CorruptionError

ROW_GROUP_ROWS = 122_880
MAX_ROWS = 1_000_000
"""A larger batch becomes several segments of one commit."""

_STORED = {**TYPES, "recorded_at": INSTANT, "sequence": pa.int64()}
_DICTIONARY = ("source", "type", "subject")
_DELTA = ("time", "recorded_at")
_LARGE_BYTES = 2_048
"""Setting up zstd for a column takes longer than writing a commit's worth of what is smaller, and spares a hundred bytes of it."""
_LOOKED_AT = 10_000
"""As many values say whether a column repeats itself."""
_STATISTICS = ("type", "time", "recorded_at")
"""Where a reader can skip a row group by its bounds; ids and payloads are in no order that would let it."""


def encode(table: pa.Table) -> bytes:
    """Parquet bytes of event columns; zstd where it pays, dictionaries only where values repeat, delta encoding of times.

    Pages carry no checksum of their own: the commit has one of the file. No two calls give the same
    bytes, and so no two attempts to store the same events the same file: one that was garbage once
    stays garbage, however late somebody comes to delete it.
    """
    large = [
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if column.nbytes >= _LARGE_BYTES
    ]
    return _readable(
        table, lambda dense: _encoded(table, large if dense else [], _DICTIONARY if dense else ())
    )


def _encoded(table: pa.Table, large: list[str], repeating: Sequence[str]) -> bytes:
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression={name: "zstd" if name in large else "none" for name in table.column_names},
        compression_level=dict.fromkeys(large, 1),
        use_dictionary=[name for name in repeating if name in table.column_names],
        column_encoding={
            name: "DELTA_BINARY_PACKED" for name in _DELTA if name in table.column_names
        },
        write_statistics=[name for name in _STATISTICS if name in table.column_names],
        store_schema=False,
    ) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        writer.add_key_value_metadata({"eventlake.attempt": secrets.token_hex(8)})
    return bytes(sink.getvalue())


def _readable(table: pa.Table, write: Callable[[bool], bytes]) -> bytes:
    """What ``write`` makes of a table: dense, unless a reader would refuse it for how small it became."""
    data = write(True)
    if table.nbytes > footers.FREE_BYTES // 2 and footers.problem(data, text_bytes_in(data)):
        return write(False)
    return data


def decode(
    data: bytes, where: str, columns: list[str] | None = None, *, rows: int | None = None
) -> pa.Table:
    """The table in a segment's bytes, with the stored columns among ``columns`` (all of them for None).

    Args:
        data: The bytes.
        where: Their path.
        columns: Which ones.
        rows: How many rows it must have, looked up in its footer first; None if nothing else says.

    Raises:
        CorruptionError: Not a Parquet file of event columns.
    """
    return _as_stored(read_bytes(data, where, columns, rows=rows), where)


def row_groups(data: bytes, where: str, *, rows: int | None = None) -> Iterator[pa.Table]:
    """``decode``, one row group after the other; its columns must have the types that they are written in, each once.

    Engines open the file by themselves, and would take what is cast here for something else.

    Raises:
        CorruptionError: Not a Parquet file of event columns.
    """
    for table in plain_row_groups(data, where, rows=rows):
        names = table.column_names
        if missing := [name for name in REQUIRED if name not in names]:
            raise _unreadable(
                where,
                ValueError(
                    f"expected a column {', '.join(missing)}, found {', '.join(names)[:300]}"
                ),
            )
        several = set(repeated(names))
        odd = [
            field.name
            for field in table.schema
            if _STORED.get(field.name) != field.type or field.name in several
        ]
        if odd:
            found = ", ".join(
                f"{name[:100]} {table.schema.types[names.index(name)]}" for name in odd[:3]
            )
            message = (
                f"expected each column once, in the type that events are stored in, found {found}"
            )
            raise _unreadable(where, ValueError(message))
        yield table


def plain_row_groups(data: bytes, where: str, *, rows: int | None = None) -> Iterator[pa.Table]:
    """``read_bytes``, one row group after the other.

    Raises:
        CorruptionError: Not a Parquet file.
    """
    try:
        file = _opened(data, where, rows)
        for number in range(file.num_row_groups):
            yield _valid(file.read_row_group(number, use_threads=False))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(where, error) from error


def _as_stored(table: pa.Table, where: str) -> pa.Table:
    try:
        return table.cast(pa.schema([pa.field(name, _STORED[name]) for name in table.column_names]))
    except (pa.ArrowException, KeyError) as error:
        raise _unreadable(where, error) from error


def write_bytes(table: pa.Table) -> bytes:
    """Any table as Parquet bytes, its Arrow types kept."""
    whole = [
        one.name
        for one in table.schema
        if pa.types.is_integer(one.type) or pa.types.is_temporal(one.type)
    ]
    repeating = [name for name in table.column_names if _repeats(table.column(name))]
    encodings = dict.fromkeys(whole, "DELTA_BINARY_PACKED")
    return _readable(
        table,
        lambda dense: _written(table, repeating, encodings, dense=dense, write_page_checksum=True),
    )


def _written(
    table: pa.Table,
    repeating: list[str],
    encodings: dict[str, str],
    *,
    dense: bool,
    **options: bool,
) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd" if dense else "none",
        compression_level=1 if dense else None,
        use_dictionary=repeating if dense else False,
        column_encoding=encodings,
        row_group_size=ROW_GROUP_ROWS,
        **options,
    )
    return bytes(sink.getvalue())


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether a column of text says the same again and again; a dictionary of values that do not costs twice the time."""
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        return False
    some = column.slice(0, _LOOKED_AT)
    return len(some.unique()) * 4 <= len(some)


def encode_sorted(table: pa.Table) -> bytes:
    """Parquet bytes of an event table, which is sorted by subject: readers skip what is about others."""
    repeating = [name for name in ("source", "subject") if name in table.column_names]
    encodings = dict.fromkeys(("sequence", *_DELTA), "DELTA_BINARY_PACKED")
    return _readable(
        table,
        lambda dense: _written(table, repeating, encodings, dense=dense, write_page_index=True),
    )


def read_bytes(
    data: bytes, where: str, columns: list[str] | None = None, *, rows: int | None = None
) -> pa.Table:
    """The table in Parquet bytes, with those of its columns that are among ``columns``; ``rows`` as in ``decode``.

    Raises:
        CorruptionError: Not a Parquet file.
    """
    try:
        file = _opened(data, where, rows, page_checksum_verification=True)
        return _valid(
            file.read(
                columns=[
                    name for name in file.schema_arrow.names if columns is None or name in columns
                ]
            )
        )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(where, error) from error


def _opened(data: bytes, where: str, rows: int | None, **options: bool) -> pq.ParquetFile:
    try:
        found = footers.problem(data, text_bytes_in(data), rows)
    except footers.MalformedError as error:
        raise _unreadable(where, error) from error
    if found:
        raise CorruptionError(
            f"{where}: {found}",
            "run 'eventlake verify LAKE'; restore the file from a backup.",
            path=where,
        )
    return pq.ParquetFile(pa.BufferReader(data), **options)


def _valid(table: pa.Table) -> pa.Table:
    """Returns a table whose text is UTF-8, which no reader of Parquet looks at and every reader of Arrow relies on."""
    table.validate(full=True)
    return table


def footer_rows(data: bytes, where: str) -> int:
    """How many rows Parquet bytes have, as their footer says.

    Raises:
        CorruptionError: Not a Parquet file.
    """
    try:
        return int(_opened(data, where, None).metadata.num_rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(where, error) from error


def _unreadable(where: str, error: Exception) -> CorruptionError:
    message = f"{where} is no readable Parquet file of the expected columns: {error}"
    return CorruptionError(
        message, "run 'eventlake verify LAKE'; restore the file from a backup.", path=where
    )


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a commit says of a segment besides its hashes; times in microseconds."""

    types: tuple[tuple[str, int], ...]
    time: tuple[int, int] | None
    undated: int
    recorded: tuple[int, int] | None


def statistics(table: pa.Table) -> Statistics:
    """Counts the event types and finds the bounds of the clocks in a segment's table."""
    counts = pc.value_counts(table.column("type").combine_chunks())
    types = sorted(
        zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    )
    time = table.column("time") if "time" in table.column_names else None
    return Statistics(
        types=tuple(types),
        time=None if time is None or time.null_count == len(time) else _bounds(time),
        undated=table.num_rows if time is None else time.null_count,
        recorded=_bounds(table.column("recorded_at"))
        if "recorded_at" in table.column_names
        else None,
    )


def joined(parts: Sequence[Statistics]) -> Statistics:
    """The statistics of consecutive parts of one table."""
    types: Counter[str] = Counter()
    for part in parts:
        types.update(dict(part.types))
    return Statistics(
        types=tuple(sorted(types.items())),
        time=_hull([part.time for part in parts]),
        undated=sum(part.undated for part in parts),
        recorded=_hull([part.recorded for part in parts]),
    )


def _hull(bounds: Sequence[tuple[int, int] | None]) -> tuple[int, int] | None:
    known = [each for each in bounds if each is not None]
    return (min(first for first, _ in known), max(last for _, last in known)) if known else None


def _bounds(column: pa.ChunkedArray) -> tuple[int, int]:
    bounds = pc.min_max(column.cast(pa.int64()))
    return bounds["min"].as_py(), bounds["max"].as_py()


def read_parquet(path: str) -> pa.Table:
    """A foreign Parquet file, as it is; ``path`` names this one file.

    Raises:
        pa.ArrowException: Not a Parquet file, or an INT96 instant is finer than a microsecond.
    """
    check_footer(path)
    table = pq.ParquetFile(path).read()
    legacy = int96_columns(path)
    if not legacy:
        return table
    return _in_microseconds(
        table, pq.ParquetFile(path, coerce_int96_timestamp_unit="us").read(columns=legacy)
    )


def check_footer(path: str) -> int:
    """How many rows a foreign Parquet file has, as its footer says, which is held to bounds.

    Raises:
        pa.ArrowException: Not a Parquet file, or one whose rows would not fit into memory by far.
    """
    try:
        with Path(path).open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            found = footers.problem(data, text_bytes_in(path))
    except ValueError as error:  # mmap of an empty file, too
        raise pa.ArrowInvalid(str(error)) from error
    if found:
        raise pa.ArrowInvalid(found)
    return int(pq.read_metadata(path).num_rows)


def int96_columns(path: str) -> list[str]:
    """The columns of a Parquet file that hold INT96, a legacy instant of nanoseconds that most readers cut, at any depth.

    Raises:
        pa.ArrowException: Not a Parquet file.
    """
    schema = pq.ParquetFile(path).schema
    leaves = [schema.column(number) for number in range(len(schema))]
    found = {leaf.path.partition(".")[0] for leaf in leaves if leaf.physical_type == "INT96"}
    return [name for name in schema.to_arrow_schema().names if name.partition(".")[0] in found]


def check_int96(path: str) -> None:
    """Refuses INT96 instants that a reader of microseconds would cut.

    Raises:
        pa.ArrowException: There are some; the first one is named. Or not a Parquet file.
    """
    if legacy := int96_columns(path):
        for _ in _batches(path, legacy):
            pass


def _in_microseconds(fine: pa.Table, coarse: pa.Table, start: int = 0) -> pa.Table:
    """``fine`` with its INT96 columns in microseconds, of which ``coarse`` is what they are cut to.

    INT96 counts days and nanoseconds. As 64-bit nanoseconds it wraps beyond the year 2262, and so
    does what it is compared with.
    """
    for name, column in zip(coarse.column_names, coarse.columns, strict=True):
        whole = fine.column(name)
        cut = column.cast(whole.type, safe=False)
        if not cut.equals(whole):
            row = next(
                row for row in range(len(cut)) if not cut.slice(row, 1).equals(whole.slice(row, 1))
            )
            message = f"column {name} has an instant (INT96) that is finer than a microsecond in row {start + row:,}"
            raise pa.ArrowInvalid(message)
        fine = fine.set_column(fine.schema.get_field_index(name), name, column)
    return fine


def parquet_rows(path: str) -> int:
    """How many rows a foreign Parquet file says it has.

    Raises:
        pa.ArrowException: Not a Parquet file.
    """
    return check_footer(path)


def parquet_parts(path: str) -> Iterator[pa.Table]:
    """A foreign Parquet file of events, ``MAX_ROWS`` rows at a time.

    Raises:
        pa.ArrowException: Not a Parquet file.
    """
    waiting: list[pa.RecordBatch] = []
    for batch in _batches(path):
        waiting.append(batch)
        while sum(one.num_rows for one in waiting) >= MAX_ROWS:
            table = pa.Table.from_batches(waiting)
            waiting = table.slice(MAX_ROWS).to_batches()
            yield table.slice(0, MAX_ROWS)
    if waiting:
        yield pa.Table.from_batches(waiting)


def _batches(path: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The batches of a foreign file, or of some of its columns, INT96 in microseconds."""
    fine = pq.ParquetFile(path, pre_buffer=False).iter_batches(batch_size=MAX_ROWS, columns=columns)
    legacy = int96_columns(path)
    if not legacy:
        yield from fine
        return
    file = pq.ParquetFile(path, pre_buffer=False, coerce_int96_timestamp_unit="us")
    coarse = file.iter_batches(batch_size=MAX_ROWS, columns=legacy)
    start = 0
    for whole, cut in zip(fine, coarse, strict=True):
        yield from _in_microseconds(
            pa.Table.from_batches([whole]), pa.Table.from_batches([cut]), start
        ).to_batches()
        start += whole.num_rows
