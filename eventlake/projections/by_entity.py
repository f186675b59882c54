"""By entity: which entities a query reads, into which buckets they fall, and whether it is a function of one entity's rows at a time."""

from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.core.sql import folded, identifier, integer
from eventlake.database import open_database, tree_of
from eventlake.errors import InvalidProjectionError
from eventlake.exactness.on_duckdb.locality import EntityPlaces, carrier_of
from eventlake.history.pinned import PinnedHistory
from eventlake.history.sql.duckdb_views import (
    ENTITY,
    EntityFilter,
    connect,
    create_given,
    normal_zone,
    reads_table,
    views_read,
)
from eventlake.projections.on_duckdb.exact import plan_of
from eventlake.projections.on_duckdb.run import FIXED, bound
from eventlake.projections.projection import Projection


@dataclass(frozen=True, slots=True)
class EntityColumns:
    """The columns of a projection's rows that say which entity a row is about.

    Attributes:
        holding: Those that hold it.
        spine_rows: Those that hold the number of a row of the spine.
    """

    holding: tuple[str, ...]
    spine_rows: tuple[str, ...]


def carrier(
    projection: Projection, history: PinnedHistory, spine: pa.Table | None
) -> EntityColumns:
    """Which columns of the rows carry their entity, where the projection is a function of one entity's rows at a time.

    Declared features are that by construction, and SQL where its plan says so.

    Raises:
        InvalidProjectionError: It is not; every reason is given.
    """
    if projection.kind == "features":
        return EntityColumns((), projection.key)
    name, by, parameters = projection.name, projection.by or "", projection.parameters
    query = projection.sources[projection.entry]
    with bound(name, query, history, spine, parameters) as connection:
        columns = connection.sql(query, params=dict(parameters) or None).columns
        try:
            found, reasons = carrier_of(
                plan_of(connection, query, tree_of(query), parameters), by, projection.spine_entity
            )
        except (RecursionError, LookupError, TypeError, AttributeError) as error:
            found, reasons = EntityPlaces(), [f"its plan is not understood: {error!r}"]
    if reasons:
        message = f"projection {name} is declared by {by}, and is no function of one {by}'s rows at a time: {'; '.join(reasons)}"
        raise InvalidProjectionError(
            message, "correct the query, or leave out by=.", projection=name
        )
    return EntityColumns(
        *(
            tuple(columns[place] for place in sorted(kind))
            for kind in (found.holding, found.spine_rows)
        )
    )


def entities(
    projection: Projection, history: PinnedHistory, spine: pa.Table | None, since: int = 0
) -> pa.Table:
    """The entities of the tables that a projection reads: one column ``ENTITY``, each once, in no order; null may be one of them.

    Args:
        projection: Says the columns that name the entity; of features, those of the spine's rows are all that count.
        history: What it reads.
        spine: With ``spine_row`` in front; looked at where nothing is left out.
        since: Only those of events from this sequence on.
    """
    if projection.kind == "features" and spine is not None:
        return pa.table({ENTITY: spine.column(projection.spine_entity).unique()})
    query, by = projection.sources[projection.entry], projection.by or ""
    tables = views_read(query, history.catalogue)
    if since and folded(by) == "subject":
        # Every event has one: those of the newest segments say enough, and are the fewest to read.
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
        each = [
            f"SELECT DISTINCT {identifier(by)} AS {identifier(ENTITY)} FROM {table}{later}"
            for table in tables
        ]
        if spine is not None and not since and reads_table(query, "spine"):
            connection.register("spine", spine)
            each.append(
                f"SELECT {identifier(projection.spine_entity)} AS {identifier(ENTITY)} FROM spine"
            )
        return (
            rows_of(connection.sql(" UNION ".join(each)))
            if each
            else pa.table({ENTITY: pa.array([], pa.string())})
        )


def bucketed(chosen: pa.Table, count: int) -> pa.Table:
    """Entities with the number of their bucket, ``bucket`` from 0.

    It is the first 60 bits of the SHA-256 of the entity's text, big-endian, modulo ``count``; 0 for null.
    """
    with open_database() as connection:
        connection.register("chosen", chosen)
        entity = identifier(ENTITY)
        number = (
            f"coalesce(('0x' || sha256({entity}::VARCHAR)[1:15])::BIGINT % {integer(count)}, 0)"
        )
        return rows_of(connection.sql(f"SELECT {entity}, {number} AS bucket FROM chosen"))


def in_bucket(chosen: pa.Table, number: int) -> pa.Table:
    """Those of ``bucketed`` that are in one bucket: one column ``ENTITY``."""
    return chosen.filter(pc.equal(chosen.column("bucket"), number)).select([ENTITY])


def rows_of(relation: Any) -> pa.Table:
    """The rows of a relation of DuckDB's."""
    return normal_zone(relation.to_arrow_table())


class OneEntity:
    """A projection over the rows of one entity, which can be run with one event left out.

    Args:
        projection: Proved to be by entity.
        history: What it reads.
        spine: With ``spine_row`` in front.
        entity: One row of ``ENTITY``.
    """

    def __init__(
        self,
        projection: Projection,
        history: PinnedHistory,
        spine: pa.Table | None,
        entity: pa.Table,
    ) -> None:
        self._query = projection.sources[projection.entry]
        self._parameters = dict(projection.parameters)
        only = EntityFilter(projection.by or "", projection.spine_entity, entity)
        with bound(projection.name, self._query, history, spine, projection.parameters):
            pass  # what is archived may have been written by anybody: it is one SELECT over the history
        self._connection = connect(history, self._query, FIXED, only)
        if spine is not None:
            create_given(self._connection, "spine", spine, only)
        self._tables = views_read(self._query, history.catalogue)
        for number, table in enumerate(self._tables):
            kept = identifier(f"rows {number}")
            self._connection.execute(f"CREATE TABLE {kept} AS SELECT * FROM {table}")
            without = f"SELECT * FROM {kept} WHERE sequence IS DISTINCT FROM getvariable('left_out')::BIGINT"
            self._connection.execute(f"CREATE OR REPLACE VIEW {table} AS {without}")

    def events(self) -> pl.DataFrame:
        """What the projection reads of the entity, each event once: ``sequence``, ``time``, ``id``, in sequence order."""
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
        """The projection's rows, as its engine returns them, as if the event ``without`` had never been."""
        self._connection.execute(
            f"SET VARIABLE left_out = {'NULL' if without is None else integer(without)}"
        )
        return rows_of(self._connection.sql(self._query, params=self._parameters or None))

    def close(self) -> None:
        """Ends the database."""
        self._connection.close()
