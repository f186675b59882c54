"""The segment codec: event columns to Parquet bytes and back."""

import hashlib
import io
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eventlake.caches import CACHES
from eventlake.columns.parquet import footers
from eventlake.columns.parquet.batches import joined as joined_pieces
from eventlake.columns.parquet.batches import pieces
from eventlake.columns.parquet.footers import FOOTER_LIMITS, FooterLimits
from eventlake.columns.parquet.text_size import text_bytes_in
from eventlake.columns.schema import INSTANT, TYPES
from eventlake.core.attributes import REQUIRED
from eventlake.core.names import repeated
from eventlake.errors import CorruptionError
from eventlake.memory import batch_bytes

# The size of DuckDB's own row groups, which its threads read in parallel.
ROW_GROUP_ROWS = 122_880

_STORED = {**TYPES, "recorded_at": INSTANT, "sequence": pa.int64()}
_DICTIONARY = ("source", "type", "subject")
_DELTA = ("time", "recorded_at")
_ENCODINGS = dict.fromkeys(_DELTA, "DELTA_BINARY_PACKED") | {"id": "DELTA_LENGTH_BYTE_ARRAY"}
"""Texts of random digits compress better, and faster, without their lengths between them."""
_LARGE_BYTES = 2_048
"""Smaller columns are not compressed: setting up zstd takes longer than writing a small commit."""
_SAMPLED_VALUES = 10_000
"""Values sampled to decide whether a column repeats itself."""
_STATISTICS = ("type", "time", "recorded_at")
"""Columns by whose bounds a reader can skip row groups; ids and payloads have no order."""
_SMALL_BYTES = 1 << 18
"""A small file takes longer to check than to hash: reading its page headers takes milliseconds."""
_checked = CACHES.bounded_set(4_096)
"""Small files that may be decoded: their SHA-256, the rows that were expected, and the limits."""


def encode(table: pa.Table, limits: FooterLimits = FOOTER_LIMITS) -> bytes:
    """Encode event columns as Parquet.

    Large columns use zstd, columns with repeated values a dictionary, and times delta encoding.
    Pages have no checksums, because the commit has one of the file.

    No two calls return the same bytes, so no two attempts to store the same events write the same
    file. A file that was garbage once therefore stays garbage, however late it is deleted.
    """
    large = [
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if column.nbytes >= _LARGE_BYTES
    ]
    return _readable(
        table,
        lambda dense: _encoded(table, large if dense else [], _DICTIONARY if dense else ()),
        limits,
    )


def _encoded(table: pa.Table, large: list[str], repeating: Sequence[str]) -> bytes:
    # Its bytes are taken over without a copy.
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression={name: "zstd" if name in large else "none" for name in table.column_names},
        compression_level=dict.fromkeys(large, 1),
        use_dictionary=[name for name in repeating if name in table.column_names],
        column_encoding={
            name: encoding for name, encoding in _ENCODINGS.items() if name in table.column_names
        },
        write_statistics=[name for name in _STATISTICS if name in table.column_names],
        # Without Arrow's schema in the metadata, every reader derives the types from Parquet's own.
        store_schema=False,
    ) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        writer.add_key_value_metadata({"eventlake.attempt": secrets.token_hex(8)})
    return sink.getvalue()


def _readable(table: pa.Table, write: Callable[[bool], bytes], limits: FooterLimits) -> bytes:
    """Write a table densely, unless a reader would refuse it for its compression ratio."""
    data = write(True)
    # A smaller table is within the limit however well it compresses; it need not be read again.
    if table.nbytes > limits.free_bytes // 2 and footers.problem(
        data, text_bytes_in(data), limits=limits
    ):
        return write(False)
    return data


def decode(
    data: bytes, where: str, columns: list[str] | None = None, *, rows: int | None = None
) -> pa.Table:
    """Decode a segment, or the stored ones among some columns.

    Args:
        data: The bytes.
        where: Path of the segment, for messages.
        columns: Columns to read; None for all.
        rows: Expected number of rows, checked in the footer first; None if unknown.

    Raises:
        CorruptionError: Not a Parquet file of event columns.
    """
    return _as_stored(read_bytes(data, where, columns, rows=rows), where)


def batches(
    data: bytes,
    where: str,
    columns: list[str] | None = None,
    *,
    rows: int | None = None,
    most_bytes: int | None = None,
) -> Iterator[pa.Table]:
    """Like ``decode``, in batches of about ``most_bytes``, by default ``memory.batch_bytes()``.

    A column of a batch has several chunks.

    Raises:
        CorruptionError: Not a Parquet file of event columns.
    """
    for table in plain_batches(
        data, where, columns, rows=rows, most_bytes=most_bytes, combine=False
    ):
        yield _as_stored(table, where)


def strict_batches(
    data: bytes, where: str, *, rows: int | None = None, most_bytes: int | None = None
) -> Iterator[pa.Table]:
    """Like ``batches``, requiring exactly the stored types.

    ``decode`` casts columns of other types. Engines open the file themselves and would read them
    differently.

    Raises:
        CorruptionError: Not a Parquet file of event columns.
    """
    for table in plain_batches(data, where, rows=rows, most_bytes=most_bytes, combine=False):
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


def plain_batches(
    data: bytes,
    where: str,
    columns: list[str] | None = None,
    *,
    rows: int | None = None,
    most_bytes: int | None = None,
    combine: bool = True,
) -> Iterator[pa.Table]:
    """Like ``read_bytes``, in batches of about ``most_bytes``; see ``batches.joined``.

    Raises:
        CorruptionError: Not a Parquet file.
    """
    most_bytes = most_bytes or batch_bytes()
    try:
        file = _opened(data, where, rows, pre_buffer=False)
        names = None if columns is None else _among(file, columns)
        # The caller reads several segments at once, one thread each.
        for table in joined_pieces(pieces(file, most_bytes, names), most_bytes, combine=combine):
            yield _valid(table)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(where, error) from error


def _as_stored(table: pa.Table, where: str) -> pa.Table:
    try:
        return table.cast(pa.schema([pa.field(name, _STORED[name]) for name in table.column_names]))
    except (pa.ArrowException, KeyError) as error:
        raise _unreadable(where, error) from error


def write_bytes(
    table: pa.Table, limits: FooterLimits = FOOTER_LIMITS, group_rows: int = ROW_GROUP_ROWS
) -> bytes:
    """Encode any table as Parquet, keeping its Arrow types."""
    whole = [
        one.name
        for one in table.schema
        if pa.types.is_integer(one.type) or pa.types.is_temporal(one.type)
    ]
    repeating = [name for name in table.column_names if _repeats(table.column(name))]
    encodings = dict.fromkeys(whole, "DELTA_BINARY_PACKED")
    return _readable(
        table,
        lambda dense: _written(
            table, repeating, encodings, group_rows, dense=dense, write_page_checksum=True
        ),
        limits,
    )


def _written(
    table: pa.Table,
    repeating: list[str],
    encodings: dict[str, str],
    group_rows: int = ROW_GROUP_ROWS,
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
        row_group_size=group_rows,
        **options,
    )
    return bytes(sink.getvalue())


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether a text column repeats its values; a dictionary of distinct ones doubles the time."""
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        return False
    some = column.slice(0, _SAMPLED_VALUES)
    return len(some.unique()) * 4 <= len(some)


def encode_sorted(table: pa.Table, limits: FooterLimits = FOOTER_LIMITS) -> bytes:
    """Encode an event table sorted by subject, with statistics that let readers skip subjects."""
    repeating = [
        name
        for name in table.column_names
        if name in ("source", "subject") or _repeats(table.column(name))
    ]
    encodings = dict.fromkeys(("sequence", *_DELTA), "DELTA_BINARY_PACKED")
    return _readable(
        table,
        lambda dense: _written(
            table,
            repeating,
            encodings,
            dense=dense,
            write_page_index=True,
            # Decimals of up to 18 digits are written and read faster as integers.
            store_decimal_as_integer=True,
        ),
        limits,
    )


def read_bytes(
    data: bytes,
    where: str,
    columns: list[str] | None = None,
    *,
    rows: int | None = None,
    limits: FooterLimits = FOOTER_LIMITS,
) -> pa.Table:
    """Decode any Parquet bytes, or the existing ones among ``columns``; ``rows`` as in ``decode``.

    Raises:
        CorruptionError: Not a Parquet file.
    """
    try:
        # Files without page checksums, such as segments, are read too; their hash was checked.
        file = _opened(data, where, rows, limits, page_checksum_verification=True)
        return _valid(
            file.read(columns=file.schema_arrow.names if columns is None else _among(file, columns))
        )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(where, error) from error


def _among(file: pq.ParquetFile, columns: Sequence[str]) -> list[str]:
    return [name for name in file.schema_arrow.names if name in columns]


def _opened(
    data: bytes,
    where: str,
    rows: int | None,
    limits: FooterLimits = FOOTER_LIMITS,
    **options: bool,
) -> pq.ParquetFile:
    try:
        found = _problem(data, rows, limits)
    except footers.MalformedError as error:
        raise _unreadable(where, error) from error
    if found:
        raise CorruptionError(
            f"{where}: {found}",
            "run 'eventlake verify LAKE'; restore the file from a backup.",
            path=where,
        )
    return pq.ParquetFile(pa.BufferReader(data), **options)


def _problem(data: bytes, rows: int | None, limits: FooterLimits) -> str | None:
    if len(data) > _SMALL_BYTES:
        return footers.problem(data, text_bytes_in(data), rows, limits)
    checked = (hashlib.sha256(data).digest(), rows, limits)
    if checked in _checked:
        return None
    found = footers.problem(data, text_bytes_in(data), rows, limits)
    if found is None:
        _checked.add(checked)
    return found


def _valid(table: pa.Table) -> pa.Table:
    # Parquet readers do not check that text is UTF-8, yet every Arrow kernel relies on it.
    table.validate(full=True)
    return table


def footer_rows(data: bytes, where: str) -> int:
    """The number of rows in the footer of Parquet bytes.

    Raises:
        CorruptionError: Not a Parquet file.
    """
    try:
        return int(_opened(data, where, None).metadata.num_rows)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(where, error) from error


def _unreadable(where: str, error: Exception) -> CorruptionError:
    message = f"{where} is not a readable Parquet file of the expected columns: {error}"
    return CorruptionError(
        message, "run 'eventlake verify LAKE'; restore the file from a backup.", path=where
    )


@dataclass(frozen=True, slots=True)
class Statistics:
    """The facts about a segment in its commit, besides hashes; times in microseconds."""

    types: tuple[tuple[str, int], ...]
    time: tuple[int, int] | None
    undated: int
    recorded: tuple[int, int] | None


def statistics(table: pa.Table) -> Statistics:
    """Count the event types of a segment's table, and find the bounds of its clocks."""
    counts = pc.value_counts(table.column("type").combine_chunks())
    types = sorted(
        zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    )
    time = table.column("time") if "time" in table.column_names else None
    recorded = table.column("recorded_at") if "recorded_at" in table.column_names else None
    return Statistics(
        types=tuple(types),
        time=None if time is None or time.null_count == len(time) else _bounds(time),
        undated=table.num_rows if time is None else time.null_count,
        recorded=None if recorded is None else _bounds(recorded),
    )


def joined(parts: Sequence[Statistics]) -> Statistics:
    """Merge the statistics of consecutive parts of one table."""
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
