"""A merge join of two sorted streams of rows in bounded memory.

Each step takes from both sides the rows up to the lesser of the two keys with which their pieces
end, so at least one piece is used up. A hash join over these rows alone finds the common keys.
Written by hand because no engine here joins two streams without holding one of them in memory.
"""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """The rows of a range of keys. Each table is in key order.

    Attributes:
        removed: Rows whose key only the first side has.
        added: Rows whose key only the second side has.
        before: Rows whose key both sides have, as in the first.
        after: Rows with the same keys in the same order, as in the second.
    """

    removed: pa.Table
    added: pa.Table
    before: pa.Table
    after: pa.Table

    @property
    def rows(self) -> int:
        """Number of rows of both sides."""
        return int(
            self.removed.num_rows + self.added.num_rows + self.before.num_rows + self.after.num_rows
        )


def merge(
    before: Iterator[pa.Table], after: Iterator[pa.Table], key: Sequence[str]
) -> Iterator[Step]:
    """Join two sorted streams of rows.

    Args:
        before: Pieces in ascending order of a unique key without nulls; text is ordered by its
            UTF-8 bytes, as in stored datasets.
        after: Likewise, with key columns of the same types; other columns may differ.
        key: The key columns, in sort order.

    Yields:
        Steps in key order; together they have every row once.
    """
    sides = _Side(before, key), _Side(after, key)
    while ends := [side.end for side in sides if side.fill()]:
        # Rows up to the lesser end are complete on both sides.
        bound = min(ends)
        left, right = (side.take(bound) for side in sides)
        yield _step(left, right, key)


class _Side:
    """One stream: the current piece, and the pieces after it."""

    def __init__(self, pieces: Iterator[pa.Table], key: Sequence[str]) -> None:
        self._pieces = pieces
        self._names = list(key)
        self._rows: pa.Table | None = None
        self._keys: list[pa.Array] = []
        self.end: Key = ()

    def fill(self) -> bool:
        """Ensure that there are rows; False at the end of the stream."""
        while self._rows is None or not self._rows.num_rows:
            following = next(self._pieces, None)
            if following is None:
                return False
            self._rows = following
            self._keys = [_comparable(following.column(name)) for name in self._names]
            if following.num_rows:
                # Pieces are sorted, so the last key is the greatest.
                self.end = self._key(following.num_rows - 1)
        return True

    def take(self, bound: Key) -> pa.Table | None:
        """Take the rows with keys up to and including ``bound``; None without any piece."""
        if self._rows is None:
            return None
        rows = self._rows.num_rows
        stop = (
            rows
            if not rows or bound == self.end
            else bisect.bisect_right(range(rows), bound, key=self._key)
        )
        taken, self._rows = self._rows.slice(0, stop), self._rows.slice(stop)
        self._keys = [column.slice(stop) for column in self._keys]
        return taken

    def _key(self, row: int) -> Key:
        return tuple(column[row].as_py() for column in self._keys)


def _comparable(column: pa.ChunkedArray) -> pa.Array:
    """A key column whose values Python orders as Arrow sorts them."""
    # Dates and instants become integers: they may be outside Python's years 1 to 9999.
    if pa.types.is_date32(column.type):
        column = column.cast(pa.int32())
    elif pa.types.is_temporal(column.type):
        column = column.cast(pa.int64())
    return column.combine_chunks()


def _step(left: Any, right: Any, key: Sequence[str]) -> Step:
    """Join two tables; None stands for a stream without any piece."""
    names = list(key)
    if left is None or right is None:
        only = left if right is None else right
        return _unpaired(
            only.slice(0, 0) if left is None else left, only.slice(0, 0) if right is None else right
        )
    if not left.num_rows or not right.num_rows:
        return _unpaired(left, right)
    keys, others = left.select(names), right.select(names)
    # Most pieces of similar datasets have equal keys, which spares the join.
    if keys.equals(others):
        return Step(left.slice(0, 0), right.slice(0, 0), left, right)
    pairs = _numbered(keys, "left").join(
        _numbered(others, "right"), on=[f"k{n}" for n in range(len(names))], maintain_order="left"
    )
    places, other_places = pairs["left"].to_numpy(), pairs["right"].to_numpy()
    return Step(
        _without(left, places),
        _without(right, other_places),
        _at(left, places),
        _at(right, other_places),
    )


def _unpaired(left: pa.Table, right: pa.Table) -> Step:
    return Step(left, right, left.slice(0, 0), right.slice(0, 0))


def _numbered(keys: pa.Table, name: str) -> pl.DataFrame:
    """The keys under neutral names, with the row number as ``name``."""
    return pl.DataFrame(
        keys.rename_columns([f"k{n}" for n in range(keys.num_columns)])
    ).with_row_index(name)


def _at(table: pa.Table, places: np.ndarray[Any, Any]) -> pa.Table:
    """The rows at distinct places."""
    return table if len(places) == table.num_rows else table.take(pa.array(places))


def _without(table: pa.Table, places: np.ndarray[Any, Any]) -> pa.Table:
    if len(places) == table.num_rows:
        return table.slice(0, 0)
    kept = np.ones(table.num_rows, np.bool_)
    kept[places] = False
    return table.filter(pa.array(kept))
