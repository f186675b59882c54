"""What an entry of the index records of a dataset: by it, a build decides what to open.

It is derived, and never believed more than as an estimate: whatever it says, a build makes the same
rows, and at worst takes longer.
"""

from typing import Annotated

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from eventlake.columns.keys.keys import text_keys
from eventlake.core.counts import MAX_INT64

_LEAST = 64
"""Keys of a sample."""
_MOST_ROWS = 1_000_000
"""Rows up to which the entities of a spine are sampled."""
_SURE = 5
"""Common keys that two samples would have on average, if they have none and are apart."""
_QUARTER = 0.25
_CLEARLY = 0.75
"""Share of the cost from scratch up to which reusing rows is cheaper, whatever else ran."""
_BUILDS = 2
"""Builds from scratch whose costs are kept."""

_Natural = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT64)]
_Key = Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]


class Entities(msgspec.Struct, frozen=True):
    """A sample of some entities.

    Attributes:
        count: The number of distinct entities.
        least: The smallest of their keys, ascending: of two sets, equal ones are found in both.
    """

    count: _Natural
    least: Annotated[tuple[_Key, ...], msgspec.Meta(max_length=_LEAST)]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "Entities | None":
        """The sample of a column; None if it has too many rows, or another type."""
        if len(column) > _MOST_ROWS or pa.types.is_nested(column.type):
            return None
        distinct = pl.Series(column).drop_nulls().unique()
        # The lower 16 bits of a key are no part of the fingerprint.
        keys = text_keys("entity", distinct.cast(pl.String)) >> np.uint64(16)
        least = np.sort(keys if len(keys) <= _LEAST else np.partition(keys, _LEAST)[:_LEAST])
        return cls(len(distinct), tuple(map(int, least)))

    def is_apart(self, other: "Entities") -> bool:
        """Whether these entities are most likely others: not even a quarter is among ``other``."""
        union = sorted({*self.least, *other.least})[:_LEAST]
        if not set(union).isdisjoint(set(self.least) & set(other.least)):
            return False
        if max(self.count, other.count) <= _LEAST:
            return True
        common = _QUARTER * self.count
        # Of the smallest keys of both together, as many are common as of all of them.
        return len(union) * common >= _SURE * (self.count + other.count - common)


class Costs(msgspec.Struct, frozen=True, omit_defaults=True):
    """How long the last builds of a series took, in milliseconds.

    Attributes:
        in_full: The last two from scratch, the newest first. One alone says little: the first build
            of a process starts the engine, and the first of a history derives its event tables.
        anew: The last one that reused rows; None if that is not known.
    """

    in_full: Annotated[tuple[_Natural, ...], msgspec.Meta(max_length=_BUILDS)] = ()
    anew: _Natural | None = None

    def with_full(self, milliseconds: int) -> "Costs":
        """The costs after another build from scratch."""
        return Costs((milliseconds, *self.in_full)[:_BUILDS], self.anew)

    def with_reuse(self, milliseconds: int) -> "Costs":
        """The costs after another build that reused rows."""
        return Costs(self.in_full, milliseconds)

    def favour_scratch(self, *, quick: int) -> bool:
        """Whether a build from scratch is probably cheaper than one that reuses rows.

        Or whether that must be found out: both ways are tried before one is preferred.

        Args:
            quick: Milliseconds of a build that is not worth looking for what changed.
        """
        if not self.in_full:
            return False
        least = min(self.in_full)
        if least < quick or self.anew is None:
            return least < quick
        return len(self.in_full) < _BUILDS or self.anew > _CLEARLY * least


class Facts(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of an entry.

    Attributes:
        entities: Of the spine; None if it has none, or they are not known.
        costs: Of the series, up to this dataset.
    """

    entities: Entities | None = None
    costs: Costs = Costs()

    def encode(self) -> bytes:
        """The JSON that is stored."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "Facts":
        """The inverse of ``encode``; nothing is known from other texts."""
        try:
            return _FACTS.decode(data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return cls()


_FACTS = msgspec.json.Decoder(Facts)
