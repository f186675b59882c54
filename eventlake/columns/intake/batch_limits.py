"""How a batch of events is encoded and cut into segments."""

from dataclasses import dataclass

FEW_ROWS = 512
"""Above this many rows, whole columns are faster than plain Python values."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Numbers of rows by which a batch is encoded. The events are the same with any of them.

    Attributes:
        segment_rows: Maximum number of events in a segment.
        few_rows: Batches of at most this many events are handled as plain Python values.
    """

    segment_rows: int = 1_000_000
    few_rows: int = FEW_ROWS


BATCH_LIMITS = BatchLimits()
