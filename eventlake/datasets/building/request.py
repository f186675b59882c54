"""What a caller asks of a build."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.building.buckets import Executor, InProcessExecutor
from eventlake.datasets.lease_timing import LEASE_TIMING, LeaseTiming
from eventlake.history.pinned import PinnedHistory

MOST_BUCKETS = 10_000
PERTURB = "perturb"
"""The check that builds a second time under other run conditions."""


@dataclass(frozen=True, slots=True)
class Request:
    """The arguments of a build.

    Attributes:
        spine: The caller's rows, an event spine, or None.
        engine: Engine to use; defaults to the projection's.
        expected: The content hash that a lock pins; None without a lock.
        perturb: Build a second time under other run conditions, and compare.
        force: Build even if the recipe was built before.
        workers: Number of workers for a projection by entity; 1 runs it in this process.
        executor: Runs the tasks of a build by bucket.
        buckets: Number of buckets of entities. Defaults to four for each worker, or to no buckets
            with one worker.
        incremental: Whether the build starts from an earlier one: False for never, True if one
            serves, None if that is probably cheaper as well.
        pinned: Opens the history of an earlier checkpoint; None to ignore earlier builds.
        lease: How long builders of one recipe wait for each other.
    """

    spine: Any = None
    engine: str | None = None
    expected: str | None = None
    perturb: bool = False
    force: bool = False
    workers: int = 1
    executor: Executor = field(default_factory=InProcessExecutor)
    buckets: int | None = None
    incremental: bool | None = None
    pinned: Callable[[Checkpoint], PinnedHistory] | None = None
    lease: LeaseTiming = LEASE_TIMING
