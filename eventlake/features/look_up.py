"""Computes features: asks one engine for parts, piece by piece, and finishes the columns."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa

from eventlake.features.aggregates.exact_columns import scaled
from eventlake.features.aggregates.part_kinds import Added
from eventlake.features.few_entities import estimate
from eventlake.features.finish import columns
from eventlake.features.hindsight import Hindsight, Places, as_known, compare_hindsight
from eventlake.features.on_duckdb import parts as duckdb_parts
from eventlake.features.on_polars import parts as polars_parts
from eventlake.features.planned.asked import Asked
from eventlake.features.planned.early import Early
from eventlake.features.planned.limits import LOOK_UP_LIMITS, LookUpLimits
from eventlake.features.planned.pieces import Pieces, split
from eventlake.features.planned.plan import Part, Plan
from eventlake.features.planned.sources import Open, Source, sources, with_delays
from eventlake.history.corrections import FAMILY
from eventlake.history.pinned import PinnedHistory
from eventlake.history.polars_scan import lifetimes
from eventlake.progress import Advance, task
from eventlake.schemas.schema import FieldType

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
    """The spine's rows in their order, with their features; see ``LookUp``."""
    return LookUp(plan, history, spine, engine, limits, counts_hindsight=False).rows()


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
    asked, found = Asked.of(plan, spine), Hindsight(np.zeros(spine.num_rows, np.bool_))
    by_type = sources(plan, history)
    pieces = split(plan, asked, _events(plan, history, by_type, asked, limits), limits.piece_rows)
    if plan.related:
        known = sources(as_known(plan), history)
        for piece, places in pieces.all():
            found.add(places, *compare_hindsight(plan, by_type, known, piece))
        return found.counts()
    for group in pieces:
        cached = _cached(by_type, pieces)
        with polars_parts.opened(plan, cached, group.asked.entities, limits, early=True) as engine:
            for piece, places in group:
                early = Early(np.zeros(len(piece), np.bool_))
                engine.look_early(piece, early)
                found.add(places, early.rows, early.events, {})
    _compare_corrected(plan, by_type, asked, limits, found)
    return found.counts()


class LookUp:
    """The rows of a spine with their features, piece by piece.

    Args:
        plan: Plan of the features, over the history's schemas.
        history: The history to read.
        spine: A spine that passed ``check_spine``, with ``spine_row`` as its first column.
        engine: ``duckdb`` or ``polars``; both return the same rows.
        limits: Sizes by which features are looked up.
        counts_hindsight: Whether hindsight is found along the way, if that is possible; see
            ``Plan.finds_hindsight``.
    """

    def __init__(
        self,
        plan: Plan,
        history: PinnedHistory,
        spine: pa.Table,
        engine: str,
        limits: LookUpLimits = LOOK_UP_LIMITS,
        *,
        counts_hindsight: bool = True,
    ) -> None:
        self._plan, self._history, self._spine, self._limits = plan, history, spine, limits
        self._open: Open = (duckdb_parts if engine == "duckdb" else polars_parts).opened
        counted = counts_hindsight and plan.finds_hindsight
        self._found = Hindsight(np.zeros(spine.num_rows, np.bool_)) if counted else None

    def rows(self) -> pa.Table:
        """The spine's rows in their order, with a column for each feature after its own.

        Raises:
            InvalidInputError: A sum does not fit.
            CorruptionError: A segment of the history is damaged.
        """
        return pa.concat_tables(self.tables())

    def tables(self) -> Iterator[pa.Table]:
        """Yield ``rows`` in consecutive tables; at least one."""
        plan, history = self._plan, self._history
        asked = Asked.of(plan, self._spine)
        found = with_delays(plan, sources(plan, history))
        events = _events(plan, history, found, asked, self._limits)
        pieces = split(plan, asked, events, self._limits.piece_rows)
        by_type = _cached(found, pieces)
        with task(f"looking up {plan.features.name}", len(asked)) as advance:
            answers = self._answers(pieces, by_type, advance)
            for columns, some in answers if pieces.groups == 1 else _in_order(pieces, answers):
                table = self._spine[some]
                for name in plan.features.columns:
                    table = table.append_column(name, columns[name])
                yield table
        if self._found is not None:
            _compare_corrected(plan, by_type, asked, self._limits, self._found)

    def hindsight(self) -> dict[str, int] | None:
        """The hindsight of all rows, once they were taken; see ``hindsight``.

        None if it was not found along the way.
        """
        return None if self._found is None else self._found.counts()

    def _answers(
        self, pieces: Pieces, by_type: Mapping[str, Source], advance: Advance
    ) -> Iterator[tuple[dict[str, pa.Array], Places]]:
        """The columns of each piece, and the places of its rows."""
        plan, found = self._plan, self._found
        for group in pieces:
            with self._open(
                plan, by_type, group.asked.entities, self._limits, early=found is not None
            ) as engine:
                for piece, places in group:
                    early = None if found is None else Early(np.zeros(len(piece), np.bool_))
                    columns = _columns(plan, engine.parts(piece, early), len(piece))
                    if found is not None and early is not None:
                        found.add(places, early.rows, early.events, {})
                    yield columns, places
                    advance(len(piece))


def _in_order(
    pieces: Pieces, answers: Iterable[tuple[dict[str, pa.Array], Places]]
) -> Iterator[tuple[dict[str, pa.Array], slice]]:
    """Columns of groups of entities, in the order of the spine."""
    found = list(answers)
    order = np.concatenate([places for _, places in found])
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    # Taken out of each group, so that no more than one column is there twice.
    columns = {
        name: pa.concat_arrays([some.pop(name) for some, _ in found]) for name in list(found[0][0])
    }
    for start in range(0, len(back), pieces.piece_rows):
        some = slice(start, start + pieces.piece_rows)
        taken = pa.array(back[some])
        yield {name: column.take(taken) for name, column in columns.items()}, some


def _compare_corrected(
    plan: Plan,
    by_type: Mapping[str, Source],
    asked: Asked,
    limits: LookUpLimits,
    found: Hindsight,
) -> None:
    """Add the hindsight of events that were corrected, and of their corrections.

    Of plans without relations, which lifetimes would change too.
    """
    known = {
        name: replace(source, until=lifetimes(source.table)) for name, source in by_type.items()
    }
    families = {
        name: source.until.select(FAMILY)
        for name, source in known.items()
        if source.until is not None and source.corrected
    }
    if not families:
        return
    events = sum(some.height for some in families.values())
    for piece, places in split(plan, asked, events, limits.piece_rows).all():
        found.add(places, *compare_hindsight(plan, by_type, known, piece, families))


def _cached(by_type: Mapping[str, Source], pieces: Pieces) -> Mapping[str, Source]:
    """The event tables, of which nothing is cached for the next build if they are divided."""
    if pieces.groups == 1:
        return by_type
    return {name: replace(source, identity=None) for name, source in by_type.items()}


def _events(
    plan: Plan,
    history: PinnedHistory,
    by_type: Mapping[str, Source],
    asked: Asked,
    limits: LookUpLimits,
) -> int:
    """About how many events of a plan's types some rows may see, at most."""
    found: Counter[str] = Counter()
    for stretch in history.stretches:
        found.update({name: n for name, n in stretch.segment.types if name in plan.columns})
    events = found.total()
    if events + len(asked) <= limits.piece_rows:
        return events
    return estimate(plan, by_type, asked.entities, found)


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
