"""The chain of commits as this process has read it. It only ever grows, so whoever remembers a version shares the rest."""

import bisect
from dataclasses import dataclass

from eventlake.core import layout
from eventlake.core.canonical import seal, unseal
from eventlake.core.checkpoint import check_origin
from eventlake.core.commit import FORMAT, Commit, Delivery, Position, Segment, commit_hash
from eventlake.core.formats import check_format
from eventlake.core.instants import format_instant
from eventlake.core.merkle import EMPTY_ROOT, CompactRange
from eventlake.errors import AlreadyExistsError, CorruptionError, NotFoundError
from eventlake.storage import ObjectExistsError, ObjectMissingError, Storage


@dataclass(frozen=True, slots=True)
class Entry:
    """A commit and the hash of its bytes."""

    commit: Commit
    commit_hash: str


class Chain:
    """The commits ``0 … head``, read by number, each checked against the one before.

    Attributes:
        storage: Where the lake is.
        origin: The lake's name.
        created: Microseconds.
        entries: One per commit, in order.
    """

    def __init__(self, storage: Storage, origin: str, created: int) -> None:
        self.storage = storage
        self.origin = origin
        self.created = created
        self.entries: list[Entry] = []
        self._stops: list[int] = []
        self._positions: dict[str, dict[int, tuple[int, Delivery]]] = {}

    def extend(self, commit: Commit, data: bytes) -> Entry:
        """Adds the commit that this process has just published after the head, without reading it back."""
        entry = Entry(commit, commit_hash(data))
        self.entries.append(entry)
        self._stops.append(commit.stop)
        for delivery in commit.deliveries:
            self._positions.setdefault(delivery.position.producer, {})[delivery.position.position] = (commit.version, delivery)
        return entry

    def at_position(self, position: Position) -> tuple[Entry, Delivery] | None:
        """The commit that holds this position of its producer's stream, and where in it; or None."""
        found = self._positions.get(position.producer, {}).get(position.position)
        return None if found is None else (self.entries[found[0]], found[1])

    def next_position(self, producer: str) -> int | None:
        """The position that the producer's next batch must have; None where it has none yet."""
        known = self._positions.get(producer)
        return max(known) + 1 if known else None

    def refresh(self) -> None:
        """Reads the commits that were added since.

        Raises:
            CorruptionError: A commit is damaged or does not follow the one before.
        """
        while True:
            path = layout.commit_path(len(self.entries))
            try:
                data = self.storage.read(path)
            except ObjectMissingError:
                return
            commit = Commit.decode(data, path)
            check_follows(commit, self.head, self.origin, path)
            self.extend(commit, data)

    @property
    def head(self) -> Entry | None:
        """The newest commit, or None in an empty lake."""
        return self.entries[-1] if self.entries else None

    @property
    def watermark(self) -> int:
        """Number of events."""
        return self._stops[-1] if self._stops else 0

    @property
    def frontier(self) -> CompactRange:
        """The compact range ``[0, watermark)``."""
        return self.entries[-1].commit.range if self.entries else CompactRange.empty()

    @property
    def root(self) -> str:
        """The root at the head, hex."""
        return self.entries[-1].commit.root if self.entries else EMPTY_ROOT.hex()

    def next_instant(self, now: int) -> int:
        """The ``recorded_at`` of a commit made at ``now``: a writer whose clock is behind takes the head's."""
        return max(now, self.entries[-1].commit.recorded_at) if self.entries else now

    def version_of(self, sequence: int) -> int:
        """The version of the commit that holds the event ``sequence``."""
        return bisect.bisect_right(self._stops, sequence)

    def segments(self, watermark: int) -> list[tuple[Commit, Segment]]:
        """The segments with events below ``watermark``, in order, each with its commit; the last may reach beyond it."""
        commits = (entry.commit for entry in self.entries[: self.version_of(watermark - 1) + 1]) if watermark else ()
        return [(commit, segment) for commit in commits for segment in commit.segments if segment.start < watermark]


def check_follows(commit: Commit, before: Entry | None, origin: str, path: str) -> None:
    """Checks that ``commit`` is the one after ``before`` (the first one, for None).

    Raises:
        CorruptionError: It is not.
    """
    expected = {
        "version": before.commit.version + 1 if before else 0,
        "origin": origin,
        "prev": before.commit_hash if before else None,
        "start": before.commit.stop if before else 0,
    }
    for field, value in expected.items():
        found = getattr(commit, field)
        if found != value:
            message = f"{path} does not follow the commit before it: expected {field} {value}, found {found}"
            raise CorruptionError(message, "run 'eventlake verify LAKE'; the log was edited or mixed with another one.", path=path)
    last: int | None = before.commit.recorded_at if before else None
    for first, stop in (*(segment.recorded for segment in commit.segments if segment.recorded), (commit.recorded_at,) * 2):
        if last is not None and first < last:
            message = f"{path} was recorded at {format_instant(first)}, before what it follows ({format_instant(last)})"
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path)
        last = stop
    frontier = before.commit.range if before else CompactRange.empty()
    for segment in commit.segments:
        frontier = frontier.merge(segment.range)
    if frontier != commit.range:
        message = f"{path}: the leaves of its segments do not fold to its root {commit.root}"
        raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path)


def create_chain(storage: Storage, origin: str, created: int) -> Chain:
    """Makes an empty lake.

    Raises:
        AlreadyExistsError: There is one already, or the folder holds other files; nothing was touched.
        InvalidInputError: ``origin`` cannot name a lake.
    """
    check_origin(origin)
    storage.check()
    stranger = next((item.path for item in storage.list("") if item.path != layout.LAKE and not layout.is_temporary(item.path)), None)
    if stranger is not None and not _has_lake(storage):
        message = f"{storage.uri} is not empty: it holds {stranger}"
        raise AlreadyExistsError(message, "give an empty or new folder.", uri=storage.uri)
    try:
        storage.create(layout.LAKE, seal({"created": created, "format": FORMAT, "origin": origin}))
    except ObjectExistsError:
        message = f"there is a lake in {storage.uri} already"
        raise AlreadyExistsError(message, "open it with el.open(…); lakes are never overwritten.", uri=storage.uri) from None
    return Chain(storage, origin, created)


def _has_lake(storage: Storage) -> bool:
    try:
        storage.read(layout.LAKE)
    except ObjectMissingError:
        return False
    return True


def open_chain(storage: Storage) -> Chain:
    """Reads an existing lake up to its head. Writes nothing.

    Raises:
        NotFoundError: There is no lake.
        UnsupportedFormatError: Written by a newer eventlake.
        CorruptionError: ``lake.json`` or a commit is damaged, or one is missing in the middle.
    """
    try:
        data = storage.read(layout.LAKE)
    except ObjectMissingError:
        message = f"there is no lake in {storage.uri} (no {layout.LAKE})"
        raise NotFoundError(message, "make one with 'eventlake init' or el.create(…), or check the path.", uri=storage.uri) from None
    document = unseal(data, layout.LAKE)
    check_format(document, layout.LAKE, FORMAT)
    origin, created = document.get("origin"), document.get("created")
    if not isinstance(origin, str) or not isinstance(created, int):
        message = f"{layout.LAKE} is damaged: expected an origin and when it was created, found {document}"
        raise CorruptionError(message, "restore it from a backup.", path=layout.LAKE)
    chain = Chain(storage, origin, created)
    # Listed before it is read: whatever was there then must be reached by number now, however many more are added meanwhile.
    listed = [version for item in storage.list(layout.LOG) if (version := layout.commit_version(item.path)) is not None]
    chain.refresh()
    if max(listed, default=-1) >= len(chain.entries):
        missing = layout.commit_path(len(chain.entries))
        message = f"{missing} is missing, but later commits are there ({layout.commit_path(max(listed))})"
        raise CorruptionError(message, "restore it from a backup; commits are never deleted.", path=missing)
    return chain
