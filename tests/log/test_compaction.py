"""Compaction changes where events stand, and nothing else that anybody can see."""

import itertools
import logging
import random
import threading
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.core import layout
from eventlake.errors import (
    CommitUnknownError,
    CorruptionError,
    EventlakeError,
    InvalidEventsError,
    InvalidInputError,
    StorageError,
)
from eventlake.log.chain import unfolded_keys
from eventlake.storage import MemoryStorage
from eventlake.testing.faults import FaultyStorage, at_call
from eventlake.testing.invariants import assert_sound
from eventlake.testing.strategies import stored_events
from tests.fault.writers import history, receipts, start
from tests.scope import examples, scaled
from tests.support import naive
from tests.support.dataset_fixtures import POLARS_TOTALS, TOTALS, Hooked, make_lake, module
from tests.support.events import as_arrow, cut, moment, rows_of
from tests.support.limits import IMPATIENT, SMALL_TIERS, limited
from tests.support.maintenance_fixtures import (
    HOUR,
    about,
    appended,
    batch,
    event,
    grouped,
    in_threads,
    meddled,
    observed,
    placed,
    seen,
    varied,
)

# Nothing changes


def test_whatever_can_be_observed_is_the_same_at_every_stage_of_compaction(storage, clock):
    lake = varied(storage, clock)
    before = observed(lake)
    parts = placed(lake)
    done = lake.compact(target_bytes=about(lake, 1))
    assert done.made > 1
    assert observed(lake) == before
    assert 1 < len(placed(lake)) < len(parts)
    assert lake.compact().made == 1
    assert placed(lake) == [(0, lake.watermark)]
    assert observed(el.open(storage)) == before
    assert lake.verify(deep=True, against=before[0][5][1]).ok


def test_a_history_that_goes_on_after_a_compaction_is_the_same_after_the_next_one(storage, clock):
    lake = varied(storage, clock)
    assert lake.compact(target_bytes=about(lake, 1)).made > 1
    clock[0] += HOUR
    lake.append([event("after", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")])
    lake.append(
        [
            event("after 2", recorded_at=moment(clock[0] + 5)),
            event("after 3", recorded_at=moment(clock[0] + 6)),
        ]
    )
    before = observed(lake)
    assert lake.compact().made == 1
    assert observed(lake) == before
    assert lake.verify(deep=True).ok


@settings(max_examples=examples(15))
@given(
    stored_events(min_size=2, max_size=14),
    st.lists(st.integers(0, 100), min_size=1, max_size=6),
    st.integers(0, 5),
    st.randoms(),
)
def test_any_history_is_the_same_however_it_is_compacted(model, cuts, copied, dice):
    lake = el.create("memory://", "o")
    recorded = 1_600_000_000_000_000
    for number, part in enumerate(cut(model, cuts)):
        stamps = [recorded + dice.randrange(3) * row for row in range(len(part))]
        recorded = max(stamps := sorted(stamps))
        lake.append(as_arrow(part, recorded_at=stamps if number < copied else None))
        if dice.random() < 0.3:
            lake.compact(target_bytes=dice.choice([about(lake, 2), about(lake, 4), 10**9]))
    before = [
        rows_of(lake.snapshot(at).scan(raw=dice.random() < 0.5).collect())
        for at in (len(model), len(model) // 2)
    ]
    clocks = [row["recorded_at"] for row in before[0]]
    dice.choice([lake, el.open(lake._chain.storage)]).compact(
        target_bytes=dice.choice([about(lake, 3), 10**9])
    )
    snapshots = [lake.snapshot(at) for at in (len(model), len(model) // 2)]
    for snapshot, rows in zip(snapshots, before, strict=True):
        assert snapshot.root == naive.root(model[: snapshot.watermark])
        assert snapshot.history.clock_hash() == naive.clock_hash(clocks[: snapshot.watermark])
        expected = [
            naive.read_row(n, *pair) for n, pair in enumerate(zip(model, clocks, strict=True))
        ][: snapshot.watermark]
        assert rows_of(snapshot.scan().collect()) == expected
        assert rows_of(snapshot.sql("from events order by sequence")) == expected
        assert [row["id"] for row in rows] == [row["id"] for row in expected]
    assert lake.verify(deep=True).ok


def test_datasets_are_made_again_as_they_were(storage, tmp_path):
    lake = make_lake(storage, batches=[(n, 3) for n in range(0, 30, 3)])
    made = [TOTALS, module(tmp_path, "totals_module", POLARS_TOTALS)["totals"]]
    old = [lake.build(projection, at=at) for projection in made for at in (None, 14)]
    assert lake.compact(target_bytes=about(lake, 4)).made > 1
    for _ in range(2):
        for dataset in old:
            again = el.open(storage).reproduce(dataset.manifest_hash, trust=True)
            assert again.identical
            assert again.content_hash == dataset.content_hash
        assert [
            lake.build(projection, at=at).manifest_hash for projection in made for at in (None, 14)
        ] == [one.manifest_hash for one in old]
        lake.compact()
    assert placed(lake) == [(0, 30)]
    assert lake.verify(deep=True).ok


def test_a_copy_of_a_compacted_history_is_the_same_history(storage, clock):
    lake = varied(storage, clock)
    assert lake.compact(target_bytes=about(lake, 1)).made > 1
    copy = el.create("memory://", "o")
    copy.append(lake.snapshot().scan(raw=True).collect())
    assert copy.checkpoint == lake.checkpoint
    assert copy.snapshot().history.clock_hash() == lake.snapshot().history.clock_hash()
    assert copy.compact().made == 0


def test_what_keys_find_is_found_in_compacted_segments(storage):
    lake = limited(el.create(storage, "o"), fold_weight=40)
    first = [lake.append(batch(f"{n}"), producer="p", position=n) for n in range(6)]
    lake.compact()
    lake = limited(el.open(storage), fold_weight=40)
    assert [lake.append(batch(f"{n}"), producer="p", position=n) for n in range(6)] == first
    for name in ("0", "3", "5"):
        with pytest.raises(
            InvalidEventsError, match=f"in the lake already, at sequence {3 * int(name)}"
        ):
            lake.append(batch(name))
        assert lake.append(batch(name), duplicates="skip_identical").skipped == 3
    receipt = lake.append(
        batch("new"), expect=[el.on_event("/2", "5-2"), el.pristine("/3")], producer="p", position=6
    )
    assert receipt.start == 18


def test_a_follower_goes_on_across_compactions(storage):
    lake = el.create(storage, "o")
    lake.append(batch("a"))
    lake.append(batch("b"))
    follower = lake.follow(poll_seconds=0.001, timeout_seconds=0.05)
    assert next(follower)["id"].to_list() == [f"{name}-{row}" for name in "ab" for row in range(3)]
    lake.compact()
    lake.append(batch("c"))
    assert [frame["sequence"].to_list() for frame in follower] == [[6, 7, 8]]


# What is compacted


def test_a_lake_of_no_or_one_or_large_segments_has_nothing_to_compact(storage):
    lake = el.create(storage, "o")
    for _ in range(2):
        done = lake.compact()
        assert (done.replaced, done.made, done.events, done.bytes_before, done.bytes_after) == (
            0,
            0,
            0,
            0,
            0,
        )
        assert "nothing to compact" in repr(done)
        lake.append(batch(str(uuid.uuid4()))) if not lake.watermark else None
    lake.append(batch("b"))
    assert lake.compact(target_bytes=1).made == 0
    assert [entry.commit.kind for entry in lake.log()] == ["append", "append"]


def test_a_compaction_says_what_it_did_and_deletes_nothing(storage):
    lake = el.create(storage, "o")
    for number in range(5):
        lake.append(batch(f"{number}"))
    before = {item.path: item.size_bytes for item in storage.list("segments")}
    done = lake.compact()
    after = {item.path: item.size_bytes for item in storage.list("segments")}
    made = set(after) - set(before)
    assert (done.replaced, done.made, done.events) == (5, 1, 15)
    assert (done.bytes_before, done.bytes_after) == (
        sum(before.values()),
        sum(after[path] for path in made),
    )
    assert before.items() < after.items()
    assert "compacted 5 segments into 1" in repr(done)
    assert [entry.commit.kind for entry in lake.log()] == ["append"] * 5 + ["compact"]
    assert lake.log()[-1].commit.recorded_at == lake.log()[-2].commit.recorded_at
    notes = lake.verify(deep=True).notes
    assert {note.path for note in notes} == set(before)
    assert {note.message for note in notes} == {
        "compacted: another segment holds its events; harmless"
    }


def test_large_segments_stay_and_part_the_runs_of_small_ones(storage):
    lake = el.create(storage, "o")
    for number in range(9):
        noise = random.Random(number).randbytes(20_000).hex() if number == 4 else ""
        lake.append([event(f"{number}", data={"noise": noise})])
    done = lake.compact(target_bytes=40_000)
    assert (done.replaced, done.made) == (8, 2)
    assert placed(lake) == [(0, 4), (4, 5), (5, 9)]
    assert lake.compact(target_bytes=40_000).made == 0
    assert lake.compact(target_bytes=400_000).made == 1
    assert placed(lake) == [(0, 9)]


def test_no_compacted_segment_is_larger_than_was_asked_for(storage):
    lake = el.create(storage, "o")
    for number in range(30):
        lake.append(
            [event(f"{number}", data={"noise": random.Random(number).randbytes(300).hex()})]
        )
    sizes = {item.path: item.size_bytes for item in storage.list("segments")}
    target = 4 * max(sizes.values())
    assert lake.compact(target_bytes=target).made >= 7
    assert all(item.size_bytes <= target for item in storage.list("segments"))
    assert max(stop - start for start, stop in placed(lake)) <= 4 + 1


def test_no_compacted_segment_has_more_rows_than_a_segment_may_have(storage):
    lake = el.create(storage, "o")
    for number in range(12):
        lake.append(batch(f"{number}", 1 + number % 3))
    lake = limited(lake, batch={"segment_rows": 7})
    while lake.compact().made:
        assert max(stop - start for start, stop in placed(lake)) <= 7
    assert len(placed(lake)) < 8
    assert lake.verify(deep=True).ok


def test_segments_that_would_decode_to_more_than_a_part_of_memory_are_not_merged(
    storage, monkeypatch
):
    lake = el.create(storage, "o")
    texts = ["x" * 200_000, "y" * 100_000, "z" * 1_000, "z" * 1_000, "y" * 300_000, "z"]
    for number, text in enumerate(texts):
        noise = "".join(random.Random(number).choices("0123456789abcdef", k=300_000))
        batch = [event(f"{number} {n}", data={"text": text}) for n in range(10)]
        lake.append([*batch, event(f"{number} noise", data={"text": noise})])
    # Batches of 500 kB, and parts of 2 MB.
    monkeypatch.setenv("EVENTLAKE_MEMORY", "32MB")
    root = lake.checkpoint
    assert lake.compact(target_bytes=1 << 30).made == 1
    assert [stop - start for start, stop in placed(lake)] == [11, 11, 22, 11, 11]
    assert lake.checkpoint == root
    assert lake.verify(deep=True).ok
    monkeypatch.delenv("EVENTLAKE_MEMORY")
    assert lake.compact(target_bytes=1 << 30).made == 1
    assert [stop - start for start, stop in placed(lake)] == [66]


def test_compacting_after_every_few_appends_ends_with_few_segments(storage):
    lake, known = limited(el.create(storage, "o"), fold_weight=40), []
    for number in range(24):
        known.append((lake.append(batch(f"{number}")), [one["id"] for one in batch(f"{number}")]))
        if number % 3 == 2:
            assert (
                lake.compact(
                    target_bytes=random.Random(number).choice(
                        [about(lake, 3), about(lake, 8), 10**8]
                    )
                ).replaced
                > 1
            )
    assert_sound(el.open(storage), known)
    while lake.compact().made:
        pass
    assert placed(lake) == [(0, 72)]
    assert_sound(el.open(storage), known)


@pytest.mark.parametrize("given", [0, -1])
def test_a_target_is_at_least_one_byte(storage, given):
    with pytest.raises(InvalidInputError, match="expected target_bytes from 1"):
        el.create(storage, "o").compact(target_bytes=given)


@pytest.mark.thorough
def test_a_lake_is_folded_after_a_compaction_that_reaches_into_older_tiers(caplog):
    lake = limited(el.create("memory://", "o"), fold_weight=40)
    for number in range(152):
        lake.append([event(f"{number}")])
    assert len(lake._chain.head.commit.tiers) > 1
    lake.compact()
    with caplog.at_level(logging.WARNING):
        for number in range(152, 170):
            lake.append([event(f"{number}")])
    assert caplog.messages == []
    assert unfolded_keys.weight(lake._chain.head.commit) < 40 + 17
    assert el.open(lake._chain.storage).verify(deep=True).ok


@pytest.mark.parametrize("commits", [13, 14, 19, 20, 25])
def test_a_lake_is_read_after_a_compaction_of_a_compaction_that_reaches_into_older_tiers(
    commits,
):
    lake = limited(el.create("memory://", "o"), **SMALL_TIERS)

    def append(size):
        lake.append(
            [event(f"{lake.watermark}", data={"noise": random.Random(size).randbytes(size).hex()})]
        )

    for number in range(commits):
        append(0 if number < 3 else 3_000)
    assert lake.compact(target_bytes=4_000).replaced == 3
    append(0)
    assert lake.compact().replaced == commits - 1
    for _ in range(4):
        append(0)
    assert lake.verify(deep=True).ok, "verify does not see it"
    assert el.open(lake._chain.storage).snapshot().watermark == commits + 5


@pytest.mark.parametrize("seed", range(scaled(3, 1)))
def test_appends_and_compactions_in_any_order_leave_a_lake_that_is_read_and_folded(caplog, seed):
    dice, known = random.Random(seed), []
    lake = limited(el.create("memory://", "o"), **SMALL_TIERS)
    for number in range(60):
        events = [
            event(f"{number}-{row}", data={"noise": dice.randbytes(dice.choice([0, 0, 900])).hex()})
            for row in range(2)
        ]
        known.append((lake.append(events), [one["id"] for one in events]))
        if dice.random() < 0.3:
            lake.compact(target_bytes=about(lake, dice.randrange(1, 6)))
    with caplog.at_level(logging.WARNING):
        lake.append([event("last")])
    assert caplog.messages == []
    assert_sound(el.open(lake._chain.storage), known)


def test_a_damaged_segment_stops_a_compaction_and_nothing_is_changed(storage):
    lake = el.create(storage, "o")
    for number in range(4):
        lake.append(batch(f"{number}"))
    path = layout.segment_path(lake.log()[2].commit.segments[0].sha256)
    data = storage.read(path)
    storage.replace(path, data[:-9] + b"x" + data[-8:])
    before = lake.log()
    with pytest.raises(CorruptionError, match="does not match its commit"):
        lake.compact()
    assert lake.log() == before
    storage.replace(path, data)
    assert lake.compact().made == 1
    assert lake.verify(deep=True).ok


# Others at the same time


TIERS = [pytest.param(1_024, id="one tier"), pytest.param(40, id="tiers")]


@pytest.mark.parametrize("weight", TIERS)
def test_four_threads_append_while_others_compact(storage, weight):
    """With and without folds in between. How they interleave with compactions differs from run to run."""

    def opened():
        return limited(el.open(storage), fold_weight=weight)

    el.create(storage, "o")
    shared = opened()
    known, done, writing = [], [], set("abcd")
    rounds = scaled(25, 8)

    def write(work, lake, name):
        try:
            work(lake, name, known, rounds)
        finally:
            writing.discard(name)

    def compact():
        while writing:
            done.append(
                opened().compact(target_bytes=random.Random(len(done)).choice([5_000, 50_000]))
            )
            time.sleep(0.01)

    writers = [
        (appended, shared, "a"),
        (appended, shared, "b"),
        (appended, opened(), "c"),
        (grouped, opened(), "d"),
    ]
    in_threads(*(lambda one=one: write(*one) for one in writers), compact)
    assert sum(one.made for one in done) > 0
    assert len(known) == 3 * rounds + 4 * rounds
    assert shared.watermark == 3 * 3 * rounds + 4 * rounds
    assert_sound(el.open(storage), known)
    shared.compact()
    assert placed(shared) == [(0, shared.watermark)]
    assert_sound(el.open(storage), known)


@pytest.mark.thorough
def test_processes_append_while_this_one_compacts(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    processes = [start(tmp_path / "lake", f"p{number}", 40) for number in range(3)]
    made = 0
    try:
        while any(process.poll() is None for process in processes):
            made += lake.compact(target_bytes=60_000).made
    finally:
        for process in processes:
            process.kill()
    acknowledged = [one for process in processes for one in receipts(process.communicate()[0])]
    assert len(acknowledged) == 120
    assert made > 0
    found = history(lake)
    assert len(found) == 480
    assert all(found[first] == name for first, _, name in acknowledged)
    assert lake.verify(deep=True).ok


def test_two_compactions_at_once_leave_a_sound_lake_and_one_of_them_does_the_work(storage):
    lake, known, done = el.create(storage, "o"), [], []
    appended(lake, "a", known, 30)
    turn = threading.Barrier(2)

    def compact(target):
        turn.wait()
        done.append(el.open(storage).compact(target_bytes=target))

    for numbers in ((3, 3), (3, 7), (10**5, 10**5)):
        targets = [about(lake, number) for number in numbers]
        in_threads(*(lambda one=one: compact(one) for one in targets))
        assert_sound(el.open(storage), known)
    assert sum(one.made for one in done) > 0
    el.open(storage).compact()
    assert placed(lake) == [(0, 90)]
    assert_sound(el.open(storage), known)


@pytest.mark.parametrize("prefix", ["segments/", "log/"])
@pytest.mark.parametrize("number", [2, 3, 4, 10**5])
def test_a_compaction_whose_segments_another_compacted_meanwhile_changes_nothing_there(
    storage, prefix, number
):
    lake, known, rival = el.create(storage, "o"), [], []
    appended(lake, "a", known, 8)
    mine, theirs = about(lake, 3), about(lake, number)
    done = meddled(
        storage, prefix, lambda other: rival.append(other.compact(target_bytes=theirs))
    ).compact(target_bytes=mine)
    assert rival[0].made
    assert_sound(lake, known)
    kinds = [entry.commit.kind for entry in lake.log()]
    assert kinds.count("compact") == rival[0].made + done.made
    several = len(placed(lake)) > 1
    assert lake.compact().made == several
    assert placed(lake) == [(0, 24)]
    assert_sound(lake, known)


def test_a_compaction_follows_appends_that_come_between(storage):
    lake, known = el.create(storage, "o"), []
    appended(lake, "a", known, 4)
    meddlers = [lambda other, name=name: appended(other, name, known, 1) for name in "bcd"]
    done = meddled(storage, "log/", *meddlers).compact()
    assert (done.replaced, done.made) == (4, 1)
    assert placed(lake) == [(0, 12), (12, 15), (15, 18), (18, 21)]
    assert_sound(lake, known)


def test_a_compaction_gives_way_to_a_fence_and_succeeds_the_next_time(storage):
    lake, known = el.create(storage, "o"), []
    appended(lake, "a", known, 4)
    handle = meddled(storage, "log/", lambda other: other.resolve(str(uuid.uuid4())))
    assert handle.compact().made == 0
    assert [entry.commit.kind for entry in lake.log()] == ["append"] * 4 + ["fence"]
    assert handle.compact().made == 1
    assert_sound(lake, known)


def test_an_append_whose_segments_are_stored_before_a_compaction_is_committed_after_it(storage):
    lake, known = el.create(storage, "o"), []
    appended(lake, "a", known, 4)
    handle = meddled(storage, "log/", lambda other: other.compact(), lambda other: other.compact())
    appended(handle, "b", known, 1)
    assert placed(lake) == [(0, 12), (12, 15)]
    assert_sound(lake, known)


def test_a_lake_is_verified_while_others_append_and_compact():
    for number in itertools.count(step=scaled(1, 7)):
        inner = MemoryStorage()
        lake = el.create(inner, "o")
        for name in "abcd":
            lake.append(batch(name))
        storage = FaultyStorage(inner)

        def meddle(call, number=number, inner=inner):
            if call.number == number:
                el.open(inner).append(batch("z", 1))
                el.open(inner).compact()

        storage.forget(meddle)
        report = el.open(storage).verify(deep=True)
        assert report.problems == ()
        if len(storage.calls) <= number:
            break
    assert number > 10


# Failures


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_store_that_fails_at_any_call_of_a_compaction_leaves_a_sound_lake(
    fault,
):
    for number in itertools.count(step=scaled(1, 7)):
        inner, known = MemoryStorage(), []
        appended(limited(el.create(inner, "o"), fold_weight=40), "a", known, 5)
        before, versions = seen(el.open(inner)), len(el.open(inner).log())
        storage = FaultyStorage(inner)
        lake = limited(el.open(storage), fold_weight=40, **IMPATIENT)
        target = about(lake, 2)
        storage.forget(at_call(number, fault))
        try:
            made = lake.compact(target_bytes=target).made
        except (StorageError, CommitUnknownError):
            made = None
        calls = len(storage.calls)
        assert seen(el.open(inner)) == before
        assert_sound(el.open(inner), known, deep=False)
        compacted = [entry.commit.kind for entry in el.open(inner).log()[versions:]].count(
            "compact"
        )
        assert made is None or made == compacted
        storage.forget()
        appended(lake, "b", known, 2)
        lake.compact()
        assert placed(lake) == [(0, 21)]
        assert_sound(el.open(inner), known)
        if calls <= number:
            break
    assert number > 12


class CrashError(Exception):
    """The process is gone."""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_dies_at_any_file_of_a_compaction_leaves_a_sound_lake(when):
    def small(storage):
        return limited(el.open(storage), fold_weight=40)

    for number in itertools.count(step=scaled(1, 7)):
        inner, known = MemoryStorage(), []
        el.create(inner, "o")
        appended(small(inner), "a", known, 8)
        before = seen(el.open(inner))
        created = []

        def crash(path, data, number=number, created=created):
            created.append(path)
            if len(created) == number + 1:
                raise CrashError

        try:
            small(Hooked(inner, **{when: crash})).compact(target_bytes=about(el.open(inner), 3))
        except CrashError:
            died = True
        else:
            died = False
        assert seen(el.open(inner)) == before
        assert_sound(el.open(inner), known)
        lake = small(inner)
        lake.compact()
        appended(lake, "b", known, 1)
        assert placed(lake) == [(0, 24), (24, 27)]
        assert_sound(lake, known)
        if not died:
            break
    assert number >= 6


def test_a_compaction_that_failed_half_way_keeps_what_it_did(storage):
    lake, known = el.create(storage, "o"), []
    appended(lake, "a", known, 9)
    commits = []

    def fail(path, data):
        if path.startswith("log/"):
            commits.append(path)
            if len(commits) == 2:
                raise CrashError

    with pytest.raises(CrashError):
        el.open(Hooked(storage, before=fail)).compact(target_bytes=about(lake, 3))
    assert [entry.commit.kind for entry in lake.log()].count("compact") == 1
    assert_sound(lake, known)
    with pytest.raises(EventlakeError, match="in the lake already"):
        lake.append(batch("a-0"))
    assert lake.compact(target_bytes=about(lake, 3)).made
    assert_sound(lake, known)
