"""The bounds of windows: instants relative to a cutoff, as every engine computes them.

A bound is read in two directions. *Before a cutoff* it is an instant: events are compared with it
row by row. *After an event* it is an edge: the last cutoff whose bound is not after the event's
time, so that the event is before the bound of all later cutoffs. Sums along edges need the second.
"""

from dataclasses import dataclass

import polars as pl

from eventlake.core.sql import integer


@dataclass(frozen=True, slots=True)
class Bound:
    """The instant some microseconds before a cutoff; after it if they are negative."""

    microseconds: int = 0

    @property
    def shortest(self) -> int:
        """Fewest microseconds from the bound to a cutoff."""
        return self.microseconds

    @property
    def longest(self) -> int:
        """Most microseconds from the bound to a cutoff."""
        return self.microseconds

    def instant_in_sql(self, cutoff: str) -> str:
        """The bound of a cutoff in SQL; both in microseconds, as everywhere."""
        return f"{cutoff} - {integer(self.microseconds)}"

    def edge_in_sql(self, time: str) -> str:
        """The edge of an event's time in SQL."""
        return f"{time} + {integer(self.microseconds)}"

    def instant_in_polars(self, cutoff: pl.Expr) -> pl.Expr:
        """The bound of a cutoff."""
        return cutoff - self.microseconds

    def edge_in_polars(self, time: pl.Expr) -> pl.Expr:
        """The edge of an event's time."""
        return time + self.microseconds

    def instant_in_python(self, cutoff: str) -> str:
        """The source of ``instant_in_polars``."""
        return f"{cutoff} - {self.microseconds:_}" if self.microseconds else cutoff
