"""The parts of a plan on DuckDB: one query for what is added up, one for what is not, for each stream.

What is added up is summed along its edges, as extremes of everything so far run along them, and looked at by one ASOF join; of the
events at one instant only the last is left by then, with the sum over all of them, so no tie is left to luck. What is told by neither
(``Plan.way``) is a join of each row with its entity's events, and aggregates of integers and of whole values.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from functools import partial

import duckdb
import pyarrow as pa

from eventlake.core.sql import identifier, quoted
from eventlake.features.conditions import Condition
from eventlake.features.edges import ENTER, LEAVE, Edge, Probe, numbered, probes
from eventlake.features.literals import in_sql
from eventlake.features.plan import AGE, COUNT, DISTINCT, EXTREMES, JOINS, MAX, MIN, PLACED, PLACES, SUM, SUMS, Part, Plan, Stream
from eventlake.features.relations import CHILD, PARENT, SINCE, TILL
from eventlake.features.sources import Source, check_sums
from eventlake.history.duckdb_sql import TableName, create_table, empty_database
from eventlake.history.polars_scan import AS_RECORDED, LATEST
from eventlake.history.standing import SPOKE, UNTIL
from eventlake.schemas.definition import FieldType

UNTIL_TABLE, BELONGS_TABLE = "eventlake until", "eventlake belongs"
_TOGETHER = 100
"""As many parts are asked for by one query; planning one takes longer than in proportion to their number."""
_SIGNS = {"==": "=", "!=": "<>", "and": " AND ", "or": " OR "}

_ALONG = """
    WINDOW o AS (PARTITION BY a, entity ORDER BY k, sequence ROWS UNBOUNDED PRECEDING)
    QUALIFY lead(k) OVER (PARTITION BY a, entity ORDER BY k, sequence) IS DISTINCT FROM k"""
_LOOKED = "\n    FROM q ASOF LEFT JOIN p ON q.a = p.a AND q.entity = p.entity AND q.k > p.k"


def query(plan: Plan, stream: Stream, parts: Sequence[Part], *, ends: bool, joined: bool, delay: int | None = None) -> str:
    """SQL for some parts of a stream, over ``spine`` and the stream's event table: ``spine_row`` and a column for each, ``p0`` and on.

    Args:
        plan: Says entity, cutoff and types.
        stream: Which events.
        parts: All of them by edges, or all by joins.
        ends: Whether some event ceases to count at some time: corrected ones stand in ``UNTIL_TABLE``, and ``BELONGS_TABLE``
            says to whom what ``by`` names belongs.
        joined: Whether it is to be told by joins.
        delay: See ``probes``.
    """
    placed = any(part.kind in PLACED and (plan.way(part) != PLACES or part.place) for part in parts)
    ctes = [_rows(plan), _events(plan, stream, parts, ends=ends, placed=placed)]
    text = _joined(plan, parts, ctes, ends=ends) if joined else _added(plan, parts, ctes, ends=ends, delay=delay)
    return f"{text}\nORDER BY spine_row"


def parts(plan: Plan, found: Mapping[str, Source], spine: pa.Table) -> dict[Part, pa.ChunkedArray]:
    """See ``Find``."""
    made: dict[Part, pa.ChunkedArray] = {}
    with empty_database() as connection:
        connection.execute("SET preserve_insertion_order = false")  # every query orders its rows
        for name, source in found.items():
            create_table(connection, source.table, TableName(name, AS_RECORDED if plan.known_at_cutoff else LATEST))
        register_spine(connection, plan, spine)
        for stream, wanted in plan.wanted().items():
            source = found[stream.event_type]
            if source.until is not None and source.ends:
                connection.register(UNTIL_TABLE, source.until.to_arrow())
            if source.belongs is not None:
                connection.register(BELONGS_TABLE, source.belongs.to_arrow())
            check_sums(plan, stream, wanted, partial(_bounds, connection, plan, stream, ends=source.ends))
            made |= answer(connection, plan, stream, wanted, ends=source.ends, delay=source.delay)
    return made


def register_spine(connection: duckdb.DuckDBPyConnection, plan: Plan, spine: pa.Table) -> None:
    """Makes the table ``spine`` of the columns that are looked at; DuckDB does not tell names apart by case."""
    connection.register("spine", spine.select(["spine_row", plan.features.spine_entity, plan.features.cutoff]))


def answer(
    connection: duckdb.DuckDBPyConnection, plan: Plan, stream: Stream, wanted: Sequence[Part], *, ends: bool, delay: int | None = None
) -> dict[Part, pa.ChunkedArray]:
    """Some parts of a stream, in the order of the spine.

    Args:
        connection: Has ``spine``, the stream's event table, ``UNTIL_TABLE`` and ``BELONGS_TABLE`` where they are wanted.
        plan: Says entity, cutoff and types.
        stream: Which events.
        wanted: The parts.
        ends: Whether some event ceases to count at some time.
        delay: See ``probes``.
    """
    made: dict[Part, pa.ChunkedArray] = {}
    for joined in (False, True):
        alike = [part for part in wanted if (plan.way(part) == JOINS) == joined]
        for first in range(0, len(alike), _TOGETHER):
            some = alike[first : first + _TOGETHER]
            table = connection.sql(query(plan, stream, some, ends=ends, joined=joined, delay=delay)).to_arrow_table()
            made |= zip(some, table.columns[1:], strict=True)
    return made


def _bounds(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    stream: Stream,
    columns: Sequence[str],
    *,
    ends: bool,
    by_entity: bool,
) -> list[list[int]]:
    """See ``Bounds``; of the events whose entity is in the spine."""
    ctes = [_rows(plan), _events(plan, stream, (), ends=ends, placed=False, columns=columns)]
    found = ", ".join(f"[max({value_of(one)}), min({value_of(one)})]" for one in columns)
    groups = " GROUP BY entity" if by_entity else ""
    rows = connection.sql(f"WITH {', '.join(ctes)}\nSELECT count(*), {found} FROM e{groups}").fetchall()
    scales = [plan.columns[stream.event_type][one].scale for one in columns]
    with localcontext(prec=80):
        return [
            [
                events,
                *(max(abs(int(Decimal(end or 0).scaleb(scale))) for end in both) for both, scale in zip(values, scales, strict=True)),
            ]
            for events, *values in rows
        ]


def value_of(column: str) -> str:
    """A column of an event table where its name can mean nothing else."""
    return identifier(f"f {column}")


def _rows(plan: Plan) -> str:
    entity, cutoff = identifier(plan.features.spine_entity), identifier(plan.features.cutoff)
    return f"rows AS MATERIALIZED (\n    SELECT spine_row, {entity} AS entity, epoch_us({cutoff}) AS c FROM spine)"  # noqa: S608 - quoted


def _entity_of(plan: Plan, stream: Stream) -> str:
    """What ``by`` names of an event, in SQL."""
    column, pattern = identifier(plan.by[stream.event_type]), plan.features.pattern
    return column if pattern is None else f"nullif(regexp_extract({column}, {quoted(pattern)}, 1), '')"


def _events(plan: Plan, stream: Stream, parts: Sequence[Part], *, ends: bool, placed: bool, columns: Sequence[str] = ()) -> str:
    """The events of a stream whose entity is in the spine."""
    kinds = plan.columns[stream.event_type]
    known, related = plan.known_at_cutoff, bool(plan.related)
    stood = known and ends
    chosen = dict.fromkeys([*(part.column for part in parts if part.column), *columns])
    shown = ["entity", "t", "sequence", *(["r"] if plan.timed else []), *(["u"] if stood or related else []), *map(value_of, chosen)]
    begins = [*(["epoch_us(recorded_at)"] if known else []), *([identifier(SINCE)] if related else [])]
    stops = [*([f"epoch_us({identifier(UNTIL)})"] if stood else []), *([identifier(TILL)] if related else [])]
    inner = [f"{identifier(PARENT) if related else _entity_of(plan, stream)} AS entity", "epoch_us(time) AS t", "sequence"]
    # Both pass over nulls: what stands, or belongs, to this day has no end.
    inner += [f"greatest({', '.join(begins)}) AS r"] if begins else []
    inner += [f"least({', '.join(stops)}) AS u"] if stops else []
    inner += [f"{identifier(name)} AS {value_of(name)}" for name in chosen]
    # With its schema, so that no table of ours is taken for it.
    table = ("main." if known else "latest.") + identifier(stream.event_type)
    where = [_condition(stream.where, kinds)] if stream.where is not None else []
    if stood:
        table += f" LEFT JOIN {identifier(UNTIL_TABLE)} USING (source, id)"
        where.append(f"coalesce({identifier(SPOKE)}, true)")
    if related:
        table += f" JOIN {identifier(BELONGS_TABLE)} ON {identifier(CHILD)} = {_entity_of(plan, stream)}"
    place = ", row_number() OVER (PARTITION BY entity ORDER BY t, sequence) AS place" if placed else ""
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    selected = ", ".join(shown)
    return f"""e AS MATERIALIZED (
    SELECT {selected}{place}
    FROM (SELECT {", ".join(inner)} FROM {table}{condition}) SEMI JOIN rows USING (entity))"""  # noqa: S608 - quoted


def _condition(where: Condition, kinds: Mapping[str, FieldType]) -> str:
    parts = [_condition(part, kinds) for part in where.parts]
    if where.sign in {"and", "or"}:
        return f"({_SIGNS[where.sign].join(parts)})"
    if where.sign == "not":
        return f"(NOT {parts[0]})"
    column = identifier(where.field)
    if where.sign == "null":
        return f"({column} IS NULL)"
    values = ", ".join(in_sql(value, kinds[where.field]) for value in where.values)
    if where.sign == "in":
        return f"({column} IN ({values}))"
    return f"({column} {_SIGNS.get(where.sign, where.sign)} {values})"


def _key(edge: Edge, *, ends: bool) -> str:
    """An edge of an event, in SQL."""
    if edge.kind not in {ENTER, LEAVE}:
        return "t"
    enter = f"greatest(t + {edge.span.offset}, r)"
    if edge.kind == ENTER:
        return enter
    # ``least`` passes over nulls: an event that stands to this day leaves by its time alone.
    stops = [*([f"t + {edge.span.far}"] if edge.span.far is not None else []), *(["u"] if ends else [])]
    return f"greatest({enter}, least({', '.join(stops)}))"


def _reached(edge: Edge) -> str:
    """What leaves out events that never come to an edge: nothing leaves everything but what no longer stands."""
    return " WHERE u IS NOT NULL" if edge.kind == LEAVE and edge.span.far is None else ""


def _added(plan: Plan, parts: Sequence[Part], ctes: list[str], *, ends: bool, delay: int | None) -> str:
    """Running sums and extremes along edges, one row for each instant, looked at by one ASOF join."""
    kinds = plan.columns[parts[0].stream.event_type]
    looks = {part: probes(part.span, timed=plan.timed, ends=ends, delay=delay) for part in parts}
    extremes = {part: f'"x{place}"' for place, part in enumerate(parts) if plan.way(part) == EXTREMES}
    number = numbered((end, None if part in extremes else start) for part, (end, start) in looks.items())
    edges = {edge: place for place, edge in enumerate(dict.fromkeys(probe.edge for probe in number))}
    sums = {"n": "count(*)"} | dict(_summed(part, kinds) for part in parts if plan.way(part) == SUMS)
    # What ceases to count is no part of running extremes.
    standing = " FILTER (u IS NULL)" * ends
    sums |= {name: f"{'min' if part.is_least else 'max'}({_ranked(part)}){standing}" for part, name in extremes.items()}
    # The value and the instant of the last event at an edge stand beside the sums.
    stored = dict.fromkeys(part.column for part in parts if plan.way(part) == PLACES and not part.place and part.column)
    raw = dict.fromkeys(value_of(part.column) for part in parts if part.column)
    raw |= dict.fromkeys(["place"] * any(part.kind in PLACED for part in extremes) + ["u"] * (ends and bool(extremes)))
    each = [
        f"SELECT {', '.join([f'{place} AS a', 'entity', f'{_key(edge, ends=ends)} AS k', 'sequence', *raw])} FROM e{_reached(edge)}"  # noqa: S608 - ours
        for edge, place in edges.items()
    ]
    running = [f"{expression} OVER o AS {name}" for name, expression in sums.items()]
    running += [value_of(name) for name in stored]
    probed = ", ".join(f"({place}, {edges[probe.edge]}, {probe.shift})" for probe, place in number.items())
    shown = [*(f"p.{name}" for name in sums), *(f"p.{value_of(name)}" for name in stored), "p.k"]
    ctes += [
        "g AS (\n    " + "\n    UNION ALL ".join(each) + ")",
        f"p AS (\n    SELECT a, entity, k, {', '.join(running)} FROM g{_ALONG})",  # noqa: S608 - ours
        f"q AS (\n    SELECT spine_row, entity, d, a, c - shift AS k FROM rows, (VALUES {probed}) AS looks(d, a, shift))",  # noqa: S608 - ours
        f"j AS (\n    SELECT q.spine_row, q.d, {', '.join(shown)}{_LOOKED})",
    ]

    def look(name: str, probe: Probe | None) -> str:
        return "0" if probe is None else f"coalesce(max({name}) FILTER (d = {number[probe]}), 0)"

    found = []
    for place, part in enumerate(parts):
        end, start = looks[part]
        if part in extremes:
            found.append(f"any_value({extremes[part]}) FILTER (d = {number[end]}) AS {_answer(plan, place, part)}")
        elif plan.way(part) == SUMS:
            name, _ = _summed(part, kinds)
            found.append(f"{look(name, end)} - {look(name, start)} AS p{place}")
        elif part.place:
            found.append(_place(place, part, look("n", end), look("n", start)))
        else:
            value = "k" if part.kind == AGE else value_of(part.column)
            inside = f"{look('n', end)} > {look('n', start)}"
            found.append(f"CASE WHEN {inside} THEN any_value({value}) FILTER (d = {number[end]}) END AS v{place}")
    ctes.append("f AS (\n    SELECT " + ",\n        ".join(["spine_row", *found]) + "\n    FROM j GROUP BY spine_row)")  # noqa: S608 - ours
    if extremes and ends:
        ctes += _with_ended(plan, parts, list(extremes))
    return _gathered(plan, parts, ctes, found="b" if extremes and ends else "f")


def _with_ended(plan: Plan, parts: Sequence[Part], extremes: Sequence[Part]) -> list[str]:
    """The extremes of what stands to this day, and of what ceases to count at some time, each row with the few events that do."""
    places = {place: part for place, part in enumerate(parts) if part in extremes}
    ended = ", ".join(_aggregate(place, part, timed=plan.timed, ends=True) for place, part in places.items())
    better = [
        f"{'least' if part.is_least else 'greatest'}(f.{name}, h.{name}) AS {name}"
        for place, part in places.items()
        for name in [_answer(plan, place, part)]
    ]
    others = ", ".join(_answer(plan, place, part) for place, part in places.items())
    return [
        f"h AS (\n    SELECT spine_row, {ended}\n    FROM rows JOIN e ON e.entity = rows.entity AND u IS NOT NULL GROUP BY spine_row)",  # noqa: S608 - ours
        f"b AS (\n    SELECT f.* EXCLUDE ({others}), {', '.join(better)}\n    FROM f LEFT JOIN h USING (spine_row))",  # noqa: S608 - ours
    ]


def _ranked(part: Part) -> str:
    """What an extreme is one of."""
    return "place" if part.kind in PLACED else value_of(part.column)


def _answer(plan: Plan, number: int, part: Part) -> str:
    """The column of what was found for a part: itself, the place of its event, or that one's value."""
    if part.kind not in PLACED:
        return f"p{number}"
    return f"place{number}" if plan.way(part) != PLACES or part.place else f"v{number}"


def _place(number: int, part: Part, end: str, start: str) -> str:
    """The place of an event among those of its entity, null where the window has none."""
    place = f"{start} + 1" if part.place < 0 else f"{end} - {part.place}"
    inside = f"{end} > {start}" if part.place < 0 else f"{end} - {part.place} > {start}"
    return f"CASE WHEN {inside} THEN {place} END AS place{number}"


def _gathered(plan: Plan, parts: Sequence[Part], ctes: list[str], *, found: str = "f") -> str:
    """The parts by row; values of events that are not at hand are looked up by their place."""
    columns, joins = [], []
    for number, part in enumerate(parts):
        name = _answer(plan, number, part)
        if part.kind not in PLACED:
            columns.append(name)
        elif name.startswith("place"):
            value = f"c - e{number}.t" if part.kind == AGE else f"e{number}.{value_of(part.column)}"
            if plan.way(part) == EXTREMES and part.span.far is not None:
                value = f"CASE WHEN e{number}.t >= c - {part.span.far} THEN {value} END"
            columns.append(f"{value} AS p{number}")
            joins.append(f"LEFT JOIN e AS e{number} ON e{number}.entity = rows.entity AND e{number}.place = {found}.{name}")
        else:
            columns.append(f"{'c - ' if part.kind == AGE else ''}{name} AS p{number}")
    return "\n".join(
        ["WITH " + ",\n".join(ctes), f"SELECT spine_row, {', '.join(columns)}", f"FROM rows JOIN {found} USING (spine_row)", *joins]
    )


def _summed(part: Part, kinds: Mapping[str, FieldType]) -> tuple[str, str]:
    """The name and the aggregate of what is added up, over events of one edge."""
    if not part.column:
        return "n", "count(*)"
    column = value_of(part.column)
    if part.kind == COUNT:
        return identifier(f"n {part.column}"), f"count({column})"
    if part.kind == SUM:
        return identifier(f"s {part.column}"), f"sum({column})"
    scale = kinds[part.column].scale
    unscaled = f"({column}::DECIMAL(38, {scale}) * 1{'0' * scale})::HUGEINT" if scale else f"{column}::HUGEINT"
    return identifier(f"q {part.column}"), f"sum({unscaled} * {unscaled})"


def _joined(plan: Plan, parts: Sequence[Part], ctes: list[str], *, ends: bool) -> str:
    """Each row with the events of its entity, and aggregates of those inside each window."""
    nearest = min(part.span.offset for part in parts)
    found = [f"spine_row, {', '.join(_aggregate(number, part, timed=plan.timed, ends=ends) for number, part in enumerate(parts))}"]
    fars = [part.span.far for part in parts]
    widest = f" AND t >= c - {max(far for far in fars if far is not None)}" if None not in fars else ""
    ctes.append(
        f"f AS (\n    SELECT {found[0]}\n    FROM rows LEFT JOIN e ON e.entity = rows.entity AND t < c - {nearest}{widest}"  # noqa: S608 - ours
        "\n    GROUP BY spine_row)"
    )
    return _gathered(plan, parts, ctes)


def _aggregate(number: int, part: Part, *, timed: bool, ends: bool) -> str:
    inside = [f"t < c - {part.span.offset}", *([f"t >= c - {part.span.far}"] if part.span.far is not None else [])]
    inside += ["r < c"] if timed else []
    inside += ["(u IS NULL OR u >= c)"] if timed and ends else []
    where = f"FILTER ({' AND '.join(inside)})"
    column = value_of(part.column)
    if part.kind in {MIN, MAX}:
        return f"{part.kind}({column}) {where} AS p{number}"
    if part.kind == DISTINCT:
        return f"count(DISTINCT {column}) {where} AS p{number}"
    if part.place <= 0:
        return f"{'min' if part.place < 0 else 'max'}(place) {where} AS place{number}"
    return f"(max(place, {part.place + 1}) {where})[{part.place + 1}] AS place{number}"
