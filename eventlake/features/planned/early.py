"""What rows see before it was recorded, found in the events that an engine has read.

It is asked of plans with ``known="watermark"`` and without relations. A row sees an event if its
cutoff is after the event's time, and sees it early if the event was not recorded before the cutoff.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from eventlake.features.planned.entity_keys import Integers, Scale

RECORDED = "eventlake recorded"
"""Column of microseconds that engines compute for each event: when it was recorded.

For a correction it is the event's time, as if it had never been late: what an event and its
corrections do to a row depends on all of them, and is compared apart.
"""
_NONE: Integers = np.empty(0, np.int64)
_MOST = np.uint64(2**64 - 1)
"""More than any key."""


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


class Recorded:
    """When the events of a stream were recorded, in the order of entity and time.

    Args:
        codes: Numbers of the entities of the events.
        instants: Their column ``RECORDED``.
        sequences: Their sequences.
        entities: Number of entities, including one for rows without an entity.
    """

    def __init__(
        self, codes: Integers, instants: Integers, sequences: Integers, entities: int
    ) -> None:
        self._scale = Scale(codes, instants, entities)
        self._sequences = sequences
        # Keys of an entity exceed those of smaller ones, so the running maximum is each entity's.
        self._latest = np.maximum.accumulate(self._scale.keys)

    @property
    def size_bytes(self) -> int:
        """Size in bytes."""
        return sum(one.nbytes for one in (self._scale.keys, self._sequences, self._latest))

    def after(
        self, codes: Integers, cutoffs: Integers, places: Integers
    ) -> tuple[npt.NDArray[np.bool_], Integers]:
        """Which rows see an event that was recorded too late for them, and all these events.

        Args:
            codes: Numbers of the entities of the rows.
            cutoffs: Cutoffs of the rows.
            places: For each row, the number of events, of all entities, before its cutoff: those of
                smaller entities, and those of its own whose time is before it.

        Returns:
            A flag for each row; the sequences of the events.
        """
        if not len(self._latest):
            return np.zeros(len(codes), np.bool_), _NONE
        keys = self._scale.probe(codes, cutoffs)
        # The keys of smaller entities are smaller than a row's: they are not taken for its own.
        late = (self._latest[places - 1] >= keys) & (places > 0)
        # The least cutoff that sees an event is that of the next row: it has the smallest key of
        # those rows that see this event last.
        least = np.full(len(self._latest), _MOST)
        np.minimum.at(least, places[late] - 1, keys[late])
        ends = np.flatnonzero(least < _MOST)
        following = np.repeat(least[ends], np.diff(ends, prepend=-1))
        found = np.flatnonzero(self._scale.keys[: len(following)] >= following)
        return late, self._sequences[found]
