"""Feature sets as projections: both engines compute the same rows."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eventlake.core.documents.dataset import CONSTRUCTION
from eventlake.core.sql import alike_in_sql
from eventlake.errors import InvalidInputError, InvalidProjectionError
from eventlake.features.feature_set import FeatureSet
from eventlake.features.look_up import (
    COMPILER,
    ENGINES,
    LookUp,
    hindsight,
)
from eventlake.features.spine_checks import check_spine
from eventlake.features.spines.unmatched import unmatched
from eventlake.history.sql.duckdb_views import ENTITY
from eventlake.projections.computation import Computation, EntityColumns, RunOptions
from eventlake.projections.kind import Kind
from eventlake.projections.projection import Projection
from eventlake.projections.rows import PreparedRun


class FeatureProjections(Kind):
    """Declared features. They are exact and computed by entity, by construction."""

    by_entity = True
    by_row = True

    def on_engine(self, projection: Projection, engine: str | None) -> Projection:
        """See ``Kind.on_engine``. Features run on either engine."""
        if engine in ENGINES:
            return replace(projection, runs_on=engine)
        return super().on_engine(projection, engine)

    def features(self, projection: Projection) -> FeatureSet | None:
        """See ``Kind.features``."""
        return projection.feature_set

    def engine(self, projection: Projection) -> str:
        """See ``Kind.engine``. Not the engine's name, for the rows are the same on both."""
        del projection
        return "eventlake"

    def engine_version(self) -> str:
        """See ``Kind.engine_version``: the version of the feature compiler."""
        return COMPILER

    def settings(self, level: str) -> Mapping[str, str | int | bool]:
        """See ``Kind.settings``."""
        del level
        return {}

    def check(self, level: str) -> str:
        """See ``Kind.check``."""
        del level
        return CONSTRUCTION

    def check_spine(self, computation: Computation) -> None:
        """See ``Kind.check_spine``."""
        if computation.spine is None:
            return
        columns = computation.projection.feature_set.columns
        if alike := alike_in_sql([*computation.spine.column_names, *columns]):
            what = f"the spine's column {alike[0]} and the feature {alike[1]}"
            name = computation.projection.name
            message = f"feature set {name}: {what} differ by case alone, which SQL ignores"
            raise InvalidInputError(message, "rename one of the two.", column=alike[1])

    def spine_known(self, projection: Projection) -> str:
        """See ``Kind.spine_known``."""
        return projection.feature_set.known

    def prepare(self, computation: Computation, options: RunOptions) -> PreparedRun:
        """See ``Kind.prepare``. To shuffle rows is to use the other engine."""
        projection, history, spine = computation.projection, computation.history, computation.spine
        if spine is None:
            message = f"feature set {projection.name} needs a spine"
            features = projection.feature_set
            columns = f"{{{features.spine_entity!r}: […], {features.cutoff!r}: […]}}"
            events = f"spine=el.spine.on({features.aggregates()[0].event_type!r})"
            hint = f"pass spine=pl.DataFrame({columns}), or {events}."
            raise InvalidProjectionError(message, hint)
        plan = computation.feature_plan
        # A part of the entities was checked with the whole spine, in the process that split the
        # build.
        if options.only is None:
            check_spine(plan, history, spine)
        else:
            named = spine.column(plan.features.spine_entity)
            chosen = options.only.entities.column(ENTITY).combine_chunks().cast(named.type)
            spine = spine.filter(pc.is_in(named, chosen))
        other = next(name for name in ENGINES if name != projection.engine)
        engine = other if options.conditions.shuffled else projection.engine
        # The time of an event without one is its ``recorded_at``.
        clock = plan.known_at_cutoff or history.undated
        look_up = partial(LookUp, plan, history, spine, engine)
        return PreparedRun(
            dict(plan.schemas),
            clock,
            lambda: look_up(counts_hindsight=False).rows(),
            look_up if projection.key == ("spine_row",) else None,
        )

    def entity_columns(self, computation: Computation) -> EntityColumns:
        """See ``Kind.entity_columns``. Each row belongs to one row of the spine."""
        return EntityColumns((), computation.projection.key)

    def entities(self, computation: Computation, since: int = 0) -> pa.Table:
        """See ``Kind.entities``. Only entities of the spine matter."""
        del since
        if computation.spine is None:
            return pa.table({ENTITY: pa.array([], pa.string())})
        column = computation.spine.column(computation.projection.spine_entity)
        return pa.table({ENTITY: column.unique()})

    def unmatched(
        self, computation: Computation, empty: Callable[[], set[str]]
    ) -> Mapping[str, str]:
        """See ``Kind.unmatched``."""
        if computation.spine is None:
            return {}
        plan, history = computation.feature_plan, computation.history
        return unmatched(plan, history, computation.spine, empty())

    def has_hindsight(self, projection: Projection) -> bool:
        """See ``Kind.has_hindsight``."""
        return projection.feature_set.known == "watermark"

    def hindsight(self, computation: Computation) -> Mapping[str, int]:
        """See ``Kind.hindsight``."""
        if computation.spine is None or not self.has_hindsight(computation.projection):
            return {}
        return hindsight(computation.feature_plan, computation.history, computation.spine)

    def provenance(self, computation: Computation) -> Mapping[str, Any]:
        """See ``Kind.provenance``. The engine."""
        return {"engine": computation.projection.engine}
