"""The keys of a commit, and how they come to stand in it: beside those of the commits before, or in a file where there are many."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eventlake.columns.keys import key_files
from eventlake.columns.keys.keys import (
    CELLS,
    KeyRun,
    Keys,
    distinct,
    few_text_keys,
    in_cell,
    of_commit,
)
from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.delivery import Position
from eventlake.core.documents.manifest import COMMIT_WEIGHT, KeyFile, Recent
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import StorageError
from eventlake.storage import ObjectExistsError, Storage, read_sized

FOLD_WEIGHT = 2_048
"""Recent keys of this weight are folded into a tier."""
MOST_FILES = 3
"""Where there are more key files than this, those of tiers included, large commits are folded too: a writer looks into all of them."""
_MAX_INLINE = 512
"""A commit with more keys than this has them in a file of their own."""


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The keys of one commit, whichever version it will have.

    Attributes:
        ids: Keys of its events; sorted, cell 0.
        heads: Keys of its subjects, producers and id; sorted, cell 0.
    """

    ids: Keys
    heads: Keys

    def at(self, version: int) -> KeyRun:
        """As the keys of commit ``version``."""
        return of_commit(version, self.ids, self.heads)


def own_keys(
    ids: Keys, subjects: Keys | None, positions: Sequence[Position], commit_id: str
) -> OwnKeys:
    """The keys of a commit with these events (``ids`` are theirs, sorted; ``subjects`` their subjects', in any order) and deliveries."""
    heads = few_text_keys([("commit", commit_id), *delivery_texts(positions)])
    return OwnKeys(ids, distinct(heads if subjects is None else np.concatenate([heads, subjects])))


def delivery_texts(positions: Sequence[Position]) -> list[tuple[str, str]]:
    """The texts by which deliveries are found again, each with its kind."""
    producers = {position.producer for position in positions}
    return [
        *(("producer", producer) for producer in producers),
        *(("position", position_text(position)) for position in positions),
    ]


def position_text(position: Position) -> str:
    """How a producer's position is spelled in a key."""
    return f"{position.producer}\x1f{position.position}"


def stored_where_large(storage: Storage, own: OwnKeys) -> OwnKeys | KeyFile:
    """The keys, or the file they were put in because they are many."""
    return own if len(own.ids) + len(own.heads) <= _MAX_INLINE else store(storage, own.at(0))


def store(storage: Storage, run: KeyRun) -> KeyFile:
    """Puts a run of keys into a file."""
    data = key_files.encode(run)
    sha256 = sha256_hex(data)
    try:
        storage.create(layout.keys_path(sha256), data)
    except ObjectExistsError:
        if sha256_hex(read_sized(storage, layout.keys_path(sha256), len(data))) != sha256:
            message = f"{layout.keys_path(sha256)} is damaged"
            raise StorageError(
                message,
                "delete it: it is derived, and will be made again.",
                path=layout.keys_path(sha256),
            ) from None
    return KeyFile(sha256, len(data), len(run.ids), len(run.heads), run.start, run.shift)


def recent_after(before: Recent, version: int, own: OwnKeys | KeyFile) -> Recent:
    """What is recent once commit ``version`` with its ``own`` keys follows.

    Raises:
        StorageError: The commits were not folded for so long that their keys cannot be told apart.
    """
    if isinstance(own, KeyFile):
        return replace(before, files=(*before.files, replace(own, start=version)))
    cell = version - before.start
    if cell >= CELLS:
        message = f"{cell:,} commits were not folded into the manifest"
        raise StorageError(
            message, f"see why nothing can be stored in {layout.MANIFESTS}/ and {layout.KEYS}/."
        )
    return replace(
        before,
        ids=_joined(before.ids, in_cell(own.ids, cell)),
        heads=_newest(_joined(before.heads, in_cell(own.heads, cell))),
    )


def recent_since(recent: Recent, version: int) -> Recent:
    """What of ``recent`` commits from ``version`` on brought."""
    step = version - recent.start
    ids, heads = (_later(keys, step) for keys in (recent.ids, recent.heads))
    return Recent(
        version, ids, heads, tuple(file for file in recent.files if file.start >= version)
    )


def weight(commit: Commit) -> int:
    """How much of the history up to this commit no tier holds.

    Keys in files of their own are as well found there as in a tier; they weigh only where these
    files get many.
    """
    recent = commit.recent
    inline = (len(recent.ids) + len(recent.heads)) // 8
    files = recent.files if len(recent.files) + len(commit.tiers) > MOST_FILES else ()
    return (
        COMMIT_WEIGHT * (commit.version + 1 - recent.start)
        + inline
        + sum(file.ids + file.heads for file in files)
    )


def _joined(stored: bytes, more: Keys) -> bytes:
    return np.sort(np.concatenate([np.frombuffer(stored, "<u8"), more])).astype("<u8").tobytes()


def _newest(heads: bytes) -> bytes:
    """Each fingerprint once, in its last cell."""
    keys = np.frombuffer(heads, "<u8")
    fingerprints = keys & ~np.uint64(CELLS - 1)
    last = np.append(fingerprints[1:] != fingerprints[:-1], True)[: len(keys)]
    return bytes(keys[last].tobytes())


def _later(stored: bytes, step: int) -> bytes:
    keys = np.frombuffer(stored, "<u8")
    later = keys[(keys & np.uint64(CELLS - 1)) >= np.uint64(step)] - np.uint64(step)
    return later.astype("<u8").tobytes()
