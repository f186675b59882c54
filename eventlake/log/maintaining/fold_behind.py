"""Fold the log of a writer that lives on in a thread of its own, so that no commit waits for it."""

import threading
from collections.abc import Sequence

from eventlake.core import layout
from eventlake.core.documents.manifest import Tier
from eventlake.errors import CorruptionError, NotFoundError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import check_keys
from eventlake.log.maintaining.fold import fold, is_due, warning
from eventlake.log.maintaining.make_tiers import Merge, first_merged, merged_tiers


class FoldBehind:
    """Folds in a thread whenever there are enough commits.

    The thread first folds the newest commits with small tiers, which is quick, and then merges
    large ones. While it does that it goes on to fold what is committed, so that commits do not
    carry ever more keys.

    Args:
        chain: The writer's log.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        # Another chain, because the writer's moves on. It keeps small tiers from fold to fold.
        self._own = chain.twin()
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Start to fold if there are enough commits; called after each, while the chain is held."""
        if is_due(self._chain) and (self._thread is None or not self._thread.is_alive()):
            self._own.follow(self._chain)
            self._thread = threading.Thread(
                target=_fold, args=(self._own,), name="eventlake-fold", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Wait until what was begun is folded."""
        if self._thread is not None:
            self._thread.join()


def _fold(chain: Chain) -> None:
    with warning():
        _fold_quickly(chain, 0)
        # What was folded meanwhile may have to be merged in turn.
        while _merge_large(chain):
            _fold_quickly(chain, 0)


def _fold_quickly(chain: Chain, since: int) -> None:
    """Fold the newest commits, merged with small tiers of commits from ``since`` on."""
    chain.refresh()
    if is_due(chain):
        quick = Merge(since, chain.limits.quick_weight)
        # Others commit while the files are stored, and wait for the commit alone.
        fold(chain, merge=quick, turn=chain.storage.turn(layout.LOG))


def _merge_large(chain: Chain) -> bool:
    """Merge the tiers that a quick fold left, and fold what was committed meanwhile on them.

    Returns:
        Whether there were any, and nobody else merged them or collected garbage meanwhile.
    """
    tiers = chain.head.commit.tiers if chain.head else ()
    if not tiers:
        return False
    *older, newest = tiers
    first = first_merged(chain, older, newest.weight, newest.keys.size_bytes)
    merged, fence = tiers[first:], chain.fence
    # A file is made under one fence only, so that no collector that slept deletes it: either there
    # is no fence, or its commit is among the keys.
    if not older[first:] or (fence is not None and fence >= newest.stop):
        return False
    check_keys(chain)
    tier = _merged(chain, merged)
    if tier is None:
        return False
    with chain.storage.turn(layout.LOG):
        chain.refresh()
        if chain.fence == fence and _names(chain, merged):
            now = chain.head.commit.tiers if chain.head else ()
            later = now[first + len(merged) :]
            return fold(
                chain,
                older=(*now[:first], tier, *later),
                merge=Merge(newest.stop, chain.limits.quick_weight),
            )
    return False


def _merged(chain: Chain, tiers: Sequence[Tier]) -> Tier | None:
    """The tiers as one; None if they were merged or collected meanwhile."""
    stop, meanwhile = tiers[-1].stop, chain.twin()
    for rebuild in (False, True):
        try:
            return merged_tiers(
                chain, tiers, lambda: _fold_quickly(meanwhile, stop), rebuild=rebuild
            )
        except (CorruptionError, NotFoundError):
            chain.refresh()
            if rebuild:
                raise
            if not _names(chain, tiers):
                return None
    return None


def _names(chain: Chain, tiers: Sequence[Tier]) -> bool:
    """Whether the head still names these tiers."""
    return chain.head is not None and set(tiers) <= set(chain.head.commit.tiers)
