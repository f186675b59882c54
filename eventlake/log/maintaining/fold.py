"""Fold the newest commits into a tier of the manifest, named by a commit.

A new tier is merged with the last tiers if these are no larger than its size class, so there is one
tier for each class, and each class is ``LogLimits.tier_ratio`` times as large as the one below. A
fold that fails loses nothing: the commits hold the same, and the next fold tries again.
"""

import logging
from collections.abc import Sequence

import pyarrow as pa

from eventlake.columns.keys.key_runs import KeyRun, merged
from eventlake.columns.parquet import manifest_rows
from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.manifest import COMMIT_WEIGHT, Tier
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import CorruptionError, EventlakeError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import check_keys, vouch, vouch_for_tiers
from eventlake.log.chain.key_index import recent_run
from eventlake.log.chain.manifest import Manifest
from eventlake.log.chain.publish import publish
from eventlake.log.chain.unfolded_keys import recent_since, store, weight
from eventlake.log.next_commit import plain_commit
from eventlake.storage import ObjectExistsError, Storage, read_sized

_LOG = logging.getLogger(__name__)
_KEPT_BYTES = 4 << 20
"""A tier with fewer bytes of keys stays in memory: this process will probably merge it soon."""


def keep_folded(chain: Chain) -> None:
    """Fold the newest commits if there are enough; logs a warning instead of failing.

    Called after a commit is acknowledged, which must not fail any more.
    """
    if chain.head is None or weight(chain.head.commit) < chain.limits.fold_weight:
        return
    try:
        with chain.storage.turn(layout.LOG):
            chain.refresh()
            # Another process may have folded while this one waited for its turn.
            if weight(chain.head.commit) >= chain.limits.fold_weight:
                fold(chain)
    except EventlakeError as error:
        _LOG.warning("the manifest was not folded, which costs readers time: %s", error.message)


def fold(chain: Chain) -> None:
    """Fold everything up to the head into tiers, unless another process folds or fences first.

    Raises:
        StorageError: The store failed.
        CorruptionError: A commit or a tier is damaged.
    """
    if chain.head is None:
        return
    # A tier that this user's process derives is trusted, so what it is derived from is checked.
    check_keys(chain)
    # The tiers are valid for every log that continues this one, whoever commits next.
    last = chain.head
    folded, stop, fence = chain.head.commit.recent.start, chain.next_version, chain.fence
    tiers = _tiers(chain, chain.head.commit)
    vouch_for_tiers(chain, tiers, last)
    # A fold is valid for a longer log as well, unless the tail was folded by another process. After
    # a fence, garbage collection may delete the files that were stored for it.
    while chain.head.commit.recent.start == folded and chain.fence == fence:
        recent = recent_since(chain.head.commit.recent, stop)
        commit = plain_commit(chain, "fold", tiers=tiers, recent=recent)
        data = commit.encode()
        vouch(chain, commit, data)
        if publish(chain, commit, data):
            chain.published(commit, data)
            return
        chain.refresh()


def _tiers(chain: Chain, head: Commit) -> tuple[Tier, ...]:
    """The tiers of a history that ends with ``head``, all of it folded."""
    start, stop = head.recent.start, head.version + 1
    tables = [manifest_rows.to_table(entry.row for entry in chain.tail())]
    runs = _recent_runs(chain, head)
    kept = list(head.tiers)
    new = COMMIT_WEIGHT * (stop - start) + sum(len(run.ids) for run in runs)
    # Merging equal classes keeps the number of tiers logarithmic, and each key is rewritten rarely.
    while kept and _size_class(chain, kept[-1].weight) <= _size_class(chain, new):
        tier = kept.pop()
        tables = [chain.rows.table(tier), *tables]
        runs = [chain.keys.stored(tier.keys, tier.stop).whole(), *runs]
        start, new = tier.start, new + tier.weight
    run = merged(runs, stop)
    keys = store(chain.storage, run)
    rows = _current(tables)
    data = manifest_rows.encode_table(rows)
    tiers = (*kept, Tier(start, stop, _store_rows(chain.storage, stop, data), len(data), keys))
    if keys.size_bytes <= _KEPT_BYTES:
        chain.rows.keep(tiers, rows)
        chain.keys.keep(keys, stop, run)
    return tiers


def _current(tables: Sequence[pa.Table]) -> pa.Table:
    """Join the rows of neighbouring runs of commits, without segments that were replaced since."""
    rows = manifest_rows.joined(tables)
    # Without compactions, rows are just concatenated, which is much faster.
    if rows is not None:
        return rows
    manifest = Manifest([], [])
    for table in tables:
        manifest = manifest.with_rows(manifest_rows.from_table(table, layout.MANIFESTS))
    return manifest_rows.to_table(manifest.rows())


def _recent_runs(chain: Chain, head: Commit) -> list[KeyRun]:
    return [
        recent_run(head.recent),
        *(chain.keys.stored(file, file.start + 1).whole() for file in head.recent.files),
    ]


def _size_class(chain: Chain, weight: int) -> int:
    size_class = 0
    while weight >= chain.limits.fold_weight * chain.limits.tier_ratio**size_class:
        size_class += 1
    return size_class


def _store_rows(storage: Storage, stop: int, data: bytes) -> str:
    sha256 = sha256_hex(data)
    path = layout.rows_path(stop, sha256)
    try:
        storage.create(path, data)
    except ObjectExistsError:
        if read_sized(storage, path, len(data)) != data:
            message = f"{path} is damaged"
            raise CorruptionError(
                message, "delete it: it is derived, and is written again.", path=path
            ) from None
    return sha256
