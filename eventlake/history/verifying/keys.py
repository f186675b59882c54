"""Verify the keys of events, subjects and producers: those of every commit and of every tier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from eventlake.columns.keys.key_runs import KeyRun, Keys, merged, newest_of, of_commit, shift_of
from eventlake.columns.keys.keys import subject_heads, subject_keys
from eventlake.columns.parquet import manifest_rows
from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.manifest import NOTHING_RECENT, KeyFile, Recent, Tier
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import EventlakeError
from eventlake.history.verifying.manifest import rows_from_log
from eventlake.history.verifying.report import Tally
from eventlake.history.verifying.seen_events import Events, SeenEvents
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import same_keys
from eventlake.log.chain.entry import Entry
from eventlake.log.chain.stored_keys import checked_keys
from eventlake.log.chain.unfolded_keys import OwnKeys, own_keys, recent_after, recent_since
from eventlake.progress import task
from eventlake.storage import Storage, read_sized

_NOTHING = np.empty(0, np.uint64)
_MISMATCH = "its keys do not match the events"


def verify_keys(
    chain: Chain,
    entries: Mapping[int, Entry],
    files: Mapping[str, int],
    seen: SeenEvents,
    tally: Tally,
) -> None:
    """Rebuild all keys from the events, and compare them with those that commits carry and name.

    Args:
        chain: The log, complete.
        entries: Its commits by version.
        files: The size of every file, by path; files that no commit needs may be collected.
        seen: The keys and subjects of all events.
        tally: Collects the findings.
    """
    events = seen.events(chain.watermark)

    # Keys can be rebuilt only from a complete log; what is missing was reported already.
    if chain.head is None or events is None or chain.next_version != len(entries):
        return
    commits = [entries[version].commit for version in range(chain.next_version)]
    versions = np.searchsorted(
        [commit.stop for commit in commits], np.arange(events.rows.height), side="right"
    )
    rows = events.rows.with_columns(version=pl.Series(versions, dtype=pl.UInt32))
    events = replace(events, rows=rows)
    stored = _Stored(chain.storage, files, tally)
    _verify_recent(stored, commits, events)
    _verify_tiers(stored, entries, commits, events)


@dataclass(frozen=True, slots=True)
class _Stored:
    """The stored files and the findings about them."""

    storage: Storage
    files: Mapping[str, int]
    tally: Tally

    def blame_once(self, path: str, problem: object) -> None:
        if path not in {finding.path for finding in self.tally.problems}:
            self.tally.blame(path, problem)

    def compare(self, file: KeyFile, rebuilt: KeyRun, stop: int) -> None:
        """Compare a key file with rebuilt keys; a missing one is reported elsewhere."""
        path = layout.keys_path(file.sha256)
        if path not in self.files:
            return
        try:
            found = merged([checked_keys(self.storage, file)], stop)
        except EventlakeError as error:
            self.blame_once(path, error)
            return
        if not same_keys(found, merged([rebuilt], stop)):
            self.blame_once(path, _MISMATCH)

    def compare_rows(self, tier: Tier, entries: Mapping[int, Entry]) -> None:
        """Compare the rows of a tier that the head no longer names, if its file is complete."""
        path = layout.rows_path(tier.stop, tier.rows_sha256)
        if self.files.get(path) != tier.rows_bytes:
            return
        try:
            data = read_sized(self.storage, path, tier.rows_bytes)
            # A wrong hash is reported with the extra files.
            if sha256_hex(data) != tier.rows_sha256:
                return
            if manifest_rows.decode(data, path) != rows_from_log(entries.__getitem__, tier):
                self.blame_once(path, "its rows do not match the log")
        except EventlakeError as error:
            self.blame_once(path, error)


def _verify_recent(stored: _Stored, commits: Sequence[Commit], events: Events) -> None:
    """Check that every commit carries the keys of the one before and its own."""
    before: Recent = NOTHING_RECENT
    with task("comparing the keys of commits", len(commits)) as advance:
        for commit in commits:
            advance(1)
            part = events.rows.slice(commit.start, commit.stop - commit.start)
            names = events.names.gather(part["subject"].drop_nulls().unique())
            subjects: Keys = subject_keys(names.to_frame("subject")) if part.height else _NOTHING
            own = own_keys(
                np.sort(part["key"].to_numpy()),
                subjects,
                [one.position for one in commit.deliveries],
                commit.commit_id,
            )
            # A fold may move the start on, but keys that a tier holds never become recent again.
            if commit.recent.start < before.start or commit.recent != _expected(
                before, commit, own
            ):
                stored.tally.blame(layout.commit_path(commit.version), _MISMATCH)
            for file in _own_files(commit):
                stored.compare(
                    file, of_commit(commit.version, own.ids, own.heads), commit.version + 1
                )
            before = commit.recent


def _own_files(commit: Commit) -> list[KeyFile]:
    return [file for file in commit.recent.files if file.start == commit.version]


def _expected(before: Recent, commit: Commit, own: OwnKeys) -> Recent:
    base = (
        before if commit.recent.start == before.start else recent_since(before, commit.recent.start)
    )
    stored = _own_files(commit)
    return recent_after(base, commit.version, replace(stored[0], start=0) if stored else own)


def _verify_tiers(
    stored: _Stored, entries: Mapping[int, Entry], commits: Sequence[Commit], events: Events
) -> None:
    """Check that every tier matches the commits that it summarizes, and their events."""
    tiers = list(dict.fromkeys(tier for commit in commits for tier in commit.tiers))
    # The rows of current tiers are compared with the head; here are the older ones.
    needed = set(commits[-1].tiers)
    with task(
        "comparing what was folded", sum(tier.stop - tier.start for tier in tiers)
    ) as advance:
        for tier in tiers:
            stored.compare(
                tier.keys, _rebuild_keys(commits[tier.start : tier.stop], tier, events), tier.stop
            )
            if tier not in needed:
                stored.compare_rows(tier, entries)
            advance(tier.stop - tier.start)


def _rebuild_keys(commits: Sequence[Commit], tier: Tier, events: Events) -> KeyRun:
    """Rebuild the keys of a tier from its commits and their events."""
    shift = shift_of(tier.start, tier.stop)
    first, stop = commits[0].start, commits[-1].stop
    part = events.rows.slice(first, stop - first)
    cells = (part["version"].to_numpy().astype(np.uint64) >> np.uint64(shift)) - np.uint64(
        tier.start >> shift
    )
    newest_rows = part.drop_nulls("subject").group_by("subject").agg(pl.max("version"))
    keys, versions = subject_heads(
        events.names.gather(newest_rows["subject"]), newest_rows["version"]
    )
    own = [
        own_keys(
            _NOTHING, None, [one.position for one in commit.deliveries], commit.commit_id
        ).heads
        for commit in commits
    ]
    # A commit's own keys belong to its version, like those of its events.
    owners = np.repeat(
        np.arange(tier.start, tier.stop, dtype=np.uint32), [len(heads) for heads in own]
    )
    heads, newest = newest_of(np.concatenate([*own, keys]), np.concatenate([owners, versions]))
    return KeyRun(tier.start, shift, np.sort(part["key"].to_numpy() | cells), heads, newest)
