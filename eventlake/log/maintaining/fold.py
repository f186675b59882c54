"""Fold the newest commits into a tier of the manifest, named by a commit.

A new tier is merged with the last tiers if these are no larger than its size class, so there is one
tier for each class, and each class is ``LogLimits.tier_ratio`` times as large as the one below. A
key file that has reached ``LogLimits.key_file_bytes`` is not merged again, so that the memory and
the time of a fold are bounded, whatever the number of events. A fold that fails loses nothing: the
commits hold the same, and the next fold tries again.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.manifest import KeyFile, Tier
from eventlake.errors import CorruptionError, EventlakeError, NotFoundError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import check_keys, vouch, vouch_for_tiers
from eventlake.log.chain.publish import publish
from eventlake.log.chain.unfolded_keys import recent_since, weight
from eventlake.log.maintaining.make_tiers import EVERYTHING, Merge, with_tail
from eventlake.log.next_commit import plain_commit

_LOG = logging.getLogger(__name__)


def keep_folded(chain: Chain) -> None:
    """Fold the newest commits if there are enough; logs a warning instead of failing.

    Called after a commit is acknowledged, which must not fail any more.
    """
    if not is_due(chain):
        return
    with warning(), chain.storage.turn(layout.LOG):
        chain.refresh()
        # Another process may have folded while this one waited for its turn.
        if is_due(chain):
            fold(chain)


def is_due(chain: Chain) -> bool:
    """Whether so many commits are in no tier that they should be folded."""
    return (
        chain.head is not None
        and weight(chain.head.commit, chain.limits.key_file_bytes) >= chain.limits.fold_weight
    )


@contextmanager
def warning() -> Iterator[None]:
    """Log a warning if folding fails in the block."""
    try:
        yield
    except EventlakeError as error:
        _LOG.warning("the manifest was not folded, which costs readers time: %s", error.message)


def fold(
    chain: Chain,
    *,
    older: Sequence[Tier] | None = None,
    merge: Merge = EVERYTHING,
    turn: AbstractContextManager[None] | None = None,
) -> bool:
    """Fold everything up to the head into tiers, unless another process folds or fences first.

    Key files that the new tiers replace are deleted.

    Args:
        chain: The lake's log.
        older: Tiers that hold the same commits as those of the head.
        merge: Which of the older tiers may be merged with the new one.
        turn: Entered to publish the commit; by default the caller is in it.

    Returns:
        Whether a commit was published.

    Raises:
        StorageError: The store failed.
        CorruptionError: A commit or a tier is damaged.
    """
    if chain.head is None:
        return False
    # A tier that this user's process derives is trusted, so what it is derived from is checked.
    check_keys(chain)
    # The tiers are valid for every log that continues this one, whoever commits next.
    last, tail = chain.head, chain.tail()
    folded, stop, fence = chain.head.commit.recent.start, chain.next_version, chain.fence
    older = chain.head.commit.tiers if older is None else older
    try:
        tiers = with_tail(chain, older, tail, merge)
    except (CorruptionError, NotFoundError):
        chain.refresh()
        # Whoever folded first has deleted what was to be merged here.
        if chain.head.commit.recent.start != folded:
            return False
        tiers = with_tail(chain, older, tail, merge, rebuild=True)
    vouch_for_tiers(chain, tiers, last)
    with turn or nullcontext():
        # A fold is valid for a longer log as well, unless the tail was folded by another process.
        # After a fence, garbage collection may delete the files that were stored for it.
        while chain.head.commit.recent.start == folded and chain.fence == fence:
            before = chain.head.commit
            recent = recent_since(before.recent, stop)
            commit = plain_commit(chain, "fold", tiers=tiers, recent=recent)
            data = commit.encode()
            vouch(chain, commit, data)
            if publish(chain, commit, data):
                chain.published(commit, data)
                _give_back(chain, before, commit)
                return True
            chain.refresh()
    return False


def _give_back(chain: Chain, before: Commit, fold: Commit) -> None:
    """Delete the key files that a fold replaced; never fails.

    No commit can name them again. A commit names the files of the one before it, and a fold is
    given up once the start of what is recent has moved, as it just has. A reader that still looks
    for one finds its keys in the file into which it was merged.
    """
    replaced = {file.sha256 for file in _key_files(before)} - {
        file.sha256 for file in _key_files(fold)
    }
    for sha256 in sorted(replaced):
        path = layout.keys_path(sha256)
        try:
            chain.storage.delete(path)
        except EventlakeError as error:
            # Writers may lack the permission. The next garbage collection deletes it.
            _LOG.info("%s is no longer needed and was not deleted: %s", path, error.message)


def _key_files(commit: Commit) -> list[KeyFile]:
    return [*(tier.keys for tier in commit.tiers), *commit.recent.files]
