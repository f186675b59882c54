"""Running maxima per entity, along events in an order that keeps entities together."""

import numpy as np
import numpy.typing as npt

from eventlake.features.planned.edges import NEVER
from eventlake.features.planned.entity_keys import Integers


def running(
    codes: Integers,
    ranks: Integers,
    takes_part: npt.NDArray[np.bool_],
    order: npt.NDArray[np.intp] | None,
) -> Integers:
    """The greatest rank before every place, as ``code * events + rank``.

    It is less than ``code * events`` if the entity has none yet.

    Args:
        codes: The entities of the events, ascending.
        ranks: Ranks of the events, from 0 and below their number.
        takes_part: Whether each event counts.
        order: Order of the events, entities together; None for the order they are in.

    Returns:
        One element more than there are events: the maximum before each event, and after the last.
    """
    worth = np.where(takes_part, codes * len(codes) + ranks, -1)
    # Ranks of an entity exceed all those of the entities before it, so that one pass is enough.
    return np.concatenate([[-1], np.maximum.accumulate(worth if order is None else worth[order])])


def latest_before(codes: Integers, values: Integers, enter: Integers, leave: Integers) -> Integers:
    """When the last event that entered before each, with its entity and value, has left.

    Args:
        codes: Entities of the events.
        values: Values of the events, as numbers.
        enter: Microseconds at which events enter.
        leave: Microseconds at which events leave.

    Returns:
        Microseconds; ``-NEVER`` if there is no such event.
    """
    # By entity, value, then entry: the last key of ``lexsort`` is the primary one.
    order = np.lexsort((enter, values, codes))
    same = (np.diff(codes[order]) == 0) & (np.diff(values[order]) == 0)
    groups = np.concatenate([[0], np.cumsum(~same)])[: len(order)]
    by_leave = np.argsort(leave[order], kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[by_leave] = np.arange(len(order))
    # Ranks of leaving stand for the instants, so that one running maximum serves all groups.
    found = running(groups, ranks, np.ones(len(order), np.bool_), None)[:-1] - groups * len(order)
    before = np.empty(len(order), np.int64)
    before[order] = np.where(found < 0, -NEVER, leave[order][by_leave[found]])
    return before
