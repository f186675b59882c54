"""What is told of each row with its entity's events on DuckDB: by a join where their pairs are few, by a tree where they are many.

The tree is over an entity's cutoffs (see ``trees``): an event is kept at the few nodes that make up
the stretch of cutoffs in whose windows it is, and a row looks at the nodes above its own cutoff.
Its time does not grow with the pairs.
"""

from collections.abc import Sequence

from eventlake.core.sql import identifier, integer
from eventlake.features.aggregates.part_kinds import TREES
from eventlake.features.on_duckdb.events import extreme_of, key_of, name_of, select_parts, value_of
from eventlake.features.planned.edges import ENTER, LEAVE, Edge
from eventlake.features.planned.plan import Part, Plan

_CUTOFFS = """l AS MATERIALIZED (
    SELECT entity, c, row_number() OVER o AS n, len(bin(count(*) OVER (PARTITION BY entity))) AS levels
    FROM (SELECT DISTINCT entity, c FROM rows) WINDOW o AS (PARTITION BY entity ORDER BY c))"""
"""The cutoffs of each entity, from 1."""
_STRETCHES = """s AS (
    SELECT w.* EXCLUDE (enter, leave), coalesce(l.n, 0) AS first, coalesce(m.n, 0) AS stop
    FROM w ASOF LEFT JOIN l ON l.entity = w.entity AND l.c <= enter ASOF LEFT JOIN l AS m ON m.entity = w.entity AND m.c <= leave)"""
"""The cutoffs in whose windows each event is, from 0: from the first to before the stop."""
_NODES = """y AS (
    SELECT * EXCLUDE (first, stop), (first + (1 << level) - 1) >> level AS low, stop >> level AS high
    FROM (SELECT *, unnest(range(len(bin(stop - first)))) AS level FROM s WHERE first < stop)),
n AS (
    SELECT * EXCLUDE (low, high), low AS node FROM y WHERE low < high AND low & 1 = 1
    UNION ALL SELECT * EXCLUDE (low, high), high - 1 AS node FROM y WHERE low < high AND high & 1 = 1)"""
"""The nodes of each stretch, by level."""
_ABOVE = """
    FROM (SELECT entity, c, n - 1 AS place, unnest(range(levels)) AS level FROM l) AS v
    LEFT JOIN t ON t.entity = v.entity AND t.level = v.level AND t.node = place >> v.level
    GROUP BY v.entity, c"""


def joined(plan: Plan, parts: Sequence[Part], ctes: list[str], *, can_expire: bool) -> str:
    """Each row with the events of its entity, and aggregates of those inside each window."""
    nearest = min(part.window.offset for part in parts)
    # Events of one place are looked for once.
    once = {
        (part.window, part.place) if part.is_placed else part: number
        for number, part in reversed(list(enumerate(parts)))
    }
    found = [
        "spine_row",
        *(_aggregate(plan, number, parts[number], nearest) for number in sorted(once.values())),
    ]
    fars = [part.window.start_offset for part in parts if part.window.start_offset is not None]
    # Where windows begin and end is said once a row, not once a pair.
    shifts = dict.fromkeys([nearest, *(part.window.offset for part in parts), *fars])
    rows = f"SELECT *, {', '.join(f'c - {integer(shift)} AS {_before(shift)}' for shift in shifts)} FROM rows"
    seen = [
        "e.entity = rows.entity",
        f"t < {_before(nearest)}",
        *([f"t >= {_before(max(fars))}"] if len(fars) == len(parts) else []),
    ]
    seen += ["r < c"] * plan.has_validity + ["(u IS NULL OR u >= c)"] * (
        plan.has_validity and can_expire
    )
    joins = f"({rows}) AS rows JOIN e ON {' AND '.join(seen)}"
    ctes.append(f"f AS (\n    SELECT {', '.join(found)}\n    FROM {joins}\n    GROUP BY spine_row)")
    return select_parts(plan, parts, ctes, placed=True)


def _before(shift: int) -> str:
    """The column of an instant before the cutoff, or after it."""
    return identifier(f"c - {shift}")


def _aggregate(plan: Plan, number: int, part: Part, nearest: int) -> str:
    """A part of a row's events, all of which count and lie before the nearest end of a window."""
    inside = [f"t < {_before(part.window.offset)}"] if part.window.offset > nearest else []
    inside += (
        [f"t >= {_before(part.window.start_offset)}"]
        if part.window.start_offset is not None
        else []
    )
    where = f" FILTER ({' AND '.join(inside)})" if inside else ""
    column = value_of(part.column) if part.column else ""
    found = part.kind.in_sql(column, plan.scale(part), where)
    return f"{found} AS {'place' if part.is_placed else 'p'}{number}"


def treed(plan: Plan, parts: Sequence[Part], ctes: list[str], *, can_expire: bool) -> str:
    """A tree for each window, looked at from every row."""
    return select_parts(
        plan, parts, [*ctes, *tree(plan, parts, parts, can_expire=can_expire)], found="h"
    )


def tree(plan: Plan, parts: Sequence[Part], some: Sequence[Part], *, can_expire: bool) -> list[str]:
    """Some of the parts by row, as ``h``; of what ceases to count alone, for parts that are told otherwise of what stands to this day."""
    windows = {
        window: number for number, window in enumerate(dict.fromkeys(part.window for part in some))
    }
    raw = dict.fromkeys("place" if part.is_placed else value_of(part.column) for part in some)
    ended = "" if plan.strategy(some[0]) == TREES else " WHERE u IS NOT NULL"
    each = []
    for window, number in windows.items():
        enter, leave = (
            key_of(Edge(kind, window), has_validity=plan.has_validity, can_expire=can_expire)
            for kind in (ENTER, LEAVE)
        )
        each.append(
            f"SELECT {', '.join([f'{number} AS d', 'entity', f'{enter} AS enter', f'{leave} AS leave', *raw])} FROM e{ended}"
        )
    kept, seen, shown = [], [], []
    for part in some:
        name, how = name_of(plan, parts.index(part), part), "min" if part.is_least else "max"
        depth = part.place + 1
        deep = part.place > 0 and plan.strategy(part) == TREES
        kept.append(
            f"{how}({extreme_of(part)}{f', {integer(depth)}' if deep else ''}) FILTER (d = {windows[part.window]}) AS {name}"
        )
        seen.append(f"flatten(list(t.{name})) AS {name}" if deep else f"{how}(t.{name}) AS {name}")
        shown.append(f"list_reverse_sort({name})[{integer(depth)}] AS {name}" if deep else name)
    return [
        _CUTOFFS,
        "w AS (\n    " + "\n    UNION ALL ".join(each) + ")",
        _STRETCHES,
        _NODES,
        f"t AS (\n    SELECT entity, level, node, {', '.join(kept)}\n    FROM n GROUP BY entity, level, node)",
        f"x AS (\n    SELECT v.entity, c, {', '.join(seen)}{_ABOVE})",
        f"h AS (\n    SELECT spine_row, {', '.join(shown)} FROM rows LEFT JOIN x USING (entity, c))",
    ]
