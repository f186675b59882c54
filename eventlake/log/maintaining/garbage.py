"""Collecting garbage: what no reader and no writer needs any more is deleted. Nothing else ever deletes.

A fence is put up first. Whoever stored something before it, however long he sleeps, must find the
fence before he can commit, and stores anew; what was stored after it is younger than it. So nothing
that a commit names, or will ever name, is among what is older.

An attempt to build a dataset is no commit's affair: ``attempts`` says what keeps a builder and a
collector apart.

A full disk has no room for a fence: then the lake's reserve is given up, and after it the garbage
that may be deleted without one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from eventlake.columns.parquet.manifest_rows import Row
from eventlake.core import layout
from eventlake.core.card import Card, counted
from eventlake.core.documents.commit import Commit
from eventlake.errors import InvalidInputError, StorageError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import vouch
from eventlake.log.chain.checked_read import check_claims
from eventlake.log.chain.manifest import Manifest
from eventlake.log.chain.publish import publish
from eventlake.log.maintaining.attempts import give_up, left_over, publish_finished
from eventlake.log.maintaining.check_compaction import check_compacted
from eventlake.log.maintaining.reserve import keep_reserve, with_room
from eventlake.log.next_commit import plain_commit
from eventlake.progress import task
from eventlake.storage import Storage, StoredObject
from eventlake.verbs import helpful

OLDER_THAN = timedelta(days=7)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Unneeded:
    """A file that nobody needs.

    Attributes:
        path: Relative to the lake.
        size_bytes: Its length.
        since: Since when, by the store's clock; microseconds since 1970-01-01 UTC.
        reason: Why.
    """

    path: str
    size_bytes: int
    since: int
    reason: str


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Garbage:
    """What a collection found.

    Attributes:
        files: What was unneeded for long enough, in path order.
        deleted: Whether it was deleted, or would only have been.
    """

    files: tuple[Unneeded, ...]
    deleted: bool

    @property
    def size_bytes(self) -> int:
        """Together."""
        return sum(file.size_bytes for file in self.files)

    def __repr__(self) -> str:
        """The card's title."""
        return f"<Garbage: {self.card().title}>"

    def card(self) -> Card:
        """What to show."""
        verb = "deleted" if self.deleted else "would delete"
        facts = (
            ("bytes", f"{self.size_bytes:,}"),
            *(() if self.deleted or not self.files else (("next", "give --delete to delete"),)),
        )
        rows = tuple((file.path, f"{file.size_bytes:,}", file.reason) for file in self.files)
        return Card(
            f"{verb} {counted(len(self.files), 'file')}", facts, ("file", "bytes", "why"), rows
        )


def collect(chain: Chain, older_than: timedelta, now: int, *, dry_run: bool) -> Garbage:
    """Finds what has been unneeded for longer than ``older_than``, and deletes it.

    Args:
        chain: The lake's log, the caller's own; refreshed.
        older_than: Who reads a snapshot for longer without a new look at the log may miss a
            segment, and looks again.
        now: This machine's clock in microseconds; asked in a dry run alone, else the store's own
            counts.
        dry_run: Only say what would be deleted; nothing is written.

    Raises:
        InvalidInputError: ``older_than`` is negative.
        CorruptionError: A commit is damaged, or compacts to other events than it replaces; nothing
            was deleted.
        StorageError: The store failed.
    """
    if older_than < timedelta(0):
        message = f"expected older_than as an age from 0, found {older_than}"
        raise InvalidInputError(message)
    age = older_than // _MICROSECOND
    if dry_run:
        return Garbage(tuple(file for _, file in _old(chain, age, now)), deleted=False)
    spared: list[Unneeded] = []
    fence = with_room(chain.storage, lambda: _fence(chain), _without_fence(chain, age, now, spared))
    # What needs nothing to be written goes first: it makes the room that the rest may need.
    old = sorted((file for _, file in _old(chain, age, now, fence)), key=_is_of_an_attempt)
    deleted = [*spared, *_deleted(chain.storage, old)]
    publish_finished(chain.storage)
    keep_reserve(chain.storage)
    return Garbage(tuple(sorted(deleted, key=lambda file: file.path)), deleted=True)


def _old(chain: Chain, age: int, now: int, fence: int | None = None) -> list[tuple[bool, Unneeded]]:
    """What has been unneeded for longer than ``age``, and whether it may be deleted without a fence.

    Args:
        chain: The lake's log; refreshed after the files were listed.
        age: In microseconds.
        now: This machine's clock.
        fence: The commit whose time is the store's clock, instead of ``now``.
    """
    stored = list(chain.storage.list(""))
    if fence is not None:
        now = _modified(stored, layout.commit_path(fence))
    chain.refresh()
    return [(free, file) for free, file in _unneeded(chain, stored, now) if file.since < now - age]


def _modified(stored: Sequence[StoredObject], path: str) -> int:
    """When the store says that an object was stored.

    Raises:
        StorageError: The listing does not show it yet; what else it leaves out, nobody knows.
    """
    for item in stored:
        if item.path == path:
            return item.modified
    message = f"expected the store to list {path}, which was just made; its listing is older"
    raise StorageError(message, "nothing was deleted; collect again in a while.", path=path)


def _without_fence(chain: Chain, age: int, now: int, spared: list[Unneeded]) -> Iterator[str]:
    """The paths of garbage that may be deleted without a fence; each is added to ``spared``.

    No later commit can name a compacted segment, whoever slept over what, because no two segments
    ever have the same name. The temporary file of a slow writer is written again, and so is what is
    derived. The log is made durable first, so that a power cut cannot take back the commit since
    which a segment is not needed.
    """
    chain.storage.sync(layout.LOG)
    for free, file in _old(chain, age, now):
        if free:
            spared.append(file)
            yield file.path


def _fence(chain: Chain) -> int:
    while True:
        chain.refresh()
        commit = plain_commit(chain, "fence")
        data = commit.encode()
        vouch(chain, commit, data)
        if publish(chain.storage, commit, data):
            chain.published(commit, data)
            return commit.version


def _is_of_an_attempt(file: Unneeded) -> bool:
    return layout.attempt(file.path) is not None


def _deleted(storage: Storage, files: Sequence[Unneeded]) -> Iterator[Unneeded]:
    """Deletes the files, but for those of an attempt that was finished since they were listed."""
    may_go: dict[str, bool] = {}
    with task("deleting", len(files)) as advance:
        for file in files:
            attempt = layout.attempt(file.path)
            if attempt is not None and attempt not in may_go:
                may_go[attempt] = storage.exists(f"{attempt}/{layout.REMOVED}") or give_up(
                    storage, attempt
                )
            if attempt is None or may_go[attempt]:
                storage.delete(file.path)
                yield file
            advance(1)


def _unneeded(
    chain: Chain, stored: Sequence[StoredObject], now: int
) -> Iterator[tuple[bool, Unneeded]]:
    """What no commit names any more or ever did, what interrupted writes left, and builds that were never published.

    Each comes with whether it may be deleted without a fence.
    """
    # What a compaction by others replaced is all that could contradict it.
    current = chain.manifest().segments
    check_compacted(chain, current)
    check_claims(chain.storage, [one for one in current if one[0].kind == "compact"], chain.trust)
    modified = {item.path: item.modified for item in stored}
    dropped, needed = _dropped(chain)
    left = left_over(chain.storage, modified)
    short = _short_ranges(modified)
    for item in stored:
        if item.path in short:
            since = max(item.modified, modified[short[item.path]])
            yield (
                True,
                Unneeded(
                    item.path,
                    item.size_bytes,
                    since,
                    "a longer part of the event table stands for it",
                ),
            )
        elif layout.is_temporary(item.path):
            yield (
                True,
                Unneeded(item.path, item.size_bytes, item.modified, "left by an interrupted write"),
            )
        elif item.path in left:
            since, reason, unfinished = left[item.path]
            yield not unfinished, Unneeded(item.path, item.size_bytes, since, reason)
        elif layout.claim_number(item.path) is not None or layout.is_work(item.path):
            yield (
                True,
                Unneeded(item.path, item.size_bytes, item.modified, "left by a build that died"),
            )
        elif (
            layout.segment_sha256(item.path) or _is_derived(item.path)
        ) and item.path not in needed:
            version = dropped.get(item.path)
            # A commit that came after the listing has not made anything old.
            since = (
                item.modified
                if version is None
                else max(item.modified, modified.get(layout.commit_path(version), now))
            )
            reason = (
                "no commit names it"
                if version is None
                else f"since commit {version} others stand for it"
            )
            compacted = version is not None and layout.segment_sha256(item.path) is not None
            yield compacted, Unneeded(item.path, item.size_bytes, since, reason)


def _short_ranges(paths: Iterable[str]) -> dict[str, str]:
    """The files of event tables whose events another file of the same table holds too, among more; and which one does."""
    tables: dict[str, list[tuple[int, int, str]]] = {}
    for path in paths:
        if found := layout.table_range(path):
            tables.setdefault(found[0], []).append((found[1], -found[2], path))
    short: dict[str, str] = {}
    for ranges in tables.values():
        furthest, longest = -1, ""
        for _, stop, path in sorted(ranges):
            if -stop <= furthest:
                short[path] = longest
            else:
                furthest, longest = -stop, path
    return short


def _is_derived(path: str) -> bool:
    return layout.keys_sha256(path) is not None or layout.rows_sha256(path) is not None


def _dropped(chain: Chain) -> tuple[dict[str, int], set[str]]:
    """The commit since which a file is not needed any more, for those that once were; and those that are needed now."""
    dropped: dict[str, int] = {}
    derived: set[str] = set()
    manifest = Manifest([], [])
    waiting: list[Row] = []
    with task("reading commits", chain.next_version) as advance:
        for entry in chain.entries():
            commit = entry.commit
            named = set(derived_files(commit))
            dropped |= dict.fromkeys(derived - named, commit.version)
            derived = named
            if commit.kind == "compact":
                manifest, waiting = manifest.with_rows(waiting), []
                for segment in commit.segments:
                    replaced = manifest.between(segment.start, segment.stop)
                    dropped |= {
                        layout.segment_path(one.sha256): commit.version for _, one in replaced
                    }
            waiting.append(entry.row)
            advance(1)
    manifest = manifest.with_rows(waiting)
    return dropped, derived | {
        layout.segment_path(segment.sha256) for _, segment in manifest.segments
    }


def derived_files(commit: Commit) -> Iterator[str]:
    """The files of the manifest that a commit names."""
    for tier in commit.tiers:
        yield layout.rows_path(tier.stop, tier.rows_sha256)
        yield layout.keys_path(tier.keys.sha256)
    for file in commit.recent.files:
        yield layout.keys_path(file.sha256)
