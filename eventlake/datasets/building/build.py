"""Building a dataset: run the projection at a pinned history, hash the rows, publish them."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from eventlake.core.card import counted
from eventlake.core.documents.dataset import ALLOW_LIST, FORMAT, DatasetManifest
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.building.buckets import Executor, InProcessExecutor, build_by_bucket
from eventlake.datasets.building.build_once import (
    build_lease,
    dataset_statement,
    made_by,
    query_statement,
    record_built,
)
from eventlake.datasets.building.environment import environment
from eventlake.datasets.building.given_spine import given_spine, spine_of_events
from eventlake.datasets.building.incremental import increment
from eventlake.datasets.building.perturb import check_perturbed
from eventlake.datasets.building.ready import (
    BuildResult,
    ReadyBuild,
    compute_in_full,
    hashed,
    ready,
)
from eventlake.datasets.store.archive import EVENT_SPINE, Archive
from eventlake.datasets.store.publish import publish
from eventlake.errors import EventlakeError, InvalidProjectionError, NotIdenticalError
from eventlake.features.look_up import ENGINES
from eventlake.features.spines.spine import EventSpine
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.computation import Computation
from eventlake.projections.kinds import kind_of
from eventlake.projections.projection import Projection
from eventlake.projections.rows import declared_types, finish, validate
from eventlake.trust import LAKE, OWN
from eventlake.visible import warn

_LOG = logging.getLogger(__name__)

_BUCKETS_A_WORKER = 4
MOST_BUCKETS = 10_000
_UNMATCHED = "unmatched"
"""Of a provenance: the event types of which no entity of the spine has an event."""
PERTURB = "perturb"
"""The check that builds once more."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a build.

    Attributes:
        spine: The caller's rows, or what makes them of the history.
        engine: Which one it must run on; None for the projection's own.
        expected: The content hash that a lock pins.
        perturb: Build once more under other circumstances, and compare.
        force: Build even what was built before.
        workers: How many share the work of a projection by entity; one is this process itself.
        executor: Runs the tasks of more than one.
        buckets: Into how many buckets its entities are put; None for some for every worker, and
            none at all for one.
        incremental: Whether it may begin from an earlier build.
        pinned: The history of an earlier checkpoint of the lake; None where nothing earlier is to
            be looked at.
    """

    spine: Any = None
    engine: str | None = None
    expected: str | None = None
    perturb: bool = False
    force: bool = False
    workers: int = 1
    executor: Executor = field(default_factory=InProcessExecutor)
    buckets: int | None = None
    incremental: bool = True
    pinned: Callable[[Checkpoint], PinnedHistory] | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A published dataset.

    Attributes:
        archive: Its files.
        rows: Those that this build computed; None if it found the dataset.
        equal_to: What the computed rows were compared with and equal; None if with nothing.
    """

    archive: Archive
    rows: pa.Table | None = None
    equal_to: str | None = None


def build(projection: Projection, history: PinnedHistory, request: Request) -> Built:
    """Makes and publishes a dataset, or finds what its recipe made before. On any error nothing is published.

    Args:
        projection: What to build.
        history: What from.
        request: How.

    Raises:
        NotIdenticalError: The rows do not have the expected content hash, or another one under
            other circumstances or at another time.
        InvalidProjectionError: The projection cannot be built as declared, or not on the engine
            that is asked for.
        SchemaMismatchError: The rows break the declared schema.
        CorruptionError: A segment of the history is damaged.
    """
    if projection.kind == "features" and request.engine in ENGINES:
        projection = replace(projection, runs_on=request.engine)
    if request.engine not in {None, projection.engine}:
        message = (
            f"projection {projection.name} runs on {projection.engine}, not on {request.engine}"
        )
        raise InvalidProjectionError(
            message,
            "SQL runs on duckdb, Python functions on polars, features on both.",
            engine=request.engine,
        )
    spine, facts = _spine(projection, history, request.spine)
    computation = Computation(projection, history, spine, declared_types(projection.schema))
    kind_of(projection).check_spine(computation)
    return _found_or_built(replace(ready(computation), spine_facts=facts), request)


def _found_or_built(work: ReadyBuild, request: Request) -> Built:
    computation, recipe = work.computation, work.recipe
    if computation.projection.level == "unproven":
        return _compute_and_publish(work, request, None)
    storage, trust = computation.history.storage, computation.history.trust
    if request.force:
        return _compute_and_publish(work, request, made_by(storage, recipe, trust))
    with build_lease(storage, recipe, lambda: made_by(storage, recipe, trust)) as archive:
        if archive is None:
            return _compute_and_publish(work, request, None)
        return _reuse(work, request, archive)


def _spine(
    projection: Projection, history: PinnedHistory, given: Any
) -> tuple[pa.Table | None, dict[str, Any]]:
    """The rows of a spine, and what the provenance says of one that is made of events."""
    if not isinstance(given, EventSpine):
        return None if given is None else given_spine(given), {}
    declared = given.under(kind_of(projection).spine_known(projection))
    rows, early = spine_of_events(declared, history)
    return rows, {EVENT_SPINE: declared.document(), **early}


def _reuse(work: ReadyBuild, request: Request, archive: Archive) -> Built:
    """What the recipe made before, looked at as if it were new: a lock, a schema or a doubt may have come since."""
    if not _is_spine_told(work, archive):
        _tell_spine(work, archive)
    projection = work.computation.projection
    OWN.ledger.note([query_statement(archive.manifest.manifest_hash)])
    _check_expected(work, request, archive.manifest.content_hash)
    if projection.schema is not None:
        validate(projection, archive.rows(), archive.manifest.content_hash)
    if request.perturb:
        check_perturbed(work.computation, archive.rows())
    if archive.provenance().get(_UNMATCHED):
        _warn_unmatched(work, archive.rows())
    return Built(archive)


def _warn_unmatched(work: ReadyBuild, rows: pa.Table) -> list[str]:
    """The event types of which no entity of the spine has an event, with a warning about each."""
    found = work.kind.unmatched(work.computation, rows)
    for message in found.values():
        warn(message)
    return sorted(found)


def _is_spine_told(work: ReadyBuild, archive: Archive) -> bool:
    """Whether a dataset's provenance says how the spine is declared."""
    return not work.spine_facts or work.spine_facts[EVENT_SPINE] in archive.event_spines()


def _tell_spine(work: ReadyBuild, archive: Archive) -> None:
    """Records how the spine of a dataset is declared, if it was built from the same rows without a declaration, or with another one."""
    rows, noted = archive.rows(), {**archive.provenance(), **work.spine_facts}
    noted.pop("attempt")
    publish(
        archive.storage,
        archive.manifest,
        rows=rows,
        spine=work.computation.spine,
        sources=work.computation.projection.sources,
        provenance=noted,
        rewrite=True,
    )


def _compute_and_publish(work: ReadyBuild, request: Request, before: Archive | None) -> Built:
    started = time.time_ns() // 1000
    computation, projection = work.computation, work.computation.projection
    history = computation.history
    if work.recipe.check == ALLOW_LIST:
        work.kind.check_exact(computation)
    built = _compute(work, request)
    manifest = built.manifest
    _check_expected(work, request, manifest.content_hash)
    if before is not None:
        _check_same(before, manifest)
    validate(projection, built.rows, manifest.content_hash)
    if request.perturb:
        check_perturbed(computation, built.rows)
    others = (
        _stored_by_others(work, built)
        if before is None and projection.level != "unproven"
        else None
    )
    unmatched = _warn_unmatched(work, built.rows)
    provenance = {
        **_provenance(history, started),
        **built.how,
        **work.spine_facts,
        **({_UNMATCHED: unmatched} if unmatched else {}),
        **work.kind.provenance(computation),
        **({"by": projection.by, "spine_by": projection.spine_entity} if projection.by else {}),
    }
    replaces = before is not None and not (_is_sound(before) and _is_spine_told(work, before))
    archive = publish(
        history.storage,
        manifest,
        rows=built.rows,
        spine=computation.spine,
        sources=projection.sources,
        provenance=provenance,
        rewrite=replaces or (others is not None and not _is_sound(others)),
    )
    if not history.trust.believes:
        history.trust.ledger.note([dataset_statement(manifest.manifest_hash)])
    OWN.ledger.note([query_statement(manifest.manifest_hash)])
    if projection.level != "unproven":
        record_built(archive)
    if request.expected is not None:
        return Built(archive, built.rows, "what the lock pins")
    return Built(archive, built.rows, None if before is None else "what an earlier build stored")


def _check_same(before: Archive, now: DatasetManifest) -> None:
    then = before.manifest.content_hash
    if then == now.content_hash:
        return
    message = (
        f"dataset {now.recipe.name}: the same recipe made other rows before: content hash {then} "
        f"in {before.folder}, now {now.content_hash}"
    )
    hint = "nothing was published; something decides the rows that no recipe knows of. 'eventlake diff' shows what differs."
    raise NotIdenticalError(message, hint, expected=then, found=now.content_hash)


def _stored_by_others(work: ReadyBuild, built: BuildResult) -> Archive | None:
    """What somebody who is not believed stored as made by the same recipe; it is compared with what was made now."""
    archive = made_by(work.computation.history.storage, work.recipe, LAKE)
    if archive is not None and archive.manifest.content_hash != built.manifest.content_hash:
        _LOG.warning(
            "%s says that the recipe of %s made other rows than it makes here (content hash %s, here %s); it was not used",
            archive.folder,
            work.recipe.name,
            archive.manifest.content_hash,
            built.manifest.content_hash,
        )
        return None
    return archive


def _is_sound(archive: Archive) -> bool:
    """Whether the stored rows can be read and are those of the manifest."""
    try:
        archive.rows()
    except EventlakeError:
        return False
    return True


def _check_expected(work: ReadyBuild, request: Request, found: str) -> None:
    if request.expected not in {None, found}:
        projection = work.computation.projection
        message = f"dataset {projection.name} is not what its lock pins: expected content hash {request.expected}, made {found}"
        hint = f"nothing was published; made with {projection.engine} {work.kind.engine_version()}; compare engine and code."
        raise NotIdenticalError(message, hint, expected=request.expected, found=found)


def _compute(work: ReadyBuild, request: Request) -> BuildResult:
    """The rows by the shortest way that is open: from an earlier build, by buckets of entities, or in full."""
    computation, projection, kind = work.computation, work.computation.projection, work.kind
    computation.history.check(changed_only=True)
    if projection.by is None or not kind.by_entity:
        declared = projection.by is not None
        return compute_in_full(
            work, "in full: nothing is proved of Python projections" if declared else "in full"
        )
    columns = kind.entity_columns(computation)
    why = "from scratch, as asked"
    if request.incremental and request.pinned is not None and not request.force:
        found = increment(computation, work.recipe, columns, request.pinned)
        if not isinstance(found, str):
            return hashed(
                work, found.rows, {"way": f"{found.changed} anew", "derived_from": found.base}
            )
        why = found
    if request.workers == 1 and request.buckets is None:
        return compute_in_full(work, f"in full: {why}")
    buckets = min(request.buckets or request.workers * _BUCKETS_A_WORKER, MOST_BUCKETS)
    result = build_by_bucket(
        computation,
        work.recipe,
        buckets=buckets,
        executor=request.executor,
        anew=request.force,
    )
    how = {
        "way": f"in full, in {counted(buckets, 'bucket')} by {projection.by}: {why}",
        "buckets": buckets,
        "workers": request.workers,
    }
    return hashed(work, finish(computation, result), how)


def _provenance(history: PinnedHistory, started: int) -> dict[str, Any]:
    return {
        "built_at": started,
        "commit_hash": history.commit_hash,
        "format": FORMAT,
        "milliseconds": time.time_ns() // 1_000_000 - started // 1000,
        **environment(),
    }
