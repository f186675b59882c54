"""By entity: which entities a query reads, into which buckets they fall, and whether it is a function of one entity's rows at a time."""

import json
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from eventlake.core.sql import SAFE, identifier
from eventlake.errors import InvalidProjectionError
from eventlake.exactness.locality import Carrier, carrier_of
from eventlake.history.duckdb_sql import ENTITY, connect, normal_zone, reads_spine, views_read
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.definition import Projection
from eventlake.projections.duckdb_runner import PLAN, bound
from eventlake.projections.exact import with_values


@dataclass(frozen=True, slots=True)
class Carried:
    """The columns of a projection's rows that say which entity a row is about.

    Attributes:
        holding: Those that hold it.
        spine_rows: Those that hold the number of a row of the spine.
    """

    holding: tuple[str, ...]
    spine_rows: tuple[str, ...]


def carrier(projection: Projection, history: PinnedHistory, spine: pa.Table | None) -> Carried:
    """Which columns of the rows carry their entity, where the query is a function of one entity's rows at a time.

    Raises:
        InvalidProjectionError: It is not; every reason is given.
    """
    name, by, parameters = projection.name, projection.by or "", projection.parameters
    query = projection.sources[projection.entry]
    with bound(name, query, history, spine, parameters) as connection:
        tree = json.loads(connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0][0])
        plain = with_values(query, tree, parameters)
        columns = connection.sql(query, params=dict(parameters) or None).columns
        written = connection.execute(PLAN, [plain]).fetchall()[0][0]
    try:
        found, reasons = carrier_of(json.loads(written), by)
    except (RecursionError, LookupError, TypeError, AttributeError) as error:
        found, reasons = Carrier(), [f"its plan is not understood: {error!r}"]
    if reasons:
        message = f"projection {name} is declared by {by}, and is no function of one {by}'s rows at a time: {'; '.join(reasons)}"
        raise InvalidProjectionError(message, "correct the query, or leave out by=.", projection=name)
    return Carried(*(tuple(columns[place] for place in sorted(kind)) for kind in (found.holding, found.spine_rows)))


def entities(query: str, history: PinnedHistory, spine: pa.Table | None, by: str, since: int = 0) -> pa.Table:
    """The entities of the tables that a query reads: one column ``ENTITY``, each once, in no order; null may be one of them.

    Args:
        query: One SELECT.
        history: What it reads.
        spine: With ``spine_row`` in front; looked at where nothing is left out.
        by: The column that names the entity, in each of them.
        since: Only those of events from this sequence on.
    """
    connection, _ = connect(history, query)
    with connection:
        tables = views_read(query, history.catalogue)
        later = f" WHERE sequence >= {since}" if since else ""
        each = [f"SELECT {identifier(by)} AS {identifier(ENTITY)} FROM {table}{later}" for table in tables]  # noqa: S608 - quoted
        if spine is not None and not since:
            connection.register("spine", spine)
            each += [f"SELECT {identifier(by)} FROM spine"] if reads_spine(query) else []  # noqa: S608 - quoted
        return rows_of(connection.sql(" UNION ".join(each))) if each else pa.table({ENTITY: pa.array([], pa.string())})


def bucketed(chosen: pa.Table, count: int) -> pa.Table:
    """Entities with the number of their bucket, ``bucket`` from 0.

    It is the first 60 bits of the SHA-256 of the entity's text, big-endian, modulo ``count``; 0 for null.
    """
    with duckdb.connect(":memory:", config=dict(SAFE)) as connection:
        connection.register("chosen", chosen)
        entity = identifier(ENTITY)
        number = f"coalesce(('0x' || sha256({entity}::VARCHAR)[1:15])::BIGINT % {count}, 0)"
        return rows_of(connection.sql(f"SELECT {entity}, {number} AS bucket FROM chosen"))  # noqa: S608 - numbers and names of ours


def rows_of(relation: Any) -> pa.Table:
    """The rows of a relation of DuckDB's."""
    return normal_zone(relation.to_arrow_table())
