"""Running a projection on its engine."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eventlake.database import UNLIMITED, Limits
from eventlake.errors import InvalidProjectionError
from eventlake.features import look_up as features
from eventlake.features.feature_set import FeatureSet
from eventlake.features.planned.plan import Plan, compiled
from eventlake.history.pinned import PinnedHistory
from eventlake.history.sql.duckdb_views import ENTITY, EntityFilter
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.projections.on_polars import run as polars_runner
from eventlake.projections.projection import Projection
from eventlake.projections.rows import PreparedRun
from eventlake.projections.run_conditions import USUAL, RunConditions


def prepare(
    projection: Projection,
    history: PinnedHistory,
    spine: pa.Table | None,
    under: RunConditions = USUAL,
    *,
    only: EntityFilter | None = None,
    exact: bool = False,
    settings: Mapping[str, str | int | bool] | None = None,
    limits: Limits = UNLIMITED,
) -> PreparedRun:
    """Hands a projection to its engine. A Python function is called; its frame is collected when the rows are asked for.

    Args:
        projection: What is run.
        history: What it reads.
        spine: With ``spine_row`` in front; None where the build has none.
        under: Threads, memory and order.
        only: Entities, where it is to read no others; for SQL and features.
        exact: Whether what a Python function returns is held to the allow-list; a SQL query is looked at elsewhere.
        settings: Of DuckDB, as a recipe says; None for those of the projection's level.
        limits: When a SQL query is given up.

    Raises:
        InvalidProjectionError: The engine refuses it, or there is nothing to run.
    """
    if projection.kind == "sql":
        query = projection.sources[projection.entry]
        chosen = duckdb_runner.settings_of(projection.level) if settings is None else settings
        arguments = (projection.name, query, history, spine, projection.parameters)
        return duckdb_runner.prepare(
            *arguments, under=under, only=only, settings=chosen, limits=limits
        )
    if projection.kind == "features":
        return _features(projection, history, spine, under, only)
    function: Callable[..., Any] | None = projection.function
    if function is None:
        message = f"projection {projection.name} has no function to run"
        raise InvalidProjectionError(message)
    return polars_runner.prepare(
        projection.name, function, history, spine, projection.parameters, under=under, exact=exact
    )


def feature_set(projection: Projection) -> FeatureSet:
    """The declared features of a projection of that kind."""
    return FeatureSet.from_text(projection.name, projection.sources[projection.entry])


def feature_plan(projection: Projection, history: PinnedHistory) -> Plan:
    """What its declared features need, over the schemas of a history.

    Raises:
        InvalidProjectionError: A field is missing, or not of a type that a feature takes.
    """
    return compiled(feature_set(projection), history.catalogue)


def _features(
    projection: Projection,
    history: PinnedHistory,
    spine: pa.Table | None,
    under: RunConditions,
    only: EntityFilter | None,
) -> PreparedRun:
    """Declared features. Under other circumstances they run on the other engine."""
    if spine is None:
        message = (
            f"feature set {projection.name} is looked up for the rows of a spine, and there is none"
        )
        said = feature_set(projection)
        rows = f"spine=pl.DataFrame({{{said.spine_entity!r}: […], {said.cutoff!r}: […]}})"
        raise InvalidProjectionError(
            message, f"give {rows}, or spine=el.spine.on({said.aggregates()[0].event_type!r})."
        )
    plan = feature_plan(projection, history)
    if only is None:
        features.check_spine(plan, history, spine)
    else:
        named = spine.column(plan.features.spine_entity)
        spine = spine.filter(
            pc.is_in(named, only.entities.column(ENTITY).combine_chunks().cast(named.type))
        )
    other = next(name for name in features.ENGINES if name != projection.engine)
    engine = other if under.shuffled else projection.engine
    clock = plan.known_at_cutoff or history.undated
    return PreparedRun(
        dict(plan.schemas), clock, lambda: features.rows(plan, history, spine, engine)
    )
