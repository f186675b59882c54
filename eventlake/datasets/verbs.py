"""The operations on datasets, as functions of a ``LakeHandle``; ``Lake`` documents them."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl

from eventlake.core import counts
from eventlake.core.card import counted
from eventlake.core.documents.dataset import Parameter
from eventlake.datasets.auditing.predictions import (
    EVENT_TYPE,
    PredictionExplanation,
    key_in,
    prediction_events,
)
from eventlake.datasets.auditing.predictions import SCHEMA as PREDICTION_SCHEMA
from eventlake.datasets.building.buckets import Executor
from eventlake.datasets.building.build import Built, build
from eventlake.datasets.building.reproduce import environment_command, reproduce
from eventlake.datasets.building.request import MOST_BUCKETS, PERTURB, Request
from eventlake.datasets.comparing.diff import diff
from eventlake.datasets.comparing.diff_report import DatasetDiff
from eventlake.datasets.dataset import Dataset, Outcome
from eventlake.datasets.definitions.dataset_toml import Definition
from eventlake.datasets.definitions.lock import check_buildable, pinned_by
from eventlake.datasets.handle import LakeHandle
from eventlake.datasets.inspecting.explain import explain
from eventlake.datasets.inspecting.explanation import Explanation
from eventlake.datasets.reproduction import Reproduction
from eventlake.datasets.store import tags as stored_tags
from eventlake.datasets.store.archive import open_archive
from eventlake.datasets.store.find import find, find_named, folders
from eventlake.datasets.store.removal import Holders, check_not_removed, remove
from eventlake.datasets.store.retention import prune
from eventlake.errors import EventlakeError, InvalidInputError, NotFoundError
from eventlake.features.feature_set import FeatureSet
from eventlake.history.pinned import PinnedHistory
from eventlake.history.resolve import At
from eventlake.log.appending.receipt import Receipt
from eventlake.log.maintaining.garbage import Garbage
from eventlake.projections.projection import Projection
from eventlake.storage import ObjectMissingError, Storage
from eventlake.visible import warn


def build_dataset(
    lake: LakeHandle,
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
    incremental: bool | None = None,
    executor: Executor | None = None,
    executor_for: Callable[[Storage, int], Executor],
) -> Dataset:
    """See ``Lake.build``."""
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
    if executor is not None:
        _check_executor(executor, bucketed=workers > 1 or buckets is not None)
    buckets = None if buckets is None else counts.count(buckets, "buckets", 1, MOST_BUCKETS)
    request = Request(
        spine=spine,
        engine=engine,
        expected=expected,
        perturb=check == PERTURB,
        force=force,
        workers=workers,
        executor=executor or executor_for(lake.storage, workers),
        buckets=buckets,
        incremental=incremental,
        pinned=lake.pin,
        lease=lake.lease,
    )
    definition = projection if isinstance(projection, Definition) else None
    ready = (
        projection.projection(engine) if isinstance(projection, Definition) else projection
    ).with_parameters(parameters)

    def built(history: PinnedHistory) -> Dataset:
        pinned = history.with_schemas(lock.schemas) if lock else history
        given = definition.spine(pinned) if definition is not None and spine is None else spine
        return _dataset_of(lake, build(ready, pinned, replace(request, spine=given)))

    return lake.snapshot(lock.checkpoint if lock else at).read(built)


def _check_executor(executor: Any, *, bucketed: bool) -> None:
    if not callable(getattr(executor, "run", None)):
        message = f"expected executor as an object with a method run(storage, tasks): {executor!r}"
        raise InvalidInputError(message, "workers=2 builds in local processes.")
    if not bucketed:
        message = "an executor computes buckets, but this build has none"
        raise InvalidInputError(message, "give buckets=16 with it.")


def _dataset_of(lake: LakeHandle, built: Built) -> Dataset:
    if not built.computed:
        return Dataset(built.archive, lake.pin, outcome=Outcome(computed=False))
    outcome = Outcome(computed=True, equal_to=built.equal_to or "")
    return Dataset(built.archive, lake.pin, built.rows, outcome)


def reproduce_dataset(lake: LakeHandle, hash_prefix: str, *, trust: bool = False) -> Reproduction:
    """See ``Lake.reproduce``."""
    archive = find_named(lake.storage, hash_prefix)
    found = lake.snapshot(archive.manifest.recipe.checkpoint).read(
        lambda history: reproduce(history, archive, trust=trust)
    )
    return Reproduction(
        Dataset(
            archive, lake.pin, found.rows, None if found.rows is None else Outcome(computed=True)
        ),
        found.rows is not None,
        found.content_hash,
        found.differences,
        found.causes,
        environment_command(archive.provenance()),
    )


def diff_datasets(lake: LakeHandle, a: str, b: str) -> DatasetDiff:
    """See ``Lake.diff``."""
    storage = lake.storage
    return diff(find_named(storage, a), find_named(storage, b), lake.pin)


def explain_row(
    lake: LakeHandle, hash_prefix: str, key: Any, column: str | None = None
) -> Explanation:
    """See ``Lake.explain``."""
    archive = find_named(lake.storage, hash_prefix)
    recipe = archive.manifest.recipe
    snapshot = lake.snapshot(recipe.checkpoint)
    return snapshot.read(
        lambda history: explain(archive, history.with_schemas(recipe.schemas), key, column)
    )


def record_predictions(
    lake: LakeHandle, dataset: Dataset, frame: Any, *, model: str | bytes | os.PathLike[str]
) -> Receipt:
    """See ``Lake.record_predictions``."""
    events = prediction_events(dataset, frame, model)
    # Registered first, so that the append checks the payloads.
    lake.register(EVENT_TYPE, PREDICTION_SCHEMA)
    return lake.append(events, duplicates="skip_identical")


def explain_prediction(
    lake: LakeHandle, event_id: str, column: str | None = None
) -> PredictionExplanation:
    """See ``Lake.explain_prediction``."""
    row = lake.snapshot(None).collected(
        lambda snapshot: snapshot.table(EVENT_TYPE).filter(pl.col("id") == event_id)
    )
    if not row.height:
        message = f"there is no prediction {event_id}"
        raise NotFoundError(message, f"it is the id of an event of the type {EVENT_TYPE}.")
    recorded = row.row(0, named=True)
    key = key_in(event_id, recorded["key"])
    explanation = explain_row(lake, recorded["dataset"], key, column)
    return PredictionExplanation(
        event_id,
        recorded["model"],
        recorded["prediction"],
        dataset(lake, recorded["dataset"]),
        explanation,
    )


def dataset(lake: LakeHandle, hash_prefix: str) -> Dataset:
    """See ``Lake.dataset``."""
    return Dataset(find_named(lake.storage, hash_prefix), lake.pin)


def datasets(lake: LakeHandle, hash_prefix: str | None = None) -> list[Dataset]:
    """See ``Lake.datasets``."""
    storage = lake.storage
    found = []
    for folder in folders(storage):
        try:
            dataset = Dataset(open_archive(storage, folder), lake.pin)
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


def tag(lake: LakeHandle, reference: str, name: str) -> None:
    """See ``Lake.tag``."""
    archive = find_named(lake.storage, reference)
    stored_tags.tag(lake.storage, name, archive.manifest.manifest_hash)
    if archive.is_marked() and not archive.attempts():
        # A removal that began earlier read the tags before this one was written.
        stored_tags.untag(lake.storage, name)
        check_not_removed(lake.storage, archive.manifest.manifest_hash)


def untag(lake: LakeHandle, name: str) -> None:
    """See ``Lake.untag``."""
    stored_tags.untag(lake.storage, name)


def tags(lake: LakeHandle) -> dict[str, str]:
    """See ``Lake.tags``."""
    return stored_tags.tags(lake.storage)


def prune_datasets(
    lake: LakeHandle,
    *,
    older_than: timedelta,
    keep_last: int = 1,
    datasets: bool = False,
    dry_run: bool = True,
) -> Garbage:
    """See ``Lake.prune``."""
    held = _holders(lake) if datasets else None
    return prune(
        lake.storage,
        older_than,
        keep_last,
        time.time_ns() // 1000,
        dry_run=dry_run,
        whole=datasets,
        held=held,
    )


def remove_dataset(lake: LakeHandle, reference: str) -> Garbage:
    """See ``Lake.remove_dataset``."""
    # Not by name, which may stand for another dataset after the next build.
    archive = find(lake.storage, reference)
    return Garbage(
        tuple(remove(archive, _holders(lake), "of a dataset that was removed")), deleted=True
    )


def _holders(lake: LakeHandle) -> Holders:
    """What holds datasets: tags, locks and recorded predictions. Predictions are read once."""
    predicted: dict[str, int] = {}
    if EVENT_TYPE in lake.schemas():
        counted_ = lake.snapshot(None).collected(
            lambda snapshot: snapshot.table(EVENT_TYPE, ["dataset"]).group_by("dataset").len()
        )
        predicted = dict(counted_.iter_rows())

    def holders() -> dict[str, list[str]]:
        found = stored_tags.holders(lake.storage)
        for manifest_hash, number in predicted.items():
            found.setdefault(manifest_hash, []).append(counted(number, "prediction"))
        return found

    return holders
