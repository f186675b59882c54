"""Building a dataset: run the projection at a pinned history, hash the rows, publish them."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa

from eventlake.columns.empty import empty_columns
from eventlake.columns.parquet.frames import encode_parts
from eventlake.core.documents.dataset import ALLOW_LIST, FORMAT
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
from eventlake.datasets.building.same_rows import (
    check_expected,
    check_same,
    compare_with_untrusted,
    is_intact,
)
from eventlake.datasets.store.archive import EVENT_SPINE, Archive
from eventlake.datasets.store.build_index import Cutoffs
from eventlake.datasets.store.publish import publish
from eventlake.features.spines.spine import EventSpine
from eventlake.history.pinned import PinnedHistory
from eventlake.projections.computation import Computation
from eventlake.projections.kinds import kind_of
from eventlake.projections.projection import Projection
from eventlake.projections.rows import declared_types, validate
from eventlake.trust import OWN
from eventlake.visible import warn

_UNMATCHED = "unmatched"
"""The provenance key of the event types of which no entity of the spine has an event."""


@dataclass(frozen=True, slots=True)
class Built:
    """A published dataset.

    Attributes:
        archive: The dataset's folder.
        computed: Whether this build computed the rows; it reused a dataset if not.
        rows: The rows that it computed; None if they are not in memory.
        equal_to: What the computed rows were compared with, and equal; None without a comparison.
    """

    archive: Archive
    computed: bool = False
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
    check_expected(ready_build, request.expected, archive.manifest.content_hash)
    if projection.schema is not None:
        validate(projection, archive.rows(), archive.manifest.content_hash)
    if request.perturb:
        check_perturbed(ready_build.computation, archive.rows())
    if archive.provenance().get(_UNMATCHED):
        _warn_unmatched(ready_build, lambda: empty_columns(archive.rows()))
    return Built(archive)


def _warn_unmatched(ready_build: ReadyBuild, empty: Callable[[], set[str]]) -> list[str]:
    """Warn of each event type of which no entity of the spine has an event, and return them."""
    found = ready_build.kind.unmatched(ready_build.computation, empty)
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
        parts=partial(encode_parts, rows),
        spine=ready_build.computation.spine,
        sources=ready_build.computation.projection.sources,
        provenance=noted,
        rewrite=True,
    )


def _compute_and_publish(
    ready_build: ReadyBuild, request: Request, earlier: EarlierBuilds, before: Archive | None
) -> Built:
    started = time.time_ns() // 1000
    if ready_build.recipe.check == ALLOW_LIST:
        ready_build.kind.check_exact(ready_build.computation)
    built = compute(ready_build, request, earlier)
    provenance = _provenance(ready_build.computation.history, started)
    with closing(built.rows):
        told = replace(built, how={**provenance, **built.how})
        return _publish(ready_build, request, earlier, before, told)


def _publish(
    ready_build: ReadyBuild,
    request: Request,
    earlier: EarlierBuilds,
    before: Archive | None,
    built: BuildResult,
) -> Built:
    """Publish what was computed, if nothing refuses it."""
    computation, projection = ready_build.computation, ready_build.computation.projection
    history, manifest = computation.history, built.manifest
    check_expected(ready_build, request.expected, manifest.content_hash)
    if before is not None:
        check_same(before, manifest)
    # Everything that may refuse the rows comes before they are published.
    if projection.schema is not None:
        validate(projection, built.rows.table(), manifest.content_hash)
    if request.perturb:
        check_perturbed(computation, built.rows.table())
    untrusted = (
        compare_with_untrusted(ready_build, earlier, built)
        if before is None and projection.level != "unproven"
        else None
    )
    unmatched = _warn_unmatched(ready_build, built.rows.empty)
    provenance = {
        **built.how,
        **built.hindsight,
        **ready_build.spine_facts,
        **({_UNMATCHED: unmatched} if unmatched else {}),
        **ready_build.kind.provenance(computation),
        **({"by": projection.by, "spine_by": projection.spine_entity} if projection.by else {}),
    }
    # A damaged dataset of the same hash is stored again.
    replaces = before is not None and not (
        is_intact(before) and _is_spine_recorded(ready_build, before)
    )
    archive = publish(
        history.storage,
        manifest,
        parts=built.rows.parts,
        spine=computation.spine,
        sources=projection.sources,
        provenance=provenance,
        rewrite=replaces or (untrusted is not None and not is_intact(untrusted)),
    )
    if not history.trust.believes:
        history.trust.ledger.note([dataset_statement(manifest.manifest_hash)])
    OWN.ledger.note([query_statement(manifest.manifest_hash)])
    if projection.level != "unproven":
        # After publishing, because the note says that the dataset exists.
        earlier.add(archive, _cutoffs(computation))
    rows = built.rows.table() if built.rows.in_memory else None
    if request.expected is not None:
        return Built(archive, computed=True, rows=rows, equal_to="what the lock pins")
    equal_to = None if before is None else "what an earlier build stored"
    return Built(archive, computed=True, rows=rows, equal_to=equal_to)


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


def _provenance(history: PinnedHistory, started: int) -> dict[str, Any]:
    """Common provenance members; ``started`` is in microseconds since the epoch."""
    return {
        "built_at": started,
        "commit_hash": history.commit_hash,
        "format": FORMAT,
        "milliseconds": time.time_ns() // 1_000_000 - started // 1000,
        **environment(),
    }
