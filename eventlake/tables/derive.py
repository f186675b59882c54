"""Derive the rows of an event table from segments, sorted by (subject, sequence)."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.intake.problems import Problem
from eventlake.columns.rows import chosen, gathered
from eventlake.columns.schema import INSTANT, TYPES
from eventlake.errors import CorruptionError, EventlakeError, InvalidInputError
from eventlake.log.chain.checked_read import stored_events
from eventlake.log.chain.manifest import SegmentInCommit
from eventlake.schemas.retractions import empty_retractions
from eventlake.schemas.version import Version
from eventlake.storage import Storage
from eventlake.tables import payloads
from eventlake.tables.columns import ATTRIBUTES, CORRECTION, free_attributes, stored_schema
from eventlake.trust import Trust

# All columns that any event table has: a segment is read once for the tables of all types.
_READ = ["id", "source", "type", "subject", "time", "recorded_at", *CORRECTION, *ATTRIBUTES, "data"]


def read_events(storage: Storage, placed: SegmentInCommit, trust: Trust) -> pa.Table:
    """The columns of a segment's events that event tables need.

    Raises:
        CorruptionError: The segment is damaged, or differs from what its commit says.
    """
    return stored_events(storage, placed, trust, _READ)


def derive(
    stored: pa.Table, placed: SegmentInCommit, version: Version, start: int, stop: int
) -> pa.Table:
    """The events of one type in ``[start, stop)`` of a segment, as stored columns by sequence.

    Args:
        stored: The output of ``read_events``, which serves all types.
        placed: The segment.
        version: The schema to read with.
        start: The first sequence, inclusive.
        stop: The last sequence, exclusive.

    Raises:
        CorruptionError: A payload was never accepted under this schema.
        InvalidInputError: A payload was accepted by a later version only.
    """
    summary, segment = placed
    events = stored.slice(start - segment.start, stop - start)
    rows = np.flatnonzero(pc.equal(events.column("type"), version.schema.event_type).to_numpy())
    # The first event that a later version's upcast no longer reaches.
    if version.ends is not None and len(rows) and start + int(rows[-1]) >= version.ends:
        raise later_payload(version, start + int(rows[np.searchsorted(rows + start, version.ends)]))
    # All other columns are selected too, so a segment of one type is not copied.
    mine = chosen(events, rows) if len(rows) < events.num_rows else events
    data = _column(mine, "data")
    parsed = payloads.read(
        data, rows + start, version, empty_retractions(_column(mine, "correction"), data)
    )
    if parsed.problems:
        raise _unreadable(
            parsed.problems[0], start + int(rows[parsed.problems[0].row or 0]), version
        )
    recorded_at = (
        _column(mine, "recorded_at")
        if segment.recorded
        else pa.chunked_array([_repeated(summary.recorded_at, len(rows))])
    )
    # An event without a time happened, as far as anybody knows, when it was recorded.
    time = pc.coalesce(_column(mine, "time"), recorded_at)
    texts = {
        name: _column(mine, name)
        for name in ("id", "source", "subject", *CORRECTION, *free_attributes(version.schema))
    }
    columns = {
        "sequence": pa.array(rows + start),
        **texts,
        "time": time,
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
    return pa.chunked_array(
        [pa.nulls(events.num_rows, INSTANT if name == "recorded_at" else TYPES[name])]
    )


def _repeated(recorded_at: int, rows: int) -> pa.Array:
    return pa.array(np.full(rows, recorded_at), pa.int64()).cast(INSTANT)


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of several tables, sorted by (subject, sequence), null subjects first."""
    table = pa.concat_tables(tables)
    keys = pl.DataFrame(table.select(["subject", "sequence"]))
    # The events of a subject lie together, so that readers skip most row groups.
    order = keys.select(pl.arg_sort_by(["subject", "sequence"]))["subject"].to_numpy()
    return gathered(table, pa.array(order))
