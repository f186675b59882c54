"""What belongs to what at every instant, from the events of relations."""

from collections.abc import Sequence

import polars as pl

from eventlake.core.names import AS_RECORDED, LATEST
from eventlake.features.planned.nested_fields import Paths, unfolded
from eventlake.history import polars_scan
from eventlake.history.corrections import SPOKE, UNTIL
from eventlake.tables.event_table import EventTable

CHILD, PARENT, SINCE, TILL = (
    "eventlake child",
    "eventlake parent",
    "eventlake since",
    "eventlake till",
)
"""Columns whose names no field of a payload can have."""
Level = tuple[EventTable, pl.DataFrame | None, Paths, str, str]
"""Event table of a relation, lifetimes of corrected events (None for the state at the watermark),
nested fields, child and parent."""


def belongs(levels: Sequence[Level]) -> pl.DataFrame:
    """Which child belongs to which entity at which cutoffs.

    Args:
        levels: The relations, from child to entity.

    Returns:
        ``CHILD`` of the first relation, ``PARENT`` of the last, ``SINCE`` and ``TILL`` in
        microseconds: the child belongs to the parent at cutoffs with ``since < cutoff <= till``;
        null for no end.
    """
    first, *others = (_level(*level) for level in levels)
    found = first
    for level in others:
        above = level.rename(
            {"child": "entity", "entity": "above", "since": "since above", "till": "till above"}
        )
        both = found.join(above, on="entity", how="inner")
        since, till = (
            pl.max_horizontal("since", "since above"),
            pl.min_horizontal("till", "till above"),
        )
        found = both.select("child", entity="above", since=since, till=till).filter(
            # Both must hold at once: spans that do not overlap leave nothing.
            pl.col("till").is_null() | (pl.col("since") < pl.col("till"))
        )
    return found.sort("child", "since").select(
        pl.col("child").alias(CHILD),
        pl.col("entity").alias(PARENT),
        pl.col("since").alias(SINCE),
        pl.col("till").alias(TILL),
    )


def _level(
    table: EventTable, until: pl.DataFrame | None, nested: Paths, child: str, parent: str
) -> pl.DataFrame:
    """The parents of one relation over time.

    Between two instants at which an event becomes known or is superseded, the last event by time
    names the parent.
    """
    frame = unfolded(
        polars_scan.table(table, LATEST if until is None else AS_RECORDED),
        nested,
    )
    known, ends = pl.col("time"), pl.lit(None, pl.Datetime("us", "UTC"))
    if until is not None:
        known, ends = pl.max_horizontal("time", "recorded_at"), pl.col(UNTIL)
        frame = frame.join(until.lazy(), on=["source", "id"], how="left").filter(
            pl.col(SPOKE).fill_null(value=True)
        )
    statements = (
        frame.filter(pl.col(child).is_not_null())
        .select(
            pl.col(child).alias("child"),
            pl.col(parent).alias("entity"),
            pl.col("time", "sequence"),
            known.dt.epoch("us").alias("known"),
            ends.dt.epoch("us").alias("ends"),
        )
        .collect()
    )
    begins = statements.select("child", since="known")
    ends_of = statements.select("child", since="ends").drop_nulls()
    spans = pl.concat([begins, ends_of]).unique().sort("child", "since")
    spans = spans.with_columns(till=pl.col("since").shift(-1).over("child"))
    valid = spans.join(statements, on="child").filter(
        (pl.col("known") <= pl.col("since"))
        & (pl.col("ends").is_null() | (pl.col("ends") > pl.col("since")))
    )
    last = (
        valid.sort("time", "sequence")
        .group_by("child", "since", "till")
        .agg(pl.col("entity").last())
    )
    # A null parent ends the relation before it, so it is dropped only now.
    return last.drop_nulls("entity").select("child", "entity", "since", "till")
