"""The parts of a plan on Polars: events sorted once for each stream, running sums along them, and binary searches for every row.

Entity and instant are one 64-bit key, so that one search finds both; where they do not fit, instants are replaced by their rank. What
cannot be told from running sums and extremes is a join of each row with its entity's events, so many rows at a time that memory is bounded.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
import polars as pl
import pyarrow as pa

from eventlake.features.conditions import Condition
from eventlake.features.edges import ENTER, LEAVE, Edge, probes
from eventlake.features.extremes import running
from eventlake.features.literals import in_polars
from eventlake.features.plan import AGE, COUNT, DISTINCT, EXTREMES, JOINS, MAX, MIN, PLACED, PLACES, SQUARES, SUMS, Part, Plan, Stream
from eventlake.features.prefixes import PREFIXES, Integers, Scale, Sorted
from eventlake.features.relations import CHILD, PARENT, SINCE, TILL
from eventlake.features.sources import Source, check_sums
from eventlake.history import polars_scan
from eventlake.history.standing import SPOKE, UNTIL
from eventlake.schemas.definition import FieldType

_PAIRS = 8_000_000
_INT64 = 1 << 63
Look = tuple[Edge, int | None]
"""An edge, and how many microseconds before the cutoff it is looked at; None for the entity's beginning."""


def parts(plan: Plan, found: Mapping[str, Source], spine: pa.Table) -> dict[Part, pa.ChunkedArray | pa.Array]:
    """See ``Find``."""
    frame = pl.DataFrame(spine.select([plan.features.spine_entity, plan.features.cutoff]))
    given = frame.select(entity=pl.col(plan.features.spine_entity), c=pl.col(plan.features.cutoff).dt.epoch("us"))
    entities = given.select("entity").drop_nulls().unique(maintain_order=True).with_row_index("code").cast({"code": pl.Int64})
    rows = given.join(entities, on="entity", how="left", maintain_order="left").select(pl.col("code").fill_null(entities.height), "c")
    made: dict[Part, pa.ChunkedArray | pa.Array] = {}
    for stream, wanted in plan.wanted().items():
        answers = _Answers(plan, wanted, found[stream.event_type], rows, entities)
        check_sums(plan, stream, wanted, answers.bounds)
        made |= answers.answer()
    return made


class _Answers:
    """What a stream's events answer for the rows of a spine.

    Args:
        plan: What is wanted.
        parts: The parts, of one stream.
        source: Its event table.
        rows: The spine's ``entity`` (null for none), as a dense number, and ``c``, the cutoff in microseconds; in the spine's order.
        entities: The entities, ``entity`` and their number ``code``.
    """

    def __init__(self, plan: Plan, parts: Sequence[Part], source: Source, rows: pl.DataFrame, entities: pl.DataFrame) -> None:
        self._plan = plan
        self._parts, stream = parts, parts[0].stream
        self._ends, self._delay = source.ends, source.delay
        self._rows = rows
        columns = sorted({part.column for part in self._parts if part.column})
        key = (
            None
            if source.identity is None
            else (source.identity, stream, *columns, plan.known_at_cutoff, plan.features.by, plan.features.depth)
        )
        prefix = PREFIXES.get(key, entities, lambda: events(plan, stream, source, entities, columns).collect())
        self._sorted, self._edges, self._sums = prefix.events, prefix.edges, prefix.sums
        self._codes = rows["code"].to_numpy()
        self._cutoffs = rows["c"].to_numpy()
        self._in_order = np.lexsort((self._cutoffs, self._codes))
        """Of the rows by entity and cutoff: looks that follow one another in memory take a third of the time."""
        self._entities = entities.height + 1
        self._places: dict[tuple[Edge, int | None], Integers] = {}

    def bounds(self, columns: Sequence[str], *, by_entity: bool) -> list[tuple[int, ...]]:
        """See ``Bounds``."""
        values = [self._values(name).cast(pl.Int128).abs().alias(f"{number}") for number, name in enumerate(columns)]
        groups = self._sorted["code"] if by_entity else pl.Series("code", [0], dtype=pl.Int64).new_from_index(0, self._sorted.height)
        return pl.DataFrame([groups, *values]).group_by("code").agg(pl.len(), pl.exclude("code").max()).drop("code").rows()

    def answer(self) -> Iterator[tuple[Part, pa.ChunkedArray | pa.Array]]:
        """Every part, in the order of the spine."""
        ways = {part: self._plan.way(part) for part in self._parts}
        joined = [part for part, way in ways.items() if way == JOINS]
        extremes = [part for part, way in ways.items() if way == EXTREMES]
        paired = self._paired(joined) if joined else {}
        # What ceases to count is no part of running extremes.
        ended = self._paired(extremes, ended=True) if extremes and self._ends else {}
        for part, way in ways.items():
            end, start = self._looks(part)
            if way == SUMS:
                made = self._added(part, end, start)
            elif way == PLACES:
                made = self._placed(part, end, start)
            elif way == EXTREMES:
                made = self._extreme(part, end, ended.get(part))
            else:
                made = self._at(part, paired[part]) if part.kind in PLACED else paired[part]
            yield part, made.to_arrow()

    def _looks(self, part: Part) -> tuple[Look, Look]:
        """The end and the start of a window. Where nothing leaves it, it starts where the entity's own edges do."""
        end, start = probes(part.span, timed=self._plan.timed, ends=self._ends, delay=self._delay)
        return (end.edge, end.shift), (end.edge, None) if start is None else (start.edge, start.shift)

    def _found(self, look: Look) -> Integers:
        """How many edges, of all entities, lie before what a look asks about; in the order of the rows."""
        if look not in self._places:
            edge, shift = look
            scale = self._edge(edge).scale
            wanted = scale.first(self._codes) if shift is None else scale.probe(self._codes, self._cutoffs - shift)
            places = np.empty(len(wanted), np.int64)
            places[self._in_order] = np.searchsorted(self._edge(edge).keys, wanted[self._in_order])
            self._places[look] = places
        return self._places[look]

    def _edge(self, edge: Edge) -> Sorted:
        if edge not in self._edges:
            instants = self._sorted.select(edge_of(edge, ends=self._ends))["k"].to_numpy()
            scale = Scale(self._sorted["code"].to_numpy(), instants, self._entities)
            order = np.argsort(scale.keys, kind="stable") if edge.kind in {ENTER, LEAVE} else None
            self._edges[edge] = Sorted(scale, scale.keys if order is None else scale.keys[order], order)
        return self._edges[edge]

    def _added(self, part: Part, end: Look, start: Look) -> pl.Series:
        """The running sum at the end of the window, less that at its start, each since the beginning of the entity."""
        found = self._running(part, end) - self._running(part, start)
        if end[0] != start[0]:
            found += self._running(part, (start[0], None)) - self._running(part, (end[0], None))
        return found if part.kind == COUNT else found.cast(pl.Int128).cast(pl.Decimal(38, 0))

    def _running(self, part: Part, look: Look) -> pl.Series:
        """The sum over all edges before what a look asks about."""
        edge, name = look[0], f"{part.kind} {part.column}"
        leaves_alone = edge.kind == LEAVE and edge.span.far is None
        if part.kind == COUNT and not part.column and not leaves_alone:
            return pl.Series(self._found(look))
        if (edge, name) not in self._sums:
            values, order = self._measure(part), self._edge(edge).order
            if leaves_alone:
                # Nothing leaves everything but what no longer stands.
                values = values.set(self._sorted["u"].is_null(), 0)
            values = values if order is None else values.gather(order)
            self._sums[edge, name] = pl.concat([pl.Series([0], dtype=values.dtype), values.cum_sum()])
        return self._sums[edge, name].gather(self._found(look))

    def _measure(self, part: Part) -> pl.Series:
        """What an event adds."""
        if part.kind == COUNT:
            one = pl.Series([1], dtype=pl.Int64).new_from_index(0, self._sorted.height)
            return self._sorted[value_of(part.column)].is_not_null().cast(pl.Int64) if part.column else one
        values = self._values(part.column)
        if part.kind == SQUARES:
            values = values.cast(pl.Int128) * values.cast(pl.Int128)
        most = int(values.abs().max() or 0) if values.dtype == pl.Int128 else max(int(values.max() or 0), -int(values.min() or 0))  # type: ignore[arg-type]
        kind = pl.Int64 if most * max(len(values), 1) < _INT64 else pl.Int128
        return values.cast(kind)

    def _values(self, column: str) -> pl.Series:
        """A column in its last digit, null being nothing."""
        values = self._sorted[value_of(column)]
        return (values.to_physical() if values.dtype == pl.Decimal else values).fill_null(0)

    def _placed(self, part: Part, end: Look, start: Look) -> pl.Series:
        last, first = self._found(end), self._found(start)
        places = last - 1 - part.place if part.place >= 0 else first
        inside = places >= first if part.place >= 0 else last > first
        where = pl.Series(np.where(inside, places, -1))
        return self._at(part, where.set(where < 0, None))

    def _at(self, part: Part, places: pl.Series) -> pl.Series:
        """The value, or the age, of the events at some places; null for null."""
        if not self._sorted.height:
            kind = pl.Int64() if part.kind == AGE else self._sorted.schema[value_of(part.column)]
            return pl.Series([None] * len(places), dtype=kind)
        if part.kind == AGE:
            return self._rows["c"] - self._sorted["t"].gather(places)
        return self._sorted[value_of(part.column)].gather(places)

    def _extreme(self, part: Part, look: Look, ended: pl.Series | None) -> pl.Series:
        """The least or greatest, of places or of values, of everything that has entered before the end of the window.

        Args:
            part: Which.
            look: At the end of the window.
            ended: The same of the events that cease to count at some time; None where there are none.
        """
        if not self._sorted.height:
            return self._at(part, pl.Series([None] * self._rows.height, dtype=pl.Int64))
        by_rank = None if part.kind in PLACED else self._by_value(part.column)
        found = self._greatest(part, look[0], by_rank)[self._found(look)] - self._codes * self._sorted.height
        ranks = np.where(found < 0, 0, self._sorted.height - 1 - found if part.is_least else found)
        places = pl.Series(ranks if by_rank is None else by_rank[ranks]).set(pl.Series(found < 0), None)
        if part.kind not in PLACED:
            values = self._sorted[value_of(part.column)].gather(places)
            return values if ended is None else _better(part, values, ended)
        places = places if ended is None else _better(part, places, ended.cast(pl.Int64))
        if part.span.far is not None:
            places = places.set(self._sorted["t"].gather(places) < self._rows["c"] - part.span.far, None)
        return self._at(part, places)

    def _by_value(self, column: str) -> Integers:
        """The places of the events by the value of a column."""
        if (None, column) not in self._sums:
            self._sums[None, column] = self._sorted[value_of(column)].arg_sort(nulls_last=False).cast(pl.Int64)
        return self._sums[None, column].to_numpy()

    def _greatest(self, part: Part, edge: Edge, by_rank: Integers | None) -> Integers:
        """See ``running``; where the least is wanted, the last rank comes first."""
        name = f"{part.kind} {part.column} {part.place}"
        if (edge, name) not in self._sums:
            ranks = np.arange(self._sorted.height)
            if by_rank is not None:
                ranks[by_rank] = ranks.copy()
            takes_part = self._sorted["t" if by_rank is None else value_of(part.column)].is_not_null()
            if self._ends:
                takes_part &= self._sorted["u"].is_null()
            worth = self._sorted.height - 1 - ranks if part.is_least else ranks
            made = running(self._sorted["code"].to_numpy(), worth, takes_part.to_numpy(), self._edge(edge).order)
            self._sums[edge, name] = pl.Series(made)
        return self._sums[edge, name].to_numpy()

    def _paired(self, parts: Sequence[Part], *, ended: bool = False) -> dict[Part, pl.Series]:
        """Each row with its entity's events, or those that end, some rows at a time, for a bounded number of pairs: values or places."""
        rows, events = self._rows.with_row_index("row"), self._sorted.with_row_index("place")
        events = events.filter(pl.col("u").is_not_null()) if ended else events
        counted = rows.join(events.group_by("code").len("events"), on="code", how="left", maintain_order="left")["events"].fill_null(0)
        group = (counted.cast(pl.Int64).cum_sum() // _PAIRS).alias("group")
        found: dict[Part, list[pl.Series]] = {part: [] for part in parts}
        for some in rows.with_columns(group).partition_by("group", maintain_order=True):
            pairs = some.lazy().join(events.lazy(), on="code", how="inner")
            aggregates = [self._aggregate(part).alias(f"{number}") for number, part in enumerate(parts)]
            answers = pairs.filter(_nearest(parts)).group_by("row").agg(aggregates).collect()
            whole = some.join(answers, on="row", how="left", maintain_order="left")
            for number, part in enumerate(parts):
                answer = whole[f"{number}"]
                found[part].append(answer.fill_null(0).cast(pl.Int64) if part.kind == DISTINCT else answer)
        return {part: pl.concat(pieces) if pieces else pl.Series([], dtype=pl.Null) for part, pieces in found.items()}

    def _aggregate(self, part: Part) -> pl.Expr:
        inside = inside_window(part, timed=self._plan.timed, ends=self._ends)
        if part.kind in {MIN, MAX}:
            column = pl.col(value_of(part.column)).filter(inside)
            return column.min() if part.kind == MIN else column.max()
        if part.kind == DISTINCT:
            return pl.col(value_of(part.column)).filter(inside).drop_nulls().n_unique()
        place = pl.col("place").filter(inside)
        if part.place < 0:
            return place.min()
        return pl.when(place.len() > part.place).then(place.top_k(part.place + 1).min())


def _better(part: Part, one: pl.Series, other: pl.Series) -> pl.Series:
    """Of two series the lesser, or the greater, of each row; what is null is passed over."""
    both = pl.DataFrame([one.alias("one"), other.alias("other")])
    chosen = pl.col("other") < pl.col("one") if part.is_least else pl.col("other") > pl.col("one")
    return both.select(pl.when(pl.col("one").is_null() | chosen).then("other").otherwise("one")).to_series()


def _nearest(parts: Sequence[Part]) -> pl.Expr:
    return pl.col("t") < pl.col("c") - min(part.span.offset for part in parts)


def value_of(column: str) -> str:
    """A column of an event table where its name can mean nothing else."""
    return f"f {column}"


def inside_window(part: Part, *, timed: bool, ends: bool) -> pl.Expr:
    """Whether an event, of ``events``, is inside the window of a part for the cutoff ``c``."""
    inside = [pl.col("t") < pl.col("c") - part.span.offset]
    if part.span.far is not None:
        inside.append(pl.col("t") >= pl.col("c") - part.span.far)
    if timed:
        inside.append(pl.col("r") < pl.col("c"))
        if ends:
            inside.append(pl.col("u").is_null() | (pl.col("u") >= pl.col("c")))
    return reduce(lambda one, other: one & other, inside)


def edge_of(edge: Edge, *, ends: bool) -> pl.Expr:
    """An edge of an event, ``k``; the latest of all for one that it never comes to."""
    if edge.kind not in {ENTER, LEAVE}:
        return pl.col("t").alias("k")
    enter = pl.max_horizontal(pl.col("t") + edge.span.offset, "r")
    if edge.kind == ENTER:
        return enter.alias("k")
    stops = [*([pl.col("t") + edge.span.far] if edge.span.far is not None else []), *([pl.col("u")] if ends else [])]
    # ``min_horizontal`` passes over nulls: an event that stands to this day leaves by its time alone.
    return pl.max_horizontal(enter, pl.min_horizontal(stops)).alias("k")


def events(plan: Plan, stream: Stream, source: Source, entities: pl.DataFrame, columns: Sequence[str]) -> pl.LazyFrame:
    """The events of a stream whose entity is among some, by entity, time and sequence.

    Args:
        plan: Says the entity, and what counts as known.
        stream: Which events.
        source: Their event table.
        entities: ``entity``, and its number ``code``.
        columns: Of the event table, to be shown, as ``value_of`` calls them, beside ``code``, ``t``, ``sequence``, ``r`` (since when it
            counts) and ``u`` (until when).
    """
    known = plan.known_at_cutoff
    frame = polars_scan.table(source.table, polars_scan.AS_RECORDED if known else polars_scan.LATEST)
    if source.until is not None and source.corrected:
        frame = frame.join(source.until.lazy(), on=["source", "id"], how="left").filter(pl.col(SPOKE).fill_null(value=True))
    if stream.where is not None:
        frame = frame.filter(condition(stream.where, plan.columns[stream.event_type]))
    entity = entity_of(plan, stream.event_type)
    begins = [pl.col("recorded_at").dt.epoch("us")] if known else []
    stops = [pl.col(UNTIL).dt.epoch("us")] if source.corrected else []
    if source.belongs is not None:
        frame = frame.with_columns(entity.alias(CHILD)).join(source.belongs.lazy(), on=CHILD, how="inner")
        entity, begins, stops = pl.col(PARENT), [*begins, pl.col(SINCE)], [*stops, pl.col(TILL)]
    shown = [entity.alias("entity"), pl.col("time").dt.epoch("us").alias("t"), pl.col("sequence")]
    # Both pass over nulls: what stands, or belongs, to this day has no end.
    shown += [pl.max_horizontal(begins).alias("r")] if begins else []
    shown += [pl.min_horizontal(stops).alias("u")] if stops else []
    shown += [pl.col(name).alias(value_of(name)) for name in columns]
    numbered = frame.select(shown).join(entities.lazy(), on="entity", how="inner").drop("entity")
    return numbered.sort("code", "t", "sequence")


def entity_of(plan: Plan, event_type: str) -> pl.Expr:
    """What ``by`` names of an event."""
    column, pattern = pl.col(plan.by[event_type]), plan.features.pattern
    return column if pattern is None else column.str.extract(pattern, 1)


def condition(where: Condition, kinds: Mapping[str, FieldType]) -> pl.Expr:
    """A condition over the columns of an event table."""
    parts = [condition(part, kinds) for part in where.parts]
    if where.sign == "and":
        return reduce(lambda one, other: one & other, parts)
    if where.sign == "or":
        return reduce(lambda one, other: one | other, parts)
    if where.sign == "not":
        return ~parts[0]
    column = pl.col(where.field)
    if where.sign == "null":
        return column.is_null()
    values = [in_polars(value, kinds[where.field]) for value in where.values]
    if where.sign == "in":
        return reduce(lambda one, other: one | other, (column == value for value in values))
    compared = {
        "==": column.eq,
        "!=": column.ne,
        "<": column.lt,
        "<=": column.le,
        ">": column.gt,
        ">=": column.ge,
    }
    return compared[where.sign](values[0])
