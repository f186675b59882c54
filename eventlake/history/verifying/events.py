"""What a deep verification sees of a segment's events."""

import pyarrow as pa

from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.documents.segment import Segment
from eventlake.history.verifying.seen_events import SegmentSummary
from eventlake.log.chain.claims import wrong_claims


def look_at_events(
    summary: CommitSummary, segment: Segment, data: bytes, path: str
) -> tuple[list[str], SegmentSummary | None]:
    """What a segment's events say that its commit does not, and what a census remembers of them; None if there are none.

    Raises:
        CorruptionError: Not a Parquet file of events.
    """
    seen: list[SegmentSummary] = []

    def look(table: pa.Table) -> None:
        seen.append(SegmentSummary.of(segment, table))

    problems = wrong_claims(summary, segment, data, path, look)
    return problems, SegmentSummary.joined(segment, seen) if seen else None
