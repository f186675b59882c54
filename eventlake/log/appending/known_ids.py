"""Which ``(source, id)`` pairs the lake holds, so that none is appended twice: keys suspect, stored ids decide."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from eventlake.columns.keys.keys import Keys, rows_of
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.events_of_commits import events_of

_KEY = ["source", "id"]


@dataclass(frozen=True, slots=True)
class Match:
    """A row of a batch whose ``(source, id)`` the lake holds.

    Attributes:
        row: In the batch.
        sequence: Where the lake holds it.
        pair: ``(source, id)``.
    """

    row: int
    sequence: int
    pair: tuple[str, str]


class Incoming(Protocol):
    """Events on their way in: a batch, or parts of one that are stored already."""

    @property
    def rows(self) -> int:
        """Number of events."""

    @property
    def keys(self) -> Keys:
        """The key of every row's ``(source, id)``."""

    @property
    def sorted_keys(self) -> Keys:
        """``keys`` in order."""

    @property
    def recorded_at(self) -> pa.Array | None:
        """Of a copied history: instants, of which the first and the last are the batch's."""

    @property
    def sequence(self) -> pa.Array | None:
        """The sequences that the batch expects to get, or the first of them."""

    def number(self, row: int) -> int:
        """The number that ``row`` had in the batch as it was given."""

    def pairs(self, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
        """``source`` and ``id`` of some rows, ascending."""


def known(chain: Chain, batch: Incoming, since: int = 0) -> list[Match]:
    """The rows of ``batch`` that the lake holds already, in row order; commits before version ``since`` are not looked at."""
    found = [match for matches, _ in known_events(chain, batch, since, _KEY) for match in matches]
    return sorted(found, key=lambda match: match.row)


def known_events(
    chain: Chain, batch: Incoming, since: int, columns: list[str]
) -> Iterator[tuple[list[Match], pl.DataFrame]]:
    """The same piece by piece, in no order, each with these columns of the stored events, row for row."""
    head = chain.head.commit if chain.head else None
    suspects = chain.keys.suspects(head, batch.sorted_keys, since)
    if not suspects:
        return
    rows = rows_of(batch.keys, np.concatenate([one.keys for one in suspects]))
    pairs = batch.pairs(rows).with_columns(row=pl.Series(rows))
    versions = {
        version
        for one in suspects
        for some in one.versions
        for version in some
        if version < chain.next_version
    }
    for start, events in events_of(chain, versions, columns):
        stored = pl.DataFrame(events)
        met = pairs.join(stored.select(_KEY).with_row_index("at"), on=_KEY).select(
            "row", "at", *_KEY
        )
        if met.height:
            yield (
                [
                    Match(row, start + at, (source, name))
                    for row, at, source, name in met.iter_rows()
                ],
                stored[met["at"]],
            )
