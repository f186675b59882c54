"""Spines that are made of events, as they are declared."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from eventlake.core.instants import format_instant
from eventlake.core.names import is_ours, is_pattern
from eventlake.core.sql import folded
from eventlake.errors import InvalidInputError
from eventlake.features.aggregates.table import AGGREGATES
from eventlake.features.declared.conditions import Condition
from eventlake.features.declared.feature import Aggregate
from eventlake.features.declared.window import Window, microseconds
from eventlake.history.resolve import checked_instant
from eventlake.public_calls import verbs

CUTOFF = "cutoff"
"""The column of instants."""


@verbs
@dataclass(frozen=True, slots=True)
class DeclaredSpine:
    """A spine as it is declared, without the method that makes its rows.

    ``EventSpine`` documents the attributes.
    """

    event_type: str
    by: str
    where: Condition | None
    carry: tuple[str, ...]
    monthly: bool
    labels: tuple[tuple[str, Aggregate, int], ...] = ()
    known_until: datetime | str | None = None
    known: str | None = None
    depth: int | None = None

    def label(self, name: str, feature: Aggregate, *, horizon: Any = None) -> Self:
        """The same spine with a column that looks ahead.

        A label counts everything that is recorded at the watermark. It is null if the events do not
        reach the end of its horizon yet.

        Args:
            name: Name of the column.
            feature: A feature without a window, computed from the events in
                ``[cutoff, cutoff + horizon)``. Events of the type that makes the rows of ``on``
                count after the cutoff only: an event is not its own outcome.
            horizon: How far it looks ahead, such as ``90d``, or a ``timedelta``.

        Raises:
            InvalidInputError: The feature has a window or is arithmetic, the horizon is missing, or
                there is a column of this name.
        """
        if (
            not isinstance(feature, Aggregate)
            or feature.window != Window()
            or AGGREGATES[feature.kind].takes_unit
        ):
            shown = feature.column if isinstance(feature, Aggregate) else type(feature).__name__
            message = (
                f"label {name}: expected a feature of events without a window, such as "
                f"exists('payment.missed'), found {shown}"
            )
            raise InvalidInputError(
                message,
                "its window is the horizon: .label('late', el.exists('payment.missed'), "
                "horizon='90d').",
            )
        if horizon is None:
            message = f"label {name}: expected how far it looks ahead"
            raise InvalidInputError(message, "write horizon='90d'.")
        if not isinstance(name, str) or not name or is_ours(name) or is_pattern(name):
            message = (
                "expected the name of a label as text that does not begin with 'eventlake ', "
                f"found {name!r}"
            )
            raise InvalidInputError(message)
        taken = {
            folded(one)
            for one in (self.by, CUTOFF, *self.carry, *(label for label, _, _ in self.labels))
        }
        if folded(name) in taken:
            message = (
                f"label {name}: the spine has a column of that name already; SQL does not tell A "
                "from a"
            )
            raise InvalidInputError(message, "give it another one.")
        return replace(
            self, labels=(*self.labels, (name, feature, microseconds(horizon, "horizon")))
        )

    def under(self, known: str) -> Self:
        """The same spine with ``known`` set; its own value takes precedence."""
        return self if self.known is not None else replace(self, known=known)

    def document(self) -> dict[str, Any]:
        """As plain JSON values, which a dataset's provenance keeps."""
        return {
            "event_type": self.event_type,
            "by": self.by,
            "where": None if self.where is None else self.where.document(),
            "carry": list(self.carry),
            "monthly": self.monthly,
            "labels": [
                {"name": name, "horizon": horizon, **feature.document()}
                for name, feature, horizon in self.labels
            ],
            "known_until": None
            if self.known_until is None
            else format_instant(checked_instant(self.known_until, "known_until")),
            "known": self.known,
            "depth": self.depth,
        }
