"""The greatest so far, for each entity, along events in an order that keeps entities together."""

import numpy as np
import numpy.typing as npt

from eventlake.features.on_polars.sorted_events import Integers
from eventlake.features.planned.edges import NEVER


def running(
    codes: Integers,
    ranks: Integers,
    takes_part: npt.NDArray[np.bool_],
    order: npt.NDArray[np.intp] | None,
) -> Integers:
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
    # The ranks of an entity are above all those of the entities before it, so that none needs to
    # begin anew.
    return np.concatenate([[-1], np.maximum.accumulate(worth if order is None else worth[order])])


def latest_before(codes: Integers, values: Integers, enter: Integers, leave: Integers) -> Integers:
    """When the last of those has left that entered before each event, of the same entity and the same value; long ago where there are none.

    Args:
        codes: The entities of the events.
        values: Their values, as numbers.
        enter: When they enter.
        leave: When they leave.
    """
    order = np.lexsort((enter, values, codes))
    same = (np.diff(codes[order]) == 0) & (np.diff(values[order]) == 0)
    groups = np.concatenate([[0], np.cumsum(~same)])[: len(order)]
    by_leave = np.argsort(leave[order], kind="stable")
    ranks = np.empty(len(order), np.int64)
    ranks[by_leave] = np.arange(len(order))
    found = running(groups, ranks, np.ones(len(order), np.bool_), None)[:-1] - groups * len(order)
    before = np.empty(len(order), np.int64)
    before[order] = np.where(found < 0, -NEVER, leave[order][by_leave[found]])
    return before
