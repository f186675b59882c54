"""Check that a compaction agrees with the commits that appended its events.

Leaf hashes prove everything about an event except ``recorded_at``. That is in the commit that
appended the event, which is never deleted, or in a column of the segment that this commit named (a
copied history).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from eventlake.columns.parquet import segments
from eventlake.core import layout
from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.merkle import CompactRange
from eventlake.errors import CorruptionError, NotFoundError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.checked_read import checked_bytes, foreign_commits, stored_events
from eventlake.log.chain.manifest import SegmentInCommit
from eventlake.progress import task
from eventlake.trust import statement

Micros = npt.NDArray[np.int64]
_COMPACT = "compact"
_RECORDED = ["recorded_at"]


@dataclass(slots=True)
class Compared:
    """The differences between a compacted segment and the log.

    Attributes:
        problems: The differences.
        unproven: Ranges of sequences whose ``recorded_at`` is known only at both ends, because the
            segment that had the column is gone.
    """

    problems: list[str] = field(default_factory=list)
    unproven: list[tuple[int, int]] = field(default_factory=list)


def check_compacted(chain: Chain, placed: Sequence[SegmentInCommit]) -> None:
    """Check, once, that compactions by other users agree with the log.

    Raises:
        CorruptionError: One does not.
    """
    compacted = [one for one in placed if one[0].kind == _COMPACT]
    foreign = foreign_commits(compacted, chain.trust)
    by_statement = {
        compacted_statement(chain, segment): (summary, segment)
        for summary, segment in compacted
        if summary.commit_hash in foreign
    }
    unknown = chain.trust.ledger.unknown(by_statement)
    with task("checking compactions of other users", len(unknown)) as advance:
        for one, (summary, segment) in by_statement.items():
            if one not in unknown:
                continue
            if problems := compare(chain, (summary, segment)).problems:
                path = layout.commit_path(summary.version)
                message = (
                    f"{path} is not a compaction of the events "
                    f"{segment.start:,}-{segment.stop:,}: {'; '.join(problems)}"
                )
                hint = (
                    "another user compacted this lake to different events: "
                    "run 'eventlake verify LAKE --deep'."
                )
                raise CorruptionError(message, hint, path=path, version=summary.version)
            chain.trust.ledger.note([one])
            advance(1)


def compacted_statement(chain: Chain, segment: Segment) -> bytes:
    """The statement that a segment agrees with the log up to the segment's last event."""
    manifest = chain.manifest()
    # The hash of a commit covers all before it, so it identifies the log up to the last event.
    last = manifest.commits[manifest.version_of(segment.stop - 1)].commit_hash
    return statement(
        "compacted",
        segment.sha256,
        segment.start,
        segment.stop,
        segment.nodes,
        segment.recorded,
        last,
    )


def compare(chain: Chain, placed: SegmentInCommit) -> Compared:
    """Compare a compacted segment with the commits that appended its events.

    Raises:
        CorruptionError: The segment, or one of those commits, is damaged.
    """
    summary, segment = placed
    recorded = _recorded(
        summary, segment, stored_events(chain.storage, placed, chain.trust, _RECORDED)
    )
    compared, folded = Compared(), CompactRange.empty(segment.start)
    for commit, appended in _appended(chain, segment):
        # Compactions replace whole segments, so their ranges must fit together.
        if appended.start != folded.stop or appended.stop > segment.stop:
            events = f"{appended.start:,}-{appended.stop:,}"
            compared.problems.append(f"it cuts the segment {events} of commit {commit.version}")
            return compared
        folded = folded.merge(appended.range)
        found = recorded[appended.start - segment.start : appended.stop - segment.start]
        _compare_recorded(chain, (commit, appended), found, compared)
    if folded != segment.range:
        compared.problems.append("its hashes do not match the events that it replaces")
    return compared


def _appended(chain: Chain, segment: Segment) -> Iterator[SegmentInCommit]:
    """Yield the segments in which the events of a compacted one were appended."""
    manifest = chain.manifest()
    for version in range(
        manifest.version_of(segment.start), manifest.version_of(segment.stop - 1) + 1
    ):
        if manifest.commits[version].kind == "append":
            entry = chain.entry(version)
            yield from (
                (entry.summary, one)
                for one in entry.commit.segments
                if one.start < segment.stop and segment.start < one.stop
            )


def _recorded(summary: CommitSummary, segment: Segment, events: pa.Table) -> Micros:
    if "recorded_at" not in events.column_names:
        return np.full(segment.rows, summary.recorded_at)
    recorded: Micros = events.column("recorded_at").cast(pa.int64()).to_numpy()
    return recorded


def _compare_recorded(
    chain: Chain, appended: SegmentInCommit, found: Micros, compared: Compared
) -> None:
    summary, segment = appended
    where = f"recorded_at of the events {segment.start:,}-{segment.stop:,}"
    # All events of a plain append share the instant of its commit.
    if segment.recorded is None:
        if (found != summary.recorded_at).any():
            compared.problems.append(
                f"{where} is not that of commit {summary.version}, which appended them"
            )
        return
    if (int(found[0]), int(found[-1])) != segment.recorded:
        compared.problems.append(
            f"{where} does not begin and end as commit {summary.version} says, which appended them"
        )
        return
    try:
        data = checked_bytes(chain.storage, segment)
        original = segments.decode(
            data, layout.segment_path(segment.sha256), _RECORDED, rows=segment.rows
        )
    # Collected, as is usual. If all its events have one instant, the commit proves it.
    except (CorruptionError, NotFoundError):
        if segment.recorded[0] != segment.recorded[1]:
            compared.unproven.append((segment.start, segment.stop))
        return
    if not np.array_equal(_recorded(summary, segment, original), found):
        compared.problems.append(
            f"{where} is not what the segment says that commit {summary.version} appended"
        )


def wrong_statistics(
    summary: CommitSummary, segment: Segment, replaced: Sequence[SegmentInCommit]
) -> list[str]:
    """Compare the statistics of a compacted segment with those of the segments it replaces."""
    expected = segments.joined(
        [
            segments.Statistics(one.types, one.time, one.undated, _bounds(of, one))
            for of, one in replaced
        ]
    )
    found = segments.Statistics(
        segment.types, segment.time, segment.undated, _bounds(summary, segment)
    )
    if found == expected:
        return []
    events = f"{segment.start:,}-{segment.stop:,}"
    return [f"its segment {events} states {found}, what it replaces {expected}"]


def _bounds(summary: CommitSummary, segment: Segment) -> tuple[int, int]:
    return segment.recorded or (summary.recorded_at, summary.recorded_at)
