"""Rows and events as Polars expressions and frames. The twin of ``on_duckdb.events``."""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import polars as pl
import pyarrow as pa

from eventlake.core.names import AS_RECORDED, LATEST
from eventlake.features.declared.conditions import Condition
from eventlake.features.declared.window import Window
from eventlake.features.planned.early import RECORDED
from eventlake.features.planned.edges import ENTER, NEVER, TIME, Edge
from eventlake.features.planned.literals import in_polars
from eventlake.features.planned.nested_fields import unfolded
from eventlake.features.planned.plan import Plan, Stream
from eventlake.features.planned.relations import CHILD, PARENT, SINCE, TILL
from eventlake.features.planned.sources import Source
from eventlake.history import polars_scan
from eventlake.history.corrections import FAMILY, SPOKE, UNTIL
from eventlake.schemas.schema import FieldType

FEW_ENTITIES = 5_000
"""Entities up to which events are filtered by a list of them."""


def numbered(entities: pa.Array) -> pl.DataFrame:
    """Entities and their numbers: ``entity`` and ``code``."""
    return pl.DataFrame({"entity": pl.Series(entities), "code": np.arange(len(entities))})


def value_of(column: str) -> str:
    """The name of a column of an event table, which clashes with no other name."""
    return f"f {column}"


def edge_of(edge: Edge, *, has_validity: bool, can_expire: bool) -> pl.Expr:
    """An edge of an event, as ``k``; ``NEVER`` if the event never reaches it."""
    if edge.kind == TIME:
        return pl.col("t").alias("k")
    enter = edge.window.end.edge_in_polars(pl.col("t"))
    enter = pl.max_horizontal(enter, "r") if has_validity else enter
    start = edge.window.start
    stops = [
        *([start.edge_in_polars(pl.col("t"))] if start is not None else []),
        *([pl.col("u")] if can_expire else []),
    ]
    # ``min_horizontal`` skips nulls: an event that is still valid leaves by its time alone.
    leave = pl.max_horizontal(enter, pl.min_horizontal([*stops, pl.lit(NEVER)]))
    return (enter if edge.kind == ENTER else leave).alias("k")


def is_inside(window: Window, *, has_validity: bool, can_expire: bool) -> pl.Expr:
    """Whether an event, of ``events``, counts in a window for the cutoff ``c``."""
    inside = [pl.col("t") < window.end.instant_in_polars(pl.col("c"))]
    if window.start is not None:
        inside.append(pl.col("t") >= window.start.instant_in_polars(pl.col("c")))
    if has_validity:
        inside.append(pl.col("r") < pl.col("c"))
        if can_expire:
            inside.append(pl.col("u").is_null() | (pl.col("u") >= pl.col("c")))
    return pl.all_horizontal(inside)


def events(
    plan: Plan,
    stream: Stream,
    source: Source,
    entities: pl.DataFrame,
    columns: Sequence[str],
    *,
    families: pl.DataFrame | None = None,
) -> pl.LazyFrame:
    """The events of a stream and of some entities, ordered by entity, time and sequence.

    Args:
        plan: The plan.
        stream: The stream.
        source: Its event table.
        entities: ``entity`` and its number ``code``.
        columns: Columns of the event table to select, or ``RECORDED``.
        families: ``source`` and ``id`` of the only events to read; None for all events.

    Returns:
        ``code``, ``t``, ``sequence``, the columns as ``value_of`` names them and, if the plan and
        the source have validity, ``r`` and ``u``, since and until when an event counts. Instants
        are microseconds; ``u`` is null if there is no end.
    """
    known = plan.known_at_cutoff
    whole = polars_scan.table(source.table, AS_RECORDED if known else LATEST)
    if families is not None:
        whole = whole.join(families.lazy(), on=FAMILY, how="semi")
    frame = unfolded(whole, plan.nested[stream.event_type])
    is_plain = source.belongs is None and plan.features.pattern is None
    if is_plain and entities.height <= FEW_ENTITIES:
        # Parquet's reader skips the rows of others: a tenth of a second instead of half of one for
        # ten million events.
        few = entities["entity"].implode()
        frame = frame.filter(pl.col(plan.by[stream.event_type]).is_in(few))
    if source.until is not None and source.corrected:
        frame = frame.join(source.until.lazy(), on=["source", "id"], how="left").filter(
            pl.col(SPOKE).fill_null(value=True)
        )
    if stream.where is not None:
        frame = frame.filter(condition(stream.where, plan.columns[stream.event_type]))
    entity = entity_of(plan, stream.event_type)
    begins = [pl.col("recorded_at").dt.epoch("us")] if known else []
    stops = [pl.col(UNTIL).dt.epoch("us")] if source.corrected else []
    if source.belongs is not None:
        frame = frame.with_columns(entity.alias(CHILD)).join(
            source.belongs.lazy(), on=CHILD, how="inner"
        )
        entity, begins, stops = pl.col(PARENT), [*begins, pl.col(SINCE)], [*stops, pl.col(TILL)]
    shown = [entity.alias("entity"), pl.col("time").dt.epoch("us").alias("t"), pl.col("sequence")]
    # Both skip nulls: an event that is still valid, or still belongs, has no end.
    shown += [pl.max_horizontal(begins).alias("r")] if begins else []
    shown += [pl.min_horizontal(stops).alias("u")] if stops else []
    shown += [_column(name).alias(value_of(name)) for name in columns]
    numbered = frame.select(shown).join(entities.lazy(), on="entity", how="inner").drop("entity")
    return numbered.sort("code", "t", "sequence")


def _column(name: str) -> pl.Expr:
    if name != RECORDED:
        return pl.col(name)
    first = pl.col("corrects").is_null()
    return pl.when(first).then(pl.col("recorded_at")).otherwise(pl.col("time")).dt.epoch("us")


def entity_of(plan: Plan, event_type: str) -> pl.Expr:
    """What ``by`` names of an event."""
    column, pattern = pl.col(plan.by[event_type]), plan.features.pattern
    return column if pattern is None else column.str.extract(pattern, 1)


def condition(where: Condition, kinds: Mapping[str, FieldType]) -> pl.Expr:
    """A condition over the columns of an event table."""
    parts = [condition(part, kinds) for part in where.parts]
    if where.sign == "and":
        return reduce(lambda one, other: one & other, parts)
    if where.sign == "or":
        return reduce(lambda one, other: one | other, parts)
    if where.sign == "not":
        return ~parts[0]
    column = pl.col(where.field)
    if where.sign == "null":
        return column.is_null()
    values = [in_polars(value, kinds[where.field]) for value in where.values]
    if where.sign == "in":
        return reduce(lambda one, other: one | other, (column == value for value in values))
    compared = {
        "==": column.eq,
        "!=": column.ne,
        "<": column.lt,
        "<=": column.le,
        ">": column.gt,
        ">=": column.ge,
    }
    return compared[where.sign](values[0])
