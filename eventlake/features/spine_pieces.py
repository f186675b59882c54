"""The rows of a spine in pieces, each with all rows of some entities.

An engine holds the events of one piece at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from eventlake.features.aggregates.part_kinds import TREES
from eventlake.features.planned.plan import Plan

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pieces:
    """A spine and how it is divided.

    Attributes:
        spine: The spine.
        ends: Names of the columns of entity and cutoff, all that a piece has beside ``spine_row``.
        order: Places of the rows, piece by piece; None if the spine is the only piece.
        bounds: Where each piece begins in that order, and the last one ends.
    """

    spine: pa.Table
    ends: tuple[str, str]
    order: Integers | None
    bounds: Integers

    @property
    def number(self) -> int:
        """Number of pieces."""
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[tuple[pa.Table, Integers | slice]]:
        """Yield the pieces, and the places of their rows in the spine."""
        if self.order is None:
            yield self.spine, slice(None)
            return
        given = self.spine.select(self.ends)
        for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            places = self.order[start:stop]
            # Numbered within the piece: engines return rows in this order.
            number = pa.array(np.arange(len(places)))
            yield given.take(places).add_column(0, "spine_row", number), places

    def in_order(self, columns: Iterable[Sequence[pa.Array]]) -> Iterator[pa.ChunkedArray]:
        """Columns of all pieces, each in the order of the spine."""
        back = None
        if self.order is not None:
            back = np.empty_like(self.order)
            back[self.order] = np.arange(len(back))
        for pieces in columns:
            column = pa.chunked_array(pieces)
            yield column if back is None else column.take(pa.array(back))


def split(plan: Plan, spine: pa.Table, events: int, piece_rows: int) -> Pieces:
    """Divide a spine.

    Args:
        plan: Plan of the features that are looked up.
        spine: The spine.
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
    pieces = max((events + spine.num_rows * max(deepest, 1)) // piece_rows, 1)
    ends = plan.features.spine_entity, plan.features.cutoff
    if pieces == 1:
        return Pieces(spine, ends, None, np.array([0, spine.num_rows]))
    entities = spine.column(plan.features.spine_entity).dictionary_encode().unify_dictionaries()
    # Numbers by first occurrence give all rows of an entity the same piece, and spread entities
    # evenly.
    codes = [chunk.indices.fill_null(0).to_numpy() for chunk in entities.chunks]
    piece = np.concatenate(codes) % pieces if codes else np.empty(0, np.int32)
    rows = np.bincount(piece, minlength=pieces)
    # NumPy sorts small integers by counting them.
    order = np.argsort(piece.astype(np.min_scalar_type(pieces)), kind="stable")
    return Pieces(spine, ends, order, np.concatenate([[0], np.cumsum(rows[rows > 0])]))
