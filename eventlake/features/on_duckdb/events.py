"""Rows and events as SQL: the first tables of every query, edges of events, and selected parts."""

from collections.abc import Mapping, Sequence

from eventlake.core.names import LIFETIMES
from eventlake.core.sql import identifier, integer, quoted
from eventlake.features.aggregates.part_kinds import EXTREMES, PLACES, Added
from eventlake.features.declared.conditions import Condition
from eventlake.features.declared.window import Window
from eventlake.features.planned.early import RECORDED
from eventlake.features.planned.edges import ENTER, NEVER, TIME, Edge
from eventlake.features.planned.literals import in_sql
from eventlake.features.planned.nested_fields import unfolded_sql
from eventlake.features.planned.plan import Part, Plan, Stream
from eventlake.features.planned.relations import CHILD, PARENT, SINCE, TILL
from eventlake.history.corrections import SPOKE, UNTIL
from eventlake.schemas.schema import FieldType

BELONGS_TABLE = "eventlake belongs"
# One number orders events by time and sequence, without a window over all of them.
_ORDER = "t::HUGEINT * 9223372036854775808 + sequence"
_COUNTED = "row_number() OVER (PARTITION BY entity ORDER BY t, sequence)"
_JOINS = {"and": " AND ", "or": " OR "}
_COMPARISONS = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def value_of(column: str) -> str:
    """The quoted name of a column of an event table, which clashes with no other name."""
    return identifier(f"f {column}")


def names_of(plan: Plan) -> str:
    """A query that numbers entities: numbers sort and join faster than names."""
    name = identifier(plan.features.spine_entity)
    return (
        f"SELECT name, row_number() OVER () AS entity FROM (SELECT DISTINCT spine.{name} AS name "
        "FROM spine)"
    )


def rows_of(plan: Plan) -> str:
    """A query of the rows of a spine, over ``names``."""
    name, cutoff = identifier(plan.features.spine_entity), identifier(plan.features.cutoff)
    return (
        f"SELECT spine_row, names.entity, epoch_us(spine.{cutoff}) AS c FROM spine LEFT JOIN names "
        f"ON names.name = spine.{name}"
    )


def _entity_of(plan: Plan, stream: Stream) -> str:
    """What ``by`` names of an event."""
    column, pattern = identifier(plan.by[stream.event_type]), plan.features.pattern
    return (
        # DuckDB returns empty text if nothing matches, where Polars returns null.
        column if pattern is None else f"nullif(regexp_extract({column}, {quoted(pattern)}, 1), '')"
    )


def events_of(plan: Plan, stream: Stream, columns: Sequence[str], *, can_expire: bool) -> str:
    """A query of the events of a stream whose entity is in ``names``.

    Args:
        plan: The plan.
        stream: The stream.
        columns: Columns of the event table to select, or ``RECORDED``.
        can_expire: Whether some event ceases to count at some time.
    """
    kinds = plan.columns[stream.event_type]
    known, related = plan.known_at_cutoff, bool(plan.related)
    superseded = known and can_expire
    chosen = dict.fromkeys(columns)
    shown = [
        "entity",
        "t",
        "sequence",
        *(["r"] if plan.has_validity else []),
        *(["u"] if superseded or related else []),
        *map(value_of, chosen),
    ]
    begins = [
        *(["epoch_us(recorded_at)"] if known else []),
        *([identifier(SINCE)] if related else []),
    ]
    stops = [
        *([f"epoch_us({identifier(UNTIL)})"] if superseded else []),
        *([identifier(TILL)] if related else []),
    ]
    inner = [
        f"{identifier(PARENT) if related else _entity_of(plan, stream)} AS name",
        "epoch_us(time) AS t",
        "sequence",
    ]
    # Both skip nulls: an event that is still valid, or still belongs, has no end.
    inner += [f"greatest({', '.join(begins)}) AS r"] if begins else []
    inner += [f"least({', '.join(stops)}) AS u"] if stops else []
    inner += [f"{_column(name)} AS {value_of(name)}" for name in chosen]
    # With its schema: an event type may have the name of one of our tables.
    table = unfolded_sql(
        ("main." if known else "latest.") + identifier(stream.event_type),
        plan.nested[stream.event_type],
    )
    where = [_condition(stream.where, kinds)] if stream.where is not None else []
    if superseded:
        table += f" LEFT JOIN {LIFETIMES}.{identifier(stream.event_type)} USING (source, id)"
        where.append(f"coalesce({identifier(SPOKE)}, true)")
    if related:
        table += (
            f" JOIN {identifier(BELONGS_TABLE)} ON {identifier(CHILD)} = {_entity_of(plan, stream)}"
        )
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    return f"""SELECT {", ".join(shown)}
    FROM (SELECT {", ".join(inner)} FROM {table}{condition}) JOIN names USING (name)"""


def _column(name: str) -> str:
    if name != RECORDED:
        return identifier(name)
    return "epoch_us(CASE WHEN corrects IS NULL THEN recorded_at ELSE time END)"


def is_counted(plan: Plan, parts: Sequence[Part], *, few: bool) -> bool:
    """Whether places are counted from 1, which takes a sort of the events.

    Parts that subtract places along an edge need it. So do relations: one event may belong to an
    entity at several intervals, and would be there twice under one time and sequence.
    """
    subtracted = any(part.place and plan.strategy(part) == PLACES for part in parts)
    return bool(plan.related) or (subtracted and not few)


def placed(events: str, *, counted: bool) -> str:
    """A query of events with ``place``, which orders those of an entity.

    Args:
        events: A table, or a query in brackets.
        counted: Whether places are 1, 2, …; otherwise a number made of time and sequence.
    """
    return f"SELECT *, {_COUNTED if counted else _ORDER} AS place FROM {events}"


def _condition(where: Condition, kinds: Mapping[str, FieldType]) -> str:
    parts = [_condition(part, kinds) for part in where.parts]
    if where.sign in _JOINS:
        return f"({_JOINS[where.sign].join(parts)})"
    if where.sign == "not":
        return f"(NOT {parts[0]})"
    column = identifier(where.field)
    if where.sign == "null":
        return f"({column} IS NULL)"
    values = ", ".join(in_sql(value, kinds[where.field]) for value in where.values)
    if where.sign == "in":
        return f"({column} IN ({values}))"
    return f"({column} {_COMPARISONS[where.sign]} {values})"


def key_of(edge: Edge, *, has_validity: bool, can_expire: bool) -> str:
    """An edge of an event, as a SQL expression."""
    if edge.kind == TIME:
        return "t"
    enter = edge.window.end.edge_in_sql("t")
    enter = f"greatest({enter}, r)" if has_validity else enter
    # ``least`` skips nulls: an event that is still valid leaves by its time alone.
    stops = [
        *([edge.window.start.edge_in_sql("t")] if edge.window.start is not None else []),
        *(["u"] if can_expire else []),
        integer(NEVER),
    ]
    leave = f"greatest({enter}, least({', '.join(stops)}))"
    made = enter if edge.kind == ENTER else leave
    if not edge.column:
        return made
    # Both edges are computed in one order of the events. Ties in it are harmless, because events
    # that tie have the same edges.
    order = f"PARTITION BY entity, {value_of(edge.column)} ORDER BY {enter}, {leave}"
    before = f"{order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"
    return f"greatest({made}, max({leave}) OVER ({before}))"


def extreme_of(part: Part) -> str:
    """The column whose extreme is searched."""
    return "place" if part.is_placed else value_of(part.column)


def name_of(plan: Plan, number: int, part: Part) -> str:
    """Column of a part in a query: its value, the place of its event, or that event's value."""
    if not part.is_placed:
        return f"p{number}"
    return f"place{number}" if plan.strategy(part) != PLACES or part.place else f"v{number}"


def select_parts(
    plan: Plan, parts: Sequence[Part], ctes: list[str], *, found: str = "f", placed: bool = False
) -> str:
    """The query of parts by row, which looks up values of events by their place if necessary.

    Args:
        plan: The plan.
        parts: The parts in order.
        ctes: Common table expressions so far.
        found: The one with the columns that ``name_of`` names; rows without events may be missing.
        placed: Whether it has places for all placed parts, and no values.
    """
    columns: list[str] = []
    at: dict[tuple[Window, int], int] = {}
    for number, part in enumerate(parts):
        name = f"place{number}" if placed and part.is_placed else name_of(plan, number, part)
        if isinstance(part.kind, Added):
            # A row without events counts none of them.
            columns.append(f"coalesce({name}, 0) AS {name}")
        elif not part.is_placed:
            columns.append(name)
        elif name.startswith("place"):
            one = f"e{at.setdefault((part.window, part.place), number)}"
            value = f"{one}.{value_of(part.column)}" if part.column else f"c - {one}.t"
            start = part.window.start
            # A running extreme never forgets. If the last event is before the window, so are all
            # others.
            if plan.strategy(part) == EXTREMES and start is not None:
                value = f"CASE WHEN {one}.t >= {start.instant_in_sql('c')} THEN {value} END"
            columns.append(f"{value} AS p{number}")
        else:
            columns.append(f"{'' if part.column else 'c - '}{name} AS p{number}")
    joins = [
        f"LEFT JOIN e AS e{one} ON e{one}.entity = rows.entity AND e{one}.place = "
        f"{found}.place{one}"
        for one in at.values()
    ]
    return "\n".join(
        [
            "WITH " + ",\n".join(ctes),
            f"SELECT spine_row, {', '.join(columns)}",
            f"FROM rows LEFT JOIN {found} USING (spine_row)",
            *joins,
        ]
    )


def running_sum(part: Part, kind: Added, scale: int) -> tuple[str, str]:
    """The column of a running sum, and the aggregate of what events add to it."""
    column = value_of(part.column) if part.column else ""
    prefix = ("n", "s", "q")[kind.power]
    name = identifier(f"{prefix} {part.column}") if part.column else prefix
    return name, kind.event_sum(column, scale)
