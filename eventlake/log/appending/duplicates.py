"""Refuse events whose ``(source, id)`` is taken, or skip those that are byte-identical."""

import numpy as np

from eventlake.columns.hashing import leaves
from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.problems import Problem
from eventlake.columns.keys.key_runs import doubled, rows_of
from eventlake.core.attributes import ATTRIBUTES
from eventlake.errors import InvalidEventsError
from eventlake.log.appending.choices import whole_batch
from eventlake.log.appending.known_ids import Incoming, Match, known_events
from eventlake.log.chain.chain import Chain

IN_THE_LAKE = "leave out the rows that are in the lake; corrections are new events with new ids."


def known_problems(matches: list[Match], batch: Incoming) -> list[Problem]:
    """Describe the matches as problems."""
    message = "(source, id) is in the lake already, at sequence {:,}"
    return [
        Problem(batch.number(match.row), "id", message.format(match.sequence), match.pair)
        for match in matches
    ]


def drop_known(chain: Chain, batch: Batch) -> Batch:
    """Return ``batch`` without the events that are already stored byte-identically.

    Raises:
        InvalidEventsError: The lake holds a different event with the same ``(source, id)``.
    """
    identical: list[int] = []
    different: list[Match] = []
    for matches, stored in known_events(chain, batch, 0, list(ATTRIBUTES)):
        rows = [match.row for match in matches]
        # Leaf hashes cover every attribute, so equal hashes mean byte-identical events.
        same = (leaves.leaf_hashes(batch.frame[rows]) == leaves.leaf_hashes(stored)).all(axis=1)
        identical += rows
        different += [
            match for match, equal in zip(matches, same.tolist(), strict=True) if not equal
        ]
    if different:
        different.sort(key=lambda match: match.row)
        raise InvalidEventsError(
            known_problems(different, batch),
            "these are other events with ids that are taken; give them new ids.",
        )
    return batch.without(np.array(identical)) if identical else batch


def drop_repeats(batch: Batch) -> Batch:
    """Return ``batch`` without repeats of its own events; different events with one id are kept.

    Raises:
        InvalidInputError: The batch names its sequences.
    """
    if batch.sequence is not None:
        raise whole_batch("the column 'sequence'")
    # Only rows whose keys repeat are hashed; usually there are none.
    rows = rows_of(batch.keys, doubled(batch.sorted_keys))
    if not len(rows):
        return batch
    seen: set[bytes] = set()
    repeats = []
    for row, leaf in zip(rows.tolist(), leaves.leaf_hashes(batch.frame[rows]), strict=True):
        digest = leaf.tobytes()
        if digest in seen:
            repeats.append(row)
        seen.add(digest)
    return batch.without(np.array(repeats, np.int64))
