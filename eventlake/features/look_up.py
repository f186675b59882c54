"""Computes features: checks the spine, asks one engine for parts, and finishes the columns."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.schema import INSTANT
from eventlake.core.card import counted
from eventlake.core.instants import MAX_US, MIN_US, format_instant
from eventlake.core.names import is_pattern
from eventlake.errors import InvalidInputError
from eventlake.features.aggregates.exact_columns import scaled
from eventlake.features.aggregates.part_kinds import Added
from eventlake.features.finish import columns
from eventlake.features.hindsight import Hindsight, as_known, compare_hindsight
from eventlake.features.on_duckdb import parts as duckdb_parts
from eventlake.features.on_polars import parts as polars_parts
from eventlake.features.planned.early import Early
from eventlake.features.planned.fields import SPINE_TYPES
from eventlake.features.planned.limits import LOOK_UP_LIMITS, LookUpLimits
from eventlake.features.planned.plan import (
    Part,
    Plan,
)
from eventlake.features.planned.sources import Find, Source, sources, with_delays
from eventlake.features.spine_hints import cast_hint, missing
from eventlake.features.spine_pieces import Pieces, split
from eventlake.history.corrections import FAMILY
from eventlake.history.pinned import PinnedHistory
from eventlake.history.polars_scan import lifetimes
from eventlake.progress import task
from eventlake.schemas.schema import FieldType
from eventlake.visible import warn

_MOST_EARLY = 0.25
"""The share of cutoffs before the first recording up to which there is no warning."""
ENGINES = ("duckdb", "polars")
COMPILER = "1"
"""Incremented when the same features over the same history would give other rows."""


def rows(
    plan: Plan,
    history: PinnedHistory,
    spine: pa.Table,
    engine: str,
    limits: LookUpLimits = LOOK_UP_LIMITS,
) -> pa.Table:
    """The spine's rows in their order, with a column for each feature after its own.

    Args:
        plan: Plan of the features, over the history's schemas.
        history: The history to read.
        spine: A spine that passed ``check_spine``, with ``spine_row`` as its first column.
        engine: ``duckdb`` or ``polars``; both return the same rows.
        limits: Sizes by which features are looked up.

    Raises:
        InvalidInputError: A sum does not fit.
        CorruptionError: A segment of the history is damaged.
    """
    by_type = with_delays(plan, sources(plan, history))
    return _LookUp(plan, history, by_type, spine, limits).rows(engine)


def rows_and_hindsight(
    plan: Plan,
    history: PinnedHistory,
    spine: pa.Table,
    engine: str,
    limits: LookUpLimits = LOOK_UP_LIMITS,
) -> tuple[pa.Table, dict[str, int]]:
    """``rows``, and their ``hindsight``, which is found along the way.

    Args:
        plan: A plan whose ``finds_hindsight`` is true.
        history: As for ``rows``.
        spine: As for ``rows``.
        engine: As for ``rows``.
        limits: As for ``rows``.
    """
    look_up = _LookUp(plan, history, sources(plan, history), spine, limits)
    found = Hindsight(np.zeros(spine.num_rows, np.bool_))
    table = look_up.rows(engine, found)
    look_up.compare_corrected(found)
    return table, found.counts()


def hindsight(
    plan: Plan, history: PinnedHistory, spine: pa.Table, limits: LookUpLimits = LOOK_UP_LIMITS
) -> dict[str, int]:
    """Count rows that see other events than were known at their cutoff, and those events.

    Args:
        plan: Plan of features with ``known="watermark"``.
        history: The history to read.
        spine: The spine, with ``spine_row`` as its first column.
        limits: Sizes by which features are looked up.

    Returns:
        ``hindsight_rows``: Rows that see other events than were known at their cutoff.
        ``hindsight_events``: Events visible to some row before they were recorded, or before they
        were known to belong to its entity. ``hindsight_left_out``: Events that some row knew at its
        cutoff and does not see. All events that some feature reads count if they happened before
        the cutoff, in its window or not.
    """
    look_up = _LookUp(plan, history, sources(plan, history), spine, limits)
    found = Hindsight(np.zeros(spine.num_rows, np.bool_))
    if plan.related:
        look_up.compare(found)
    else:
        look_up.find_early(found)
        look_up.compare_corrected(found)
    return found.counts()


@dataclass(frozen=True, slots=True)
class _LookUp:
    """A plan, its event tables by type, and the rows that are looked up in them."""

    plan: Plan
    history: PinnedHistory
    by_type: Mapping[str, Source]
    spine: pa.Table
    limits: LookUpLimits

    def rows(self, engine: str, found: Hindsight | None = None) -> pa.Table:
        """The spine with its features; adds what rows see early to ``found``."""
        find: Find = (duckdb_parts if engine == "duckdb" else polars_parts).parts
        pieces, made = self._pieces(_events(self.plan, self.history)), []
        with task(f"looking up {self.plan.features.name}", pieces.number) as advance:
            for piece, places in pieces:
                early = None if found is None else Early(np.zeros(piece.num_rows, np.bool_))
                parts = find(self.plan, self._cached(piece), piece, self.limits, early)
                made.append(_columns(self.plan, parts, piece.num_rows))
                if found is not None and early is not None:
                    found.add(places, early.rows, early.events, {})
                advance(1)
        names = self.plan.features.columns
        # Taken out of each piece, so that no more than one column is there twice.
        found_columns = pieces.in_order([some.pop(name) for some in made] for name in names)
        table = self.spine
        for name, column in zip(names, found_columns, strict=True):
            table = table.append_column(name, column)
        return table

    def find_early(self, found: Hindsight) -> None:
        """Add what rows see early, without looking up their features."""
        for piece, places in self._pieces(_events(self.plan, self.history)):
            early = Early(np.zeros(piece.num_rows, np.bool_))
            polars_parts.look_early(self.plan, self._cached(piece), piece, early)
            found.add(places, early.rows, early.events, {})

    def compare_corrected(self, found: Hindsight) -> None:
        """Add the hindsight of events that were corrected, and of their corrections.

        Of plans without relations, which lifetimes would change too.
        """
        known = {
            name: replace(source, until=lifetimes(source.table))
            for name, source in self.by_type.items()
        }
        families = {
            name: source.until.select(FAMILY)
            for name, source in known.items()
            if source.until is not None and source.corrected
        }
        events = sum(some.height for some in families.values())
        for piece, places in self._pieces(events) if families else ():
            found.add(places, *compare_hindsight(self.plan, self.by_type, known, piece, families))

    def compare(self, found: Hindsight) -> None:
        """Add the hindsight of all events."""
        known = sources(as_known(self.plan), self.history)
        for piece, places in self._pieces(_events(self.plan, self.history)):
            found.add(places, *compare_hindsight(self.plan, self.by_type, known, piece))

    def _pieces(self, events: int) -> Pieces:
        return split(self.plan, self.spine, events, self.limits.piece_rows)

    def _cached(self, piece: pa.Table) -> Mapping[str, Source]:
        """The event tables, of which nothing is cached for the next build if there are pieces."""
        if piece is self.spine:
            return self.by_type
        return {name: replace(source, identity=None) for name, source in self.by_type.items()}


def _events(plan: Plan, history: PinnedHistory) -> int:
    """The number of events of a plan's types, at most."""
    return sum(
        count
        for stretch in history.stretches
        for name, count in stretch.segment.types
        if name in plan.columns
    )


def check_spine(plan: Plan, history: PinnedHistory, spine: pa.Table) -> None:
    """Refuse a spine without an entity or a cutoff, and one at whose cutoffs nothing was known.

    Warns if nothing was recorded yet at many of its cutoffs.

    Raises:
        InvalidInputError: A column is missing, has another type or the name of a feature; a cutoff
            is null or not in the years 1 to 9999; or all cutoffs lie before the first recording,
            and only what was known at the cutoff counts.
    """
    features = plan.features
    entity, cutoff = features.spine_entity, features.cutoff
    wanted = {entity: SPINE_TYPES[plan.entity.kind], cutoff: INSTANT}
    for name, kind in wanted.items():
        if is_pattern(name) or not name:
            message = (
                f"feature set {features.name}: expected the names of entity and cutoff in the "
                f"spine as names alone, found {name!r}"
            )
            raise InvalidInputError(message, "rename the column.", column=name)
        if name not in spine.column_names:
            message = (
                f"feature set {features.name}: the spine has no column {name}, only "
                f"{', '.join(spine.column_names[1:])}"
            )
            raise InvalidInputError(
                message,
                missing(spine, kind, "cutoff" if name == cutoff else "spine_by"),
                column=name,
            )
        if spine.column(name).type != kind:
            message = (
                f"feature set {features.name}: expected {name} of the spine as {kind}, found "
                f"{spine.column(name).type}"
            )
            raise InvalidInputError(
                message, cast_hint(name, kind, spine.column(name).type), column=name
            )
    if spine.column(cutoff).null_count:
        message = (
            f"feature set {features.name}: {cutoff} is null in "
            f"{counted(spine.column(cutoff).null_count, 'row')} of the spine"
        )
        raise InvalidInputError(
            message,
            "a row without a cutoff knows nothing, or everything: leave it out.",
            column=cutoff,
        )
    instants = spine.column(cutoff).cast(pa.int64())
    beyond = pc.sum(pc.or_(pc.less(instants, MIN_US), pc.greater(instants, MAX_US))).as_py()
    if beyond:
        message = (
            f"feature set {features.name}: {beyond:,} of {spine.num_rows:,} cutoffs are not in the "
            "years 1 to 9999"
        )
        raise InvalidInputError(
            message,
            "for everything that is known, give an instant after the last event.",
            column=cutoff,
        )
    clashes = [name for name in features.columns if name in spine.column_names]
    if clashes:
        message = (
            f"feature set {features.name}: {', '.join(clashes)} would be a column of the spine and "
            "a feature"
        )
        raise InvalidInputError(message, "rename one of the two.", column=clashes[0])
    # With hindsight, or without rows, there is nothing that could be unknown.
    first = history.first_recorded() if plan.known_at_cutoff and spine.num_rows else None
    if first is not None:
        _check_known(plan, spine.column(cutoff), first)


def _check_known(plan: Plan, cutoffs: pa.ChunkedArray, first: int) -> None:
    early = pc.sum(pc.less_equal(cutoffs.cast(pa.int64()), first)).as_py()
    if not early or early <= _MOST_EARLY * len(cutoffs):
        return
    message = (
        f"feature set {plan.features.name}: {early:,} of {len(cutoffs):,} cutoffs lie before "
        f"{format_instant(first)}, when the first "
        "event was recorded; nothing was known then"
    )
    hint = (
        "a history that was imported is known from its import on: build with known='watermark', "
        "which is hindsight, or import it with "
        "recorded_at taken from time."
    )
    if early == len(cutoffs):
        raise InvalidInputError(message, hint, projection=plan.features.name)
    warn(f"{message}; {hint}")


def answered(connection: duckdb.DuckDBPyConnection, plan: Plan, spine: pa.Table) -> pa.Table:
    """The spine's rows and features over event tables that a DuckDB database has already.

    All events in the tables count as known.
    """
    table = spine
    parts = duckdb_parts.joined_on(connection, plan, spine)
    for name, column in _columns(plan, parts, spine.num_rows).items():
        table = table.append_column(name, column)
    return table


def _columns(
    plan: Plan, parts: Mapping[Part, pa.ChunkedArray | pa.Array], rows: int
) -> dict[str, pa.Array]:
    """The column of every feature, of the parts that an engine returned."""
    typed = {
        part: _typed(part, array, plan.columns[part.stream.event_type].get(part.column))
        for part, array in parts.items()
    }
    return columns(plan, typed, rows)


def _typed(part: Part, array: pa.ChunkedArray | pa.Array, kind: FieldType | None) -> pa.Array:
    """One array of the part's type, whichever engine returned it."""
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    wanted = part.kind.part_type(kind)
    # An engine may return a column without values as the null type.
    if pa.types.is_null(whole.type):
        return pa.nulls(len(whole), wanted)
    if isinstance(part.kind, Added):
        # DuckDB returns sums of decimals with their scale: the same integers, in the same bytes.
        return scaled(whole, 0) if pa.types.is_decimal(whole.type) else whole.cast(wanted)
    return whole.cast(wanted) if pa.types.is_integer(wanted) else whole
