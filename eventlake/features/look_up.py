"""Computes features: checks the spine, asks one engine for parts, and finishes the columns."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from eventlake.columns.schema import INSTANT
from eventlake.core.card import counted
from eventlake.core.instants import MAX_US, MIN_US, format_instant
from eventlake.core.names import is_pattern
from eventlake.errors import InvalidInputError
from eventlake.features.aggregates.exact_columns import scaled
from eventlake.features.aggregates.part_kinds import TREES, Added
from eventlake.features.finish import columns
from eventlake.features.hindsight import as_known, compare_hindsight
from eventlake.features.on_duckdb import parts as duckdb_parts
from eventlake.features.on_polars import parts as polars_parts
from eventlake.features.planned.fields import SPINE_TYPES
from eventlake.features.planned.limits import LOOK_UP_LIMITS, LookUpLimits
from eventlake.features.planned.plan import (
    Part,
    Plan,
)
from eventlake.features.planned.sources import Find, Source, sources, with_delays
from eventlake.features.spine_hints import cast_hint, missing
from eventlake.history.pinned import PinnedHistory
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
    find: Find = (duckdb_parts if engine == "duckdb" else polars_parts).parts
    pieces = list(_pieces(plan, history, spine, limits.piece_rows))
    if len(pieces) == 1:
        return _table(plan, find(plan, by_type, spine, limits), spine)
    made = []
    with task(f"looking up {plan.features.name}", len(pieces)) as advance:
        for some in pieces:
            made.append(_table(plan, find(plan, _uncached(by_type), some, limits), some))
            advance(1)
    # Pieces are of entities, so the rows come back out of order.
    return pa.concat_tables(made).sort_by("spine_row")


def _pieces(
    plan: Plan, history: PinnedHistory, spine: pa.Table, piece_rows: int
) -> Iterator[pa.Table]:
    """The rows of a spine in pieces, each with all rows of some entities.

    An engine holds the events of one piece at a time.
    """
    events = sum(
        count
        for stretch in history.stretches
        for name, count in stretch.segment.types
        if name in plan.columns
    )
    # A tree keeps as many events in each node as its deepest lag looks back.
    deepest = max(
        (
            part.place + 1
            for parts in plan.parts.values()
            for part in parts
            if plan.strategy(part) == TREES
        ),
        default=1,
    )
    pieces = max((events + spine.num_rows * max(deepest, 1)) // piece_rows, 1)
    if pieces == 1:
        yield spine
        return
    entities = pl.DataFrame(spine.select([plan.features.spine_entity])).to_series()
    # Dense ranks give all rows of an entity the same piece, and spread entities evenly.
    piece = (entities.rank("dense").fill_null(0) % pieces).cast(pl.Int64)
    for number in range(pieces):
        yield spine.filter((piece == number).to_arrow())


def _uncached(by_type: Mapping[str, Source]) -> dict[str, Source]:
    """The same sources, of which nothing is cached for the next build."""
    return {name: replace(source, identity=None) for name, source in by_type.items()}


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
    by_type, then, rows = sources(plan, history), sources(as_known(plan), history), 0
    pieces = list(_pieces(plan, history, spine, limits.piece_rows))
    if len(pieces) > 1:
        by_type, then = _uncached(by_type), _uncached(then)
    early, left_out = [], []
    for some in pieces:
        differ, seen, missed = compare_hindsight(plan, by_type, then, some)
        rows += int(differ.sum())
        early.append(seen)
        left_out.append(missed)
    count = {"hindsight_events": early, "hindsight_left_out": left_out}
    return {"hindsight_rows": rows} | {
        name: len(np.unique(np.concatenate(some))) for name, some in count.items()
    }


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
    return _table(plan, duckdb_parts.joined_on(connection, plan, spine), spine)


def _table(plan: Plan, parts: Mapping[Part, pa.ChunkedArray], spine: pa.Table) -> pa.Table:
    table = spine
    typed = {
        part: _typed(part, array, plan.columns[part.stream.event_type].get(part.column))
        for part, array in parts.items()
    }
    for name, column in columns(plan, typed, spine.num_rows).items():
        table = table.append_column(name, column)
    return table


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
