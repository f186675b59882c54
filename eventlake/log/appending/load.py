"""A batch in parts, which was never in memory as a whole."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from eventlake.columns.hashing.leaves import Hashes
from eventlake.columns.intake.batch_limits import BatchLimits
from eventlake.columns.intake.problems import Problem
from eventlake.columns.keys.key_runs import Keys
from eventlake.columns.parquet import segments
from eventlake.columns.schema import whole_columns
from eventlake.core import layout
from eventlake.core.documents.delivery import Position
from eventlake.core.hashing.merkle import HASH_BYTES
from eventlake.errors import InvalidEventsError
from eventlake.log.appending.check_payloads import hint_for
from eventlake.log.appending.read_events import checked_batch
from eventlake.log.chain.unfolded_keys import own_keys, stored_where_large
from eventlake.log.store_batch import Piece, StoredBatch, new_commit_id
from eventlake.storage import Storage, read_sized

_KEY = ["source", "id"]


@dataclass(frozen=True)
class Load:
    """A batch whose parts are stored.

    Attributes:
        storage: Where they are stored.
        pieces: Their segments.
        keys: The key of every row's ``(source, id)``.
        subjects: The keys of their subjects.
        recorded_at: The first and the last instant, if the batch is a copied history.
        sequence: The sequence that the first event expects, if the batch names sequences.
        skipped: The number of events that were left out because the lake holds them.
        numbers: Row numbers in the given batch if rows were left out, else None.
        next_version: The version of the next commit when storing began.
        fence: The version of the newest fence when storing began.
        schemas: SHA-256 of the catalogue that the parts were checked against.
    """

    storage: Storage
    pieces: tuple[Piece, ...]
    keys: Keys
    subjects: Keys
    recorded_at: pa.Array | None
    sequence: pa.Array | None
    skipped: int
    numbers: npt.NDArray[np.int64] | None
    next_version: int
    fence: int | None
    schemas: str | None

    @property
    def rows(self) -> int:
        """The number of events."""
        return len(self.keys)

    @cached_property
    def sorted_keys(self) -> Keys:
        """``keys``, sorted."""
        return np.sort(self.keys)

    @property
    def leaf_hashes(self) -> Hashes:
        """The leaf hash of every row."""
        return hashes_of(self.pieces)

    def number(self, row: int) -> int:
        """The number of ``row`` in the batch as given."""
        return row if self.numbers is None else int(self.numbers[row])

    def pairs(self, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
        """``source`` and ``id`` of some rows, in ascending order, read from their segments."""
        return self.read(rows, _KEY)

    def read(self, rows: npt.NDArray[np.int64], columns: list[str]) -> pl.DataFrame:
        """Text columns of some rows, in ascending order, read from their segments."""
        # The events themselves are no longer in memory. Only rows under suspicion are read back.
        found = [pl.DataFrame(schema=dict.fromkeys(columns, pl.String()))]
        start = 0
        for piece in self.pieces:
            stop = start + len(piece.ranges.hashes)
            wanted = rows[(rows >= start) & (rows < stop)] - start
            if len(wanted):
                path = layout.segment_path(piece.sha256)
                table = segments.decode(
                    read_sized(self.storage, path, piece.size_bytes), path, columns
                )
                found.append(pl.DataFrame(whole_columns(table, columns))[wanted])
            start = stop
        return pl.concat(found)

    def prepared(self, inline_keys: int, positions: Sequence[Position]) -> StoredBatch:
        """The stored batch, ready to be committed; more than ``inline_keys`` keys are stored."""
        # The key file is written only after every part was found valid.
        commit_id = new_commit_id()
        own = own_keys(self.sorted_keys, self.subjects, positions, commit_id)
        keys = stored_where_large(self.storage, own, inline_keys)
        return StoredBatch(
            self.pieces, keys, commit_id, self.next_version, self.fence, self.schemas
        )


@dataclass(frozen=True)
class Unstored:
    """A batch in parts of which nothing is stored; its hashes are computed when they are needed.

    Attributes:
        parts: Returns tables of the events in order.
        limits: How the batch would be encoded.
    """

    parts: Callable[[], Iterable[pa.Table]]
    limits: BatchLimits

    @cached_property
    def leaf_hashes(self) -> Hashes:
        """The leaf hash of every row.

        Raises:
            InvalidEventsError: Rules are broken in a part.
        """
        hashes: list[Hashes] = [np.empty((0, HASH_BYTES), np.uint8)]
        problems: list[Problem] = []
        given = 0
        for table in self.parts():
            try:
                hashes.append(checked_batch(table, ahead=False, limits=self.limits).leaf_hashes)
            except InvalidEventsError as error:
                problems += [problem.shifted(given) for problem in error.problems]
            given += table.num_rows
        if problems:
            raise InvalidEventsError(problems, hint_for(problems))
        return np.concatenate(hashes)


def hashes_of(pieces: Sequence[Piece]) -> Hashes:
    """The leaf hashes of the rows of some segments."""
    empty = np.empty((0, HASH_BYTES), np.uint8)
    return np.concatenate([empty, *(piece.ranges.hashes for piece in pieces)])
