"""Store a batch that does not fit into memory, part by part.

Some 50 bytes an event stay in memory: its key and its leaf hash. After a part that breaks a rule,
nothing more is stored, but the checks go on, so that the caller sees every problem; what was stored
is garbage. Duplicates between parts are looked for only if every part is valid.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from eventlake.columns.hashing.leaves import Hashes, leaf_hashes
from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.problems import Problem
from eventlake.columns.keys.key_runs import Keys, distinct, doubled, found_ids, rows_of
from eventlake.columns.keys.keys import subject_keys
from eventlake.errors import InvalidEventsError
from eventlake.log.appending.check_corrections import (
    EVENT,
    References,
    dangling_problems,
    references,
    resolve_in,
)
from eventlake.log.appending.check_payloads import hint_for, payload_problems
from eventlake.log.appending.duplicates import drop_known, drop_repeats, known_problems
from eventlake.log.appending.known_ids import find_known
from eventlake.log.appending.load import Load, hashes_of
from eventlake.log.appending.read_events import by_row_and_field, checked_batch
from eventlake.log.chain.chain import Chain
from eventlake.log.store_batch import Piece, store_pieces

_KEY = ["source", "id"]


def store_load(chain: Chain, tables: Iterable[pa.Table], *, skip_identical: bool = False) -> Load:
    """Check and store the parts of a batch.

    Args:
        chain: The lake's log, refreshed.
        tables: The events in order, unchecked.
        skip_identical: Leave out events that the lake or an earlier row holds byte-identically.

    Raises:
        InvalidEventsError: Some parts break rules, or the lake or another part holds an event;
            with the problems of all parts.
        InvalidInputError: Events may be left out, and the batch names its sequences.
        StorageError: The store failed.
    """
    loading = _Loading(chain, skip_identical=skip_identical)
    for table in tables:
        loading.add(table)
        del table  # makes room for the next part
    return loading.finished()


class _Loading:
    """The parts of a batch that were stored so far."""

    def __init__(self, chain: Chain, *, skip_identical: bool) -> None:
        self._chain = chain
        self._skips = skip_identical
        # Before the first part is stored: whatever changes later, ``holds`` notices it.
        self._next_version, self._fence = chain.next_version, chain.fence
        self._schemas, self._watermark = chain.schemas, chain.watermark
        self._given = 0
        self._pieces: list[Piece] = []
        self._keys: list[Keys] = []
        self._numbers: list[npt.NDArray[np.int64]] = []
        self._subjects: Keys = np.empty(0, np.uint64)
        self._skipped: list[tuple[Keys, Hashes]] = []
        self._seen: Keys = np.empty(0, np.uint64)
        self._clock: list[pa.Array] = []
        self._latest: pa.Array | None = None
        self._sequence: pa.Array | None = None
        self._problems: list[Problem] = []
        self._references: list[pl.DataFrame] = []

    @property
    def _kept(self) -> int:
        return sum(map(len, self._keys))

    def add(self, table: pa.Table) -> None:
        """Check the next part, and store it if all parts so far are valid."""
        chain, before = self._chain, self._given
        self._given += table.num_rows
        problems: list[Problem] = []
        try:
            repeats = drop_repeats if self._skips else None
            part = checked_batch(table, drop_repeats=repeats, limits=chain.limits.batch)
            problems += self._order_problems(part, before)
            if self._skips:
                part = self._without_known(self._without_repeats(part))
            problems += known_problems(find_known(chain, part), part)
            problems += payload_problems(chain, part)
            problems += self._correction_problems(part)
            self._keep(part, before, store=not (self._problems or problems))
        except InvalidEventsError as error:
            problems += error.problems
        self._problems += [problem.shifted(before) for problem in problems]

    def _keep(self, part: Batch, before: int, *, store: bool) -> None:
        # After a problem nothing will be committed, so nothing more is stored.
        if store and part.rows:
            start = self._watermark + self._kept
            self._pieces += store_pieces(self._chain, part.encoding, start, lambda _: None)
        self._keys.append(part.keys)
        # Subjects repeat from part to part, so they are merged at once instead of collected.
        self._subjects = distinct(np.concatenate([self._subjects, subject_keys(part.frame)]))
        if part.recorded_at is not None and part.rows:
            self._clock += [part.recorded_at[:1], part.recorded_at[-1:]]
        if self._sequence is None and part.sequence is not None:
            self._sequence = part.sequence[:1]
        if self._skips:
            self._numbers.append(part.own_numbers + before)

    def _order_problems(self, part: Batch, before: int) -> list[Problem]:
        """Check that a part continues the parts before it, which have ``before`` rows."""
        problems = []
        if part.recorded_at is not None and part.rows:
            if self._latest is not None and part.recorded_at[0].value < self._latest[0].value:
                message = (
                    "expected non-decreasing instants in a copied history, "
                    "this one is before the row above"
                )
                found = part.recorded_at[0].as_py()
                problems.append(Problem(part.number(0), "recorded_at", message, found))
            self._latest = part.recorded_at[-1:]
        if (
            part.sequence is not None
            and self._sequence is not None
            and part.sequence[0].as_py() != self._sequence[0].as_py() + before
        ):
            message = "expected dense sequences in order"
            problems.append(Problem(0, "sequence", message, part.sequence[0].as_py()))
        return problems

    def _correction_problems(self, part: Batch) -> list[Problem]:
        """Check corrections against the part; those of other events wait for the end."""
        named = references(part)
        if named is None:
            return []
        left, wrong = resolve_in(named, part.frame.select(EVENT).with_row_index("at"))
        self._references.append(left.frame.with_columns(pl.col("row") + self._kept))
        return [replace(problem, row=part.number(problem.row or 0)) for problem in wrong]

    def _without_repeats(self, part: Batch) -> Batch:
        """The part without events that an earlier part holds byte-identically."""
        rows = rows_of(part.keys, found_ids(self._seen, part.sorted_keys))
        # After a problem nothing is stored, and repeats are no longer looked for.
        if not len(rows) or self._problems:
            return part
        keys = np.concatenate([*self._keys, *(keys for keys, _ in self._skipped)])
        hashes = np.concatenate([hashes_of(self._pieces), *(one for _, one in self._skipped)])
        earlier = {leaf.tobytes() for leaf in hashes[rows_of(keys, part.keys[rows])]}
        own = leaf_hashes(part.frame[rows])
        again = [row for row, leaf in zip(rows, own, strict=True) if leaf.tobytes() in earlier]
        return part.without(np.array(again)) if again else part

    def _without_known(self, part: Batch) -> Batch:
        """The part without events that the lake holds byte-identically.

        Raises:
            InvalidEventsError: The lake holds a different event with the same ``(source, id)``.
        """
        # Stable, because that merges sorted runs in linear time.
        self._seen = np.sort(np.concatenate([self._seen, part.sorted_keys]), kind="stable")
        left = drop_known(self._chain, part)
        if left is not part:
            rows = np.flatnonzero(~np.isin(part.own_numbers, left.own_numbers))
            # An event that is in the file once more is a repeat, and not counted again.
            self._skipped.append((part.keys[rows], leaf_hashes(part.frame[rows])))
        return left

    def finished(self) -> Load:
        """The whole batch.

        Raises:
            InvalidEventsError: A rule was broken in a part, or is broken between parts.
        """
        load = Load(
            storage=self._chain.storage,
            pieces=tuple(self._pieces),
            keys=np.concatenate([np.empty(0, np.uint64), *self._keys]),
            subjects=self._subjects,
            recorded_at=(
                pa.concat_arrays([self._clock[0], self._clock[-1]]) if self._clock else None
            ),
            sequence=self._sequence,
            skipped=sum(len(keys) for keys, _ in self._skipped),
            numbers=np.concatenate(self._numbers) if self._numbers else None,
            next_version=self._next_version,
            fence=self._fence,
            schemas=self._schemas,
        )
        problems = self._problems or [
            *_repeats(load),
            *_unresolved(self._chain, load, self._references),
        ]
        if problems:
            raise InvalidEventsError(sorted(problems, key=by_row_and_field), hint_for(problems))
        return load


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
            message = "expected (source, id) once in a batch"
            problems.append(
                Problem(load.number(row), "id", message, (source, event_id), load.number(seen))
            )
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
    problems += dangling_problems(chain, left)
    return [replace(problem, row=load.number(problem.row or 0)) for problem in problems]
