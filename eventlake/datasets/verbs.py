"""The verbs about datasets, which a lake has beside its own."""

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import polars as pl

from eventlake.core import counts
from eventlake.core.card import counted
from eventlake.core.documents.dataset import Parameter
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.auditing.predictions import (
    EVENT_TYPE,
    PredictionExplanation,
    key_in,
    prediction_events,
)
from eventlake.datasets.auditing.predictions import SCHEMA as PREDICTION_SCHEMA
from eventlake.datasets.building.buckets import Executor
from eventlake.datasets.building.build import MOST_BUCKETS, PERTURB, Built, Request, build
from eventlake.datasets.building.reproduce import environment_command, reproduce
from eventlake.datasets.comparing.diff import diff
from eventlake.datasets.comparing.diff_report import DatasetDiff
from eventlake.datasets.dataset import COMPUTED, EQUAL, FOUND, Dataset, Pin
from eventlake.datasets.definitions.dataset_toml import Definition
from eventlake.datasets.definitions.lock import check_buildable, pinned_by
from eventlake.datasets.inspecting.explain import Explanation, explain
from eventlake.datasets.reproduction import Reproduction
from eventlake.datasets.store import tags
from eventlake.datasets.store.archive import open_archive
from eventlake.datasets.store.find import find, find_named, folders
from eventlake.datasets.store.removal import Holders, check_not_removed, remove
from eventlake.datasets.store.retention import prune
from eventlake.errors import EventlakeError, InvalidInputError, NotFoundError
from eventlake.features.feature_set import FeatureSet
from eventlake.history.pinned import PinnedHistory
from eventlake.history.resolve import At, resolve
from eventlake.history.snapshot import Snapshot
from eventlake.log.appending.receipt import Receipt
from eventlake.log.chain.chain import open_chain
from eventlake.log.maintaining.garbage import Garbage
from eventlake.projections.projection import Projection
from eventlake.schemas.version import Version
from eventlake.storage import ObjectMissingError, Storage
from eventlake.trust import Trust, trust_of
from eventlake.verbs import verbs
from eventlake.visible import warn


def _pinned(storage: Storage, trust: Trust, checkpoint: Checkpoint) -> PinnedHistory:
    return resolve(open_chain(storage, trust), checkpoint)


@verbs
class DatasetVerbs:
    """What a lake does with datasets."""

    @property
    def _storage(self) -> Storage:
        raise NotImplementedError

    @property
    def trust(self) -> str:
        """The lake's own."""
        raise NotImplementedError

    def _executor(self, workers: int) -> Executor:
        raise NotImplementedError

    def snapshot(self, at: At = None) -> Snapshot:
        """The lake's own."""
        raise NotImplementedError

    def append(self, events: Any, *, duplicates: str = ...) -> Receipt:
        """The lake's own."""
        raise NotImplementedError

    def register(self, event_type: str, schema: Any) -> Version:
        """The lake's own."""
        raise NotImplementedError

    def schemas(self) -> dict[str, tuple[Version, ...]]:
        """The lake's own."""
        raise NotImplementedError

    def build(
        self,
        projection: Projection | FeatureSet | Definition,
        *,
        at: At = None,
        spine: Any = None,
        engine: str | None = None,
        parameters: Mapping[str, Parameter] | None = None,
        locked: bool = False,
        check: str | None = None,
        force: bool = False,
        workers: int = 1,
        buckets: int | None = None,
        incremental: bool = True,
    ) -> Dataset:
        """Makes a dataset from a projection at a pinned history and publishes it, whole or not at all.

        Args:
            projection: From ``Projection.sql``, the decorator ``projection``, a ``FeatureSet``, or a dataset definition.
            at: What ``snapshot`` takes; None for the head.
            spine: Rows to look features up for, as a Polars, pandas or Arrow table, or made of events by ``el.spine.on`` and
                ``el.spine.month_ends``; archived with the dataset.
            engine: ``duckdb`` or ``polars``; None for the projection's own. Features run on both, with the same rows.
            parameters: Values for declared parameters.
            locked: Build a definition at the checkpoint its ``dataset.lock`` pins, and publish only what the lock's content hash names.
            check: ``"perturb"`` to build once more under other threads, memory limit and order of rows, and to publish only if the rows
                are the same.
            workers: Processes that share the work of declared features, or of a projection that is declared ``by=`` an entity.
            buckets: Into how many buckets its entities are put, each done and kept for itself; None for four for each of several workers.
            incremental: Whether these may begin from an earlier build of themselves: only what may have changed is computed, the rows are
                the same. Not with ``force``.
            force: Build even what the same recipe has built before, and compare; a stored dataset that is damaged is stored anew.

        Returns:
            The published dataset. The same recipe is not computed twice, by whichever process: what it made is found again, and who asks
            while another one builds it waits. That is not for datasets of the level ``unproven``.

        Raises:
            NotIdenticalError: With ``locked``, the rows are not the pinned ones; with ``check``, they are others under other
                circumstances: which columns, which rows, and what made the difference; with ``force``, they are others than before.
            InvalidProjectionError: The projection cannot be built as declared.
            SchemaMismatchError: The rows break the declared schema; nothing was published.
            CorruptionError: A segment of the history is damaged.
        """
        projection = (
            Projection.features(projection) if isinstance(projection, FeatureSet) else projection
        )
        check_buildable(projection)
        lock = pinned_by(projection, at) if locked else None
        if check not in {None, PERTURB}:
            message = f"expected check as {PERTURB!r} or None, found {check!r}"
            raise InvalidInputError(message)
        expected = lock.content_hash if lock else None
        workers = counts.count(workers, "workers", 1, MOST_BUCKETS)
        buckets = None if buckets is None else counts.count(buckets, "buckets", 1, MOST_BUCKETS)
        request = Request(
            spine=spine,
            engine=engine,
            expected=expected,
            perturb=check == PERTURB,
            force=force,
            workers=workers,
            executor=self._executor(workers),
            buckets=buckets,
            incremental=incremental,
            pinned=lambda checkpoint: self.snapshot(checkpoint).history,
        )
        definition = projection if isinstance(projection, Definition) else None
        ready = (
            projection.projection(engine) if isinstance(projection, Definition) else projection
        ).with_parameters(parameters)

        def built(history: PinnedHistory) -> Dataset:
            pinned = history.with_schemas(lock.schemas) if lock else history
            given = definition.spine(pinned) if definition is not None and spine is None else spine
            return self._built(build(ready, pinned, replace(request, spine=given)))

        return self.snapshot(lock.checkpoint if lock else at).read(built)

    @property
    def _pin(self) -> Pin:
        """Opens a checkpoint's history, for as long as a dataset is held."""
        return partial(_pinned, self._storage, trust_of(self.trust))

    def _built(self, made: Built) -> Dataset:
        if made.rows is None:
            return Dataset(made.archive, self._pin, origin=FOUND)
        origin = COMPUTED + (EQUAL.format(made.equal_to) if made.equal_to else "")
        return Dataset(made.archive, self._pin, made.rows, origin)

    def reproduce(self, hash_prefix: str, *, trust: bool = False) -> Reproduction:
        """Makes a dataset again from its manifest hash, from scratch, and compares.

        Args:
            hash_prefix: A tag, or at least 6 hex digits of the ``manifest_hash``.
            trust: Run the Python that is archived with the dataset; SQL needs no trust.

        Raises:
            NotFoundError: No such dataset.
            InvalidInputError: The prefix fits several, or Python without ``trust``.
            CorruptionError: The history, or the archived source or spine, is not what the manifest names; the file is named.
        """
        archive = find_named(self._storage, hash_prefix)
        found = self.snapshot(archive.manifest.recipe.checkpoint).read(
            lambda history: reproduce(history, archive, trust=trust)
        )
        return Reproduction(
            Dataset(archive, self._pin, found.rows, None if found.rows is None else COMPUTED),
            found.rows is not None,
            found.content_hash,
            found.differences,
            found.causes,
            environment_command(archive.provenance()),
        )

    def diff(self, a: str, b: str) -> DatasetDiff:
        """Says what lies between two datasets: history, recipe, code, schema, and rows by key.

        Rows are not read where their content hashes agree, and else as a stream, at most a part of each dataset in memory. Null equals
        null, and doubles are compared by their bits, all NaN being one. Columns of different types are not compared, and neither are
        rows whose keys differ in name, order or type, or that were given back.

        Args:
            a: The first dataset, as ``dataset`` takes it.
            b: The second; what only it has counts as added.

        Raises:
            NotFoundError: No such dataset.
            InvalidInputError: A prefix fits several.
            CorruptionError: A stored file that must be read is missing or not what was written.
        """
        storage = self._storage
        return diff(find_named(storage, a), find_named(storage, b), self._pin)

    def explain(self, hash_prefix: str, key: Any, column: str | None = None) -> Explanation:
        """The events behind a row of a dataset, or behind one value of it: those without which it would be another.

        Args:
            hash_prefix: A tag, or at least 6 hex digits of a hash.
            key: The value of the dataset's key column, a tuple of several, or a dict of the values of any columns that one row alone has;
                text stands for a value of any type.
            column: Whose value is asked about; None for the whole row.

        Raises:
            NotFoundError: No such dataset, or no such row.
            InvalidInputError: There is no such column, or it cannot be told which events a row was made of.
            CorruptionError: The history does not make the stored row again.
        """
        archive = find_named(self._storage, hash_prefix)
        recipe = archive.manifest.recipe
        snapshot = self.snapshot(recipe.checkpoint)
        return snapshot.read(
            lambda history: explain(archive, history.with_schemas(recipe.schemas), key, column)
        )

    def record_predictions(
        self, dataset: Dataset, frame: Any, *, model: str | bytes | os.PathLike[str]
    ) -> Receipt:
        """Appends what a model said of a dataset's rows, as events of the type ``prediction.made`` that name dataset, row and model.

        A prediction of the same dataset, row and model is one event: recording it again changes nothing, recording another value is
        refused. Its subject is the row's entity, where one is declared; its time is when it is recorded.

        Args:
            dataset: That the model was given.
            frame: The dataset's key columns and ``prediction``, a finite number; as a Polars, pandas or Arrow table.
            model: What names the model: its digest or name as text, or its bytes or the path of its file, which are hashed with SHA-256.

        Returns:
            Where the events stand.

        Raises:
            InvalidInputError: A column is missing, a key is not the dataset's, a prediction is no finite number.
            InvalidEventsError: Something else was recorded for the same dataset, row and model.
        """
        events = prediction_events(dataset, frame, model)
        self.register(EVENT_TYPE, PREDICTION_SCHEMA)
        return self.append(events, duplicates="skip_identical")

    def explain_prediction(self, event_id: str, column: str | None = None) -> PredictionExplanation:
        """What a recorded prediction was made of: the row of its dataset, and the events behind it, as they were then.

        Args:
            event_id: Of the prediction.
            column: The feature that is asked about; None for the whole row.

        Raises:
            NotFoundError: There is no such prediction, or its dataset is gone.
            InvalidInputError: It cannot be told which events a row was made of.
        """
        row = self.snapshot().collected(
            lambda snapshot: snapshot.table(EVENT_TYPE).filter(pl.col("id") == event_id)
        )
        if not row.height:
            message = f"there is no prediction {event_id}"
            raise NotFoundError(message, f"it is the id of an event of the type {EVENT_TYPE}.")
        said = row.row(0, named=True)
        dataset = self.dataset(said["dataset"])
        explanation = self.explain(said["dataset"], key_in(event_id, said["key"]), column)
        return PredictionExplanation(
            event_id, said["model"], said["prediction"], dataset, explanation
        )

    def dataset(self, hash_prefix: str) -> Dataset:
        """A published dataset by its tag, by at least 6 hex digits of its ``manifest_hash``, else its recipe or content hash, or by name.

        A name means the dataset of that name with the highest watermark.

        Raises:
            NotFoundError: No such dataset.
            InvalidInputError: The prefix fits several.
            CorruptionError: Its manifest is damaged.
        """
        return Dataset(find_named(self._storage, hash_prefix), self._pin)

    def datasets(self, hash_prefix: str | None = None) -> list[Dataset]:
        """The published datasets, by name, then by watermark. A damaged one is left out with a warning; ``verify`` says more.

        Args:
            hash_prefix: Only those whose manifest, recipe or content hash begins with it; None for all.
        """
        storage = self._storage
        found = []
        for folder in folders(storage):
            try:
                dataset = Dataset(open_archive(storage, folder), self._pin)
            except ObjectMissingError:
                continue  # removed since it was listed
            except EventlakeError as error:
                warn(error.message)
                continue
            if dataset.manifest.has_hash(hash_prefix or ""):
                found.append(dataset)
        return sorted(
            found, key=lambda dataset: (dataset.name, dataset.watermark, dataset.manifest_hash)
        )

    def tag(self, reference: str, name: str) -> None:
        """Gives a dataset a name, such as ``model-2025-q3``, by which it is found; retention leaves its rows alone.

        Args:
            reference: A hash, another tag or a dataset's name, as ``dataset`` takes.
            name: At most 100 letters, digits, ``.``, ``_`` and ``-``; nothing that looks like a hash. A tag is never moved.

        Raises:
            AlreadyExistsError: Another dataset has the name.
            InvalidInputError: It is no name.
            NotFoundError: No such dataset.
        """
        archive = find_named(self._storage, reference)
        tags.tag(self._storage, name, archive.manifest.manifest_hash)
        if archive.is_marked() and not archive.attempts():
            # Whoever removes it has looked for tags before this one was there.
            tags.untag(self._storage, name)
            check_not_removed(self._storage, archive.manifest.manifest_hash)

    def untag(self, name: str) -> None:
        """Takes a name away. The dataset stays.

        Raises:
            NotFoundError: There is no such tag.
        """
        tags.untag(self._storage, name)

    def tags(self) -> dict[str, str]:
        """The manifest hash by tag. ``lock-…`` are those that a ``dataset.lock`` named when it was written."""
        return tags.tags(self._storage)

    def prune(
        self,
        *,
        older_than: timedelta,
        keep_last: int = 1,
        datasets: bool = False,
        dry_run: bool = True,
    ) -> Garbage:
        """Says which datasets' rows could be given back, and deletes them if asked; never those that a tag or a lock names.

        Manifest, source, spine and provenance stay: ``reproduce`` makes the rows again, and building the recipe stores them again. With
        ``datasets`` they go too, as by ``remove_dataset``.

        Args:
            older_than: Only rows that were built longer ago.
            keep_last: How many datasets of each name keep their rows in any case, those of the highest watermarks.
            datasets: Remove the datasets themselves, those whose rows were given back before too; not those that predictions name.
            dry_run: Only say; with False, delete.

        Raises:
            InvalidInputError: An age or a number is negative.
            CorruptionError: A manifest or a tag is damaged; nothing was deleted.
        """
        held = self._holders() if datasets else None
        return prune(
            self._storage,
            older_than,
            keep_last,
            time.time_ns() // 1000,
            dry_run=dry_run,
            whole=datasets,
            held=held,
        )

    def remove_dataset(self, reference: str) -> Garbage:
        """Removes a dataset with all its files. Its hash is remembered: whoever asks for it is told when it was removed.

        Args:
            reference: A hash, as ``dataset`` takes; at least 6 hex digits.

        Returns:
            The files that were deleted.

        Raises:
            InvalidInputError: A tag, a ``dataset.lock`` or a recorded prediction names it; nothing was changed.
            NotFoundError: No such dataset.
            StorageError: The store failed; removing it again ends what was begun.
        """
        archive = find(self._storage, reference)
        return Garbage(
            tuple(remove(archive, self._holders(), "of a dataset that was removed")), deleted=True
        )

    def _holders(self) -> Holders:
        """What holds datasets: tags, locks and recorded predictions. These are looked for once."""
        predicted: dict[str, int] = {}
        if EVENT_TYPE in self.schemas():
            counted_ = self.snapshot().collected(
                lambda snapshot: snapshot.table(EVENT_TYPE, ["dataset"]).group_by("dataset").len()
            )
            predicted = dict(counted_.iter_rows())

        def holders() -> dict[str, list[str]]:
            found = tags.holders(self._storage)
            for manifest_hash, number in predicted.items():
                found.setdefault(manifest_hash, []).append(counted(number, "prediction"))
            return found

        return holders
