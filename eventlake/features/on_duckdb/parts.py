"""The parts of a plan on DuckDB: joined if rows and events make few pairs, else by strategy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from functools import partial

import duckdb
import pyarrow as pa

from eventlake.core.sql import integer
from eventlake.features.aggregates.part_kinds import JOINS, PLACES, TREES
from eventlake.features.engine_cache import ENGINE_CACHE
from eventlake.features.on_duckdb.along_edges import along_edges
from eventlake.features.on_duckdb.database import Tables, numbered, register_spine
from eventlake.features.on_duckdb.events import (
    events_of,
    is_counted,
    names_of,
    placed,
    rows_of,
    value_of,
)
from eventlake.features.on_duckdb.joins_and_trees import joined, treed
from eventlake.features.planned.asked import Asked
from eventlake.features.planned.early import RECORDED, Early
from eventlake.features.planned.entity_keys import Integers
from eventlake.features.planned.limits import LOOK_UP_LIMITS, LookUpLimits
from eventlake.features.planned.plan import Part, Plan, Stream
from eventlake.features.planned.sources import Source, check_sums
from eventlake.schemas.schema import FieldType

_TOGETHER = 100
"""Most parts in a query: DuckDB's time to plan one grows faster than their number."""


@contextmanager
def opened(
    plan: Plan,
    by_type: Mapping[str, Source],
    entities: pa.Array,
    limits: LookUpLimits = LOOK_UP_LIMITS,
    *,
    early: bool = False,
) -> Iterator[DuckDB]:
    """See ``Open``."""
    named, numbers = numbered(entities)
    identities = [(name, source.identity) for name, source in sorted(by_type.items())]
    # Parts of a table in memory have no identity by which another build could find them.
    key = (
        None
        if any(one is None for _, one in identities)
        else ("duckdb", plan.known_at_cutoff, *identities)
    )
    with ENGINE_CACHE.taken(key, named, lambda: Tables(plan, by_type, named)) as tables:
        yield DuckDB(plan, by_type, tables, numbers, limits, early)


@dataclass(frozen=True, slots=True)
class DuckDB:
    """See ``Engine``.

    Attributes:
        plan: The plan.
        by_type: The event tables, by type.
        tables: A database with the events.
        numbers: The number there of each entity.
        limits: Sizes by which parts are found.
        recorded: Whether rows may be asked for what they see early.
    """

    plan: Plan
    by_type: Mapping[str, Source]
    tables: Tables
    numbers: Integers
    limits: LookUpLimits
    recorded: bool

    def parts(self, asked: Asked, early: Early | None = None) -> dict[Part, pa.ChunkedArray]:
        """See ``Engine``."""
        made: dict[Part, pa.ChunkedArray] = {}
        codes = self.numbers[asked.codes]
        self.tables.ask(codes, asked.cutoffs)
        for stream, wanted in self.plan.parts_by_stream().items():
            events = self._events(stream, wanted)
            made |= self._parts_of(stream, wanted, events)
            if early is not None:
                early.add(stream.event_type, *self.tables.early(events, codes, asked.cutoffs))
        return made

    def _events(self, stream: Stream, wanted: Sequence[Part]) -> str:
        """The table of a stream's events."""
        columns = [part.column for part in wanted if part.column]
        columns += [RECORDED] if self.recorded else []
        can_expire = self.by_type[stream.event_type].can_expire
        return self.tables.materialize(events_of(self.plan, stream, columns, can_expire=can_expire))

    def _parts_of(
        self, stream: Stream, wanted: Sequence[Part], events: str
    ) -> dict[Part, pa.ChunkedArray]:
        plan, tables, source = self.plan, self.tables, self.by_type[stream.event_type]
        connection, kinds = tables.connection, plan.columns[stream.event_type]
        # Before anything is added up: afterwards an overflow would be the engine's error, and
        # differ.
        check_sums(plan, stream, wanted, partial(_bounds, connection, events, kinds))
        counting = {part.column for part in wanted if part.counts_values}
        plain = _without_nulls(connection, events, counting)
        # Counting a column without nulls is counting events, which all such columns share.
        alike = {
            part: replace(part, column="") if part.counts_values and part.column in plain else part
            for part in wanted
        }
        made: dict[Part, pa.ChunkedArray] = {}
        few = _few_pairs(connection, events, self.limits.few_pairs)
        distinct = list(dict.fromkeys(alike.values()))
        for some, query in _queries(plan, distinct, source, tables, events, few=few):
            made |= _run(connection, some, query)
        if not few:
            pairs = self.limits.joined_pairs
            made |= _joined_in_pieces(plan, wanted, source, tables, events, most_pairs=pairs)
        return made | {part: made[other] for part, other in alike.items()}


def joins(
    plan: Plan, stream: Stream, parts: Sequence[Part], *, can_expire: bool
) -> Iterator[tuple[Sequence[Part], str]]:
    """Queries that join ``spine`` with the event table of a stream.

    Args:
        plan: The plan.
        stream: The stream.
        parts: Parts of the stream.
        can_expire: Whether some event ceases to count at some time. If so, the schema ``lifetimes``
            has corrected events, and ``BELONGS_TABLE`` the entities of what ``by`` names.

    Yields:
        Some of the parts, and the query that returns them by ``spine_row`` as ``p0``, ``p1``, ….
    """
    for some in _batches(parts):
        columns = [part.column for part in some if part.column]
        events = events_of(plan, stream, columns, can_expire=can_expire)
        if any(part.is_placed for part in some):
            events = placed(f"(\n    {events})", counted=is_counted(plan, some, few=True))
        tables = {"names": names_of(plan), "rows": rows_of(plan), "e": events}
        ctes = [f"{name} AS MATERIALIZED (\n    {query})" for name, query in tables.items()]
        yield some, _in_order(joined(plan, some, ctes, can_expire=can_expire))


def joined_on(
    connection: duckdb.DuckDBPyConnection, plan: Plan, spine: pa.Table
) -> dict[Part, pa.ChunkedArray]:
    """The parts of a plan over event tables that the database has already, in the spine's order.

    With relations, ``BELONGS_TABLE`` is there as well.
    """
    register_spine(connection, plan, spine)
    made: dict[Part, pa.ChunkedArray] = {}
    for stream, wanted in plan.parts_by_stream().items():
        for some, query in joins(plan, stream, wanted, can_expire=bool(plan.related)):
            made |= _run(connection, some, query)
    return made


def _run(
    connection: duckdb.DuckDBPyConnection, some: Sequence[Part], query: str
) -> dict[Part, pa.ChunkedArray]:
    return dict(zip(some, connection.sql(query).to_arrow_table().columns[1:], strict=True))


def _batches(parts: Sequence[Part]) -> Iterator[Sequence[Part]]:
    return (parts[first : first + _TOGETHER] for first in range(0, len(parts), _TOGETHER))


def _in_order(query: str) -> str:
    return f"{query}\nORDER BY spine_row"


def _queries(
    plan: Plan, parts: Sequence[Part], source: Source, tables: Tables, events: str, *, few: bool
) -> Iterator[tuple[Sequence[Part], str]]:
    """Queries for the parts of a stream, over ``rows`` and the table of its events."""
    by_tree = [] if few else [part for part in parts if plan.strategy(part) == TREES]
    by_edge = [] if few else [part for part in parts if plan.strategy(part) not in {TREES, JOINS}]
    shown = f"SELECT * FROM {events}"
    # Events are numbered only if a part needs their places.
    if any(
        part.is_placed and (few or plan.strategy(part) != PLACES or part.place) for part in parts
    ):
        counted = is_counted(plan, parts, few=few)
        shown = placed(events, counted=counted)
        shown = f"SELECT * FROM {tables.materialize(shown)}" if counted else shown
    # DuckDB would copy what a query uses more than once; the events are in a table already.
    e = f"e AS NOT MATERIALIZED ({shown})"
    added, kept = partial(along_edges, tables=tables, delay=source.delay), len(tables.names)
    for make, alike in ((joined, parts if few else []), (added, by_edge), (treed, by_tree)):
        for some in _batches(alike):
            yield some, _in_order(make(plan, some, [e], can_expire=source.can_expire))
            # The running sums of all batches together would take too much memory.
            if len(alike) > _TOGETHER:
                tables.forget(kept)


def _joined_in_pieces(
    plan: Plan,
    parts: Sequence[Part],
    source: Source,
    tables: Tables,
    events: str,
    *,
    most_pairs: int,
) -> dict[Part, pa.ChunkedArray]:
    """The parts that only a join finds, some rows at a time, so that few pairs are held at once."""
    made: dict[Part, pa.ChunkedArray] = {}
    by_join = [part for part in parts if plan.strategy(part) == JOINS]
    pieces = tables.split_rows(events, most_pairs) if by_join else []
    for some in _batches(by_join):
        found = []
        for piece in pieces:
            rows = f"SELECT spine_row, entity, c FROM pieces WHERE piece = {integer(piece)}"
            # The table ``rows`` of all pieces is hidden by this one.
            ctes = [f"rows AS ({rows})", f"e AS (SELECT * FROM {events})"]
            query = joined(plan, some, ctes, can_expire=source.can_expire)
            found.append(tables.connection.sql(query).to_arrow_table())
        # Pieces are ordered by entity and cutoff.
        whole = pa.concat_tables(found).sort_by("spine_row")
        made |= dict(zip(some, whole.columns[1:], strict=True))
    return made


def _without_nulls(
    connection: duckdb.DuckDBPyConnection, events: str, columns: Iterable[str]
) -> set[str]:
    """Columns without nulls, for which counting values is counting events."""
    return {
        name
        for name in columns
        if not connection.execute(
            f"SELECT count(*) - count({value_of(name)}) FROM {events}"
        ).fetchall()[0][0]
    }


def _few_pairs(connection: duckdb.DuckDBPyConnection, events: str, few_pairs: int) -> bool:
    """Whether rows and events make so few pairs that a join is the fastest for all parts."""
    counts = [
        f"(SELECT entity, count(*) AS {name} FROM {table} GROUP BY entity)"
        for name, table in (("n", events), ("m", "rows"))
    ]
    sums = "coalesce(sum(n::HUGEINT * m), 0), coalesce(sum(n + m), 0)"
    pairs, each = connection.execute(
        f"SELECT {sums} FROM {counts[0]} JOIN {counts[1]} USING (entity)"
    ).fetchall()[0]
    return bool(pairs <= few_pairs * each)


def _bounds(
    connection: duckdb.DuckDBPyConnection,
    events: str,
    kinds: Mapping[str, FieldType],
    columns: Sequence[str],
    *,
    by_entity: bool,
) -> list[list[int]]:
    """See ``Bounds``."""
    found = ", ".join(f"[max({value_of(one)}), min({value_of(one)})]" for one in columns)
    groups = " GROUP BY entity" if by_entity else ""
    rows = connection.execute(f"SELECT count(*), {found} FROM {events}{groups}").fetchall()
    scales = [kinds[one].scale for one in columns]
    bounds = []
    for count, *values in rows:
        largest = [_largest(ends, scale) for ends, scale in zip(values, scales, strict=True)]
        bounds.append([count, *largest])
    return bounds


def _largest(ends: Sequence[Decimal | int | None], scale: int) -> int:
    """The larger magnitude of two values, in units of the last digit; null counts as 0."""
    # The default context of 28 digits would round the values, which may have 38.
    with localcontext(prec=80):
        return max(abs(int(Decimal(end or 0).scaleb(scale))) for end in ends)
