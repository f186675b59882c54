"""Verifying what is derived from the log: the tiers of the manifest, their keys, and the hint."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from eventlake.columns import manifest_rows
from eventlake.columns.keys import KeyRun, merged, newest_of, subject_heads
from eventlake.core import layout
from eventlake.core.canonical import sha256_hex
from eventlake.core.commit import Commit
from eventlake.core.lake import read_hint
from eventlake.core.manifest import KeyFile, Tier
from eventlake.errors import EventlakeError
from eventlake.history.census import Census
from eventlake.history.report import Tally
from eventlake.log.believed import same_keys
from eventlake.log.chain import Chain
from eventlake.log.key_index import checked_keys, recent_run
from eventlake.log.manifest import Manifest
from eventlake.log.recent import own_keys
from eventlake.storage import ObjectMissingError, Storage


def verify_tiers(chain: Chain, files: dict[str, int], tally: Tally) -> set[str]:
    """Compares the rows of the head's tiers with the log, and hashes their keys; gives the paths of all that the head names."""
    if chain.head is None:
        return set()
    head = chain.head.commit
    named = set()
    for tier in head.tiers:
        path = layout.rows_path(tier.stop, tier.rows_sha256)
        named |= {path, layout.keys_path(tier.keys.sha256)}
        try:
            tally.size_bytes += files.get(path, 0)
            data = chain.storage.read(path)
            if sha256_hex(data) != tier.rows_sha256:
                tally.blame(
                    path, f"expected sha256 {tier.rows_sha256}, found {sha256_hex(data)}; it is derived: delete it, and it is made again"
                )
            elif manifest_rows.decode(data, path) != _rows(chain, tier):
                tally.blame(path, "its rows are not what the log says")
        except EventlakeError as error:
            tally.blame(path, error)
    for file in _key_files(head):
        path = layout.keys_path(file.sha256)
        named.add(path)
        tally.size_bytes += files.get(path, 0)
        try:
            checked_keys(chain.storage, file)
        except EventlakeError as error:
            tally.blame(path, error)
    return named


def _rows(chain: Chain, tier: Tier) -> list[manifest_rows.Row]:
    return Manifest([], []).with_rows(chain.entry(version).row for version in range(tier.start, tier.stop)).rows()


def _key_files(head: Commit) -> Iterator[KeyFile]:
    yield from (tier.keys for tier in head.tiers)
    yield from head.recent.files


def verify_keys(chain: Chain, census: Census, tally: Tally) -> None:
    """Makes all keys again from the events, and compares them with those that the head names."""
    events = census.events(chain.watermark)
    if chain.head is None or events is None:
        return
    head = chain.head.commit
    stops = np.array([chain.entry(version).commit.stop for version in range(chain.next_version)])
    versions = np.searchsorted(stops, np.arange(events.height), side="right")
    events = events.with_columns(version=pl.Series(versions, dtype=pl.UInt32))
    parts = [(tier.stop, layout.keys_path(tier.keys.sha256), (tier.keys,)) for tier in head.tiers]
    for stop, path, files in [*parts, (chain.next_version, layout.commit_path(head.version), head.recent.files)]:
        try:
            runs = [checked_keys(chain.storage, file) for file in files]
        except EventlakeError:
            continue
        if stop == chain.next_version:
            runs = [recent_run(head.recent), *runs]
        stored = merged(runs, stop)
        if not same_keys(stored, _made_again(chain, events, stored, stop)):
            tally.blame(path, "its keys are not those of the events")


def _made_again(chain: Chain, events: pl.DataFrame, like: KeyRun, stop: int) -> KeyRun:
    """The keys of the commits from ``like.start`` to ``stop``, with cells as coarse as those of ``like``."""
    part = events.filter(pl.col("version").is_between(like.start, stop, closed="left"))
    cells = (part["version"].to_numpy().astype(np.uint64) >> np.uint64(like.shift)) - np.uint64(like.start >> like.shift)
    keys, versions = subject_heads(part["subject"], part["version"])
    commits = [chain.entry(version).commit for version in range(like.start, stop)]
    own = [own_keys(keys[:0], None, [one.position for one in commit.deliveries], commit.commit_id).heads for commit in commits]
    owners = np.repeat(np.arange(like.start, stop, dtype=np.uint32), [len(heads) for heads in own])
    heads, newest = newest_of(np.concatenate([*own, keys]), np.concatenate([owners, versions]))
    return KeyRun(like.start, like.shift, np.sort(part["key"].to_numpy() | cells), heads, newest)


def hint_as_stored(storage: Storage) -> bytes | EventlakeError | None:
    """The hint's bytes, or why they cannot be read; None where there is none. To be asked before the log is: writers move it on."""
    try:
        return storage.read(layout.HINT)
    except ObjectMissingError:
        return None
    except EventlakeError as error:
        return error


def verify_hint(chain: Chain, hinted: bytes | EventlakeError | None, newest: int, tally: Tally) -> None:
    """The hint must be readable, and must not have seen more than there is."""
    if hinted is None:
        return
    try:
        if isinstance(hinted, EventlakeError):
            raise hinted
        tally.size_bytes += len(hinted)
        hint = read_hint(hinted, layout.HINT)
        if hint.origin != chain.origin or hint.version > newest:
            problem = f"it has seen commit {hint.version} of {hint.origin}; the newest here is {newest} of {chain.origin}"
            tally.blame(layout.HINT, problem)
    except EventlakeError as error:
        tally.blame(layout.HINT, f"{error.message}; it is advice only: delete it")
