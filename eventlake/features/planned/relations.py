"""To what something belongs at every instant, as events of relations say it."""

from collections.abc import Sequence

import polars as pl

from eventlake.features.planned.nested_fields import Paths, unfolded
from eventlake.history import polars_scan
from eventlake.history.corrections import SPOKE, UNTIL
from eventlake.tables.files import EventTable

CHILD, PARENT, SINCE, TILL = (
    "eventlake child",
    "eventlake parent",
    "eventlake since",
    "eventlake till",
)
"""Columns that no payload has a field for."""
Level = tuple[EventTable, pl.DataFrame | None, Paths, str, str]
"""The event table of a relation, how long its corrected events stood (None for what stands at the watermark), fields inside of fields that
are read, and its child and parent."""


def belongs(levels: Sequence[Level]) -> pl.DataFrame:
    """Who belongs to which entity at which cutoffs.

    Args:
        levels: The relations, in the order of climbing.

    Returns:
        ``CHILD``, of the first relation, ``PARENT``, of the last, and ``SINCE``, ``TILL`` in
        microseconds: the one belongs to the other for every cutoff with ``since < cutoff``, and
        ``cutoff <= till`` unless that is null.
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
    """One relation. Between two instants at which something becomes known, or stops standing, the last event by time speaks."""
    frame = unfolded(
        polars_scan.table(table, polars_scan.LATEST if until is None else polars_scan.AS_RECORDED),
        nested,
    )
    known, ends = pl.col("time"), pl.lit(None, pl.Datetime("us", "UTC"))
    if until is not None:
        known, ends = pl.max_horizontal("time", "recorded_at"), pl.col(UNTIL)
        frame = frame.join(until.lazy(), on=["source", "id"], how="left").filter(
            pl.col(SPOKE).fill_null(value=True)
        )
    said = (
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
    turns = (
        pl.concat(
            [said.select("child", since="known"), said.select("child", since="ends").drop_nulls()]
        )
        .unique()
        .sort("child", "since")
    )
    turns = turns.with_columns(till=pl.col("since").shift(-1).over("child"))
    spoken = turns.join(said, on="child").filter(
        (pl.col("known") <= pl.col("since"))
        & (pl.col("ends").is_null() | (pl.col("ends") > pl.col("since")))
    )
    last = (
        spoken.sort("time", "sequence")
        .group_by("child", "since", "till")
        .agg(pl.col("entity").last())
    )
    return last.drop_nulls("entity").select("child", "entity", "since", "till")
