"""Whether rows of a dataset saw what was not there yet: each is made again from a history cut off at its own cutoff, and compared.

The history is cut before the projection sees it: of all tables only the events are left that
happened, and (unless it is hindsight by name) were recorded, strictly before the cutoff, with the
corrections of then. Declared features are looked up in it as if everything in it were known, so
that what the engines do to tell what was known is not trusted, but tested.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from eventlake.columns.hashing.content import normalise
from eventlake.core import counts
from eventlake.core.card import Card, counted
from eventlake.core.format_value import shown
from eventlake.core.names import OURS
from eventlake.core.sql import identifier, integer
from eventlake.database import check_select, open_database
from eventlake.datasets.auditing.spine_leaks import COLUMN, REBUILT, STORED, spine_leaks
from eventlake.datasets.building.isolated import isolated
from eventlake.datasets.dataset import Dataset
from eventlake.datasets.store.archive import Archive
from eventlake.datasets.store.recorded import (
    declared_types_of,
    event_spines_of,
    labels_of,
    projection_of,
)
from eventlake.errors import InvalidInputError
from eventlake.features.declared.declared_set import KNOWN
from eventlake.features.feature_set import FeatureSet
from eventlake.features.look_up import answered, hindsight
from eventlake.features.on_duckdb.events import BELONGS_TABLE
from eventlake.features.planned.plan import compiled
from eventlake.features.planned.sources import related
from eventlake.history import polars_scan
from eventlake.history.corrections import SPOKE, UNTIL
from eventlake.history.pinned import PinnedHistory
from eventlake.history.polars_scan import AS_RECORDED, LATEST
from eventlake.history.sql.duckdb_views import create_events, create_table, files_of
from eventlake.history.sql.tables_read import TableName, attributes_named, reads_table, tables_read
from eventlake.progress import task
from eventlake.projections.computation import Computation
from eventlake.projections.features import feature_set
from eventlake.projections.on_duckdb.run import bound
from eventlake.projections.projection import Projection
from eventlake.projections.rows import finish
from eventlake.tables.columns import NAMED
from eventlake.verbs import helpful, verb

_SHOWN = 20
_TOLD = ("column", "stored", "rebuilt")
_AT = "eventlake cutoff"
"""At which instant a row was made again: one that is of another one's cutoff is no row of this one's."""


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class LeakageReport:
    """What came of looking for leaks.

    Attributes:
        dataset: The manifest hash.
        known: ``cutoff`` where an event had to be recorded before it, ``watermark`` where it only
            had to happen before it.
        checked: How many rows were made again.
        leaks: The key of each row that came out otherwise, ``column``, and the values ``stored``
            and ``rebuilt``, as text; ``no row`` where there was none. A row of a spine of events
            that would not be there, or that is missing, is a leak of the column ``row``.
        hindsight: What was declared to be seen and was not known at the cutoff: ``hindsight_rows``,
            ``hindsight_events`` and ``hindsight_left_out`` as in a provenance, for features that
            are built with ``known="watermark"``; ``spine_hindsight_rows`` and ``spine_late_rows``
            for spines of events.
        labels: Columns that are declared to look ahead.
        given: Columns of a spine that was given as rows: whether they were known at the cutoff
            cannot be told.
    """

    dataset: str
    known: str
    checked: int
    leaks: pl.DataFrame
    hindsight: dict[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no row saw what was not there yet, beyond the ``hindsight`` that was asked for."""
        return not self.leaks.height

    def __repr__(self) -> str:
        """The card's title."""
        return f"<LeakageReport: {self.card().title}>"

    def card(self) -> Card:
        """What to show."""
        facts: tuple[tuple[str, str], ...] = (
            ("dataset", self.dataset),
            ("known at the", self.known),
            ("rows made again", f"{self.checked:,}"),
        )
        told = self._told()
        facts += tuple(("hindsight", one) for one in told)
        if late := self.hindsight.get("spine_late_rows"):
            facts += (
                (
                    "recorded late",
                    f"the event of {counted(late, 'row')} was recorded after its time, which is the cutoff",
                ),
            )
        facts += (("look ahead, as declared", ", ".join(self.labels)),) if self.labels else ()
        facts += (("taken as given", ", ".join(self.given)),) if self.given else ()
        rows = tuple(
            tuple(shown(value) for value in row) for row in self.leaks.head(_SHOWN).iter_rows()
        )
        leaks = "no leak" if self.ok else counted(self.leaks.height, "leak")
        title = leaks + f"; hindsight, as declared: {', '.join(told)}" * bool(told)
        return Card(title, facts, tuple(self.leaks.columns) if rows else (), rows)

    def _told(self) -> list[str]:
        """What of the hindsight changes a row, in words."""
        told = []
        if rows := self.hindsight.get("hindsight_rows"):
            told.append(f"{counted(rows, 'row')} with other events than were known at the cutoff")
        if rows := self.hindsight.get("spine_hindsight_rows"):
            told.append(f"{counted(rows, 'row')} of the spine with later corrections")
        return told


@verb
def check_leakage(
    dataset: Dataset,
    *,
    rows: int | None = None,
    cutoff: str | None = None,
    known: str | None = None,
) -> LeakageReport:
    """Makes rows of a dataset again from a history that ends at each row's cutoff, and compares.

    The rows of a spine of events are compared with those that were known at their cutoff. Labels
    look ahead by declaration, and columns of a spine that was given as rows are taken as they are;
    the report names both. SQL is given other values for the labels of the spine: what it computes
    from one, or selects under another name, is a leak.

    Args:
        dataset: Declared features, or a SQL projection, over a spine with a cutoff.
        rows: How many, spread over the spine; None for all. Rows of one cutoff are made at once, so
            the time is that of so many builds as there are cutoffs.
        cutoff: The spine's column of instants; None for that of the features, else ``cutoff``.
        known: ``cutoff`` if an event had to be recorded before a cutoff to be known there;
            ``watermark`` if it only had to happen before it; None for what the features say, else
            ``cutoff``.

    Raises:
        InvalidInputError: There is no spine, no such column, or the projection is Python.
        CorruptionError: The history or the stored dataset is damaged.
        StorageError: The dataset is a stranger's, and needs more memory than a process may take.
    """
    some = None if rows is None else counts.count(rows, "rows", 1)
    archive, snapshot = dataset.opened()
    asked = {"table": dataset.arrow(), "rows": some, "cutoff": cutoff, "known": known}
    report: LeakageReport = snapshot.read(
        lambda history: isolated(_checked, history, archive, **asked)
    )
    return report


def _checked(
    history: PinnedHistory,
    archive: Archive,
    *,
    table: pa.Table,
    rows: int | None,
    cutoff: str | None,
    known: str | None,
) -> LeakageReport:
    name, spine = archive.manifest.recipe.name, archive.spine()
    projection = projection_of(archive)
    if projection.kind == "python" or spine is None:
        message = (
            f"whether rows of {name} saw too much cannot be told: it is Python, or has no spine"
        )
        raise InvalidInputError(
            message, "declare features, or write SQL over a spine with a cutoff."
        )
    features = feature_set(projection) if projection.kind == "features" else None
    cutoff, known = (
        cutoff or (features.cutoff if features else "cutoff"),
        known or (features.known if features else "cutoff"),
    )
    if (
        cutoff not in spine.column_names
        or not pa.types.is_timestamp(spine.column(cutoff).type)
        or known not in KNOWN
    ):
        message = f"expected cutoff as a column of instants of the spine ({', '.join(spine.column_names)}), found {cutoff!r}, {known!r}"
        raise InvalidInputError(message, f"known is {' or '.join(KNOWN)}.")
    frame = pl.DataFrame(spine)
    chosen = (
        frame
        if rows is None or rows >= frame.height
        else frame.gather_every(frame.height // rows).head(rows)
    )
    stored, spines = pl.DataFrame(table), event_spines_of(archive)
    told_by = _told_by(name, projection, frame)
    asked = (
        chosen
        if features
        else _with_other_labels(chosen, {name for one in spines for name, _, _ in one.labels})
    )
    computation = Computation(projection, history, spine, declared_types_of(archive))
    rebuilt, at_name = [], _apart(_AT, stored.columns)
    with (
        _cut(computation, known) as again,
        task(f"looking for leaks in {name}", chosen.height) as advance,
    ):
        for some in asked.partition_by(cutoff, maintain_order=True):
            instant = some[cutoff].cast(pl.Int64)[0]
            made = pl.DataFrame(finish(computation, again(some.to_arrow(), instant)))
            rebuilt.append(made.with_columns(pl.lit(instant).alias(at_name)))
            advance(some.height)
    leaks = _none(stored, projection.key)
    if rebuilt:
        at = chosen.select(*told_by, pl.col(cutoff).cast(pl.Int64).alias(at_name))
        mine = stored.join(at, on=told_by, how="inner", nulls_equal=True)
        labels = [name for name in labels_of(archive) if name not in projection.key]
        leaks = _compared(mine, pl.concat(rebuilt).drop(labels), (*projection.key, at_name)).drop(
            at_name
        )
    for one in spines[:1]:
        found = spine_leaks(
            one, history, frame, chosen, "cutoff" if known == "cutoff" else one.known or known
        )
        leaks = pl.concat([leaks, _by_key(found, _none(stored, projection.key), projection.key)])
    seen = _hindsight(archive.provenance(), features, history, spine)
    kept = {
        "spine_row",
        cutoff,
        *(features.columns if features else ()),
        *([features.spine_entity] if features else ()),
    }
    given = () if spines else tuple(name for name in spine.column_names if name not in kept)
    return LeakageReport(
        archive.manifest.manifest_hash, known, chosen.height, leaks, seen, labels_of(archive), given
    )


def _with_other_labels(spine: pl.DataFrame, labels: Collection[str]) -> pl.DataFrame:
    """The rows of a spine with another value of every label that is known, so that whatever follows one comes out otherwise."""
    return spine.with_columns(
        _another(column) for column in spine.iter_columns() if column.name in labels
    )


def _another(column: pl.Series) -> pl.Expr:
    """Another value for each that is not null."""
    value = pl.col(column.name)
    if column.dtype == pl.Boolean:
        return ~value
    if column.dtype == pl.String:
        return pl.concat_str(value, pl.lit("x"))
    zero, one = (pl.lit(number).cast(column.dtype) for number in (0, 1))
    return (
        pl.when(value.is_null())
        .then(None)
        .when(value == zero)
        .then(one)
        .otherwise(zero)
        .alias(column.name)
    )


def _apart(name: str, columns: list[str]) -> str:
    """A name that no column has; a spine's column may be called as ours."""
    return name if name not in columns else _apart(f"{name} again", columns)


def _by_key(found: pl.DataFrame, none: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """The leaks of a spine's rows as those of the dataset's; a part of the key that the spine does not have is null."""
    named = [
        (pl.col(name) if name in found.columns else pl.lit(None)).alias(_shown_key(name))
        for name in key
    ]
    sides = zip((COLUMN, STORED, REBUILT), _TOLD, strict=True)
    return found.select(*named, *(pl.col(name).alias(told) for name, told in sides)).cast(
        none.schema
    )


def _hindsight(
    provenance: dict[str, Any], features: FeatureSet | None, history: PinnedHistory, spine: pa.Table
) -> dict[str, int]:
    """What was declared to be seen and was not known at the cutoff."""
    names = ("spine_hindsight_rows", "spine_late_rows")
    found: dict[str, int] = {name: int(provenance[name]) for name in names if name in provenance}
    seen = features is not None and features.known == "watermark"
    return found | (
        hindsight(compiled(features, history.catalogue), history, spine)
        if seen and features
        else {}
    )


@contextmanager
def _cut(computation: Computation, known: str) -> Iterator[Any]:
    """Makes rows of a part of the spine, from what was there before an instant."""
    projection, history = computation.projection, computation.history
    if projection.kind == "features":
        # What is left of the history is known, all of it: the features' own way to tell is left
        # out.
        plan = compiled(replace(feature_set(projection), known="watermark"), history.catalogue)
        names = [TableName(name, LATEST) for name in plan.columns]
        with _database(history, names, known, events=False) as connection:
            if plan.related:
                as_known = compiled(
                    replace(feature_set(projection), known=known), history.catalogue
                )
                connection.register(BELONGS_TABLE, related(as_known, history).to_arrow())

            def looked_up(part: pa.Table, cutoff: int) -> pa.Table:
                connection.execute(f"SET VARIABLE cutoff = {integer(cutoff)}")
                return answered(connection, plan, part)

            yield looked_up
        return
    query = computation.query.text
    with bound(computation.query):
        pass  # what is archived may have been written by anybody: it is one SELECT over the history
    names, events = tables_read(query, history.catalogue), reads_table(query, "events")
    with _database(history, names, known, events=events, query=query) as connection:
        connection.register("part of the spine", computation.spine)
        connection.execute('CREATE TABLE spine AS SELECT * FROM "part of the spine" LIMIT 0')

        def run(part: pa.Table, cutoff: int) -> pa.Table:
            connection.execute(f"SET VARIABLE cutoff = {integer(cutoff)}")
            connection.execute("DELETE FROM spine")
            connection.register("part of the spine", normalise(part))
            connection.execute('INSERT INTO spine SELECT * FROM "part of the spine"')
            return connection.sql(
                check_select(query), params=dict(projection.parameters) or None
            ).to_arrow_table()

        yield run


def _database(
    history: PinnedHistory,
    names: list[TableName],
    known: str,
    *,
    events: bool,
    query: str | None = None,
) -> duckdb.DuckDBPyConnection:
    """A database with tables of events in which only those stand that were there before the variable ``cutoff``, in microseconds."""
    tables = history.tables(dict.fromkeys(name.event_type for name in names))
    connection = open_database(
        [*(history.locations() or [] if events else []), *files_of(tables.values())]
    )
    there = "epoch_us(time) < getvariable('cutoff')::BIGINT"
    there += (
        " AND epoch_us(recorded_at) < getvariable('cutoff')::BIGINT" if known == "cutoff" else ""
    )
    if events:
        create_events(connection, history)
        _cut_view(connection, "events", "events", f"SELECT * FROM {{kept}} WHERE {there}")
    for number, (event_type, table) in enumerate(tables.items()):
        attributes = NAMED if query is None else attributes_named(query, event_type)
        target = identifier(event_type)
        wanted = {name.corrections for name in names if name.event_type == event_type}
        if known == "cutoff":
            create_table(
                connection, table, TableName(event_type, AS_RECORDED), attributes=attributes
            )
            plain = identifier(f"{OURS}plain {number}")
            connection.execute(f"ALTER VIEW {target} RENAME TO {plain}")
            _cut_view(connection, plain, target, f"SELECT * FROM {{kept}} WHERE {there}")
            if LATEST in wanted:
                connection.register(
                    f"{OURS}until {number}", polars_scan.lifetimes(table).to_arrow()
                )
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {LATEST}")
                end, spoke = identifier(UNTIL), identifier(SPOKE)
                stood = f"coalesce({spoke}, true) AND ({end} IS NULL OR epoch_us({end}) >= getvariable('cutoff')::BIGINT)"
                join = f'SELECT kept.* FROM {{kept}} AS kept LEFT JOIN "{OURS}until {number}" USING (source, id) WHERE {there} AND {stood}'
                _cut_view(connection, plain, f"{LATEST}.{target}", join)
        else:
            for corrections in sorted(wanted):
                create_table(
                    connection, table, TableName(event_type, corrections), attributes=attributes
                )
                placed = f"{LATEST}.{target}" if corrections == LATEST else target
                _cut_view(connection, placed, placed, f"SELECT * FROM {{kept}} WHERE {there}")
    return connection


def _cut_view(connection: duckdb.DuckDBPyConnection, source: str, target: str, query: str) -> None:
    """Keeps the rows of a view in a table, and puts a view that shows some of them in the place of ``target``."""
    kept = identifier(f"{OURS}all of {target}")
    connection.execute(f"CREATE TABLE {kept} AS SELECT * FROM {source}")
    connection.execute(f"CREATE OR REPLACE VIEW {target} AS {query.format(kept=kept)}")


def _told_by(dataset: str, projection: Projection, spine: pl.DataFrame) -> list[str]:
    """The key columns that tell of which row of the spine a row is.

    Raises:
        InvalidInputError: They do not.
    """
    if "spine_row" in projection.key:
        return ["spine_row"]
    key = list(projection.key)
    if set(key) <= set(spine.columns) and not spine.select(key).is_duplicated().any():
        return key
    message = f"whether rows of {dataset} saw too much cannot be told: {', '.join(key)} do not say of which row of the spine each is"
    raise InvalidInputError(message, "put spine_row into the rows and the key.")


def _none(stored: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """No leak: the key, and what is told."""
    named = stored.select(pl.col(name).alias(_shown_key(name)) for name in key).clear()
    return named.with_columns(*(pl.lit(None, pl.String).alias(name) for name in _TOLD))


def _shown_key(name: str) -> str:
    return f"{name} (key)" if name in _TOLD else name


def _compared(stored: pl.DataFrame, rebuilt: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """The values that are others; of a row that is there only once, all of them."""
    one, other = (
        frame.rename(
            {name: f"{number} {name}" for name in frame.columns if name not in key}
        ).with_columns(pl.lit(number).alias(f"{number}"))
        for number, frame in enumerate((stored, rebuilt))
    )
    both = one.join(
        other,
        on=list(key),
        how="full",
        coalesce=True,
        nulls_equal=True,
        maintain_order="left_right",
    )
    alone = both["0"].is_null() | both["1"].is_null()
    found = [_none(stored, key)]
    for name in (column for column in rebuilt.columns if column not in key):
        differs = both.filter(both[f"0 {name}"].ne_missing(both[f"1 {name}"]) | alone)
        sides = [
            pl.Series(
                side,
                [
                    shown(value) if there is not None else "no row"
                    for value, there in differs.select(f"{number} {name}", f"{number}").iter_rows()
                ],
                dtype=pl.String,
            )
            for number, side in enumerate(_TOLD[1:])
        ]
        shown_key = [pl.col(one).alias(_shown_key(one)) for one in key]
        found.append(differs.select(*shown_key, pl.lit(name).alias(_TOLD[0]), *sides))
    return pl.concat(found)
