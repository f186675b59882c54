"""Rows that are looked up, and their order by entity and cutoff."""

import polars as pl

from eventlake.features.declared.bound import Bound
from eventlake.features.planned.asked import Asked
from eventlake.features.planned.entity_keys import Cutoffs


class Rows:
    """Rows that are looked up.

    Args:
        asked: The rows.

    Attributes:
        codes: Numbers of their entities.
        cutoffs: Their cutoffs, in microseconds.
        order: Their order by entity and cutoff.
        ordered_codes: ``codes`` in that order, in which searching takes a third of the time.
    """

    def __init__(self, asked: Asked) -> None:
        self.codes, self.cutoffs = asked.codes, asked.cutoffs
        self.order = Cutoffs(self.codes, self.cutoffs, len(asked.entities) + 1)
        self.ordered_codes = self.codes[self.order.order]
        self._frame = pl.DataFrame({"c": self.cutoffs})
        self._ordered = pl.DataFrame({"c": self.cutoffs[self.order.order]})

    def instants(self, bound: Bound) -> pl.Series:
        """The bound of every row's cutoff, in microseconds."""
        return self._frame.select(bound.instant_in_polars(pl.col("c"))).to_series()

    def ordered_instants(self, bound: Bound) -> pl.Series:
        """``instants`` in order."""
        return self._ordered.select(bound.instant_in_polars(pl.col("c"))).to_series()
