"""Which rows of two spines are of the same entity at the same cutoff, wherever they stand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.datasets.store.archive import SPINE_ROW, Archive
from eventlake.datasets.store.recorded import projection_of
from eventlake.projections.features import feature_set

MATCH = "eventlake match"
OCCURRENCE = "occurrence"


@dataclass(frozen=True, slots=True)
class Matched:
    """Two datasets whose rows are numbered by their spines, under numbers that they share.

    Attributes:
        names: The columns of the spines that rows are told apart by; the n-th row with the same
            values is matched with the n-th.
        before: The first dataset's rows in the order of the shared numbers, which stand as
            ``MATCH`` in the place of ``spine_row``.
        after: The second's.
        values: What the numbers stand for: ``names``, and the occurrence.
    """

    names: tuple[str, ...]
    before: pa.Table
    after: pa.Table
    values: pl.DataFrame

    def key(self, number: int) -> dict[str, Any]:
        """What a number stands for; how often the same stood before only if it did."""
        *values, occurrence = self.values.row(number)
        return dict(zip(self.names, values, strict=True)) | (
            {OCCURRENCE: occurrence} if occurrence else {}
        )


def is_numbered(before: Archive, after: Archive) -> bool:
    """Whether rows of two datasets are numbered by spines that differ, so that a number says nothing."""
    one, other = before.manifest.recipe, after.manifest.recipe
    spines = one.spine is not None and other.spine is not None and one.spine != other.spine
    return spines and SPINE_ROW in one.key and one.key == other.key


def matched(before: Archive, after: Archive) -> Matched | None:
    """The rows of two datasets that are numbered by different spines.

    None where the spines have no column in common, or rows have numbers of their own.

    Raises:
        CorruptionError: A stored file is missing or not what was written.
        NotFoundError: Retention has taken the rows.
    """
    spines = [pl.DataFrame(archive.spine()) for archive in (before, after)]
    names = _names(before, after, *(spine.schema for spine in spines))
    if not names:
        return None
    occurrence = pl.int_range(pl.len()).over(names).alias(OCCURRENCE)
    told = [
        spine.select(SPINE_ROW, *(pl.col(name) for name in names)).with_columns(occurrence)
        for spine in spines
    ]
    on = [*names, OCCURRENCE]
    values = pl.concat([one.select(on) for one in told]).unique().sort(on)
    numbers = values.with_row_index(MATCH).cast({MATCH: pl.Int64})
    one, other = (
        _rows(archive, spine.join(numbers, on=on, how="left", nulls_equal=True))
        for archive, spine in zip((before, after), told, strict=True)
    )
    if one.column(MATCH).null_count or other.column(MATCH).null_count:
        return None
    return Matched(tuple(names), one, other, values)


def _names(
    before: Archive, after: Archive, types: Mapping[str, Any], others: Mapping[str, Any]
) -> list[str]:
    """Entity and cutoff where both datasets declare the same ones, else all columns that the spines share."""
    shared = [
        name for name, kind in types.items() if name != SPINE_ROW and others.get(name) == kind
    ]
    ends = {tuple(_ends(archive)) for archive in (before, after)}
    told = list(ends.pop()) if len(ends) == 1 else []
    return told if told and set(told) <= set(shared) else shared


def _ends(archive: Archive) -> Iterator[str]:
    if archive.manifest.recipe.kind == "features":
        features = feature_set(projection_of(archive))
        yield from (features.spine_entity, features.cutoff)


def _rows(archive: Archive, spine: pl.DataFrame) -> pa.Table:
    """The rows under shared numbers, in their order."""
    rows = pl.DataFrame(archive.rows())
    numbers = spine.select(pl.col(SPINE_ROW).cast(rows.schema[SPINE_ROW]), MATCH)
    keys = [MATCH if name == SPINE_ROW else name for name in archive.manifest.recipe.key]
    return rows.join(numbers, on=SPINE_ROW, how="left").drop(SPINE_ROW).sort(keys).to_arrow()
