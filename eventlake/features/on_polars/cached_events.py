"""The sorted events of a stream, cached for the next build."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import polars as pl

from eventlake.features.engine_cache import ENGINE_CACHE
from eventlake.features.on_polars.events import events
from eventlake.features.on_polars.sorted_events import Prefix
from eventlake.features.planned.plan import Plan, Stream
from eventlake.features.planned.sources import Source


@contextmanager
def kept(
    plan: Plan, stream: Stream, columns: Sequence[str], source: Source, entities: pl.DataFrame
) -> Iterator[Prefix]:
    """Yield the events of some entities, from the cache or read now; see ``events``."""
    # Everything that decides the sorted events. Windows do not: they are looked up in them.
    identity = (
        source.identity,
        stream,
        *columns,
        plan.known_at_cutoff,
        plan.features.by,
        plan.features.depth,
    )
    key = None if source.identity is None else identity

    def make() -> Prefix:
        return Prefix(entities, events(plan, stream, source, entities, columns).collect())

    with ENGINE_CACHE.taken(key, entities, make) as prefix:
        yield prefix
