"""Runs SQL projections in DuckDB.

Settings that can change rows are fixed and recorded: one thread, one memory limit. An exact
projection has none of them and runs on all cores. The database is locked down: it reads the history
and the spine, nothing else, in UTC.
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
from eventlake.core.names import LATEST, OURS
from eventlake.core.sql import identifier
from eventlake.database import Resources, check_select, open_database
from eventlake.errors import InvalidInputError, InvalidProjectionError
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
"""Settings of projections that are not exact, as recipes record them."""
FIXED = Resources(threads=1, memory="4GB")
"""The same settings as a database takes them."""
# Not optimized: over empty tables the optimizer puts an empty result in place of the tables.
PLAN = "SELECT json_serialize_plan(?, skip_null := true, skip_empty := true, optimize := false)"
_FEW = 1_000_000
"""Maximum events that are sorted to shuffle them."""
_HINTS = {
    "(TIMESTAMP WITH TIME ZONE -> TIME)": (
        "an instant has a time of day in a zone: write (time AT TIME ZONE 'UTC')::TIME."
    ),
    "In a DISTINCT aggregate, ORDER BY": (
        "order by the values themselves: string_agg(DISTINCT x, ',' ORDER BY x); or take each value"
        " once in a subquery, GROUP BY x with min(sequence), and order by that."
    ),
}
"""Hints by a part of DuckDB's error message."""
_ELSEWHERE = "<catalogue>"
_PURE_TABLE_FUNCTIONS = frozenset({"generate_series", "range", "unnest"})
_SHADOW_TYPES = {"sequence": "BIGINT", "time": "TIMESTAMPTZ", "recorded_at": "TIMESTAMPTZ"}


def prepare(query: Query, options: RunOptions = DEFAULT_OPTIONS) -> PreparedRun:
    """Prepare one SELECT over the history and the spine.

    Raises:
        InvalidProjectionError: It is not one SELECT, or DuckDB rejects it.
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
    """Run one SELECT over the history and the spine.

    Raises:
        InvalidProjectionError: DuckDB rejects the query, or it reads anything but the history and
            the spine.
        SchemaMismatchError: A dataset cannot hold the type of a column.
    """
    history, only = query.history, options.only
    # The query is first bound over empty tables, where there is no file to open: a segment that it
    # reads by its path could have events beyond the watermark.
    with bound(query) as empty:
        relation = empty.sql(query.text, params=dict(query.parameters) or None)
        names, types = relation.columns, relation.types
    # Before the query runs, which may take long.
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
        return select(connection, query.text, query.parameters, limits=options.limits)


def settings_of(level: str) -> dict[str, str | int | bool]:
    """The settings of projections of a level, as their recipes record them."""
    return {} if level == "exact" else dict(SETTINGS)


def _resources(query: Query, options: RunOptions) -> Resources:
    """The threads and memory of the database.

    Raises:
        InvalidProjectionError: The settings are not those that this version writes.
    """
    # Settings come from recipes, which may be untrusted.
    settings = SETTINGS if options.settings is None else options.settings
    # Types are compared too, because True equals 1 in Python.
    given = {key: (type(value), value) for key, value in settings.items()}
    if given not in ({}, {key: (type(value), value) for key, value in SETTINGS.items()}):
        message = (
            f"projection {query.name}: expected the settings {SETTINGS} or none, "
            f"found {str(dict(settings))[:200]}"
        )
        hint = "it was recorded by another version of eventlake, or altered; build it again."
        raise InvalidProjectionError(message, hint, projection=query.name)
    conditions = options.conditions
    if conditions != USUAL:
        return Resources(
            conditions.threads, conditions.memory_limit, ordered=not conditions.shuffled
        )
    return FIXED if given else Resources()


@contextmanager
def bound(query: Query) -> Iterator[duckdb.DuckDBPyConnection]:
    """Check that a query is one SELECT that DuckDB binds, and yield a database of empty tables.

    Raises:
        InvalidProjectionError: See ``run``.
    """
    with _refusing(query), shadow(query) as empty:
        empty.sql(query.text, params=dict(query.parameters) or None)
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
        own = next((own for part, own in _HINTS.items() if part in str(error)), written + hint)
        raise InvalidProjectionError(message, own, projection=name) from error
    except InvalidInputError as error:
        if isinstance(error, InvalidProjectionError):
            raise
        message = f"projection {name}: {error.message}"
        # DuckDB rewrites PIVOT into several statements; that hint says what to write instead.
        own = error.hint if error.hint and "PIVOT" in error.hint else hint
        raise InvalidProjectionError(message, own, **{**error.facts, "projection": name}) from error


def _shuffle(connection: duckdb.DuckDBPyConnection, *, few: bool) -> None:
    """Change the order of the rows of every table.

    Few events are copied to tables and sorted by hash. Sorting many would take too long: there, a
    half that is chosen by hash, without the first row, comes before the other half.
    """
    views = "SELECT schema_name, view_name, temporary FROM duckdb_views() WHERE NOT internal"
    for schema, view, temporary in connection.execute(views).fetchall():
        name = identifier(view) if temporary else f"{identifier(schema)}.{identifier(view)}"
        columns = [column for column, *_ in connection.execute(f"DESCRIBE {name}").fetchall()]
        # Lifetimes have neither.
        numbered = [column for column in ("spine_row", "sequence") if column in columns]
        order = identifier(numbered[0] if numbered else columns[0])
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
    """Yield a locked-down database with empty tables of the right columns, one at a time.

    A query that binds here reads nothing but the history and the spine.

    Raises:
        InvalidInputError: The query is not one SELECT that only reads and stays small.
    """
    # Here, because whoever binds or plans the query has the database from here. An archived query
    # may be a stranger's, and planning one that doubles with every line cannot be interrupted.
    check_select(query.text)
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
    """A locked-down database of empty tables: ``events``, and those of the last query.

    Attributes:
        connection: The connection to it.
        turn: The lock to hold while using it.
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
        """Create these tables beside ``events``, and drop all others."""
        # A list, because tables are dropped from the mapping on the way.
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
"""One database is reused: opening it takes longer than binding a query."""


def reads_clock(query: Query) -> bool:
    """Whether the rows can depend on ``recorded_at``.

    They can if the query reads that column, or ``time`` while some event of the history has none
    of its own. Found in DuckDB's bound plan over empty tables. A query that cannot be planned so
    (some with parameters) counts as reading it.
    """
    history = query.history
    with shadow(query) as connection:
        written = connection.execute(PLAN, [query.text]).fetchall()[0][0]
    try:
        plan = json.loads(written)
        # DuckDB cannot plan some parameters. Pinning the clock without need is harmless; not
        # pinning it would give two histories one recipe.
        if plan.get("error"):
            return True
        seen = _columns_read(plan, frozenset(history.catalogue.types))
    except RecursionError:
        return True
    return bool({"recorded_at", _ELSEWHERE} & seen) or ("time" in seen and history.undated)


def _columns_read(node: Any, types: frozenset[str]) -> set[str]:
    """The columns of event tables that a plan reads; ``_ELSEWHERE`` for DuckDB's own catalogue."""
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
            # Indexes beyond the names are virtual columns such as ``rowid``.
            for reference in node["column_indexes"]
            if reference["index"] < len(names)
        }
    known = table == "spine" or node["qname"]["path"][-1] in _PURE_TABLE_FUNCTIONS
    return columns if known else columns | {_ELSEWHERE}
