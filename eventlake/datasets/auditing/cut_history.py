"""Runs a projection for some rows of a spine over the history before their cutoff.

The history is cut before the projection sees it: tables have only the events that happened and,
unless hindsight is asked for, were recorded strictly before the cutoff, with the corrections of
then. Declared features are compiled as if everything in it were known, so that the engines' own
handling of ``known`` is tested rather than trusted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import duckdb
import pyarrow as pa

from eventlake.columns.hashing.content import normalise
from eventlake.core.names import AS_RECORDED, LATEST, OURS
from eventlake.core.sql import identifier, integer
from eventlake.database import check_select, open_database
from eventlake.features.feature_set import FeatureSet
from eventlake.features.look_up import answered
from eventlake.features.on_duckdb.events import BELONGS_TABLE
from eventlake.features.planned.plan import compiled
from eventlake.features.planned.sources import related
from eventlake.history import polars_scan
from eventlake.history.corrections import SPOKE, UNTIL
from eventlake.history.pinned import PinnedHistory
from eventlake.history.sql.duckdb_views import create_events, create_table, files_of
from eventlake.history.sql.tables_read import TableName, attributes_named, reads_table, tables_read
from eventlake.projections.computation import Computation
from eventlake.projections.kinds import kind_of
from eventlake.projections.on_duckdb.run import bound
from eventlake.tables.columns import NAMED

Rebuild = Callable[[pa.Table, int], pa.Table]
"""Computes the rows of a part of the spine, from the events before an instant in microseconds."""


@contextmanager
def rebuild_before(computation: Computation, known: str) -> Iterator[Rebuild]:
    """Yield a function that computes rows from the history before an instant.

    Args:
        computation: Declared features, or SQL over a spine.
        known: ``cutoff`` if an event must have been recorded before the instant; ``watermark`` if
            it only must have happened before it.
    """
    projection, history = computation.projection, computation.history
    features = kind_of(projection).features(projection)
    if features is not None:
        yield from _rebuild_features(features, history, known)
        return
    yield from _rebuild_sql(computation, known)


def _rebuild_features(
    features: FeatureSet, history: PinnedHistory, known: str
) -> Iterator[Rebuild]:
    # All of the cut history is known.
    plan = compiled(replace(features, known="watermark"), history.catalogue)
    names = [TableName(name, LATEST) for name in plan.columns]
    with _database(history, names, known, events=False) as connection:
        if plan.related:
            as_known = compiled(replace(features, known=known), history.catalogue)
            connection.register(BELONGS_TABLE, related(as_known, history).to_arrow())

        def look_up(part: pa.Table, cutoff: int) -> pa.Table:
            # A variable, because views cannot have parameters.
            connection.execute(f"SET VARIABLE cutoff = {integer(cutoff)}")
            return answered(connection, plan, part)

        yield look_up


def _rebuild_sql(computation: Computation, known: str) -> Iterator[Rebuild]:
    projection, history = computation.projection, computation.history
    query = computation.query.text
    # Binding checks that an archived query, which may be untrusted, is one SELECT over the history.
    with bound(computation.query):
        pass
    names, events = tables_read(query, history.catalogue), reads_table(query, "events")
    with _database(history, names, known, events=events, query=query) as connection:
        connection.register("part of the spine", computation.spine)
        connection.execute('CREATE TABLE spine AS SELECT * FROM "part of the spine" LIMIT 0')

        def run(part: pa.Table, cutoff: int) -> pa.Table:
            connection.execute(f"SET VARIABLE cutoff = {integer(cutoff)}")
            connection.execute("DELETE FROM spine")
            connection.register("part of the spine", normalise(part))
            connection.execute('INSERT INTO spine SELECT * FROM "part of the spine"')
            return connection.sql(
                check_select(query), params=dict(projection.parameters) or None
            ).to_arrow_table()

        yield run


def _database(
    history: PinnedHistory,
    names: list[TableName],
    known: str,
    *,
    events: bool,
    query: str | None = None,
) -> duckdb.DuckDBPyConnection:
    """A database whose event tables end before the variable ``cutoff``, in microseconds."""
    tables = history.tables(dict.fromkeys(name.event_type for name in names))
    connection = open_database(
        [*(history.locations() or [] if events else []), *files_of(tables.values())]
    )
    in_time = "epoch_us(time) < getvariable('cutoff')::BIGINT"
    if known == "cutoff":
        in_time += " AND epoch_us(recorded_at) < getvariable('cutoff')::BIGINT"
    if events:
        create_events(connection, history)
        _cut_view(connection, "events", "events", f"SELECT * FROM {{kept}} WHERE {in_time}")
    for number, (event_type, table) in enumerate(tables.items()):
        attributes = NAMED if query is None else attributes_named(query, event_type)
        target = identifier(event_type)
        wanted = {name.corrections for name in names if name.event_type == event_type}
        if known == "cutoff":
            create_table(
                connection, table, TableName(event_type, AS_RECORDED), attributes=attributes
            )
            plain = identifier(f"{OURS}plain {number}")
            connection.execute(f"ALTER VIEW {target} RENAME TO {plain}")
            _cut_view(connection, plain, target, f"SELECT * FROM {{kept}} WHERE {in_time}")
            if LATEST in wanted:
                connection.register(
                    f"{OURS}until {number}", polars_scan.lifetimes(table).to_arrow()
                )
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {LATEST}")
                end, spoke = identifier(UNTIL), identifier(SPOKE)
                # An event is superseded from the instant at which its correction was recorded.
                valid = (
                    f"coalesce({spoke}, true) AND ({end} IS NULL "
                    f"OR epoch_us({end}) >= getvariable('cutoff')::BIGINT)"
                )
                join = (
                    f'SELECT kept.* FROM {{kept}} AS kept LEFT JOIN "{OURS}until {number}" '
                    f"USING (source, id) WHERE {in_time} AND {valid}"
                )
                _cut_view(connection, plain, f"{LATEST}.{target}", join)
        else:
            for corrections in sorted(wanted):
                create_table(
                    connection, table, TableName(event_type, corrections), attributes=attributes
                )
                placed = f"{LATEST}.{target}" if corrections == LATEST else target
                _cut_view(connection, placed, placed, f"SELECT * FROM {{kept}} WHERE {in_time}")
    return connection


def _cut_view(connection: duckdb.DuckDBPyConnection, source: str, target: str, query: str) -> None:
    """Copy a view's rows to a table, and replace ``target`` by a view of some of them."""
    kept = identifier(f"{OURS}all of {target}")
    # Copied once: the view is read again for every cutoff.
    connection.execute(f"CREATE TABLE {kept} AS SELECT * FROM {source}")
    connection.execute(f"CREATE OR REPLACE VIEW {target} AS {query.format(kept=kept)}")
