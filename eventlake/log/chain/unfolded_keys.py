"""The keys of commits that no tier holds: inline in the newest commit, or in a file if many."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eventlake.columns.keys import key_files
from eventlake.columns.keys.key_merge import Merged
from eventlake.columns.keys.key_runs import CELLS, KeyRun, Keys, distinct, in_cell, of_commit
from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.delivery import Position
from eventlake.core.documents.manifest import COMMIT_WEIGHT, KeyFile, Recent
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import StorageError
from eventlake.log.chain.limits import LOG_LIMITS
from eventlake.storage import ObjectExistsError, Storage, read_sized

MOST_FILES = 3
"""With more key files than this, large commits are folded as well. Tiers that can still grow count.

A writer looks into all key files.
"""


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The keys of one commit, before its version is known.

    Attributes:
        ids: Keys of its events; sorted, cell 0.
        heads: Keys of its subjects, producers, positions and id; sorted, cell 0.
    """

    ids: Keys
    heads: Keys

    def at(self, version: int) -> KeyRun:
        """The keys as those of commit ``version``."""
        return of_commit(version, self.ids, self.heads)


def own_keys(
    ids: Keys, subjects: Keys | None, positions: Sequence[Position], commit_id: str
) -> OwnKeys:
    """Collect the keys of a commit.

    Args:
        ids: Keys of its events; sorted.
        subjects: Keys of its events' subjects, in any order; None for none.
        positions: The positions that it delivers.
        commit_id: Its id.
    """
    from eventlake.columns.keys.keys import few_text_keys

    heads = few_text_keys([("commit", commit_id), *delivery_texts(positions)])
    return OwnKeys(ids, distinct(heads if subjects is None else np.concatenate([heads, subjects])))


def delivery_texts(positions: Sequence[Position]) -> list[tuple[str, str]]:
    """The texts that identify deliveries, each with its kind."""
    producers = {position.producer for position in positions}
    return [
        *(("producer", producer) for producer in producers),
        *(("position", position_text(position)) for position in positions),
    ]


def position_text(position: Position) -> str:
    """The text of a producer's position in a key."""
    return f"{position.producer}\x1f{position.position}"


def stored_where_large(storage: Storage, own: OwnKeys, inline_keys: int) -> OwnKeys | KeyFile:
    """Return the keys, or store them in a file if there are more than ``inline_keys``."""
    # Version 0 for now: ``recent_after`` sets it, once it is known, without writing the file again.
    return own if len(own.ids) + len(own.heads) <= inline_keys else store(storage, own.at(0))


def store(storage: Storage, run: KeyRun) -> KeyFile:
    """Store a run of keys in a file."""
    found = Merged(len(run.ids), len(run.heads), run.start, run.shift)
    return store_encoded(storage, key_files.encode(run), found)


def store_encoded(storage: Storage, data: bytes, merged: Merged) -> KeyFile:
    """Store an encoded key file."""
    sha256 = sha256_hex(data)
    path = layout.keys_path(sha256)
    try:
        storage.create(path, data)
    except ObjectExistsError:
        if sha256_hex(read_sized(storage, path, len(data))) != sha256:
            message = f"{path} is damaged"
            raise StorageError(
                message, "delete it: it is derived, and is written again.", path=path
            ) from None
    return KeyFile(sha256, len(data), *merged)


def recent_after(before: Recent, version: int, own: OwnKeys | KeyFile) -> Recent:
    """The unfolded keys after commit ``version`` with its ``own`` keys.

    Raises:
        StorageError: No cell is left, because folding has failed for too many commits.
    """
    if isinstance(own, KeyFile):
        return replace(before, files=(*before.files, replace(own, start=version)))
    # The low bits of an inline key say which commit it is of, relative to the first unfolded one.
    cell = version - before.start
    if cell >= CELLS:
        message = f"{cell:,} commits were not folded into the manifest"
        raise StorageError(
            message, f"check why nothing can be stored in {layout.MANIFESTS}/ and {layout.KEYS}/."
        )
    return replace(
        before,
        ids=_merge(before.ids, in_cell(own.ids, cell)),
        heads=_keep_newest(_merge(before.heads, in_cell(own.heads, cell))),
    )


def recent_since(recent: Recent, version: int) -> Recent:
    """The part of ``recent`` that commits from ``version`` on added."""
    step = version - recent.start
    ids, heads = (_later(keys, step) for keys in (recent.ids, recent.heads))
    return Recent(
        version, ids, heads, tuple(file for file in recent.files if file.start >= version)
    )


def weight(commit: Commit, key_file_bytes: int = LOG_LIMITS.key_file_bytes) -> int:
    """How much of the history up to this commit is unfolded.

    A key file is searched as fast as a tier, so its keys count only if there are many files.

    Args:
        commit: The newest commit.
        key_file_bytes: See ``LogLimits``.
    """
    recent = commit.recent
    # Keys are 64-bit integers.
    inline = (len(recent.ids) + len(recent.heads)) // 8
    # Folding does not make fewer files of those that are too large to be merged again.
    growing = sum(2 * tier.keys.size_bytes <= key_file_bytes for tier in commit.tiers)
    files = recent.files if len(recent.files) + growing > MOST_FILES else ()
    return (
        COMMIT_WEIGHT * (commit.version + 1 - recent.start)
        + inline
        + sum(file.ids + file.heads for file in files)
    )


def _merge(stored: bytes, more: Keys) -> bytes:
    return np.sort(np.concatenate([np.frombuffer(stored, "<u8"), more])).astype("<u8").tobytes()


def _keep_newest(heads: bytes) -> bytes:
    """Keep each fingerprint once, in its last cell."""
    keys = np.frombuffer(heads, "<u8")
    fingerprints = keys & ~np.uint64(CELLS - 1)
    # Keys are sorted by fingerprint and then by cell, so the last of equal fingerprints is the
    # newest.
    last = np.append(fingerprints[1:] != fingerprints[:-1], True)[: len(keys)]
    return bytes(keys[last].tobytes())


def _later(stored: bytes, step: int) -> bytes:
    keys = np.frombuffer(stored, "<u8")
    later = keys[(keys & np.uint64(CELLS - 1)) >= np.uint64(step)] - np.uint64(step)
    return later.astype("<u8").tobytes()
