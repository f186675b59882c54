"""What rows see before it was recorded, found in the events that an engine has read.

It is asked of plans with ``known="watermark"`` and without relations. A row sees an event if its
cutoff is after the event's time, and sees it early if the event was not recorded before the cutoff.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from eventlake.features.planned.entity_keys import Cutoffs, Integers, Keys, Scale

RECORDED = "eventlake recorded"
"""Column of microseconds that engines compute for each event: when it was recorded.

For a correction it is the event's time, as if it had never been late: what an event and its
corrections do to a row depends on all of them, and is compared apart.
"""
_NONE: Integers = np.empty(0, np.int64)


@dataclass(slots=True)
class Early:
    """Collects what some rows see early.

    Attributes:
        rows: Whether each row sees an event early.
        events: Sequences of the events that some row sees early, by type.
    """

    rows: npt.NDArray[np.bool_]
    events: dict[str, Integers] = field(default_factory=dict)

    def add(self, event_type: str, rows: npt.NDArray[np.bool_], events: Integers) -> None:
        """Add what one stream of a type finds."""
        self.rows |= rows
        self.events[event_type] = np.concatenate([self.events.get(event_type, _NONE), events])


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a stream.

    Attributes:
        codes: Numbers of their entities.
        recorded: Their column ``RECORDED``.
        sequences: Their sequences.
        scale: Makes keys of entities and times.
        keys: Their keys. The search is fast if they ascend.
    """

    codes: Integers
    recorded: Integers
    sequences: Integers
    scale: Scale
    keys: Keys

    @property
    def size_bytes(self) -> int:
        """Size in bytes."""
        arrays = (self.codes, self.recorded, self.sequences, self.scale.keys, self.keys)
        return sum(array.nbytes for array in arrays)


def find_early(events: Events, rows: Cutoffs) -> tuple[npt.NDArray[np.bool_], Integers]:
    """Which rows see events early, and the sequences of these events."""
    keys = events.scale.probe(rows.codes, rows.instants)
    # The first row to see an event has the next cutoff. If the event was recorded by then, no later
    # row sees it early either.
    first = np.searchsorted(keys, events.keys, side="right")
    some = np.flatnonzero(first < len(keys))
    first = first[some]
    is_early = rows.codes[first] == events.codes[some]
    is_early &= rows.instants[first] <= events.recorded[some]
    first, some = first[is_early], some[is_early]
    stop = rows.after(events.codes[some], events.recorded[some])
    # An event counts from the first of its rows, and no longer from its stop.
    changes = np.bincount(first, minlength=len(keys) + 1)
    changes -= np.bincount(stop, minlength=len(keys) + 1)
    seen = np.empty(len(keys), np.bool_)
    seen[rows.order] = np.cumsum(changes)[:-1] > 0
    return seen, events.sequences[some]
