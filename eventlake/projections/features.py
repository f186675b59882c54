"""Feature sets as projections: looked up by either engine, with the same rows."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eventlake.core.documents.dataset import CONSTRUCTION
from eventlake.core.sql import alike_in_sql
from eventlake.errors import InvalidInputError, InvalidProjectionError
from eventlake.features.feature_set import FeatureSet
from eventlake.features.look_up import COMPILER, ENGINES, check_spine, hindsight, rows
from eventlake.features.planned.plan import Plan, compiled
from eventlake.features.spines.unmatched import unmatched
from eventlake.history.sql.duckdb_views import ENTITY
from eventlake.projections.computation import Computation, EntityColumns, RunOptions
from eventlake.projections.kind import Kind
from eventlake.projections.projection import Projection
from eventlake.projections.rows import PreparedRun


def feature_set(projection: Projection) -> FeatureSet:
    """The declared features of a projection of this kind."""
    return FeatureSet.from_text(projection.name, projection.sources[projection.entry])


def feature_plan(computation: Computation) -> Plan:
    """What its declared features need, over the schemas of the history.

    Raises:
        InvalidProjectionError: A field is missing, or has a type that a feature does not take.
    """
    return compiled(feature_set(computation.projection), computation.history.catalogue)


class FeatureProjections(Kind):
    """Declared features. They are exact, and go by entity, by construction."""

    by_entity = True

    def engine(self, projection: Projection) -> str:
        """See ``Kind.engine``; the rows are the same on both engines."""
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
        """See ``Kind.check_spine``. An archived spine is not held to this."""
        if computation.spine is None:
            return
        columns = feature_set(computation.projection).columns
        if alike := alike_in_sql([*computation.spine.column_names, *columns]):
            what = f"{alike[0]} of the spine and the feature {alike[1]} would be one column"
            name = computation.projection.name
            message = f"feature set {name}: {what}: SQL does not tell them apart"
            raise InvalidInputError(message, "rename one of the two.", column=alike[1])

    def spine_known(self, projection: Projection) -> str:
        """See ``Kind.spine_known``."""
        return feature_set(projection).known

    def prepare(self, computation: Computation, options: RunOptions) -> PreparedRun:
        """See ``Kind.prepare``. If rows are shuffled, the other engine looks the features up."""
        projection, history, spine = computation.projection, computation.history, computation.spine
        if spine is None:
            message = f"feature set {projection.name} is looked up for the rows of a spine, and there is none"
            said = feature_set(projection)
            frame = f"spine=pl.DataFrame({{{said.spine_entity!r}: […], {said.cutoff!r}: […]}})"
            events = f"spine=el.spine.on({said.aggregates()[0].event_type!r})"
            raise InvalidProjectionError(message, f"give {frame}, or {events}.")
        plan = feature_plan(computation)
        if options.only is None:
            check_spine(plan, history, spine)
        else:
            named = spine.column(plan.features.spine_entity)
            chosen = options.only.entities.column(ENTITY).combine_chunks().cast(named.type)
            spine = spine.filter(pc.is_in(named, chosen))
        other = next(name for name in ENGINES if name != projection.engine)
        engine = other if options.conditions.shuffled else projection.engine
        clock = plan.known_at_cutoff or history.undated
        return PreparedRun(dict(plan.schemas), clock, lambda: rows(plan, history, spine, engine))

    def entity_columns(self, computation: Computation) -> EntityColumns:
        """See ``Kind.entity_columns``; each row is about one row of the spine."""
        return EntityColumns((), computation.projection.key)

    def entities(self, computation: Computation, since: int = 0) -> pa.Table:
        """See ``Kind.entities``; those of the spine are all that count."""
        del since
        if computation.spine is None:
            return pa.table({ENTITY: pa.array([], pa.string())})
        column = computation.spine.column(computation.projection.spine_entity)
        return pa.table({ENTITY: column.unique()})

    def unmatched(self, computation: Computation, rows: pa.Table) -> Mapping[str, str]:
        """See ``Kind.unmatched``."""
        if not rows.num_rows:
            return {}
        return unmatched(feature_plan(computation), computation.history, rows)

    def hindsight(self, computation: Computation) -> Mapping[str, int]:
        """See ``Kind.hindsight``."""
        plan = feature_plan(computation)
        if plan.known_at_cutoff or computation.spine is None:
            return {}
        return hindsight(plan, computation.history, computation.spine)

    def provenance(self, computation: Computation) -> Mapping[str, Any]:
        """See ``Kind.provenance``: the engine, and how much hindsight the rows have."""
        return {"engine": computation.projection.engine, **self.hindsight(computation)}
