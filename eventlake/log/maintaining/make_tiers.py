"""Make tiers: merge the rows and the keys of neighbouring runs of commits, and store them."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from eventlake.columns.keys import key_files
from eventlake.columns.keys.key_merge import RunSource, Source, merge_into
from eventlake.columns.keys.key_runs import KeyRun
from eventlake.columns.parquet import manifest_rows
from eventlake.core import layout
from eventlake.core.documents.manifest import COMMIT_WEIGHT, KeyFile, Tier
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import CorruptionError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.entry import Entry
from eventlake.log.chain.key_index import recent_run
from eventlake.log.chain.manifest import Manifest
from eventlake.log.chain.stored_keys import StoredKeys
from eventlake.log.chain.unfolded_keys import store_encoded
from eventlake.storage import ObjectExistsError, Storage, read_sized

_KEPT_BYTES = 4 << 20
"""A tier with fewer bytes of keys stays in memory: this process will probably merge it soon."""


@dataclass(frozen=True, slots=True)
class Merge:
    """Which tiers may be merged with newer commits.

    Attributes:
        since: None of commits before this version.
        weight: None with which the new tier would be heavier than this.
    """

    since: int = 0
    weight: float = float("inf")


EVERYTHING = Merge()


def first_merged(
    chain: Chain, tiers: Sequence[Tier], weight: int, size_bytes: int, merge: Merge = EVERYTHING
) -> int:
    """From which of ``tiers`` on they are merged with newer commits; their number if none is.

    Args:
        chain: The lake's log.
        tiers: Older tiers.
        weight: The weight of the newer commits.
        size_bytes: Approximate size of their keys.
        merge: Which tiers may be merged at all.
    """
    first = len(tiers)
    # Merging equal classes keeps the number of tiers logarithmic, and each key is rewritten rarely,
    # until a file is so large that merging it again would take too long.
    while first:
        tier = tiers[first - 1]
        weight_with = weight + tier.weight
        size_bytes += tier.keys.size_bytes
        if (
            size_class(chain, tier.weight) > size_class(chain, weight)
            or size_bytes > chain.limits.key_file_bytes
            or weight_with > merge.weight
            or tier.start < merge.since
        ):
            break
        first, weight = first - 1, weight_with
    return first


def with_tail(
    chain: Chain,
    older: Sequence[Tier],
    tail: Sequence[Entry],
    merge: Merge = EVERYTHING,
    *,
    rebuild: bool = False,
) -> tuple[Tier, ...]:
    """The tiers of a history that ends with ``tail``, all of it folded.

    Args:
        chain: The lake's log.
        older: The tiers of the commits before ``tail``.
        tail: The commits that no tier holds.
        merge: Which of the older tiers may be merged with the new one.
        rebuild: Whether keys that are lost or damaged are rebuilt from the log, in memory.

    Raises:
        NotFoundError: A key file is missing, and ``rebuild`` is not given.
        CorruptionError: It is damaged, and ``rebuild`` is not given.
    """
    head = tail[-1].commit
    recent, stop = head.recent, head.version + 1
    inline = recent_run(recent)
    weight = COMMIT_WEIGHT * (stop - recent.start) + len(inline.ids)
    weight += sum(file.ids for file in recent.files)
    size_bytes = len(recent.ids) + 2 * len(recent.heads)
    size_bytes += sum(file.size_bytes for file in recent.files)
    first = first_merged(chain, older, weight, size_bytes, merge)
    merged = older[first:]
    files = [
        *_files(chain, merged),
        *(chain.keys.stored(one, one.start + 1) for one in recent.files),
    ]
    rows = manifest_rows.to_table(entry.row for entry in tail)
    made = _made(
        chain.storage,
        [RunSource(inline), *_sources(files, rebuild=rebuild)],
        [*_tables(chain, merged), rows],
        stop,
    )
    tiers = (*older[:first], made.tier)
    if made.run is not None:
        chain.rows.keep(tiers, made.rows)
        chain.keys.keep(made.tier.keys, stop, made.run)
    return tiers


def merged_tiers(
    chain: Chain, tiers: Sequence[Tier], pause: Callable[[], None], *, rebuild: bool = False
) -> Tier:
    """One tier for several neighbours; see ``with_tail``.

    Args:
        chain: The lake's log.
        tiers: The tiers.
        pause: Called now and then.
        rebuild: See ``with_tail``.
    """
    sources = _sources(_files(chain, tiers), rebuild=rebuild)
    return _made(chain.storage, sources, _tables(chain, tiers), tiers[-1].stop, pause).tier


def _files(chain: Chain, tiers: Sequence[Tier]) -> list[StoredKeys]:
    return [chain.keys.stored(tier.keys, tier.stop) for tier in tiers]


def _sources(files: Sequence[StoredKeys], *, rebuild: bool) -> list[Source]:
    return [RunSource(file.whole()) if rebuild else file.source() for file in files]


def _tables(chain: Chain, tiers: Sequence[Tier]) -> list[pa.Table]:
    return [chain.rows.table(tier) for tier in tiers]


@dataclass(frozen=True, slots=True)
class _Made:
    tier: Tier
    rows: pa.Table
    run: KeyRun | None


def _made(
    storage: Storage,
    sources: Sequence[Source],
    tables: Sequence[pa.Table],
    stop: int,
    pause: Callable[[], None] = lambda: None,
) -> _Made:
    # The first source begins where the tier does.
    keys, run = _merged(storage, sorted(sources, key=lambda source: source.start), stop, pause)
    rows = _current(tables)
    data = manifest_rows.encode_table(rows)
    sha256 = store_rows(storage, stop, data)
    return _Made(Tier(keys.start, stop, sha256, len(data), keys), rows, run)


def _merged(
    storage: Storage, sources: Sequence[Source], stop: int, pause: Callable[[], None]
) -> tuple[KeyFile, KeyRun | None]:
    """Merge keys into a new file; also returns them if they are few."""
    out = io.BytesIO()
    merged = merge_into(out, sources, stop, pause)
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


def size_class(chain: Chain, weight: int) -> int:
    """The size class of a tier: 0 for less than is folded at once."""
    size_class = 0
    while weight >= chain.limits.fold_weight * chain.limits.tier_ratio**size_class:
        size_class += 1
    return size_class


def store_rows(storage: Storage, stop: int, data: bytes) -> str:
    """Store the rows of a tier that ends before version ``stop``; returns their SHA-256."""
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
