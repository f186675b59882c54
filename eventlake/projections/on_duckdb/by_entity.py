"""SQL by entity: proves that rows depend on one entity, lists entities, and makes buckets."""

from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.core.sql import folded, identifier, integer
from eventlake.database import open_database, tree_of
from eventlake.errors import InvalidProjectionError
from eventlake.exactness.on_duckdb.carriers import Carriers
from eventlake.exactness.on_duckdb.locality import carriers_of
from eventlake.history.sql.duckdb_views import ENTITY, EntityFilter, connect, create_given
from eventlake.history.sql.result import normal_zone
from eventlake.history.sql.tables_read import reads_table, views_read
from eventlake.projections.computation import Computation, EntityColumns
from eventlake.projections.on_duckdb.exact import plan_of
from eventlake.projections.on_duckdb.run import FIXED, bound


def entity_columns(computation: Computation) -> EntityColumns:
    """The columns of the entity, if each row depends on one entity alone.

    Raises:
        InvalidProjectionError: Rows depend on several entities; every reason is given.
    """
    projection, query = computation.projection, computation.query
    name, by = projection.name, projection.by or ""
    with bound(query) as connection:
        columns = connection.sql(query.text, params=dict(query.parameters) or None).columns
        try:
            plan = plan_of(connection, query.text, tree_of(query.text), query.parameters)
            found, reasons = carriers_of(plan, by, projection.spine_entity)
        except (RecursionError, LookupError, TypeError, AttributeError) as error:
            found, reasons = Carriers(), [f"its plan is not understood: {error!r}"]
    if reasons:
        message = (
            f"projection {name} is declared by {by}, but its rows do not depend on one {by} at a "
            f"time: {'; '.join(reasons)}"
        )
        raise InvalidProjectionError(
            message, "correct the query, or leave out by=.", projection=name
        )
    holding, spine_rows = (
        tuple(columns[place] for place in sorted(places))
        for places in (found.holding, found.spine_rows)
    )
    return EntityColumns(holding, spine_rows)


def entities(computation: Computation, since: int = 0) -> pa.Table:
    """The distinct entities of the tables that a query reads; see ``Kind.entities``.

    Args:
        computation: Names the entity columns.
        since: Only entities with events from this sequence on; the spine is then ignored.
    """
    projection, history, spine = computation.projection, computation.history, computation.spine
    query, by = computation.query.text, projection.by or ""
    tables = views_read(query, history.catalogue)
    if since and folded(by) == "subject":
        # Every event has a subject, so one column of the newest segments is enough.
        new = [stretch for stretch in history.stretches if stretch.stop > since]
        subjects = [
            history.read(one, ["subject"])
            .column("subject")[max(since - one.segment.start, 0) :]
            .unique()
            for one in new
        ]
        return pa.table({ENTITY: pa.chunked_array(subjects, pa.string()).unique()})
    with connect(history, query) as connection:
        later = f" WHERE sequence >= {integer(since)}" if since else ""
        column = f"{identifier(by)} AS {identifier(ENTITY)}"
        # DISTINCT in each part: a query that reads one table has no UNION that removes repetitions.
        each = [f"SELECT DISTINCT {column} FROM {table}{later}" for table in tables]
        if spine is not None and not since and reads_table(query, "spine"):
            connection.register("spine", spine)
            column = f"{identifier(projection.spine_entity)} AS {identifier(ENTITY)}"
            # UNION removes repeated entities.
            each.append(f"SELECT {column} FROM spine")
        if not each:
            return pa.table({ENTITY: pa.array([], pa.string())})
        return rows_of(connection.sql(" UNION ".join(each)))


def bucketed(chosen: pa.Table, count: int) -> pa.Table:
    """Entities with the 0-based number of their bucket as ``bucket``.

    The number is the first 60 bits of the SHA-256 of the entity's text, big-endian, modulo
    ``count``; 0 for null.
    """
    with open_database() as connection:
        connection.register("chosen", chosen)
        entity = identifier(ENTITY)
        number = (
            # Fifteen hex digits are the most that fit a positive BIGINT. The hash is of the text,
            # so that an entity has the same bucket on every machine.
            f"coalesce(('0x' || sha256({entity}::VARCHAR)[1:15])::BIGINT % {integer(count)}, 0)"
        )
        return rows_of(connection.sql(f"SELECT {entity}, {number} AS bucket FROM chosen"))


def in_bucket(chosen: pa.Table, number: int) -> pa.Table:
    """The entities of one bucket of ``bucketed``, as one column ``ENTITY``."""
    return chosen.filter(pc.equal(chosen.column("bucket"), number)).select([ENTITY])


def rows_of(relation: Any) -> pa.Table:
    """The rows of a DuckDB relation, with instants in UTC."""
    return normal_zone(relation.to_arrow_table())


class OneEntity:
    """A query over the rows of one entity, which can be run without one of its events.

    Args:
        computation: A computation whose rows depend on one entity at a time.
        entity: One row of ``ENTITY``.
    """

    def __init__(self, computation: Computation, entity: pa.Table) -> None:
        projection, history, query = (
            computation.projection,
            computation.history,
            computation.query,
        )
        self._query = query.text
        self._parameters = dict(query.parameters)
        only = EntityFilter(projection.by or "", projection.spine_entity, entity)
        # Binding checks that an archived query, which may be untrusted, is one SELECT over the
        # history.
        with bound(query):
            pass
        self._connection = connect(history, self._query, FIXED, only)
        if computation.spine is not None:
            create_given(self._connection, "spine", computation.spine, only)
        self._tables = views_read(self._query, history.catalogue)
        for number, table in enumerate(self._tables):
            # The rows are copied once, because the query runs again for each event that is left
            # out.
            kept = identifier(f"rows {number}")
            self._connection.execute(f"CREATE TABLE {kept} AS SELECT * FROM {table}")
            without = (
                f"SELECT * FROM {kept} "
                # A variable, because a view cannot have parameters.
                "WHERE sequence IS DISTINCT FROM getvariable('left_out')::BIGINT"
            )
            self._connection.execute(f"CREATE OR REPLACE VIEW {table} AS {without}")

    def events(self) -> pl.DataFrame:
        """The events of the entity that the projection reads, in sequence order.

        Columns: ``sequence``, ``time``, ``id``.
        """
        each = [
            f"SELECT sequence, time, id FROM {identifier(f'rows {number}')}"
            for number in range(len(self._tables))
        ]
        if not each:
            return pl.DataFrame(
                schema={"sequence": pl.Int64, "time": pl.Datetime("us", "UTC"), "id": pl.String}
            )
        return pl.DataFrame(
            rows_of(
                self._connection.sql(
                    f"SELECT DISTINCT * FROM ({' UNION ALL '.join(each)}) ORDER BY sequence"
                )
            )
        )

    def rows(self, *, without: int | None = None) -> pa.Table:
        """The rows as the engine returns them, computed without the event of a sequence."""
        self._connection.execute(
            f"SET VARIABLE left_out = {'NULL' if without is None else integer(without)}"
        )
        return rows_of(self._connection.sql(self._query, params=self._parameters or None))

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
