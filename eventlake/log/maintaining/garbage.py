"""Garbage collection: delete files that no reader and no writer needs. Nothing else ever deletes.

A fence comes first. A writer that stored something before it, however long it was suspended, must
see the fence before it can commit, and stores everything again; what is stored after the fence is
newer than it. So no file older than the fence that a commit does not name will ever be named.

Attempts to build a dataset are not protected by commits: ``attempts`` keeps builders and collectors
apart.

On a full disk, there is no space for a fence: the lake's reserve is deleted, and then garbage that
may be deleted without a fence.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from eventlake.columns.parquet.manifest_rows import Row
from eventlake.core import layout
from eventlake.core.card import Card, Shown, counted
from eventlake.core.documents.commit import Commit
from eventlake.core.instants import MICROSECOND
from eventlake.errors import InvalidInputError, StorageError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import vouch
from eventlake.log.chain.checked_read import check_claims
from eventlake.log.chain.manifest import Manifest
from eventlake.log.chain.publish import publish
from eventlake.log.maintaining.attempts import give_up, leftover_files, publish_finished
from eventlake.log.maintaining.check_compaction import check_compacted
from eventlake.log.maintaining.reserve import keep_reserve, with_room
from eventlake.log.next_commit import plain_commit
from eventlake.progress import task
from eventlake.public_calls import helpful
from eventlake.storage import Storage, StoredObject

OLDER_THAN = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Unneeded:
    """A file that is not needed.

    Attributes:
        path: Its path in the lake.
        size_bytes: Its length.
        since: Since when it is not needed, by the store's clock; microseconds since 1970-01-01 UTC.
        reason: Why it is not needed.
    """

    path: str
    size_bytes: int
    since: int
    reason: str


@helpful
@dataclass(frozen=True, slots=True, repr=False)
class Garbage(Shown):
    """The result of a garbage collection.

    Attributes:
        files: Files that were unneeded for long enough, in path order.
        deleted: Whether they were deleted; False after a dry run.
    """

    files: tuple[Unneeded, ...]
    deleted: bool

    @property
    def size_bytes(self) -> int:
        """The total size of the files."""
        return sum(file.size_bytes for file in self.files)

    def __repr__(self) -> str:
        """The title of the card."""
        return f"<Garbage: {self.card().title}>"

    def card(self) -> Card:
        """A summary to display."""
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
    """Find files that have been unneeded for at least ``older_than``, and delete them.

    Args:
        chain: The lake's log, the caller's own; refreshed.
        older_than: The minimum age. A reader that uses a snapshot for longer may miss a segment,
            and then reads the log again.
        now: This machine's clock in microseconds; used only in a dry run, otherwise the store's
            clock counts.
        dry_run: Only report what would be deleted; nothing is written.

    Raises:
        InvalidInputError: ``older_than`` is negative.
        CorruptionError: A commit is damaged, or compacts to other events than it replaces; nothing
            was deleted.
        StorageError: The store failed.
    """
    if older_than < timedelta(0):
        message = f"expected older_than as an age from 0, found {older_than}"
        raise InvalidInputError(message)
    age = older_than // MICROSECOND
    if dry_run:
        return Garbage(tuple(file for _, file in _old(chain, age, now)), deleted=False)
    spared: list[Unneeded] = []
    fence = with_room(chain.storage, lambda: _fence(chain), _without_fence(chain, age, now, spared))
    # Files that can be deleted without writing anything go first, and make space for the rest.
    old = sorted((file for _, file in _old(chain, age, now, fence)), key=_is_of_an_attempt)
    deleted = [*spared, *_deleted(chain.storage, old)]
    # After deleting, because these writes may need the space.
    publish_finished(chain.storage)
    keep_reserve(chain.storage)
    return Garbage(tuple(sorted(deleted, key=lambda file: file.path)), deleted=True)


def _old(chain: Chain, age: int, now: int, fence: int | None = None) -> list[tuple[bool, Unneeded]]:
    """Find files that have been unneeded for at least ``age``.

    Args:
        chain: The lake's log; refreshed after the files were listed.
        age: The minimum age in microseconds.
        now: This machine's clock.
        fence: A commit whose modification time replaces ``now``.

    Returns:
        Whether each file may be deleted without a fence, and the file.
    """
    stored = list(chain.storage.list(""))
    if fence is not None:
        now = _modified(stored, layout.commit_path(fence))
    chain.refresh()
    limit = now - age
    # File systems stamp files in ticks of some milliseconds. A file of the fence's own tick may be
    # newer than the fence, so only files that need none may be deleted at the limit itself.
    return [
        (free, file)
        for free, file in _unneeded(chain, stored, now)
        if file.since < limit or (free and file.since == limit)
    ]


def _modified(stored: Sequence[StoredObject], path: str) -> int:
    """The time at which an object was stored, by the store's clock.

    Raises:
        StorageError: The listing does not show the object yet, and may lack others.
    """
    for item in stored:
        if item.path == path:
            return item.modified
    message = f"expected the store to list {path}, which was just created; its listing is older"
    raise StorageError(message, "nothing was deleted; collect again in a while.", path=path)


def _without_fence(chain: Chain, age: int, now: int, spared: list[Unneeded]) -> Iterator[str]:
    """Yield the paths of garbage that may be deleted without a fence; each is added to ``spared``.

    Segment names are never reused, so no later commit can name a compacted segment. Temporary files
    and derived files are written again if they are needed. The log is made durable first, so that a
    power failure cannot undo the commit that made a segment unneeded.
    """
    # A power failure could otherwise bring back a log that still names the deleted segments.
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
        if publish(chain, commit, data):
            chain.published(commit, data)
            return commit.version


def _is_of_an_attempt(file: Unneeded) -> bool:
    return layout.attempt(file.path) is not None


def _deleted(storage: Storage, files: Sequence[Unneeded]) -> Iterator[Unneeded]:
    """Delete the files, except those of attempts that were finished since they were listed."""
    deletable: dict[str, bool] = {}
    with task("deleting", len(files)) as advance:
        for file in files:
            attempt = layout.attempt(file.path)
            # Once an attempt: all its files share the decision, and giving up is a write.
            if attempt is not None and attempt not in deletable:
                deletable[attempt] = storage.exists(f"{attempt}/{layout.REMOVED}") or give_up(
                    storage, attempt
                )
            if attempt is None or deletable[attempt]:
                storage.delete(file.path)
                yield file
            advance(1)


def _unneeded(
    chain: Chain, stored: Sequence[StoredObject], now: int
) -> Iterator[tuple[bool, Unneeded]]:
    """Yield files that no commit names, files of interrupted writes, and unpublished builds.

    Each comes with whether it may be deleted without a fence.
    """
    # The segments that another user's compaction replaced are the only evidence against it.
    current = chain.manifest().segments
    check_compacted(chain, current)
    check_claims(chain.storage, [one for one in current if one[0].kind == "compact"], chain.trust)
    modified = {item.path: item.modified for item in stored}
    dropped, needed = _dropped(chain)
    left = leftover_files(chain.storage, stored)
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
                    "a longer part of the event table replaces it",
                ),
            )
        elif layout.is_temporary(item.path):
            yield (
                True,
                Unneeded(item.path, item.size_bytes, item.modified, "left by an interrupted write"),
            )
        elif item.path in left:
            since, reason, unfinished = left[item.path]
            # An unfinished attempt is given up first, which writes a file and may need the space of
            # others.
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
            # A commit that is missing from the listing was made after it, so nothing is old yet.
            since = item.modified
            if version is not None:
                since = max(since, modified.get(layout.commit_path(version), now))
            reason = "no commit names it" if version is None else f"replaced by commit {version}"
            compacted = version is not None and layout.segment_sha256(item.path) is not None
            yield compacted, Unneeded(item.path, item.size_bytes, since, reason)


def _short_ranges(paths: Iterable[str]) -> dict[str, str]:
    """Find files of event tables whose range is part of another file's, and that other file."""
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
    """Find the segments and derived files that commits name.

    Returns:
        The files that are no longer needed, each with the commit that replaced it; and the files
        that are needed now.
    """
    dropped: dict[str, int] = {}
    derived: set[str] = set()
    manifest = Manifest([], [])
    waiting: list[Row] = []
    with task("reading commits", chain.next_version) as advance:
        for entry in chain.entries():
            commit = entry.commit
            named = set(derived_files(commit))
            # The age of garbage counts from the commit that replaced it, not from when it was
            # stored.
            dropped |= dict.fromkeys(derived - named, commit.version)
            derived = named
            if commit.kind == "compact":
                # Copying the manifest for every commit would be quadratic, so plain commits are
                # added in runs.
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
    """The derived files that a commit names: the rows and keys of tiers, and key files."""
    for tier in commit.tiers:
        yield layout.rows_path(tier.stop, tier.rows_sha256)
        yield layout.keys_path(tier.keys.sha256)
    for file in commit.recent.files:
        yield layout.keys_path(file.sha256)
