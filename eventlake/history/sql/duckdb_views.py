"""A pinned history in DuckDB: views of ``events`` and of event types.

A view reads Parquet files; DuckDB can open the files of these views and no others.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import duckdb
import polars as pl
import pyarrow as pa

from eventlake.columns.schema import TYPES
from eventlake.core.attributes import EVENT_COLUMNS
from eventlake.core.names import LATEST, LIFETIMES, OURS
from eventlake.core.sql import identifier, integer, named
from eventlake.database import DEFAULT, Resources, open_database, parquet
from eventlake.history import polars_scan
from eventlake.history.pinned import PinnedHistory
from eventlake.history.sql.tables_read import TableName, attributes_named, reads_table, tables_read
from eventlake.tables.columns import NAMED, shown_columns, stored_schema
from eventlake.tables.event_table import EventTable, TableFile

ENTITY = "eventlake entity"
_CHOSEN = "eventlake chosen entities"
_FEW_EVENTS = "eventlake chosen events"
# For a thousand of 100,000 subjects, Polars' reader took a fifth of the time of DuckDB's.
_FEW = 5_000


@dataclass(frozen=True, slots=True)
class EntityFilter:
    """The entities to read; the others are skipped.

    Attributes:
        by: The column that names the entity in every table of events.
        spine_by: The column that names it in the spine.
        entities: One column of that type, ``ENTITY``; null is an entity as well.
        few: Up to this many entities are passed to Polars' reader as a list.
    """

    by: str
    spine_by: str
    entities: pa.Table
    few: int = _FEW

    def plain(self) -> pl.Expr | None:
        """A Polars condition, if there are few entities and their column is stored unchanged."""
        column = named(polars_scan.PLAIN, self.by)
        if column is None or self.entities.num_rows > self.few:
            return None
        chosen = pl.DataFrame(self.entities)[ENTITY].cast(pl.String)
        return pl.col(column).is_in(chosen.implode(), nulls_equal=True)

    def clause(self, table: str = "") -> str:
        """The SQL after a table; ``table`` is its name if it is in memory."""
        chosen, column = identifier(_CHOSEN), self.spine_by if table == "spine" else self.by
        key = f"{chosen}.{identifier(ENTITY)}"
        # A semi join keeps each event once; IS NOT DISTINCT FROM because null is an entity as well.
        return f"SEMI JOIN {chosen} ON {identifier(column)} IS NOT DISTINCT FROM {key}"


def connect(
    history: PinnedHistory,
    text: str,
    resources: Resources = DEFAULT,
    only: EntityFilter | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database with the tables that a query reads.

    An event type is a view by its name. Without superseded events, it is a view in the schema
    ``latest``; the lifetimes of its corrected events are a view in the schema ``lifetimes``. The
    database can open the files of these views and no others.
    """
    names, events = tables_read(text, history.catalogue), reads_table(text, "events")
    sources = history.tables(dict.fromkeys(name.event_type for name in names))
    connection = open_database(
        [*(history.locations() or [] if events else []), *files_of(sources.values())], resources
    )
    if only is not None:
        connection.register(_CHOSEN, only.entities)
    if events:
        create_events(connection, history, only)
    for name in names:
        create_table(
            connection,
            sources[name.event_type],
            name,
            only,
            attributes_named(text, name.event_type),
        )
    return connection


def files_of(sources: Iterable[EventTable]) -> list[str]:
    """The files of event tables."""
    return [
        part.location for source in sources for part in source.parts if part.location is not None
    ]


def create_table(
    connection: duckdb.DuckDBPyConnection,
    source: EventTable,
    name: TableName,
    only: EntityFilter | None = None,
    attributes: Collection[str] = NAMED,
) -> None:
    """Create the view of one event type, with some of the attributes in ``NAMED``."""
    if name.corrections == LIFETIMES:
        create_lifetimes(connection, name.event_type, polars_scan.lifetimes(source))
        return
    shown = ", ".join(
        identifier(column) for column in shown_columns(source.version.schema, attributes)
    )
    # Files that are read whole share one scan; the others are cut at the watermark.
    whole = [
        part.location for part in source.parts if part.location is not None and part.stop is None
    ]
    queries = [f"SELECT * FROM {parquet(whole)}"] if whole else []
    others = (part for part in source.parts if part.location is None or part.stop is not None)
    queries += [
        _part_query(connection, part, f"{OURS}part {number} of {name}")
        for number, part in enumerate(others)
    ]
    stored = " UNION ALL ".join(queries)
    # Without files, the view still needs the columns and their types.
    if not stored:
        connection.register(
            f"{OURS}none of {name}", stored_schema(source.version.schema).empty_table()
        )
        stored = f"SELECT * FROM {identifier(f'{OURS}none of {name}')}"
    target = identifier(name.event_type)
    condition = ""
    if name.corrections == LATEST:
        left_out = polars_scan.superseded_events(source)
        if left_out.height:
            connection.register(f"{OURS}gone of {name.event_type}", left_out.to_arrow())
            condition = (
                f"ANTI JOIN {identifier(f'{OURS}gone of {name.event_type}')} USING (source, id)"
            )
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {LATEST}")
        target = f"{LATEST}.{target}"
    chosen = only.clause() if only else ""
    connection.execute(
        f"CREATE VIEW {target} AS SELECT {shown} FROM ({stored}) {condition} {chosen}"
    )


def create_lifetimes(
    connection: duckdb.DuckDBPyConnection, event_type: str, lifetimes: pl.DataFrame
) -> None:
    """Create the view of the lifetimes of a type's corrected events."""
    connection.register(f"{OURS}lifetimes of {event_type}", lifetimes.to_arrow())
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {LIFETIMES}")
    source = identifier(f"{OURS}lifetimes of {event_type}")
    target = f"{LIFETIMES}.{identifier(event_type)}"
    connection.execute(f"CREATE VIEW {target} AS SELECT * FROM {source}")


def _part_query(connection: duckdb.DuckDBPyConnection, part: TableFile, name: str) -> str:
    if part.location is None:
        connection.register(name, part.rows)
    source = identifier(name) if part.location is None else parquet([part.location])
    cut = "" if part.stop is None else f" WHERE sequence < {integer(part.stop)}"
    return f"SELECT * FROM {source}{cut}"


def create_events(
    connection: duckdb.DuckDBPyConnection, history: PinnedHistory, only: EntityFilter | None = None
) -> None:
    """Create the view ``events`` with the columns of ``EVENT_COLUMNS``."""
    locations = history.locations()
    few = only.plain() if only and locations else None
    if few is not None:
        # Polars skips the events of other entities while it reads. DuckDB passes the columns that
        # its query needs on to Polars.
        connection.register(_FEW_EVENTS, polars_scan.scan(history, where=[few]))
        connection.execute(f"CREATE VIEW events AS SELECT * FROM {identifier(_FEW_EVENTS)}")
    elif locations:
        query = _files_query(history, locations)
        chosen = f"SELECT * FROM ({query}) {only.clause()}" if only else query
        connection.execute(f"CREATE VIEW events AS {chosen}")
    else:
        # Storages without paths that DuckDB can open: the events are read through memory.
        create_given(connection, "events", polars_scan.scan(history).collect().to_arrow(), only)


def create_given(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    rows: pa.Table,
    only: EntityFilter | None = None,
) -> None:
    """Create the view of a table that is in memory."""
    if only is None:
        connection.register(name, rows)
    else:
        connection.register(f"{OURS}all of {name}", rows)
        source = identifier(f"{OURS}all of {name}")
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {source} {only.clause(name)}")


def _files_query(history: PinnedHistory, locations: list[str]) -> str:
    stretches = history.stretches
    present = [set(stretch.segment.columns) for stretch in stretches]
    # The columns of files are matched by name only if they differ, which is slower.
    everywhere, somewhere = set.intersection(*present), set.union(*present)
    starts = ", ".join(integer(stretch.segment.start) for stretch in stretches)
    # An expression over the file's number, and no join with a table of starts: DuckDB leaves out an
    # expression that nothing reads, but keeps the join. Lists start at 1.
    sequence = f"list_extract([{starts}]::BIGINT[], (file_index + 1)::BIGINT) + file_row_number"
    runs = [stretch.recorded_at for stretch in stretches]
    recorded_at = _recorded_at(runs, "recorded_at" in somewhere)
    expressions = {"sequence": sequence, "recorded_at": recorded_at}
    for name in TYPES:
        missing = "NULL::TIMESTAMPTZ" if name == "time" else "NULL::VARCHAR"
        expressions[name] = name if name in somewhere else missing
    if history.undated:
        expressions["time"] = f"coalesce({expressions['time']}, {recorded_at})"
    columns = ", ".join(f"{expressions[name]} AS {name}" for name in EVENT_COLUMNS)
    files = parquet(locations, by_name=everywhere != somewhere)
    # Only the last segment can reach beyond the watermark.
    last = stretches[-1]
    cut = (
        f"WHERE {sequence} < {integer(history.watermark)}" if last.stop < last.segment.stop else ""
    )
    return f"SELECT {columns} FROM {files} {cut}"


def _recorded_at(runs: list[int | None], in_files: bool) -> str:  # noqa: FBT001
    if all(run is None for run in runs):
        return "recorded_at"
    values = ", ".join("NULL" if run is None else integer(run) for run in runs)
    assigned = f"make_timestamptz(list_extract([{values}]::BIGINT[], (file_index + 1)::BIGINT))"
    return f"coalesce(recorded_at, {assigned})" if in_files else assigned
