"""Proposing a schema from what a history holds."""

import polars as pl

from eventlake.errors import NotFoundError
from eventlake.history.snapshot import Snapshot
from eventlake.schemas.infer import Proposal, infer
from eventlake.schemas.retractions import NOTHING

_SAMPLE = 100_000
"""Payloads that are looked at for a proposal."""


def infer_schema(snapshot: Snapshot, event_type: str) -> Proposal:
    """A schema that fits the type's payloads, of which at most ``_SAMPLE`` are looked at, evenly spread.

    Raises:
        NotFoundError: The history has no such event.
    """
    total = snapshot.types().get(event_type, 0)
    if not total:
        message = f"there is no event of type {event_type!r}"
        raise NotFoundError(
            message,
            f"there are {', '.join(snapshot.types()) or 'none at all'}.",
            event_type=event_type,
        )
    nothing = pl.col("data").is_null() | pl.col("data").str.contains(NOTHING)

    def payloads(snapshot: Snapshot) -> pl.LazyFrame:
        events = snapshot.scan(columns=["data", "correction"], types=event_type).gather_every(
            -(-total // _SAMPLE)
        )
        return events.filter(~(pl.col("correction").eq_missing("retract") & nothing)).select("data")

    return infer(event_type, snapshot.collected(payloads)["data"], total)
