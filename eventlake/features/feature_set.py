"""Feature sets as users hold them."""

from dataclasses import dataclass
from typing import Any

from eventlake.errors import InvalidInputError
from eventlake.features.declared.declared_set import DeclaredSet
from eventlake.features.plan_text import text
from eventlake.features.planned.plan import compiled
from eventlake.features.planned.sources import related
from eventlake.public_calls import verbs


@verbs
@dataclass(frozen=True, slots=True)
class FeatureSet(DeclaredSet):
    """Features of one kind of entity, looked up for every row of a spine.

    Attributes:
        name: The dataset's name: lower-case letters, digits and underscores.
        by: The column that names the entity in every event table that is read: ``subject``, or a
            field of the payload.
        features: The columns, in order; each name once.
        known: ``cutoff``: only what was recorded before the row's cutoff counts, with the
            corrections known then. ``watermark``: everything that is recorded at the watermark,
            with its latest corrections, which is hindsight.
        depth: Number of parts of a subject that name the entity: with 2, ``/loan/7/payment/3`` is
            an event of ``/loan/7``. None for the whole subject.
        cutoff: The spine's column of instants.
        spine_by: The spine's column that names the entity. Defaults to ``by``, or to the last
            parent of ``via``.
        via: Relations that lead from what ``by`` names to the entity, such as from the loan to its
            account to its client.
    """

    def plan(self, engine: str = "duckdb", snapshot: Any = None) -> str:
        """The computation as a program: SQL for DuckDB, or Python for Polars.

        Both join rows and events, and return the exact numbers that features are made of, by
        ``spine_row``, for each stream of events. The SQL is over the tables of ``snapshot.sql``,
        the table ``spine`` and, with relations, "eventlake belongs", which is
        ``belongs(snapshot)``. A build on DuckDB runs the same join, over tables that it caches, if
        rows and events make few pairs. Otherwise, and on Polars, a build finds the same numbers by
        prefix sums and trees.

        Args:
            engine: ``duckdb`` or ``polars``.
            snapshot: Its schemas determine the types. Without one, the program can be read but not
                run.

        Raises:
            InvalidInputError: The engine is unknown.
            NotFoundError: An event type has no schema.
        """
        if engine not in {"duckdb", "polars"}:
            message = f"expected engine as 'duckdb' or 'polars', found {engine!r}"
            raise InvalidInputError(message)
        return text(
            compiled(self, None if snapshot is None else snapshot.history.catalogue), engine
        )

    def belongs(self, snapshot: Any) -> Any:
        """The entity to which each child of the first relation belongs over time.

        Args:
            snapshot: The events to read.

        Returns:
            A ``polars.DataFrame``: ``eventlake child``, ``eventlake parent``, ``eventlake since``
            and ``eventlake till`` (Int64, microseconds since 1970 in UTC). The child belongs to the
            parent at cutoffs after ``since`` and up to ``till``; a null ``till`` means no end.

        Raises:
            InvalidInputError: The entity is not reached through relations.
            NotFoundError: An event type has no schema.
        """
        if not self.via:
            message = f"feature set {self.name}: its entity is not reached through relations"
            raise InvalidInputError(message)
        return snapshot.read(lambda history: related(compiled(self, history.catalogue), history))
