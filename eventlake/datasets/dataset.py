"""A built dataset, as users hold it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.core import layout
from eventlake.core.card import Card, counted
from eventlake.core.documents.dataset import DatasetManifest
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.inspecting.explain import Explanation, explain
from eventlake.datasets.inspecting.split import (
    ENTITY,
    TIME,
    Split,
    gap_of,
    matrix,
    series_of,
    split,
    target_of,
)
from eventlake.datasets.store.archive import Archive
from eventlake.datasets.store.recorded import (
    columns_called,
    event_spines_of,
    features_of,
    labels_of,
)
from eventlake.datasets.store.tags import keep_for_lock
from eventlake.errors import InvalidInputError
from eventlake.features.declared.declared_spine import CUTOFF
from eventlake.features.declared.window import Length
from eventlake.features.spines.spine import EventSpine
from eventlake.history.pinned import PinnedHistory
from eventlake.history.snapshot import Snapshot
from eventlake.history.sql.result import to_pandas
from eventlake.verbs import verbs

Pin = Callable[[Checkpoint], PinnedHistory]
"""Opens the history of a checkpoint of the lake."""
COMPUTED = "computed by this build"
EQUAL = ", and equal to {}"
FOUND = "found as an earlier build stored them; nothing was computed (--force computes them again and compares)"


@verbs
class Dataset:
    """The rows a projection made at a watermark, with the manifest that names them. Rows are read, and their hash checked, on first use.

    ``rows`` spares the reading to whoever has just made them.
    """

    def __init__(
        self, archive: Archive, pin: Pin, rows: pa.Table | None = None, origin: str | None = None
    ) -> None:
        self._archive = archive
        self._pin = pin
        self._table = rows
        self._origin = origin

    @property
    def computed(self) -> bool:
        """Whether the build that gave this handle computed the rows; False if they were found, or if no build gave it."""
        return self._origin is not None and self._origin.startswith(COMPUTED)

    @property
    def manifest(self) -> DatasetManifest:
        """The dataset's identity."""
        return self._archive.manifest

    @property
    def name(self) -> str:
        """The projection's name."""
        return self.manifest.recipe.name

    @property
    def manifest_hash(self) -> str:
        """SHA-256 of the manifest: what to write beside a model."""
        return self.manifest.manifest_hash

    @property
    def content_hash(self) -> str:
        """Hash of the rows: what came out."""
        return self.manifest.content_hash

    @property
    def recipe_hash(self) -> str:
        """Hash of the recipe: what went in."""
        return self.manifest.recipe.recipe_hash

    @property
    def watermark(self) -> int:
        """Number of events of the history it was made from."""
        return self.manifest.recipe.checkpoint.watermark

    @property
    def path(self) -> str:
        """Its folder: a path on a local disk, else relative to the lake."""
        return self._archive.storage.locate(self._archive.folder) or self._archive.folder

    @property
    def lake(self) -> str:
        """The URI of the lake that it lies in."""
        return self._archive.storage.uri

    def arrow(self) -> pa.Table:
        """The rows in key order as a pyarrow table.

        Raises:
            CorruptionError: A stored file is missing or not what was written, or the rows do not
                have the manifest's content hash.
        """
        if self._table is None:
            self._table = self._archive.rows()
        return self._table

    def polars(self) -> pl.DataFrame:
        """The rows in key order as a Polars frame."""
        return pl.DataFrame(self.arrow())

    def pandas(self) -> Any:
        """The rows in key order as a pandas frame.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        return to_pandas(self.arrow())

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows for any library that speaks Arrow."""
        return self.arrow().__arrow_c_stream__(requested_schema)

    @property
    def provenance(self) -> dict[str, Any]:
        """What is not identity: when, where and with which versions it was built, the ``way`` it was, and its files.

        Raises:
            CorruptionError: It is missing or damaged.
        """
        return self._archive.provenance()

    def explain(self, key: Any, column: str | None = None) -> Explanation:
        """The events behind a row, or behind one value of it; see ``Lake.explain``."""
        archive, snapshot = self.opened()
        return snapshot.read(lambda history: explain(archive, history, key, column))

    def entity(self) -> str | None:
        """The column that names the entity of each row; None where nothing was declared, or the rows do not hold it."""
        features = features_of(self._archive)
        if features is not None:
            return features.spine_entity
        by = self.provenance.get("by")
        return by if by in dict(self.manifest.schema) else None

    def split(
        self,
        *,
        by: str,
        test: float = 0.2,
        column: str | None = None,
        salt: str = "eventlake",
        since: datetime | str | None = None,
        gap: Length | None = None,
    ) -> Split:
        """The rows in two parts, by a rule that gives the same anywhere and is written down in ``Split.rule``.

        By time, training rows whose labels look into the test period would tell the model what
        happens there. They are in neither part, but in ``Split.left_out``.

        Args:
            by: ``entity``: all rows of one fall to the same part, by a hash of its name; ``time``:
                the rows from an instant on test.
            test: The share of the test, between 0 and 1; by entity it is that of the entities,
                nearly.
            column: That names the entity, or holds the instants; None for those of declared
                features.
            salt: Another one gives another split by entity.
            since: By time, the first instant of the test, instead of a share.
            gap: By time, how long before the first row of the test a training row must lie at
                least, such as ``90d``; ``0d`` keeps them all. None for the longest horizon of the
                labels that the spine declares.

        Raises:
            InvalidInputError: An argument cannot be.
        """
        if gap is not None and by != TIME:
            message = f"gap={gap!r}: a gap is between earlier rows and later rows, and this split is by {by!r}"
            raise InvalidInputError(message, f"leave it out, or split(by={TIME!r}).", gap=gap)
        if column is None:
            features = features_of(self._archive)
            named = (
                (features.spine_entity if by == ENTITY else features.cutoff)
                if features
                else self.entity()
            )
            if named is None:
                message = f"which column of {self.name} is the {by} is not declared"
                raise InvalidInputError(message, "name it with column=.")
            column = named
        wide = (self._longest_horizon() if gap is None else gap_of(gap)) if by == TIME else 0
        return split(
            self.polars(),
            self.manifest_hash,
            by=by,
            column=column,
            test=test,
            salt=salt,
            since=since,
            gap=wide,
        )

    def _longest_horizon(self) -> int:
        """How far the labels look ahead, in microseconds; 0 if there are none."""
        return max(
            (horizon for spine in self.event_spines() for _, _, horizon in spine.labels), default=0
        )

    def event_spines(self) -> list[EventSpine]:
        """The spines of events that its rows were made for, as they were declared; empty if the spine was given as rows.

        Raises:
            CorruptionError: The provenance is damaged.
        """
        return event_spines_of(self._archive)

    def labels(self) -> tuple[str, ...]:
        """The columns that are declared as labels of the spine, and look ahead of the cutoff.

        Of a SQL projection they are the columns that are called as a label of the spine is, in
        whatever case.

        Raises:
            CorruptionError: The provenance is damaged.
        """
        return labels_of(self._archive)

    def x(self, *, drop: Sequence[str] = (), categories: Any = None) -> Any:
        """What a model is given: a pandas frame of numbers and categories, in the dataset's order.

        Numbers, booleans and decimals are float64, null being NaN; a decimal is the nearest double.
        Text is an unordered categorical. Its categories are the values that are there, sorted, so
        codes differ between datasets; a model that was trained on ``x_train`` is given
        ``dataset.x(categories=x_train)``. The key, the entity, the cutoff and all labels of a spine
        of events are left out.

        Args:
            drop: Columns that are no features either.
            categories: The frame that was made of the training rows, or lists of values by column.
                A value that is not among them is missing, as null is.

        Raises:
            InvalidInputError: There is no such column, a feature is neither number nor text, or has
                no categories where some are given.
            MissingDependencyError: pandas is not installed.
        """
        return matrix(self.polars(), self._not_features(drop), categories)

    def xy(
        self,
        target: str,
        *,
        drop: Sequence[str] = (),
        categories: Any = None,
        unknown: str = "refuse",
    ) -> tuple[Any, Any]:
        """What a model is trained on: the frame of ``x``, and the target beside it.

        Args:
            target: The column to be predicted.
            drop: Columns that are no features either.
            categories: As for ``x``.
            unknown: What becomes of rows whose target is null: ``refuse`` them, or ``drop`` them.

        Raises:
            InvalidInputError: There is no such column, the target is null somewhere, or a feature
                is neither number nor text.
            MissingDependencyError: pandas is not installed.
        """
        rows = target_of(self.polars(), target, unknown)
        return matrix(rows, {target, *self._not_features(drop)}, categories), series_of(
            rows, target
        )

    def _not_features(self, drop: Sequence[str]) -> set[str]:
        """The columns that no model is given."""
        features = features_of(self._archive)
        if isinstance(drop, str):
            message = f"expected drop as a list of columns, found {drop!r}"
            raise InvalidInputError(message, f"drop=[{drop!r}].")
        own = (features.spine_entity, features.cutoff) if features else ()
        spines = self.event_spines()
        of_spine = columns_called(
            self._archive, {name for spine in spines for name in (spine.by, CUTOFF)}
        )
        return {*drop, *self.labels(), *self.manifest.recipe.key, *own, *of_spine}

    def opened(self) -> tuple[Archive, Snapshot]:
        """Its folder, and the history that it was made from, under the schemas of then."""
        recipe = self.manifest.recipe
        history = self._pin(recipe.checkpoint).with_schemas(recipe.schemas)
        return self._archive, Snapshot(history)

    def keep_for_lock(self, *, new: bool = True) -> None:
        """Remembers in the lake that a ``dataset.lock`` names this dataset: retention leaves its rows alone.

        Args:
            new: Whether the lock was just written. Then it takes the place of those before it:
                earlier datasets of this name are let go, unless they are tagged. Otherwise nothing
                is let go, and nothing is written if it is remembered already.
        """
        keep_for_lock(self._archive.storage, self.name, self.manifest_hash, release=new)

    def card(self) -> Card:
        """What to show."""
        recipe = self.manifest.recipe
        facts: tuple[tuple[str, str], ...] = (
            (
                "shape",
                f"{counted(self.manifest.rows, 'row')}, {counted(len(self.manifest.schema), 'column')}, key {', '.join(recipe.key)}",
            ),
            ("made from", str(recipe.checkpoint)),
            ("level", f"{recipe.level} ({recipe.check})"),
            ("engine", f"{recipe.engine} {recipe.engine_version}"),
            ("content_hash", self.content_hash),
            ("recipe_hash", self.recipe_hash),
            ("manifest_hash", self.manifest_hash),
            ("path", self.path),
        )
        facts += (("rows", self._origin),) if self._origin else ()
        provenance = self.provenance
        events, missed = provenance.get("hindsight_events"), provenance.get("hindsight_left_out", 0)
        if events is not None:
            seen = f"{provenance.get('hindsight_rows', 0):,} of {counted(self.manifest.rows, 'row')} see {counted(events, 'event')} too early"
            facts += (
                ("hindsight", seen + f", and miss {missed:,} known at the cutoff" * bool(missed)),
            )
        if corrected := provenance.get("spine_hindsight_rows"):
            facts += (
                (
                    "hindsight of the spine",
                    f"{counted(corrected, 'row')} with corrections that were recorded later",
                ),
            )
        rows = tuple((name, kind) for name, kind in self.manifest.schema)
        return Card(f"dataset {self.name}", facts, ("column", "type"), rows)

    def __repr__(self) -> str:
        """``Dataset(name, manifest hash, rows)``."""
        return f"Dataset({self.name!r}, {self.manifest_hash[: layout.SHORT_HASH]!r}, rows={self.manifest.rows})"
