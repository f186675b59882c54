"""What keeping the keys of very many events costs: folds, memory, bytes and look-ups, by the number of ids.

The log is made of commits that name a segment which does not exist, and whose key files are as an
append of so many events stores them. So ten of millions of ids are there in seconds, and what is
timed is the work on keys alone, as an append does it after and before everything else.
"""

import statistics
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from data import Setting, scratch
from measure import Row, taken

import eventlake as el
from eventlake.columns.keys.key_runs import FINGERPRINT, Keys
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.manifest import NOTHING_RECENT
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.merkle import CompactRange
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import vouch
from eventlake.log.chain.publish import publish
from eventlake.log.chain.unfolded_keys import own_keys, recent_after, stored_where_large
from eventlake.log.maintaining.fold import keep_folded

ORIGIN = "benchmark.example"
MOST_MB = 256


@dataclass(frozen=True, slots=True)
class Step:
    """What the keys of one commit took: seconds of CPU, and megabytes."""

    known: int
    lookup_cpu: float
    store_cpu: float
    fold_cpu: float
    fold_mb: float
    folded: bool
    bytes_an_id: float


def ids_of(number: int, rows: int) -> Keys:
    """Sorted keys of new events."""
    drawn = np.random.default_rng(number).integers(0, 1 << 64, rows, np.uint64)
    return np.sort(drawn & FINGERPRINT)


def committed(chain: Chain, ids: Keys) -> None:
    """Adds a commit of as many events as there are keys, whose segment does not exist."""
    rows, start, head = len(ids), chain.watermark, chain.head
    commit_id = str(uuid.uuid4())
    own = own_keys(ids, None, (), commit_id)
    keys = stored_where_large(chain.storage, own, chain.limits.inline_keys)
    # A power of two, so that one node stands for all events of the commit.
    nodes = CompactRange(start, start + rows, (bytes(own.heads[:1].tobytes() * 4),))
    frontier = chain.frontier.merge(nodes)
    segment = Segment(
        frontier.root().hex(),
        1,
        start,
        start + rows,
        ("id", "source", "type"),
        tuple(nodes.hex()),
        (("t", rows),),
        None,
        rows,
        None,
    )
    commit = Commit(
        version=chain.next_version,
        origin=ORIGIN,
        prev=head.commit_hash if head else None,
        commit_id=commit_id,
        kind="append",
        recorded_at=chain.next_instant(time.time_ns() // 1000),
        start=start,
        stop=start + rows,
        root=frontier.root().hex(),
        frontier=tuple(frontier.hex()),
        segments=(segment,),
        tiers=head.commit.tiers if head else (),
        recent=recent_after(
            head.commit.recent if head else NOTHING_RECENT, chain.next_version, keys
        ),
    )
    data = commit.encode()
    vouch(chain, commit, data)
    assert publish(chain, commit, data)
    chain.published(commit, data)


def resident_mb(*, reset: bool = False) -> float:
    """The most memory that was resident since it was reset; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    [line] = [one for one in status.read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def step(chain: Chain, number: int, rows: int, keys: Path) -> Step:
    """One commit of new keys, and the fold after it."""
    ids, known = ids_of(number, rows), chain.watermark
    chain.refresh()
    lookup = taken(
        lambda: chain.keys.suspects(chain.head.commit if chain.head else None, ids, 0)
    ).cpu
    store = taken(lambda: committed(chain, ids)).cpu
    before, version = resident_mb(reset=True), chain.next_version
    fold = taken(lambda: keep_folded(chain)).cpu
    size = sum(path.stat().st_size for path in keys.iterdir())
    return Step(
        known,
        lookup,
        store,
        fold,
        resident_mb() - before,
        chain.next_version > version,
        size / chain.watermark,
    )


def row(setting: Setting) -> Row:
    """Measures the row."""
    rows, commits = setting.size(1 << 20, 1 << 16), setting.size(30, 12)
    result = Row("known_keys", f"the keys of {rows * commits:,} events, {rows:,} a commit")
    with scratch() as folder:
        chain = el.create(folder / "lake", ORIGIN)._chain  # noqa: SLF001 - keys alone, without events
        steps = [step(chain, number, rows, folder / "lake" / "keys") for number in range(commits)]
        tiers = len(chain.head.commit.tiers) if chain.head else 0
    folds = [one for one in steps if one.folded]
    for known in (10, 30):
        upto = [one for one in steps if one.known < known * rows]
        if len(upto) == known:
            cpu = sum(one.fold_cpu for one in upto) / (known * rows) * 1e9
            result.add(f"folding up to {known * rows:,} ids: CPU", "", cpu, "ns an id")
    result.add("the most expensive fold: CPU", "", max(one.fold_cpu for one in folds) * 1e3, "ms")
    result.add("the largest fold: memory", "", max(one.fold_mb for one in folds), "MB", MOST_MB)
    most = max(one.bytes_an_id for one in steps[len(steps) // 3 :])
    result.add("key files on disk after any commit, never collected", "", most, "bytes an id", 10)
    last = steps[-8:]
    result.add(
        f"{rows:,} new ids among the last {rows * 8:,}: CPU",
        "",
        statistics.median(one.lookup_cpu for one in last) * 1e3,
        "ms",
    )
    result.add("tiers in the head", "", tiers, "files")
    result.note(
        "The commits have keys and no events, so that only the work on keys is measured.",
        "Memory is what is resident above what was before the fold.",
    )
    return result
