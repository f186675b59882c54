"""Find the commits that may hold an event id, a subject or a producer.

The cost does not grow with the length of the history.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eventlake.columns.keys import key_files
from eventlake.columns.keys.key_runs import CELLS, KeyRun, Keys, found_ids
from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.manifest import KeyFile, Recent
from eventlake.errors import CorruptionError, NotFoundError, StorageError
from eventlake.log.chain.checked_read import bytes_statement
from eventlake.log.chain.limits import LOG_LIMITS
from eventlake.storage import ByteRange, State, Storage, check_hash, read_sized, state_of
from eventlake.trust import LAKE, Trust

_LOG = logging.getLogger(__name__)
_FEW = 1_000
"""With more keys than this, each lookup takes as long as reading eight times ``lookup_bytes``."""

Rebuild = Callable[[int, int], KeyRun]
"""Rebuilds the keys of the commits ``[start, stop)`` from their segments."""


@dataclass(frozen=True, slots=True)
class Suspects:
    """Event keys that a run of commits may hold.

    Attributes:
        keys: The fingerprints that matched.
        versions: The commits that may hold them.
    """

    keys: Keys
    versions: list[range]


def checked_keys(storage: Storage, file: KeyFile) -> KeyRun:
    """Read all keys of a file.

    Raises:
        NotFoundError: It is missing.
        CorruptionError: Its bytes do not match its hash.
    """
    path = layout.keys_path(file.sha256)
    hint = "it is derived from the log: delete it, and it is rebuilt."
    data = check_hash(read_sized(storage, path, file.size_bytes), file.sha256, path, hint=hint)
    return key_files.decode(data, file, path)


class StoredKeys:
    """A key file: read in parts until reading it whole is cheaper, then kept in memory."""

    def __init__(
        self,
        storage: Storage,
        file: KeyFile,
        stop: int,
        rebuild: Rebuild,
        trust: Trust = LAKE,
        *,
        run: KeyRun | None = None,
        lookup_bytes: int = LOG_LIMITS.lookup_bytes,
    ) -> None:
        self._storage = storage
        self._lookup_bytes = lookup_bytes
        self._trust = trust
        self._state: State | None = None
        self._file = file
        self._stop = stop
        self._rebuild_run = rebuild
        self._spent = 0
        self._run = run

    def whole(self) -> KeyRun:
        """All of its keys."""
        if self._run is None:
            try:
                self._run = self._checked()
            except (CorruptionError, NotFoundError) as error:
                self._run = self._rebuilt(error)
        return self._run

    def ids(self, wanted: Keys) -> tuple[KeyRun, Keys]:
        """The keys of this file with a wanted fingerprint, and the run whose cells they use."""
        if self._run is None and self._affordable(len(wanted)) and self._is_intact():
            try:
                return self._empty_run(), self._ids_in_parts(wanted)
            except (CorruptionError, NotFoundError) as error:
                self._run = self._rebuilt(error)
        run = self.whole()
        return run, found_ids(run.ids, wanted)

    def newest(self, key: int) -> int | None:
        """The newest version that holds ``key``, or None."""
        if self._run is None and self._affordable(1) and self._is_intact():
            try:
                # One bucket of about 250 bytes instead of a file of megabytes.
                section = key_files.sections(self._file.ids, self._file.heads)[1]
                [bucket] = self._buckets(section, [section.bucket(key)])
            except (CorruptionError, NotFoundError) as error:
                self._run = self._rebuilt(error)
            else:
                version = key_files.version_in_bucket(bucket, key)
                return None if version is None else version + self._file.start
        return newest_in(self.whole(), key)

    def _is_intact(self) -> bool:
        """Whether parts of the file can be trusted: it was hashed whole, and not written since."""
        if self._trust.believes:
            return True
        path = layout.keys_path(self._file.sha256)
        # Asking an object store costs a request, so it is asked only once.
        if self._state is not None and self._storage.locate(path) is None:
            return True
        state = state_of(self._storage, path)
        if state is None or (
            state != self._state
            and not self._trust.ledger.knows(bytes_statement(self._file.sha256, state))
        ):
            return False
        self._state = state
        return True

    def _checked(self) -> KeyRun:
        # The state is read before and after: only if it is the same, the hash is of this state.
        path = layout.keys_path(self._file.sha256)
        before = state_of(self._storage, path)
        run = checked_keys(self._storage, self._file)
        if before is not None and before == state_of(self._storage, path):
            self._trust.ledger.note([bytes_statement(self._file.sha256, before)])
            self._state = before
        return run

    def _affordable(self, lookups: int) -> bool:
        # Every lookup is charged to the file, until reading it whole would have been cheaper.
        self._spent += lookups * self._lookup_bytes * (1 if lookups <= _FEW else 8)
        return self._spent < self._file.size_bytes

    def _empty_run(self) -> KeyRun:
        nothing = np.empty(0, np.uint64)
        return KeyRun(self._file.start, self._file.shift, nothing, nothing, np.empty(0, np.uint32))

    def _ids_in_parts(self, wanted: Keys) -> Keys:
        section = key_files.sections(self._file.ids, self._file.heads)[0]
        buckets = self._buckets(section, section.buckets(wanted))
        return found_ids(key_files.ids_of_bucket(b"".join(buckets)), wanted)

    def _buckets(self, section: key_files.Section, buckets: Sequence[int]) -> list[bytes]:
        """The bytes of some buckets, checked; two requests: for their bounds, then for them."""
        bounds = section.bounds(self._parts([section.directory(bucket) for bucket in buckets]))
        # The directory has no checksum of its own, so its bounds are checked before they are used.
        if not all(section.data <= start <= stop <= section.stop for start, stop, _ in bounds):
            raise self._damaged("its directory is out of bounds")
        # Two round trips in all, however many keys are looked up.
        found = self._parts([(start, stop) for start, stop, _ in bounds])
        if any(
            key_files.checksum(data) != crc for data, (_, _, crc) in zip(found, bounds, strict=True)
        ):
            raise self._damaged("a part does not match its checksum")
        return found

    def _parts(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        try:
            return self._storage.read_ranges(layout.keys_path(self._file.sha256), ranges)
        except StorageError as error:
            raise self._damaged(error.message) from error

    def _damaged(self, problem: str) -> CorruptionError:
        path = layout.keys_path(self._file.sha256)
        return CorruptionError(
            f"{path} is damaged: {problem}", "run 'eventlake verify LAKE'.", path=path
        )

    def _rebuilt(self, error: CorruptionError | NotFoundError) -> KeyRun:
        """The keys, rebuilt from the log: a lost key file costs time, never an answer."""
        _LOG.warning("%s; rebuilt in memory from the log", error.message)
        return self._rebuild_run(self._file.start, self._stop)


def newest_in(run: KeyRun, key: int) -> int | None:
    """The newest version in ``run`` that holds ``key``, or None."""
    last = int(np.searchsorted(run.heads, np.uint64(key), side="right")) - 1
    return int(run.versions[last]) if last >= 0 and int(run.heads[last]) == key else None


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
        lookup_bytes: int = LOG_LIMITS.lookup_bytes,
    ) -> None:
        self._storage = storage
        self._rebuild = rebuild
        self._trust = trust
        self._check = check
        self._lookup_bytes = lookup_bytes
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
            lookup_bytes=self._lookup_bytes,
        )

    def files(self, head: Commit) -> Iterator[tuple[StoredKeys, int]]:
        """The files that ``head`` names, oldest first, each with the version at which it ends."""
        named = [(tier.keys, tier.stop) for tier in head.tiers] + [
            (file, file.start + 1) for file in head.recent.files
        ]
        # Files that the head no longer names are dropped from memory here.
        self._files = {file.sha256: self.stored(file, stop) for file, stop in named}
        return ((self._files[file.sha256], stop) for file, stop in named)

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
