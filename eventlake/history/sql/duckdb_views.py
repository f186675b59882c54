"""A pinned history in DuckDB: the table ``events``, and results that other libraries can take over.

The only place of the read side that runs DuckDB.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from eventlake.columns.intake.given import table_of
from eventlake.columns.schema import INSTANT, TYPES
from eventlake.core.attributes import EVENT_COLUMNS
from eventlake.core.names import OURS
from eventlake.core.sql import identifier, integer, named
from eventlake.database import (
    DEFAULT,
    UNLIMITED,
    Limits,
    Resources,
    check_select,
    fetched,
    open_database,
    parquet,
    tree_of,
)
from eventlake.errors import InvalidInputError, MissingDependencyError
from eventlake.exactness.tree import nodes
from eventlake.history import polars_scan
from eventlake.history.pinned import PinnedHistory
from eventlake.history.polars_scan import AS_RECORDED, LATEST, LIFETIMES
from eventlake.history.sql.refusals import advice, reason, tables_hint
from eventlake.schemas.catalogue import Catalogue
from eventlake.tables.columns import NAMED, shown_columns, stored_schema
from eventlake.tables.files import EventTable, TableFile
from eventlake.verbs import helpful
from eventlake.visible import safe

ENTITY = "eventlake entity"
_CHOSEN = "eventlake chosen entities"
_FEW, _FEW_EVENTS = 5_000, "eventlake chosen events"
_FRAMES = "A query reads the history alone; hand in other rows as a frame: snapshot.sql(query, name=frame)."
_COMPUTED = frozenset({"query", "query_table"})
"""Table functions that read the tables named in a text."""


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """An event type's table as a query names it.

    Attributes:
        event_type: A registered one.
        corrections: ``as_recorded``, or ``latest`` or ``lifetimes`` where the query puts this schema in front.
    """

    event_type: str
    corrections: str = AS_RECORDED


@dataclass(frozen=True, slots=True)
class EntityFilter:
    """Some entities, to read no others.

    Attributes:
        by: The column that names the entity, in every table of events that is read.
        spine_by: The one of the spine.
        entities: One column of that type, ``ENTITY``; null is an entity as well.
    """

    by: str
    spine_by: str
    entities: pa.Table

    def plain(self) -> pl.Expr | None:
        """Where they are few, and named by a column that is as its producers gave it: what an event of theirs satisfies."""
        column = named(polars_scan.PLAIN, self.by)
        if column is None or self.entities.num_rows > _FEW:
            return None
        chosen = pl.DataFrame(self.entities)[ENTITY].cast(pl.String)
        return pl.col(column).is_in(chosen.implode(), nulls_equal=True)

    def clause(self, table: str = "") -> str:
        """What follows a table in SQL; ``table`` is its name where it is in memory."""
        chosen, column = identifier(_CHOSEN), self.spine_by if table == "spine" else self.by
        return f"SEMI JOIN {chosen} ON {identifier(column)} IS NOT DISTINCT FROM {chosen}.{identifier(ENTITY)}"


def connect(
    history: PinnedHistory,
    text: str,
    resources: Resources = DEFAULT,
    only: EntityFilter | None = None,
) -> duckdb.DuckDBPyConnection:
    """An in-memory database with the tables that a query reads; it can open the files of these tables and no others.

    An event type is a view by its name, and without what was replaced or retracted in the schema ``latest``; how long its corrected events
    spoke is in the schema ``lifetimes``.
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
    """The files that hold event tables."""
    return [
        part.location for source in sources for part in source.parts if part.location is not None
    ]


def tables_read(text: str, catalogue: Catalogue) -> list[TableName]:
    """The event types among the tables that a query names; all of them where that cannot be told. Names know no case."""
    if not catalogue.types:
        return []
    named = _names(text)
    if named is None:
        told = (AS_RECORDED, LATEST, *[LIFETIMES] * (LIFETIMES in text.casefold()))
        return sorted(
            TableName(name, corrections) for name in catalogue.types for corrections in told
        )
    registered = {name.casefold(): name for name in catalogue.types}
    return sorted(
        {
            TableName(registered[table], schema if schema in {LATEST, LIFETIMES} else AS_RECORDED)
            for schema, table in named
            if table in registered
        }
    )


def views_read(text: str, catalogue: Catalogue) -> list[str]:
    """The tables of events that a query reads, as SQL names them."""
    events = ["events"] if reads_table(text, "events") else []
    typed = (
        f"{LATEST}." * (name.corrections == LATEST) + identifier(name.event_type)
        for name in tables_read(text, catalogue)
    )
    return [*events, *typed]


def reads_table(text: str, name: str) -> bool:
    """Whether a query reads a table, or may."""
    named = _names(text)
    return named is None or any(table == name for _, table in named)


@lru_cache(64)
def _names(text: str) -> frozenset[tuple[str, str]] | None:
    """``(schema, table)``, case folded, of the tables that a query names; None where DuckDB cannot say, or they are computed."""
    try:
        tree = tree_of(text)
        if tree.get("error") or not _COMPUTED.isdisjoint(
            str(node.get("function_name")).casefold() for node in nodes(tree)
        ):
            return None
        named = [node for node in nodes(tree) if node.get("type") == "BASE_TABLE"]
        return frozenset(
            (node.get("schema_name", "").casefold(), node.get("table_name", "").casefold())
            for node in named
        )
    except RecursionError:
        return None


def attributes_named(text: str, event_type: str) -> list[str]:
    """The attributes of ``NAMED`` that a query reads of an event type's table; its view has no others of them.

    So a ``*`` is what it always was, and nothing that a query named before these were columns becomes ambiguous: a name alone counts where
    no other table or expression can have it, behind the name of the table it counts always.
    """
    return [
        name
        for name in NAMED
        if name in text.casefold() and _reads(text, event_type.casefold(), name)
    ]


@lru_cache(256)
def _reads(text: str, event_type: str, attribute: str) -> bool:
    try:
        found = list(nodes(tree_of(text)))
    except RecursionError:
        return False
    tables = [one for one in found if one.get("type") == "BASE_TABLE"]
    called = {
        str(one.get("alias") or event_type).casefold()
        for one in tables
        if str(one.get("table_name")).casefold() == event_type
    }
    shared = {"events", "spine"} & {str(one.get("table_name")).casefold() for one in tables}
    alone = not shared and all(str(one.get("alias")).casefold() != attribute for one in found)
    for one in found:
        if attribute in {str(name).casefold() for name in one.get("using_columns") or ()}:
            return True
        path = (
            [str(name).casefold() for name in one.get("column_names") or ()]
            if one.get("class") == "COLUMN_REF"
            else []
        )
        if path[-1:] == [attribute] and (alone if len(path) == 1 else path[-2] in called):
            return True
    return False


def create_table(
    connection: duckdb.DuckDBPyConnection,
    source: EventTable,
    name: TableName,
    only: EntityFilter | None = None,
    attributes: Collection[str] = NAMED,
) -> None:
    """Makes the view of one event type, with some of the attributes of ``NAMED``."""
    if name.corrections == LIFETIMES:
        create_lifetimes(connection, name.event_type, polars_scan.lifetimes(source))
        return
    shown = ", ".join(
        identifier(column) for column in shown_columns(source.version.schema, attributes)
    )
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
    if not stored:
        connection.register(
            f"{OURS}none of {name}", stored_schema(source.version.schema).empty_table()
        )
        stored = f"SELECT * FROM {identifier(f'{OURS}none of {name}')}"
    target = identifier(name.event_type)
    condition = ""
    if name.corrections == LATEST:
        left_out = polars_scan.gone_of(source)
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
    """Makes the view of how long corrected events of a type spoke."""
    connection.register(f"{OURS}lifetimes of {event_type}", lifetimes.to_arrow())
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {LIFETIMES}")
    told = identifier(f"{OURS}lifetimes of {event_type}")
    connection.execute(f"CREATE VIEW {LIFETIMES}.{identifier(event_type)} AS SELECT * FROM {told}")


def _part_query(connection: duckdb.DuckDBPyConnection, part: TableFile, name: str) -> str:
    if part.location is None:
        connection.register(name, part.rows)
    source = identifier(name) if part.location is None else parquet([part.location])
    cut = "" if part.stop is None else f" WHERE sequence < {integer(part.stop)}"
    return f"SELECT * FROM {source}{cut}"


def create_events(
    connection: duckdb.DuckDBPyConnection, history: PinnedHistory, only: EntityFilter | None = None
) -> None:
    """Makes the view ``events`` with the columns of ``EVENT_COLUMNS``."""
    locations = history.locations()
    few = only.plain() if only and locations else None
    if few is not None:
        # Polars' reader passes over what is about others, and is handed down which columns DuckDB reads.
        connection.register(_FEW_EVENTS, polars_scan.scan(history, where=[few]))
        connection.execute(f"CREATE VIEW events AS SELECT * FROM {identifier(_FEW_EVENTS)}")
    elif locations:
        query = _files_query(history, locations)
        chosen = f"SELECT * FROM ({query}) {only.clause()}" if only else query
        connection.execute(f"CREATE VIEW events AS {chosen}")
    else:
        create_given(connection, "events", polars_scan.scan(history).collect().to_arrow(), only)


def create_given(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    rows: pa.Table,
    only: EntityFilter | None = None,
) -> None:
    """Makes the view of a table that is in memory."""
    if only is None:
        connection.register(name, rows)
    else:
        connection.register(f"{OURS}all of {name}", rows)
        connection.execute(
            f"CREATE VIEW {name} AS SELECT * FROM {identifier(f'{OURS}all of {name}')} {only.clause(name)}"
        )


def _files_query(history: PinnedHistory, locations: list[str]) -> str:
    stretches = history.stretches
    present = [set(stretch.segment.columns) for stretch in stretches]
    everywhere, somewhere = set.intersection(*present), set.union(*present)
    starts = ", ".join(integer(stretch.segment.start) for stretch in stretches)
    sequence = f"list_extract([{starts}]::BIGINT[], (file_index + 1)::BIGINT) + file_row_number"
    runs = [stretch.recorded_at for stretch in stretches]
    recorded_at = _recorded_at(runs, "recorded_at" in somewhere)
    expressions = {"sequence": sequence, "recorded_at": recorded_at}
    for name in TYPES:
        expressions[name] = (
            name if name in somewhere else f"NULL::{'TIMESTAMPTZ' if name == 'time' else 'VARCHAR'}"
        )
    if history.undated:
        expressions["time"] = f"coalesce({expressions['time']}, {recorded_at})"
    columns = ", ".join(f"{expressions[name]} AS {name}" for name in EVENT_COLUMNS)
    files = parquet(locations, by_name=everywhere != somewhere)
    last = stretches[-1]
    cut = (
        f"WHERE {sequence} < {integer(history.watermark)}" if last.stop < last.segment.stop else ""
    )
    return f"SELECT {columns} FROM {files} {cut}"


def _recorded_at(runs: list[int | None], in_files: bool) -> str:  # noqa: FBT001 - one private caller
    if all(run is None for run in runs):
        return "recorded_at"
    values = ", ".join("NULL" if run is None else integer(run) for run in runs)
    assigned = f"make_timestamptz(list_extract([{values}]::BIGINT[], (file_index + 1)::BIGINT))"
    return f"coalesce(recorded_at, {assigned})" if in_files else assigned


@helpful
class SqlResult:
    """Rows of one query, computed once; any library that speaks Arrow can take them (``__arrow_c_stream__``)."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The Arrow PyCapsule stream."""
        return self._table.__arrow_c_stream__(requested_schema)

    def arrow(self) -> pa.Table:
        """As a pyarrow table; timestamps with a zone are timestamp[us, UTC]."""
        return self._table

    def polars(self) -> pl.DataFrame:
        """As a Polars frame."""
        return pl.DataFrame(self._table)

    def pandas(self) -> Any:
        """As a pandas frame.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        return to_pandas(self._table)

    def __repr__(self) -> str:
        """The first rows."""
        return safe(repr(self.polars()))

    def _repr_html_(self) -> str:
        return safe(self.polars()._repr_html_())


def to_pandas(table: pa.Table) -> Any:
    """``table`` as a pandas frame, no value changed.

    Integers and booleans become pandas' nullable types, because a null would make doubles of them; decimals and dates Python objects; lists
    and structs Arrow-backed columns.

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        message = "pandas is not installed"
        raise MissingDependencyError(
            message, "pip install 'eventlake[pandas]', or use .polars() or .arrow()."
        ) from error

    def exact(kind: pa.DataType) -> Any:
        if pa.types.is_boolean(kind):
            return pd.BooleanDtype()
        if pa.types.is_integer(kind):
            return getattr(pd, str(kind).replace("i", "I").replace("uI", "UI") + "Dtype")()
        return pd.ArrowDtype(kind) if pa.types.is_nested(kind) else None

    return table.to_pandas(types_mapper=exact)


def query(history: PinnedHistory, text: str, parameters: dict[str, Any] | None = None) -> SqlResult:
    """Runs one SELECT over ``events``, event types, and those of its parameters that are frames.

    Raises:
        InvalidInputError: More or other than one SELECT, or DuckDB refuses the query; its message is kept.
        CorruptionError: A segment is missing or damaged.
    """
    try:
        with connect(history, text) as connection:
            values = dict(parameters or {})
            for name in [
                name
                for name, value in values.items()
                if hasattr(value, "__arrow_c_stream__") or isinstance(value, pl.LazyFrame)
            ]:
                _register(connection, history, name, values.pop(name))
            return SqlResult(select(connection, text, values))
    except duckdb.Error as error:
        # Bad bytes and bad queries look alike to an engine; the hashes tell them apart.
        history.check()
        message = f"DuckDB refused the query: {reason(error)}"
        known = (
            "" if isinstance(error, duckdb.PermissionException) else tables_hint(history.catalogue)
        )
        hint = advice(error, text, history.catalogue, "snapshot.sql(query, {}=…)") + known
        frames = (
            _FRAMES
            if isinstance(error, duckdb.PermissionException | duckdb.CatalogException)
            else ""
        )
        raise InvalidInputError(
            message, " ".join(filter(None, (hint, frames))), sql=text
        ) from error


def _register(
    connection: duckdb.DuckDBPyConnection, history: PinnedHistory, name: str, frame: Any
) -> None:
    """Makes a table of a frame."""
    there = {
        one
        for (one,) in connection.execute(
            "SELECT view_name FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
    }
    if name.casefold() in {one.casefold() for one in {"events", *history.catalogue.types, *there}}:
        message = f"expected a table under a name of its own, found {name}, which the history has"
        raise InvalidInputError(message, "call it otherwise.")
    if isinstance(frame, pl.LazyFrame):
        message = f"{name}: expected a frame, found a LazyFrame"
        raise InvalidInputError(message, "collect it.")
    connection.register(name, table_of(frame, name))


def select(
    connection: duckdb.DuckDBPyConnection,
    text: str,
    parameters: Mapping[str, Any],
    *,
    run: bool = True,
    limits: Limits = UNLIMITED,
) -> pa.Table | None:
    """The rows of one SELECT; None where it is only bound, with ``run=False``.

    Raises:
        InvalidInputError: It is not one SELECT that only reads, or runs longer than ``limits`` allow.
        NotIdenticalError: It returns more rows than ``limits`` allow.
        duckdb.Error: DuckDB refuses it.
    """
    relation = connection.sql(check_select(text), params=dict(parameters) or None)
    return normal_zone(fetched(connection, relation, limits)) if run else None


def normal_zone(table: pa.Table) -> pa.Table:
    """DuckDB calls UTC ``Etc/UTC``; the rest of the world does not."""
    fields = [
        field.with_type(INSTANT) if pa.types.is_timestamp(field.type) and field.type.tz else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))
