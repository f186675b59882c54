"""Follow a lake: yield new events as they are committed, in order, once each."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import polars as pl

from eventlake.core import counts
from eventlake.errors import InvalidInputError
from eventlake.history.polars_scan import SCHEMA
from eventlake.history.snapshot import Snapshot
from eventlake.memory import batch_bytes

BATCH_ROWS = 100_000
_FIRST_ROWS = 4_096
"""Rows of the first frame, which shows how large an event is."""


def follow(
    head: Callable[[], Snapshot],
    after: int,
    poll_seconds: float,
    timeout_seconds: float | None,
    *,
    batch_rows: int = BATCH_ROWS,
    most_bytes: int | None = None,
) -> Iterator[pl.DataFrame]:
    """Yield the events from sequence ``after`` on, then those that are appended later.

    Args:
        head: Returns a snapshot of the newest history.
        after: The first sequence to yield: the watermark that the consumer has processed.
        poll_seconds: Pause between reads of the log while there are no new events.
        timeout_seconds: Stop after this long without new events; None for never.
        batch_rows: Maximum number of events in a frame.
        most_bytes: Size that frames aim at, if events are large; by default
            ``memory.batch_bytes()``.
    """
    start = counts.count(after, "after")
    pause = counts.seconds(poll_seconds, "poll_seconds", positive=True)
    quiet = None if timeout_seconds is None else counts.seconds(timeout_seconds, "timeout_seconds")
    size = most_bytes or batch_bytes()
    return _follow(head, start, pause, quiet, batch_rows=batch_rows, most_bytes=size)


def _follow(
    head: Callable[[], Snapshot],
    after: int,
    poll_seconds: float,
    timeout_seconds: float | None,
    *,
    batch_rows: int,
    most_bytes: int,
) -> Iterator[pl.DataFrame]:
    rows = min(_FIRST_ROWS, batch_rows)
    quiet_since = time.monotonic()
    while True:
        snapshot = head()
        # Watermarks never decrease, so a lower one means that commits were lost. Waiting for it to
        # catch up would skip the events that are appended at those sequences.
        if after > snapshot.watermark:
            message = (
                f"the lake has {snapshot.watermark:,} events, "
                f"fewer than the {after:,} that were processed: its end is missing"
            )
            raise InvalidInputError(
                message,
                "the lake was restored from an older copy; find out what is lost before going on.",
                after=after,
            )
        while after < snapshot.watermark:
            # Bounded, so that a consumer that begins at 0 does not collect the whole history.
            stop = min(after + rows, snapshot.watermark)
            frame = snapshot.collected(partial(_slice, after=after, stop=stop))
            # The next events are likely to be as large as these.
            row_bytes = int(frame.estimated_size()) // frame.height + 1
            rows = min(max(most_bytes // row_bytes, 1), batch_rows)
            after = stop
            yield frame.select(SCHEMA.names())
            # After the yield: the time that the consumer spends on a batch is not silence.
            quiet_since = time.monotonic()
        if timeout_seconds is not None and time.monotonic() - quiet_since >= timeout_seconds:
            return
        time.sleep(poll_seconds)


def _slice(snapshot: Snapshot, after: int, stop: int) -> pl.LazyFrame:
    return snapshot.scan().slice(after, stop - after)
