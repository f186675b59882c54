"""Collecting garbage: what no reader and no writer needs any more is deleted. Nothing else ever deletes.

A fence is put up first. Whoever stored something before it, however long he sleeps, must find the fence before he can commit, and stores
anew; what was stored after it is younger than it. So nothing that a commit names, or will ever name, is among what is older.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from eventlake.columns.manifest_rows import Row
from eventlake.core import layout
from eventlake.core.card import Card, counted
from eventlake.core.commit import Commit
from eventlake.errors import InvalidInputError
from eventlake.log.chain import Chain
from eventlake.log.commits import plain_commit
from eventlake.log.manifest import Manifest
from eventlake.log.publish import publish
from eventlake.progress import task
from eventlake.storage import Storage, StoredObject

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
        facts = (("bytes", f"{self.size_bytes:,}"), *(() if self.deleted or not self.files else (("next", "give --delete to delete"),)))
        rows = tuple((file.path, f"{file.size_bytes:,}", file.reason) for file in self.files)
        return Card(f"{verb} {counted(len(self.files), 'file')}", facts, ("file", "bytes", "why"), rows)


def collect(chain: Chain, older_than: timedelta, now: int, *, dry_run: bool) -> Garbage:
    """Finds what has been unneeded for longer than ``older_than``, and deletes it.

    Args:
        chain: The lake's log, the caller's own; refreshed.
        older_than: Who reads a snapshot for longer without a new look at the log may miss a segment, and looks again.
        now: This machine's clock in microseconds; asked in a dry run alone, else the store's own counts.
        dry_run: Only say what would be deleted; nothing is written.

    Raises:
        InvalidInputError: ``older_than`` is negative.
        CorruptionError: A commit is damaged; nothing was deleted.
        StorageError: The store failed.
    """
    if older_than < timedelta(0):
        message = f"expected an age from 0, found {older_than}"
        raise InvalidInputError(message)
    fence = None if dry_run else _fence(chain)
    stored = list(chain.storage.list(""))
    if fence is not None:
        now = next(item.modified for item in stored if item.path == layout.commit_path(fence))
    chain.refresh()
    old = [file for file in _unneeded(chain, stored) if file.since < now - older_than // _MICROSECOND]
    return Garbage(tuple(old if dry_run else _deleted(chain.storage, old)), deleted=not dry_run)


def _fence(chain: Chain) -> int:
    while True:
        chain.refresh()
        commit = plain_commit(chain, "fence")
        data = commit.encode()
        if publish(chain.storage, commit, data):
            chain.published(commit, data)
            return commit.version


def _deleted(storage: Storage, files: Sequence[Unneeded]) -> Iterator[Unneeded]:
    """Deletes the files, but for those of a dataset that was published since they were listed."""
    with task("deleting", len(files)) as advance:
        for file in files:
            build = layout.build_parts(file.path)
            if build is None or not storage.exists(f"{layout.BUILDS}/{build[0]}/{build[1]}/{layout.MANIFEST}"):
                storage.delete(file.path)
                yield file
            advance(1)


def _unneeded(chain: Chain, stored: Sequence[StoredObject]) -> Iterator[Unneeded]:
    """What no commit names any more or ever did, what interrupted writes left, and builds that were never published."""
    modified = {item.path: item.modified for item in stored}
    dropped, needed = _dropped(chain)
    published = {parts[:2] for path in modified if (parts := layout.build_parts(path)) and parts[2] == layout.MANIFEST}
    short = _short_ranges(modified)
    for item in stored:
        build = layout.build_parts(item.path)
        if item.path in short:
            yield Unneeded(item.path, item.size_bytes, item.modified, "a longer part of the event table stands for it")
        elif layout.is_temporary(item.path):
            yield Unneeded(item.path, item.size_bytes, item.modified, "left by an interrupted write")
        elif build is not None and build[:2] not in published:
            since = max(time for path, time in modified.items() if path.startswith(f"{layout.BUILDS}/{build[0]}/{build[1]}/"))
            yield Unneeded(item.path, item.size_bytes, since, "of a build that was not published")
        elif (layout.segment_sha256(item.path) or _is_derived(item.path)) and item.path not in needed:
            version = dropped.get(item.path)
            since = item.modified if version is None else max(item.modified, modified.get(layout.commit_path(version), item.modified))
            reason = "no commit names it" if version is None else f"since commit {version} others stand for it"
            yield Unneeded(item.path, item.size_bytes, since, reason)


def _short_ranges(paths: Iterable[str]) -> set[str]:
    """The files of event tables whose events another file of the same table holds too, among more."""
    tables: dict[str, list[tuple[int, int, str]]] = {}
    for path in paths:
        if found := layout.table_range(path):
            tables.setdefault(found[0], []).append((found[1], -found[2], path))
    short = set()
    for ranges in tables.values():
        furthest = -1
        for _, stop, path in sorted(ranges):
            if -stop <= furthest:
                short.add(path)
            furthest = max(furthest, -stop)
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
                    dropped |= {layout.segment_path(one.sha256): commit.version for _, one in replaced}
            waiting.append(entry.row)
            advance(1)
    manifest = manifest.with_rows(waiting)
    return dropped, derived | {layout.segment_path(segment.sha256) for _, segment in manifest.segments}


def derived_files(commit: Commit) -> Iterator[str]:
    """The files of the manifest that a commit names."""
    for tier in commit.tiers:
        yield layout.rows_path(tier.stop, tier.rows_sha256)
        yield layout.keys_path(tier.keys.sha256)
    for file in commit.recent.files:
        yield layout.keys_path(file.sha256)
