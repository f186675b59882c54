"""The events of a stream for some entities, sorted, with running sums along them."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from eventlake.features.planned.early import Recorded
from eventlake.features.planned.edges import Edge
from eventlake.features.planned.entity_keys import Keys, Scale


@dataclass(frozen=True, slots=True)
class Sorted:
    """The edges of all events, sorted.

    Attributes:
        scale: How keys are made.
        keys: The keys, ascending.
        order: The order of the events that sorts their edges; None if they are sorted already.
    """

    scale: Scale
    keys: Keys
    order: npt.NDArray[np.intp] | None


@dataclass(slots=True)
class Prefix:
    """The sorted events of a stream and some entities, and what was computed from them.

    Attributes:
        entities: Entities and their numbers.
        events: The events, as ``events.events`` returns them.
        edges: Sorted edges.
        sums: Running sums and extremes along an edge, and, under None, orders by value.
        recorded: When the events were recorded, once that was asked.
    """

    entities: pl.DataFrame
    events: pl.DataFrame
    edges: dict[Edge, Sorted] = field(default_factory=dict)
    sums: dict[tuple[Edge | None, str], pl.Series] = field(default_factory=dict)
    recorded: Recorded | None = None

    @property
    def size_bytes(self) -> int:
        """Approximate size in bytes."""
        edges = sum(
            one.keys.nbytes + (0 if one.order is None else one.order.nbytes)
            for one in self.edges.values()
        )
        sums = sum(int(one.estimated_size()) for one in self.sums.values())
        recorded = 0 if self.recorded is None else self.recorded.size_bytes
        frames = int(self.events.estimated_size()) + int(self.entities.estimated_size())
        return frames + edges + sums + recorded
