"""The event tables of a history: derived if missing or not trusted, then stored."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, groupby

import pyarrow as pa

from eventlake.errors import CorruptionError
from eventlake.log.chain.manifest import Manifest
from eventlake.memory import part_bytes
from eventlake.progress import task
from eventlake.schemas.version import Version
from eventlake.storage import ObjectMissingError, Storage
from eventlake.tables.columns import stored_schema
from eventlake.tables.derive import between, by_type, derive, read_events
from eventlake.tables.event_table import EventTable
from eventlake.tables.ranges import MERGED_ROWS
from eventlake.tables.stored_table import StoredTable, Stretch, stretches
from eventlake.tables.temporary import temporary_parts
from eventlake.trust import Trust

_TRIES = 5


def event_tables(
    storage: Storage,
    manifest: Manifest,
    versions: Sequence[Version],
    watermark: int,
    trust: Trust,
    *,
    ignore_stored: bool = False,
    merged_rows: int = MERGED_ROWS,
    most_bytes: int | None = None,
) -> list[EventTable]:
    """The tables of event types, in the order of ``versions``.

    What is missing is derived and stored; each segment is read once for all tables.

    Args:
        storage: The lake's storage.
        manifest: A verified manifest that reaches at least to ``watermark``.
        versions: The schemas to read with, of different types.
        watermark: The end of the history, exclusive.
        trust: What is trusted in the lake.
        ignore_stored: Whether to ignore stored tables and to store none; large ones are temporary
            files, which exist as long as the result does.
        merged_rows: Small files are merged up to about this many rows, and at most as many are held
            in memory.
        most_bytes: Maximum bytes of rows in memory, and of a file's; by default half of
            ``memory.part_bytes()``.

    Raises:
        CorruptionError: A segment is damaged.
    """
    most_bytes = most_bytes or part_bytes() // 2
    if ignore_stored:
        return [
            _derived_table(storage, manifest, version, watermark, trust, most_bytes=most_bytes)
            for version in versions
        ]
    tables = [
        StoredTable(
            storage,
            manifest,
            version,
            watermark,
            trust,
            merged_rows=merged_rows,
            most_bytes=most_bytes,
        )
        for version in versions
    ]
    # Another process may delete a file between its choice and its use; after a few attempts the
    # tables are derived for this call alone.
    for _ in range(_TRIES):
        if not _complete(storage, tables, trust, merged_rows, most_bytes):
            continue
        with suppress(CorruptionError, ObjectMissingError):
            return [EventTable(table.version, tuple(table.parts())) for table in tables]
    return [
        _derived_table(storage, manifest, version, watermark, trust, most_bytes=most_bytes)
        for version in versions
    ]


def _complete(
    storage: Storage,
    tables: Sequence[StoredTable],
    trust: Trust,
    merged_rows: int,
    most_bytes: int,
) -> bool:
    """Derive and store what is missing of some tables.

    Returns:
        Whether nothing is missing now.
    """
    missing = [(one, table) for table in tables for one in table.missing()]
    if not missing:
        return True
    # By segment, so that each is read once for all tables.
    missing.sort(key=lambda pair: pair[0].placed[1].start)
    with task("deriving event tables", sum(one.stop - one.start for one, _ in missing)) as advance:
        for _, alike in groupby(missing, key=lambda pair: pair[0].placed[1].start):
            pairs = list(alike)
            for events in read_events(storage, pairs[0][0].placed, trust):
                _add(events, pairs)
                _limit_memory(tables, merged_rows, most_bytes)
            advance(sum(one.stop - one.start for one, _ in pairs))
    for table in tables:
        table.store()
    return not any(table.missing() for table in tables)


def _add(events: pa.Table, pairs: Sequence[tuple[Stretch, StoredTable]]) -> None:
    """Add a batch of events to the tables, each with the stretch that is missing of it."""
    first = events.column("sequence")[0].as_py()
    last = first + events.num_rows
    found = dict(by_type(events, {table.event_type for _, table in pairs}))
    for one, table in pairs:
        start, stop = max(one.start, first), min(one.stop, last)
        if start < stop:
            # Without rows too: the table's range reaches to the end of the batch.
            mine = found.get(table.event_type, events.slice(0, 0))
            table.add(Stretch(one.placed, start, stop), between(mine, start, stop))


def _limit_memory(tables: Sequence[StoredTable], most_rows: int, most_bytes: int) -> None:
    """Store the largest tables until what is in memory keeps within both limits."""
    while (
        sum(table.rows for table in tables) >= most_rows
        or sum(table.size_bytes for table in tables) >= most_bytes
    ):
        max(tables, key=lambda table: (table.size_bytes, table.rows)).store()


def _derived_table(
    storage: Storage,
    manifest: Manifest,
    version: Version,
    watermark: int,
    trust: Trust,
    *,
    most_bytes: int,
) -> EventTable:
    event_type = version.schema.event_type
    rows = (
        derive(between(mine, one.start, one.stop), version)
        for one in stretches(manifest, event_type, watermark)
        for events in read_events(storage, one.placed, trust)
        for _, mine in by_type(events, {event_type})
    )
    none = stored_schema(version.schema).empty_table()
    return EventTable(version, tuple(temporary_parts(chain([none], rows), watermark, most_bytes)))
