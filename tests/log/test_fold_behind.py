"""A writer that lives on: its log is folded behind it, and no commit waits for that."""

import random
import threading
from datetime import timedelta

import pytest

import eventlake as el
from eventlake.errors import InvalidEventsError
from eventlake.log.chain.unfolded_keys import weight
from eventlake.log.maintaining.fold_behind import _fold, _fold_quickly, _merge_large
from eventlake.log.maintaining.garbage import derived_files
from eventlake.storage import LocalStorage, MemoryStorage
from tests.scope import STORAGES, some
from tests.support.limits import limited

QUICK = 100
TIERS = {"fold_weight": 40, "tier_ratio": 3, "inline_keys": 4, "quick_weight": QUICK}
PATIENCE = 60


class Hooked(MemoryStorage):
    """Memory that tells somebody what is about to be created, and deletes nothing unasked."""

    def __init__(self):
        super().__init__()
        self.hook = lambda path, data: None

    def create(self, path, data):
        """As memory, after the hook."""
        self.hook(path, data)
        super().create(path, data)


def events(number, rows):
    return [
        {"id": f"{number}/{row}", "source": "s", "type": "t", "subject": f"/loan/{row}"}
        for row in range(rows)
    ]


def written(lake, commits, seed=1):
    """Appends through a writer, commit by commit; returns the events."""
    told, dice = [], random.Random(seed)
    with lake.writer(max_delay=0) as writer:
        for number in range(commits):
            batch = events(f"{seed}-{number}", dice.randrange(1, 9))
            writer.append(batch).result(PATIENCE)
            told += batch
    return told


def assert_sound(storage, told):
    lake = el.open(storage)
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(told)
    assert len(caught.value.problems) == len(told)
    assert lake.verify(deep=True).problems == ()
    stored = {one.path for one in storage.list("keys")}
    needed = {path for path in derived_files(lake._chain.head.commit) if path.startswith("keys/")}
    assert needed <= stored
    return lake._chain.head.commit


@pytest.mark.parametrize("where", STORAGES)
def test_what_a_writer_commits_is_folded_and_merged_behind_it(where, tmp_path, caplog):
    storage = LocalStorage(tmp_path) if where == "local" else MemoryStorage()
    told = written(limited(el.create(storage, "o"), **TIERS), 120)
    head = assert_sound(storage, told)
    assert max(tier.weight for tier in head.tiers) > 5 * QUICK, "large tiers are merged too"
    assert not _merge_large(limited(el.open(storage), **TIERS)._chain), "nothing is left to merge"
    assert caplog.records == []


def test_no_commit_waits_for_a_fold():
    storage, released = Hooked(), threading.Event()

    def hook(path, data):
        if path.startswith("manifests/"):
            assert released.wait(PATIENCE)

    storage.hook = hook
    lake = limited(el.create(storage, "o"), **TIERS)
    with lake.writer(max_delay=0) as writer:
        for number in range(12):
            writer.append(events(number, 3)).result(PATIENCE)
        assert {entry.commit.kind for entry in el.open(storage).log()} == {"append"}
        assert weight(lake._chain.head.commit) > 3 * TIERS["fold_weight"]
        released.set()
    assert "fold" in {entry.commit.kind for entry in el.open(storage).log()}
    assert_sound(storage, [one for number in range(12) for one in events(number, 3)])


def is_large(path, data):
    return path.startswith("keys/") and len(data) > 10 * QUICK


def test_newer_commits_are_folded_while_large_tiers_are_merged():
    storage, told = Hooked(), []
    chain = limited(el.create(storage, "o"), **TIERS)._chain
    other = limited(el.open(storage), **TIERS | {"fold_weight": 10**6})
    for number in range(20):
        told += (batch := events(number, 30))
        other.append(batch)
        _fold_quickly(chain, 0)
    pile, before = chain.head.commit.tiers, chain.next_version

    def read_ranges(path, ranges):
        # Another process commits as soon as key files are read.
        if len(told) == 600:
            told.extend(batch := events("other", 50))
            other.append(batch)
        return MemoryStorage.read_ranges(storage, path, ranges)

    storage.read_ranges = read_ranges
    _merge_large(limited(el.open(storage), **TIERS)._chain)
    commits = [entry.commit for entry in el.open(storage).log()][before:]
    assert [commit.kind for commit in commits] == ["append", "fold", "fold"]
    assert commits[1].tiers[: len(pile)] == pile
    assert [tier.stop for tier in commits[2].tiers[:2]] == [pile[-1].stop, commits[1].version]
    assert_sound(storage, told)


@pytest.mark.parametrize("number", some([1, 2, 4], 1))
def test_a_collection_while_large_tiers_are_merged_does_no_harm(number):
    storage, told, collected = Hooked(), [], []

    def hook(path, data):
        if is_large(path, data):
            collected.append(path)
            if len(collected) == number:
                el.open(storage).gc(older_than=timedelta(0), dry_run=False)

    storage.hook = hook
    chain = limited(el.create(storage, "o"), **TIERS)._chain
    other = limited(el.open(storage), **TIERS | {"fold_weight": 10**6})
    for commit in range(60):
        told += (batch := events(commit, 8))
        other.append(batch)
        # As the thread of a writer does it.
        _fold(chain)
    assert len(collected) > number
    assert_sound(storage, told)
    el.open(storage).gc(older_than=timedelta(0), dry_run=False)
    assert_sound(storage, told)


@pytest.mark.thorough
def test_two_writers_fold_behind_each_other(caplog):
    storage = MemoryStorage()
    el.create(storage, "o")
    told, threads = {}, []
    for seed in (1, 2):
        lake = limited(el.open(storage), **TIERS)
        threads.append(
            threading.Thread(
                target=lambda lake=lake, seed=seed: told.update({seed: written(lake, 60, seed)})
            )
        )
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert_sound(storage, [*told[1], *told[2]])
    assert [record.message for record in caplog.records] == []
