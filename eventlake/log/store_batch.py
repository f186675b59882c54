"""Store the segments and key files that a commit will name, before it is published.

Until the commit exists, no reader sees them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from eventlake.backoff import pause_after_failure
from eventlake.columns.intake.batch_limits import FEW_ROWS
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
from eventlake.storage import NotDurableError, NotStoredError, ObjectExistsError

if TYPE_CHECKING:
    from eventlake.columns.intake.encode_batch import Encoding, Ranges
    from eventlake.columns.intake.envelope import Batch


@dataclass(frozen=True, slots=True)
class Piece:
    """A stored segment of a batch, before its first sequence is known."""

    sha256: str
    size_bytes: int
    columns: tuple[str, ...]
    ranges: Ranges
    statistics: segments.Statistics

    def at(self, start: int) -> Segment:
        """The segment whose first row has the sequence ``start``."""
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
    """What is stored for a commit that is not published yet.

    Attributes:
        pieces: The segments.
        keys: The commit's keys, or the file that holds them.
        commit_id: Identifies the attempt to commit; one of the keys.
        next_version: The version of the next commit when storing began.
        fence: The version of the newest fence when storing began.
        schemas: SHA-256 of the catalogue that the events were checked against.
    """

    pieces: tuple[Piece, ...]
    keys: OwnKeys | KeyFile
    commit_id: str
    next_version: int
    fence: int | None
    schemas: str | None

    def holds(self, chain: Chain) -> bool:
        """Whether a commit may still name what is stored.

        After another fence, garbage collection may be deleting it; after another schema, the events
        may not satisfy it.
        """
        return (self.fence, self.schemas) == (chain.fence, chain.schemas)

    def at(self, start: int) -> tuple[Segment, ...]:
        """The segments, if the first event has the sequence ``start``."""
        placed: list[Segment] = []
        for piece in self.pieces:
            placed.append(piece.at(placed[-1].stop if placed else start))
        return tuple(placed)

    def is_quick(self, start: int) -> bool:
        """Whether ``at(start)`` takes milliseconds, however large the batch is."""
        rows = [0, *(len(piece.ranges.hashes) for piece in self.pieces)]
        return all(
            piece.ranges.is_quick(start + sum(rows[: number + 1]))
            for number, piece in enumerate(self.pieces)
        )

    def make_quick(self) -> None:
        """Make ``at`` fast for any start."""
        for piece in self.pieces:
            piece.ranges.make_quick()


def new_commit_id() -> str:
    """A random id that tells one attempt to commit from another."""
    return str(uuid.uuid4())


def prepare(chain: Chain, batch: Batch, positions: Sequence[Position]) -> StoredBatch:
    """Encode, hash and store a batch.

    Raises:
        StorageError: The store failed.
    """
    next_version, fence, schemas = chain.next_version, chain.fence, chain.schemas
    # The id is new at every try, and so is the name of the key file: a file that an earlier try
    # left may be about to be collected.
    commit_id = new_commit_id()
    # The first access starts encoding in the background, while the keys are stored.
    encoding = batch.encoding
    own = own_keys(batch.sorted_keys, batch.heads, positions, commit_id)
    keys = stored_where_large(chain.storage, own, chain.limits.inline_keys)
    with task("appending events", batch.rows) as advance:
        pieces = tuple(store_pieces(chain, encoding, chain.watermark, advance))
    return StoredBatch(pieces, keys, commit_id, next_version, fence, schemas)


def store_pieces(chain: Chain, encoding: Encoding, start: int, advance: Advance) -> Iterator[Piece]:
    """Store the segments of a batch, expecting its first row at the sequence ``start``."""
    from eventlake.columns.intake.encode_batch import Ranges

    with ThreadPoolExecutor(1) as hashing:
        for encoded in encoding:
            ranges = Ranges(encoded.hashes)
            if len(encoded.hashes) > FEW_ROWS:
                # The hash tree is built while the disk is written, outside the turn of the log.
                hashing.submit(ranges.at, start)
            data, sha256 = _store(chain, encoded.table, encoded.data, encoded.sha256)
            yield Piece(
                sha256, len(data), tuple(encoded.table.column_names), ranges, encoded.statistics
            )
            start += len(encoded.hashes)
            advance(encoded.table.num_rows)


def store_segment(chain: Chain, stored: pa.Table) -> tuple[bytes, str]:
    """Encode and store a segment's columns; return its bytes and their SHA-256."""
    data = segments.encode(stored)
    return _store(chain, stored, data, sha256_hex(data))


def _store(chain: Chain, stored: pa.Table, data: bytes, sha256: str) -> tuple[bytes, str]:
    """Store an encoded segment; return its bytes and their SHA-256.

    If a segment of that name exists, an unanswered try of this call left it, and garbage collection
    may be about to delete it. It is not reused: the events are encoded again under a new name.
    """
    while True:
        try:
            _create_patiently(chain, layout.segment_path(sha256), data)
        except ObjectExistsError:
            data = segments.encode(stored)
            sha256 = sha256_hex(data)
        else:
            return data, sha256


def _create_patiently(chain: Chain, path: str, data: bytes) -> None:
    """Create a segment. A failed create is repeated: the same bytes at the same name do no harm."""
    tries = chain.limits.segment_tries
    for attempt in range(tries):
        try:
            chain.storage.create(path, data)
        # The store's answer is final in these cases, so a further try could not change it.
        except (ObjectExistsError, NotStoredError, NotDurableError):
            raise
        except StorageError:
            if attempt + 1 == tries:
                raise
            pause_after_failure(attempt, chain.limits.first_pause_seconds)
        else:
            return
