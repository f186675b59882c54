"""How many events a few entities have: whether they are looked up at once, or in pieces."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl
import pyarrow as pa

from eventlake.features.on_polars.events import FEW_ENTITIES, entity_of
from eventlake.features.planned.nested_fields import unfolded
from eventlake.features.planned.plan import Plan
from eventlake.features.planned.sources import Source
from eventlake.history import polars_scan
from eventlake.tables.event_table import EventTable

MOST_PARTS = 3
_SAFETY = 2


def estimate(
    plan: Plan,
    by_type: Mapping[str, Source],
    entities: pa.Array,
    events: Mapping[str, int],
    most_parts: int = MOST_PARTS,
) -> int:
    """About how many events some entities have, rather too many: all, if they are not few.

    Only their column is read, and only of some files.

    Args:
        plan: A plan of features.
        by_type: The event tables, by type.
        entities: Names of the entities.
        events: The number of all events, by type.
        most_parts: Files of a table up to which all are read; of more, two.
    """
    if len(entities) > FEW_ENTITIES or plan.related:
        return sum(events.values())
    names = pl.Series(entities)
    return sum(
        _events(plan, source.table, names, events.get(name, 0), most_parts)
        for name, source in by_type.items()
    )


def _events(plan: Plan, table: EventTable, names: pl.Series, most: int, most_parts: int) -> int:
    name = table.version.schema.event_type
    is_asked = entity_of(plan, name).is_in(names.implode())
    parts, every = table.parts, len(table.parts) <= most_parts
    # The last parts hold what is new, which may be of these entities alone.
    some = parts if every else (parts[0], parts[len(parts) // 2])
    found = [
        unfolded(polars_scan.table(replace(table, parts=(part,))), plan.nested[name])
        .select(pl.len(), is_asked.sum().alias("asked"))
        .collect()
        .row(0)
        for part in some
    ]
    if every:
        return sum(asked for _, asked in found)
    share = max(asked / max(rows, 1) for rows, asked in found)
    return min(int(_SAFETY * share * most), most)
