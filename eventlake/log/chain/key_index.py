"""Find the commits that may hold an event id, a subject or a producer.

The cost does not grow with the length of the history.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from eventlake.columns.keys.key_runs import CELLS, KeyRun, Keys, found_ids
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.manifest import KeyFile, Recent
from eventlake.log.chain.limits import LOG_LIMITS, LogLimits
from eventlake.log.chain.stored_keys import Newer, Rebuild, StoredKeys, newest_in
from eventlake.storage import Storage
from eventlake.trust import LAKE, Trust


@dataclass(frozen=True, slots=True)
class Suspects:
    """Event keys that a run of commits may hold.

    Attributes:
        keys: The fingerprints that matched.
        versions: The commits that may hold them.
    """

    keys: Keys
    versions: list[range]


def recent_run(recent: Recent) -> KeyRun:
    """The keys that a commit carries inline."""
    heads = np.frombuffer(recent.heads, "<u8")
    versions = (heads & np.uint64(CELLS - 1)).astype(np.uint32) + np.uint32(recent.start)
    return KeyRun(
        recent.start, 0, np.frombuffer(recent.ids, "<u8"), heads & ~np.uint64(CELLS - 1), versions
    )


class KeyIndex:
    """The keys of a chain, as its head names them; ``check`` verifies them before every lookup."""

    def __init__(
        self,
        storage: Storage,
        rebuild: Rebuild,
        trust: Trust = LAKE,
        check: Callable[[], None] = lambda: None,
        *,
        limits: LogLimits = LOG_LIMITS,
        newer: Newer | None = None,
    ) -> None:
        self._storage = storage
        self._rebuild = rebuild
        self._trust = trust
        self._check = check
        self._limits = limits
        self._newer = newer
        self._files: dict[str, StoredKeys] = {}

    def stored(self, file: KeyFile, stop: int) -> StoredKeys:
        """A key file; kept for the next lookup."""
        # A key file never changes, so what was read of it stays valid.
        if file.sha256 not in self._files:
            self._files[file.sha256] = self._opened(file, stop)
        return self._files[file.sha256]

    def keep(self, file: KeyFile, stop: int, run: KeyRun) -> None:
        """Keep the keys that this process has just written, so that it need not read them back."""
        self._files[file.sha256] = self._opened(file, stop, run)

    def _opened(self, file: KeyFile, stop: int, run: KeyRun | None = None) -> StoredKeys:
        return StoredKeys(
            self._storage,
            file,
            stop,
            self._rebuild,
            self._trust,
            run=run,
            lookup_bytes=self._limits.lookup_bytes,
            kept_bytes=self._limits.kept_key_bytes,
            newer=self._newer,
        )

    def files(self, head: Commit) -> Iterator[tuple[StoredKeys, int]]:
        """The files that ``head`` names, oldest first, each with the version at which it ends."""
        named = [(tier.keys, tier.stop) for tier in head.tiers] + [
            (file, file.start + 1) for file in head.recent.files
        ]
        # Files that the head no longer names are dropped from memory here.
        self._files = {file.sha256: self.stored(file, stop) for file, stop in named}
        return ((self._files[file.sha256], stop) for file, stop in named)

    def merged_from(self, head: Commit, file: KeyFile, stop: int) -> StoredKeys | None:
        """The file of ``head`` into which ``file``, which ends before ``stop``, was merged."""
        self._check()
        return next(
            (
                stored
                for stored, _ in self.files(head)
                if stored.covers(file.start, stop) and not stored.is_named(file.sha256)
            ),
            None,
        )

    def suspects(self, head: Commit | None, wanted: Keys, since: int) -> list[Suspects]:
        """Find those of ``wanted`` (sorted, cell 0) that commits from ``since`` on may hold."""
        if head is None:
            return []
        self._check()
        found = [stored.ids(wanted) for stored, stop in self.files(head) if stop > since]
        recent = recent_run(head.recent)
        found.append((recent, found_ids(recent.ids, wanted)))
        return [Suspects(keys, _versions(run, keys)) for run, keys in found if len(keys)]

    def newest(self, head: Commit | None, kind: str, text: str) -> int | None:
        """The newest version that may hold ``text`` of this kind; None if no commit holds it."""
        if head is None:
            return None
        self._check()
        from eventlake.columns.keys.keys import text_key

        key = text_key(kind, text)
        # Tiers are asked only if nothing newer matches, and the newest first: most answers are
        # recent.
        folded: list[StoredKeys] = []
        recent = [newest_in(recent_run(head.recent), key)]
        for stored, stop in self.files(head):
            # A commit's own file may be newer than its inline keys; tiers are older than both.
            if stop > head.recent.start:
                recent.append(stored.newest(key))
            else:
                folded.append(stored)
        known = [version for version in recent if version is not None]
        if known:
            return max(known)
        return next(
            (version for stored in reversed(folded) if (version := stored.newest(key)) is not None),
            None,
        )


def _versions(run: KeyRun, keys: Keys) -> list[range]:
    return [run.versions_of(cell) for cell in sorted(set((keys & np.uint64(CELLS - 1)).tolist()))]
