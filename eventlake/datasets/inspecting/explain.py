"""Finds the events behind a row of a dataset, or behind one of its values.

For declared features these are the events inside the window. A SQL projection is run over the
events of the row's entity, which must give the stored row, and again without each event. An event
is *behind* a value if the value changes without it. So a value for which each of several events
suffices has none of them behind it.
"""

from dataclasses import replace
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.core.sql import named
from eventlake.datasets.building.isolated import isolated
from eventlake.datasets.inspecting.explanation import About, Explanation
from eventlake.datasets.inspecting.row_key import row_of_key
from eventlake.datasets.store.archive import SPINE_ROW, Archive
from eventlake.datasets.store.recorded import (
    declared_types_of,
    event_spines_of,
    features_of,
    labels_of,
    projection_of,
)
from eventlake.errors import CorruptionError, EventlakeError, InvalidInputError
from eventlake.features.explain import inside
from eventlake.features.feature_set import FeatureSet
from eventlake.features.planned.plan import compiled
from eventlake.features.spines.spine_rows import ahead_of, event_of
from eventlake.history.pinned import PinnedHistory
from eventlake.history.sql.duckdb_views import ENTITY
from eventlake.progress import task
from eventlake.projections.computation import Computation, EntityColumns
from eventlake.projections.kinds import kind_named
from eventlake.projections.on_duckdb.by_entity import OneEntity, entity_columns
from eventlake.projections.rows import finish

# The query runs once for each of them.
MOST_EVENTS = 10_000
"""Maximum events of an entity that are removed one by one."""
_INSIDE = "inside the window of"


def explain(archive: Archive, history: PinnedHistory, key: Any, column: str | None) -> Explanation:
    """Find the events behind the row with a key.

    Args:
        archive: The dataset.
        history: The lake at its checkpoint, under its schemas.
        key: The value of the key column, the values of several in order, or a mapping of columns
            and values that identify one row. Text can stand for a value of any type.
        column: The column to explain; None for the whole row.

    Raises:
        NotFoundError: There is no such row.
        InvalidInputError: There is no such column, the key is invalid, or the projection cannot be
            explained.
        CorruptionError: The events do not make the stored row.
        StorageError: See ``isolated``.
    """
    recipe = archive.manifest.recipe
    if column is not None and column not in dict(archive.manifest.schema):
        message = f"dataset {recipe.name} has no column {column!r}"
        raise InvalidInputError(
            message, f"its columns are {', '.join(name for name, _ in archive.manifest.schema)}."
        )
    schema = pl.DataFrame(archive.schema().empty_table()).schema
    row = row_of_key(map(pl.DataFrame, archive.pieces()), schema, recipe.key, key)
    explanation: Explanation = isolated(_explain, history, archive, row=row, column=column)
    return explanation


def _explain(
    history: PinnedHistory, archive: Archive, *, row: pl.DataFrame, column: str | None
) -> Explanation:
    recipe = archive.manifest.recipe
    if (features := features_of(archive)) is not None:
        return _explain_features(features, archive, history, row, column)
    spine = archive.spine()
    computation, columns = _by_entity(archive, history, spine)
    projection = computation.projection
    entity = _entity(row, spine, projection.spine_entity, columns)
    one = OneEntity(computation, entity)
    try:
        events = one.events()
        if events.height > MOST_EVENTS:
            message = (
                f"{events.height:,} events of {projection.by} {entity[ENTITY][0].as_py()!r} "
                "are too many to leave out one by one"
            )
            raise InvalidInputError(message, f"at most {MOST_EVENTS:,}.")
        keys = row.select(recipe.key)
        # If all events do not make the row, leaving one out proves nothing.
        if not _row_with(computation, one.rows(), keys).equals(row):
            message = (
                f"dataset {recipe.name}: the events of the history do not reproduce the stored row"
            )
            raise CorruptionError(message, "run 'eventlake reproduce' on it.")
        behind = []
        with task("leaving out events", events.height) as advance:
            for sequence in events["sequence"]:
                other = _row_with(computation, one.rows(without=sequence), keys)
                behind.append(
                    [
                        name
                        for name in row.columns
                        if not other.height or not other[name].equals(row[name], null_equal=True)
                    ]
                )
                advance(1)
    finally:
        one.close()
    events = events.with_columns(pl.Series("behind", behind, dtype=pl.List(pl.String)))
    about = About(
        archive.manifest.manifest_hash,
        row.row(0, named=True),
        column,
        projection.by or "",
        entity.column(ENTITY)[0].as_py(),
    )
    # A column that no event changes may be one that the query copies from the spine.
    if column is not None and not any(column in names for names in behind):
        copied = _copied_from_spine(row, column, spine, columns)
        explanation = _explain_spine(archive, history, about, *copied) if copied else None
        if explanation is not None:
            return explanation
    return Explanation(*about, events)


def _copied_from_spine(
    row: pl.DataFrame, column: str, spine: pa.Table | None, columns: EntityColumns
) -> tuple[str, int] | None:
    """The spine's column of the same name and value, and its row number; None if there is none."""
    if spine is None or not columns.spine_rows:
        return None
    name, number = named(spine.column_names, column), int(row[columns.spine_rows[0]][0])
    if name is None:
        return None
    value = pl.DataFrame(spine).filter(pl.col(SPINE_ROW) == number)[name]
    return (name, number) if value.equals(row[column], check_names=False, null_equal=True) else None


def _explain_features(
    features: FeatureSet,
    archive: Archive,
    history: PinnedHistory,
    row: pl.DataFrame,
    column: str | None,
) -> Explanation:
    """The events inside the windows of declared features; nothing needs to be run."""
    values = row.row(0, named=True)
    entity, cutoff = values[features.spine_entity], row[features.cutoff].cast(pl.Int64)[0]
    about = About(archive.manifest.manifest_hash, values, column, features.by, entity)
    if column is None or column in features.columns:
        return Explanation(
            *about, inside(compiled(features, history.catalogue), history, entity, cutoff), _INSIDE
        )
    explanation = _explain_spine(archive, history, about, column, int(values[SPINE_ROW]))
    if explanation is not None and column in labels_of(archive):
        return explanation
    message = (
        f"dataset {archive.manifest.recipe.name}: {column} is a column of the spine, not a feature"
    )
    if not archive.event_spines():
        message += "; the spine was given as rows"
    if explanation is not None:
        message += f"; it {explanation.note}"
    raise InvalidInputError(
        message, f"the features are {', '.join(features.columns)}.", column=column
    )


def _explain_spine(
    archive: Archive, history: PinnedHistory, about: About, column: str, row: int
) -> Explanation | None:
    """The events of a label's window, or the event of a carried column; None without an event."""
    spines = event_spines_of(archive)
    for spine in spines:
        if column in {name for name, _, _ in spine.labels}:
            ahead = ahead_of(spine, history, column, row)
            renamed = pl.col("behind").list.eval(pl.element().replace({column: about.column}))
            return Explanation(
                *about,
                ahead.events.with_columns(renamed),
                _INSIDE,
                ahead.known,
                f"looks at {ahead.text}",
            )
    event = event_of(spines[0], history, row) if spines and column != SPINE_ROW else None
    if event is None:
        return None
    note = (
        f"comes from the event {event['id'][0]!r} at sequence {event['sequence'][0]:,}, "
        "which makes the row"
    )
    return Explanation(
        *about, event.with_columns(behind=pl.lit([about.column])), "it is the source of", note=note
    )


def _by_entity(
    archive: Archive, history: PinnedHistory, spine: pa.Table | None
) -> tuple[Computation, EntityColumns]:
    """The computation by the declared entity, or by the subject.

    Raises:
        InvalidInputError: Its rows do not depend on one entity each, or it is not exact.
    """
    recipe = archive.manifest.recipe
    subject = f"the events behind a row of {recipe.name} cannot be found"
    hint = (
        "only SQL projections at the level exact whose rows depend on one entity each "
        "can be explained; declare by=."
    )
    if not kind_named(recipe.kind).by_entity or recipe.level != "exact":
        message = f"{subject}: it is a {recipe.level} {recipe.kind} projection"
        raise InvalidInputError(message, hint)
    provenance = archive.provenance()
    projection = replace(
        projection_of(archive),
        by=provenance.get("by", "subject"),
        spine_by=provenance.get("spine_by"),
    )
    computation = Computation(projection, history, spine, declared_types_of(archive))
    try:
        columns = entity_columns(computation)
    except EventlakeError as error:
        message = f"{subject}: {error.message}"
        raise InvalidInputError(message, hint) from error
    if not columns.holding and not columns.spine_rows:
        message = f"{subject}: no column identifies its {projection.by}"
        raise InvalidInputError(message, hint)
    return computation, columns


def _entity(row: pl.DataFrame, spine: pa.Table | None, by: str, columns: EntityColumns) -> pa.Table:
    if columns.holding:
        return row.select(pl.col(columns.holding[0]).alias(ENTITY)).to_arrow()
    number = int(row[columns.spine_rows[0]][0])
    column = None if spine is None else named(spine.column_names, by)
    if spine is None or column is None:
        message = f"the spine has no column {by}"
        raise InvalidInputError(message)
    return (
        pl.DataFrame(spine)
        .filter(pl.col("spine_row") == number)
        .select(pl.col(column).alias(ENTITY))
        .to_arrow()
    )


def _row_with(computation: Computation, result: pa.Table, keys: pl.DataFrame) -> pl.DataFrame:
    """The row with the key among an engine's result; an empty frame if there is none."""
    rows = pl.DataFrame(finish(computation, result))
    return rows.join(keys, on=keys.columns, how="semi", nulls_equal=True)
