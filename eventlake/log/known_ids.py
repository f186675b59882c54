"""Which ``(source, id)`` pairs the lake holds, so that none is appended twice: keys suspect, stored ids decide."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from eventlake.columns.keys import Keys, rows_of
from eventlake.log.chain import Chain
from eventlake.log.stored import stored_events

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
    head = chain.head.commit if chain.head else None
    suspects = chain.keys.suspects(head, batch.sorted_keys, since)
    if not suspects:
        return []
    rows = rows_of(batch.keys, np.concatenate([one.keys for one in suspects]))
    pairs = batch.pairs(rows).with_columns(row=pl.Series(rows))
    found: dict[int, Match] = {}
    for start, stop in _joined(_events(chain, versions) for one in suspects for versions in one.versions):
        for _, segment in chain.segments(start, stop):
            stored = pl.DataFrame(stored_events(chain.storage, segment, _KEY).select(_KEY)).with_row_index("at")
            for source, name, row, at in pairs.join(stored, on=_KEY).select(*_KEY, "row", "at").iter_rows():
                found[row] = Match(row, segment.start + at, (source, name))
    return [found[row] for row in sorted(found)]


def _events(chain: Chain, versions: range) -> tuple[int, int]:
    """The sequences of the events of some commits; the last of them may not be there yet."""
    last = min(versions.stop, chain.next_version) - 1
    return chain.entry(versions.start).commit.start, chain.entry(last).commit.stop


def _joined(ranges: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that overlap or touch, joined; each event is read once."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return joined
