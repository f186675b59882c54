"""Appending: segments first, then one commit by create-if-absent. The commit is the moment at which the events exist.

A lost race costs a kilobyte: sequences are positions, so the segments stay and only the commit is made anew on the new head.
Nothing is deleted on failure; a segment nobody's commit names is harmless.
"""

import random
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from eventlake.columns import leaves, segments
from eventlake.columns.envelope import Batch
from eventlake.columns.problems import Problem
from eventlake.core import layout
from eventlake.core.canonical import sha256_hex
from eventlake.core.checkpoint import Checkpoint
from eventlake.core.commit import Commit, Delivery, Position, Segment
from eventlake.core.instants import format_instant
from eventlake.core.merkle import CompactRange
from eventlake.errors import ConflictError, CorruptionError, InvalidEventsError, InvalidInputError, StorageError
from eventlake.log.chain import Chain
from eventlake.log.known_ids import KnownIds
from eventlake.log.positions import earlier_receipt
from eventlake.log.publish import publish
from eventlake.log.receipt import Receipt, receipt_of
from eventlake.progress import task
from eventlake.storage import NotDurableError, NotStoredError, ObjectExistsError, Storage

SEGMENT_TRIES = 4
MAX_CLOCK_LEAD_US = 5 * 60 * 1_000_000
"""A commit's ``recorded_at`` may run this far ahead of the writer's clock."""


Delivered = tuple[Position, int, int]
"""A producer's position and the rows ``[first, last)`` of the batch that it is about."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment's worth of a batch, encoded and hashed; it has no sequence yet."""

    sha256: str
    size_bytes: int
    columns: tuple[str, ...]
    hashes: leaves.Hashes
    statistics: segments.Statistics

    def at(self, start: int) -> Segment:
        """The segment this piece becomes when its first row gets the sequence ``start``."""
        return Segment(
            sha256=self.sha256,
            size_bytes=self.size_bytes,
            start=start,
            stop=start + len(self.hashes),
            columns=self.columns,
            nodes=tuple(leaves.compact_range(self.hashes, start).hex()),
            types=self.statistics.types,
            time=self.statistics.time,
            undated=self.statistics.undated,
            recorded=self.statistics.recorded,
        )


def append(chain: Chain, known: KnownIds, batch: Batch, now: int, position: Position | None = None) -> Receipt:
    """Appends a checked batch, whole or not at all; on return it is durable.

    Args:
        chain: The lake's log; refreshed to the new head.
        known: The ids of the same chain.
        batch: From ``intake.checked_batch``.
        now: The writer's clock, microseconds.
        position: Where the batch stands in its producer's stream; a batch that is in the lake already gets its first receipt.

    Raises:
        InvalidEventsError: A ``(source, id)`` is in the lake already.
        ConflictError: The batch names sequences that are not the next ones, or its position is not the producer's next.
        CommitUnknownError: The store failed while the commit was published.
        StorageError: The store failed before; nothing was appended.
    """
    chain.refresh()
    if not batch.rows:
        return nothing(chain, position)
    if position and (earlier := earlier_receipt(chain, batch, position)):
        return earlier
    _check(chain, known, batch, now)
    pieces = publish_segments(chain.storage, batch)
    commit_id = new_commit_id()
    attempt = 0
    while True:
        delivered = ((position, 0, batch.rows),) if position else ()
        commit = make_commit(chain, pieces, commit_id, recorded_at(chain, batch, now), delivered)
        data = commit.encode()
        if publish(chain.storage, commit, data):
            break
        attempt += 1
        pause_after_lost_race(attempt)
        chain.refresh()
        if position and (earlier := earlier_receipt(chain, batch, position)):
            return earlier
        _check(chain, known, batch, now)
    entry = chain.extend(commit, data)
    known.add(batch.frame, commit.stop)
    return receipt_of(entry)


def new_commit_id() -> str:
    """Says whose attempt a commit is."""
    return str(uuid.uuid4())


def pause_after_lost_race(attempt: int) -> None:
    """A short random pause, longer the more races were lost."""
    time.sleep(random.uniform(0, 0.002 * min(attempt, 50)))  # noqa: S311 - jitter, no secret


def nothing(chain: Chain, position: Position | None) -> Receipt:
    """The receipt of an empty batch.

    Raises:
        InvalidInputError: It claims a position.
    """
    if position:
        message = f"an empty batch cannot take {position}"
        raise InvalidInputError(message, "leave the position to the next batch that has events.")
    return Receipt(chain.watermark, chain.watermark, Checkpoint(chain.origin, chain.watermark, chain.root), None, None)


def _check(chain: Chain, known: KnownIds, batch: Batch, now: int) -> None:
    """What must hold at the head the commit will follow; checked again after a lost race."""
    problems = known.duplicates(batch.frame)
    if batch.recorded_at is not None:
        problems += _clock_problems(chain, batch.recorded_at, now)
    if problems:
        raise InvalidEventsError(problems, "leave out the rows that are in the lake; corrections are new events with new ids.")
    if batch.sequence is not None and batch.sequence[0].as_py() != chain.watermark:
        found = batch.sequence[0].as_py()
        message = f"the batch expects the sequences from {found:,}, the next one is {chain.watermark:,}"
        raise ConflictError(message, "drop the column 'sequence' to take the next ones.", expected=chain.watermark, found=found)


def _clock_problems(chain: Chain, recorded_at: pa.Array, now: int) -> list[Problem]:
    first, last = recorded_at[0].value, recorded_at[-1].value
    problems = []
    if chain.head and first < chain.head.commit.recorded_at:
        head = format_instant(chain.head.commit.recorded_at)
        problems.append(Problem(0, "recorded_at", f"expected nothing before the head's {head}", format_instant(first)))
    if last > now + MAX_CLOCK_LEAD_US:
        message = f"expected nothing more than five minutes after now ({format_instant(now)})"
        problems.append(Problem(len(recorded_at) - 1, "recorded_at", message, format_instant(last)))
    return problems


def recorded_at(chain: Chain, batch: Batch, now: int) -> int:
    """The instant of the commit that would follow the head now."""
    if batch.recorded_at is not None:
        return int(batch.recorded_at[-1].value)
    instant = chain.next_instant(now)
    if instant > now + MAX_CLOCK_LEAD_US:
        message = f"this machine's clock says {format_instant(now)}, but the head was recorded at {format_instant(instant)}"
        raise StorageError(message, "set the clock; recorded_at never runs more than five minutes ahead of the writer's clock.")
    return instant


def publish_segments(storage: Storage, batch: Batch) -> list[Piece]:
    """Encodes, hashes and stores a batch; nobody sees it before a commit names it."""
    stored = segments.stored_columns(batch)
    with task("appending events", batch.rows) as advance:
        pieces = []
        for start in range(0, batch.rows, segments.MAX_ROWS):
            piece = _publish_segment(storage, batch.frame.slice(start, segments.MAX_ROWS), stored.slice(start, segments.MAX_ROWS))
            advance(len(piece.hashes))
            pieces.append(piece)
    return pieces


def _publish_segment(storage: Storage, events: pl.DataFrame, stored: pa.Table) -> Piece:
    with ThreadPoolExecutor(1) as hashing:
        hashes = hashing.submit(leaves.leaf_hashes, events)
        data = segments.encode(stored)
        sha256 = sha256_hex(data)
        _create_segment(storage, sha256, data)
        return Piece(sha256, len(data), tuple(stored.column_names), hashes.result(), segments.statistics(stored))


def _create_segment(storage: Storage, sha256: str, data: bytes) -> None:
    path = layout.segment_path(sha256)
    try:
        _create_patiently(storage, path, data)
    except ObjectExistsError:
        found = sha256_hex(storage.read(path))
        if found != sha256:
            message = f"{path} is damaged: its bytes have sha256 {found}"
            raise CorruptionError(message, "run 'eventlake verify LAKE' and restore the file.", path=path) from None


def _create_patiently(storage: Storage, path: str, data: bytes) -> None:
    """Creates a segment; one that was not answered is sent again, because the same bytes at the same name cannot do harm."""
    for attempt in range(SEGMENT_TRIES):
        try:
            storage.create(path, data)
        except (ObjectExistsError, NotStoredError, NotDurableError):
            raise
        except StorageError:
            if attempt + 1 == SEGMENT_TRIES:
                raise
            time.sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - jitter, no secret
        else:
            return


def make_commit(
    chain: Chain, pieces: list[Piece], commit_id: str, recorded_at: int, delivered: Sequence[Delivered] = (), *, kind: str = "append"
) -> Commit:
    """The commit that would follow the head now."""
    start = sequence = chain.watermark
    frontier: CompactRange = chain.frontier
    placed = []
    for piece in pieces:
        segment = piece.at(sequence)
        frontier = frontier.merge(segment.range)
        sequence = segment.stop
        placed.append(segment)
    return Commit(
        version=len(chain.entries),
        origin=chain.origin,
        prev=chain.head.commit_hash if chain.head else None,
        commit_id=commit_id,
        kind=kind,
        recorded_at=recorded_at,
        start=start,
        stop=sequence,
        root=frontier.root().hex(),
        frontier=tuple(frontier.hex()),
        segments=tuple(placed),
        deliveries=tuple(Delivery(position, start + first, start + last) for position, first, last in delivered),
    )
