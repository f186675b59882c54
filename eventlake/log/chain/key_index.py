"""Looking up keys: which commits may hold an event id, a subject, a producer, at a cost that does not grow with history."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eventlake.columns.keys import key_files
from eventlake.columns.keys.keys import CELLS, KeyRun, Keys, found_ids, text_key
from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.manifest import KeyFile, Recent
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import CorruptionError, NotFoundError, StorageError
from eventlake.log.chain.checked_read import bytes_statement
from eventlake.storage import ByteRange, State, Storage, read_sized, state_of
from eventlake.trust import LAKE, Trust

_LOG = logging.getLogger(__name__)
_PART_BYTES = 250
"""About what looking up one key in a part of a file reads; ..."""
_FEW = 1_000
"""...of more keys each costs as much time as reading eight times that."""

Again = Callable[[int, int], KeyRun]
"""Makes the keys of the commits ``[start, stop)`` again, from their segments."""


@dataclass(frozen=True, slots=True)
class Suspects:
    """Event keys that a run of commits holds.

    Attributes:
        keys: The fingerprints that were met.
        versions: The commits they may be in.
    """

    keys: Keys
    versions: list[range]


def checked_keys(storage: Storage, file: KeyFile) -> KeyRun:
    """All keys of a file.

    Raises:
        NotFoundError: It is missing.
        CorruptionError: It is not the file that is named.
    """
    path = layout.keys_path(file.sha256)
    data = read_sized(storage, path, file.size_bytes)
    if sha256_hex(data) != file.sha256:
        message = f"{path} is damaged: its bytes have sha256 {sha256_hex(data)}"
        raise CorruptionError(
            message,
            "it is derived from the log: delete it, and what it held is made again.",
            path=path,
        )
    return key_files.decode(data, file, path)


class StoredKeys:
    """A key file; read in parts until as much has been read as it is long, then once as a whole, and kept."""

    def __init__(
        self,
        storage: Storage,
        file: KeyFile,
        stop: int,
        again: Again,
        trust: Trust = LAKE,
        *,
        run: KeyRun | None = None,
    ) -> None:
        self._storage = storage
        self._trust = trust
        self._state: State | None = None
        self._file = file
        self._stop = stop
        self._again = again
        self._spent = 0
        self._run = run

    def whole(self) -> KeyRun:
        """All of its keys."""
        if self._run is None:
            try:
                self._run = self._checked()
            except (CorruptionError, NotFoundError) as error:
                self._run = self._made_again(error)
        return self._run

    def ids(self, wanted: Keys) -> tuple[KeyRun, Keys]:
        """The keys of this file whose fingerprint is wanted, and the run whose cells they have."""
        if self._run is None and self._affordable(len(wanted)) and self._is_intact():
            try:
                return self._nothing(), self._ids_in_parts(wanted)
            except (CorruptionError, NotFoundError) as error:
                self._run = self._made_again(error)
        run = self.whole()
        return run, found_ids(run.ids, wanted)

    def newest(self, key: int) -> int | None:
        """The newest version that ``key`` is in, or None."""
        if self._run is None and self._affordable(1) and self._is_intact():
            try:
                section = key_files.sections(self._file.ids, self._file.heads)[1]
                [bucket] = self._buckets(section, [section.bucket(key)])
            except (CorruptionError, NotFoundError) as error:
                self._run = self._made_again(error)
            else:
                version = key_files.version_in_bucket(bucket, key)
                return None if version is None else version + self._file.start
        return newest_in(self.whole(), key)

    def _is_intact(self) -> bool:
        """Whether parts of the file can be believed: it was hashed as a whole once, and nobody has written it since."""
        if self._trust.believes:
            return True
        path = layout.keys_path(self._file.sha256)
        # Asking an object store costs a request, so it is asked once.
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
        path = layout.keys_path(self._file.sha256)
        before = state_of(self._storage, path)
        run = checked_keys(self._storage, self._file)
        if before is not None and before == state_of(self._storage, path):
            self._trust.ledger.note([bytes_statement(self._file.sha256, before)])
            self._state = before
        return run

    def _affordable(self, lookups: int) -> bool:
        self._spent += lookups * (_PART_BYTES if lookups <= _FEW else 8 * _PART_BYTES)
        return self._spent < self._file.size_bytes

    def _nothing(self) -> KeyRun:
        nothing = np.empty(0, np.uint64)
        return KeyRun(self._file.start, self._file.shift, nothing, nothing, np.empty(0, np.uint32))

    def _ids_in_parts(self, wanted: Keys) -> Keys:
        section = key_files.sections(self._file.ids, self._file.heads)[0]
        buckets = self._buckets(section, section.buckets(wanted))
        return found_ids(key_files.ids_of_bucket(b"".join(buckets)), wanted)

    def _buckets(self, section: key_files.Section, buckets: Sequence[int]) -> list[bytes]:
        """The bytes of some buckets, each of which was checked; asked for in two requests, for where they stand and for them."""
        bounds = section.bounds(self._parts([section.directory(bucket) for bucket in buckets]))
        if not all(section.data <= start <= stop <= section.stop for start, stop, _ in bounds):
            raise self._damaged("its directory is out of bounds")
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

    def _made_again(self, error: CorruptionError | NotFoundError) -> KeyRun:
        """The keys from the log and its segments, which are the truth; a key file only spares reading them."""
        _LOG.warning("%s; made again in memory from the log", error.message)
        return self._again(self._file.start, self._stop)


def newest_in(run: KeyRun, key: int) -> int | None:
    """The newest version that ``key`` is in, or None."""
    last = int(np.searchsorted(run.heads, np.uint64(key), side="right")) - 1
    return int(run.versions[last]) if last >= 0 and int(run.heads[last]) == key else None


def recent_run(recent: Recent) -> KeyRun:
    """What stands in the commit itself."""
    heads = np.frombuffer(recent.heads, "<u8")
    versions = (heads & np.uint64(CELLS - 1)).astype(np.uint32) + np.uint32(recent.start)
    return KeyRun(
        recent.start, 0, np.frombuffer(recent.ids, "<u8"), heads & ~np.uint64(CELLS - 1), versions
    )


class KeyIndex:
    """The keys of a chain, as its head names them; ``check`` makes sure of them before any question is answered."""

    def __init__(
        self,
        storage: Storage,
        again: Again,
        trust: Trust = LAKE,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._storage = storage
        self._again = again
        self._trust = trust
        self._check = check
        self._files: dict[str, StoredKeys] = {}

    def stored(self, file: KeyFile, stop: int) -> StoredKeys:
        """A key file, kept for the next question."""
        if file.sha256 not in self._files:
            self._files[file.sha256] = StoredKeys(
                self._storage, file, stop, self._again, self._trust
            )
        return self._files[file.sha256]

    def keep(self, file: KeyFile, stop: int, run: KeyRun) -> None:
        """Keeps what this process has just put into a file, so that it need not read it."""
        self._files[file.sha256] = StoredKeys(
            self._storage, file, stop, self._again, self._trust, run=run
        )

    def files(self, head: Commit) -> Iterator[tuple[StoredKeys, int]]:
        """The files that ``head`` names, oldest first, each with the version before which it ends."""
        named = [(tier.keys, tier.stop) for tier in head.tiers] + [
            (file, file.start + 1) for file in head.recent.files
        ]
        self._files = {file.sha256: self.stored(file, stop) for file, stop in named}
        return ((self._files[file.sha256], stop) for file, stop in named)

    def suspects(self, head: Commit | None, wanted: Keys, since: int) -> list[Suspects]:
        """Which of the event keys ``wanted`` (sorted, cell 0) commits from version ``since`` on may hold."""
        if head is None:
            return []
        self._check()
        found = [stored.ids(wanted) for stored, stop in self.files(head) if stop > since]
        recent = recent_run(head.recent)
        found.append((recent, found_ids(recent.ids, wanted)))
        return [Suspects(keys, _versions(run, keys)) for run, keys in found if len(keys)]

    def newest(self, head: Commit | None, kind: str, text: str) -> int | None:
        """The newest version that may hold this text of this kind; None says that none does."""
        if head is None:
            return None
        self._check()
        key = text_key(kind, text)
        folded: list[StoredKeys] = []
        recent = [newest_in(recent_run(head.recent), key)]
        for stored, stop in self.files(head):
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
