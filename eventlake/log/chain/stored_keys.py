"""A key file of a chain, read in parts, in blocks or whole; rebuilt from the log if it is lost."""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from eventlake.columns.keys import key_files
from eventlake.columns.keys.key_merge import RunSource, Source
from eventlake.columns.keys.key_runs import FINGERPRINT, KeyRun, Keys, found_ids
from eventlake.core import layout
from eventlake.core.documents.manifest import KeyFile
from eventlake.errors import CorruptionError, NotFoundError, StorageError
from eventlake.log.chain.checked_read import bytes_statement
from eventlake.log.chain.key_blocks import KeyBlocks
from eventlake.log.chain.limits import LOG_LIMITS
from eventlake.storage import ByteRange, State, Storage, check_hash, read_sized, state_of
from eventlake.trust import LAKE, Trust

_LOG = logging.getLogger(__name__)
_FEW = 1_000
_SLOWER = 8
"""With more than ``_FEW`` keys, each lookup takes as long as reading so many times
``lookup_bytes``."""

Rebuild = Callable[[int, int], KeyRun]
"""Rebuilds the keys of the commits ``[start, stop)`` from their segments."""
Newer = Callable[[KeyFile, int], "StoredKeys | None"]
"""Finds the file of the newest commit into which a file that ends before a version was merged."""


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
    """A key file, of which as little is read as possible.

    A few keys are looked up in parts of it. A file of moderate size is read whole, and kept in
    memory, once the parts that were read are as large. A larger one on a local disk is never kept:
    many keys are looked up while it is read in blocks, from the page cache.
    """

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
        kept_bytes: int = LOG_LIMITS.kept_key_bytes,
        newer: Newer | None = None,
    ) -> None:
        self._storage = storage
        self._path = layout.keys_path(file.sha256)
        self._lookup_bytes = lookup_bytes
        self._kept_bytes = kept_bytes
        self._newer = newer
        self._replacement: StoredKeys | None = None
        self._trust = trust
        self._state: State | None = None
        self._file = file
        self._stop = stop
        self._rebuild_run = rebuild
        self._spent = 0
        self._run = run

    def covers(self, start: int, stop: int) -> bool:
        """Whether the file has the keys of all commits in ``[start, stop)``."""
        return self._file.start <= start and stop <= self._stop

    def is_named(self, sha256: str) -> bool:
        """Whether the file has this name."""
        return self._file.sha256 == sha256

    def source(self) -> Source:
        """Its keys, for a merge; those of a file in memory are not read again."""
        return KeyBlocks(self._storage, self._file) if self._run is None else RunSource(self._run)

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
        if self._run is None and self._replacement is None:
            try:
                if self._affordable(len(wanted)) and self._is_intact():
                    return self._empty_run(), self._ids_in_parts(wanted)
                if self._is_large():
                    return self._empty_run(), self._ids_in_blocks(wanted)
                self._run = self._checked()
            except (CorruptionError, NotFoundError) as error:
                self._recover(error)
        if self._replacement is not None:
            return self._replacement.ids(wanted)
        run = self.whole()
        return run, found_ids(run.ids, wanted)

    def newest(self, key: int) -> int | None:
        """The newest version that holds ``key``, or None."""
        if self._run is None and self._replacement is None:
            try:
                if self._is_large():
                    self._prove()
                    return self._newest_in_part(key)
                if self._affordable(1) and self._is_intact():
                    return self._newest_in_part(key)
                self._run = self._checked()
            except (CorruptionError, NotFoundError) as error:
                self._recover(error)
        if self._replacement is not None:
            version = self._replacement.newest(key)
            # A version behind this file says nothing about the versions in it.
            if version is None or version < self._stop:
                return version
        return newest_in(self.whole(), key)

    def _newest_in_part(self, key: int) -> int | None:
        # One bucket of about 250 bytes instead of a file of megabytes.
        section = key_files.sections(self._file.ids, self._file.heads)[1]
        [bucket] = self._buckets(section, [section.bucket(key)])
        version = key_files.version_in_bucket(bucket, key)
        return None if version is None else version + self._file.start

    def _is_large(self) -> bool:
        """Whether the file is read again rather than kept in memory."""
        # Reading an object store again takes longer than anything else that a lookup does.
        return (
            self._file.size_bytes > self._kept_bytes
            and self._storage.locate(self._path) is not None
        )

    def _is_intact(self) -> bool:
        """Whether parts of the file can be trusted: it was hashed whole, and not written since."""
        if self._trust.believes:
            return True
        # Asking an object store costs a request, so it is asked only once.
        if self._state is not None and self._storage.locate(self._path) is None:
            return True
        return self._is_proven()

    def _is_proven(self) -> bool:
        """Whether the file as it is now was hashed before."""
        state = state_of(self._storage, self._path)
        if state is None or (
            state != self._state
            and not self._trust.ledger.knows(bytes_statement(self._file.sha256, state))
        ):
            return False
        self._state = state
        return True

    def _prove(self) -> None:
        """Hash the file, unless that was done before."""
        if not self._is_intact():
            self._ids_in_blocks(np.empty(0, np.uint64))

    def _ids_in_blocks(self, wanted: Keys) -> Keys:
        """Look up many keys while reading the file once."""
        proven = self._is_proven()
        before = state_of(self._storage, self._path)
        blocks = KeyBlocks(self._storage, self._file, hashed=not proven)
        found = [wanted[:0]]
        for ids in blocks.ids():
            first, last = np.searchsorted(wanted, ids[[0, -1]] & FINGERPRINT)
            found.append(found_ids(ids, wanted[first : last + 1]))
        if not proven:
            for _ in blocks.heads():
                pass
            self._note(before)
        return np.concatenate(found)

    def _checked(self) -> KeyRun:
        before = state_of(self._storage, self._path)
        run = checked_keys(self._storage, self._file)
        self._note(before)
        return run

    def _note(self, before: State | None) -> None:
        """Record that the file in this state was hashed."""
        # The state is read before and after: only if it is the same, the hash is of this state.
        if before is not None and before == state_of(self._storage, self._path):
            self._trust.ledger.note([bytes_statement(self._file.sha256, before)])
            self._state = before

    def _affordable(self, lookups: int) -> bool:
        cost = lookups * self._lookup_bytes * (1 if lookups <= _FEW else _SLOWER)
        if self._is_large():
            return cost < self._file.size_bytes
        # Every lookup is charged to the file, until reading it whole would have been cheaper.
        self._spent += cost
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
            return self._storage.read_ranges(self._path, ranges)
        except StorageError as error:
            raise self._damaged(error.message) from error

    def _damaged(self, problem: str) -> CorruptionError:
        return CorruptionError(
            f"{self._path} is damaged: {problem}", "run 'eventlake verify LAKE'.", path=self._path
        )

    def _recover(self, error: CorruptionError | NotFoundError) -> None:
        """Find the keys elsewhere, or rebuild them: a lost key file costs time, never an answer."""
        # Another process may have merged the file and given back its space.
        if isinstance(error, NotFoundError) and self._newer is not None:
            self._replacement = self._newer(self._file, self._stop)
        if self._replacement is None:
            self._run = self._rebuilt(error)

    def _rebuilt(self, error: CorruptionError | NotFoundError) -> KeyRun:
        _LOG.warning("%s; rebuilt in memory from the log", error.message)
        return self._rebuild_run(self._file.start, self._stop)


def newest_in(run: KeyRun, key: int) -> int | None:
    """The newest version in ``run`` that holds ``key``, or None."""
    last = int(np.searchsorted(run.heads, np.uint64(key), side="right")) - 1
    return int(run.versions[last]) if last >= 0 and int(run.heads[last]) == key else None
