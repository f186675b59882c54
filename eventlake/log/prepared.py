"""Storing what a commit will name, before the commit: segments and, where there are many, keys. Nobody sees it yet."""

import random
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from eventlake.columns import leaves, segments
from eventlake.columns.envelope import Batch
from eventlake.core import layout
from eventlake.core.canonical import sha256_hex
from eventlake.core.delivery import Position
from eventlake.core.manifest import KeyFile
from eventlake.core.segment import Segment
from eventlake.errors import StorageError
from eventlake.log.chain import Chain
from eventlake.log.recent import OwnKeys, own_keys, stored_where_large
from eventlake.progress import task
from eventlake.storage import NotDurableError, NotStoredError, ObjectExistsError, Storage

SEGMENT_TRIES = 4


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


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is stored for a commit that is not there yet.

    Attributes:
        pieces: The segments.
        keys: The commit's keys, or the file that holds them.
        fence: The newest fence when this was stored.
    """

    pieces: tuple[Piece, ...]
    keys: OwnKeys | KeyFile
    fence: int | None

    def holds(self, chain: Chain) -> bool:
        """Whether a commit may name it: after another fence it may be just what a garbage collector is deleting."""
        return self.fence == chain.fence


def prepare(chain: Chain, batch: Batch, positions: Sequence[Position], commit_id: str) -> Prepared:
    """Encodes, hashes and stores a batch.

    Raises:
        StorageError: The store failed.
    """
    fence = chain.fence
    pieces = _store_segments(chain.storage, batch)
    keys = own_keys(batch.sorted_keys, batch.frame, positions, commit_id)
    return Prepared(pieces, stored_where_large(chain.storage, keys), fence)


def _store_segments(storage: Storage, batch: Batch) -> tuple[Piece, ...]:
    stored = segments.stored_columns(batch)
    pieces = []
    with task("appending events", batch.rows) as advance:
        for start in range(0, batch.rows, segments.MAX_ROWS):
            piece = _store_piece(storage, batch.frame.slice(start, segments.MAX_ROWS), stored.slice(start, segments.MAX_ROWS))
            advance(len(piece.hashes))
            pieces.append(piece)
    return tuple(pieces)


def _store_piece(storage: Storage, events: pl.DataFrame, stored: pa.Table) -> Piece:
    with ThreadPoolExecutor(1) as hashing:
        hashes = hashing.submit(leaves.leaf_hashes, events)
        data, sha256 = store_segment(storage, stored)
        return Piece(sha256, len(data), tuple(stored.column_names), hashes.result(), segments.statistics(stored))


def store_segment(storage: Storage, stored: pa.Table) -> tuple[bytes, str]:
    """Encodes and stores a segment's columns; gives its bytes and their SHA-256.

    A segment of that name that is there already was left by an attempt that failed, and whoever collects garbage may be about to delete
    it. It is not taken over: the same events go under a fresh name.
    """
    data = segments.encode(stored)
    while True:
        sha256 = sha256_hex(data)
        try:
            _create_patiently(storage, layout.segment_path(sha256), data)
        except ObjectExistsError:
            data = segments.encode(stored, attempt=secrets.token_hex(8))
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
