"""A plan as a person reads it: the SQL that DuckDB runs, or the steps and expressions that Polars does."""

from collections.abc import Iterator

from eventlake.features import duckdb_parts, polars_parts
from eventlake.features.edges import Probe, probes
from eventlake.features.plan import EXTREMES, JOINS, PLACED, SUMS, Part, Plan, Stream


def text(plan: Plan, engine: str) -> str:
    """What an engine does for every stream of events.

    Args:
        plan: Of the features.
        engine: ``duckdb`` or ``polars``.
    """
    pieces = []
    for stream, parts in plan.wanted().items():
        for joined in (False, True):
            some = [part for part in parts if (plan.way(part) == JOINS) == joined]
            if some:
                pieces.append(_sql(plan, stream, some, joined=joined) if engine == "duckdb" else "\n".join(_steps(plan, stream, some)))
    return "\n\n".join(pieces) + "\n"


def _comments(plan: Plan, parts: list[Part], sign: str) -> Iterator[str]:
    """What each part is for."""
    for number, part in enumerate(parts):
        users = [one.column for one in plan.features.features if any(part in plan.parts[piece] for piece in one.aggregates())]
        yield f"{sign} p{number}: {part.kind}{f' of {part.column}' if part.column else ''}, for {', '.join(users)}"


def _sql(plan: Plan, stream: Stream, parts: list[Part], *, joined: bool) -> str:
    query = duckdb_parts.query(plan, stream, parts, ends=plan.timed, joined=joined)
    return "\n".join([*_comments(plan, parts, "--"), f"{query};"])


def _steps(plan: Plan, stream: Stream, parts: list[Part]) -> Iterator[str]:
    timed = plan.timed
    yield from _comments(plan, parts, "#")
    corrections = "as recorded, each with the instant u until which it stood" if plan.known_at_cutoff else "with the latest corrections"
    yield f"events = the table {stream.event_type}, {corrections}"
    if stream.where is not None:
        yield f"events = events.filter({polars_parts.condition(stream.where, plan.columns[stream.event_type])})"
    yield f"events = events.sort({plan.features.by}, t = time in microseconds, sequence)"
    yield f"rows   = the spine's {plan.features.spine_entity} and c = {plan.features.cutoff} in microseconds"
    for number, part in enumerate(parts):
        way = plan.way(part)
        if way == JOINS:
            inside = polars_parts.inside_window(part, timed=timed, ends=timed)
            yield f"p{number} = rows.join(events).filter({inside}).{part.kind}({part.column})"
            continue
        end, start = probes(part.span, timed=timed, ends=timed)
        looks = (_look(end), "the entity's first edge" if start is None else _look(start))
        if way == SUMS:
            yield f"p{number} = running {part.kind} before {looks[0]} - before {looks[1]}"
        elif way == EXTREMES:
            which = ("the first event" if part.place < 0 else "the last event") if part.kind in PLACED else f"the {part.kind}"
            limit = "" if part.span.far is None else f", where it is not before c - {part.span.far:,}"
            yield f"p{number} = {part.kind} {part.column}: of {which} of all before {looks[0]}{limit}"
        else:
            which = "the first event from" if part.place < 0 else f"the event {part.place + 1} before {looks[0]}, not before"
            yield f"p{number} = {part.kind} {part.column} of {which} {looks[1]}"


def _look(probe: Probe) -> str:
    edge = polars_parts.edge_of(probe.edge, ends=True)
    return f"[{edge} < c - {probe.shift:,}]"
