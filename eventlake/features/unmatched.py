"""Entities of a spine that no event has: most often they are spelled otherwise."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from eventlake.core.shown import shown_short
from eventlake.features.nested import unfolded
from eventlake.features.plan import Plan
from eventlake.features.polars_parts import entity_of
from eventlake.features.relations import CHILD, PARENT
from eventlake.features.sources import related
from eventlake.history import polars_scan
from eventlake.history.pinned import PinnedHistory

_ENTITY, _SHOWN = "entity", 3
_HINT = "spell them alike, or give the feature set and el.spine.on the same by= and depth="


def unmatched(plan: Plan, history: PinnedHistory, rows: pa.Table) -> dict[str, str]:
    """What to say of each event type of which no entity of the spine has an event.

    Args:
        plan: Of the features.
        history: What was read.
        rows: The spine's rows with their features; a type is looked at only if all features that it takes part in are empty.

    Returns:
        A message by event type; none for types without events.
    """
    asked = pl.DataFrame(rows.select([plan.features.spine_entity])).to_series().drop_nulls().unique(maintain_order=True).alias(_ENTITY)
    if not len(asked):
        return {}
    above = related(plan, history).lazy() if plan.related else None
    found = {}
    for event_type in _empty(plan, rows):
        frame = unfolded(polars_scan.table(history.table(event_type)), plan.nested[event_type])
        named = frame.select(entity_of(plan, event_type).alias(_ENTITY)).drop_nulls()
        if above is not None:
            named = named.join(above, left_on=_ENTITY, right_on=CHILD).select(pl.col(PARENT).alias(_ENTITY))
        some = named.unique().head(_SHOWN).collect()[_ENTITY]
        if len(some) and not named.join(asked.to_frame().lazy(), on=_ENTITY, how="semi").head(1).collect().height:
            found[event_type] = (
                f"feature set {plan.features.name}: no entity of the spine has an event of {event_type}: the spine names "
                f"{_texts(asked.head(_SHOWN))}, events name {_texts(some.sort())}; {_HINT}"
            )
    return found


def _empty(plan: Plan, rows: pa.Table) -> Iterator[str]:
    """The types of which no feature says anything in any row."""
    for event_type in plan.by:
        mine = [one for one in plan.features.features if any(part.event_type == event_type for part in one.aggregates())]
        if all(_says_nothing(rows.column(one.column)) for one in mine):
            yield event_type


def _says_nothing(column: pa.ChunkedArray) -> bool:
    """Whether a column has nothing but nulls, zeros and false."""
    values = pl.Series(column).drop_nulls()
    if values.dtype == pl.Boolean:
        return not values.any()
    return not len(values) or (values.dtype.is_numeric() and not (values != 0).any())


def _texts(values: pl.Series) -> str:
    return ", ".join(shown_short(value) for value in values)
