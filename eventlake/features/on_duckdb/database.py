"""The database of the DuckDB engine, which is cached for the next build."""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.core.names import AS_RECORDED, LATEST
from eventlake.core.sql import identifier, integer
from eventlake.database import Resources, open_database
from eventlake.features.on_duckdb.events import BELONGS_TABLE, value_of
from eventlake.features.planned.early import RECORDED, Recorded
from eventlake.features.planned.entity_keys import Integers, Scale, places_of
from eventlake.features.planned.plan import Plan
from eventlake.features.planned.sources import Source
from eventlake.history.sql.duckdb_views import create_lifetimes, create_table, files_of
from eventlake.history.sql.tables_read import TableName

_OURS = "ours"
"""Schema of our tables, first in the search path: event types in ``main`` may share their names."""
_OPEN_BYTES = 128 << 20
"""Size of an empty database in the cache: few are cached, as each has threads of its own."""


def numbered(entities: pa.Array) -> tuple[pa.Table, Integers]:
    """Entities in the order of their names, and the number there of each given one.

    Returns:
        ``name``, and ``entity``, its number; the numbers in the given order, and one more for rows
        without an entity.
    """
    # Sorted, because a cached database serves only equal entities with equal numbers.
    order = pc.sort_indices(entities)
    numbers = np.empty(len(order) + 1, np.int64)
    numbers[order.to_numpy()] = np.arange(len(order))
    numbers[-1] = len(order)
    names = entities.take(order)
    return pa.table({"name": names, "entity": pa.array(np.arange(len(names)))}), numbers


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The events of a stream by entity and time.

    Attributes:
        times: Keys of their entities and times, ascending.
        recorded: When they were recorded.
    """

    times: Scale
    recorded: Recorded

    @property
    def size_bytes(self) -> int:
        """Size in bytes."""
        return self.times.keys.nbytes + self.recorded.size_bytes


class Tables:
    """A database with the event tables of a plan, and tables that are computed from them once.

    Args:
        plan: The plan.
        by_type: The event tables, by type.
        entities: Entities and their numbers (see ``numbered``); becomes the table ``names``.

    Attributes:
        entities: Entities and their numbers.
        connection: The connection to the database.
        names: Names of computed tables by their query, in the order of creation.
    """

    def __init__(self, plan: Plan, by_type: Mapping[str, Source], entities: pa.Table) -> None:
        self.entities = entities
        # Every query orders its rows, and reads a file once.
        files = files_of(source.table for source in by_type.values())
        self.connection = open_database(files, Resources(ordered=False, file_cache=False))
        for name, source in by_type.items():
            create_table(
                self.connection,
                source.table,
                TableName(name, AS_RECORDED if plan.known_at_cutoff else LATEST),
            )
            if source.until is not None:
                create_lifetimes(self.connection, name, source.until)
            if source.belongs is not None:
                self.connection.register(BELONGS_TABLE, source.belongs.to_arrow())
        self.connection.register("entities", entities)
        self.connection.execute(f"CREATE SCHEMA {_OURS}; SET search_path = '{_OURS},main'")
        self._create("names", "FROM entities")
        # The copy stays; the caller's memory is released.
        self.connection.unregister("entities")
        self.names: dict[str, str] = {}
        self._sorted: dict[str, _Sorted] = {}

    @property
    def size_bytes(self) -> int:
        """Approximate size in bytes."""
        in_order = sum(one.size_bytes for one in self._sorted.values())
        return (
            _OPEN_BYTES
            + in_order
            + int(
                self.connection.execute(
                    "SELECT sum(memory_usage_bytes) FROM duckdb_memory()"
                ).fetchall()[0][0]
            )
        )

    def ask(self, codes: Integers, cutoffs: Integers) -> None:
        """Replace the table ``rows``.

        Args:
            codes: Numbers of the entities of the rows; that of no entity is null there.
            cutoffs: Cutoffs of the rows.
        """
        columns = {
            "spine_row": np.arange(len(codes)),
            "entity": pa.array(codes, mask=codes == len(self.entities)),
            "c": cutoffs,
        }
        self.connection.register("asked", pa.table(columns))
        self._create("rows", "FROM asked")
        self.connection.unregister("asked")

    def split_rows(self, events: str, most_pairs: int) -> list[int]:
        """Make the table ``pieces``: the rows, each with the number of its piece.

        Args:
            events: Name of the table of a stream's events.
            most_pairs: Pairs of a row and an event in a piece, except for those of a single row.

        Returns:
            The numbers, ascending.
        """
        counts = f"(SELECT entity, count(*) AS events FROM {events} GROUP BY entity)"
        # A running sum of pairs cut into equal parts: a piece exceeds them only by its last row.
        pairs = "coalesce(sum(events) OVER (ORDER BY entity, c, spine_row), 0)::BIGINT"
        self._create(
            "pieces",
            f"SELECT spine_row, entity, c, {pairs} // {integer(most_pairs)} AS piece "
            f"FROM rows LEFT JOIN {counts} USING (entity)",
        )
        found = self.connection.execute("SELECT DISTINCT piece FROM pieces ORDER BY piece")
        return [piece for (piece,) in found.fetchall()]

    def early(
        self, events: str, codes: Integers, cutoffs: Integers
    ) -> tuple[npt.NDArray[np.bool_], Integers]:
        """Which rows see events early, and the sequences of these events.

        Args:
            events: Name of the table of a stream's events, with ``RECORDED``.
            codes: As for ``ask``.
            cutoffs: As for ``ask``.
        """
        if events not in self._sorted:
            self._sorted[events] = self._in_order(events)
        found = self._sorted[events]
        places = places_of(found.times.keys, found.times.probe(codes, cutoffs))
        return found.recorded.after(codes, cutoffs, places)

    def _in_order(self, events: str) -> _Sorted:
        """The events of a stream by entity and time, by which they are found faster."""
        columns = f"SELECT entity, t, {value_of(RECORDED)}, sequence FROM {events}"
        codes, times, recorded, sequences = _columns(self.connection.sql(columns))
        every = len(self.entities) + 1
        scale = Scale(codes, times, every)
        order = scale.sort()
        return _Sorted(scale, Recorded(codes[order], recorded[order], sequences[order], every))

    def materialize(self, query: str) -> str:
        """Create the table of a query, unless it exists.

        Args:
            query: Over the event tables, ``names``, and other tables that were created so. It must
                not read ``rows``, which change with every build.

        Returns:
            The table's name.
        """
        if query not in self.names:
            self.names[query] = self._create(identifier(f"made {len(self.names)}"), query)
        return self.names[query]

    def forget(self, first: int) -> None:
        """Drop computed tables, except for the ``first`` ones."""
        while len(self.names) > first:
            # The newest first: it may be computed from older ones.
            _, name = self.names.popitem()
            self.connection.execute(f"DROP TABLE {_OURS}.{name}")

    def _create(self, name: str, query: str) -> str:
        self.connection.execute(f"CREATE OR REPLACE TABLE {_OURS}.{name} AS {query}")
        return name


def _columns(found: duckdb.DuckDBPyRelation) -> list[Integers]:
    return [np.asarray(column) for column in found.to_arrow_table().columns]


def register_spine(connection: duckdb.DuckDBPyConnection, plan: Plan, spine: pa.Table) -> None:
    """Make the view ``spine``, of two columns: DuckDB refuses names that differ by case alone."""
    connection.register(
        "spine", spine.select(["spine_row", plan.features.spine_entity, plan.features.cutoff])
    )
