"""Append events of any supported form: as one batch in memory, or part by part."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from eventlake.log.appending.append import Terms, append, append_parts
from eventlake.log.appending.duplicates import drop_repeats
from eventlake.log.appending.read_events import checked_batch, parts_of
from eventlake.log.appending.receipt import Receipt
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.open_or_create import reopen
from eventlake.log.maintaining.fold import keep_folded


def append_events(
    chain: Chain,
    lock: AbstractContextManager[object],
    events: Any,
    now: Callable[[], int],
    terms: Terms,
) -> Receipt:
    """Append events, whole or not at all; on return they are durable.

    Args:
        chain: The lake's log.
        lock: Held while this chain is used.
        events: See ``Lake.append``.
        now: The writer's clock, in microseconds since 1970-01-01 UTC. It is read once the events
            are read.
        terms: The conditions of the append.

    Raises:
        EventlakeError: See ``Lake.append``.
    """
    limits = chain.limits.batch
    parts = parts_of(events, limits.segment_rows)
    if parts is not None:
        # Storing many parts takes long: a chain of its own leaves other threads unblocked.
        own_chain = reopen(chain)
        receipt = append_parts(own_chain, parts, now(), terms)
        keep_folded(own_chain)
        return receipt
    repeats = drop_repeats if terms.skip_identical else None
    batch = checked_batch(events, drop_repeats=repeats, limits=limits)
    with lock:
        receipt = append(chain, batch, now(), terms)
        keep_folded(chain)
    return receipt
