"""A plan as a program to read and to run: DuckDB's join, or the same in Polars."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from eventlake.features.aggregates.part_kinds import Added
from eventlake.features.declared.conditions import Condition
from eventlake.features.on_duckdb.parts import joins
from eventlake.features.on_polars.events import value_of
from eventlake.features.planned.literals import in_python
from eventlake.features.planned.plan import Part, Plan, Stream
from eventlake.schemas.schema import FieldType

# JSON's escapes mean the same in a Python literal.
quoted = partial(json.dumps, ensure_ascii=False)
"""Text as a Python literal in double quotes."""
_SIGNS = {"and": " & ", "or": " | "}


def text(plan: Plan, engine: str) -> str:
    """The program of an engine for every stream of events.

    Args:
        plan: Plan of the features.
        engine: ``duckdb`` or ``polars``.
    """
    if engine == "polars":
        return (
            "\n\n".join(
                [
                    "\n".join(_head(plan)),
                    *("\n".join(_program(plan, *one)) for one in plan.parts_by_stream().items()),
                ]
            )
            + "\n"
        )
    pieces = []
    for stream, parts in plan.parts_by_stream().items():
        for some, query in joins(plan, stream, parts, can_expire=plan.has_validity):
            pieces.append("\n".join([*_comments(plan, some, "--"), f"{query};"]))
    return "\n\n".join(pieces) + "\n"


def _comments(plan: Plan, parts: Sequence[Part], sign: str) -> Iterator[str]:
    """Comments that name each part and its features."""
    for number, part in enumerate(parts):
        users = [
            one.column
            for one in plan.features.features
            if any(part in plan.parts[piece] for piece in one.aggregates())
        ]
        of = f" of {part.column}" if part.column else ""
        yield f"{sign} p{number}: {part.kind.name}{of}, for {', '.join(users)}"


def _head(plan: Plan) -> Iterator[str]:
    yield "# Over snapshot, features, and spine, a polars.DataFrame with spine_row."
    yield "# A build finds the same numbers by prefix sums and searches along each entity's events;"
    yield "# this program joins each row with all of them."
    yield "from datetime import date, datetime"
    yield "from decimal import Decimal"
    yield ""
    yield "import polars as pl"
    yield ""
    yield "# Microseconds: an event's time, the row's cutoff, since and until when an event counts."
    yield 't, c, r, u = (pl.col(name) for name in "tcru")'
    entity, cutoff = plan.features.spine_entity, plan.features.cutoff
    instant = f'pl.col({quoted(cutoff)}).dt.epoch("us")'
    yield f'rows = spine.lazy().select("spine_row", entity=pl.col({quoted(entity)}), c={instant})'
    if plan.related:
        yield "belongs = features.belongs(snapshot).lazy()"


def _program(plan: Plan, stream: Stream, parts: list[Part]) -> Iterator[str]:
    """The program of one stream: ``found`` has the parts by ``spine_row``, as ``p0``, ``p1``, …."""
    name, kinds, known = (
        quoted(stream.event_type),
        plan.columns[stream.event_type],
        plan.known_at_cutoff,
    )
    yield from _comments(plan, parts, "#")
    if known:
        yield f"events = snapshot.table({name})"
        lifetimes = f"snapshot.lifetimes({name}).lazy()"
        yield f'events = events.join({lifetimes}, on=["source", "id"], how="left")'
        yield 'events = events.filter(pl.col("eventlake spoke").fill_null(True))'
    else:
        yield f'events = snapshot.table({name}, corrections="latest")'
    for path_name, (column, *path) in plan.nested[stream.event_type].items():
        fields = "".join(f".struct.field({quoted(part)})" for part in path)
        nested = f"pl.col({quoted(column)}){fields}.alias({quoted(path_name)})"
        yield f"events = events.with_columns({nested})"
    if stream.where is not None:
        yield f"events = events.filter({_condition(stream.where, kinds)})"
    entity = f"pl.col({quoted(plan.by[stream.event_type])})"
    entity += f".str.extract(r{plan.features.pattern!r}, 1)" if plan.features.pattern else ""
    begins = ['pl.col("recorded_at").dt.epoch("us")'] if known else []
    stops = ['pl.col("eventlake until").dt.epoch("us")'] if known else []
    if plan.related:
        child = f'{entity}.alias("eventlake child")'
        yield f'events = events.with_columns({child}).join(belongs, on="eventlake child")'
        entity = 'pl.col("eventlake parent")'
        begins, stops = [*begins, 'pl.col("eventlake since")'], [*stops, 'pl.col("eventlake till")']
    shown = ['"sequence"', f'{entity}.alias("entity")', 'pl.col("time").dt.epoch("us").alias("t")']
    shown += (
        [
            f'pl.max_horizontal({", ".join(begins)}).alias("r")',
            f'pl.min_horizontal({", ".join(stops)}).alias("u")',
        ]
        if plan.has_validity
        else []
    )
    shown += [
        f"pl.col({quoted(column)}).alias({quoted(value_of(column))})"
        for column in dict.fromkeys(part.column for part in parts)
        if column
    ]
    yield "events = events.select(\n    " + ",\n    ".join(shown) + ",\n)"
    counts = ".filter(r < c, u.is_null() | (u >= c))" if plan.has_validity else ""
    yield f'pairs = rows.join(events, on="entity"){counts}.sort("spine_row", "t", "sequence")'
    made = ",\n    ".join(
        f"p{number}={_part_text(part, kinds)}" for number, part in enumerate(parts)
    )
    yield f'found = pairs.group_by("spine_row").agg(\n    {made},\n)'
    nothing = ", ".join(
        f'pl.col("p{number}").fill_null(0)'
        for number, part in enumerate(parts)
        if isinstance(part.kind, Added)
    )
    yield (
        'found = rows.select("spine_row")'
        '.join(found, on="spine_row", how="left", maintain_order="left")'
    )
    yield (
        f"found = found.with_columns({nothing}).collect()" if nothing else "found = found.collect()"
    )


def _part_text(part: Part, kinds: Mapping[str, FieldType]) -> str:
    """The source of a part, over a row's events in the order of time."""
    start, end = part.window.start, part.window.end
    inside = f"t < {end.instant_in_python('c')}"
    inside += "" if start is None else f", t >= {start.instant_in_python('c')}"
    values = "(c - t)" if part.is_placed else "t"
    if part.column:
        values = f"pl.col({quoted(value_of(part.column))})"
    decimal = part.column in kinds and kinds[part.column].kind == "decimal"
    return part.kind.in_python(f"{values}.filter({inside})", is_decimal=decimal)


def _condition(where: Condition, kinds: Mapping[str, FieldType]) -> str:
    parts = [_condition(part, kinds) for part in where.parts]
    if where.sign in _SIGNS:
        return f"({_SIGNS[where.sign].join(parts)})"
    if where.sign == "not":
        return f"(~{parts[0]})"
    column = f"pl.col({quoted(where.field)})"
    if where.sign == "null":
        return f"{column}.is_null()"
    values = [in_python(value, kinds[where.field]) for value in where.values]
    if where.sign == "in":
        return f"({' | '.join(f'({column} == {value})' for value in values)})"
    return f"({column} {where.sign} {values[0]})"
