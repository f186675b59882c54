"""The parts of one stream on Polars.

Running sums and extremes along them are read by binary search.
Entity and instant are one 64-bit key, so that one search finds both; if they do not fit, instants
are replaced by their rank. Other parts use a segment tree over the rows: an event is in the windows
of the cutoffs from its entry to its exit, which are a range of its entity's rows. Holistic parts,
such as quantiles, join rows and events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from eventlake.core.counts import MAX_INT64
from eventlake.features.aggregates.part_kinds import EXTREMES, PLACES, Added, Holistic
from eventlake.features.declared.bound import Bound
from eventlake.features.declared.window import Window
from eventlake.features.on_polars.events import edge_of, is_inside, value_of
from eventlake.features.on_polars.rows import Rows
from eventlake.features.on_polars.running_max import latest_before, running
from eventlake.features.on_polars.segment_tree import greatest
from eventlake.features.on_polars.sorted_events import Prefix, Sorted
from eventlake.features.planned.early import RECORDED, Recorded
from eventlake.features.planned.edges import AT_CUTOFF, ENTER, LEAVE, TIME, Edge, probes
from eventlake.features.planned.entity_keys import Integers, Scale
from eventlake.features.planned.plan import Part, Plan
from eventlake.features.planned.sources import Source

Look = tuple[Edge, Bound | None]
"""An edge, and a bound of the cutoff; None for the beginning of the entity."""


class Answers:
    """Computes the parts of one stream for the rows of a spine.

    Args:
        plan: The plan.
        parts: Parts of the stream.
        source: Its event table.
        rows: The rows.
        prefix: The events of the entities, and what was computed from them before.
        joined_pairs: See ``LookUpLimits``.
    """

    def __init__(
        self,
        plan: Plan,
        parts: Sequence[Part],
        source: Source,
        rows: Rows,
        prefix: Prefix,
        *,
        joined_pairs: int,
    ) -> None:
        self._plan = plan
        self._joined_pairs = joined_pairs
        self._parts = parts
        self._can_expire, self._delay = source.can_expire, source.delay
        self._rows = rows
        self._prefix = prefix
        self._sorted, self._edges, self._sums = prefix.events, prefix.edges, prefix.sums
        self._codes, self._cutoffs = rows.codes, rows.cutoffs
        self._entities = prefix.entities.height + 1
        self._in_order = rows.order.order
        self._places: dict[Look, Integers] = {}
        self._windows: dict[Window, tuple[Integers, Integers]] = {}

    def bounds(self, columns: Sequence[str], *, by_entity: bool) -> list[tuple[int, ...]]:
        """See ``Bounds``."""
        values = [
            self._values(name).cast(pl.Int128).abs().alias(f"{number}")
            for number, name in enumerate(columns)
        ]
        groups = (
            self._sorted["code"]
            if by_entity
            else pl.Series("code", [0], dtype=pl.Int64).new_from_index(0, self._sorted.height)
        )
        return (
            pl.DataFrame([groups, *values])
            .group_by("code")
            .agg(pl.len(), pl.exclude("code").max())
            .drop("code")
            .rows()
        )

    def answer(self) -> Iterator[tuple[Part, pa.ChunkedArray | pa.Array]]:
        """Every part, in the order of the spine."""
        for part in self._parts:
            strategy = self._plan.strategy(part)
            if isinstance(part.kind, Added):
                made = self._added(part, part.kind)
            elif isinstance(part.kind, Holistic):
                made = self._joined(part, part.kind)
            elif strategy == PLACES:
                made = self._placed(part)
            elif strategy == EXTREMES:
                made = self._extreme(part)
            else:
                made = self._at(part, self._places_of(part, self._inside(part, ended=False)))
            yield part, made.to_arrow()

    def early(self) -> tuple[npt.NDArray[np.bool_], Integers]:
        """Which rows see events early, and the sequences of these events."""
        if self._prefix.recorded is None:
            codes, recorded, sequences = (
                self._sorted[name].to_numpy() for name in ("code", value_of(RECORDED), "sequence")
            )
            self._prefix.recorded = Recorded(codes, recorded, sequences, self._entities)
        places = self._places_at((Edge(TIME, Window()), AT_CUTOFF))
        return self._prefix.recorded.after(self._codes, self._cutoffs, places)

    def _looks(self, part: Part) -> tuple[Look, Look]:
        """Looks at a window's end and start; the start is the entity's if nothing leaves."""
        end, start = probes(
            part.window,
            has_validity=self._plan.has_validity,
            can_expire=self._can_expire,
            delay=self._delay,
            values=part.distinct_column,
        )
        at_start = (end.edge, None) if start is None else (start.edge, start.bound)
        return (end.edge, end.bound), at_start

    def _places_at(self, look: Look) -> Integers:
        """The number of edges, of all entities, before a look; in the order of the rows."""
        if look not in self._places:
            edge, bound = look
            scale, codes = self._edge(edge).scale, self._rows.ordered_codes
            wanted = (
                scale.first(codes)
                if bound is None
                else scale.probe(codes, self._rows.ordered_instants(bound).to_numpy())
            )
            places = np.empty(len(wanted), np.int64)
            # Keys equal to the probe are not counted: an edge at the very instant is not before it.
            places[self._in_order] = np.searchsorted(self._edge(edge).keys, wanted)
            self._places[look] = places
        return self._places[look]

    def _edge(self, edge: Edge) -> Sorted:
        if edge not in self._edges:
            instants = self._instants(edge)
            scale = Scale(self._sorted["code"].to_numpy(), instants, self._entities)
            # Events are sorted by time, so the keys of that edge are in order.
            order = np.argsort(scale.keys, kind="stable") if edge.kind in {ENTER, LEAVE} else None
            self._edges[edge] = Sorted(
                scale, scale.keys if order is None else scale.keys[order], order
            )
        return self._edges[edge]

    def _instants(self, edge: Edge) -> Integers:
        """An edge of every event, in microseconds, in the order of the events."""
        if edge.column:
            return np.maximum(
                self._instants(Edge(edge.kind, edge.window)), self._before(edge.window, edge.column)
            )
        return (
            self._sorted.select(
                edge_of(edge, has_validity=self._plan.has_validity, can_expire=self._can_expire)
            )
            .to_series()
            .to_numpy()
        )

    def _before(self, window: Window, column: str) -> Integers:
        """When the events with the same value that entered before have left."""
        made = Edge(TIME, window, column), "before"
        if made not in self._sums:
            enter, leave = (self._instants(Edge(kind, window)) for kind in (ENTER, LEAVE))
            # Nulls share number 0: they are never counted as values.
            values = self._sorted[value_of(column)].rank("dense").fill_null(0).to_numpy()
            self._sums[made] = pl.Series(
                latest_before(self._sorted["code"].to_numpy(), values, enter, leave)
            )
        return self._sums[made].to_numpy()

    def _added(self, part: Part, kind: Added) -> pl.Series:
        """The running sum at the window's end minus the one at its start."""
        end, start = self._looks(part)
        found = self._running(part, kind, end) - self._running(part, kind, start)
        if end[0] != start[0]:
            # Sums of different orders of the events count from different beginnings.
            found += self._running(part, kind, (start[0], None))
            found -= self._running(part, kind, (end[0], None))
        return found.cast(pl.Int128).cast(pl.Decimal(38, 0)) if kind.power else found

    def _running(self, part: Part, kind: Added, look: Look) -> pl.Series:
        """The sum over all events whose edge is before a look."""
        edge, name = look[0], f"{kind.name} {part.column}"
        if not part.column:
            return pl.Series(self._places_at(look))
        if (edge, name) not in self._sums:
            values, order = self._measure(part.column, kind.power), self._edge(edge).order
            values = values if order is None else values.gather(order)
            self._sums[edge, name] = pl.concat(
                [pl.Series([0], dtype=values.dtype), values.cum_sum()], rechunk=True
            )
        sums, places = self._sums[edge, name], self._places_at(look)
        # NumPy's way to read them takes a fraction of the time, but knows no wider integers.
        if sums.dtype == pl.Int64:
            return pl.Series(sums.to_numpy()[places])
        return sums.gather(places)

    def _measure(self, column: str, power: int) -> pl.Series:
        """What each event adds to a running sum."""
        if not power:
            return self._sorted[value_of(column)].is_not_null().cast(pl.Int64)
        values = self._values(column)
        if power > 1:
            values = values.cast(pl.Int128) * values.cast(pl.Int128)
        if values.dtype == pl.Int128:
            most = int(values.abs().max() or 0)  # type: ignore[arg-type]
        else:
            # Without ``abs``, which wraps for the least 64-bit integer.
            most = max(int(values.max() or 0), -int(values.min() or 0))  # type: ignore[arg-type]
        # Polars' sums wrap silently: 64 bits are used only if no running sum can exceed them.
        kind = pl.Int64 if most * max(len(values), 1) <= MAX_INT64 else pl.Int128
        return values.cast(kind)

    def _values(self, column: str) -> pl.Series:
        """A column in units of its last digit, 0 for null."""
        values = self._sorted[value_of(column)]
        return (values.to_physical() if values.dtype == pl.Decimal else values).fill_null(0)

    def _placed(self, part: Part) -> pl.Series:
        last, first = map(self._places_at, self._looks(part))
        places = last - 1 - part.place if part.place >= 0 else first
        inside = places >= first if part.place >= 0 else last > first
        where = pl.Series(np.where(inside, places, -1))
        return self._at(part, where.set(where < 0, None))

    def _at(self, part: Part, places: pl.Series) -> pl.Series:
        """The values, or ages, of the events at some places; null for null."""
        if not self._sorted.height:
            kind = self._sorted.schema[value_of(part.column)] if part.column else pl.Int64()
            return pl.Series([None] * len(places), dtype=kind)
        if not part.column:
            return pl.Series(self._cutoffs) - self._sorted["t"].gather(places)
        return self._sorted[value_of(part.column)].gather(places)

    def _extreme(self, part: Part) -> pl.Series:
        """The least or greatest place or value of events that entered before the window's end."""
        (edge, bound), _ = self._looks(part)
        found = (
            self._greatest(part, edge)[self._places_at((edge, bound))]
            - self._codes * self._sorted.height
        )
        if self._can_expire:
            # Running extremes have the events that never expire, the tree has the others.
            found = np.maximum(found, self._inside(part, ended=True))
        places = self._places_of(part, found)
        start = part.window.start
        if part.is_placed and start is not None and self._sorted.height:
            places = places.set(self._sorted["t"].gather(places) < self._rows.instants(start), None)
        return self._at(part, places)

    def _worth(self, part: Part) -> Integers:
        """Ranks of the events by place or value, descending for parts that look for the least."""
        ranks = np.arange(self._sorted.height)
        if not part.is_placed:
            # Ranks and not values are compared: they are small integers for every type, and never
            # tie.
            ranks[self._by_value(part.column)] = ranks.copy()
        return self._sorted.height - 1 - ranks if part.is_least else ranks

    def _places_of(self, part: Part, worth: Integers) -> pl.Series:
        """The places of the events with some ranks; null for ranks below 0."""
        ranks = np.where(worth < 0, 0, self._sorted.height - 1 - worth if part.is_least else worth)
        places = (
            ranks
            if part.is_placed or not self._sorted.height
            else self._by_value(part.column)[ranks]
        )
        return pl.Series(places).set(pl.Series(worth < 0), None)

    def _takes_part(self, part: Part) -> pl.Series:
        """Whether each event has a value for a part."""
        return self._sorted["t" if part.is_placed else value_of(part.column)].is_not_null()

    def _by_value(self, column: str) -> Integers:
        """The places of the events by the value of a column."""
        if (None, column) not in self._sums:
            self._sums[None, column] = (
                self._sorted[value_of(column)].arg_sort(nulls_last=False).cast(pl.Int64)
            )
        return self._sums[None, column].to_numpy()

    def _greatest(self, part: Part, edge: Edge) -> Integers:
        """See ``running``. Events that expire are left out: a maximum cannot forget them."""
        name = f"{part.kind.name} {part.column} {part.place}"
        if (edge, name) not in self._sums:
            takes_part = self._takes_part(part)
            if self._can_expire:
                takes_part &= self._sorted["u"].is_null()
            made = running(
                self._sorted["code"].to_numpy(),
                self._worth(part),
                takes_part.to_numpy(),
                self._edge(edge).order,
            )
            self._sums[edge, name] = pl.Series(made)
        return self._sums[edge, name].to_numpy()

    def _inside(self, part: Part, *, ended: bool) -> Integers:
        """The rank of a part's event for each row, by a segment tree; -1 for none.

        Args:
            part: The part.
            ended: Whether only events that cease to count are in the tree.
        """
        first, stop = self._stretches(part.window)
        takes_part = self._takes_part(part)
        if ended:
            takes_part &= self._sorted["u"].is_not_null()
        some, depth = takes_part.to_numpy(), max(part.place, 0) + 1
        found = np.empty(len(self._codes), np.int64)
        found[self._in_order] = greatest(
            first[some], stop[some], self._worth(part)[some], len(found), depth
        )[-1]
        return found

    def _joined(self, part: Part, kind: Holistic) -> pl.Series:
        """A part computed from the pairs of rows and events, some rows at a time."""
        value = value_of(part.column)
        events = self._sorted.lazy()
        inside = is_inside(
            part.window, has_validity=self._plan.has_validity, can_expire=self._can_expire
        )
        found = [
            pl.LazyFrame({"row": some, "code": self._codes[some], "c": self._cutoffs[some]})
            .join(events, on="code")
            .filter(inside)
            .group_by("row")
            .agg(kind.in_polars(pl.col(value)).alias(value))
            .collect()
            for some in self._pieces()
        ]
        rows = pl.DataFrame({"row": np.arange(len(self._codes))})
        if not found:
            return pl.Series(value, [], self._sorted.schema[value])
        return rows.join(pl.concat(found), on="row", how="left", maintain_order="left")[value]

    def _pieces(self) -> list[Integers]:
        """The rows in pieces that make few pairs with events."""
        events = np.bincount(self._sorted["code"].to_numpy(), minlength=self._entities)
        pairs = np.cumsum(events[self._codes[self._in_order]])
        # Rows are cut where the running sum of pairs passes a multiple of the limit.
        bounds = np.flatnonzero(np.diff(pairs // self._joined_pairs)) + 1
        return [some for some in np.split(self._in_order, bounds) if len(some)]

    def _stretches(self, window: Window) -> tuple[Integers, Integers]:
        """The range of ordered rows in whose window each event is, ``stop`` exclusive."""
        if window not in self._windows:
            enter, leave = (self._instants(Edge(kind, window)) for kind in (ENTER, LEAVE))
            codes = self._sorted["code"].to_numpy()
            self._windows[window] = (
                self._rows.order.after(codes, enter),
                self._rows.order.after(codes, leave),
            )
        return self._windows[window]
