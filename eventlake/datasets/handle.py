"""The part of a lake that the functions about datasets use."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.dataset import Pin
from eventlake.history.pinned import PinnedHistory
from eventlake.history.resolve import At, resolve
from eventlake.history.snapshot import Snapshot
from eventlake.log.appending.receipt import Receipt
from eventlake.log.chain.open_chain import open_chain
from eventlake.schemas.version import Version
from eventlake.storage import Storage
from eventlake.trust import Trust


@dataclass(frozen=True, slots=True)
class LakeHandle:
    """A lake as datasets see it.

    Attributes:
        storage: Where the lake is stored.
        trust: Whose stored results are believed.
        snapshot: ``Lake.snapshot``.
        append: ``Lake.append``.
        register: ``Lake.register``.
        schemas: ``Lake.schemas``.
    """

    storage: Storage
    trust: Trust
    snapshot: Callable[[At], Snapshot]
    append: Callable[..., Receipt]
    register: Callable[[str, Any], Version]
    schemas: Callable[[], dict[str, tuple[Version, ...]]]

    @property
    def pin(self) -> Pin:
        """Opens the history of a checkpoint; a ``Dataset`` keeps it instead of the lake."""
        return partial(_pinned, self.storage, self.trust)


def _pinned(storage: Storage, trust: Trust, checkpoint: Checkpoint) -> PinnedHistory:
    return resolve(open_chain(storage, trust), checkpoint)
