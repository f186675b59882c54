"""Building a dataset: run the projection at a pinned history, hash the rows, publish them."""

import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from eventlake.core.documents.dataset import ALLOW_LIST, FORMAT, DatasetManifest
from eventlake.datasets.building.build_once import (
    build_lease,
    dataset_statement,
    query_statement,
)
from eventlake.datasets.building.compute import compute
from eventlake.datasets.building.earlier_builds import EarlierBuilds
from eventlake.datasets.building.environment import environment
from eventlake.datasets.building.given_spine import given_spine, spine_of_events
from eventlake.datasets.building.perturb import check_perturbed
from eventlake.datasets.building.ready import BuildResult, ReadyBuild, ready
from eventlake.datasets.building.request import Request
from eventlake.datasets.building.reuse_features import cutoffs_of
from eventlake.datasets.store.archive import EVENT_SPINE, Archive
from eventlake.datasets.store.build_index import Cutoffs
from eventlake.datasets.store.publish import publish
from eventlake.errors import EventlakeError, NotIdenticalError
from eventlake.features.spines.spine import EventSpine
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.computation import Computation
from eventlake.projections.kinds import kind_of
from eventlake.projections.projection import Projection
from eventlake.projections.rows import declared_types, validate
from eventlake.trust import LAKE, OWN
from eventlake.visible import warn

_LOG = logging.getLogger(__name__)

_UNMATCHED = "unmatched"
"""The provenance key of the event types of which no entity of the spine has an event."""


@dataclass(frozen=True, slots=True)
class Built:
    """A published dataset.

    Attributes:
        archive: The dataset's folder.
        rows: The rows that this build computed; None if it reused a dataset.
        equal_to: What the computed rows were compared with, and equal; None without a comparison.
    """

    archive: Archive
    rows: pa.Table | None = None
    equal_to: str | None = None


def build(projection: Projection, history: PinnedHistory, request: Request) -> Built:
    """Build and publish a dataset, or reuse the one that its recipe made before.

    If anything fails, nothing is published.

    Args:
        projection: What to build.
        history: The events to build it from.
        request: How to build it.

    Raises:
        NotIdenticalError: The content hash is not the expected one, or differs under other run
            conditions or from an earlier build.
        InvalidProjectionError: The projection cannot be built as declared, or not on the requested
            engine.
        SchemaMismatchError: The rows break the declared schema.
        CorruptionError: A segment of the history is damaged.
    """
    projection = kind_of(projection).on_engine(projection, request.engine)
    spine, facts = _spine(projection, history, request.spine)
    computation = Computation(projection, history, spine, declared_types(projection.schema))
    kind_of(projection).check_spine(computation)
    return _reuse_or_compute(replace(ready(computation), spine_facts=facts), request)


def _reuse_or_compute(ready_build: ReadyBuild, request: Request) -> Built:
    computation, recipe = ready_build.computation, ready_build.recipe
    storage = computation.history.storage
    earlier = EarlierBuilds(storage, recipe, computation.history.trust, _entities(computation))
    # An unproven projection may make other rows each time: nothing is reused or compared.
    if computation.projection.level == "unproven":
        return _compute_and_publish(ready_build, request, earlier, None)
    if request.force:
        return _compute_and_publish(ready_build, request, earlier, earlier.of_recipe())
    with build_lease(storage, recipe, earlier.of_recipe, request.lease) as archive:
        if archive is None:
            return _compute_and_publish(ready_build, request, earlier, None)
        return _reuse(ready_build, request, archive)


def _spine(
    projection: Projection, history: PinnedHistory, given: Any
) -> tuple[pa.Table | None, dict[str, Any]]:
    """The rows of a spine, and what the provenance records about an event spine."""
    if not isinstance(given, EventSpine):
        return None if given is None else given_spine(given), {}
    declared = given.under(kind_of(projection).spine_known(projection))
    rows, early = spine_of_events(declared, history)
    return rows, {EVENT_SPINE: declared.document(), **early}


def _reuse(ready_build: ReadyBuild, request: Request, archive: Archive) -> Built:
    """Reuse a dataset, checked as if it were new: lock, schema or ``check`` may be other ones."""
    if not _is_spine_recorded(ready_build, archive):
        _record_spine(ready_build, archive)
    projection = ready_build.computation.projection
    # The recipe has the hash of this caller's code, so the archived code is the same.
    OWN.ledger.note([query_statement(archive.manifest.manifest_hash)])
    _check_expected(ready_build, request, archive.manifest.content_hash)
    if projection.schema is not None:
        validate(projection, archive.rows(), archive.manifest.content_hash)
    if request.perturb:
        check_perturbed(ready_build.computation, archive.rows())
    if archive.provenance().get(_UNMATCHED):
        _warn_unmatched(ready_build, archive.rows())
    return Built(archive)


def _warn_unmatched(ready_build: ReadyBuild, rows: pa.Table) -> list[str]:
    """Warn of each event type of which no entity of the spine has an event, and return them."""
    found = ready_build.kind.unmatched(ready_build.computation, rows)
    for message in found.values():
        warn(message)
    return sorted(found)


def _is_spine_recorded(ready_build: ReadyBuild, archive: Archive) -> bool:
    """Whether some provenance of the dataset has this declaration of the spine."""
    return (
        not ready_build.spine_facts
        or ready_build.spine_facts[EVENT_SPINE] in archive.event_spines()
    )


def _record_spine(ready_build: ReadyBuild, archive: Archive) -> None:
    """Publish the dataset again with this declaration of its spine in the provenance.

    The same rows may have been given as a frame before, or declared in another way.
    """
    rows, noted = archive.rows(), {**archive.provenance(), **ready_build.spine_facts}
    # Reading a provenance adds the folder of its attempt, which is not stored.
    noted.pop("attempt")
    publish(
        archive.storage,
        archive.manifest,
        rows=rows,
        spine=ready_build.computation.spine,
        sources=ready_build.computation.projection.sources,
        provenance=noted,
        rewrite=True,
    )


def _compute_and_publish(
    ready_build: ReadyBuild, request: Request, earlier: EarlierBuilds, before: Archive | None
) -> Built:
    started = time.time_ns() // 1000
    computation, projection = ready_build.computation, ready_build.computation.projection
    history = computation.history
    if ready_build.recipe.check == ALLOW_LIST:
        ready_build.kind.check_exact(computation)
    built = compute(ready_build, request, earlier)
    manifest = built.manifest
    _check_expected(ready_build, request, manifest.content_hash)
    if before is not None:
        _check_same(before, manifest)
    # Everything that may refuse the rows comes before they are published.
    validate(projection, built.rows, manifest.content_hash)
    if request.perturb:
        check_perturbed(computation, built.rows)
    untrusted = (
        _compare_with_untrusted(ready_build, earlier, built)
        if before is None and projection.level != "unproven"
        else None
    )
    unmatched = _warn_unmatched(ready_build, built.rows)
    provenance = {
        **_provenance(history, started),
        **built.how,
        **built.hindsight,
        **ready_build.spine_facts,
        **({_UNMATCHED: unmatched} if unmatched else {}),
        **ready_build.kind.provenance(computation),
        **({"by": projection.by, "spine_by": projection.spine_entity} if projection.by else {}),
    }
    # A damaged dataset of the same hash is stored again.
    replaces = before is not None and not (
        _is_intact(before) and _is_spine_recorded(ready_build, before)
    )
    archive = publish(
        history.storage,
        manifest,
        rows=built.rows,
        spine=computation.spine,
        sources=projection.sources,
        provenance=provenance,
        rewrite=replaces or (untrusted is not None and not _is_intact(untrusted)),
    )
    if not history.trust.believes:
        history.trust.ledger.note([dataset_statement(manifest.manifest_hash)])
    OWN.ledger.note([query_statement(manifest.manifest_hash)])
    if projection.level != "unproven":
        # After publishing, because the note says that the dataset exists.
        earlier.add(archive, _cutoffs(computation))
    if request.expected is not None:
        return Built(archive, built.rows, "what the lock pins")
    return Built(archive, built.rows, None if before is None else "what an earlier build stored")


def _cutoffs(computation: Computation) -> Cutoffs | None:
    """The first and the last cutoff of declared features, by which a later build finds them."""
    if computation.spine is None or not kind_of(computation.projection).by_row:
        return None
    return cutoffs_of(computation.spine, computation)


def _entities(computation: Computation) -> pa.ChunkedArray | None:
    """The entities of declared features, by which a later build finds them as well."""
    spine, projection = computation.spine, computation.projection
    if spine is None or not kind_of(projection).by_row:
        return None
    return spine.column(projection.spine_entity)


def _check_same(before: Archive, now: DatasetManifest) -> None:
    then = before.manifest.content_hash
    if then == now.content_hash:
        return
    message = (
        f"dataset {now.recipe.name}: the same recipe made other rows before: content hash {then} "
        f"in {before.folder}, now {now.content_hash}"
    )
    hint = (
        "nothing was published; the rows depend on something that no recipe records. "
        "'eventlake diff' shows what differs."
    )
    raise NotIdenticalError(message, hint, expected=then, found=now.content_hash)


def _compare_with_untrusted(
    ready_build: ReadyBuild, earlier: EarlierBuilds, built: BuildResult
) -> Archive | None:
    """The dataset that an untrusted writer stored for the recipe, if it equals the new one.

    It is never used, but a difference is worth a warning.
    """
    archive = earlier.of_recipe(LAKE)
    if archive is not None and archive.manifest.content_hash != built.manifest.content_hash:
        _LOG.warning(
            "%s claims that the recipe of %s made other rows than it makes here "
            "(content hash %s, here %s); it was not used",
            archive.folder,
            ready_build.recipe.name,
            archive.manifest.content_hash,
            built.manifest.content_hash,
        )
        return None
    return archive


def _is_intact(archive: Archive) -> bool:
    """Whether the stored rows can be read and are those of the manifest."""
    try:
        archive.rows()
    except EventlakeError:
        return False
    return True


def _check_expected(ready_build: ReadyBuild, request: Request, found: str) -> None:
    if request.expected not in {None, found}:
        projection = ready_build.computation.projection
        message = (
            f"dataset {projection.name} is not what its lock pins: "
            f"expected content hash {request.expected}, found {found}"
        )
        engine = f"{projection.engine} {ready_build.kind.engine_version()}"
        hint = f"nothing was published; built with {engine}; compare engine and code."
        raise NotIdenticalError(message, hint, expected=request.expected, found=found)


def _provenance(history: PinnedHistory, started: int) -> dict[str, Any]:
    """Common provenance members; ``started`` is in microseconds since the epoch."""
    return {
        "built_at": started,
        "commit_hash": history.commit_hash,
        "format": FORMAT,
        "milliseconds": time.time_ns() // 1_000_000 - started // 1000,
        **environment(),
    }
