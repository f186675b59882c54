"""What engines read for a plan: event tables, and the lifetimes of corrected events."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import polars as pl
import pyarrow as pa

from eventlake.errors import InvalidInputError
from eventlake.features.aggregates.part_kinds import Added
from eventlake.features.planned.asked import Asked
from eventlake.features.planned.early import Early
from eventlake.features.planned.limits import LOOK_UP_LIMITS, LookUpLimits
from eventlake.features.planned.plan import Part, Plan, Stream
from eventlake.features.planned.relations import belongs
from eventlake.history import polars_scan
from eventlake.history.pinned import PinnedHistory
from eventlake.tables.event_table import EventTable

_LIMIT = 10**38
# It would take 10^20 events with values of so few digits to pass 38.
_SAFE_DIGITS = 18


class Bounds(Protocol):
    """Computes how many events there are, and how large their values."""

    def __call__(self, columns: Sequence[str], *, by_entity: bool) -> Sequence[Sequence[int]]:
        """The number of events, and the largest magnitude of each column in its last digit.

        Returns:
            One row, or one for each entity.
        """


@dataclass(frozen=True, slots=True)
class Source:
    """One event type.

    Attributes:
        table: The event table.
        until: Lifetimes of corrected events if only what was known at the cutoff counts; otherwise
            None.
        belongs: Children of entities, if those are reached through relations (see ``belongs``).
        delay: Longest time from an event to its recording, in microseconds; None if it was not
            computed (see ``with_delays``).
        identity: Equal if the tables of the type and of the relations are the same files, cut at
            the same sequence; None if some events are in memory alone.
    """

    table: EventTable
    until: pl.DataFrame | None
    belongs: pl.DataFrame | None = None
    delay: int | None = None
    identity: Hashable | None = None

    @property
    def corrected(self) -> bool:
        """Whether some event is superseded at some time."""
        return self.until is not None and self.until.height > 0

    @property
    def can_expire(self) -> bool:
        """Whether some event ceases to count: it is superseded, or belongs to another entity."""
        return self.corrected or self.belongs is not None


class Engine(Protocol):
    """Finds the parts of a plan in the events of some entities."""

    def parts(
        self, asked: Asked, early: Early | None = None
    ) -> Mapping[Part, pa.ChunkedArray | pa.Array]:
        """Every part, in the order of the rows.

        Args:
            asked: The rows, of the engine's entities.
            early: Is given what the rows see early; None if that is not asked.

        Raises:
            InvalidInputError: A sum might not fit 38 digits.
        """


class Open(Protocol):
    """Opens an engine."""

    def __call__(
        self,
        plan: Plan,
        by_type: Mapping[str, Source],
        entities: pa.Array,
        limits: LookUpLimits = LOOK_UP_LIMITS,
        *,
        early: bool = False,
    ) -> AbstractContextManager[Engine]:
        """Read the events of some entities, or take them from the cache.

        Args:
            plan: The plan.
            by_type: The event tables, by type.
            entities: The entities; see ``Asked``.
            limits: Sizes by which parts are found.
            early: Whether rows may be asked for what they see early.
        """


def sources(plan: Plan, history: PinnedHistory) -> dict[str, Source]:
    """The event tables of a plan, by type.

    Raises:
        CorruptionError: A segment is damaged.
    """
    tables, until = _tables(plan, history, plan.columns)
    belong = _belong(plan, tables, until) if plan.related else None
    levels = [_identity(tables[name]) for name, _, _ in plan.related]
    made = {}
    for name, table in tables.items():
        parts = [_identity(table), *levels]
        made[name] = Source(
            # Relations decide which events an entity has, so their files are part of the identity.
            table,
            until[name],
            belong,
            identity=None if None in parts else (*parts, plan.related),
        )
    return made


def related(plan: Plan, history: PinnedHistory) -> pl.DataFrame:
    """Children of entities by the relations of a plan; see ``belongs``."""
    return _belong(
        plan, *_tables(plan, history, dict.fromkeys(name for name, _, _ in plan.related))
    )


def _tables(
    plan: Plan, history: PinnedHistory, names: Iterable[str]
) -> tuple[dict[str, EventTable], dict[str, pl.DataFrame | None]]:
    """Event tables by type, and lifetimes of corrected events if the plan needs them."""
    tables = history.tables(names)
    return tables, {
        name: polars_scan.lifetimes(table) if plan.known_at_cutoff else None
        for name, table in tables.items()
    }


def _belong(
    plan: Plan, tables: Mapping[str, EventTable], until: Mapping[str, pl.DataFrame | None]
) -> pl.DataFrame:
    return belongs(
        [
            (tables[name], until[name], plan.nested[name], child, parent)
            for name, child, parent in plan.related
        ]
    )


def with_delays(plan: Plan, by_type: Mapping[str, Source]) -> dict[str, Source]:
    """The sources with their delays, by which windows can share the edge of time."""
    wanted = plan.known_at_cutoff and not plan.related
    return {
        name: replace(source, delay=_delay(source.table)) if wanted else source
        for name, source in by_type.items()
    }


def _delay(table: EventTable) -> int:
    """The longest time from an event to its recording, in microseconds."""
    late = (
        polars_scan.table(table)
        .select((pl.col("recorded_at") - pl.col("time")).max().dt.total_microseconds())
        .collect()
        .item()
    )
    return int(late or 0)


def _identity(table: EventTable) -> Hashable | None:
    """The files of a table; None if a part of it is in memory alone."""
    if any(part.location is None for part in table.parts):
        return None
    return table.version.schema_hash, tuple((part.location, part.stop) for part in table.parts)


def doubtful(plan: Plan, stream: Stream, parts: Sequence[Part]) -> list[Part]:
    """Sums that might not fit 38 digits, as far as the schema can tell."""
    kinds = plan.columns[stream.event_type]
    return [
        part
        for part in parts
        if (power := _power(part)) > 1
        or (power == 1 and kinds[part.column].precision > _SAFE_DIGITS)
    ]


def _power(part: Part) -> int:
    """To which power a part adds up values; 0 if it adds up none."""
    return part.kind.power if isinstance(part.kind, Added) else 0


def check_sums(plan: Plan, stream: Stream, parts: Sequence[Part], bounds: Bounds) -> None:
    """Refuse sums that might not fit 38 digits, by the same rule on either engine.

    Args:
        plan: The plan.
        stream: The stream whose events are summed.
        parts: Parts of the stream; squares and sums of very long decimals are in doubt.
        bounds: Computes the number of events and their largest values.

    Raises:
        InvalidInputError: The number of an entity's events times its largest value, or that one's
            square, is beyond 38 digits.
    """
    doubts = doubtful(plan, stream, parts)
    names = list(dict.fromkeys(part.column for part in doubts))

    def most(part: Part, rows: Iterable[Sequence[int]]) -> tuple[int, int, int]:
        """The largest possible sum, with the number of events and the largest value behind it."""
        power, place = _power(part), 1 + names.index(part.column)
        return max(
            ((row[0] * row[place] ** power, row[0], row[place]) for row in rows), default=(0, 0, 0)
        )

    # All events first, which is one aggregate and clears most sets; by entity only in doubt, so
    # that buckets of entities refuse what a whole build refuses.
    together = bounds(names, by_entity=False) if names else []
    if all(most(part, together)[0] < _LIMIT for part in doubts):
        return
    each = bounds(names, by_entity=True)
    for part in doubts:
        largest, events, value = most(part, each)
        if largest >= _LIMIT:
            what = f"squares of {part.column}" if _power(part) > 1 else part.column
            message = (
                f"feature set {plan.features.name}: the {what} of an entity's {events:,} "
                f"{stream.event_type} events, of which the largest "
                f"is {value:,} in its last digit, may not add up to 38 digits"
            )
            hint = "choose fewer events with where=, or declare the field with fewer digits."
            raise InvalidInputError(
                message, hint, projection=plan.features.name, column=part.column
            )
