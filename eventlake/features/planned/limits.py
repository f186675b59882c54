"""Sizes by which features are looked up."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LookUpLimits:
    """Sizes by which features are looked up. The rows are the same with any of them.

    Attributes:
        few_pairs: Pairs per row and event up to which DuckDB joins for all parts; measured.
        joined_pairs: Pairs of a row and an event that a join of many holds at once, except for
            those of a single row.
        piece_rows: Approximate number of events and rows that an engine holds at once. Ten million
            events in pieces took a third of the memory, and no more time.
    """

    few_pairs: int = 20
    joined_pairs: int = 5_000_000
    piece_rows: int = 2_000_000


LOOK_UP_LIMITS = LookUpLimits()
