"""Derive the rows of event tables from segments, sorted by (subject, sequence)."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.intake.problems import Problem
from eventlake.columns.rows import gathered, numbered
from eventlake.columns.schema import INSTANT, TYPES
from eventlake.errors import CorruptionError, EventlakeError, InvalidInputError
from eventlake.log.chain.checked_read import stored_batches
from eventlake.log.chain.manifest import SegmentInCommit
from eventlake.schemas.retractions import empty_retractions
from eventlake.schemas.version import Version
from eventlake.storage import Storage
from eventlake.tables import payloads
from eventlake.tables.columns import ATTRIBUTES, CORRECTION, free_attributes, stored_schema
from eventlake.trust import Trust

# All columns that any event table has: a segment is read once for the tables of all types.
_READ = ["id", "source", "type", "subject", "time", "recorded_at", *CORRECTION, *ATTRIBUTES, "data"]


def read_events(storage: Storage, placed: SegmentInCommit, trust: Trust) -> Iterator[pa.Table]:
    """The columns of a segment's events that event tables need, in batches of bounded bytes.

    ``sequence`` and ``recorded_at`` are columns of each.

    Raises:
        CorruptionError: The segment is damaged, or differs from what its commit says.
    """
    for start, stored in stored_batches(storage, placed, trust, _READ):
        rows = stored.num_rows
        events = stored.append_column("sequence", pa.array(np.arange(start, start + rows)))
        if not placed[1].recorded:
            instant = pa.array(np.full(rows, placed[0].recorded_at)).cast(INSTANT)
            if "recorded_at" in stored.column_names:
                events = events.drop_columns(["recorded_at"])
            events = events.append_column("recorded_at", instant)
        yield events
        del stored, events  # makes room for the next batch


def by_type(events: pa.Table, types: Collection[str]) -> Iterator[tuple[str, pa.Table]]:
    """Yield the rows of each type that there are, in their order, as tables of their own.

    One pass over the types, and one gathering of rows, however many types there are.
    """
    codes, names = numbered(events.column("type"))
    if len(names) == 1:
        if names[0] in types:
            yield names[0], events
        return
    # NumPy sorts small numbers in linear time.
    small = codes.astype(np.min_scalar_type(len(names)))
    order = np.argsort(small, kind="stable")
    stops = np.cumsum(np.bincount(small, minlength=len(names)))
    # Once, not at each type.
    whole = events.drop_columns(["type"]).combine_chunks()
    for name, start, stop in zip(names, [0, *stops[:-1]], stops, strict=True):
        if name in types:
            # Copies: a type with few rows must not keep all others in memory.
            yield name, gathered(whole, pa.array(order[start:stop]))


def between(events: pa.Table, start: int, stop: int) -> pa.Table:
    """The events of the sequences ``[start, stop)``."""
    first, last = events.column("sequence").to_numpy().searchsorted([start, stop])
    return events.slice(int(first), int(last - first))


def derive(events: pa.Table, version: Version) -> pa.Table:
    """The events of one type as stored columns, by sequence.

    Args:
        events: Events of the version's type, from ``by_type``.
        version: The schema to read with.

    Raises:
        CorruptionError: A payload was never accepted under this schema.
        InvalidInputError: A payload was accepted by a later version only.
    """
    sequences = events.column("sequence").to_numpy()
    # The first event that a later version's upcast no longer reaches.
    if version.ends is not None and len(sequences) and sequences[-1] >= version.ends:
        raise later_payload(version, int(sequences[np.searchsorted(sequences, version.ends)]))
    data = _column(events, "data")
    parsed = payloads.read(
        data, sequences, version, empty_retractions(_column(events, "correction"), data)
    )
    if parsed.problems:
        problem = parsed.problems[0]
        raise _unreadable(problem, int(sequences[problem.row or 0]), version)
    recorded_at = events.column("recorded_at")
    texts = ("id", "source", "subject", *CORRECTION, *free_attributes(version.schema))
    columns = {
        "sequence": events.column("sequence"),
        **{name: _column(events, name) for name in texts},
        # An event without a time happened, as far as anybody knows, when it was recorded.
        "time": pc.coalesce(_column(events, "time"), recorded_at),
        "recorded_at": recorded_at,
    }
    schema = stored_schema(version.schema)
    fields = dict(zip(version.schema.columns, parsed.table.columns, strict=True))
    return pa.Table.from_arrays(
        [(columns.get(name) if name in columns else fields[name]) for name in schema.names],
        schema=schema,
    )


def _unreadable(problem: Problem, sequence: int, version: Version) -> EventlakeError:
    event_type = version.schema.event_type
    if version.until is not None and sequence >= version.until:
        return later_payload(version, sequence)
    message = (
        f"the event {sequence:,} does not fit the schema that it was accepted under: {problem}"
    )
    return CorruptionError(
        message, "run 'eventlake verify LAKE --deep'.", sequence=sequence, event_type=event_type
    )


def later_payload(version: Version, sequence: int) -> InvalidInputError:
    """The error for an event that a later version accepted and this one cannot read."""
    event_type = version.schema.event_type
    message = (
        f"version {version.number} of the schema of {event_type} cannot read event {sequence:,},"
        " which a later version accepted"
    )
    hint = f"leave version out, or read a snapshot at the watermark {version.until:,} or below."
    return InvalidInputError(message, hint, event_type=event_type, sequence=sequence)


def _column(events: pa.Table, name: str) -> pa.ChunkedArray:
    if name in events.column_names:
        return events.column(name)
    return pa.chunked_array([pa.nulls(events.num_rows, TYPES[name])])


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of several tables, sorted by (subject, sequence), null subjects first."""
    table = pa.concat_tables(tables)
    return gathered(table, pa.array(sorted_order(table)))


def sorted_order(table: pa.Table) -> npt.NDArray[np.int64]:
    """The rows of a table by (subject, sequence), null subjects first.

    The events of a subject lie together, so that readers skip most row groups.
    """
    # Numbers are sorted faster than texts, and most subjects repeat.
    subjects = table.column("subject").combine_chunks().dictionary_encode()
    names = subjects.dictionary
    ranks = np.empty(len(names), np.int64)
    ranks[pc.array_sort_indices(names).to_numpy()] = np.arange(1, len(names) + 1)
    rank = np.zeros(table.num_rows, np.int64)
    known = subjects.is_valid().to_numpy(zero_copy_only=False)
    rank[known] = ranks[subjects.indices.drop_null().to_numpy()]
    order: npt.NDArray[np.int64] = np.lexsort((table.column("sequence").to_numpy(), rank))
    return order
