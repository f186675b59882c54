"""Store a batch that does not fit into memory, part by part.

Some 50 bytes an event stay in memory: its key and its leaf hash. After a part that breaks a rule,
nothing more is stored, but the checks go on, so that the caller sees every problem; what was stored
is garbage. Duplicates between parts are looked for only if every part is valid.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.problems import Problem
from eventlake.columns.keys.key_runs import Keys, distinct, doubled, rows_of
from eventlake.columns.keys.keys import subject_keys
from eventlake.columns.parquet import segments
from eventlake.columns.schema import whole_columns
from eventlake.core import layout
from eventlake.errors import InvalidEventsError
from eventlake.log.appending.check_corrections import (
    EVENT,
    References,
    dangling_problems,
    references,
    resolve_in,
)
from eventlake.log.appending.check_payloads import hint_for, payload_problems
from eventlake.log.appending.duplicates import known_problems
from eventlake.log.appending.known_ids import find_known
from eventlake.log.appending.read_events import by_row_and_field, checked_batch
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.unfolded_keys import own_keys, stored_where_large
from eventlake.log.store_batch import Piece, StoredBatch, new_commit_id, store_pieces
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

    def number(self, row: int) -> int:
        """The row itself, since no rows are dropped."""
        return row

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

    def prepared(self, inline_keys: int) -> StoredBatch:
        """The stored batch, ready to be committed; more than ``inline_keys`` keys are stored."""
        # The key file is written only after every part was found valid.
        commit_id = new_commit_id()
        own = own_keys(self.sorted_keys, self.subjects, (), commit_id)
        keys = stored_where_large(self.storage, own, inline_keys)
        return StoredBatch(
            self.pieces, keys, commit_id, self.next_version, self.fence, self.schemas
        )


def store_load(chain: Chain, tables: Iterable[pa.Table]) -> Load:
    """Check and store the parts of a batch.

    Args:
        chain: The lake's log, refreshed.
        tables: The events in order, unchecked.

    Raises:
        InvalidEventsError: Some parts break rules, or the lake or another part holds an event;
            with the problems of all parts.
        StorageError: The store failed.
    """
    # Read before the first part is stored: whatever changes later, ``holds`` notices it.
    next_version, fence, schemas, watermark = (
        chain.next_version,
        chain.fence,
        chain.schemas,
        chain.watermark,
    )
    pieces: list[Piece] = []
    keys: list[Keys] = []
    subjects: list[Keys] = []
    clock: list[pa.Array] = []
    sequence: list[pa.Array] = []
    problems: list[Problem] = []
    open_references: list[pl.DataFrame] = []
    for table in tables:
        rows = sum(map(len, keys))
        try:
            part = checked_batch(table, limits=chain.limits.batch)
        except InvalidEventsError as error:
            problems += [problem.shifted(rows) for problem in error.problems]
            # Placeholders: later parts need the right row numbers for their own problems.
            keys.append(np.empty(table.num_rows, np.uint64))
            continue
        own = [
            *known_problems(find_known(chain, part), part),
            *_order_problems(part, rows, clock, sequence),
            *payload_problems(chain, part),
        ]
        if (named := references(part)) is not None:
            left, wrong = resolve_in(named, part.frame.select(EVENT).with_row_index("at"))
            open_references.append(left.frame.with_columns(pl.col("row") + rows))
            own += wrong
        problems += [problem.shifted(rows) for problem in own]
        # After a problem nothing will be committed, so nothing more is stored.
        if not problems:
            pieces += store_pieces(chain, part.encoding, watermark + rows, lambda _: None)
        keys.append(part.keys)
        # Subjects repeat from part to part, so they are merged at once instead of collected.
        subjects = [distinct(np.concatenate([*subjects, subject_keys(part.frame)]))]
        clock += [] if part.recorded_at is None else [part.recorded_at[:1], part.recorded_at[-1:]]
        sequence += [] if part.sequence is None else [part.sequence[:1]]
        del part, table  # makes room for the next part
    empty = np.empty(0, np.uint64)
    load = Load(
        storage=chain.storage,
        pieces=tuple(pieces),
        keys=np.concatenate([empty, *keys]),
        subjects=np.concatenate([empty, *subjects]),
        recorded_at=pa.concat_arrays([clock[0], clock[-1]]) if clock else None,
        sequence=sequence[0] if sequence else None,
        next_version=next_version,
        fence=fence,
        schemas=schemas,
    )
    problems = problems or [*_repeats(load), *_unresolved(chain, load, open_references)]
    if problems:
        raise InvalidEventsError(sorted(problems, key=by_row_and_field), hint_for(problems))
    return load


def _order_problems(
    part: Batch, rows: int, clock: Sequence[pa.Array], sequence: Sequence[pa.Array]
) -> Iterator[Problem]:
    """Check that a part continues the parts before it, which have ``rows`` rows."""
    if part.recorded_at is not None and clock and part.recorded_at[0].value < clock[-1][0].value:
        message = (
            "expected non-decreasing instants in a copied history, this one is before the row above"
        )
        yield Problem(0, "recorded_at", message, part.recorded_at[0].as_py())
    if (
        part.sequence is not None
        and sequence
        and part.sequence[0].as_py() != sequence[0][0].as_py() + rows
    ):
        yield Problem(0, "sequence", "expected dense sequences in order", part.sequence[0].as_py())


def _repeats(load: Load) -> list[Problem]:
    """The rows whose ``(source, id)`` an earlier row has."""
    rows = rows_of(load.keys, doubled(load.sorted_keys))
    first: dict[tuple[str, str], int] = {}
    problems = []
    for row, (source, event_id) in zip(
        rows.tolist(), load.pairs(rows).select(_KEY).iter_rows(), strict=True
    ):
        seen = first.setdefault((source, event_id), row)
        if seen != row:
            message = f"expected (source, id) once in a batch, row {seen:,} has it already"
            problems.append(Problem(row, "id", message, (source, event_id)))
    return problems


def _unresolved(chain: Chain, load: Load, named: Sequence[pl.DataFrame]) -> list[Problem]:
    """The corrections of an event that neither an earlier part nor the lake holds."""
    if not named:
        return []
    references_ = References(pl.concat(named))
    rows = rows_of(load.keys, references_.keys)
    left, problems = resolve_in(
        references_, load.read(rows, EVENT).with_columns(at=pl.Series(rows))
    )
    return [*problems, *dangling_problems(chain, left)]
