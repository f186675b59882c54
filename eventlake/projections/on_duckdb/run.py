"""Runs SQL projections. The only place below ``projections/`` that runs DuckDB.

Settings that can touch rows are fixed and recorded: one thread, one memory limit. Of an exact
projection there are none, and it runs on all cores. The database is locked down: it reads the
history and the spine, and nothing else, in UTC.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from eventlake.caches import CACHES
from eventlake.core.attributes import EVENT_COLUMNS
from eventlake.core.documents import dataset
from eventlake.core.names import OURS
from eventlake.core.sql import identifier
from eventlake.database import Resources, open_database
from eventlake.errors import InvalidInputError, InvalidProjectionError
from eventlake.history.polars_scan import LATEST
from eventlake.history.sql.duckdb_views import connect, create_given
from eventlake.history.sql.refusals import advice, reason, tables_hint
from eventlake.history.sql.result import select
from eventlake.history.sql.tables_read import attributes_named, tables_read
from eventlake.projections.computation import DEFAULT_OPTIONS, Query, RunOptions
from eventlake.projections.on_duckdb.types import check_types
from eventlake.projections.rows import PreparedRun
from eventlake.projections.run_conditions import USUAL
from eventlake.tables.columns import shown_columns, stored_schema

VERSION = duckdb.__version__
SETTINGS = dataset.SETTINGS["sql"]
"""Of projections that are not exact, as recipes record them."""
FIXED = Resources(threads=1, memory="4GB")
"""The same, as a database is given them."""
PLAN = "SELECT json_serialize_plan(?, skip_null := true, skip_empty := true, optimize := false)"
_FEW = 1_000_000
"""Up to so many events are sorted anew to see whether their order matters."""
_TOLD = {
    "(TIMESTAMP WITH TIME ZONE -> TIME)": "an instant has a time of day in a zone: write (time AT TIME ZONE 'UTC')::TIME.",
    "In a DISTINCT aggregate, ORDER BY": "order by the values themselves: string_agg(DISTINCT x, ',' ORDER BY x); or take each value"
    " once in a subquery, GROUP BY x with min(sequence), and order by that.",
}
"""What to write where DuckDB takes no query, by a part of what it says."""
_ELSEWHERE = "<catalogue>"
_PURE_TABLE_FUNCTIONS = frozenset({"generate_series", "range", "unnest"})
_SHADOW_TYPES = {"sequence": "BIGINT", "time": "TIMESTAMPTZ", "recorded_at": "TIMESTAMPTZ"}


def prepare(query: Query, options: RunOptions = DEFAULT_OPTIONS) -> PreparedRun:
    """One SELECT over ``events`` and ``spine``, to be run.

    Raises:
        InvalidProjectionError: It is not one SELECT, or DuckDB cannot take it apart.
    """
    catalogue = query.history.catalogue
    schemas = {
        one.event_type: catalogue.version(one.event_type).schema_hash
        for one in tables_read(query.text, catalogue)
    }
    with _refusing(query):
        clock = reads_clock(query)
    return PreparedRun(schemas, clock, lambda: run(query, options))


def run(query: Query, options: RunOptions = DEFAULT_OPTIONS) -> pa.Table:
    """The rows of one SELECT over ``events`` and ``spine``.

    Raises:
        InvalidProjectionError: DuckDB refuses the query, or it asks for anything but the history
            and the spine.
        SchemaMismatchError: A column of a type that a dataset cannot hold.
    """
    history, only = query.history, options.only
    # Bound over empty tables first, where there is no file to open: a segment read by its path
    # could show what is beyond the watermark.
    with bound(query) as empty:
        relation = empty.sql(query.text, params=dict(query.parameters) or None)
        names, types = relation.columns, relation.types
    check_types(names, types)
    resources = _resources(query, options)
    with (
        _refusing(query),
        connect(history, query.text, resources, only) as connection,
    ):
        if query.spine is not None:
            create_given(connection, "spine", query.spine, only)
        if options.conditions.shuffled:
            _shuffle(connection, few=history.watermark <= _FEW)
        rows = select(connection, query.text, query.parameters, limits=options.limits)
        assert rows is not None  # noqa: S101 - it was run
        return rows


def settings_of(level: str) -> dict[str, str | int | bool]:
    """The settings under which projections of a level are run, as their recipes say."""
    return {} if level == "exact" else dict(SETTINGS)


def _resources(query: Query, options: RunOptions) -> Resources:
    """What the database may use. Settings come from recipes that anybody may have written: only what this version writes is taken.

    Raises:
        InvalidProjectionError: The settings are others.
    """
    settings = SETTINGS if options.settings is None else options.settings
    given = {key: (type(value), value) for key, value in settings.items()}
    if given not in ({}, {key: (type(value), value) for key, value in SETTINGS.items()}):
        message = f"projection {query.name}: expected the settings {SETTINGS} or none, found {str(dict(settings))[:200]}"
        raise InvalidProjectionError(
            message,
            "it was recorded by another version of eventlake, or altered; build it anew.",
            projection=query.name,
        )
    conditions = options.conditions
    if conditions != USUAL:
        return Resources(
            conditions.threads, conditions.memory_limit, ordered=not conditions.shuffled
        )
    return FIXED if given else Resources()


@contextmanager
def bound(query: Query) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of empty tables over which the query can be looked at: it is one SELECT, and DuckDB takes it.

    Raises:
        InvalidProjectionError: As ``run``.
    """
    with _refusing(query), shadow(query) as empty:
        select(empty, query.text, query.parameters, run=False)
        yield empty


@contextmanager
def _refusing(query: Query) -> Iterator[None]:
    name, catalogue = query.name, query.history.catalogue
    read = "the history" if query.spine is None else "the history, the table spine"
    hint = f"a projection reads {read} and nothing else; {tables_hint(catalogue)}"
    try:
        yield
    except duckdb.Error as error:
        message = f"projection {name}: DuckDB refused the query: {reason(error)}"
        written = advice(error, query.text, catalogue, "parameters={{'{}': …}}")
        own = next((told for part, told in _TOLD.items() if part in str(error)), written + hint)
        raise InvalidProjectionError(message, own, projection=name) from error
    except InvalidInputError as error:
        if isinstance(error, InvalidProjectionError):
            raise
        message = f"projection {name}: {error.message}"
        own = error.hint if error.hint and "PIVOT" in error.hint else hint
        raise InvalidProjectionError(message, own, **{**error.facts, "projection": name}) from error


def _shuffle(connection: duckdb.DuckDBPyConnection, *, few: bool) -> None:
    """Puts the rows of every table in an order of their own.

    Few events are sorted anew, from tables that are not files; of many, which nobody would wait
    for, a half that is chosen by hash and does not hold the first row comes before the other half.
    """
    views = "SELECT schema_name, view_name, temporary FROM duckdb_views() WHERE NOT internal"
    for schema, view, temporary in connection.execute(views).fetchall():
        name = identifier(view) if temporary else f"{identifier(schema)}.{identifier(view)}"
        columns = [column for column, *_ in connection.execute(f"DESCRIBE {name}").fetchall()]
        order = identifier(
            "spine_row"
            if "spine_row" in columns
            else "sequence"
            if "sequence" in columns
            else columns[0]
        )
        kept, plain = (
            identifier(f"{OURS}shuffled {schema} {view}"),
            identifier(f"{OURS}plain {schema} {view}"),
        )
        connection.execute(f"ALTER VIEW {name} RENAME TO {plain}")
        rows = f"SELECT * FROM {plain if temporary else f'{identifier(schema)}.{plain}'}"
        if few:
            connection.execute(f"CREATE TABLE {kept} AS {rows} ORDER BY hash({order}), {order}")
            shown = f"SELECT * FROM {kept}"
        else:
            shown = " UNION ALL ".join(
                f"{rows} WHERE hash({order}) % 2 {sign} hash(0::BIGINT) % 2" for sign in ("<>", "=")
            )
        connection.execute(f"CREATE {'TEMP ' if temporary else ''}VIEW {name} AS {shown}")


@contextmanager
def shadow(query: Query) -> Iterator[duckdb.DuckDBPyConnection]:
    """A locked database with empty tables of the right columns: what binds here reads nothing but them. One at a time."""
    catalogue, spine = query.history.catalogue, query.spine
    wanted = {} if spine is None else {"spine": spine.schema}
    for name in tables_read(query.text, catalogue):
        schema = catalogue.version(name.event_type).schema
        target = (
            identifier(name.event_type)
            if name.corrections != LATEST
            else f"{LATEST}.{identifier(name.event_type)}"
        )
        shown = shown_columns(schema, attributes_named(query.text, name.event_type))
        wanted[target] = pa.schema([stored_schema(schema).field(column) for column in shown])
    empty = _empty_database()
    with empty.turn:
        empty.hold(wanted)
        yield empty.connection


class _Empty:
    """A locked database of empty tables: ``events``, and those that were asked for last.

    Attributes:
        connection: To it.
        turn: Held by whoever uses it.
    """

    def __init__(self) -> None:
        columns = ", ".join(
            f"{name} {_SHADOW_TYPES.get(name, 'VARCHAR')}" for name in EVENT_COLUMNS
        )
        self.connection = open_database(resources=Resources(threads=1))
        self.turn = threading.Lock()
        self._held: dict[str, pa.Schema] = {}
        self.connection.execute(f"CREATE TABLE events ({columns})")
        self.connection.execute(f"CREATE SCHEMA {LATEST}")

    def hold(self, wanted: Mapping[str, pa.Schema]) -> None:
        """Has these tables beside ``events``, and no others."""
        for target in [
            target for target, schema in self._held.items() if wanted.get(target) != schema
        ]:
            self.connection.execute(f"DROP TABLE {target}")
            del self._held[target]
        for target, schema in wanted.items():
            if target not in self._held:
                self.connection.register("rows of it", schema.empty_table())
                self.connection.execute(f'CREATE TABLE {target} AS SELECT * FROM "rows of it"')
                self.connection.unregister("rows of it")
                self._held[target] = schema


_empty_database = CACHES.per_process(_Empty)
"""Opening a database takes longer than all that is asked of it."""


def reads_clock(query: Query) -> bool:
    """Whether the query can see a ``recorded_at``: the column itself, or ``time`` where an event without one stands in the history.

    Asked of DuckDB's bound plan over empty tables. What cannot be planned so (some queries with
    parameters) counts as reading it.
    """
    history = query.history
    with shadow(query) as connection:
        written = connection.execute(PLAN, [query.text]).fetchall()[0][0]
    try:
        plan = json.loads(written)
        if plan.get("error"):
            return True
        seen = _columns_read(plan, frozenset(history.catalogue.types))
    except RecursionError:
        return True
    return bool({"recorded_at", _ELSEWHERE} & seen) or ("time" in seen and history.undated)


def _columns_read(node: Any, types: frozenset[str]) -> set[str]:
    """The columns of ``events`` and event tables that a serialised plan reads anywhere; ``_ELSEWHERE`` for DuckDB's own catalogue."""
    if isinstance(node, list):
        return set().union(*(_columns_read(item, types) for item in node))
    if not isinstance(node, dict):
        return set()
    columns = _columns_read(list(node.values()), types)
    if node.get("type") != "LOGICAL_GET":
        return columns
    table = node.get("function_data", {}).get("table")
    if table == "events" or table in types:
        names = node["names"]
        return columns | {
            names[reference["index"]]
            for reference in node["column_indexes"]
            if reference["index"] < len(names)
        }
    known = table == "spine" or node["qname"]["path"][-1] in _PURE_TABLE_FUNCTIONS
    return columns if known else columns | {_ELSEWHERE}
