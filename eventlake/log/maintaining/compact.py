"""Compaction: merge runs of small neighbouring segments, while writers write and readers read.

A commit names the segment that replaces others; the events, their sequences, the root and every
watermark stay the same. Nothing is deleted here: ``garbage`` does that, later. A merged segment has
the columns that the lake assigned, ``recorded_at`` and ``sequence``.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from eventlake.backoff import pause_after_lost_race
from eventlake.columns.parquet import segments
from eventlake.columns.schema import INSTANT, whole_columns
from eventlake.core import counts, layout
from eventlake.core.attributes import ATTRIBUTES
from eventlake.core.card import Card, Shown, counted
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.merkle import CompactRange
from eventlake.errors import CorruptionError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import vouch
from eventlake.log.chain.checked_read import stored_events
from eventlake.log.chain.manifest import SegmentInCommit
from eventlake.log.chain.publish import publish
from eventlake.log.maintaining.check_compaction import check_compacted
from eventlake.log.maintaining.fold import keep_folded
from eventlake.log.maintaining.small_runs import decoded_bytes, small_runs
from eventlake.log.next_commit import plain_commit
from eventlake.log.store_batch import store_segment
from eventlake.memory import part_bytes
from eventlake.progress import task

TARGET_BYTES = 64 << 20
_AT_ONCE = 8
"""Number of segments that are read at once."""


@dataclass(frozen=True, slots=True, repr=False)
class Compaction(Shown):
    """The result of a compaction.

    Attributes:
        replaced: Number of segments that were replaced.
        made: Number of segments that replace them.
        events: Number of events in them.
        bytes_before: Size of the replaced segments; ``gc`` deletes them later.
        bytes_after: Size of the new segments.
    """

    replaced: int = 0
    made: int = 0
    events: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def __repr__(self) -> str:
        """The title of the card."""
        return f"<Compaction: {self.card().title}>"

    def card(self) -> Card:
        """A summary to display."""
        if not self.made:
            return Card("nothing to compact", (("segments", "none are small and side by side"),))
        facts = (
            (
                "events",
                f"{self.events:,}, where they were: root, watermarks and datasets are unchanged",
            ),
            ("bytes", f"{self.bytes_before:,} before, {self.bytes_after:,} after"),
            (
                "next",
                "the old segments stay for those who read them; 'eventlake gc' deletes them later",
            ),
        )
        return Card(f"compacted {counted(self.replaced, 'segment')} into {self.made:,}", facts)


def compact(chain: Chain, target_bytes: int = TARGET_BYTES) -> Compaction:
    """Merge small segments, with one commit for each run; an interrupted compaction keeps its work.

    Args:
        chain: The lake's log, the caller's own; refreshed.
        target_bytes: The size that segments should reach; segments of half of it are kept.

    Raises:
        CorruptionError: A segment is damaged.
        StorageError: The store failed.
    """
    target_bytes = counts.count(target_bytes, "target_bytes", 1)
    chain.refresh()
    current = [segment for _, segment in chain.segments(0, chain.watermark)]
    runs = small_runs(
        current,
        target_bytes,
        chain.limits.batch.segment_rows,
        partial(decoded_bytes, chain.storage),
        part_bytes(),
    )
    done = Compaction()
    with task("compacting", sum(segment.rows for run in runs for segment in run)) as advance:
        for run in runs:
            made = _compact_run(chain, run)
            advance(sum(segment.rows for segment in run))
            if made is not None:
                done = Compaction(
                    replaced=done.replaced + len(run),
                    made=done.made + 1,
                    events=done.events + made.rows,
                    bytes_before=done.bytes_before + sum(segment.size_bytes for segment in run),
                    bytes_after=done.bytes_after + made.size_bytes,
                )
                keep_folded(chain)
    return done


def _compact_run(chain: Chain, run: list[Segment]) -> Segment | None:
    """Merge ``run`` into one segment; None if another process changed it or put up a fence."""
    fence = chain.fence
    try:
        merged = _merge(chain, run)
    except CorruptionError:
        # Another compaction may have replaced the run, and its segments may be collected.
        chain.refresh()
        if [segment for _, segment in chain.segments(run[0].start, run[-1].stop)] == run:
            raise
        return None
    attempt = 0
    while True:
        with chain.storage.turn(layout.LOG):
            chain.refresh()
            current = [segment for _, segment in chain.segments(merged.start, merged.stop)]
            # After a fence, garbage collection may delete the new segment before it is named.
            if current != run or chain.fence != fence:
                return None
            commit = plain_commit(chain, "compact", placed=(merged,))
            data = commit.encode()
            vouch(chain, commit, data)
            if publish(chain, commit, data):
                chain.published(commit, data)
                return merged
        attempt += 1
        pause_after_lost_race(attempt)


def _merge(chain: Chain, run: list[Segment]) -> Segment:
    """Store the events of ``run`` as one segment, without hashing any event again."""
    placed = chain.segments(run[0].start, run[-1].stop)
    # This user's compactions are trusted, so what they are made of is checked.
    check_compacted(chain, placed)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tables = list(
            pool.map(
                lambda one: _with_assigned(one, stored_events(chain.storage, one, chain.trust)),
                placed,
            )
        )
    table = _without_empty(pa.concat_tables(tables))
    data, sha256 = store_segment(chain, table)
    # The original segments will be deleted, so the encoder must not have lost anything.
    path = layout.segment_path(sha256)
    if not _is_read_back(table, data, path):
        events = f"{run[0].start:,}-{run[-1].stop:,}"
        message = f"the events {events} are not read back as they were written to {path}"
        raise CorruptionError(
            message,
            "nothing was changed; report this, with the versions of pyarrow and eventlake.",
            path=path,
        )
    # Ranges of neighbours merge without reading events, so compaction cannot change the root.
    folded = CompactRange.empty(run[0].start)
    for segment in run:
        folded = folded.merge(segment.range)
    facts = segments.statistics(table)
    return Segment(
        sha256=sha256,
        size_bytes=len(data),
        start=run[0].start,
        stop=run[-1].stop,
        columns=tuple(table.column_names),
        nodes=tuple(folded.hex()),
        types=facts.types,
        time=facts.time,
        undated=facts.undated,
        recorded=facts.recorded,
    )


def _is_read_back(table: pa.Table, data: bytes, path: str) -> bool:
    row = 0
    for batch in segments.batches(data, path):
        if not batch.equals(table.slice(row, batch.num_rows)):
            return False
        row += batch.num_rows
    return bool(row == table.num_rows)


def _with_assigned(placed: SegmentInCommit, events: pa.Table) -> pa.Table:
    """A segment's events with all columns, including ``recorded_at`` and ``sequence``."""
    summary, segment = placed
    if "recorded_at" in events.column_names:
        recorded_at = events.column("recorded_at")
    else:
        recorded_at = pa.array(np.full(segment.rows, summary.recorded_at)).cast(INSTANT)
    whole = whole_columns(events, list(ATTRIBUTES)).append_column("recorded_at", recorded_at)
    return whole.append_column("sequence", pa.array(np.arange(segment.start, segment.stop)))


# The same rule as for appended segments: readers take an absent column for nulls.
def _without_empty(table: pa.Table) -> pa.Table:
    return table.select(
        [name for name in table.column_names if table.column(name).null_count < table.num_rows]
    )
