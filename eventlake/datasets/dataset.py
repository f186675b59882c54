"""A handle on a published dataset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.core import layout
from eventlake.core.card import Card, Shown, counted
from eventlake.core.documents.dataset import DatasetManifest
from eventlake.core.documents.provenance import is_uncounted
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.inspecting.explain import explain
from eventlake.datasets.inspecting.explanation import Explanation
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
from eventlake.public_calls import verbs

Pin = Callable[[Checkpoint], PinnedHistory]
"""Opens the history of a checkpoint of the lake."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a build did to return a handle.

    Attributes:
        computed: Whether this build computed them; otherwise an earlier one stored them.
        equal_to: What they were compared with; empty if with nothing.
    """

    computed: bool
    equal_to: str = ""

    def __str__(self) -> str:
        """As a card shows it."""
        if self.computed:
            return "computed by this build" + f", and equal to {self.equal_to}" * bool(
                self.equal_to
            )
        return (
            "found as an earlier build stored them; "
            "nothing was computed (--force computes them again and compares)"
        )


@verbs
class Dataset(Shown):
    """The rows that a projection made at a watermark, and the manifest that names them.

    Rows are read, and their hash is checked, on first use.
    """

    def __init__(
        self,
        archive: Archive,
        pin: Pin,
        rows: pa.Table | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        self._archive = archive
        self._pin = pin
        self._table = rows
        self._outcome = outcome

    @property
    def computed(self) -> bool:
        """Whether the build that returned this handle computed the rows rather than reused them."""
        return self._outcome is not None and self._outcome.computed

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
        """SHA-256 of the manifest, hex: the dataset's identity, to be recorded with a model."""
        return self.manifest.manifest_hash

    @property
    def content_hash(self) -> str:
        """Hash of the rows, hex."""
        return self.manifest.content_hash

    @property
    def recipe_hash(self) -> str:
        """Hash of the recipe, hex: everything that decides the rows."""
        return self.manifest.recipe.recipe_hash

    @property
    def watermark(self) -> int:
        """Number of events of the history from which it was built."""
        return self.manifest.recipe.checkpoint.watermark

    @property
    def path(self) -> str:
        """The dataset's folder: a path on a local disk, else relative to the lake."""
        return self._archive.storage.locate(self._archive.folder) or self._archive.folder

    @property
    def lake(self) -> str:
        """The URI of its lake."""
        return self._archive.storage.uri

    def arrow(self) -> pa.Table:
        """The rows in key order as a pyarrow table.

        Raises:
            CorruptionError: A stored file is missing or changed, or the rows do not have the
                manifest's content hash.
            NotFoundError: The rows were pruned.
        """
        if self._table is None:
            # Read and hashed once; a dataset never changes.
            self._table = self._archive.rows()
        return self._table

    def polars(self) -> pl.DataFrame:
        """The rows in key order as a Polars frame."""
        return pl.DataFrame(self.arrow())

    def pandas(self) -> Any:
        """The rows in key order as a pandas frame.

        Raises:
            CorruptionError: See ``arrow``.
            MissingDependencyError: pandas is not installed.
        """
        return to_pandas(self.arrow())

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows for any library that reads Arrow streams."""
        return self.arrow().__arrow_c_stream__(requested_schema)

    @property
    def provenance(self) -> dict[str, Any]:
        """How it was built: when, where, with which versions, by which strategy, and its files.

        It is not part of the identity. ``built_at`` is in microseconds since the epoch, UTC;
        ``way`` is the strategy.

        Raises:
            CorruptionError: It is missing or damaged.
        """
        return self._archive.provenance()

    def explain(self, key: Any, column: str | None = None) -> Explanation:
        """Find the events behind a row, or behind one of its values; see ``Lake.explain``."""
        archive, snapshot = self.opened()
        return snapshot.read(lambda history: explain(archive, history, key, column))

    def entity(self) -> str | None:
        """The column of the entity; None if none was declared, or the rows do not have it."""
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
        """Split the rows into training and test rows by a reproducible rule; see ``Split.rule``.

        By time, a training row whose label looks into the test period would leak what happens
        there. Such rows are in ``Split.left_out``.

        Args:
            by: ``entity`` puts all rows of an entity into the same part, by a hash of its name.
                ``time`` tests on the rows from an instant on.
            test: The share of the test, strictly between 0 and 1. By entity it is the approximate
                share of entities.
            column: The column of the entity or of the instants. Defaults to the one that features
                or ``by=`` declare.
            salt: Changes the split by entity.
            since: By time, the first instant of the test (inclusive), instead of a share.
            gap: By time, the minimum distance of a training row from the first test row, such as
                ``90d``; ``0d`` keeps all rows. Defaults to the longest horizon of the spine's
                labels.

        Raises:
            InvalidInputError: An argument is invalid.
        """
        if gap is not None and by != TIME:
            message = (
                f"gap={gap!r}: a gap is between earlier rows and later rows, "
                f"and this split is by {by!r}"
            )
            raise InvalidInputError(message, f"leave it out, or split(by={TIME!r}).", gap=gap)
        if column is None:
            features = features_of(self._archive)
            if features is None:
                named = self.entity()
            else:
                named = features.spine_entity if by == ENTITY else features.cutoff
            if named is None:
                message = f"dataset {self.name} does not declare which column is the {by}"
                raise InvalidInputError(message, "name it with column=.")
            column = named
        gap_us = 0
        if by == TIME:
            gap_us = self._longest_horizon() if gap is None else gap_of(gap)
        return split(
            self.polars(),
            self.manifest_hash,
            by=by,
            column=column,
            test=test,
            salt=salt,
            since=since,
            gap=gap_us,
        )

    def _longest_horizon(self) -> int:
        """The longest horizon of the labels in microseconds; 0 without labels."""
        return max(
            (horizon for spine in self.event_spines() for _, _, horizon in spine.labels), default=0
        )

    def event_spines(self) -> list[EventSpine]:
        """The declared event spines of the dataset; empty if its spine was given as rows.

        Raises:
            CorruptionError: The provenance is damaged.
        """
        return event_spines_of(self._archive)

    def labels(self) -> tuple[str, ...]:
        """The columns that the spine declares as labels, which look ahead of the cutoff.

        In a SQL projection these are the columns with the name of a label, regardless of case.

        Raises:
            CorruptionError: The provenance is damaged.
        """
        return labels_of(self._archive)

    def x(self, *, drop: Sequence[str] = (), categories: Any = None) -> Any:
        """The features as a pandas frame of numbers and categories, in the dataset's row order.

        Numbers, booleans and decimals become float64; null becomes NaN, a decimal the nearest
        double. Text becomes an unordered categorical. Its categories are the sorted distinct
        values, so codes differ between datasets: pass the training frame of a model as
        ``categories``. The key, the entity, the cutoff and all labels are left out.

        Args:
            drop: Further columns to leave out.
            categories: The frame of the training rows, or lists of values by column. Other values
                are missing, like null.

        Raises:
            InvalidInputError: There is no such column, or a feature is neither number nor text, or
                has no categories although some are given.
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
        """The features and the target: the frame of ``x``, and a pandas series in the same order.

        Args:
            target: The column to predict.
            drop: Further columns to leave out.
            categories: As for ``x``.
            unknown: What to do with rows whose target is null: ``refuse`` raises an error, ``drop``
                leaves them out.

        Raises:
            InvalidInputError: There is no such column, a target is null, or a feature is neither
                number nor text.
            MissingDependencyError: pandas is not installed.
        """
        rows = target_of(self.polars(), target, unknown)
        return matrix(rows, {target, *self._not_features(drop)}, categories), series_of(
            rows, target
        )

    def _not_features(self, drop: Sequence[str]) -> set[str]:
        """The columns that are not features."""
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
        """The archive, and the snapshot from which it was built, under the schemas of then."""
        recipe = self.manifest.recipe
        history = self._pin(recipe.checkpoint).with_schemas(recipe.schemas)
        return self._archive, Snapshot(history)

    def keep_for_lock(self, *, new: bool = True) -> None:
        """Record in the lake that a ``dataset.lock`` names this dataset; ``prune`` keeps it then.

        Args:
            new: Whether the lock was just written and replaces earlier ones: their datasets of this
                name are released, unless they are tagged. Otherwise nothing is released, and
                nothing is written if the lock is recorded already.
        """
        keep_for_lock(self._archive.storage, self.name, self.manifest_hash, release=new)

    def card(self) -> Card:
        """The dataset as a card."""
        recipe = self.manifest.recipe
        rows, columns = (
            counted(self.manifest.rows, "row"),
            counted(len(self.manifest.schema), "column"),
        )
        facts: tuple[tuple[str, str], ...] = (
            ("shape", f"{rows}, {columns}, key {', '.join(recipe.key)}"),
            ("made from", str(recipe.checkpoint)),
            ("level", f"{recipe.level} ({recipe.check})"),
            ("engine", f"{recipe.engine} {recipe.engine_version}"),
            ("content_hash", self.content_hash),
            ("recipe_hash", self.recipe_hash),
            ("manifest_hash", self.manifest_hash),
            ("path", self.path),
        )
        facts += (("rows", str(self._outcome)),) if self._outcome else ()
        provenance = self.provenance
        events, missed = provenance.get("hindsight_events"), provenance.get("hindsight_left_out", 0)
        if events is not None:
            seen = (
                f"{provenance.get('hindsight_rows', 0):,} of {rows} "
                f"see {counted(events, 'event')} too early"
            )
            seen += f", and miss {missed:,} known at the cutoff" if missed else ""
            facts += (("hindsight", seen),)
        elif is_uncounted(provenance):
            facts += (("hindsight", "not counted; el.check_leakage(dataset) counts it"),)
        if corrected := provenance.get("spine_hindsight_rows"):
            facts += (
                (
                    "hindsight of the spine",
                    f"{counted(corrected, 'row')} with corrections that were recorded later",
                ),
            )
        schema = tuple((name, kind) for name, kind in self.manifest.schema)
        return Card(f"dataset {self.name}", facts, ("column", "type"), schema)

    def __repr__(self) -> str:
        """``Dataset(name, manifest hash, rows)``."""
        short_hash = self.manifest_hash[: layout.SHORT_HASH]
        return f"Dataset({self.name!r}, {short_hash!r}, rows={self.manifest.rows})"
