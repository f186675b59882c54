"""Matches rows of two spines by entity and cutoff, whatever their row numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.datasets.store.archive import SPINE_ROW, Archive
from eventlake.datasets.store.recorded import features_of

MATCH = "eventlake match"
OCCURRENCE = "occurrence"


@dataclass(frozen=True, slots=True)
class Matched:
    """The rows of two datasets, numbered in common.

    Attributes:
        names: The columns of the spines that identify rows; the n-th row with the same values is
            matched with the n-th.
        before: The first dataset's rows in the order of the common number, whose column ``MATCH``
            replaces ``spine_row``.
        after: The second dataset's rows, likewise.
        values: The values behind each number: ``names``, and the occurrence.
    """

    names: tuple[str, ...]
    before: pa.Table
    after: pa.Table
    values: pl.DataFrame

    def key(self, number: int) -> dict[str, Any]:
        """The values behind a number; with the occurrence unless it is the first."""
        *values, occurrence = self.values.row(number)
        return dict(zip(self.names, values, strict=True)) | (
            {OCCURRENCE: occurrence} if occurrence else {}
        )


def is_numbered(before: Archive, after: Archive) -> bool:
    """Whether rows are numbered by different spines, so that their numbers are unrelated."""
    one, other = before.manifest.recipe, after.manifest.recipe
    spines = one.spine is not None and other.spine is not None and one.spine != other.spine
    return spines and SPINE_ROW in one.key and one.key == other.key


def matched(before: Archive, after: Archive) -> Matched | None:
    """Match the rows of two datasets that are numbered by different spines.

    Returns:
        None if the spines share no column, or some row has a number that its spine does not have.

    Raises:
        CorruptionError: A stored file is missing or changed.
        NotFoundError: The rows were pruned.
    """
    spines = [pl.DataFrame(archive.spine()) for archive in (before, after)]
    names = _names(before, after, *(spine.schema for spine in spines))
    if not names:
        return None
    occurrence = pl.int_range(pl.len()).over(names).alias(OCCURRENCE)
    keyed = [
        spine.select(SPINE_ROW, *(pl.col(name) for name in names)).with_columns(occurrence)
        for spine in spines
    ]
    on = [*names, OCCURRENCE]
    # Sorted, so that both sides count alike and the numbers follow the columns' order.
    values = pl.concat([one.select(on) for one in keyed]).unique().sort(on)
    numbers = values.with_row_index(MATCH).cast({MATCH: pl.Int64})
    one, other = (
        _rows(archive, spine.join(numbers, on=on, how="left", nulls_equal=True))
        for archive, spine in zip((before, after), keyed, strict=True)
    )
    # A key may hold a row number that no row of the spine has.
    if one.column(MATCH).null_count or other.column(MATCH).null_count:
        return None
    return Matched(tuple(names), one, other, values)


def _names(
    before: Archive, after: Archive, types: Mapping[str, Any], others: Mapping[str, Any]
) -> list[str]:
    """Entity and cutoff if both datasets declare the same, else all columns the spines share."""
    shared = [
        name for name, kind in types.items() if name != SPINE_ROW and others.get(name) == kind
    ]
    declared = {tuple(_entity_and_cutoff(archive)) for archive in (before, after)}
    names = list(declared.pop()) if len(declared) == 1 else []
    return names if names and set(names) <= set(shared) else shared


def _entity_and_cutoff(archive: Archive) -> Iterator[str]:
    if features := features_of(archive):
        yield from (features.spine_entity, features.cutoff)


def _rows(archive: Archive, spine: pl.DataFrame) -> pa.Table:
    """The rows under common numbers, in their order."""
    rows = pl.DataFrame(archive.rows())
    numbers = spine.select(pl.col(SPINE_ROW).cast(rows.schema[SPINE_ROW]), MATCH)
    keys = [MATCH if name == SPINE_ROW else name for name in archive.manifest.recipe.key]
    return rows.join(numbers, on=SPINE_ROW, how="left").drop(SPINE_ROW).sort(keys).to_arrow()
