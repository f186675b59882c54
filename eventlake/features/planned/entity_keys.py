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

    Attributes:
        keys: The keys of the events, in their order until they are sorted.
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

    def sort(self) -> Integers:
        """Sort the keys; returns their order, in which equal keys come in any order."""
        order = np.argsort(self.keys)
        self.keys = self.keys[order]
        return order

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
    """

    def __init__(self, codes: Integers, instants: Integers, entities: int) -> None:
        self._scale = Scale(codes, instants, entities)
        # NumPy sorts one number far faster than two. The order of equal rows does not matter.
        self.order = self._scale.sort()

    def after(self, codes: Integers, instants: Integers) -> Integers:
        """Places of the first ordered rows of entities whose cutoff is after an instant."""
        # The next microsecond, because a cutoff at the instant does not see the event.
        return np.searchsorted(self._scale.keys, self._scale.probe(codes, instants + 1))


def places_of(keys: Keys, wanted: Keys) -> Integers:
    """The number of ascending keys below each wanted one."""
    places = np.empty(len(wanted), np.int64)
    # Searching in the order of memory takes a fraction of the time, with the sort.
    order = np.argsort(wanted)
    places[order] = np.searchsorted(keys, wanted[order])
    return places
