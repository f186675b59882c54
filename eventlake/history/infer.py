"""Propose a schema for the events of a type."""

import polars as pl

from eventlake.errors import NotFoundError
from eventlake.history.snapshot import Snapshot
from eventlake.schemas.infer import Proposal, infer
from eventlake.schemas.retractions import NOTHING

_SAMPLE = 100_000
"""Maximum number of payloads that are read for a proposal."""


def infer_schema(snapshot: Snapshot, event_type: str) -> Proposal:
    """Propose a schema for a type from at most ``_SAMPLE`` payloads, evenly spread.

    Raises:
        NotFoundError: The history has no event of the type.
    """
    total = snapshot.types().get(event_type, 0)
    if not total:
        message = f"there is no event of type {event_type!r}"
        raise NotFoundError(
            message,
            f"the types that have events: {', '.join(snapshot.types()) or 'none'}.",
            event_type=event_type,
        )
    # Retractions need no payload, so an empty one says nothing about the schema.
    nothing = pl.col("data").is_null() | pl.col("data").str.contains(NOTHING)

    def payloads(snapshot: Snapshot) -> pl.LazyFrame:
        events = snapshot.scan(columns=["data", "correction"], types=event_type).gather_every(
            # Rounded up, so that the sample never has more than ``_SAMPLE`` payloads.
            -(-total // _SAMPLE)
        )
        return events.filter(~(pl.col("correction").eq_missing("retract") & nothing)).select("data")

    return infer(event_type, snapshot.collected(payloads)["data"], total)
