"""The chain of commits as this process has read it: its head, what no tier holds yet, and by number whatever else is asked for."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa

from eventlake.columns.parquet import manifest_rows
from eventlake.columns.schema import whole_columns
from eventlake.core import layout
from eventlake.core.documents.commit import FORMAT, Commit, commit_hash
from eventlake.core.documents.lake import read_lake
from eventlake.core.documents.manifest import Tier
from eventlake.core.hashing.canonical import seal
from eventlake.core.hashing.checkpoint import check_origin
from eventlake.core.hashing.merkle import EMPTY_ROOT, CompactRange
from eventlake.errors import AlreadyExistsError, CorruptionError, NotFoundError
from eventlake.log.chain import hint
from eventlake.log.chain.believed import check_entry, check_keys, check_rows
from eventlake.log.chain.checked_read import read_catalogue, stored_events
from eventlake.log.chain.entry import Entry, check_follows
from eventlake.log.chain.key_index import KeyIndex
from eventlake.log.chain.keys_again import keys_of
from eventlake.log.chain.manifest import Manifest, SegmentInCommit, SegmentRanges
from eventlake.log.chain.tier_rows import TierRows
from eventlake.schemas.catalogue import Catalogue
from eventlake.storage import ObjectExistsError, ObjectMissingError, Storage, lake_nearby, probe
from eventlake.trust import OWN, Trust, trust_of

T = TypeVar("T")
_NEAR = 64
"""So many commits are read one by one; a head that is farther away is looked for."""


class Chain:
    """The commits ``0 … head``. It only ever grows, so whoever remembers a version shares the rest.

    Attributes:
        storage: Where the lake is.
        trust: What is believed of it.
        origin: The lake's name.
        created: Microseconds.
        strict: Whether every event type needs a schema.
        head: The newest commit, or None in an empty lake.
        keys: By which commits are found again.
        rows: What the tiers say of commits and segments.
        clocks: This process's monotonic clock, and the store's, when the writer's clock was last
            compared; microseconds.
    """

    def __init__(
        self,
        storage: Storage,
        origin: str,
        created: int,
        *,
        strict: bool = False,
        trust: Trust = OWN,
    ) -> None:
        self.storage = storage
        self.trust = trust
        self.origin = origin
        self.created = created
        self.strict = strict
        self.head: Entry | None = None
        self.clocks: tuple[int, int] | None = None
        self._tail: list[Entry] = []
        self.keys = KeyIndex(
            storage, lambda start, stop: keys_of(self, start, stop), trust, lambda: check_keys(self)
        )
        self.rows = TierRows(storage, self._rows_again)
        self._folded: tuple[tuple[Tier, ...], Manifest] = ((), Manifest([], []))
        self._catalogue: tuple[str | None, Catalogue] = (None, Catalogue())

    def extend(self, commit: Commit, data: bytes) -> Entry:
        """Adds the commit that follows the head, which this process has published or read."""
        return self.adopt(Entry(commit, commit_hash(data)))

    def adopt(self, entry: Entry) -> Entry:
        """Makes the commit that follows the head the head."""
        self.head = entry
        self._tail = [
            *(one for one in self._tail if one.commit.version >= entry.commit.recent.start),
            entry,
        ]
        return entry

    def published(self, commit: Commit, data: bytes) -> Entry:
        """``extend``, and leaves a hint for those who open the lake."""
        hint.leave(self.storage, self.origin, commit.version)
        return self.extend(commit, data)

    def refresh(self) -> None:
        """Reads the commits that were added since.

        Raises:
            CorruptionError: A commit is damaged or does not follow the one before.
        """
        read = 0
        while self._read_next():
            read += 1
            if read % _NEAR == 0:
                self.leap(hint.probe(self.storage, self.next_version - 1))

    def leap(self, version: int) -> None:
        """Makes commit ``version`` the head, without reading those on the way to it."""
        if version >= self.next_version:
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
        """A commit of the chain, read where it is not at hand.

        Raises:
            CorruptionError: It is damaged or missing.
        """
        if version >= self.next_version:
            message = f"expected a commit below {self.next_version:,}, found one called {version:,} among the keys of the log"
            raise CorruptionError(message, "run 'eventlake verify LAKE --deep'.", path=layout.LOG)
        at_hand = self._at_hand(version)
        if at_hand is not None:
            return at_hand
        entry = self.read_entry(version)
        check_entry(self, entry)
        return entry

    def _at_hand(self, version: int) -> Entry | None:
        known = bool(self._tail) and version >= self._tail[0].commit.version
        return self._tail[version - self._tail[0].commit.version] if known else None

    def read_entry(self, version: int) -> Entry:
        """A commit, read from the log.

        Raises:
            CorruptionError: It is damaged, missing or another lake's.
        """
        path = layout.commit_path(version)
        try:
            data = self.storage.read(path)
        except ObjectMissingError as error:
            message = f"{path} is missing, but later commits are there"
            raise CorruptionError(
                message, "restore it from a backup; commits are never deleted.", path=path
            ) from error
        commit = Commit.decode(data, path)
        if (commit.version, commit.origin) != (version, self.origin):
            message = f"{path} is commit {commit.version} of {commit.origin}, expected commit {version} of {self.origin}"
            raise CorruptionError(
                message,
                "run 'eventlake verify LAKE'; the log was edited or mixed with another one.",
                path=path,
            )
        return Entry(commit, commit_hash(data))

    def entries(self) -> Iterator[Entry]:
        """All commits, oldest first, each read and checked against the one before."""
        before = None
        for version in range(self.next_version):
            entry = self._at_hand(version) or self.read_entry(version)
            check_follows(entry.commit, before, self.origin, layout.commit_path(version))
            before = entry
            yield entry

    def tail(self) -> list[Entry]:
        """The commits that no tier holds, oldest first; read and checked where they are not at hand.

        Raises:
            CorruptionError: One of them is damaged or missing.
        """
        if self.head is None:
            return []
        first = self.head.commit.recent.start
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

    def newest(self, kind: str, text: str, wanted: Callable[[Entry], bool]) -> Entry | None:
        """The newest commit that is wanted, all of which have the key ``text`` of ``kind``; None where there is none."""
        version = self.keys.newest(self.head.commit if self.head else None, kind, text)
        if version is None:
            return None
        entry = self.entry(version)
        if wanted(entry):
            return entry
        # Two texts with one fingerprint: once in some ten million questions of ten million texts,
        # and then the log knows.
        earlier = (self.entry(number) for number in range(self.next_version - 1, -1, -1))
        return next((entry for entry in earlier if wanted(entry)), None)

    def events(
        self, versions: Collection[int], columns: list[str]
    ) -> Iterator[tuple[int, pa.Table]]:
        """Columns of the events of some commits, those that were not said as nulls; in pieces, each with the sequence of its first row.

        They are read from the segments that the commits brought. Where these were compacted and
        collected since, and where many commits are asked for, they are read from those that hold
        the events now.

        Raises:
            CorruptionError: A segment is damaged.
        """
        wanted = (
            self._brought(versions)
            if len(versions) <= _NEAR
            else self.manifest().holding(self._sequences(versions))
        )
        failed: set[str] = set()
        while wanted:
            lost = []
            for placed, ranges in wanted:
                segment = placed[1]
                try:
                    table = stored_events(self.storage, placed, self.trust, columns)
                except CorruptionError:
                    if segment.sha256 in failed:
                        raise
                    failed.add(segment.sha256)
                    lost += ranges
                    continue
                whole = whole_columns(table, columns)
                yield from (
                    (start, whole.slice(start - segment.start, stop - start))
                    for start, stop in ranges
                )
            wanted = open_chain(self.storage, self.trust).manifest().holding(lost) if lost else []

    def _brought(self, versions: Collection[int]) -> list[SegmentRanges]:
        entries = [
            one
            for version in sorted(versions)
            if (one := self.entry(version)).commit.kind == "append"
        ]
        return [
            ((one.summary, segment), [(segment.start, segment.stop)])
            for one in entries
            for segment in one.commit.segments
        ]

    def _sequences(self, versions: Collection[int]) -> list[tuple[int, int]]:
        commits = self.manifest().commits
        return [(commits[version].start, commits[version].stop) for version in sorted(versions)]

    def _rows_again(self, start: int, stop: int) -> list[manifest_rows.Row]:
        """The rows of the commits ``[start, stop)``, read from the log; they must lead to what no tier holds."""
        before, rows = None, []
        last = self.tail()[0].commit.version
        for version in range(start, last + 1):
            entry = self._at_hand(version) or self.read_entry(version)
            if before or not version:
                check_follows(entry.commit, before, self.origin, layout.commit_path(version))
            before = entry
            rows.append(entry.row)
        return rows[: stop - start]

    def manifest(self) -> Manifest:
        """Every commit's summary, and the segments that hold the events now.

        Raises:
            CorruptionError: What the manifest is made of is damaged.
        """
        if self.head is None:
            return Manifest([], [])
        tiers = self.head.commit.tiers
        if self._folded[0] != tiers:
            check_rows(self)
            manifest = Manifest([], [])
            for tier in tiers:
                manifest = manifest.with_rows(self.rows.of(tier))
            self._folded = (tiers, manifest)
        return self._folded[1].with_rows(entry.row for entry in self.tail())

    def fold(self, entries: Sequence[Entry]) -> None:
        """Takes what the head's tiers hold from the commits themselves, all of which were read and checked, and not from files."""
        if self.head is not None:
            tiers, first = self.head.commit.tiers, self.head.commit.recent.start
            self._folded = (
                tiers,
                Manifest([], []).with_rows(entry.row for entry in entries[:first]),
            )

    @property
    def next_version(self) -> int:
        """The version that the next commit will have."""
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
        if self._catalogue[0] != self.schemas:
            self._catalogue = (
                self.schemas,
                read_catalogue(self.storage, self.schemas, self.watermark),
            )
        return self._catalogue[1]

    @property
    def watermark(self) -> int:
        """Number of events."""
        return self.head.commit.stop if self.head else 0

    @property
    def frontier(self) -> CompactRange:
        """The compact range ``[0, watermark)``."""
        return self.head.commit.range if self.head else CompactRange.empty()

    @property
    def root(self) -> str:
        """The root at the head, hex."""
        return self.head.commit.root if self.head else EMPTY_ROOT.hex()

    def next_instant(self, now: int) -> int:
        """The ``recorded_at`` of a commit made at ``now``: a writer whose clock is behind takes the head's."""
        return max(now, self.head.commit.recorded_at) if self.head else now

    def segments(self, start: int, stop: int) -> list[SegmentInCommit]:
        """The segments that hold the events ``[start, stop)`` now, in order; the outer ones may reach beyond."""
        return self.manifest().between(start, stop)


def read_again(chain: Chain, read: Callable[[Chain], T]) -> T:
    """What ``read`` makes of a chain; once more where segments that it looked for were compacted and collected meanwhile.

    Raises:
        CorruptionError: Nothing was compacted: what ``read`` has met is damage.
    """
    try:
        return read(chain)
    except CorruptionError:
        now = open_chain(chain.storage, chain.trust)
        if now.manifest().segments == chain.manifest().segments:
            raise
        return read(now)


def create_chain(
    storage: Storage, origin: str, created: int, *, strict: bool = False, trust: Trust | None = None
) -> Chain:
    """Makes an empty lake.

    Raises:
        AlreadyExistsError: There is one already, or the folder holds other files; nothing was
            touched.
        InvalidInputError: ``origin`` cannot name a lake.
    """
    check_origin(origin)
    storage.check()
    stranger = next(
        (
            item.path
            for item in storage.list("")
            if item.path != layout.LAKE and not layout.is_temporary(item.path)
        ),
        None,
    )
    if stranger is not None and not _has_lake(storage):
        message = f"{storage.uri} is not empty: it holds {stranger}"
        raise AlreadyExistsError(message, "give an empty or new folder.", uri=storage.uri)
    probe(storage)
    try:
        storage.create(
            layout.LAKE,
            seal({"created": created, "format": FORMAT, "origin": origin, "strict": strict}),
        )
    except ObjectExistsError:
        message = f"there is a lake in {storage.uri} already"
        raise AlreadyExistsError(
            message, "open it with el.open(…); lakes are never overwritten.", uri=storage.uri
        ) from None
    return Chain(storage, origin, created, strict=strict, trust=trust or trust_of())


def _has_lake(storage: Storage) -> bool:
    try:
        storage.read(layout.LAKE)
    except ObjectMissingError:
        return False
    return True


def open_chain(storage: Storage, trust: Trust | None = None) -> Chain:
    """Reads an existing lake up to its head. Writes nothing there.

    Args:
        storage: Where it is.
        trust: What is believed of it; None for what the environment says.

    Raises:
        NotFoundError: There is no lake.
        UnsupportedFormatError: Written by a newer eventlake.
        CorruptionError: ``lake.json`` or the newest commit is damaged, or it is missing.
    """
    try:
        data = storage.read(layout.LAKE)
    except ObjectMissingError:
        nearby = lake_nearby(storage.uri)
        message = f"there is no lake in {storage.uri} (no {layout.LAKE})"
        advice = nearby or "make one with 'eventlake init' or el.create(…), or check the path"
        raise NotFoundError(message, f"{advice}.".replace("?.", "?"), uri=storage.uri) from None
    lake = read_lake(data, layout.LAKE)
    chain = Chain(storage, lake.origin, lake.created, strict=lake.strict, trust=trust or trust_of())
    chain.leap(hint.newest_version(storage, lake.origin))
    return chain
