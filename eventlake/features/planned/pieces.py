"""The rows of a spine in pieces, of which an engine looks up one at a time.

Few events are sorted once, and rows come piece by piece in the order of the spine. Many events are
divided by entity, so that an engine holds no more than those of some entities, with their rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from eventlake.features.aggregates.part_kinds import TREES
from eventlake.features.planned.asked import Asked
from eventlake.features.planned.entity_keys import Integers
from eventlake.features.planned.plan import Plan


@dataclass(frozen=True, slots=True)
class Group:
    """All rows of some entities.

    Attributes:
        asked: The rows.
        places: Their places in the spine; None for the whole spine.
        piece_rows: Most rows of a piece.
    """

    asked: Asked
    places: Integers | None
    piece_rows: int

    def __iter__(self) -> Iterator[tuple[Asked, Integers | slice]]:
        """Yield consecutive pieces, and the places of their rows in the spine; at least one."""
        for start in range(0, max(len(self.asked), 1), self.piece_rows):
            where = slice(start, start + self.piece_rows)
            yield self.asked.between(where), where if self.places is None else self.places[where]


@dataclass(frozen=True, slots=True)
class Pieces:
    """A spine and how it is divided.

    Attributes:
        asked: All rows.
        groups: Number of groups of entities.
        piece_rows: Most rows of a piece if there is one group; otherwise a group is a piece.
    """

    asked: Asked
    groups: int
    piece_rows: int

    def __iter__(self) -> Iterator[Group]:
        """Yield the groups that have rows; the only one has them in the order of the spine."""
        asked, groups = self.asked, self.groups
        if groups == 1:
            yield Group(asked, None, self.piece_rows)
            return
        every = len(asked.entities)
        # Numbers by first occurrence spread entities evenly. Rows without one join the first.
        group = np.where(asked.codes == every, 0, asked.codes % groups)
        rows = np.bincount(group, minlength=groups)
        # NumPy sorts small integers by counting them.
        order = np.argsort(group.astype(np.min_scalar_type(groups)), kind="stable")
        for number, places in enumerate(np.split(order, np.cumsum(rows)[:-1])):
            if not len(places):
                continue
            names = asked.entities.take(np.arange(number, every, groups))
            codes = asked.codes[places]
            codes = np.where(codes == every, len(names), codes // groups)
            some = Asked(names, codes, asked.cutoffs[places])
            yield Group(some, places, max(len(places), 1))

    def all(self) -> Iterator[tuple[Asked, Integers | slice]]:
        """Yield the pieces of all groups, and the places of their rows in the spine."""
        return chain.from_iterable(self)


def split(plan: Plan, asked: Asked, events: int, piece_rows: int) -> Pieces:
    """Divide the rows of a spine.

    Args:
        plan: Plan of the features that are looked up.
        asked: The rows.
        events: Number of events.
        piece_rows: Approximate number of events and rows in a piece.
    """
    # A tree keeps as many events in each node as its deepest lag looks back.
    deepest = max(
        (
            part.place + 1
            for parts in plan.parts.values()
            for part in parts
            if plan.strategy(part) == TREES
        ),
        default=1,
    )
    held = events + len(asked) * max(deepest, 1)
    groups = max(held // piece_rows, 1) if len(asked) and events > piece_rows else 1
    # Half of it, for the events are held beside each piece.
    return Pieces(asked, groups, max(piece_rows // (2 * max(deepest, 1)), 1))
