"""The greatest so far, for each entity, along events in an order that keeps entities together."""

import numpy as np
import numpy.typing as npt

from eventlake.features.prefixes import Integers


def running(codes: Integers, ranks: Integers, takes_part: npt.NDArray[np.bool_], order: npt.NDArray[np.intp] | None) -> Integers:
    """The greatest rank before every place, as ``code * events + rank``, or less than ``code * events`` where the entity has none yet.

    Args:
        codes: The entities of the events, ascending.
        ranks: Of the events, from 0, each below their number.
        takes_part: Whether an event counts.
        order: In which the events follow one another, entities together; None for as they are.

    Returns:
        One more than there are events: what is before the first, …, what is before the end.
    """
    worth = np.where(takes_part, codes * len(codes) + ranks, -1)
    # The ranks of an entity are above all those of the entities before it, so that none needs to begin anew.
    return np.concatenate([[-1], np.maximum.accumulate(worth if order is None else worth[order])])
