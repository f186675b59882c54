"""The event tables of a history: derived if missing or not trusted, then stored."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby

from eventlake.errors import CorruptionError
from eventlake.log.chain.manifest import Manifest
from eventlake.progress import task
from eventlake.schemas.version import Version
from eventlake.storage import ObjectMissingError, Storage
from eventlake.tables.columns import stored_schema
from eventlake.tables.derive import derive, joined, read_events
from eventlake.tables.event_table import EventTable, TableFile
from eventlake.tables.ranges import MERGED_ROWS
from eventlake.tables.stored_table import StoredTable, stretches
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
) -> list[EventTable]:
    """The tables of event types, in the order of ``versions``.

    What is missing is derived and stored; each segment is read once for all tables.

    Args:
        storage: The lake's storage.
        manifest: A verified manifest that reaches at least to ``watermark``.
        versions: The schemas to read with, of different types.
        watermark: The end of the history, exclusive.
        trust: What is trusted in the lake.
        ignore_stored: Whether to ignore stored tables and to store none.
        merged_rows: Small files are merged up to about this many rows, and at most as many are held
            in memory.

    Raises:
        CorruptionError: A segment is damaged.
    """
    if ignore_stored:
        return [
            _derived_table(storage, manifest, version, watermark, trust) for version in versions
        ]
    tables = [
        StoredTable(storage, manifest, version, watermark, trust, merged_rows=merged_rows)
        for version in versions
    ]
    # Another process may delete a file between its choice and its use; after a few attempts the
    # tables are derived in memory instead.
    for _ in range(_TRIES):
        if not _complete(storage, tables, trust, merged_rows):
            continue
        with suppress(CorruptionError, ObjectMissingError):
            return [EventTable(table.version, tuple(table.parts())) for table in tables]
    return [_derived_table(storage, manifest, version, watermark, trust) for version in versions]


def _complete(
    storage: Storage, tables: Sequence[StoredTable], trust: Trust, merged_rows: int
) -> bool:
    """Derive and store what is missing of some tables.

    Returns:
        Whether nothing is missing now.
    """
    missing = [(one, table) for table in tables for one in table.missing()]
    if missing:
        # By segment, so that each is read once for all tables.
        missing.sort(key=lambda pair: pair[0].placed[1].start)
        with task(
            "deriving event tables", sum(one.stop - one.start for one, _ in missing)
        ) as advance:
            for _, alike in groupby(missing, key=lambda pair: pair[0].placed[1].start):
                pairs = list(alike)
                events = read_events(storage, pairs[0][0].placed, trust)
                for one, table in pairs:
                    table.add(one, derive(events, one.placed, table.version, one.start, one.stop))
                    advance(one.stop - one.start)
                _limit_memory(tables, merged_rows)
        for table in tables:
            table.store()
    return not any(table.missing() for table in tables)


def _limit_memory(tables: Sequence[StoredTable], most_rows: int) -> None:
    """Store the largest tables until fewer than ``most_rows`` rows are in memory."""
    while sum(table.rows for table in tables) >= most_rows:
        max(tables, key=lambda table: table.rows).store()


def _derived_table(
    storage: Storage, manifest: Manifest, version: Version, watermark: int, trust: Trust
) -> EventTable:
    wanted = stretches(manifest, version.schema.event_type, watermark)
    tables = [
        derive(read_events(storage, one.placed, trust), one.placed, version, one.start, one.stop)
        for one in wanted
    ]
    return EventTable(
        version,
        (TableFile(None, None, joined([stored_schema(version.schema).empty_table(), *tables])),),
    )
