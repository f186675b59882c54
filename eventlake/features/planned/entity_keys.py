"""Entities and instants as single numbers that sort and search faster than pairs."""

import numpy as np
import numpy.typing as npt

from eventlake.features.planned.edges import NEVER

Integers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


class Scale:
    """Entities and instants as one key of 64 bits, in the order of (entity, instant).

    Args:
        codes: Entities of the events.
        instants: Instants of the events, in microseconds; ``NEVER`` is after every cutoff.
        entities: Number of entities, including one for rows without an entity.
    """

    def __init__(self, codes: Integers, instants: Integers, entities: int) -> None:
        # NEVER would stretch the span beyond every key.
        reached = instants[instants < NEVER]
        low, high = (int(reached.min()), int(reached.max())) if len(reached) else (0, 0)
        self._low, self._width = low, high - low + 2
        # The span of time times the number of entities does not fit a key: number the instants.
        self._ranks = np.unique(reached) if entities * self._width >= 1 << 64 else None
        if self._ranks is not None:
            self._width = len(self._ranks) + 1
        self.keys = self.probe(codes, instants)

    def probe(self, codes: Integers, instants: Integers) -> Keys:
        """Keys that follow the events of smaller entities, and the entity's before the instant."""
        ranks = self._ranks
        places = (
            # Instants before all events share the first place, those after all events the last.
            np.clip(instants - self._low, 0, self._width - 1)
            if ranks is None
            else np.searchsorted(ranks, instants)
        )
        return codes.astype(np.uint64) * np.uint64(self._width) + places.astype(np.uint64)

    def first(self, codes: Integers) -> Keys:
        """Keys that follow the events of smaller entities, and none of the entity's own."""
        return codes.astype(np.uint64) * np.uint64(self._width)


class Cutoffs:
    """The rows of a spine ordered by entity and cutoff: an event is visible from a range of them.

    Args:
        codes: Entities of the rows.
        instants: Cutoffs of the rows, in microseconds.
        entities: Number of entities, including one for rows without an entity.

    Attributes:
        order: Indices of the rows in that order.
        codes: Their entities in that order.
        instants: Their cutoffs in that order.
    """

    def __init__(self, codes: Integers, instants: Integers, entities: int) -> None:
        # The last key of ``lexsort`` is the primary one.
        self.order = np.lexsort((instants, codes))
        self.codes, self.instants, self._entities = (
            codes[self.order],
            instants[self.order],
            entities,
        )
        self._scale: Scale | None = None

    def after(self, codes: Integers, instants: Integers) -> Integers:
        """Places of the first ordered rows of entities whose cutoff is after an instant."""
        if self._scale is None:
            self._scale = Scale(self.codes, self.instants, self._entities)
        # The next microsecond, because a cutoff at the instant does not see the event.
        return np.searchsorted(self._scale.keys, self._scale.probe(codes, instants + 1))
