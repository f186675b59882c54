"""The clock hash of a history: SHA-256 over the runs of equal ``recorded_at``.

Source: docs/reference/format.md, "The clock hash".
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eventlake.caches import CACHES
from eventlake.columns.hashing.clock import Int64s, first_of_runs, runs_text
from eventlake.history.stretch import Stretch


@dataclass(frozen=True, slots=True)
class _State:
    """The hash up to the end of a segment.

    Attributes:
        digest: The hash of the runs so far; copied, never updated.
        last: The instant of the last event in microseconds; None if there is none.
    """

    digest: Any
    last: int | None


_states = CACHES.bounded_map(1_024)
"""States by what they depend on, so that a history that grew is hashed where it is new."""


def clock_hash(stretches: Sequence[Stretch], read: Callable[[Stretch], Int64s]) -> str:
    """The clock hash of a history, as hexadecimal digits.

    Args:
        stretches: The segments of the history, in order.
        read: Reads the instants of the events of a segment that has them as a column.
    """
    keys = list(_keys(stretches))
    start, state = _newest(keys)
    for stretch, key in zip(stretches[start:], keys[start:], strict=True):
        state = _extended(state, stretch, read)
        _states.put(key, state)
    return str(state.digest.hexdigest())


def _newest(keys: Sequence[bytes]) -> tuple[int, _State]:
    """The number of segments that the newest cached state covers, and the state."""
    for covered in range(len(keys), 0, -1):
        # Looked up once: another thread may drop it at any moment.
        state = _states.get(keys[covered - 1])
        if state is not None:
            return covered, state
    return 0, _State(hashlib.sha256(), None)


def _keys(stretches: Sequence[Stretch]) -> Iterator[bytes]:
    """A hash of all that decides the clock up to the end of each segment."""
    rolling = hashlib.sha256()
    for one in stretches:
        facts = f"{one.segment.start},{one.stop},{one.segment.sha256},{one.recorded_at};"
        rolling.update(facts.encode())
        yield rolling.digest()


def _extended(state: _State, stretch: Stretch, read: Callable[[Stretch], Int64s]) -> _State:
    # Neighbours that are equal are one run, also across segments: copies of a history in other
    # batches, and compacted ones, have the same hash.
    digest = state.digest.copy()
    if stretch.recorded_at is not None:
        if stretch.recorded_at != state.last:
            digest.update(f"{stretch.segment.start}:{stretch.recorded_at},".encode())
        return _State(digest, stretch.recorded_at)
    instants = read(stretch)
    rows = first_of_runs(instants, state.last)
    for text in runs_text(rows + np.int64(stretch.segment.start), instants[rows]):
        digest.update(text)
    return _State(digest, int(instants[-1]))
