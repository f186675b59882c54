"""Check the events of a segment against its commit: batch by batch, hashing every event again."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.parquet import segments
from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.documents.segment import Segment
from eventlake.trust import statement

if TYPE_CHECKING:
    import polars as pl

    from eventlake.columns.hashing.leaves import Hashes

_SHOWN = 3


def claims_of(summary: CommitSummary, segment: Segment) -> bytes:
    """The statement that the events of a segment match its commit."""
    return statement(
        "segment",
        segment.sha256,
        segment.start,
        segment.stop,
        segment.columns,
        segment.nodes,
        segment.types,
        segment.time,
        segment.undated,
        segment.recorded,
        # The commit's instant only bounds a column; without one there is nothing to compare.
        summary.recorded_at if segment.recorded else None,
    )


def wrong_claims(
    summary: CommitSummary,
    segment: Segment,
    data: bytes,
    path: str,
    look: "Callable[[pa.Table, pl.DataFrame], None] | None" = None,
) -> list[str]:
    """List the claims of a commit about a segment that its events contradict.

    Args:
        summary: The commit.
        segment: The claims.
        data: The segment's bytes, already checked against its hash.
        path: The segment's path.
        look: Called with every batch of events, as a table and as a frame.

    Raises:
        CorruptionError: The bytes are not a Parquet file of events.
    """
    import polars as pl

    from eventlake.columns.hashing.leaves import leaf_hashes
    from eventlake.columns.intake.rules import stored_problems

    hashes: list[Hashes] = []
    statistics: list[segments.Statistics] = []
    problems: list[str] = []
    rows, last, columns = 0, None, segment.columns
    for table in segments.strict_batches(data, path, rows=segment.rows):
        frame = pl.DataFrame(table)
        problems += [
            f"holds events that no append accepts: {problem}"
            for problem in stored_problems(table, frame)[:_SHOWN]
        ]
        hashes.append(leaf_hashes(frame))
        statistics.append(segments.statistics(table))
        if look is not None:
            look(table, frame)
        problems += _assigned_problems(table, segment.start + rows, last)
        rows, columns = rows + table.num_rows, tuple(table.column_names)
        last = table.column("recorded_at")[-1].value if "recorded_at" in columns else None
    # Leaves and statistics of a different number of events cannot be compared.
    if rows != segment.rows:
        return [*problems, f"expected {segment.rows:,} events, found {rows:,}"]
    problems += _problems(segment, np.concatenate(hashes), segments.joined(statistics), columns)
    if last is not None and last > summary.recorded_at:
        problems.append(f"recorded_at goes beyond its commit's, {summary.recorded_at}")
    return list(dict.fromkeys(problems))


def _problems(
    segment: Segment, hashes: "Hashes", found: segments.Statistics, columns: tuple[str, ...]
) -> Iterator[str]:
    from eventlake.columns.hashing.leaves import compact_range

    if compact_range(hashes, segment.start) != segment.range:
        yield "its events do not hash to the leaves that its commit names"
    stated = segments.Statistics(segment.types, segment.time, segment.undated, segment.recorded)
    if found != stated or columns != segment.columns:
        yield (
            f"its commit states {stated} and columns {segment.columns}, found {found} and {columns}"
        )


def _assigned_problems(table: pa.Table, start: int, last: int | None) -> Iterator[str]:
    """Check columns that the lake assigned; ``last`` is the previous event's ``recorded_at``."""
    if "recorded_at" in table.column_names:
        recorded = table.column("recorded_at").combine_chunks().cast(pa.int64())
        if pc.any(pc.less(recorded[1:], recorded[:-1])).as_py() or (
            last is not None and recorded[0].as_py() < last
        ):
            yield "recorded_at decreases"
    if "sequence" in table.column_names:
        # Compaction stores sequences as a column; readers that use it must get the real ones.
        expected = pa.array(np.arange(start, start + table.num_rows))
        if not table.column("sequence").combine_chunks().equals(expected):
            yield "its sequences do not match its position in the log"
