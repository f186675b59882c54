"""Computing the rows of a build by the strategy that is asked for, or the cheapest."""

import time

from eventlake.core.card import counted
from eventlake.datasets.building.buckets import build_by_bucket
from eventlake.datasets.building.earlier_builds import EarlierBuilds
from eventlake.datasets.building.incremental import increment
from eventlake.datasets.building.ready import (
    BuildResult,
    ReadyBuild,
    compute_in_full,
    hashed,
    uncounted,
)
from eventlake.datasets.building.request import MOST_BUCKETS, Request
from eventlake.projections.rows import finish

_BUCKETS_A_WORKER = 4


def compute(ready_build: ReadyBuild, request: Request, earlier: EarlierBuilds) -> BuildResult:
    """Compute the rows incrementally, by buckets of entities, or in full.

    The strategy is recorded in the provenance as ``way``.
    """
    computation, projection, kind = (
        ready_build.computation,
        ready_build.computation.projection,
        ready_build.kind,
    )
    # Hashing 540 MB takes half a second, so files that this process has hashed before are skipped.
    # ``reproduce`` and ``verify`` hash everything.
    computation.history.check(changed_only=True)
    if projection.by is None or not kind.by_entity:
        declared = projection.by is not None
        return compute_in_full(
            ready_build,
            "in full: nothing is proved of Python projections" if declared else "in full",
            stores=True,
        )
    columns = kind.entity_columns(computation)
    why = "from scratch, as asked"
    if request.incremental is not False and request.pinned is not None and not request.force:
        began = time.monotonic_ns()
        found = increment(
            computation,
            earlier,
            columns,
            request.pinned,
            if_cheaper=request.incremental is None,
        )
        if not isinstance(found, str):
            earlier.took(began, reused=True)
            return hashed(
                ready_build,
                found.rows,
                {
                    "way": uncounted(ready_build, f"{found.changed} anew"),
                    "derived_from": found.base,
                },
            )
        why = found
    if request.workers == 1 and request.buckets is None:
        began = time.monotonic_ns()
        built = compute_in_full(ready_build, f"in full: {why}", stores=True)
        earlier.took(began, reused=False)
        return built
    buckets = min(request.buckets or request.workers * _BUCKETS_A_WORKER, MOST_BUCKETS)
    result = build_by_bucket(
        computation,
        ready_build.recipe,
        buckets=buckets,
        executor=request.executor,
        rewrite=request.force,
    )
    way = f"in full, in {counted(buckets, 'bucket')} by {projection.by}: {why}"
    how = {
        "way": uncounted(ready_build, way),
        "buckets": buckets,
        "workers": request.workers,
    }
    return hashed(ready_build, finish(computation, result), how)
