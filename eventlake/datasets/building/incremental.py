"""Incremental builds: reuse the rows of an earlier build and recompute those that may have changed.

SQL is recomputed by entity. An entity may have changed if it has a new event, if a new correction
superseded or restored one of its events, or if its spine rows changed. All rows of such an entity
are recomputed, so that the result equals the full build, bit for bit. Declared features are
recomputed by row; see ``reuse_features``.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from eventlake.columns.hashing.content import normalise, schema_of
from eventlake.core.card import counted
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.names import LATEST
from eventlake.core.sql import named
from eventlake.datasets.building.earlier_builds import EarlierBuilds
from eventlake.datasets.building.reuse_features import (
    cutoffs_of,
    reuse_rows,
    serves_cutoffs,
    stale_rows,
)
from eventlake.datasets.store.archive import Archive
from eventlake.datasets.store.build_index import Entry
from eventlake.errors import EventlakeError
from eventlake.history import polars_scan
from eventlake.history.corrections import FAMILY, symmetric_difference
from eventlake.history.pinned import PinnedHistory
from eventlake.history.sql.duckdb_views import ENTITY, EntityFilter
from eventlake.history.sql.tables_read import tables_read
from eventlake.projections.computation import Computation, EntityColumns, RunOptions
from eventlake.projections.kinds import kind_of
from eventlake.projections.projection import Projection
from eventlake.projections.rows import finish

_MOST_BASES = 2
"""Earlier builds that are tried as a base."""
_MOST_CHANGED = 0.5
"""The share of changed entities above which everything is recomputed."""
_MOST_NEW = 0.5
"""The share of new events above which everything is recomputed."""
_NO_BASE = "there is no earlier build to begin from"
_TOO_MUCH = "too much has changed since the earlier builds"
_NOT_CHEAPER = "that takes no longer than to look for what has changed"
_QUICK_MS = 100
"""Milliseconds of a build from scratch below which nothing is reused: finding it takes as long."""


@dataclass(frozen=True, slots=True)
class Increment:
    """The result of an incremental build.

    Attributes:
        rows: The new dataset's rows.
        base: The manifest hash of the dataset whose rows were reused.
        changed: What was recomputed, such as ``3 subjects``.
    """

    rows: pa.Table
    base: str
    changed: str


def increment(
    computation: Computation,
    earlier: EarlierBuilds,
    columns: EntityColumns,
    pinned: Callable[[Checkpoint], PinnedHistory],
    *,
    if_cheaper: bool = False,
) -> Increment | str:
    """Build from an earlier dataset; or the reason, as text, why that is not done.

    Args:
        computation: A projection whose rows depend on one entity at a time.
        earlier: Finds the earlier builds of the recipe's name.
        columns: The columns that identify the entity of each row.
        pinned: Opens the history of an earlier checkpoint; fails if it is not this lake's.
        if_cheaper: Only if that is probably cheaper than a build from scratch.
    """
    if not columns.holding and not columns.spine_rows:
        return f"its rows do not say their {computation.projection.by}"
    by_row = kind_of(computation.projection).by_row
    reaches = serves_cutoffs(computation, _MOST_CHANGED) if by_row else (lambda _: True)
    watermark = computation.history.watermark

    def serves(entry: Entry) -> bool:
        # What is new is searched for changed entities, so that more of it than half costs more
        # than it saves, whatever changed.
        return watermark - entry.watermark <= _MOST_NEW * watermark and reaches(entry)

    # The longer a base's history, the fewer entities changed since: where the longest do not serve,
    # shorter ones hardly ever do, and each costs a search of the events since then.
    left = _MOST_BASES
    for entry, facts in earlier.candidates(watermark, serves):
        # Rows of features are always looked up faster if they are fewer.
        if if_cheaper and not by_row and facts.costs.favour_scratch(quick=_QUICK_MS):
            return _NOT_CHEAPER
        if not left or (base := earlier.base(entry)) is None:
            continue
        left -= 1
        # A damaged base, or one of another history, is skipped.
        with suppress(EventlakeError, pl.exceptions.PolarsError):
            before = pinned(base.manifest.recipe.checkpoint)
            # Checkpoints do not cover ``recorded_at``, so the clocks are compared as well.
            if base.manifest.recipe.clock_hash in {None, before.clock_hash()}:
                if by_row:
                    found = _by_row(entry, base, before, computation, earlier)
                else:
                    found = _by_entity(base, before.watermark, computation, columns)
                if isinstance(found, Increment) or found == _TOO_MUCH:
                    return found
    return _NO_BASE


def _by_entity(
    base: Archive, since: int, computation: Computation, columns: EntityColumns
) -> Increment | str:
    projection = computation.projection
    by = projection.by or ""
    changed = _changed_by_events(computation, since)
    # There are at most as many entities as rows. So most nights on which everything changed are
    # recognised before the base is read.
    if changed is None or changed.height > _MOST_CHANGED * base.manifest.rows:
        return _TOO_MUCH
    rows, spine = pl.DataFrame(base.rows()), base.spine()
    entity = _entities_of(rows, spine, projection, columns)
    changed = _with_spine(changed, computation, spine)
    if changed is None or entity is None or changed.height > _MOST_CHANGED * entity.n_unique():
        return _NO_BASE
    only = EntityFilter(by, projection.spine_entity, changed.to_arrow())
    new = finish(computation, kind_of(projection).rows(computation, RunOptions(only=only)))
    if tuple((name, kind) for name, kind in schema_of(new)) != base.manifest.schema:
        return _NO_BASE
    kept = rows[_unchanged_rows(entity, changed[ENTITY])]
    both = pa.concat_tables([normalise(kept.to_arrow()).cast(new.schema), new])
    return Increment(
        finish(computation, both), base.manifest.manifest_hash, counted(changed.height, by)
    )


def _by_row(
    entry: Entry,
    base: Archive,
    before: PinnedHistory,
    computation: Computation,
    earlier: EarlierBuilds,
) -> Increment | str:
    if computation.spine is None:
        return _NO_BASE
    stale = stale_rows(before, computation)
    if int(stale.sum()) > _MOST_CHANGED * len(stale):
        return _TOO_MUCH
    rows = base.rows()
    found = reuse_rows(rows, stale, computation, most=_MOST_CHANGED)
    if found is None:
        # The entry may have promised other cutoffs than there are, or none in particular.
        cutoffs = cutoffs_of(rows, computation)
        if cutoffs is not None:
            earlier.correct(entry, base, cutoffs)
        return _NO_BASE
    return Increment(found[0], base.manifest.manifest_hash, counted(found[1], "row"))


def _unchanged_rows(entity: pl.Series, changed: pl.Series) -> pl.Series:
    """The row numbers of the entities that have not changed."""
    # Declared types may be narrower than the engine's, so both sides get a common type first.
    both = pl.concat(
        [entity.alias(ENTITY).to_frame(), changed.alias(ENTITY).to_frame()], how="vertical_relaxed"
    )[ENTITY]
    rows = both[: len(entity)].to_frame().with_row_index("row")
    return rows.join(both[len(entity) :].to_frame(), on=ENTITY, how="anti", nulls_equal=True)[
        "row"
    ].sort()


def _entities_of(
    rows: pl.DataFrame, spine: pa.Table | None, projection: Projection, columns: EntityColumns
) -> pl.Series | None:
    """The entity of every row of a dataset; None if neither rows nor spine have it."""
    if columns.holding:
        return rows[columns.holding[0]]
    by = None if spine is None else named(spine.column_names, projection.spine_entity)
    if spine is None or by is None:
        return None
    numbered = pl.DataFrame(spine).select(
        pl.col("spine_row").alias("row"), pl.col(by).alias(ENTITY)
    )
    numbers = rows.select(pl.col(columns.spine_rows[0]).cast(pl.Int64).alias("row"))
    return numbers.join(numbered, on="row", how="left", maintain_order="left")[ENTITY]


def _changed_by_events(computation: Computation, since: int) -> pl.DataFrame | None:
    """The entities that events since a watermark may have changed, as ``ENTITY``; None if all."""
    projection, history = computation.projection, computation.history
    # After an empty history everything is new.
    if not since:
        return None
    if history.watermark == since:
        return pl.DataFrame(schema={ENTITY: pl.String})
    read = tables_read(computation.query.text, history.catalogue)
    latest = [name for name in read if name.corrections == LATEST]
    by = projection.by or ""
    # A correction can restore or supersede events of an entity that has no new ones itself.
    corrected = [_corrected(history, name.event_type, since, by) for name in latest]
    return _union([pl.DataFrame(kind_of(projection).entities(computation, since)), *corrected])


def _with_spine(
    changed: pl.DataFrame, computation: Computation, old: pa.Table | None
) -> pl.DataFrame | None:
    """Add the entities whose spine rows are other ones than in an old spine; None if unknown."""
    spine = computation.spine
    if spine is None or old is None:
        return changed
    by = named(spine.column_names, computation.projection.spine_entity)
    if spine.schema != old.schema or by is None:
        return None
    return _union([changed, _spine_changed(pl.DataFrame(old), pl.DataFrame(spine), by)])


def _union(frames: list[pl.DataFrame]) -> pl.DataFrame:
    # An empty frame may have another type.
    filled = [frame for frame in frames if frame.height]
    return pl.concat(filled or frames[:1], how="vertical_relaxed").unique()


def _corrected(history: PinnedHistory, event_type: str, since: int, by: str) -> pl.DataFrame:
    """The entities of events that are superseded at one watermark and not at the other."""
    now = history.table(event_type)
    then = history.table_at(event_type, since)
    changed = symmetric_difference(
        polars_scan.superseded_events(now), polars_scan.superseded_events(then)
    )
    frame = polars_scan.table(now)
    column = named(frame.collect_schema().names(), by) or by
    return (
        frame.join(changed.lazy(), on=FAMILY, how="semi")
        .select(pl.col(column).alias(ENTITY))
        .unique()
        .collect()
    )


def _spine_changed(old: pl.DataFrame, new: pl.DataFrame, by: str) -> pl.DataFrame:
    """The entities whose spine rows changed, including their row numbers."""
    return symmetric_difference(old, new).select(pl.col(by).alias(ENTITY)).unique()
