"""Check derived data: tiers, key files, and the keys that a commit carries.

Derived data follows from commits and events, so whoever can write to a lake can forge it. It is
trusted if this user's processes wrote it. Otherwise it is rebuilt, from the newest trusted tier on,
and compared with what is stored.
"""

from collections.abc import Callable, Sequence

import numpy as np

from eventlake.columns.keys.key_runs import KeyRun, merged
from eventlake.core import layout
from eventlake.core.documents.commit import Commit, commit_hash
from eventlake.core.documents.manifest import Tier
from eventlake.errors import CorruptionError
from eventlake.log.chain.checked_read import bytes_statement, commit_statement
from eventlake.log.chain.claims import claims_of
from eventlake.log.chain.commit_reader import CommitReader
from eventlake.log.chain.entry import Entry, check_follows
from eventlake.log.chain.key_index import recent_run
from eventlake.log.chain.manifest import Manifest
from eventlake.log.chain.stored_keys import checked_keys
from eventlake.progress import task
from eventlake.storage import state_of
from eventlake.trust import Trust, statement

_HINT = (
    "another user wrote this lake, and its derived data does not follow from its log: "
    "run 'eventlake verify LAKE --deep'."
)


def vouch(chain: CommitReader, commit: Commit, data: bytes) -> None:
    """Record in the ledger that this user's process made a commit and stored the files it names.

    Call it just before the commit is published: another process of this user that sees the commit
    must also find it in the ledger. A commit that loses its race never exists, so its record is
    harmless.
    """
    ledger = chain.trust.ledger
    known = _files_stored(chain, commit)
    if chain.head is None or _is_known(chain.trust, chain.head):
        known.append(commit_statement(commit_hash(data)))
    elif not chain.trust.believes:
        # The events are ours, but the commit builds on a head that nobody has checked.
        known += [claims_of(Entry(commit, "").summary, segment) for segment in commit.segments]
    ledger.note(known)


def _files_stored(chain: CommitReader, commit: Commit) -> list[bytes]:
    """The statements that the files a commit adds have the hashes it names.

    Segments are included only if engines open them directly; elsewhere they are hashed at every
    read.
    """
    storage = chain.storage
    files = [(layout.segment_path(one.sha256), one.sha256) for one in commit.segments]
    # Object stores are read through our own code, which hashes every segment anyway.
    files = [one for one in files if storage.locate(one[0]) is not None]
    brought = [file for file in commit.recent.files if file.start == commit.version]
    # A fold names tiers that it made; the older ones were vouched for by their own folds.
    older = chain.head.commit.tiers if chain.head else ()
    brought += [tier.keys for tier in commit.tiers if tier not in older]
    files += [(layout.keys_path(file.sha256), file.sha256) for file in brought]
    return [
        bytes_statement(sha256, state)
        for path, sha256 in files
        if (state := state_of(storage, path)) is not None
    ]


def vouch_for_tiers(chain: CommitReader, tiers: Sequence[Tier], last: Entry) -> None:
    """Record that this user's process folded the log up to ``last`` into ``tiers``.

    The head may be another user's commit by now, so the tiers need a statement of their own.
    """
    if _is_known(chain.trust, last):
        chain.trust.ledger.note(
            [_rows_statement(tiers, last.commit_hash), _keys_statement(tiers, last.commit_hash)]
        )


def _is_known(trust: Trust, entry: Entry) -> bool:
    """Whether the ledger knows that a commit and everything it builds on are right."""
    return trust.ledger.knows(commit_statement(entry.commit_hash)) or trust.ledger.knows(
        _head_statement(entry.commit_hash)
    )


def _head_statement(sha256: str) -> bytes:
    """The statement that a commit's tiers, keys and root follow from the log and its events."""
    return statement("head", sha256)


def _rows_statement(tiers: Sequence[Tier], last: str) -> bytes:
    """The statement that the rows of tiers match the log that ends with the commit ``last``."""
    return statement("rows", [(tier.start, tier.stop, tier.rows_sha256) for tier in tiers], last)


def _keys_statement(tiers: Sequence[Tier], last: str) -> bytes:
    """The statement that the keys of tiers match the log that ends with the commit ``last``."""
    files = [(tier.start, tier.stop, tier.keys) for tier in tiers]
    return statement(
        "keys",
        [
            (start, stop, keys.sha256, keys.ids, keys.heads, keys.start, keys.shift)
            for start, stop, keys in files
        ],
        last,
    )


def check_entry(chain: CommitReader, entry: Entry) -> None:
    """Check that a commit that was read by its number belongs to the chain.

    Raises:
        CorruptionError: It replaced another commit.
    """
    # A commit that is known was reached through the chain before, so its place need not be checked.
    if chain.trust.knows(commit_statement(entry.commit_hash)):
        return
    expected = chain.manifest().commits[entry.commit.version].commit_hash
    if expected != entry.commit_hash:
        path = layout.commit_path(entry.commit.version)
        message = (
            f"{path} does not belong to this log: expected hash {expected}, "
            f"found {entry.commit_hash}"
        )
        raise CorruptionError(
            message,
            "run 'eventlake verify LAKE'; the log was edited or mixed with another one.",
            path=path,
        )


def check_rows(chain: CommitReader) -> None:
    """Check that the head's tiers describe commits and segments as the log does.

    Raises:
        CorruptionError: They do not.
    """
    if (
        chain.head is not None
        and not chain.trust.believes
        and not _is_known(chain.trust, chain.head)
    ):
        _check_rows(chain, chain.head.commit.tiers, _before_tail(chain))


def check_keys(chain: CommitReader) -> None:
    """Check that the keys that the head names and carries are those of the log and its events.

    Raises:
        CorruptionError: They are not.
    """
    head = chain.head
    if head is None or chain.trust.believes or _is_known(chain.trust, head):
        return
    last, tiers = _before_tail(chain), head.commit.tiers
    _check_rows(chain, tiers, last)
    if last is not None:
        known = _known_tiers(chain, tiers, last, _keys_statement)
        if known < len(tiers):
            with task("checking keys that other users stored", len(tiers) - known) as advance:
                for number in range(known, len(tiers)):
                    tier = tiers[number]
                    path = layout.keys_path(tier.keys.sha256)
                    _compare(
                        checked_keys(chain.storage, tier.keys),
                        _rebuilt(chain, tier.start, tier.stop),
                        tier.stop,
                        path,
                    )
                    # Recorded tier by tier: a check that is interrupted resumes where it stopped.
                    chain.trust.ledger.note(
                        [
                            _keys_statement(
                                tiers[: number + 1], _last_hash(chain, tiers, number + 1, last)
                            )
                        ]
                    )
                    advance(1)
    # What the head carries itself is compared last: the head is recorded only if everything
    # matched.
    recent, stop = head.commit.recent, head.commit.version + 1
    stored = [recent_run(recent), *(checked_keys(chain.storage, file) for file in recent.files)]
    _compare(
        merged(stored, stop),
        _rebuilt(chain, recent.start, stop),
        stop,
        layout.commit_path(head.commit.version),
    )
    chain.trust.ledger.note([_head_statement(head.commit_hash)])


def _before_tail(chain: CommitReader) -> Entry | None:
    """The last commit that a tier holds, or None; the commits after it are checked to follow it."""
    first = chain.tail()[0].commit
    if not first.version:
        return None
    before = chain.read_entry(first.version - 1)
    check_follows(first, before, chain.origin, layout.commit_path(first.version))
    return before


def _last_hash(chain: CommitReader, tiers: Sequence[Tier], count: int, last: Entry) -> str:
    """The hash of the last commit in the first ``count`` tiers."""
    if count == len(tiers):
        return last.commit_hash
    return chain.read_entry(tiers[count - 1].stop - 1).commit_hash


def _known_tiers(
    chain: CommitReader,
    tiers: Sequence[Tier],
    last: Entry,
    statement_of: Callable[[Sequence[Tier], str], bytes],
) -> int:
    """How many tiers, counted from the oldest, the ledger knows to be right."""
    # From the newest on: usually all tiers, or all but the newest, are known.
    for count in range(len(tiers), 0, -1):
        last_hash = _last_hash(chain, tiers, count, last)
        if chain.trust.ledger.knows(statement_of(tiers[:count], last_hash)):
            return count
    return 0


def _check_rows(chain: CommitReader, tiers: Sequence[Tier], last: Entry | None) -> None:
    if last is None:
        return
    known = _known_tiers(chain, tiers, last, _rows_statement)
    if known == len(tiers):
        return
    start = tiers[known].start
    before = chain.read_entry(start - 1) if start else None
    with task("reading commits of other users", last.commit.version + 1 - start) as advance:
        for number in range(known, len(tiers)):
            tier = tiers[number]
            rows = []
            for version in range(tier.start, tier.stop):
                entry = last if version == last.commit.version else chain.read_entry(version)
                check_follows(entry.commit, before, chain.origin, layout.commit_path(version))
                rows.append(entry.row)
                before = entry
                advance(1)
            if chain.rows.of(tier) != Manifest([], []).with_rows(rows).rows():
                path = layout.rows_path(tier.stop, tier.rows_sha256)
                commits = f"commits {tier.start:,}-{tier.stop:,}"
                message = f"{path} does not match the {commits} that it summarizes"
                raise CorruptionError(message, _HINT, path=path)
    # The loop ends at the last commit; if its hash differs now, the log was edited meanwhile.
    if before is None or before.commit_hash != last.commit_hash:
        path = layout.commit_path(last.commit.version)
        message = f"{path} changed while it was read"
        raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path)
    counts = range(known + 1, len(tiers) + 1)
    chain.trust.ledger.note(
        _rows_statement(tiers[:count], _last_hash(chain, tiers, count, last)) for count in counts
    )


def _compare(stored: KeyRun, rebuilt: KeyRun, stop: int, path: str) -> None:
    """Compare stored keys with rebuilt ones.

    Raises:
        CorruptionError: They differ.
    """
    if not same_keys(merged([stored], stop), merged([rebuilt], stop)):
        message = f"{path}: the keys of events, subjects and producers do not match the events"
        raise CorruptionError(message, _HINT, path=path)


def same_keys(one: KeyRun, other: KeyRun) -> bool:
    """Whether two runs hold the same keys in the same cells."""
    pairs = ((one.ids, other.ids), (one.heads, other.heads), (one.versions, other.versions))
    return (one.start, one.shift) == (other.start, other.shift) and all(
        np.array_equal(left, right) for left, right in pairs
    )


def _rebuilt(chain: CommitReader, start: int, stop: int) -> KeyRun:
    from eventlake.log.chain.rebuild_keys import rebuild_keys

    return rebuild_keys(chain, start, stop)
