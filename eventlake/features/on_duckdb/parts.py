"""The parts of a plan on DuckDB: a join if rows and events make few pairs, otherwise by strategy.

Sums and running extremes are computed along the edges of events, and read by one ASOF join. Only
the last event of an instant is left by then, with the sum over all of them, so that the order of
ties does not matter.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from functools import partial

import duckdb
import pyarrow as pa

from eventlake.core.sql import integer
from eventlake.features.aggregates.part_kinds import EXTREMES, JOINS, PLACES, TREES, Added
from eventlake.features.engine_cache import ENGINE_CACHE
from eventlake.features.on_duckdb.database import Tables, entities_of, register_spine
from eventlake.features.on_duckdb.events import (
    events_of,
    extreme_of,
    is_counted,
    key_of,
    name_of,
    names_of,
    placed,
    rows_of,
    running_sum,
    select_parts,
    value_of,
)
from eventlake.features.on_duckdb.joins_and_trees import joined, tree, treed
from eventlake.features.planned.edges import LEAVE, Edge, Probe, number_probes, probes
from eventlake.features.planned.limits import LOOK_UP_LIMITS, LookUpLimits
from eventlake.features.planned.plan import Part, Plan, Stream
from eventlake.features.planned.sources import Source, check_sums
from eventlake.schemas.schema import FieldType

_TOGETHER = 100
"""Most parts in a query: DuckDB's time to plan one grows faster than their number."""

_ALONG = """
    WINDOW o AS (PARTITION BY {each} ORDER BY k, sequence ROWS UNBOUNDED PRECEDING)
    QUALIFY lead(k) OVER (PARTITION BY {each} ORDER BY k, sequence) IS DISTINCT FROM k"""
_LOOKED = "\n    FROM q ASOF LEFT JOIN p ON {same} AND q.k > p.k"


def parts(
    plan: Plan, found: Mapping[str, Source], spine: pa.Table, limits: LookUpLimits = LOOK_UP_LIMITS
) -> dict[Part, pa.ChunkedArray]:
    """See ``Find``."""
    made: dict[Part, pa.ChunkedArray] = {}
    entities = entities_of(spine.column(plan.features.spine_entity))
    identities = [(name, source.identity) for name, source in sorted(found.items())]
    # Parts of a table in memory have no identity by which another build could find them.
    key = (
        None
        if any(one is None for _, one in identities)
        else ("duckdb", plan.known_at_cutoff, *identities)
    )
    with ENGINE_CACHE.taken(key, entities, lambda: Tables(plan, found, entities)) as tables:
        tables.ask(plan, spine)
        for stream, wanted in plan.parts_by_stream().items():
            source = found[stream.event_type]
            events = tables.made(events_of(plan, stream, wanted, can_expire=source.can_expire))
            # Before anything is added up: afterwards an overflow would be the engine's error, and
            # differ.
            check_sums(
                plan,
                stream,
                wanted,
                partial(_bounds, tables.connection, events, plan.columns[stream.event_type]),
            )
            plain = _without_nulls(
                tables.connection,
                events,
                {part.column for part in wanted if part.counts_values},
            )
            # Counting a column without nulls is counting events, which all such columns share.
            alike = {
                part: replace(part, column="")
                if part.counts_values and part.column in plain
                else part
                for part in wanted
            }
            few = _few_pairs(tables.connection, events, limits.few_pairs)
            for some, query in _queries(
                plan, list(dict.fromkeys(alike.values())), source, tables, events, few=few
            ):
                made |= _run(tables.connection, some, query)
            if not few:
                made |= _joined_in_pieces(
                    plan, wanted, source, tables, events, most_pairs=limits.joined_pairs
                )
            made |= {part: made[other] for part, other in alike.items()}
    return made


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
        events = events_of(plan, stream, some, can_expire=can_expire)
        if any(part.is_placed for part in some):
            events = placed(f"(\n    {events})", counted=is_counted(plan, few=True))
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
        counted = is_counted(plan, few=few)
        shown = placed(events, counted=counted)
        shown = f"SELECT * FROM {tables.made(shown)}" if counted else shown
    # DuckDB would copy what a query uses more than once; the events are in a table already.
    e = f"e AS NOT MATERIALIZED ({shown})"
    added, kept = partial(_added, tables=tables, delay=source.delay), len(tables.names)
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


def _edge_filter(edge: Edge) -> str:
    """A WHERE clause without events that never reach an edge, or have no value to count."""
    if edge.column:
        return f" WHERE {value_of(edge.column)} IS NOT NULL"
    return " WHERE u IS NOT NULL" if edge.kind == LEAVE and edge.window.start is None else ""


def _added(
    plan: Plan,
    parts: Sequence[Part],
    ctes: list[str],
    *,
    can_expire: bool,
    tables: Tables,
    delay: int | None,
) -> str:
    """Running sums and extremes along edges, computed once, and one ASOF join that reads them."""
    looks = {
        part: probes(
            part.window,
            has_validity=plan.has_validity,
            can_expire=can_expire,
            delay=delay,
            values=part.distinct_column,
        )
        for part in parts
    }
    extremes = {
        part: f'"x{place}"' for place, part in enumerate(parts) if plan.strategy(part) == EXTREMES
    }
    number = number_probes(
        (end, None if part in extremes else start) for part, (end, start) in looks.items()
    )
    edges = {
        edge: place for place, edge in enumerate(dict.fromkeys(probe.edge for probe in number))
    }
    running_sums = {
        part: running_sum(part, part.kind, plan.scale(part))
        for part in parts
        if isinstance(part.kind, Added)
    }
    sums = dict(running_sums.values())
    # The same as count(*), in two thirds of its time.
    sums["n"] = "row_number()"
    # Running extremes cannot forget, so events that expire are left to a tree.
    unexpired = " FILTER (u IS NULL)" if can_expire else ""
    sums |= {
        name: f"{'min' if part.is_least else 'max'}({extreme_of(part)}){unexpired}"
        for part, name in extremes.items()
    }
    # The value and the instant of the last event at an edge are beside the sums.
    stored = dict.fromkeys(
        part.column
        for part in parts
        if plan.strategy(part) == PLACES and not part.place and part.column
    )
    raw = dict.fromkeys(value_of(part.column) for part in parts if part.column)
    if any(part.is_placed for part in extremes):
        raw["place"] = None
    if can_expire and extremes:
        raw["u"] = None
    each = []
    for edge, place in edges.items():
        shown = [
            f"{place} AS a",
            "entity",
            f"{key_of(edge, has_validity=plan.has_validity, can_expire=can_expire)} AS k",
            "sequence",
            *raw,
        ]
        each.append(f"SELECT {', '.join(shown)} FROM e{_edge_filter(edge)}")
    running = [f"{expression} OVER o AS {name}" for name, expression in sums.items()]
    running += [value_of(name) for name in stored]
    bounds = {bound: b for b, bound in enumerate(dict.fromkeys(probe.bound for probe in number))}
    probed = ", ".join(
        f"({place}, {edges[probe.edge]}, {bounds[probe.bound]})" for probe, place in number.items()
    )
    instants = " ".join(f"WHEN {b} THEN {bound.instant_in_sql('c')}" for bound, b in bounds.items())
    shown = [*(f"p.{name}" for name in sums), *(f"p.{value_of(name)}" for name in stored), "p.k"]
    along = [*ctes, "g AS (\n    " + "\n    UNION ALL ".join(each) + ")"]
    # Joining on a constant edge number takes a tenth of the time: it is left out.
    by = ["entity", "a"] if len(edges) > 1 else ["entity"]
    # Made once for these events; only the join below depends on the rows.
    sums_table = tables.made(
        f"WITH {', '.join(along)}\nSELECT a, entity, k, {', '.join(running)} FROM g"
        + _ALONG.format(each=", ".join(by))
    )
    same = " AND ".join(f"q.{name} = p.{name}" for name in by)
    ctes += [
        f"p AS NOT MATERIALIZED (FROM {sums_table})",
        (
            f"q AS (\n    SELECT spine_row, entity, d, a, CASE b {instants} END AS k FROM rows, "
            f"(VALUES {probed}) AS looks(d, a, b))"
        ),
        f"j AS (\n    SELECT q.spine_row, q.d, {', '.join(shown)}{_LOOKED.format(same=same)})",
    ]

    def look(name: str, probe: Probe | None) -> str:
        return "0" if probe is None else f"coalesce(max({name}) FILTER (d = {number[probe]}), 0)"

    found = []
    for place, part in enumerate(parts):
        end, start = looks[part]
        if part in extremes:
            found.append(
                f"any_value({extremes[part]}) FILTER (d = {number[end]}) AS "
                f"{name_of(plan, place, part)}"
            )
        elif part in running_sums:
            name, _ = running_sums[part]
            found.append(f"{look(name, end)} - {look(name, start)} AS p{place}")
        elif part.place:
            found.append(_place(place, part, look("n", end), look("n", start)))
        else:
            value = value_of(part.column) if part.column else "k"
            inside = f"{look('n', end)} > {look('n', start)}"
            found.append(
                f"CASE WHEN {inside} THEN any_value({value}) FILTER (d = {number[end]}) END AS "
                f"v{place}"
            )
    ctes.append(
        "f AS (\n    SELECT "
        + ",\n        ".join(["spine_row", *found])
        + "\n    FROM j GROUP BY spine_row)"
    )
    if extremes and can_expire:
        ctes += _with_ended(plan, parts, list(extremes))
    return select_parts(plan, parts, ctes, found="b" if extremes and can_expire else "f")


def _with_ended(plan: Plan, parts: Sequence[Part], extremes: Sequence[Part]) -> list[str]:
    """Combine running extremes, of events that never expire, with a tree of those that do."""
    better = [
        f"{'least' if part.is_least else 'greatest'}(f.{name}, h.{name}) AS {name}"
        for part in extremes
        for name in [name_of(plan, parts.index(part), part)]
    ]
    others = ", ".join(name_of(plan, parts.index(part), part) for part in extremes)
    return [
        *tree(plan, parts, extremes, can_expire=True),
        (
            f"b AS (\n    SELECT f.* EXCLUDE ({others}), {', '.join(better)}\n"
            "    FROM f LEFT JOIN h USING (spine_row))"
        ),
    ]


def _place(number: int, part: Part, end: str, start: str) -> str:
    """The place of a part's event, null if the window has no such event."""
    place = f"{start} + 1" if part.place < 0 else f"{end} - {integer(part.place)}"
    inside = f"{end} > {start}" if part.place < 0 else f"{end} - {integer(part.place)} > {start}"
    return f"CASE WHEN {inside} THEN {place} END AS place{number}"
