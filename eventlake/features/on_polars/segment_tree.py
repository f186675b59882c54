"""The greatest of all ranges that each place is in, by a binary tree over the places.

At each level a range fills at most two nodes that none of its higher nodes covers (a segment tree:
J. L. Bentley, "Solutions to Klee's rectangle problems", 1977). A place reads the nodes above it,
one per level, however long the ranges are.
"""

import numpy as np

from eventlake.features.planned.entity_keys import Integers


def greatest(first: Integers, stop: Integers, ranks: Integers, places: int, depth: int) -> Integers:
    """The greatest ranks at every place.

    Args:
        first: First places of the ranges, from 0.
        stop: Ends of the ranges, exclusive; a range whose end is not after its start is empty.
        ranks: Ranks of the ranges, from 0, without repetition.
        places: Number of places.
        depth: Number of ranks to find at each place.

    Returns:
        Shape ``(depth, places)``: at each place the greatest rank, then the next, …; -1 if there
        are no more.
    """
    levels: list[Integers] = []
    # At least one level, so that there is a node to read if all ranges are empty.
    while len(ranks) or not levels:
        nodes = np.full((depth, (places >> len(levels)) + 1), -1)
        inside = first < stop
        first, stop, ranks = first[inside], stop[inside], ranks[inside]
        # An odd start is a right child, and an odd stop ends with a left child: the parents of both
        # would cover places outside of the range, so these nodes store it.
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
    """Store the greatest ranks of each node in it."""
    for kept in nodes:
        # Several ranges may have the same node; plain indexing would keep whichever came last.
        np.maximum.at(kept, where, ranks)
        rest = kept[where] > ranks
        where, ranks = where[rest], ranks[rest]
