"""What of a log is believed: what this user's processes put there, and what was made again from commits and events and came out the same.

Tiers, their keys, and the keys that a commit carries are derived: whoever can write to a lake can
store others and name them. If the head is not known to be right, what is folded is made again up to
the newest tiers that are.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from eventlake.columns.keys.keys import KeyRun, merged
from eventlake.core import layout
from eventlake.core.documents.commit import Commit, commit_hash
from eventlake.core.documents.manifest import Tier
from eventlake.errors import CorruptionError
from eventlake.log.chain.checked_read import bytes_statement, commit_statement
from eventlake.log.chain.claims import claims_of
from eventlake.log.chain.entry import Entry, check_follows
from eventlake.log.chain.key_index import checked_keys, recent_run
from eventlake.log.chain.keys_again import keys_of
from eventlake.log.chain.manifest import Manifest
from eventlake.progress import task
from eventlake.storage import Storage, state_of
from eventlake.trust import Trust, statement

if TYPE_CHECKING:
    from eventlake.log.chain.chain import Chain

_HINT = "somebody else wrote this lake, and what is derived from its log does not follow from it: run 'eventlake verify LAKE --deep'."


def vouch(chain: "Chain", commit: Commit, data: bytes) -> None:
    """Remembers that this user's process made a commit and stored what it names; to be called just before it is published.

    Whoever sees the commit must find this remembered, so it is not left for afterwards. About a
    commit that loses its race, and so is never there, nothing false is said.
    """
    ledger = chain.trust.ledger
    known = _files_stored(chain.storage, commit)
    if chain.head is None or _is_known(chain.trust, chain.head):
        known.append(commit_statement(commit_hash(data)))
    elif not chain.trust.believes:
        # The events are ours, what the commit rests on is not.
        known += [claims_of(Entry(commit, "").summary, segment) for segment in commit.segments]
    ledger.note(known)


def _files_stored(storage: Storage, commit: Commit) -> list[bytes]:
    """The statements that the files which a commit brings have the hashes that it says.

    Segments are asked after only where engines open them by themselves; elsewhere they are hashed
    at every read.
    """
    files = [(layout.segment_path(one.sha256), one.sha256) for one in commit.segments]
    files = [one for one in files if storage.locate(one[0]) is not None]
    brought = [file for file in commit.recent.files if file.start == commit.version]
    brought += [tier.keys for tier in commit.tiers[-1:] if commit.kind == "fold"]
    files += [(layout.keys_path(file.sha256), file.sha256) for file in brought]
    return [
        bytes_statement(sha256, state)
        for path, sha256 in files
        if (state := state_of(storage, path)) is not None
    ]


def vouch_for_tiers(chain: "Chain", tiers: Sequence[Tier], last: Entry) -> None:
    """Remembers that this user's process folded the log up to ``last`` into tiers, for when others have committed since."""
    if _is_known(chain.trust, last):
        chain.trust.ledger.note(
            [_rows_statement(tiers, last.commit_hash), _keys_statement(tiers, last.commit_hash)]
        )


def _is_known(trust: Trust, entry: Entry) -> bool:
    """Whether a commit is known to be right, and with it all that it rests on."""
    return trust.ledger.knows(commit_statement(entry.commit_hash)) or trust.ledger.knows(
        _head_statement(entry.commit_hash)
    )


def _head_statement(sha256: str) -> bytes:
    """The statement that the tiers, the keys and the root that a commit carries follow from the log and its events."""
    return statement("head", sha256)


def _rows_statement(tiers: Sequence[Tier], last: str) -> bytes:
    """The statement that the rows of tiers are those of the log that ends with the commit ``last``."""
    return statement("rows", [(tier.start, tier.stop, tier.rows_sha256) for tier in tiers], last)


def _keys_statement(tiers: Sequence[Tier], last: str) -> bytes:
    """The same of their keys."""
    files = [(tier.start, tier.stop, tier.keys) for tier in tiers]
    return statement(
        "keys",
        [
            (start, stop, keys.sha256, keys.ids, keys.heads, keys.start, keys.shift)
            for start, stop, keys in files
        ],
        last,
    )


def check_entry(chain: "Chain", entry: Entry) -> None:
    """Makes sure that a commit that was read by its number belongs to the chain.

    Raises:
        CorruptionError: It was put in the place of another.
    """
    if chain.trust.knows(commit_statement(entry.commit_hash)):
        return
    expected = chain.manifest().commits[entry.commit.version].commit_hash
    if expected != entry.commit_hash:
        path = layout.commit_path(entry.commit.version)
        message = f"{path} is not the commit that the log goes on from: expected hash {expected}, found {entry.commit_hash}"
        raise CorruptionError(
            message,
            "run 'eventlake verify LAKE'; the log was edited or mixed with another one.",
            path=path,
        )


def check_rows(chain: "Chain") -> None:
    """Makes sure that what the head's tiers say of commits and segments is what the log says.

    Raises:
        CorruptionError: It is not.
    """
    if (
        chain.head is not None
        and not chain.trust.believes
        and not _is_known(chain.trust, chain.head)
    ):
        _check_rows(chain, chain.head.commit.tiers, _before_tail(chain))


def check_keys(chain: "Chain") -> None:
    """Makes sure that the keys that the head names and carries are those of the log and its events.

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
            with task("checking the keys that others stored", len(tiers) - known) as advance:
                for number in range(known, len(tiers)):
                    tier = tiers[number]
                    path = layout.keys_path(tier.keys.sha256)
                    _compare(
                        checked_keys(chain.storage, tier.keys),
                        keys_of(chain, tier.start, tier.stop),
                        tier.stop,
                        path,
                    )
                    chain.trust.ledger.note(
                        [
                            _keys_statement(
                                tiers[: number + 1], _last_hash(chain, tiers, number + 1, last)
                            )
                        ]
                    )
                    advance(1)
    recent, stop = head.commit.recent, head.commit.version + 1
    stored = [recent_run(recent), *(checked_keys(chain.storage, file) for file in recent.files)]
    _compare(
        merged(stored, stop),
        keys_of(chain, recent.start, stop),
        stop,
        layout.commit_path(head.commit.version),
    )
    chain.trust.ledger.note([_head_statement(head.commit_hash)])


def _before_tail(chain: "Chain") -> Entry | None:
    """The commit before those that no tier holds; None if there is none. Those that follow are read and found to follow it."""
    first = chain.tail()[0].commit
    if not first.version:
        return None
    before = chain.read_entry(first.version - 1)
    check_follows(first, before, chain.origin, layout.commit_path(first.version))
    return before


def _last_hash(chain: "Chain", tiers: Sequence[Tier], count: int, last: Entry) -> str:
    """The hash of the last commit in the first ``count`` tiers."""
    return (
        last.commit_hash
        if count == len(tiers)
        else chain.read_entry(tiers[count - 1].stop - 1).commit_hash
    )


def _known_tiers(
    chain: "Chain", tiers: Sequence[Tier], last: Entry, said: Callable[[Sequence[Tier], str], bytes]
) -> int:
    """How many of the tiers, from the oldest on, are known to be right."""
    for count in range(len(tiers), 0, -1):
        if chain.trust.ledger.knows(said(tiers[:count], _last_hash(chain, tiers, count, last))):
            return count
    return 0


def _check_rows(chain: "Chain", tiers: Sequence[Tier], last: Entry | None) -> None:
    if last is None:
        return
    known = _known_tiers(chain, tiers, last, _rows_statement)
    if known == len(tiers):
        return
    start = tiers[known].start
    before = chain.read_entry(start - 1) if start else None
    with task("reading commits that others wrote", last.commit.version + 1 - start) as advance:
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
                message = f"{path} does not hold what the commits {tier.start:,}-{tier.stop:,} say"
                raise CorruptionError(message, _HINT, path=path)
    if before is None or before.commit_hash != last.commit_hash:
        path = layout.commit_path(last.commit.version)
        message = f"{path} changed while it was read"
        raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path)
    counts = range(known + 1, len(tiers) + 1)
    chain.trust.ledger.note(
        _rows_statement(tiers[:count], _last_hash(chain, tiers, count, last)) for count in counts
    )


def _compare(stored: KeyRun, again: KeyRun, stop: int, path: str) -> None:
    """Compares keys as they are stored with those of the events.

    Raises:
        CorruptionError: They differ.
    """
    if not same_keys(merged([stored], stop), merged([again], stop)):
        message = f"{path}: the keys by which events, subjects and producers are found are not those of the events"
        raise CorruptionError(message, _HINT, path=path)


def same_keys(one: KeyRun, other: KeyRun) -> bool:
    """Whether two runs hold the same keys in the same cells."""
    pairs = ((one.ids, other.ids), (one.heads, other.heads), (one.versions, other.versions))
    return (one.start, one.shift) == (other.start, other.shift) and all(
        np.array_equal(left, right) for left, right in pairs
    )
