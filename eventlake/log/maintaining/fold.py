"""Fold the newest commits into a tier of the manifest, named by a commit.

A new tier is merged with the last tiers if these are no larger than its size class, so there is one
tier for each class, and each class is ``LogLimits.tier_ratio`` times as large as the one below. A
key file that has reached ``LogLimits.key_file_bytes`` is not merged again, so that the memory and
the time of a fold are bounded, whatever the number of events. A fold that fails loses nothing: the
commits hold the same, and the next fold tries again.
"""

import io
import logging
from collections.abc import Sequence

import pyarrow as pa

from eventlake.columns.keys import key_files
from eventlake.columns.keys.key_merge import RunSource, Source, merge_into
from eventlake.columns.keys.key_runs import KeyRun
from eventlake.columns.parquet import manifest_rows
from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.manifest import COMMIT_WEIGHT, KeyFile, Tier
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import CorruptionError, EventlakeError, NotFoundError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import check_keys, vouch, vouch_for_tiers
from eventlake.log.chain.entry import Entry
from eventlake.log.chain.key_index import recent_run
from eventlake.log.chain.manifest import Manifest
from eventlake.log.chain.publish import publish
from eventlake.log.chain.unfolded_keys import recent_since, store_encoded, weight
from eventlake.log.next_commit import plain_commit
from eventlake.storage import ObjectExistsError, Storage, read_sized

_LOG = logging.getLogger(__name__)
_KEPT_BYTES = 4 << 20
"""A tier with fewer bytes of keys stays in memory: this process will probably merge it soon."""


def keep_folded(chain: Chain) -> None:
    """Fold the newest commits if there are enough; logs a warning instead of failing.

    Called after a commit is acknowledged, which must not fail any more.
    """
    if not _is_due(chain):
        return
    try:
        with chain.storage.turn(layout.LOG):
            chain.refresh()
            # Another process may have folded while this one waited for its turn.
            if _is_due(chain):
                fold(chain)
    except EventlakeError as error:
        _LOG.warning("the manifest was not folded, which costs readers time: %s", error.message)


def _is_due(chain: Chain) -> bool:
    return (
        chain.head is not None
        and weight(chain.head.commit, chain.limits.key_file_bytes) >= chain.limits.fold_weight
    )


def fold(chain: Chain) -> None:
    """Fold everything up to the head into tiers, unless another process folds or fences first.

    Key files that the new tiers replace are deleted.

    Raises:
        StorageError: The store failed.
        CorruptionError: A commit or a tier is damaged.
    """
    if chain.head is None:
        return
    # A tier that this user's process derives is trusted, so what it is derived from is checked.
    check_keys(chain)
    # The tiers are valid for every log that continues this one, whoever commits next.
    last, tail = chain.head, chain.tail()
    folded, stop, fence = chain.head.commit.recent.start, chain.next_version, chain.fence
    try:
        tiers = _tiers(chain, tail)
    except (CorruptionError, NotFoundError):
        chain.refresh()
        # Whoever folded first has deleted what was to be merged here.
        if chain.head.commit.recent.start != folded:
            return
        tiers = _tiers(chain, tail, rebuild=True)
    vouch_for_tiers(chain, tiers, last)
    # A fold is valid for a longer log as well, unless the tail was folded by another process. After
    # a fence, garbage collection may delete the files that were stored for it.
    while chain.head.commit.recent.start == folded and chain.fence == fence:
        before = chain.head.commit
        recent = recent_since(before.recent, stop)
        commit = plain_commit(chain, "fold", tiers=tiers, recent=recent)
        data = commit.encode()
        vouch(chain, commit, data)
        if publish(chain, commit, data):
            chain.published(commit, data)
            _give_back(chain, before, commit)
            return
        chain.refresh()


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


def _tiers(chain: Chain, tail: Sequence[Entry], *, rebuild: bool = False) -> tuple[Tier, ...]:
    """The tiers of a history that ends with ``tail``, all of it folded.

    Args:
        chain: The lake's log.
        tail: The commits that no tier holds.
        rebuild: Whether keys that are lost or damaged are rebuilt from the log, in memory.

    Raises:
        NotFoundError: A key file is missing, and ``rebuild`` is not given.
        CorruptionError: It is damaged, and ``rebuild`` is not given.
    """
    head = tail[-1].commit
    start, stop = head.recent.start, head.version + 1
    tables = [manifest_rows.to_table(entry.row for entry in tail)]
    files = [chain.keys.stored(file, file.start + 1) for file in head.recent.files]
    inline = recent_run(head.recent)
    kept = list(head.tiers)
    new = COMMIT_WEIGHT * (stop - start) + len(inline.ids)
    new += sum(file.ids for file in head.recent.files)
    size = len(head.recent.ids) + 2 * len(head.recent.heads)
    size += sum(file.size_bytes for file in head.recent.files)
    # Merging equal classes keeps the number of tiers logarithmic, and each key is rewritten rarely,
    # until a file is so large that merging it again would take too long.
    while (
        kept
        and _size_class(chain, kept[-1].weight) <= _size_class(chain, new)
        and kept[-1].keys.size_bytes + size <= chain.limits.key_file_bytes
    ):
        tier = kept.pop()
        tables = [chain.rows.table(tier), *tables]
        files = [chain.keys.stored(tier.keys, tier.stop), *files]
        start, new, size = tier.start, new + tier.weight, size + tier.keys.size_bytes
    sources: list[Source] = [RunSource(inline)]
    sources += [RunSource(file.whole()) if rebuild else file.source() for file in files]
    keys, run = _merged(chain.storage, sources, stop)
    rows = _current(tables)
    data = manifest_rows.encode_table(rows)
    tiers = (*kept, Tier(start, stop, _store_rows(chain.storage, stop, data), len(data), keys))
    if run is not None:
        chain.rows.keep(tiers, rows)
        chain.keys.keep(keys, stop, run)
    return tiers


def _merged(
    storage: Storage, sources: Sequence[Source], stop: int
) -> tuple[KeyFile, KeyRun | None]:
    """Merge keys into a new file; also returns them if they are few."""
    out = io.BytesIO()
    # The first source begins where the tier does.
    merged = merge_into(out, sorted(sources, key=lambda source: source.start), stop)
    data = out.getvalue()
    file = store_encoded(storage, data, merged)
    if len(data) > _KEPT_BYTES:
        return file, None
    return file, key_files.decode(data, file, layout.keys_path(file.sha256))


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
