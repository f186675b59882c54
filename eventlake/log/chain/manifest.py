"""The manifest: a summary of every commit, and the segments that hold the events now."""

import bisect
from collections.abc import Iterable
from dataclasses import dataclass

from eventlake.columns.parquet.manifest_rows import Row
from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.documents.segment import Segment
from eventlake.errors import CorruptionError

SegmentInCommit = tuple[CommitSummary, Segment]
"""A segment with the commit that named it."""
SegmentRanges = tuple[SegmentInCommit, list[tuple[int, int]]]
"""A segment with half-open ranges of sequences in it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The commits of a chain and its current segments.

    Attributes:
        commits: Summaries, by version.
        segments: Segments that hold the events now, in sequence order.
    """

    commits: list[CommitSummary]
    segments: list[SegmentInCommit]

    def with_rows(self, rows: Iterable[Row]) -> "Manifest":
        """A copy with further commits and their changes to the segments."""
        commits, segments = list(self.commits), list(self.segments)
        for summary, added in rows:
            commits.append(summary)
            placed = [(summary, segment) for segment in added]
            if summary.kind == "compact":
                for one in placed:
                    _replace(segments, one)
            else:
                segments += placed
        return Manifest(commits, segments)

    def rows(self) -> list[Row]:
        """The commits, each with those of its segments that are still current."""
        current: dict[int, list[Segment]] = {}
        for summary, segment in self.segments:
            current.setdefault(summary.version, []).append(segment)
        return [(summary, tuple(current.get(summary.version, ()))) for summary in self.commits]

    def version_of(self, sequence: int) -> int:
        """The version of the commit that added the event ``sequence``."""
        # Commits without events stop where they start, so the first that stops beyond the event
        # added it.
        return self.commits[
            bisect.bisect_right(self.commits, sequence, key=lambda commit: commit.stop)
        ].version

    def between(self, start: int, stop: int) -> list[SegmentInCommit]:
        """The segments that overlap ``[start, stop)``, in order."""
        # Segments do not overlap, so both their starts and their stops are sorted.
        first = bisect.bisect_right(self.segments, start, key=lambda placed: placed[1].stop)
        last = bisect.bisect_left(self.segments, stop, key=lambda placed: placed[1].start)
        return self.segments[first:last]

    def holding(self, ranges: Iterable[tuple[int, int]]) -> list[SegmentRanges]:
        """The segments that overlap these ranges, each once."""
        held: dict[int, SegmentRanges] = {}
        for start, stop in ranges:
            for placed in self.between(start, stop):
                segment = placed[1]
                held.setdefault(segment.start, (placed, []))[1].append(
                    (max(start, segment.start), min(stop, segment.stop))
                )
        return list(held.values())


def _replace(segments: list[SegmentInCommit], placed: SegmentInCommit) -> None:
    """Replace the segments whose events a compacted segment holds.

    A tier names only segments that were current when it was written, and only of its own commits:
    the replaced stretch may have gaps, but a segment is never cut.
    """
    summary, segment = placed
    first = bisect.bisect_left(segments, segment.start, key=lambda other: other[1].start)
    last = bisect.bisect_left(segments, segment.stop, key=lambda other: other[1].start)
    replaced = segments[first:last]
    # Segments are replaced whole: one that began earlier or ends later would lose events.
    before = segments[first - 1][1].stop if first else 0
    if before > segment.start or (replaced and replaced[-1][1].stop > segment.stop):
        events = f"{segment.start:,}-{segment.stop:,}"
        message = f"commit {summary.version} compacts events {events}, across a segment's bounds"
        raise CorruptionError(message, "run 'eventlake verify LAKE'.", version=summary.version)
    segments[first:last] = [placed]
