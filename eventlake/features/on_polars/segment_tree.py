"""The greatest of all stretches of places that each place lies in, however long they are: by a binary tree over the places.

At each of its levels a stretch fills at most two nodes that no higher one of its own holds (a
segment tree: J. L. Bentley, "Solutions to Klee's rectangle problems", 1977). A place looks at the
nodes above it, one for each level.
"""

import numpy as np

from eventlake.features.on_polars.sorted_events import Integers


def greatest(first: Integers, stop: Integers, ranks: Integers, places: int, depth: int) -> Integers:
    """The greatest ranks at every place.

    Args:
        first: The stretches' first places, from 0.
        stop: The places after their last; one that does not lie after the first is no stretch.
        ranks: Of the stretches, from 0; no two are equal.
        places: How many places there are.
        depth: How many ranks are wanted at each.

    Returns:
        ``(depth, places)``: at each place the greatest rank, then the next greatest …; -1 where
        there are no more.
    """
    levels: list[Integers] = []
    while len(ranks) or not levels:
        nodes = np.full((depth, (places >> len(levels)) + 1), -1)
        inside = first < stop
        first, stop, ranks = first[inside], stop[inside], ranks[inside]
        left, right = first & 1 == 1, stop & 1 == 1
        _put(
            nodes,
            np.concatenate([first[left], stop[right] - 1]),
            np.concatenate([ranks[left], ranks[right]]),
        )
        first, stop = (first + left) >> 1, stop >> 1
        levels.append(nodes)
    found = levels.pop()
    while levels:
        nodes = levels.pop()
        above = np.repeat(found, 2, axis=1)[:, : nodes.shape[1]]
        found = (
            np.maximum(nodes, above)
            if depth == 1
            else -np.sort(-np.concatenate([nodes, above]), axis=0)[:depth]
        )
    return found[:, :places]


def _put(nodes: Integers, where: Integers, ranks: Integers) -> None:
    """Leaves the greatest ranks of each node in it."""
    for kept in nodes:
        np.maximum.at(kept, where, ranks)
        rest = kept[where] > ranks
        where, ranks = where[rest], ranks[rest]
