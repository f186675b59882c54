"""Parts that are found along the edges of events: sums, running extremes, positions.

They are computed once for the events of a stream, and read for all rows by one ASOF join. Only the
last event of an instant is left by then, with the sum over all of them, so that the order of ties
does not matter.
"""

from collections.abc import Mapping, Sequence

from eventlake.core.sql import integer
from eventlake.features.aggregates.part_kinds import EXTREMES, PLACES, Added
from eventlake.features.on_duckdb.database import Tables
from eventlake.features.on_duckdb.events import (
    extreme_of,
    key_of,
    name_of,
    running_sum,
    select_parts,
    value_of,
)
from eventlake.features.on_duckdb.joins_and_trees import tree
from eventlake.features.planned.edges import LEAVE, Edge, Probe, number_probes, probes
from eventlake.features.planned.plan import Part, Plan

_ALONG = """
    WINDOW o AS (PARTITION BY entity ORDER BY k, sequence ROWS UNBOUNDED PRECEDING)
    QUALIFY lead(k) OVER (PARTITION BY entity ORDER BY k, sequence) IS DISTINCT FROM k"""
_AS_OF_JOIN = "\n    FROM q ASOF LEFT JOIN p ON {same} AND q.k > p.k"


def along_edges(
    plan: Plan,
    parts: Sequence[Part],
    ctes: list[str],
    *,
    can_expire: bool,
    tables: Tables,
    delay: int | None,
) -> str:
    """The query of parts by row.

    Args:
        plan: The plan.
        parts: The parts, of one stream.
        ctes: Common table expressions, among them ``e`` with the events of the stream.
        can_expire: Whether some event ceases to count at some time.
        tables: Where what does not depend on the rows is kept.
        delay: See ``probes``.
    """
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
    extremes = _extremes(plan, parts)
    number = number_probes(
        (end, None if part in extremes else start) for part, (end, start) in looks.items()
    )
    edges = {
        edge: place for place, edge in enumerate(dict.fromkeys(probe.edge for probe in number))
    }
    # Joining on a constant edge number takes a tenth of the time: it is left out.
    by = ["entity", "a"] if len(edges) > 1 else ["entity"]
    sums = {
        part: running_sum(part, part.kind, plan.scale(part))
        for part in parts
        if isinstance(part.kind, Added)
    }
    added, kept = _sums(sums), _kept(extremes, can_expire=can_expire)
    # The value and the instant of the last event at an edge are beside the sums.
    stored = [value_of(name) for name in _stored(plan, parts)]
    # Extremes are read at the ends of their windows alone, and take half of the time of an edge.
    ends = {looks[part][0].edge for part in extremes}
    along = [
        f"SELECT {place} AS a, entity, k, "
        + ", ".join(
            [
                *_over(added),
                *(_over(kept) if edge in ends else []),
                *stored,
            ]
        )
        + f"\n    FROM {_events_at(plan, parts, edge, extremes, can_expire=can_expire)}{_ALONG}"
        for edge, place in edges.items()
    ]
    # Made once for these events; only the join below depends on the rows.
    sums_table = tables.materialize(
        f"WITH {', '.join(ctes)}\n" + "\nUNION ALL BY NAME ".join(along)
    )
    shown = [f"p.{name}" for name in (*added, *kept, *stored, "k")]
    same = " AND ".join(f"q.{name} = p.{name}" for name in by)
    shown_parts = [
        _part_in_sql(plan, place, part, looks[part], number=number, extremes=extremes, sums=sums)
        for place, part in enumerate(parts)
    ]
    ctes += [
        f"p AS NOT MATERIALIZED (FROM {sums_table})",
        _probed(number, edges),
        f"j AS (\n    SELECT q.spine_row, q.d, {', '.join(shown)}{_AS_OF_JOIN.format(same=same)})",
        (
            "f AS (\n    SELECT "
            + ",\n        ".join(["spine_row", *shown_parts])
            + "\n    FROM j GROUP BY spine_row)"
        ),
    ]
    if extremes and can_expire:
        ctes += _with_ended(plan, parts, list(extremes))
    return select_parts(plan, parts, ctes, found="b" if extremes and can_expire else "f")


def _extremes(plan: Plan, parts: Sequence[Part]) -> dict[Part, str]:
    """The running extreme that each part reads; several parts may read the same."""
    names: dict[tuple[str, bool], str] = {}
    return {
        part: names.setdefault((extreme_of(part), part.is_least), f'"x{place}"')
        for place, part in enumerate(parts)
        if plan.strategy(part) == EXTREMES
    }


def _over(columns: Mapping[str, str]) -> list[str]:
    return [f"{column} OVER o AS {name}" for name, column in columns.items()]


def _sums(sums: Mapping[Part, tuple[str, str]]) -> dict[str, str]:
    """The running sums along each edge, by column."""
    # The same as count(*), in two thirds of its time.
    return {**dict(sums.values()), "n": "row_number()"}


def _kept(extremes: Mapping[Part, str], *, can_expire: bool) -> dict[str, str]:
    """The running extremes, by column."""
    # Running extremes cannot forget, so events that expire are left to a tree.
    unexpired = " FILTER (u IS NULL)" if can_expire else ""
    return {
        name: f"{'min' if part.is_least else 'max'}({extreme_of(part)}){unexpired}"
        for part, name in extremes.items()
    }


def _stored(plan: Plan, parts: Sequence[Part]) -> dict[str, None]:
    """The columns of which the last value is looked for."""
    return dict.fromkeys(
        part.column
        for part in parts
        if plan.strategy(part) == PLACES and not part.place and part.column
    )


def _events_at(
    plan: Plan, parts: Sequence[Part], edge: Edge, extremes: Mapping[Part, str], *, can_expire: bool
) -> str:
    """The events that reach an edge, each at ``k``, as a query in brackets."""
    raw = dict.fromkeys(value_of(part.column) for part in parts if part.column)
    if any(part.is_placed for part in extremes):
        raw["place"] = None
    if can_expire and extremes:
        raw["u"] = None
    key = key_of(edge, has_validity=plan.has_validity, can_expire=can_expire)
    shown = ["entity", f"{key} AS k", "sequence", *raw]
    return f"(SELECT {', '.join(shown)} FROM e{_edge_filter(edge)})"


def _probed(number: Mapping[Probe, int], edges: Mapping[Edge, int]) -> str:
    """The table ``q``: the instant ``k`` at which each row reads each edge, by probe ``d``."""
    bounds = {bound: b for b, bound in enumerate(dict.fromkeys(probe.bound for probe in number))}
    probed = ", ".join(
        f"({place}, {edges[probe.edge]}, {bounds[probe.bound]})" for probe, place in number.items()
    )
    instants = " ".join(f"WHEN {b} THEN {bound.instant_in_sql('c')}" for bound, b in bounds.items())
    return (
        f"q AS (\n    SELECT spine_row, entity, d, a, CASE b {instants} END AS k FROM rows, "
        f"(VALUES {probed}) AS looks(d, a, b))"
    )


def _part_in_sql(
    plan: Plan,
    place: int,
    part: Part,
    look: tuple[Probe, Probe | None],
    *,
    number: Mapping[Probe, int],
    extremes: Mapping[Part, str],
    sums: Mapping[Part, tuple[str, str]],
) -> str:
    """A part by row, as ``name_of`` names it, of what the row read."""
    end, start = look
    at_end = f"FILTER (d = {number[end]})"
    if part in extremes:
        return f"any_value({extremes[part]}) {at_end} AS {name_of(plan, place, part)}"
    if part in sums:
        name, _ = sums[part]
        return f"{_read(name, end, number)} - {_read(name, start, number)} AS p{place}"
    last, first = _read("n", end, number), _read("n", start, number)
    if part.place:
        return _place(place, part, last, first)
    value = value_of(part.column) if part.column else "k"
    return f"CASE WHEN {last} > {first} THEN any_value({value}) {at_end} END AS v{place}"


def _read(name: str, probe: Probe | None, number: Mapping[Probe, int]) -> str:
    """What a row read of a running sum; 0 before the first event."""
    return "0" if probe is None else f"coalesce(max({name}) FILTER (d = {number[probe]}), 0)"


def _edge_filter(edge: Edge) -> str:
    """A WHERE clause without events that never reach an edge, or have no value to count."""
    if edge.column:
        return f" WHERE {value_of(edge.column)} IS NOT NULL"
    return " WHERE u IS NOT NULL" if edge.kind == LEAVE and edge.window.start is None else ""


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
