"""The rows of a tier as one flat Parquet table: commits with their segments that are current."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.parquet.segments import footer_rows, read_bytes, write_bytes
from eventlake.core.attributes import MAX_SEQUENCE
from eventlake.core.counts import MAX_INT64
from eventlake.core.documents.commit import KINDS
from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.documents.segment import COLUMNS, Segment
from eventlake.core.documents.stored import MAX_VERSION, Positive, Text
from eventlake.core.hashing.merkle import HASH_BYTES
from eventlake.core.instants import MAX_US, MIN_US
from eventlake.errors import CorruptionError

Row = tuple[CommitSummary, tuple[Segment, ...]]

_HASH = pa.binary(HASH_BYTES)
_SCHEMA = pa.schema(
    {
        "version": pa.int64(),
        "commit_hash": _HASH,
        "kind": pa.string(),
        "recorded_at": pa.int64(),
        "start": pa.int64(),
        "stop": pa.int64(),
        "root": _HASH,
        "sha256": _HASH,
        "bytes": pa.int64(),
        "segment_start": pa.int64(),
        "segment_stop": pa.int64(),
        "columns": pa.string(),
        "range": pa.binary(),
        "types": pa.string(),
        "time": pa.list_(pa.int64()),
        "undated": pa.int64(),
        "recorded": pa.list_(pa.int64()),
    }
)
_RANGES = {
    ("version",): (0, MAX_VERSION),
    ("recorded_at",): (MIN_US, MAX_US),
    ("start", "stop", "segment_start", "segment_stop", "undated"): (0, MAX_SEQUENCE),
    ("bytes",): (1, MAX_INT64),
}
_TYPES = msgspec.json.Decoder(dict[Text, Positive])
_OF_SEGMENT = len(_SCHEMA) - _SCHEMA.get_field_index("sha256")


def encode(rows: Iterable[Row]) -> bytes:
    """Encode rows as Parquet: one row per segment, or per commit without any, by version."""
    return encode_table(to_table(rows))


def encode_table(table: pa.Table) -> bytes:
    """Encode rows that are a table already."""
    return write_bytes(table)


def to_table(rows: Iterable[Row]) -> pa.Table:
    """The table that ``encode`` writes."""
    flat = [
        (*_commit(summary), *segment)
        for summary, segments in rows
        for segment in _segments(segments)
    ]
    columns = zip(*flat, strict=True)
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)],
        schema=_SCHEMA,
    )


def joined(tables: Sequence[pa.Table]) -> pa.Table | None:
    """Concatenate tables of consecutive commits.

    Returns:
        None if a later commit may have replaced segments of an earlier one.
    """
    # A compaction names segments of earlier commits, whose rows must then change.
    if any("compact" in table.column("kind").to_pylist() for table in tables[1:] or tables):
        return None
    return pa.concat_tables(tables).combine_chunks()


def _commit(summary: CommitSummary) -> tuple[Any, ...]:
    root, commit_hash = bytes.fromhex(summary.root), bytes.fromhex(summary.commit_hash)
    return (
        summary.version,
        commit_hash,
        summary.kind,
        summary.recorded_at,
        summary.start,
        summary.stop,
        root,
    )


def _segments(segments: tuple[Segment, ...]) -> Iterator[tuple[Any, ...]]:
    if not segments:
        yield (None,) * _OF_SEGMENT
    for segment in segments:
        yield (
            bytes.fromhex(segment.sha256),
            segment.size_bytes,
            segment.start,
            segment.stop,
            # Names of columns are from a fixed list, none with a comma. Event types may have any
            # character, so they are JSON.
            ",".join(segment.columns),
            bytes.fromhex("".join(segment.nodes)),
            json.dumps(dict(segment.types), ensure_ascii=False, separators=(",", ":")),
            segment.time,
            segment.undated,
            segment.recorded,
        )


def decode(data: bytes, where: str) -> list[Row]:
    """The inverse of ``encode``.

    Raises:
        CorruptionError: Not such a table.
    """
    return from_table(read_table(data, where), where)


def read_table(data: bytes, where: str) -> pa.Table:
    """Read the table that ``encode`` wrote.

    Raises:
        CorruptionError: Not such a table, or a value is out of range.
    """
    # Every row has a hash, which does not compress. So the file's size bounds the number of rows.
    rows = footer_rows(data, where)
    if rows > len(data) // HASH_BYTES:
        raise _no_commits(
            where,
            ValueError(
                f"expected fewer rows than hashes, its footer says {rows:,} in {len(data):,} bytes"
            ),
        )
    try:
        table = read_bytes(data, where).cast(_SCHEMA)
        _check_values(table)
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise _no_commits(where, error) from error
    return table


def _check_values(table: pa.Table) -> None:
    """Check that every value is in the range of a valid commit.

    Raises:
        ValueError: A value is not.
    """
    for names, (least, most) in _RANGES.items():
        for name in names:
            found = pc.min_max(table.column(name)).as_py()
            if found["min"] is not None and not least <= found["min"] <= found["max"] <= most:
                message = (
                    f"expected {name} from {least} to {most}, "
                    f"found {found['min']} to {found['max']}"
                )
                raise ValueError(message)
    for name in _SCHEMA.names[: len(_SCHEMA) - _OF_SEGMENT]:
        if table.column(name).null_count:
            message = f"expected {name} in every row"
            raise ValueError(message)
    without = table.column("sha256").is_null()
    for name in _SCHEMA.names[-_OF_SEGMENT:]:
        if name not in {"time", "recorded"} and not table.column(name).is_null().equals(without):
            message = f"expected {name} in the rows of segments, and only there"
            raise ValueError(message)
    if not set(table.column("kind").unique().to_pylist()) <= set(KINDS):
        message = (
            f"expected kinds of commits, found {table.column('kind').unique().to_pylist()[:5]}"
        )
        raise ValueError(message)


def from_table(table: pa.Table, where: str) -> list[Row]:
    """The inverse of ``to_table``.

    Raises:
        CorruptionError: The rows are not valid commits.
    """
    try:
        flat = zip(*(table.column(name).to_pylist() for name in _SCHEMA.names), strict=True)
        # Many segments have the same counts by type; each text is decoded once.
        kinds: dict[str, tuple[tuple[str, int], ...]] = {}
        return [_row(list(group), kinds) for _, group in groupby(flat, key=lambda row: row[0])]
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise _no_commits(where, error) from error


def _no_commits(where: str, error: Exception) -> CorruptionError:
    return CorruptionError(
        f"{where} holds no commits: {error}", "run 'eventlake verify LAKE'.", path=where
    )


def _row(flat: list[tuple[Any, ...]], kinds: dict[str, tuple[tuple[str, int], ...]]) -> Row:
    version, commit_hash, kind, recorded_at, start, stop, root = flat[0][:-_OF_SEGMENT]
    summary = CommitSummary(version, commit_hash.hex(), kind, recorded_at, start, stop, root.hex())
    return summary, tuple(
        _segment(row[-_OF_SEGMENT:], kinds) for row in flat if row[-_OF_SEGMENT] is not None
    )


def _segment(row: tuple[Any, ...], kinds: dict[str, tuple[tuple[str, int], ...]]) -> Segment:
    sha256, size_bytes, start, stop, columns, nodes, types, time, undated, recorded = row
    if types not in kinds:
        kinds[types] = tuple(sorted(_TYPES.decode(types).items()))
    text = nodes.hex()
    segment = Segment(
        sha256=sha256.hex(),
        size_bytes=size_bytes,
        start=start,
        stop=stop,
        columns=tuple(columns.split(",")),
        nodes=tuple(text[at : at + 2 * HASH_BYTES] for at in range(0, len(text), 2 * HASH_BYTES)),
        types=kinds[types],
        time=_instants(time),
        undated=undated,
        recorded=_instants(recorded),
    )
    problem = segment.disagreement()
    if problem or not set(segment.columns) <= COLUMNS:
        raise ValueError(problem or f"expected columns of events, found {columns!r}")
    return segment


def _instants(pair: list[int] | None) -> tuple[int, int] | None:
    if not pair:
        return None
    first, last = pair
    if not MIN_US <= first <= last <= MAX_US:
        message = f"expected two instants in order, found {pair}"
        raise ValueError(message)
    return first, last
