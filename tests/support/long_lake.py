"""A lake of very many commits, made fast: every document and every file in it is whole, chained and valid, as a verification confirms.

What is spared is asking each batch for its rules, the encoding of each segment by Parquet (one byte
pattern is filled in), and most of the merging of tiers: these are merged four by four, and by
eventlake itself over the last commits, which brings them to where it has them.
"""

import uuid
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.columns.hashing import leaves
from eventlake.columns.keys.key_runs import merged
from eventlake.columns.keys.keys import event_keys, text_key, text_keys
from eventlake.columns.parquet import manifest_rows
from eventlake.core import layout
from eventlake.core.documents.commit import Commit, commit_hash
from eventlake.core.documents.delivery import Delivery, Position
from eventlake.core.documents.manifest import NOTHING_RECENT, Recent, Tier
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.core.hashing.merkle import CompactRange
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.check_derived import vouch
from eventlake.log.chain.entry import Entry
from eventlake.log.chain.hint import leave
from eventlake.log.chain.key_index import recent_run
from eventlake.log.chain.limits import LOG_LIMITS
from eventlake.log.chain.unfolded_keys import (
    OwnKeys,
    position_text,
    recent_after,
    store,
    weight,
)
from eventlake.log.maintaining.fold import fold
from eventlake.log.maintaining.make_tiers import store_rows
from eventlake.storage import MemoryStorage

ORIGIN = "long.example/loans"
START_US = 1_700_000_000_000_000
PRODUCERS = 7
BY_REAL_FOLDS = 2_500
"""So many of the last commits are folded by eventlake itself: more than a tier of the lowest class holds."""


def event(number):
    """The one event of an append."""
    return {
        "id": f"e{number:08d}",
        "source": "s",
        "type": "t",
        "subject": f"/loan/{number // 3:08d}",
    }


def position(number):
    """Every fifth event is a producer's."""
    return (
        Position(f"p{number // 5 % PRODUCERS}", number // 5 // PRODUCERS)
        if number % 5 == 0
        else None
    )


def _pattern():
    columns = ["id", "source", "type", "subject"]
    sink = pa.BufferOutputStream()
    table = pa.table({name: [event(0)[name]] for name in columns})
    pq.write_table(
        table,
        sink,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
    )
    pattern = bytes(sink.getvalue())
    assert (pattern.count(b"e00000000"), pattern.count(b"/loan/00000000")) == (1, 1)
    return pattern


@dataclass
class _Tier:
    tier: Tier
    level: int
    rows: list
    run: object


class _Maker:
    def __init__(self, storage, commits):
        self.storage = storage
        self.commits = commits
        self.pattern = _pattern()
        numbers = range(commits)
        events = pl.DataFrame([event(number) for number in numbers])
        self.leaves = leaves.leaf_hashes(
            events.to_arrow().cast(pa.schema([(name, pa.string()) for name in events.columns]))
        )
        self.ids = event_keys(events)
        self.subjects = text_keys("subject", events["subject"])
        self.below = [text_key("below", text) for text in ("/loan", "/")]
        self.commit_ids = [str(uuid.UUID(int=number, version=4)) for number in numbers]
        self.commit_keys = text_keys("commit", pl.Series(self.commit_ids))
        texts = [position_text(position(number)) for number in numbers[::5]]
        self.positions = text_keys("position", pl.Series(texts))
        self.producers = [text_key("producer", f"p{number}") for number in range(PRODUCERS)]
        self.version = self.events = 0
        self.head = None
        self.prev = None
        self.range = CompactRange.empty()
        self.waiting = []
        self.tiers = []

    def make(self):
        while self.version < self.commits:
            if self.head is not None and weight(self.head) >= LOG_LIMITS.fold_weight:
                if self.version < self.commits - BY_REAL_FOLDS:
                    self.fold()
                else:
                    self.fold_for_real()
            else:
                self.append()

    def append(self):
        number = self.events
        self.events += 1
        one, leaf = event(number), self.leaves[number].tobytes()
        data = self.pattern.replace(b"e00000000", one["id"].encode()).replace(
            b"/loan/00000000", one["subject"].encode()
        )
        sha256 = sha256_hex(data)
        self.storage.create(layout.segment_path(sha256), data)
        segment = Segment(
            sha256,
            len(data),
            number,
            number + 1,
            tuple(one),
            (leaf.hex(),),
            (("t", 1),),
            None,
            1,
            None,
        )
        heads = [self.subjects[number], *self.below]
        given = position(number)
        if given:
            heads += [self.positions[number // 5], self.producers[number // 5 % PRODUCERS]]
        self.range = self.range.merge(CompactRange(number, number + 1, (leaf,)))
        recent = recent_after(
            self.head.recent if self.head else NOTHING_RECENT,
            self.version,
            self.own(self.ids[number : number + 1], heads),
        )
        deliveries = (Delivery(given, number, number + 1),) if given else ()
        self.publish("append", number, (segment,), deliveries, recent)

    def own(self, ids, heads):
        return OwnKeys(ids, np.sort(np.array([*heads, self.commit_keys[self.version]], np.uint64)))

    def publish(self, kind, start, segments, deliveries, recent):
        commit = Commit(
            version=self.version,
            origin=ORIGIN,
            prev=self.prev,
            commit_id=self.commit_ids[self.version],
            kind=kind,
            recorded_at=START_US + self.events,
            start=start,
            stop=self.events,
            root=self.range.root().hex(),
            frontier=tuple(self.range.hex()),
            segments=segments,
            deliveries=deliveries,
            tiers=tuple(one.tier for one in self.tiers),
            recent=recent,
        )
        data = commit.encode()
        self.storage.create(layout.commit_path(self.version), data)
        vouch(Chain(self.storage, ORIGIN, 0), commit, data)
        self.follow(Entry(commit, commit_hash(data)))

    def follow(self, entry):
        self.head, self.prev = entry.commit, entry.commit_hash
        self.waiting.append(entry.row)
        self.version += 1

    def fold(self):
        newest = _Tier(None, 0, self.waiting, recent_run(self.head.recent))
        parts = [newest]
        while len(self.tiers) > 2 and all(one.level == newest.level for one in self.tiers[-3:]):
            parts = [*self.tiers[-3:], *parts]
            newest.level += 1
            del self.tiers[-3:]
        newest.run = merged([part.run for part in parts], self.version)
        newest.rows = [row for part in parts for row in part.rows]
        keys = store(self.storage, newest.run)
        data = manifest_rows.encode(newest.rows)
        sha256 = store_rows(self.storage, self.version, data)
        newest.tier = Tier(newest.rows[0][0].version, self.version, sha256, len(data), keys)
        self.tiers.append(newest)
        self.waiting = []
        recent = recent_after(Recent(self.version), self.version, self.own(self.ids[:0], []))
        self.publish("fold", self.events, (), (), recent)

    def fold_for_real(self):
        leave(self.storage, ORIGIN, self.version - 1)
        chain = el.open(self.storage)._chain
        fold(chain)
        self.follow(chain.head)
        self.tiers = [_Tier(tier, 0, [], None) for tier in self.head.tiers]


def long_lake(commits):
    """``(storage, number of events)`` of a lake with so many commits of one event each, some of them folds."""
    storage = MemoryStorage()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eventlake.core.hashing.canonical._refuse_floats", lambda value: None)
        patch.setattr("eventlake.lake._now", lambda: START_US)
        el.create(storage, ORIGIN)
        maker = _Maker(storage, commits)
        maker.make()
    leave(storage, ORIGIN, commits - 1)
    return storage, maker.events
