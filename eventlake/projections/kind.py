"""What differs between the kinds of projections. A new kind is one class and its line in ``kinds``."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from eventlake.core.documents.dataset import ALLOW_LIST, UNCHECKED
from eventlake.errors import InvalidProjectionError
from eventlake.projections.computation import Computation, EntityColumns, RunOptions
from eventlake.projections.projection import Projection
from eventlake.projections.rows import PreparedRun


class Kind:
    """One kind of projection. The defaults are those of a kind of which nothing is proved.

    Attributes:
        by_entity: Whether rows can be computed entity by entity, if a projection is declared so.
    """

    by_entity = False

    def engine(self, projection: Projection) -> str:
        """What a recipe records as the engine."""
        return projection.engine

    def engine_version(self) -> str:
        """The version of what decides the rows, as a recipe records it."""
        raise NotImplementedError

    def settings(self, level: str) -> Mapping[str, str | int | bool]:
        """The engine's settings at a level, as a recipe records them."""
        raise NotImplementedError

    def check(self, level: str) -> str:
        """What the level rests on, as a recipe records it."""
        return ALLOW_LIST if level == "exact" else UNCHECKED

    def check_exact(self, computation: Computation) -> None:
        """Checks what can be checked before the run, if the level rests on the allow-list.

        Raises:
            InvalidProjectionError: It is not exact.
        """

    def check_spine(self, computation: Computation) -> None:
        """Checks a caller's spine beyond what every spine must be. Archived ones are not checked.

        Raises:
            InvalidInputError: A column cannot be told apart from one of the projection.
        """

    def spine_known(self, projection: Projection) -> str:
        """How far a spine of events sees: to its ``cutoff``, or to the ``watermark``."""
        del projection
        return "cutoff"

    def prepare(self, computation: Computation, options: RunOptions) -> PreparedRun:
        """Hands the computation to its engine.

        Raises:
            InvalidProjectionError: The engine refuses it.
        """
        raise NotImplementedError

    def entity_columns(self, computation: Computation) -> EntityColumns:
        """The columns that say the entity of each row.

        Raises:
            InvalidProjectionError: The rows are not a function of one entity's rows at a time.
        """
        raise _all_at_once(computation.projection)

    def entities(self, computation: Computation, since: int = 0) -> pa.Table:
        """The entities that are read: one column ``ENTITY``, distinct, in no order; null may be one.

        Args:
            computation: Says the columns that name the entity.
            since: Only entities of events from this sequence on.

        Raises:
            InvalidProjectionError: The rows are not a function of one entity's rows at a time.
        """
        del since
        raise _all_at_once(computation.projection)

    def unmatched(self, computation: Computation, rows: pa.Table) -> Mapping[str, str]:
        """A warning for each event type of which no entity of the rows has an event."""
        del computation, rows
        return {}

    def hindsight(self, computation: Computation) -> Mapping[str, int]:
        """How much the rows see that was not known at their cutoffs, by what is counted."""
        del computation
        return {}

    def provenance(self, computation: Computation) -> Mapping[str, Any]:
        """What the provenance says of datasets of this kind."""
        del computation
        return {}


def _all_at_once(projection: Projection) -> InvalidProjectionError:
    message = f"projection {projection.name} is {projection.kind}: it is not computed by entity"
    return InvalidProjectionError(message, "write it in SQL, or declare features.")
