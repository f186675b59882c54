"""Storing what a commit will name, before the commit: segments and, where there are many, keys. Nobody sees it yet."""

import random
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from eventlake.columns.intake.encode_batch import Encoding, Ranges
from eventlake.columns.intake.envelope import Batch
from eventlake.columns.parquet import segments
from eventlake.core import layout
from eventlake.core.documents.delivery import Position
from eventlake.core.documents.manifest import KeyFile
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import StorageError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.unfolded_keys import OwnKeys, own_keys, stored_where_large
from eventlake.progress import Advance, task
from eventlake.storage import NotDurableError, NotStoredError, ObjectExistsError, Storage

SEGMENT_TRIES = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A stored segment's worth of a batch; it has no sequence yet."""

    sha256: str
    size_bytes: int
    columns: tuple[str, ...]
    ranges: Ranges
    statistics: segments.Statistics

    def at(self, start: int) -> Segment:
        """The segment this piece becomes when its first row gets the sequence ``start``."""
        found = self.ranges.at(start)
        return Segment(
            sha256=self.sha256,
            size_bytes=self.size_bytes,
            start=found.start,
            stop=found.stop,
            columns=self.columns,
            nodes=tuple(found.hex()),
            types=self.statistics.types,
            time=self.statistics.time,
            undated=self.statistics.undated,
            recorded=self.statistics.recorded,
        )


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """What is stored for a commit that is not there yet.

    Attributes:
        pieces: The segments.
        keys: The commit's keys, or the file that holds them.
        commit_id: One of those keys: says whose attempt the commit is.
        next_version: The version that came next when this was begun.
        fence: The newest fence then.
        schemas: The schemas that the events were checked against.
    """

    pieces: tuple[Piece, ...]
    keys: OwnKeys | KeyFile
    commit_id: str
    next_version: int
    fence: int | None
    schemas: str | None

    def holds(self, chain: Chain) -> bool:
        """Whether a commit may name it.

        After another fence it may be just what a garbage collector is deleting; after another
        schema it may not be what that asks for.
        """
        return (self.fence, self.schemas) == (chain.fence, chain.schemas)

    def at(self, start: int) -> tuple[Segment, ...]:
        """The segments, with the first event at the sequence ``start``."""
        placed: list[Segment] = []
        for piece in self.pieces:
            placed.append(piece.at(placed[-1].stop if placed else start))
        return tuple(placed)

    def is_quick(self, start: int) -> bool:
        """Whether ``at(start)`` takes milliseconds, so that a large batch is no slower to commit than a small one."""
        rows = [0, *(len(piece.ranges.hashes) for piece in self.pieces)]
        return all(
            piece.ranges.is_quick(start + sum(rows[: number + 1]))
            for number, piece in enumerate(self.pieces)
        )

    def make_quick(self) -> None:
        """Makes ``at`` quick wherever the batch will stand."""
        for piece in self.pieces:
            piece.ranges.make_quick()


def new_commit_id() -> str:
    """Says whose attempt a commit is."""
    return str(uuid.uuid4())


def prepare(chain: Chain, batch: Batch, positions: Sequence[Position]) -> StoredBatch:
    """Encodes, hashes and stores a batch.

    Raises:
        StorageError: The store failed.
    """
    next_version, fence, schemas = chain.next_version, chain.fence, chain.schemas
    # New at every try: a file of keys under the name that an earlier try gave it may be about to be
    # collected.
    commit_id = new_commit_id()
    encoding = batch.encoding
    keys = stored_where_large(
        chain.storage, own_keys(batch.sorted_keys, batch.heads, positions, commit_id)
    )
    with task("appending events", batch.rows) as advance:
        pieces = tuple(store_pieces(chain.storage, encoding, chain.watermark, advance))
    return StoredBatch(pieces, keys, commit_id, next_version, fence, schemas)


def store_pieces(
    storage: Storage, encoding: Encoding, start: int, advance: Advance
) -> Iterator[Piece]:
    """Stores the segments of a batch whose first row will probably stand at ``start``."""
    with ThreadPoolExecutor(1) as hashing:
        for encoded in encoding:
            ranges = Ranges(encoded.hashes)
            if not ranges.is_quick(start):
                hashing.submit(ranges.at, start)
            data, sha256 = _store(storage, encoded.table, encoded.data, encoded.sha256)
            yield Piece(
                sha256, len(data), tuple(encoded.table.column_names), ranges, encoded.statistics
            )
            start += len(encoded.hashes)
            advance(encoded.table.num_rows)


def store_segment(storage: Storage, stored: pa.Table) -> tuple[bytes, str]:
    """Encodes and stores a segment's columns; gives its bytes and their SHA-256."""
    data = segments.encode(stored)
    return _store(storage, stored, data, sha256_hex(data))


def _store(storage: Storage, stored: pa.Table, data: bytes, sha256: str) -> tuple[bytes, str]:
    """Stores an encoded segment.

    A segment of that name that is there already was left by this very attempt, unanswered, and
    whoever collects garbage may be about to delete it. It is not taken over: the same events go
    under a fresh name.
    """
    while True:
        try:
            _create_patiently(storage, layout.segment_path(sha256), data)
        except ObjectExistsError:
            data = segments.encode(stored)
            sha256 = sha256_hex(data)
        else:
            return data, sha256


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
