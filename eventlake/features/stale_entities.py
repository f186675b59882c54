"""Entities whose features may have changed since an earlier watermark."""

import polars as pl

from eventlake.features.on_polars.events import entity_of
from eventlake.features.planned.nested_fields import unfolded
from eventlake.features.planned.plan import Plan
from eventlake.features.planned.relations import CHILD, PARENT
from eventlake.features.planned.sources import Source, sources
from eventlake.history import polars_scan
from eventlake.history.corrections import FAMILY, symmetric_difference
from eventlake.history.pinned import PinnedHistory

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
    then, now = sources(plan, before), sources(plan, history)
    touched = [_touched(plan, name, then[name], now[name], before.watermark) for name in plan.by]
    found = pl.concat(touched).unique()
    related = next(iter(now.values())).belongs
    old = next(iter(then.values())).belongs
    if related is not None and old is not None:
        # Events name children; their parents now, and those who have gained or lost a child, are
        # stale.
        above = related.join(found.rename({_ENTITY: CHILD}), on=CHILD, how="semi")
        found = pl.concat(
            [
                frame.select(pl.col(PARENT).alias(_ENTITY))
                for frame in (above, symmetric_difference(related, old))
            ]
        ).unique()
    return found[_ENTITY]


def _touched(plan: Plan, event_type: str, then: Source, now: Source, since: int) -> pl.DataFrame:
    """Entities whose events of a type are new, or are valid at other times than before."""
    whole = unfolded(polars_scan.table(now.table), plan.nested[event_type])
    frame = whole.select("sequence", *FAMILY, entity_of(plan, event_type).alias(_ENTITY))
    validity = [
        polars_scan.superseded_events(one.table) if one.until is None else one.until
        for one in (then, now)
    ]
    changed_validity = symmetric_difference(*validity).select(FAMILY).lazy()
    new, moved = (
        frame.filter(pl.col("sequence") >= since),
        frame.join(changed_validity, on=FAMILY, how="semi"),
    )
    return pl.concat([new.select(_ENTITY), moved.select(_ENTITY)]).unique().collect()
