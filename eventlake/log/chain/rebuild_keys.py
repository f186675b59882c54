"""Rebuild the keys of a run of commits from the log and its events, which are the truth."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from eventlake.columns.keys.key_runs import KeyRun, merged, newest_of, shift_of
from eventlake.columns.keys.keys import event_keys, subject_heads
from eventlake.columns.schema import whole_columns
from eventlake.log.chain.checked_read import stored_events
from eventlake.log.chain.commit_reader import CommitReader
from eventlake.log.chain.unfolded_keys import own_keys

_READ = ["source", "id", "subject"]


def rebuild_keys(chain: CommitReader, start: int, stop: int) -> KeyRun:
    """Rebuild the keys of the commits ``[start, stop)`` from the segments that hold the events now.

    Raises:
        CorruptionError: A segment or a commit is damaged.
    """
    return merged([*_of_events(chain, start, stop), _of_commits(chain, start, stop)], stop)


def _of_commits(chain: CommitReader, start: int, stop: int) -> KeyRun:
    """The keys that a commit has besides its events': producers, positions and its id."""
    nothing = np.empty(0, np.uint64)
    commits = [chain.entry(version).commit for version in range(start, stop)]
    own = [
        own_keys(nothing, None, [one.position for one in commit.deliveries], commit.commit_id).heads
        for commit in commits
    ]
    versions = np.repeat(np.arange(start, stop, dtype=np.uint32), [len(heads) for heads in own])
    return KeyRun(
        start, shift_of(start, stop), nothing, *newest_of(np.concatenate([nothing, *own]), versions)
    )


def _of_events(chain: CommitReader, start: int, stop: int) -> Iterator[KeyRun]:
    manifest = chain.manifest()
    commits = manifest.commits[start:stop]
    first, last, shift = commits[0].start, commits[-1].stop, shift_of(start, stop)
    # After a compaction, one segment holds events of many commits: each event's commit is looked
    # up.
    stops = np.array([commit.stop for commit in commits])
    for placed in manifest.between(first, last):
        segment = placed[1]
        low, high = max(first, segment.start), min(last, segment.stop)
        table = whole_columns(stored_events(chain.storage, placed, chain.trust, _READ), _READ)
        events = pl.DataFrame(table.slice(low - segment.start, high - low))
        versions = start + np.searchsorted(stops, np.arange(low, high), side="right")
        cells = (versions.astype(np.uint64) >> np.uint64(shift)) - np.uint64(start >> shift)
        heads = subject_heads(events["subject"], pl.Series(versions, dtype=pl.UInt32))
        yield KeyRun(start, shift, np.sort(event_keys(events) | cells), *newest_of(*heads))
