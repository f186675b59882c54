"""The chain of commits as this process has read it.

It holds the head and the commits that no tier holds yet; older commits are read by number.
"""

from collections.abc import Callable, Iterator, Sequence

from eventlake.columns.keys.key_runs import KeyRun
from eventlake.columns.parquet import manifest_rows
from eventlake.core import layout
from eventlake.core.documents.commit import Commit, commit_hash
from eventlake.core.documents.manifest import KeyFile, Tier
from eventlake.core.hashing.merkle import EMPTY_ROOT, CompactRange
from eventlake.errors import CorruptionError
from eventlake.log.chain import hint
from eventlake.log.chain.check_derived import check_entry, check_keys, check_rows
from eventlake.log.chain.checked_read import read_catalogue
from eventlake.log.chain.entry import Entry, check_follows
from eventlake.log.chain.key_index import KeyIndex
from eventlake.log.chain.limits import LOG_LIMITS, LogLimits
from eventlake.log.chain.manifest import Manifest, SegmentInCommit
from eventlake.log.chain.stored_keys import StoredKeys
from eventlake.log.chain.tier_rows import TierRows
from eventlake.schemas.catalogue import Catalogue
from eventlake.storage import ObjectMissingError, Storage
from eventlake.trust import OWN, Trust

_PROBE_AFTER = 64
"""After so many new commits are read one by one, the head is searched by probing."""


class Chain:
    """The commits ``0 … head``. Commits are only ever added.

    Attributes:
        storage: Where the lake is.
        trust: The trust in the lake's writers.
        limits: Sizes and times by which this process writes.
        origin: The lake's name.
        created: When the lake was created; microseconds since 1970-01-01 UTC.
        strict: Whether every event type needs a schema.
        head: The newest commit, or None in an empty lake.
        keys: The index that finds commits by event id, subject or producer.
        rows: The commits and segments that the tiers summarize.
        clocks: This process's monotonic clock and the store's clock, in microseconds, when the
            writer's clock was last compared with the store's.
    """

    def __init__(
        self,
        storage: Storage,
        origin: str,
        created: int,
        *,
        strict: bool = False,
        trust: Trust = OWN,
        limits: LogLimits = LOG_LIMITS,
    ) -> None:
        self.storage = storage
        self.trust = trust
        self.limits = limits
        self.origin = origin
        self.created = created
        self.strict = strict
        self.head: Entry | None = None
        self.clocks: tuple[int, int] | None = None
        # Consecutive commits that end with the head. ``tail`` completes them down to the newest
        # tier.
        self._tail: list[Entry] = []
        # Functions instead of this object, so that the index knows nothing of the chain.
        self.keys = KeyIndex(
            storage,
            self._rebuild_keys,
            trust,
            lambda: check_keys(self),
            limits=limits,
            newer=self._merged_from,
        )
        self.rows = TierRows(storage, self._rebuild_rows)
        self._folded: tuple[tuple[Tier, ...], Manifest] = ((), Manifest([], []))
        self._catalogue: tuple[str | None, Catalogue] = (None, Catalogue())

    def _rebuild_keys(self, start: int, stop: int) -> KeyRun:
        from eventlake.log.chain.rebuild_keys import rebuild_keys

        return rebuild_keys(self, start, stop)

    def extend(self, commit: Commit, data: bytes) -> Entry:
        """Add the commit that follows the head, which this process has published or read."""
        return self.adopt(Entry(commit, commit_hash(data)))

    def adopt(self, entry: Entry) -> Entry:
        """Make the commit that follows the head the new head."""
        self.head = entry
        self._tail = [
            *(one for one in self._tail if one.commit.version >= entry.commit.recent.start),
            entry,
        ]
        return entry

    def published(self, commit: Commit, data: bytes) -> Entry:
        """Add the commit that this process published, and update the hint for readers."""
        hint.leave(self.storage, self.origin, commit.version)
        return self.extend(commit, data)

    def refresh(self) -> None:
        """Read the commits that were added since.

        Raises:
            CorruptionError: A commit is damaged or does not follow the one before.
        """
        read = 0
        while self._read_next():
            read += 1
            # A reader that was away for long would read every commit; probing finds the head in a
            # few requests.
            if read % _PROBE_AFTER == 0:
                self.skip_to(hint.probe(self.storage, self.next_version - 1))

    def twin(self) -> "Chain":
        """Another chain of the same lake, at the same head."""
        twin = Chain(
            self.storage,
            self.origin,
            self.created,
            strict=self.strict,
            trust=self.trust,
            limits=self.limits,
        )
        twin.follow(self)
        return twin

    def follow(self, other: "Chain") -> None:
        """Take the head of another chain of the same lake, without reading anything."""
        self.head, self._tail = other.head, list(other._tail)  # noqa: SLF001 - of the same class

    def skip_to(self, version: int) -> None:
        """Make commit ``version`` the head, without reading the commits before it."""
        if version >= self.next_version:
            # The commits in between are checked when they are read, by their hashes, back from this
            # one.
            self.head = self.read_entry(version)
            self._tail = [self.head]

    def _read_next(self) -> bool:
        path = layout.commit_path(self.next_version)
        try:
            data = self.storage.read(path)
        except ObjectMissingError:
            return False
        commit = Commit.decode(data, path)
        check_follows(commit, self.head, self.origin, path)
        self.extend(commit, data)
        return True

    def entry(self, version: int) -> Entry:
        """A commit of the chain, from memory or the store.

        Raises:
            CorruptionError: It is damaged or missing.
        """
        if version >= self.next_version:
            message = (
                f"the keys of the log name commit {version:,}, "
                f"expected one below {self.next_version:,}"
            )
            raise CorruptionError(message, "run 'eventlake verify LAKE --deep'.", path=layout.LOG)
        in_memory = self._in_memory(version)
        if in_memory is not None:
            return in_memory
        entry = self.read_entry(version)
        check_entry(self, entry)
        return entry

    def _in_memory(self, version: int) -> Entry | None:
        known = bool(self._tail) and version >= self._tail[0].commit.version
        return self._tail[version - self._tail[0].commit.version] if known else None

    def read_entry(self, version: int) -> Entry:
        """Read a commit from the store.

        Raises:
            CorruptionError: It is damaged, missing or of another lake.
        """
        path = layout.commit_path(version)
        try:
            data = self.storage.read(path)
        except ObjectMissingError as error:
            message = f"{path} is missing, but later commits exist"
            raise CorruptionError(
                message, "restore it from a backup; commits are never deleted.", path=path
            ) from error
        commit = Commit.decode(data, path)
        if (commit.version, commit.origin) != (version, self.origin):
            message = (
                f"{path} is commit {commit.version} of {commit.origin}, "
                f"expected commit {version} of {self.origin}"
            )
            raise CorruptionError(
                message,
                "run 'eventlake verify LAKE'; the log was edited or mixed with another one.",
                path=path,
            )
        return Entry(commit, commit_hash(data))

    def entries(self) -> Iterator[Entry]:
        """Yield all commits, oldest first, each checked against the one before."""
        before = None
        for version in range(self.next_version):
            entry = self._in_memory(version) or self.read_entry(version)
            check_follows(entry.commit, before, self.origin, layout.commit_path(version))
            before = entry
            yield entry

    def tail(self) -> list[Entry]:
        """The commits that no tier holds, oldest first.

        Raises:
            CorruptionError: One of them is damaged or missing.
        """
        if self.head is None:
            return []
        first = self.head.commit.recent.start
        # After a jump to the head, the commits between the newest tier and the head are not in
        # memory yet.
        if self._tail[0].commit.version > first:
            tail = [
                *(
                    self.read_entry(version)
                    for version in range(first, self._tail[0].commit.version)
                ),
                *self._tail,
            ]
            for before, entry in zip([None, *tail], tail, strict=False):
                if before or not first:
                    check_follows(
                        entry.commit, before, self.origin, layout.commit_path(entry.commit.version)
                    )
            self._tail = tail
        return self._tail

    def newest(self, kind: str, text: str, matches: Callable[[Entry], bool]) -> Entry | None:
        """The newest commit that matches, or None; every match has the key ``text`` of ``kind``."""
        version = self.keys.newest(self.head.commit if self.head else None, kind, text)
        if version is None:
            return None
        entry = self.entry(version)
        if matches(entry):
            return entry
        # Two texts share a fingerprint, about once in ten million lookups among ten million texts.
        # Then the log itself is searched.
        earlier = (self.entry(number) for number in range(self.next_version - 1, -1, -1))
        return next((entry for entry in earlier if matches(entry)), None)

    def _merged_from(self, file: KeyFile, stop: int) -> StoredKeys | None:
        """Find the keys of a file that was deleted, because a newer commit merged it."""
        # A chain of its own: the caller decides by the head that it knows.
        scout = self.twin()
        scout.refresh()
        if scout.head is None or scout.head is self.head:
            return None
        return scout.keys.merged_from(scout.head.commit, file, stop)

    def _rebuild_rows(self, start: int, stop: int) -> list[manifest_rows.Row]:
        """The rows of the commits ``[start, stop)``, read from the log up to its unfolded tail."""
        before, rows = None, []
        # Reading on to a checked commit proves the ones before it by their hashes.
        last = self.tail()[0].commit.version
        for version in range(start, last + 1):
            entry = self._in_memory(version) or self.read_entry(version)
            if before or not version:
                check_follows(entry.commit, before, self.origin, layout.commit_path(version))
            before = entry
            rows.append(entry.row)
        return rows[: stop - start]

    def manifest(self) -> Manifest:
        """Every commit's summary, and the segments that hold the events now.

        Raises:
            CorruptionError: A tier or a commit is damaged.
        """
        if self.head is None:
            return Manifest([], [])
        tiers = self.head.commit.tiers
        # Tiers change rarely, so their part of the manifest is kept between calls.
        if self._folded[0] != tiers:
            check_rows(self)
            manifest = Manifest([], [])
            for tier in tiers:
                manifest = manifest.with_rows(self.rows.of(tier))
            self._folded = (tiers, manifest)
        return self._folded[1].with_rows(entry.row for entry in self.tail())

    def fold(self, entries: Sequence[Entry]) -> None:
        """Replace what was read from tiers by the commits themselves, all read and checked."""
        if self.head is not None:
            tiers, first = self.head.commit.tiers, self.head.commit.recent.start
            self._folded = (
                tiers,
                Manifest([], []).with_rows(entry.row for entry in entries[:first]),
            )

    @property
    def next_version(self) -> int:
        """The version of the next commit."""
        return self.head.commit.version + 1 if self.head else 0

    @property
    def fence(self) -> int | None:
        """The version of the newest fence."""
        return self.head.commit.fence if self.head else None

    @property
    def schemas(self) -> str | None:
        """SHA-256 of the catalogue of schemas at the head."""
        return self.head.commit.schemas if self.head else None

    def catalogue(self) -> Catalogue:
        """The schemas at the head.

        Raises:
            CorruptionError: The document is damaged or missing.
        """
        # The hash names the catalogue, so the same hash never has to be read twice.
        if self._catalogue[0] != self.schemas:
            self._catalogue = (
                self.schemas,
                read_catalogue(self.storage, self.schemas, self.watermark),
            )
        return self._catalogue[1]

    @property
    def watermark(self) -> int:
        """The number of events."""
        return self.head.commit.stop if self.head else 0

    @property
    def frontier(self) -> CompactRange:
        """The compact range ``[0, watermark)``."""
        return self.head.commit.range if self.head else CompactRange.empty()

    @property
    def root(self) -> str:
        """The Merkle root at the head, in hex."""
        return self.head.commit.root if self.head else EMPTY_ROOT.hex()

    def next_instant(self, now: int) -> int:
        """The ``recorded_at`` of a commit made at ``now``: never before the head's."""
        return max(now, self.head.commit.recorded_at) if self.head else now

    def segments(self, start: int, stop: int) -> list[SegmentInCommit]:
        """The current segments that overlap the events ``[start, stop)``, in order."""
        return self.manifest().between(start, stop)
