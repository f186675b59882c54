"""A segment, as far as it belongs to a history."""

from dataclasses import dataclass

from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.documents.segment import Segment
from eventlake.log.chain.manifest import SegmentInCommit


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment, as far as it belongs to a history.

    Attributes:
        commit: The commit that named it.
        segment: The segment.
        stop: Exclusive bound of the sequences that belong to the history; less than
            ``segment.stop`` if the watermark cuts the segment.
    """

    commit: CommitSummary
    segment: Segment
    stop: int

    @property
    def placed(self) -> SegmentInCommit:
        """The segment with its commit."""
        return self.commit, self.segment

    @property
    def recorded_at(self) -> int | None:
        """The instant of all its events, in microseconds; None if the file has the column."""
        return None if self.segment.recorded else self.commit.recorded_at

    @property
    def rows(self) -> int:
        """The number of its events that belong to the history."""
        return self.stop - self.segment.start
