"""Parts of rows and their entity's events: a join if they make few pairs, otherwise a segment tree.

The tree is over an entity's cutoffs (see ``on_polars.segment_tree``): an event is stored at the few
nodes that cover the range of cutoffs in whose windows it is, and a row reads the nodes above its
own cutoff. Its time does not grow with the number of pairs.
"""

from collections.abc import Sequence

from eventlake.core.sql import identifier, integer
from eventlake.features.aggregates.part_kinds import TREES
from eventlake.features.declared.bound import Bound
from eventlake.features.on_duckdb.events import extreme_of, key_of, name_of, select_parts, value_of
from eventlake.features.planned.edges import ENTER, LEAVE, Edge
from eventlake.features.planned.plan import Part, Plan

# The number of binary digits of a count is the number of levels of its tree.
_CUTOFFS = """l AS MATERIALIZED (
    SELECT entity, c, row_number() OVER o AS n,
        len(bin(count(*) OVER (PARTITION BY entity))) AS levels
    FROM (SELECT DISTINCT entity, c FROM rows) WINDOW o AS (PARTITION BY entity ORDER BY c))"""
"""The cutoffs of each entity, numbered from 1."""
_STRETCHES = """s AS (
    SELECT w.* EXCLUDE (enter, leave), coalesce(l.n, 0) AS first, coalesce(m.n, 0) AS stop
    FROM w ASOF LEFT JOIN l ON l.entity = w.entity AND l.c <= enter
    ASOF LEFT JOIN l AS m ON m.entity = w.entity AND m.c <= leave)"""
"""The range of cutoffs in whose windows each event is, from 0, ``stop`` exclusive."""
_NODES = """y AS (
    SELECT * EXCLUDE (first, stop), (first + (1 << level) - 1) >> level AS low,
        stop >> level AS high
    FROM (SELECT *, unnest(range(len(bin(stop - first)))) AS level FROM s WHERE first < stop)),
n AS (
    SELECT * EXCLUDE (low, high), low AS node FROM y WHERE low < high AND low & 1 = 1
    UNION ALL SELECT * EXCLUDE (low, high), high - 1 AS node FROM y
    WHERE low < high AND high & 1 = 1)"""
"""The nodes that cover each range, by level."""
_ABOVE = """
    FROM (SELECT entity, c, n - 1 AS place, unnest(range(levels)) AS level FROM l) AS v
    LEFT JOIN t ON t.entity = v.entity AND t.level = v.level AND t.node = place >> v.level
    GROUP BY v.entity, c"""


def joined(plan: Plan, parts: Sequence[Part], ctes: list[str], *, can_expire: bool) -> str:
    """Join each row with the events of its entity, and aggregate those in each window."""
    nearest = Bound(min(part.window.end.shortest for part in parts))
    # Parts of one event share its place, which is looked for once.
    once = {
        (part.window, part.place) if part.is_placed else part: number
        for number, part in reversed(list(enumerate(parts)))
    }
    found = [
        "spine_row",
        *(_aggregate(plan, number, parts[number], nearest) for number in sorted(once.values())),
    ]
    starts = [part.window.start for part in parts if part.window.start is not None]
    furthest = Bound(max((start.longest for start in starts), default=0))
    # Starts and ends of windows are computed once per row, not once per pair.
    bounds = dict.fromkeys([nearest, *(part.window.end for part in parts), *starts])
    if starts:
        bounds.setdefault(furthest)
    instants = [f"{bound.instant_in_sql('c')} AS {_instant(bound)}" for bound in bounds]
    rows = f"SELECT *, {', '.join(instants)} FROM rows"
    seen = [
        "e.entity = rows.entity",
        f"t < {_instant(nearest)}",
        # Only if every window has a start are there events that no part looks at.
        *([f"t >= {_instant(furthest)}"] if len(starts) == len(parts) else []),
    ]
    if plan.has_validity:
        seen.append("r < c")
        if can_expire:
            seen.append("(u IS NULL OR u >= c)")
    joins = f"({rows}) AS rows JOIN e ON {' AND '.join(seen)}"
    ctes.append(f"f AS (\n    SELECT {', '.join(found)}\n    FROM {joins}\n    GROUP BY spine_row)")
    return select_parts(plan, parts, ctes, placed=True)


def _instant(bound: Bound) -> str:
    """Column of the bound of a row's cutoff."""
    return identifier(bound.instant_in_sql("c"))


def _aggregate(plan: Plan, number: int, part: Part, nearest: Bound) -> str:
    """A part of a row's events, all of which count and lie before the nearest end of a window."""
    start, end = part.window.start, part.window.end
    inside = [f"t < {_instant(end)}"] if end != nearest else []
    inside += [f"t >= {_instant(start)}"] if start is not None else []
    where = f" FILTER ({' AND '.join(inside)})" if inside else ""
    column = value_of(part.column) if part.column else ""
    found = part.kind.in_sql(column, plan.scale(part), where)
    return f"{found} AS {'place' if part.is_placed else 'p'}{number}"


def treed(plan: Plan, parts: Sequence[Part], ctes: list[str], *, can_expire: bool) -> str:
    """A tree for each window, read from every row."""
    return select_parts(
        plan, parts, [*ctes, *tree(plan, parts, parts, can_expire=can_expire)], found="h"
    )


def tree(plan: Plan, parts: Sequence[Part], some: Sequence[Part], *, can_expire: bool) -> list[str]:
    """Common table expressions that end in ``h``, some of the parts by row.

    Only events that cease to count are in the tree for parts whose strategy is not the tree:
    running extremes find those of the other events.
    """
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
        shown = [f"{number} AS d", "entity", f"{enter} AS enter", f"{leave} AS leave", *raw]
        each.append(f"SELECT {', '.join(shown)} FROM e{ended}")
    kept, seen, shown = [], [], []
    for part in some:
        name, how = name_of(plan, parts.index(part), part), "min" if part.is_least else "max"
        depth = part.place + 1
        # Only these need several events in a node; all others need the greatest.
        deep = part.place > 0 and plan.strategy(part) == TREES
        kept.append(
            f"{how}({extreme_of(part)}{f', {integer(depth)}' if deep else ''}) FILTER (d = "
            f"{windows[part.window]}) AS {name}"
        )
        seen.append(f"flatten(list(t.{name})) AS {name}" if deep else f"{how}(t.{name}) AS {name}")
        shown.append(f"list_reverse_sort({name})[{integer(depth)}] AS {name}" if deep else name)
    return [
        _CUTOFFS,
        "w AS (\n    " + "\n    UNION ALL ".join(each) + ")",
        _STRETCHES,
        _NODES,
        (
            f"t AS (\n    SELECT entity, level, node, {', '.join(kept)}\n"
            "    FROM n GROUP BY entity, level, node)"
        ),
        f"x AS (\n    SELECT v.entity, c, {', '.join(seen)}{_ABOVE})",
        (
            f"h AS (\n    SELECT spine_row, {', '.join(shown)} FROM rows "
            "LEFT JOIN x USING (entity, c))"
        ),
    ]
