"""What differs between kinds of projections. A new kind is one class and a line in ``kinds``."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from eventlake.core.documents.dataset import ALLOW_LIST, UNCHECKED
from eventlake.errors import InvalidProjectionError
from eventlake.features.feature_set import FeatureSet
from eventlake.projections.computation import Computation, EntityColumns, RunOptions
from eventlake.projections.projection import Projection
from eventlake.projections.rows import PreparedRun


class Kind:
    """One kind of projection. The defaults suit a kind about which nothing can be proved.

    Attributes:
        by_entity: Whether rows can be computed entity by entity, if a projection declares it.
        by_row: Whether each row depends on its spine row alone, so that single rows can be reused.
        needs_trust: Whether running it executes arbitrary code from the archive.
    """

    by_entity = False
    by_row = False
    needs_trust = False

    def on_engine(self, projection: Projection, engine: str | None) -> Projection:
        """The projection, to be run on an engine; None for its own.

        Raises:
            InvalidProjectionError: It does not run on that engine.
        """
        if engine not in {None, projection.engine}:
            message = f"projection {projection.name} runs on {projection.engine}, not on {engine}"
            hint = "SQL runs on duckdb, Python functions on polars, features on both."
            raise InvalidProjectionError(message, hint, engine=engine)
        return projection

    def loaded(self, projection: Projection) -> Projection:
        """An archived projection, ready to run. Python imports its function here."""
        return projection

    def features(self, projection: Projection) -> FeatureSet | None:
        """The features that the projection declares; None for other kinds."""
        del projection
        return None

    def engine(self, projection: Projection) -> str:
        """The engine's name, as a recipe records it."""
        return projection.engine

    def engine_version(self) -> str:
        """The version of whatever decides the rows, as a recipe records it."""
        raise NotImplementedError

    def settings(self, level: str) -> Mapping[str, str | int | bool]:
        """The engine's settings at a level, as a recipe records them."""
        raise NotImplementedError

    def check(self, level: str) -> str:
        """How the level was established, as a recipe records it."""
        return ALLOW_LIST if level == "exact" else UNCHECKED

    def check_exact(self, computation: Computation) -> None:
        """Check before the run what can be checked of an exact projection.

        Raises:
            InvalidProjectionError: The projection is not exact.
        """

    def check_spine(self, computation: Computation) -> None:
        """Check a caller's spine beyond what holds for every spine. Archived ones are not checked.

        Raises:
            InvalidInputError: A column differs from one of the projection by case alone.
        """

    def spine_known(self, projection: Projection) -> str:
        """Which events a spine of events sees: those known at its ``cutoff``, or all."""
        del projection
        return "cutoff"

    def prepare(self, computation: Computation, options: RunOptions) -> PreparedRun:
        """Hand the computation to its engine.

        Raises:
            InvalidProjectionError: The engine rejects it.
        """
        raise NotImplementedError

    def rows(self, computation: Computation, options: RunOptions) -> pa.Table:
        """Run a computation of which the rest of ``prepare`` is known.

        Raises:
            InvalidProjectionError: The engine rejects it.
        """
        return self.prepare(computation, options).rows()

    def entity_columns(self, computation: Computation) -> EntityColumns:
        """The columns that identify the entity of each row.

        Raises:
            InvalidProjectionError: The rows do not depend on one entity at a time.
        """
        raise _all_at_once(computation.projection)

    def entities(self, computation: Computation, since: int = 0) -> pa.Table:
        """The distinct entities that are read, as one column ``ENTITY`` in no order.

        Null may be one of them.

        Args:
            computation: Names the entity columns.
            since: Only entities with events from this sequence on.

        Raises:
            InvalidProjectionError: The rows do not depend on one entity at a time.
        """
        del since
        raise _all_at_once(computation.projection)

    def unmatched(
        self, computation: Computation, empty: Callable[[], set[str]]
    ) -> Mapping[str, str]:
        """A warning by event type, for types of which no entity of the spine has an event.

        Args:
            computation: What was built.
            empty: Returns the columns that have only nulls, zeros and false.
        """
        del computation, empty
        return {}

    def has_hindsight(self, projection: Projection) -> bool:
        """Whether rows may see, as declared, what was not yet known at their cutoffs."""
        del projection
        return False

    def hindsight(self, computation: Computation) -> Mapping[str, int]:
        """Count how much that is, in a look at all events of its own; provenance members."""
        del computation
        return {}

    def provenance(self, computation: Computation) -> Mapping[str, Any]:
        """What the provenance of this kind's datasets records in addition."""
        del computation
        return {}


def _all_at_once(projection: Projection) -> InvalidProjectionError:
    message = f"projection {projection.name} is {projection.kind}: it is not computed by entity"
    return InvalidProjectionError(message, "write it in SQL, or declare features.")
