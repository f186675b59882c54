"""The part of a lake that the functions about datasets use."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.lease_timing import LEASE_TIMING, LeaseTiming
from eventlake.history.pinned import PinnedHistory
from eventlake.history.resolve import At
from eventlake.history.snapshot import Snapshot
from eventlake.log.appending.receipt import Receipt
from eventlake.schemas.version import Version
from eventlake.storage import Storage


@dataclass(frozen=True, slots=True)
class LakeHandle:
    """A lake as datasets see it.

    Attributes:
        storage: Where the lake is stored.
        snapshot: ``Lake.snapshot``.
        append: ``Lake.append``.
        register: ``Lake.register``.
        schemas: ``Lake.schemas``.
        lease: How long builders of one recipe wait for each other.
    """

    storage: Storage
    snapshot: Callable[[At], Snapshot]
    append: Callable[..., Receipt]
    register: Callable[[str, Any], Version]
    schemas: Callable[[], dict[str, tuple[Version, ...]]]
    lease: LeaseTiming = LEASE_TIMING

    def pin(self, checkpoint: Checkpoint) -> PinnedHistory:
        """Open the history of a checkpoint, over the log that the lake has read."""
        return self.snapshot(checkpoint).history
