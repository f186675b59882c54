"""Entities whose features may have changed since an earlier watermark."""

import polars as pl

from eventlake.features.on_polars.events import entity_of
from eventlake.features.planned.nested_fields import unfolded
from eventlake.features.planned.plan import Plan
from eventlake.features.planned.relations import CHILD, PARENT
from eventlake.features.planned.sources import related
from eventlake.history import polars_scan
from eventlake.history.corrections import FAMILY, symmetric_difference
from eventlake.history.pinned import PinnedHistory
from eventlake.tables.event_table import EventTable

_ENTITY = "entity"


def changed(plan: Plan, before: PinnedHistory, history: PinnedHistory) -> pl.Series:
    """Entities with new events, corrections or relations since an earlier watermark.

    Args:
        plan: Plan of the features.
        before: The history at the earlier watermark, under the same schemas.
        history: The history now.

    Returns:
        Distinct entities, in no order.
    """
    tables = history.tables(plan.columns)
    touched = [_touched(plan, before, tables[name]) for name in plan.by]
    found = pl.concat(touched).unique()
    if plan.related:
        now, then = related(plan, history), related(plan, before)
        # Events name children; their parents now, and those who have gained or lost a child, are
        # stale.
        above = now.join(found.rename({_ENTITY: CHILD}), on=CHILD, how="semi")
        found = pl.concat(
            [
                frame.select(pl.col(PARENT).alias(_ENTITY))
                for frame in (above, symmetric_difference(now, then))
            ]
        ).unique()
    return found[_ENTITY]


def _touched(plan: Plan, before: PinnedHistory, table: EventTable) -> pl.DataFrame:
    """Entities whose events of a type are new, or are valid at other times than before."""
    event_type, since = table.version.schema.event_type, before.watermark

    def events(source: EventTable) -> pl.LazyFrame:
        rows = unfolded(polars_scan.table(source), plan.nested[event_type])
        return rows.select(
            "sequence", *FAMILY, "corrects", entity_of(plan, event_type).alias(_ENTITY)
        )

    # Of the files, only those with new events are read.
    new = events(table.since(since)).filter(pl.col("sequence") >= since).collect()
    # Only a correction changes when earlier events are valid.
    if new["corrects"].null_count() == new.height:
        return new.select(_ENTITY).unique()
    validity = polars_scan.lifetimes if plan.known_at_cutoff else polars_scan.superseded_events
    earlier = before.tables([event_type])[event_type]
    other = symmetric_difference(validity(table), validity(earlier)).select(FAMILY).lazy()
    moved = events(table).join(other, on=FAMILY, how="semi").select(_ENTITY).collect()
    return pl.concat([new.select(_ENTITY), moved]).unique()
