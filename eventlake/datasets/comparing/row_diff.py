"""Compares the rows of two datasets by key."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from eventlake.columns.hashing.differs import differs
from eventlake.datasets.comparing.merge_join import Step, merge
from eventlake.datasets.comparing.spine_match import MATCH, Matched
from eventlake.datasets.store.archive import SPINE_ROW, Archive
from eventlake.progress import task

SHOWN = 10
"""Maximum examples of each kind of change."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that was added, removed or changed.

    Attributes:
        key: Value by key column.
        before: Value by column in the first dataset; only the changed columns of a changed row.
            None if the row was added.
        after: Likewise in the second dataset; None if the row was removed.
    """

    key: dict[str, Any]
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class RowsDiff:
    """Rows of two datasets, matched by key.

    Attributes:
        before: Number of rows of the first dataset.
        after: Number of rows of the second.
        added: Rows whose key only the second has.
        removed: Rows whose key only the first has.
        changed: Rows of both with another value in some compared column.
        unchanged: The other rows of both.
        columns: Number of changed values by compared column, in the first dataset's order.
        added_rows: The first ten added rows, in key order.
        removed_rows: The first ten removed rows, in key order.
        changed_rows: The first ten changed rows, in key order.
        matched_by: Columns of the spines by which rows were matched, because row numbers of
            different spines are unrelated. Among rows with equal values the n-th is matched with
            the n-th. Empty if rows were matched by their key.
    """

    before: int
    after: int
    added: int
    removed: int
    changed: int
    unchanged: int
    columns: dict[str, int]
    added_rows: tuple[RowChange, ...] = ()
    removed_rows: tuple[RowChange, ...] = ()
    changed_rows: tuple[RowChange, ...] = ()
    matched_by: tuple[str, ...] = ()


def same_rows(archive: Archive, columns: Sequence[str]) -> RowsDiff:
    """The result for equal content hashes; nothing is read."""
    rows = archive.manifest.rows
    return RowsDiff(rows, rows, 0, 0, 0, rows, dict.fromkeys(columns, 0))


def diff_rows(before: Archive, after: Archive, columns: Sequence[str]) -> RowsDiff:
    """Compare stored rows by key, reading each file once, with one part of each side in memory.

    Args:
        before: The first dataset.
        after: The second; its key columns have the same names, order and types.
        columns: The columns to compare, without the key; their types are the same on both sides.

    Raises:
        CorruptionError: A stored file is missing or changed, or rows do not match their manifest.
        NotFoundError: The rows of one dataset were pruned.
    """
    key = before.manifest.recipe.key
    counts = _Counts(key, dict.fromkeys(columns, 0))
    name = before.manifest.recipe.name
    with task(f"comparing rows of {name}", before.manifest.rows + after.manifest.rows) as advance:
        for step in merge(before.pieces(), after.pieces(), key):
            counts.add(step)
            advance(step.rows)
    return counts.result()


def diff_matched(rows: Matched, key: Sequence[str], columns: Sequence[str], name: str) -> RowsDiff:
    """Compare rows that are matched by columns of their spines.

    Args:
        rows: The rows of both datasets.
        key: The key of both.
        columns: The columns to compare, without the key.
        name: The first dataset's name.
    """
    keys = tuple(MATCH if one == SPINE_ROW else one for one in key)
    counts = _Counts(
        keys, dict.fromkeys((one for one in columns if one not in rows.names), 0), rows
    )
    with task(f"comparing rows of {name}", rows.before.num_rows + rows.after.num_rows) as advance:
        for step in merge(iter([rows.before]), iter([rows.after]), keys):
            counts.add(step)
            advance(step.rows)
    return counts.result()


@dataclass(slots=True)
class _Counts:
    """The result of the steps so far."""

    key: tuple[str, ...]
    columns: dict[str, int]
    matched: Matched | None = None
    added: int = 0
    removed: int = 0
    changed: int = 0
    unchanged: int = 0
    added_rows: list[RowChange] = field(default_factory=list)
    removed_rows: list[RowChange] = field(default_factory=list)
    changed_rows: list[RowChange] = field(default_factory=list)

    def add(self, step: Step) -> None:
        self.added += step.added.num_rows
        self.removed += step.removed.num_rows
        added, removed = (
            step.added.slice(0, SHOWN - len(self.added_rows)),
            step.removed.slice(0, SHOWN - len(self.removed_rows)),
        )
        self.added_rows += [
            RowChange(self._key(row), None, self._rest(row)) for row in _rows(added)
        ]
        self.removed_rows += [
            RowChange(self._key(row), self._rest(row), None) for row in _rows(removed)
        ]
        self._compare(step.before, step.after)

    def _compare(self, before: pa.Table, after: pa.Table) -> None:
        changes = {}
        for name in self.columns:
            changes[name] = differs(
                before.column(name).combine_chunks(), after.column(name).combine_chunks()
            )
            self.columns[name] += int(np.count_nonzero(changes[name]))
        changed = np.zeros(before.num_rows, np.bool_)
        for unlike in changes.values():
            changed |= unlike
        total = int(np.count_nonzero(changed))
        self.changed += total
        self.unchanged += before.num_rows - total
        for place in np.flatnonzero(changed)[: SHOWN - len(self.changed_rows)].tolist():
            # Only the columns that changed: rows may be wide.
            names = [name for name in self.columns if changes[name][place]]
            was, became = (
                next(_rows(table.select([*self.key, *names]).slice(place, 1)))
                for table in (before, after)
            )
            self.changed_rows.append(RowChange(self._key(was), self._rest(was), self._rest(became)))

    def _key(self, row: dict[str, Any]) -> dict[str, Any]:
        key: dict[str, Any] = {}
        for name in self.key:
            key |= (
                self.matched.key(row[name])
                if self.matched is not None and name == MATCH
                else {name: row[name]}
            )
        return key

    def _rest(self, row: dict[str, Any]) -> dict[str, Any]:
        in_key = (*self.key, *(self.matched.names if self.matched is not None else ()))
        return {name: value for name, value in row.items() if name not in in_key}

    def result(self) -> RowsDiff:
        both = self.changed + self.unchanged
        return RowsDiff(
            before=both + self.removed,
            after=both + self.added,
            added=self.added,
            removed=self.removed,
            changed=self.changed,
            unchanged=self.unchanged,
            columns=self.columns,
            added_rows=tuple(self.added_rows),
            removed_rows=tuple(self.removed_rows),
            changed_rows=tuple(self.changed_rows),
            matched_by=self.matched.names if self.matched is not None else (),
        )


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for place in range(table.num_rows):
        yield {name: _value(table.column(name)[place]) for name in table.column_names}


def _value(value: pa.Scalar) -> Any:
    """The value in Python; as text if it is outside Python's range of dates."""
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        beyond = pa.types.is_nested(value.type) or pa.types.is_binary(value.type)
        return (
            "a value beyond the years 1 to 9999"
            if beyond
            else pa.array([value]).cast(pa.large_string())[0].as_py()
        )
