"""Folds: key files are bounded, what they replace is given back, and whoever still looks for it finds its keys."""

import random

import pytest

import eventlake as el
from eventlake.errors import InvalidEventsError, StorageError
from eventlake.log.appending.expectations import newest_event
from eventlake.log.appending.known_ids import find_known
from eventlake.log.appending.read_events import checked_batch
from eventlake.log.maintaining.fold import fold
from eventlake.log.maintaining.garbage import derived_files
from eventlake.storage import LocalStorage, MemoryStorage
from tests.scope import STORAGES
from tests.support.limits import limited

TIERS = {"fold_weight": 40, "tier_ratio": 3, "inline_keys": 4}
LATER = {"fold_weight": 10**6, "inline_keys": 4}
"""Nothing is folded by itself."""


def events(number, rows):
    return [
        {"id": f"{number}/{row}", "source": "s", "type": "t", "subject": f"/loan/{number}"}
        for row in range(rows)
    ]


def filled(storage, commits, **limits):
    """A lake, and its events."""
    lake, told, dice = limited(el.create(storage, "o"), **limits), [], random.Random(commits)
    for number in range(commits):
        batch = events(number, dice.randrange(1, 9))
        lake.append(batch)
        told += batch
    return lake, told


def stored_keys(storage):
    return {one.path for one in storage.list("keys")}


def named_keys(lake):
    return {path for path in derived_files(lake._chain.head.commit) if path.startswith("keys/")}


@pytest.mark.parametrize("where", STORAGES)
def test_key_files_that_a_fold_replaced_are_given_back(where, tmp_path):
    storage = LocalStorage(tmp_path) if where == "local" else MemoryStorage()
    lake, dice = limited(el.create(storage, "o"), **TIERS), random.Random(1)
    for number in range(60):
        lake.append(events(number, dice.randrange(1, 9)))
        assert stored_keys(storage) == named_keys(lake)
    assert sum(entry.commit.kind == "fold" for entry in lake.log()) > 10
    assert lake.verify(deep=True).problems == ()


def test_a_store_that_refuses_to_delete_is_folded_all_the_same(caplog):
    class Kept(MemoryStorage):
        """Memory in which nothing may be deleted."""

        def delete(self, path):
            """Refuses."""
            raise StorageError("forbidden", path=path)

    storage = Kept()
    lake, told = filled(storage, 30, **TIERS)
    assert stored_keys(storage) > named_keys(lake)
    assert lake.watermark == len(told)
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_a_key_file_at_its_limit_is_not_merged_again():
    lake, told = filled(MemoryStorage(), 150, key_file_bytes=4_000, **TIERS)
    tiers = [entry.commit.tiers for entry in lake.log()]
    assert all(tier.keys.size_bytes <= 4_000 for some in tiers for tier in some)
    full = [tier for tier in tiers[-1] if 2 * tier.keys.size_bytes > 4_000]
    assert len(full) > 2
    assert all(full[0] in some for some in tiers if some and some[-1].stop > full[1].stop)
    with pytest.raises(InvalidEventsError) as caught:
        el.open(lake._chain.storage).append(told)
    assert len(caught.value.problems) == len(told)
    assert lake.verify(deep=True).problems == ()


@pytest.fixture(params=[0, 10**9], ids=["in parts", "as a whole"])
def overtaken(request):
    """A lake as somebody saw it before its key files were merged and given back; its events; the lake now."""
    storage = MemoryStorage()
    _, told = filled(storage, 20, **TIERS)
    earlier = limited(el.open(storage), lookup_bytes=request.param, **TIERS)
    fold(el.open(storage)._chain)
    now = limited(el.open(storage), fold_weight=1, tier_ratio=10**6)
    now.append(events(99, 3))
    assert not stored_keys(storage) & named_keys(earlier)
    return earlier, told, now


def test_a_reader_of_an_earlier_head_finds_known_ids_in_what_was_merged(overtaken, caplog):
    earlier, told, _ = overtaken
    batch = checked_batch([*told, *events(99, 3)])
    found = find_known(earlier._chain, batch)
    assert [match.sequence for match in found] == list(range(len(told)))
    assert earlier._chain.watermark == len(told)
    assert caplog.records == [], "nothing is rebuilt from the log"


def test_a_reader_of_an_earlier_head_finds_its_newest_events(overtaken, caplog):
    earlier, told, _ = overtaken
    for number in (0, 7, 19):
        mine = [at for at, one in enumerate(told) if one["subject"] == f"/loan/{number}"]
        found = newest_event(earlier._chain, f"/loan/{number}", subtree=False)
        assert found.sequence == mine[-1]
    assert caplog.records == [], "nothing is rebuilt from the log"
    # The newest event below /loan is one that the reader does not know yet.
    found = newest_event(earlier._chain, "/loan", subtree=True)
    assert found.sequence == len(told) - 1


def test_a_fold_whose_files_another_fold_gave_back_leaves_it_at_that(caplog):
    class Meddled(MemoryStorage):
        """Memory in which somebody folds while a key file is read."""

        meddle = None

        def read_ranges(self, path, ranges):
            """As memory, after the meddling."""
            if path.startswith("keys/") and self.meddle:
                meddle, self.meddle = self.meddle, None
                meddle()
            return super().read_ranges(path, ranges)

    storage = Meddled()
    _, told = filled(storage, 12, **LATER)
    late = limited(el.open(storage), **LATER)
    storage.meddle = lambda: fold(limited(el.open(storage), **LATER)._chain)
    fold(late._chain)
    kinds = [entry.commit.kind for entry in el.open(storage).log()]
    assert kinds == ["append"] * 12 + ["fold"]
    assert late._chain.watermark == len(told)
    assert caplog.records == [], "nothing is rebuilt from the log"
    assert late.verify(deep=True).problems == ()


@pytest.mark.parametrize(("rows", "most_bytes"), [(10, 4_000), (100, 8_000)])
def test_small_commits_carry_few_keys_of_others(rows, most_bytes):
    storage, commits = MemoryStorage(), 300
    lake = el.create(storage, "o")
    for number in range(commits):
        # Each event is about a subject of its own, so no key is shared.
        lake.append(
            [
                {"id": f"{row}", "source": "s", "type": "t", "subject": f"/loan/{row}"}
                for row in range(number * rows, (number + 1) * rows)
            ]
        )
    log = sum(one.size_bytes for one in storage.list("log"))
    assert log / commits < most_bytes, f"{log / commits:,.0f} bytes of log a commit"
