"""Finds rows that saw too much: each is computed again from the history before its cutoff."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.core import counts
from eventlake.core.card import Card, Shown, counted
from eventlake.core.format_value import shown
from eventlake.datasets.auditing.cut_history import rebuild_before
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
from eventlake.history.pinned import PinnedHistory
from eventlake.progress import task
from eventlake.projections.computation import Computation
from eventlake.projections.kinds import kind_of
from eventlake.projections.projection import Projection
from eventlake.projections.rows import finish
from eventlake.public_calls import helpful, verb

_SHOWN = 20
_LEAK_COLUMNS = ("column", "stored", "rebuilt")
_AT = "eventlake cutoff"
"""The instant at which a row was rebuilt. It is part of the key in the comparison, so that a row
that appears at another row's cutoff is not taken for it."""


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class LeakageReport(Shown):
    """The result of a search for leaks.

    Attributes:
        dataset: The manifest hash.
        known: ``cutoff`` if an event had to be recorded before the cutoff, ``watermark`` if it only
            had to happen before it.
        checked: Number of rows that were rebuilt.
        leaks: One row for each value that differs: the key, ``column``, and the values ``stored``
            and ``rebuilt`` as text (``no row`` if there was none). A missing or additional row of
            an event spine is a leak of the column ``row``.
        hindsight: Hindsight that was declared: ``hindsight_rows``, ``hindsight_events`` and
            ``hindsight_left_out`` as in a provenance, for features with ``known="watermark"``;
            ``spine_hindsight_rows`` and ``spine_late_rows`` for event spines.
        labels: Columns that are declared to look ahead.
        given: Columns of a spine that was given as rows. Whether they were known at the cutoff
            cannot be checked.
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
        """Whether no row saw anything from after its cutoff, beyond declared ``hindsight``."""
        return not self.leaks.height

    def __repr__(self) -> str:
        """The card's title."""
        return f"<LeakageReport: {self.card().title}>"

    def card(self) -> Card:
        """The report as a card."""
        facts: tuple[tuple[str, str], ...] = (
            ("dataset", self.dataset),
            ("known at the", self.known),
            ("rows rebuilt", f"{self.checked:,}"),
        )
        declared = self._declared_hindsight()
        facts += tuple(("hindsight", one) for one in declared)
        if late := self.hindsight.get("spine_late_rows"):
            rows_of = f"the event of {counted(late, 'row')}"
            facts += (
                ("recorded late", f"{rows_of} was recorded after its time, which is the cutoff"),
            )
        facts += (("look ahead, as declared", ", ".join(self.labels)),) if self.labels else ()
        facts += (("taken as given", ", ".join(self.given)),) if self.given else ()
        rows = tuple(
            tuple(shown(value) for value in row) for row in self.leaks.head(_SHOWN).iter_rows()
        )
        leaks = "no leak" if self.ok else counted(self.leaks.height, "leak")
        title = f"{leaks}; hindsight, as declared: {', '.join(declared)}" if declared else leaks
        return Card(title, facts, tuple(self.leaks.columns) if rows else (), rows)

    def _declared_hindsight(self) -> list[str]:
        """The hindsight that changes rows, in words."""
        lines = []
        if rows := self.hindsight.get("hindsight_rows"):
            lines.append(f"{counted(rows, 'row')} with other events than were known at the cutoff")
        if rows := self.hindsight.get("spine_hindsight_rows"):
            lines.append(f"{counted(rows, 'row')} of the spine with later corrections")
        return lines


@verb
def check_leakage(
    dataset: Dataset,
    *,
    rows: int | None = None,
    cutoff: str | None = None,
    known: str | None = None,
) -> LeakageReport:
    """Compute rows of a dataset again from the history before each row's cutoff, and compare.

    Rows of an event spine are compared with those that were known at their cutoff. Labels look
    ahead by declaration, and columns of a spine that was given as rows are taken as given; the
    report names both. SQL gets other values for the labels of the spine, so that whatever it
    computes from one, or selects under another name, shows as a leak.

    Args:
        dataset: Declared features, or a SQL projection, over a spine with a cutoff.
        rows: Number of rows to check, spread over the spine; defaults to all. The rows of a cutoff
            are computed together, so the cost is one build for each distinct cutoff.
        cutoff: The spine's column of instants. Defaults to that of the features, else ``cutoff``.
        known: ``cutoff`` if an event must be recorded before a cutoff to be known there;
            ``watermark`` if it only must happen before it. Defaults to that of the features, else
            ``cutoff``.

    Raises:
        InvalidInputError: There is no spine or no such column, or the projection is Python.
        CorruptionError: The history or the stored dataset is damaged.
        StorageError: An untrusted dataset needs more memory than a process may use.
    """
    most = None if rows is None else counts.count(rows, "rows", 1)
    archive, snapshot = dataset.opened()
    arguments = {"table": dataset.arrow(), "rows": most, "cutoff": cutoff, "known": known}
    report: LeakageReport = snapshot.read(
        lambda history: isolated(_checked, history, archive, **arguments)
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
    kind = kind_of(projection)
    if kind.needs_trust or spine is None:
        message = f"rows of {name} cannot be checked for leaks: it is Python, or has no spine"
        raise InvalidInputError(
            message, "declare features, or write SQL over a spine with a cutoff."
        )
    features = kind.features(projection)
    cutoff = cutoff or (features.cutoff if features else "cutoff")
    known = known or (features.known if features else "cutoff")
    if (
        cutoff not in spine.column_names
        or not pa.types.is_timestamp(spine.column(cutoff).type)
        or known not in KNOWN
    ):
        message = (
            "expected cutoff as a column of instants of the spine "
            f"({', '.join(spine.column_names)}), found {cutoff!r}, {known!r}"
        )
        raise InvalidInputError(message, f"known is {' or '.join(KNOWN)}.")
    frame = pl.DataFrame(spine)
    chosen = (
        frame
        if rows is None or rows >= frame.height
        else frame.gather_every(frame.height // rows).head(rows)
    )
    stored, spines = pl.DataFrame(table), event_spines_of(archive)
    identified_by = _row_identity(name, projection, frame)
    declared_labels = {name for one in spines for name, _, _ in one.labels}
    given_rows = chosen if features else _with_other_labels(chosen, declared_labels)
    computation = Computation(projection, history, spine, declared_types_of(archive))
    rebuilt, at_name = [], _free_name(_AT, stored.columns)
    with (
        rebuild_before(computation, known) as rebuild,
        task(f"looking for leaks in {name}", chosen.height) as advance,
    ):
        # Rows of one cutoff see the same history, and are computed together.
        for part in given_rows.partition_by(cutoff, maintain_order=True):
            instant = part[cutoff].cast(pl.Int64)[0]
            rows_then = pl.DataFrame(finish(computation, rebuild(part.to_arrow(), instant)))
            rebuilt.append(rows_then.with_columns(pl.lit(instant).alias(at_name)))
            advance(part.height)
    leaks = _no_leaks(stored, projection.key)
    if rebuilt:
        at = chosen.select(*identified_by, pl.col(cutoff).cast(pl.Int64).alias(at_name))
        checked = stored.join(at, on=identified_by, how="inner", nulls_equal=True)
        # Labels look ahead by declaration, and had other values when the rows were rebuilt.
        labels = [name for name in labels_of(archive) if name not in projection.key]
        key = (*projection.key, at_name)
        leaks = _compared(checked, pl.concat(rebuilt).drop(labels), key).drop(at_name)
    # Other declarations of this dataset made the same rows.
    for one in spines[:1]:
        found = spine_leaks(
            one, history, frame, chosen, "cutoff" if known == "cutoff" else one.known or known
        )
        none = _no_leaks(stored, projection.key)
        leaks = pl.concat([leaks, _by_key(found, none, projection.key)])
    seen = _spine_hindsight(archive.provenance()) | dict(kind.hindsight(computation))
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
    """A spine with other values of all known labels, so that whatever depends on them changes."""
    return spine.with_columns(
        _other_values(column) for column in spine.iter_columns() if column.name in labels
    )


def _other_values(column: pl.Series) -> pl.Expr:
    """A different value for each value that is not null."""
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


def _free_name(name: str, columns: list[str]) -> str:
    # A spine may be untrusted and use any name.
    return name if name not in columns else _free_name(f"{name} again", columns)


def _by_key(found: pl.DataFrame, none: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """Leaks of the spine under the dataset's key; key columns that the spine lacks are null."""
    named = [
        (pl.col(name) if name in found.columns else pl.lit(None)).alias(_shown_key(name))
        for name in key
    ]
    sides = zip((COLUMN, STORED, REBUILT), _LEAK_COLUMNS, strict=True)
    renamed = (pl.col(name).alias(public) for name, public in sides)
    return found.select(*named, *renamed).cast(none.schema)


def _spine_hindsight(provenance: dict[str, Any]) -> dict[str, int]:
    """The hindsight of an event spine, by the names of the provenance."""
    names = ("spine_hindsight_rows", "spine_late_rows")
    return {name: int(provenance[name]) for name in names if name in provenance}


def _row_identity(dataset: str, projection: Projection, spine: pl.DataFrame) -> list[str]:
    """The key columns that identify the spine row of a row.

    Raises:
        InvalidInputError: The key does not identify it.
    """
    if "spine_row" in projection.key:
        return ["spine_row"]
    key = list(projection.key)
    if set(key) <= set(spine.columns) and not spine.select(key).is_duplicated().any():
        return key
    message = (
        f"rows of {dataset} cannot be checked for leaks: "
        f"{', '.join(key)} do not identify rows of the spine"
    )
    raise InvalidInputError(message, "put spine_row into the rows and the key.")


def _no_leaks(stored: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """An empty frame of leaks."""
    named = stored.select(pl.col(name).alias(_shown_key(name)) for name in key).clear()
    return named.with_columns(*(pl.lit(None, pl.String).alias(name) for name in _LEAK_COLUMNS))


def _shown_key(name: str) -> str:
    return f"{name} (key)" if name in _LEAK_COLUMNS else name


def _compared(stored: pl.DataFrame, rebuilt: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """The values that differ; all values of a row that only one side has."""
    one, other = _as_side(stored, key, 0), _as_side(rebuilt, key, 1)
    both = one.join(
        other,
        on=list(key),
        how="full",
        coalesce=True,
        nulls_equal=True,
        maintain_order="left_right",
    )
    alone = both["0"].is_null() | both["1"].is_null()
    found = [_no_leaks(stored, key)]
    for name in (column for column in rebuilt.columns if column not in key):
        differs = both.filter(both[f"0 {name}"].ne_missing(both[f"1 {name}"]) | alone)
        sides = [
            pl.Series(side, _shown_values(differs, name, number), dtype=pl.String)
            for number, side in enumerate(_LEAK_COLUMNS[1:])
        ]
        shown_key = [pl.col(one).alias(_shown_key(one)) for one in key]
        found.append(differs.select(*shown_key, pl.lit(name).alias(_LEAK_COLUMNS[0]), *sides))
    return pl.concat(found)


def _as_side(frame: pl.DataFrame, key: tuple[str, ...], number: int) -> pl.DataFrame:
    """The rows of one side of a join: columns begin with its number, which is a column too."""
    # After the join, that column is null in rows that only the other side has.
    names = {name: f"{number} {name}" for name in frame.columns if name not in key}
    return frame.rename(names).with_columns(pl.lit(number).alias(f"{number}"))


def _shown_values(differs: pl.DataFrame, name: str, number: int) -> list[str]:
    """A column of one side as text; ``no row`` for rows that it does not have."""
    rows = differs.select(f"{number} {name}", f"{number}").iter_rows()
    return ["no row" if side is None else shown(value) for value, side in rows]
