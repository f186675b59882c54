"""The events of an import in its database: ordered, checked as a whole, and read in batches."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq

from eventlake.columns.schema import INSTANT
from eventlake.core.attributes import ATTRIBUTES
from eventlake.core.instants import format_instant
from eventlake.core.sql import identifier, integer
from eventlake.importing.mapping import ImportMapping
from eventlake.importing.placed_rows import PlacedRows, stops_of
from eventlake.importing.problems import ImportProblem, Problems

_INSTANTS = ("time", "recorded_at")
_STEPS = 4_096
"""Steps of places whose sizes are counted: the files of a sort end at steps."""
_ROW_BYTES = 64
"""About what a row takes besides its text."""
_CORRECTED = "staged.events c JOIN staged.events t ON t.source = c.source AND t.id = c.corrects"
_CORRECTS_WRONG = (
    "CASE WHEN t.rowid >= c.rowid "
    "THEN 'expected an earlier event; the one it names comes later in the order of the input' "
    "WHEN t.type <> c.type "
    "THEN 'expected an event of the same type, the one it names has ' || t.type "
    "WHEN t.subject IS DISTINCT FROM c.subject "
    "THEN 'expected an event of the same subject, the one it names has ' "
    "|| coalesce(t.subject, 'none') END"
)
_REPEATED_IDS = (
    "SELECT block, row, source, id FROM staged.events WHERE (source, id) IN "
    "(SELECT (source, id) FROM staged.events GROUP BY source, id HAVING count(*) > 1) "
    "ORDER BY source, id, rowid"
)
_WITH_PREVIOUS = "staged.events e JOIN staged.events b ON b.rowid = e.rowid - 1"


class Staged:
    """Events in the order of the append: by time, ``[[events]]`` and keys, or in file order.

    Args:
        connection: The import's database.
        mapping: Defines the order.
        scratch: A folder for temporary files.
        most_bytes: Maximum bytes of events in memory, except for a single one's.

    Attributes:
        keys: Number of key columns.
        total: Number of events; 0 before ``arrange``.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        mapping: ImportMapping,
        scratch: Path,
        most_bytes: int,
    ) -> None:
        self._connection = connection
        self._mapping = mapping
        self._scratch = scratch
        self._most_bytes = most_bytes
        self._added = [0]
        self.keys = max(len(block.order) for block in mapping.events)
        self.total = 0
        self._key_names = [f"key{number}" for number in range(self.keys)]
        attributes = ", ".join(
            f"{name} {'BIGINT' if name == 'time' else 'VARCHAR'}" for name in ATTRIBUTES
        )
        keys = "".join(f", {name} VARCHAR" for name in self._key_names)
        # The database is new and ours: a schema of its own keeps these tables apart from those of
        # the mapping.
        connection.execute("CREATE SCHEMA staged")
        connection.execute(
            "CREATE TABLE staged.unordered "
            f"(block INTEGER, row BIGINT, recorded_at BIGINT, bytes BIGINT, {attributes}{keys})"
        )

    def add(self, events: pl.DataFrame) -> None:
        """Add events from ``events_of``; not many, because they are sorted as they are added."""
        texts = pl.sum_horizontal(_ROW_BYTES, cs.string().str.len_bytes().fill_null(0))
        self._added.append(self._added[-1] + events.height)
        self._connection.register(
            "more events", events.with_columns(texts.cast(pl.Int64).alias("bytes")).to_arrow()
        )
        self._connection.execute('INSERT INTO staged.unordered BY NAME FROM "more events"')
        self._connection.unregister("more events")

    def arrange(self) -> None:
        """Order the events, once all have been added."""
        if self._mapping.file_order and len(self._mapping.events) == 1:
            # Not sorted, because that would hold all of them in memory.
            self._connection.execute("ALTER TABLE staged.unordered RENAME TO events")
            self.total = self._count()
            return
        order = (
            "row, block"
            if self._mapping.file_order
            else ", ".join(["time NULLS FIRST", "block", *self._key_names])
        )
        held = self._connection.execute("SELECT sum(bytes) FROM staged.unordered").fetchall()
        if (held[0][0] or 0) <= self._most_bytes:
            # DuckDB numbers the rows of a new table in the order of the query.
            self._connection.execute(
                f"CREATE TABLE staged.events AS FROM staged.unordered ORDER BY {order}"
            )
            self._connection.execute("DROP TABLE staged.unordered")
        else:
            self._arrange_by_place(order)
        self.total = self._count()

    def _arrange_by_place(self, order: str) -> None:
        """Order more events than fit into memory: first their places, then the events by place."""
        self._connection.execute(
            "CREATE TABLE staged.sorted AS "
            f"SELECT rowid AS old, bytes FROM staged.unordered ORDER BY {order}, rowid"
        )
        step = -(-self._added[-1] // _STEPS)
        sizes = self._connection.execute(
            f"SELECT sum(bytes)::BIGINT FROM staged.sorted "
            f"GROUP BY rowid // {integer(step)} ORDER BY rowid // {integer(step)}"
        ).fetchall()
        # By the old number of an event, so that the places of some are one range.
        self._connection.execute(
            "CREATE TABLE staged.places AS SELECT rowid AS place FROM staged.sorted ORDER BY old"
        )
        self._connection.execute("DROP TABLE staged.sorted")
        placed = PlacedRows(
            self._scratch, stops_of([size for (size,) in sizes], step, self._most_bytes)
        )
        for start, stop in zip(self._added, self._added[1:], strict=False):
            places = self._read("place", start, stop, "places").column("place")
            placed.add(self._read("*", start, stop, "unordered"), np.asarray(places))
        self._connection.execute("CREATE TABLE staged.events AS FROM staged.unordered LIMIT 0")
        self._connection.execute("DROP TABLE staged.unordered; DROP TABLE staged.places")
        for events in placed.in_order():
            self._connection.register("more events", events)
            self._connection.execute('INSERT INTO staged.events BY NAME FROM "more events"')
            self._connection.unregister("more events")

    def _count(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM staged.events").fetchall()[0][0])

    def check(self, problems: Problems) -> None:
        """Check all events together: a total order, unique ids, non-decreasing ``recorded_at``."""
        if not self._mapping.file_order:
            self._check_ties(problems)
        repeated = self._connection.execute(_REPEATED_IDS).fetchall()
        for block, row, source, event_id in repeated:
            message = "expected (source, id) once in the whole input, found it several times"
            problems.add(ImportProblem(self._table(block), row, "id", message, (source, event_id)))
        for block, row, found, before in self._connection.execute(
            f"SELECT e.block, e.row, e.recorded_at, b.recorded_at FROM {_WITH_PREVIOUS} "
            "WHERE e.recorded_at < b.recorded_at ORDER BY e.rowid"
        ).fetchall():
            message = (
                "expected non-decreasing instants in the order of the events, "
                f"the event before has {format_instant(before)}"
            )
            problems.add(
                ImportProblem(
                    self._table(block), row, "recorded_at", message, format_instant(found)
                )
            )

        for block, row, corrects, message in self._connection.execute(
            f"SELECT c.block, c.row, c.corrects, {_CORRECTS_WRONG} AS wrong FROM {_CORRECTED} "
            "WHERE wrong IS NOT NULL ORDER BY c.rowid"
        ).fetchall():
            problems.add(ImportProblem(self._table(block), row, "corrects", message, corrects))

    def corrects_here(self, start: int, stop: int) -> set[int]:
        """The events of ``[start, stop)`` that correct another event of this input."""
        text = (
            f"SELECT c.rowid FROM {_CORRECTED} "
            f"WHERE c.rowid >= {integer(start)} AND c.rowid < {integer(stop)}"
        )
        return {int(number) for (number,) in self._connection.execute(text).fetchall()}

    def _check_ties(self, problems: Problems) -> None:
        # Events are sorted, so equal ones are neighbours.
        same = " AND ".join(
            f"e.{name} IS NOT DISTINCT FROM b.{name}"
            for name in ("block", "time", *self._key_names)
        )
        for block, row, other in self._connection.execute(
            f"SELECT e.block, e.row, b.row FROM {_WITH_PREVIOUS} WHERE {same} ORDER BY e.rowid"
        ).fetchall():
            rules = self._mapping.events[block]
            by = ", ".join(["time", *(key.column for key in rules.order)])
            message = (
                f"expected a total order, but by {by} nothing says "
                f"which of this row and row {min(row, other):,} comes first"
            )
            problems.add(
                ImportProblem(
                    rules.table, max(row, other), f"order of [[events]] {block + 1}", message
                )
            )

    def batches(self) -> Iterator[tuple[int, int]]:
        """Yield the bounds of the batches, of ``batch_events`` each."""
        size = self._mapping.batch_events
        for start in range(0, self.total, size):
            yield start, min(start + size, self.total)

    def parts(self, start: int, stop: int) -> Iterator[pa.Table]:
        """The events ``[start, stop)`` in tables of bounded bytes, with at least one event each."""
        held, sizes = 0, self._read("bytes", start, stop).column("bytes").to_pylist()
        for number, size in enumerate(sizes, start):
            if held and held + size > self._most_bytes:
                yield self.events(start, number)
                start, held = number, 0
            held += size
        if start < stop:
            yield self.events(start, stop)

    def batch(self, start: int, stop: int) -> pa.Table | Path:
        """The events ``[start, stop)`` for ``Lake.append``: a table, or a large batch's file.

        The file is replaced by that of the next large batch.
        """
        parts = self.parts(start, stop)
        first = next(parts)
        if first.num_rows == stop - start:
            return first
        file = self._scratch / "batch.parquet"
        with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
            writer.write_table(first)
            del first  # makes room for the next part
            for part in parts:
                writer.write_table(part)
        return file

    def events(self, start: int, stop: int) -> pa.Table:
        """The events ``[start, stop)`` with the columns of ``Lake.append``."""
        columns = ", ".join([*ATTRIBUTES, *(["recorded_at"] if self.is_copied else [])])
        table = self._read(columns, start, stop)
        for name in _INSTANTS:
            if name in table.column_names:
                index = table.schema.get_field_index(name)
                table = table.set_column(index, name, table.column(name).cast(INSTANT))
        return table

    def places(self, start: int, stop: int) -> list[tuple[str, int]]:
        """The tables and rows of the events ``[start, stop)``."""
        found = self._read("block, row", start, stop)
        return [
            (self._table(block), row)
            for block, row in zip(*(column.to_pylist() for column in found.columns), strict=True)
        ]

    @property
    def is_copied(self) -> bool:
        """Whether the mapping provides the instant at which events were recorded."""
        return any(block.recorded is not None for block in self._mapping.events)

    def _read(self, columns: str, start: int, stop: int, table: str = "events") -> pa.Table:
        text = (
            f"SELECT {columns} FROM staged.{identifier(table)} "
            f"WHERE rowid >= {integer(start)} AND rowid < {integer(stop)} ORDER BY rowid"
        )
        return self._connection.sql(text).to_arrow_table()

    def _table(self, block: int) -> str:
        return self._mapping.events[block].table
