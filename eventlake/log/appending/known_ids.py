"""Find the ``(source, id)`` pairs that the lake already holds: keys suspect, stored ids decide."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from eventlake.columns.hashing.leaves import Hashes
from eventlake.columns.keys.key_runs import Keys, rows_of
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.events_of_commits import events_of

_KEY = ["source", "id"]
_FEW_ROWS = 10_000
"""For so many suspects, what may hold them is read in one pass."""


@dataclass(frozen=True, slots=True)
class Match:
    """A row of a batch whose ``(source, id)`` the lake holds.

    Attributes:
        row: The row in the batch.
        sequence: The sequence of the stored event.
        pair: ``(source, id)``.
    """

    row: int
    sequence: int
    pair: tuple[str, str]


class Named(Protocol):
    """Events that are named by ``source`` and ``id``, to be looked up."""

    @property
    def keys(self) -> Keys:
        """The key of every row's ``(source, id)``."""

    @property
    def sorted_keys(self) -> Keys:
        """``keys``, sorted."""

    def pairs(self, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
        """``source`` and ``id`` of some rows, in ascending order."""


class Incoming(Named, Protocol):
    """Events to append: a batch, or a large one whose parts are stored already."""

    @property
    def rows(self) -> int:
        """The number of events."""

    @property
    def recorded_at(self) -> pa.Array | None:
        """The instants of a copied history, or just the first and the last; otherwise None."""

    @property
    def sequence(self) -> pa.Array | None:
        """The sequences that the batch expects, or just the first; otherwise None."""

    @property
    def leaf_hashes(self) -> Hashes:
        """The leaf hash of every row."""

    def number(self, row: int) -> int:
        """The number of ``row`` in the batch as it was given."""


def find_known(chain: Chain, batch: Named, since: int = 0) -> list[Match]:
    """The rows of ``batch`` that commits from version ``since`` on hold, in row order."""
    found = [match for matches, _ in known_events(chain, batch, since, _KEY) for match in matches]
    return sorted(found, key=lambda match: match.row)


def known_events(
    chain: Chain, batch: Named, since: int, columns: list[str]
) -> Iterator[tuple[list[Match], pl.DataFrame]]:
    """Yield known rows with these columns of the stored events, row by row; in no order."""
    head = chain.head.commit if chain.head else None
    suspects = chain.keys.suspects(head, batch.sorted_keys, since)
    if not suspects:
        return
    # Fingerprints collide, so suspicious ids are compared with the stored ones.
    rows = rows_of(batch.keys, np.concatenate([one.keys for one in suspects]))
    pairs = batch.pairs(rows).with_columns(row=pl.Series(rows))
    # A cell of a large tier spans several commits, so the suspects may include commits to come.
    versions: set[int] = set()
    for one in suspects:
        for some in one.versions:
            versions.update(version for version in some if version < chain.next_version)
    within = None
    if columns != _KEY and len(rows) > _FEW_ROWS:
        # A part of a large batch meets one part of a large commit: ids tell which.
        found = [
            (start, start + events.num_rows)
            for start, events in events_of(chain, versions, _KEY)
            if pl.DataFrame(events).join(pairs, on=_KEY, how="semi").height
        ]
        if not found:
            return
        within = min(start for start, _ in found), max(stop for _, stop in found)
    for start, events in events_of(chain, versions, columns, within):
        stored = pl.DataFrame(events)
        matched = pairs.join(stored.select(_KEY).with_row_index("at"), on=_KEY).select(
            "row", "at", *_KEY
        )
        if matched.height:
            yield (
                [
                    Match(row, start + at, (source, name))
                    for row, at, source, name in matched.iter_rows()
                ],
                stored[matched["at"]],
            )
