"""Collecting garbage: what nobody needs is deleted when it is old enough, and nothing else, whoever is at work meanwhile."""

import contextlib
import itertools
import json
import os
import random
import time
import uuid
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.errors import (
    CorruptionError,
    EventlakeError,
    InvalidEventsError,
    InvalidInputError,
    StorageError,
)
from eventlake.log.appending.append import Terms
from eventlake.log.appending.append import append as append_to_chain
from eventlake.log.appending.read_events import checked_batch
from eventlake.log.maintaining.compact import _merge
from eventlake.log.maintaining.fold import fold
from eventlake.log.store_batch import prepare
from eventlake.storage import LocalStorage, MemoryStorage
from eventlake.storage import local as local_module
from eventlake.testing.faults import FaultyStorage, at_call
from eventlake.testing.invariants import assert_sound
from tests.scope import scaled, some
from tests.support.dataset_fixtures import POLARS_TOTALS, TOTALS, Hooked, make_lake, module
from tests.support.events import rows_of
from tests.support.limits import limited
from tests.support.maintenance_fixtures import (
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

DAY = 86_400
NO_AGE = timedelta(0)
MINE = {
    "notes/mine.txt",
    "segments/mine.parquet",
    "log/mine.json",
    "keys/mine.keys",
    "manifests/mine.parquet",
    "builds/readme",
}


def small_tiers(lake):
    return limited(lake, fold_weight=40)


def collected(storage):
    """Deletes all garbage; a file system's clock ticks slowly, so that a moment must have passed."""
    time.sleep(0.02)
    return el.open(storage).gc(older_than=NO_AGE, dry_run=False)


def files(storage):
    return {item.path: storage.read(item.path) for item in storage.list("")}


def needed(storage):
    """What may not be deleted, by reading every commit's document and nothing of eventlake's."""
    stored = {item.path for item in storage.list("")}
    commits = [
        json.loads(storage.read(path))
        for path in sorted(stored)
        if layout.commit_version(path) is not None
    ]
    current = []
    for commit in commits:
        for segment in commit["segments"]:
            current = [
                one for one in current if not segment["start"] <= one["start"] < segment["stop"]
            ] + [segment]
    head = commits[-1]
    keys = [tier["keys"] for tier in head["tiers"]] + head["recent"]["files"]
    published = {
        path.rsplit("/", 1)[0]
        for path in stored
        if path.startswith("builds/") and path.endswith("/manifest.json")
    }
    return (
        {"lake.json", "hint"}
        | (stored & {"reserve"})
        | {f"log/{commit['version']:020d}.json" for commit in commits}
        | {f"segments/{segment['sha256']}.parquet" for segment in current}
        | {f"keys/{file['sha256']}.keys" for file in keys}
        | {
            f"manifests/{tier['stop']:020d}-{tier['rows']['sha256'][:12]}.parquet"
            for tier in head["tiers"]
        }
        | {path for path in stored if any(path.startswith(f"{folder}/") for folder in published)}
        | {
            path
            for path in stored
            if path.startswith("builds/") and path.endswith("/provenance.json")
        }
    )


# What is garbage


def listed(storage, *folders):
    return {item.path for folder in folders for item in storage.list(folder)}


def littered(storage):
    """A lake with garbage of every kind, what was acknowledged, and the garbage as path → reason."""
    lake, known = small_tiers(el.create(storage, "o")), []
    appended(lake, "a", known, 12)
    replaced = listed(storage, "segments")
    assert lake.compact().made == 1
    appended(lake, "b", known, 8)
    events = [event(f"large-{row}") for row in range(600)]
    known.append((lake.append(events), [one["id"] for one in events]))
    lake.build(TOTALS, at=30)
    litter = dict.fromkeys(
        replaced | (listed(storage, "keys", "manifests") - needed(storage)), "replaced by commit"
    )
    for rows in (3, 600):
        batch_ = [event(f"taken-{rows}-{row}") for row in range(rows)]
        loser = meddled(
            storage,
            "log/",
            lambda other, first=batch_[:1]: known.append((other.append(first), [first[0]["id"]])),
        )
        with pytest.raises(InvalidEventsError):
            loser.append(batch_)
    litter |= dict.fromkeys(
        listed(storage, "segments") - needed(storage) - set(litter), "no commit names it"
    )
    litter |= dict.fromkeys(
        listed(storage, "keys", "manifests") - needed(storage) - set(litter), ""
    )
    made = {
        "segments/.tmp-17-abc": "left by an interrupted write",
        "log/.tmp-18-abc": "left by an interrupted write",
        ".tmp-probe-abc": "left by an interrupted write",
        f"segments/{'0' * 64}.parquet": "no commit names it",
        f"keys/{'0' * 64}.keys": "no commit names it",
        f"manifests/{7:020d}-{'0' * 12}.parquet": "no commit names it",
        "builds/totals/0123456789ab/0123456789abcdef/part-00000-0123456789ab.parquet": "of a build that was not finished",
        "builds/totals/0123456789ab/0123456789abcdef/source/query.sql": "of a build that was not finished",
        "builds/other/abababababab/abababababababab/spine.parquet": "of a build that was not finished",
    }
    for path in made:
        storage.create(path, b"litter")
    for path in MINE:
        storage.create(path, b"mine")
    return lake, known, litter | made


def test_garbage_of_every_kind_is_deleted_and_nothing_that_is_needed(storage):
    lake, known, litter = littered(storage)
    before = seen(lake)
    assert {"segments", "keys", "manifests", "builds", "log"} <= {
        path.partition("/")[0] for path in litter
    }
    time.sleep(0.02)
    planned = lake.gc(older_than=NO_AGE)
    done = collected(storage)
    assert (
        {file.path for file in done.files} == {file.path for file in planned.files} == set(litter)
    )
    assert all(litter[file.path] in file.reason for file in done.files)
    notes = {path for path in files(storage) if path.startswith("recipes/")}
    assert {path.rpartition(".")[2] for path in notes} == {"made", "base", "indexed"}
    assert set(files(storage)) - notes == needed(storage) | MINE
    assert seen(el.open(storage)) == before
    for path in MINE:
        assert storage.read(path) == b"mine"
        storage.delete(path)
    report = el.open(storage).verify(deep=True)
    assert (report.problems, report.notes) == ((), ())
    assert_sound(el.open(storage), known)


def test_a_collection_says_what_it_would_do_and_then_what_it_did(storage):
    lake, known = el.create(storage, "o"), []
    appended(lake, "a", known, 3)
    sizes = {item.path: item.size_bytes for item in storage.list("segments")}
    lake.compact()
    time.sleep(0.02)
    for found, deleted in ((lake.gc(older_than=NO_AGE), False), (collected(storage), True)):
        assert [file.path for file in found.files] == sorted(sizes)
        assert {file.path: file.size_bytes for file in found.files} == sizes
        assert found.size_bytes == sum(sizes.values())
        assert {file.reason for file in found.files} == {"replaced by commit 3"}
        assert found.deleted == deleted
        assert ("would delete 3 files" in repr(found)) != deleted
    assert collected(storage).files == ()
    assert_sound(el.open(storage), known)


def test_a_dry_run_publishes_and_deletes_nothing(storage):
    lake, _, litter = littered(storage)
    before = files(storage)
    time.sleep(0.02)
    assert len(lake.gc(older_than=NO_AGE).files) == len(litter)
    assert lake.gc().files == ()
    assert files(storage) == before


def test_nothing_of_today_is_deleted_by_default(storage):
    lake, known, _ = littered(storage)
    before = files(storage)
    assert lake.gc(dry_run=False).files == ()
    after = files(storage)
    assert set(after) - set(before) == {layout.commit_path(len(lake.log()) - 1)}
    assert before.items() - after.items() <= {("hint", before["hint"])}
    assert {problem.path for problem in lake.verify().problems} >= MINE
    assert lake.watermark == sum(len(names) for _, names in known)


def test_an_empty_lake_is_collected(storage):
    lake = el.create(storage, "o")
    assert lake.gc(older_than=NO_AGE).files == ()
    assert collected(storage).files == ()
    assert [entry.commit.kind for entry in lake.log()] == ["fence"]
    lake.append([event("old", recorded_at="2020-01-01T00:00:00Z")])
    assert lake.verify(deep=True).ok


@pytest.mark.parametrize("age", [timedelta(microseconds=-1), timedelta(days=-7)])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_negative_age_is_refused(storage, age, dry_run):
    lake = el.create(storage, "o")
    with pytest.raises(InvalidInputError, match="expected older_than as an age from 0"):
        lake.gc(older_than=age, dry_run=dry_run)
    assert lake.log() == []


def test_a_damaged_commit_stops_a_collection_and_nothing_is_deleted(storage):
    lake, known = el.create(storage, "o"), []
    appended(lake, "a", known, 4)
    lake.compact()
    path = layout.commit_path(1)
    data = storage.read(path)
    storage.replace(path, data.replace(b'"kind":"append"', b'"kind":"fence"'))
    before = set(files(storage))
    with pytest.raises(CorruptionError):
        collected(storage)
    assert before <= set(files(storage))
    storage.replace(path, data)
    assert len(collected(storage).files) == 4
    assert_sound(el.open(storage), known)


@pytest.mark.parametrize("fault", ["before", "after"])
def test_a_collection_that_fails_at_any_call_is_finished_by_the_next_one(fault):
    for number in itertools.count(step=scaled(1, 7)):
        inner, known = MemoryStorage(), []
        lake = el.create(inner, "o")
        appended(lake, "a", known, 4)
        lake.compact()
        appended(lake, "b", known, 1)
        storage = FaultyStorage(inner)
        handle = limited(el.open(storage), patience_seconds=0.02, first_pause_seconds=0.001)
        storage.forget(at_call(number, fault))
        with contextlib.suppress(EventlakeError):
            handle.gc(older_than=NO_AGE, dry_run=False)
        calls = len(storage.calls)
        assert needed(inner) <= set(files(inner))
        assert_sound(el.open(inner), known)
        storage.forget()
        handle.gc(older_than=NO_AGE, dry_run=False)
        assert set(files(inner)) == needed(inner)
        assert_sound(el.open(inner), known)
        if calls <= number:
            break
    assert number > 8


# How old


def aged(folder, path, days, now):
    os.utime(folder / path, (now - days * DAY,) * 2)


def test_the_age_counts_from_when_a_file_became_unneeded(tmp_path):
    folder, now = tmp_path / "lake", time.time()
    lake = el.create(folder, "o")
    for number in range(3):
        lake.append(batch(f"{number}"))
    replaced = sorted(path.relative_to(folder).as_posix() for path in folder.glob("segments/*"))
    for path in replaced:
        aged(folder, path, 300, now)
    lake.compact()
    week = timedelta(days=7)
    assert lake.gc(older_than=week).files == lake.gc(older_than=week, dry_run=False).files == ()
    aged(folder, layout.commit_path(3), 6.9, now)
    assert lake.gc(older_than=week, dry_run=False).files == ()
    aged(folder, layout.commit_path(3), 7.1, now)
    assert [file.path for file in lake.gc(older_than=week).files] == replaced
    assert all(
        abs(file.since / 1e6 - (now - 7.1 * DAY)) < 1 for file in lake.gc(older_than=week).files
    )
    assert lake.gc(older_than=timedelta(days=7.2)).files == ()
    assert [file.path for file in lake.gc(older_than=week, dry_run=False).files] == replaced
    assert lake.verify(deep=True).notes == ()


def test_the_age_of_a_part_of_the_manifest_counts_from_when_newer_ones_took_its_place(
    tmp_path,
):
    folder, now = tmp_path / "lake", time.time()
    lake = small_tiers(el.create(folder, "o"))
    for number in range(4):
        lake.append([event(f"{number}")])
    parts = {path.relative_to(folder).as_posix() for path in folder.glob("manifests/*")}
    assert len(parts) == 1
    for path in parts:
        aged(folder, path, 300, now)
    for number in range(4, 8):
        lake.append([event(f"{number}")])
    assert not parts & needed(lake._chain.storage)
    assert lake.gc().files == ()
    folds = [entry.commit.version for entry in lake.log() if entry.commit.kind == "fold"]
    aged(folder, layout.commit_path(folds[1]), 8, now)
    assert {file.path for file in lake.gc(dry_run=False).files} == parts
    assert lake.verify(deep=True).ok


def test_the_age_of_what_was_never_needed_counts_from_when_it_was_stored(tmp_path):
    folder, now = tmp_path / "lake", time.time()
    lake = el.create(folder, "o")
    lake.append(batch("a"))
    storage = LocalStorage(folder)
    litter = [
        ".tmp-probe-1",
        f"keys/{'1' * 64}.keys",
        "segments/.tmp-1-2",
        f"segments/{'2' * 64}.parquet",
    ]
    for path in litter:
        storage.create(path, b"litter")
        aged(folder, path, 6.9, now)
    assert lake.gc(dry_run=False).files == ()
    for path in litter:
        aged(folder, path, 7.1, now)
    assert [file.path for file in lake.gc(dry_run=False).files] == litter
    assert lake.verify(deep=True).notes == ()


def test_the_age_of_an_unfinished_attempt_is_that_of_its_newest_file(tmp_path):
    folder, now = tmp_path / "lake", time.time()
    lake = el.create(folder, "o")
    lake.append(batch("a"))
    storage, build = LocalStorage(folder), "builds/x/0123456789ab/0123456789abcdef"
    paths = [
        f"{build}/part-00000-0123456789ab.parquet",
        f"{build}/part-00001-0123456789ab.parquet",
        f"{build}/source/query.sql",
    ]
    for path in paths:
        storage.create(path, b"litter")
        aged(folder, path, 30, now)
    aged(folder, paths[1], 1, now)
    assert lake.gc(dry_run=False).files == ()
    aged(folder, paths[1], 8, now)
    assert [file.path for file in lake.gc(dry_run=False).files] == paths


def test_files_of_a_published_dataset_are_never_garbage_however_old(tmp_path):
    folder, now = tmp_path / "lake", time.time()
    lake = make_lake(folder)
    dataset = lake.build(TOTALS)
    for path in folder.glob("builds/**/*"):
        aged(folder, path.relative_to(folder), 300, now)
    assert lake.gc(older_than=NO_AGE, dry_run=False).files == ()
    assert lake.reproduce(dataset.manifest_hash).identical


def test_a_build_that_finds_old_files_of_an_interrupted_one_does_not_lose_them_to_a_collection(
    tmp_path,
):
    folder, now = tmp_path / "lake", time.time()
    make_lake(folder)

    def stop(path, data):
        if path.endswith(("/provenance.json", "/manifest.json")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        el.open(Hooked(LocalStorage(folder), before=stop)).build(TOTALS)
    for path in folder.glob("builds/**/*"):
        aged(folder, path.relative_to(folder), 30, now)
    assert len(list(folder.glob("builds/**/*.parquet"))) == 1

    def collect(path, data):
        if path.endswith("/provenance.json"):
            el.open(folder).gc(dry_run=False)

    dataset = el.open(Hooked(LocalStorage(folder), before=collect)).build(TOTALS)
    report = el.open(folder).verify(deep=True)
    assert report.problems == ()
    assert el.open(folder).reproduce(dataset.manifest_hash).identical


# Nothing that is read changes


def test_whatever_can_be_observed_is_the_same_after_a_collection(storage, clock):
    lake = varied(storage, clock)
    before = observed(lake)
    assert lake.compact(target_bytes=about(lake, 1)).made > 1
    assert collected(storage).files
    assert observed(el.open(storage)) == before
    lake.compact()
    assert collected(storage).files
    assert placed(lake) == [(0, lake.watermark)]
    assert observed(lake) == before
    assert lake.verify(deep=True).notes == ()


def test_snapshots_taken_before_a_compaction_and_a_collection_read_what_they_did(storage, clock):
    lake = varied(storage, clock)
    marks = some(range(lake.watermark + 1), 5)

    def read(snapshot, how):
        if how == "scan":
            return rows_of(snapshot.scan().collect())
        if how == "raw":
            return rows_of(snapshot.scan(raw=True).collect())
        if how == "sql":
            return rows_of(snapshot.sql("from events order by sequence"))
        if how == "types":
            return snapshot.types()
        return snapshot.event(snapshot.watermark - 1) if snapshot.watermark else None

    hows = ["scan", "raw", "sql", "types", "event"]
    before = [[read(lake.snapshot(mark), how) for how in hows] for mark in marks]
    kept = [[lake.snapshot(mark) for _ in hows] for mark in marks]
    facts = [(snapshot.checkpoint, snapshot.commit_hash) for snapshot, *_ in kept]
    for target in (about(lake, 1), 10**9):
        assert lake.compact(target_bytes=target).made
        assert collected(storage).files
        assert [
            [read(snapshot, how) for snapshot, how in zip(row, hows, strict=True)] for row in kept
        ] == before
        clock[0] += 1
        lake.append([event(f"more {target}")])
    assert [(snapshot.checkpoint, snapshot.commit_hash) for snapshot, *_ in kept] == facts


def test_a_frame_scanned_before_a_collection_can_be_scanned_again(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    for number in range(3):
        lake.append(batch(f"{number}"))
    snapshot = lake.snapshot()
    frame = snapshot.scan()
    expected = frame.collect()
    lake.compact()
    collected(LocalStorage(tmp_path / "lake"))
    with pytest.raises(StorageError, match="was collected as garbage"):
        snapshot.collect(frame)
    assert snapshot.collect(snapshot.scan()).equals(expected)


def test_datasets_are_made_again_after_a_collection(storage, tmp_path):
    lake = make_lake(storage, batches=[(n, 3) for n in range(0, 21, 3)])
    projections = [TOTALS, module(tmp_path, "totals_module", POLARS_TOTALS)["totals"]]
    old = [lake.build(projection, at=at) for projection in projections for at in (None, 10)]
    for target in (about(lake, 3), 10**9):
        assert lake.compact(target_bytes=target).made
        assert collected(storage).files
        for dataset in old:
            again = el.open(storage).reproduce(dataset.manifest_hash, trust=True)
            assert (again.identical, again.content_hash) == (True, dataset.content_hash)
        assert [
            el.open(storage).build(one, at=at).manifest_hash
            for one in projections
            for at in (None, 10)
        ] == [dataset.manifest_hash for dataset in old]
    assert len(lake.datasets()) == 4
    assert lake.verify(deep=True).notes == ()


# While others are at work


def append(lake, known):
    known.append((lake.append(batch("new")), [one["id"] for one in batch("new")]))


def append_many(lake, known):
    events = [event(f"new-{row}", subject=f"/{row}") for row in range(600)]
    known.append((lake.append(events), [one["id"] for one in events]))


def append_pieces(lake, known):
    append(limited(lake, batch={"segment_rows": 2}), known)
    assert (
        len([entry for entry in lake.log() if entry.commit.kind == "append"][-1].commit.segments)
        == 2
    )


def append_at_position(lake, known):
    events = batch("new")
    known.append((lake.append(events, producer="p", position=9), [one["id"] for one in events]))


def append_with_expectation(lake, known):
    events = batch("new")
    receipt = lake.append(
        events, expect=[el.pristine("/9"), el.on_event("/1", "b-0-1"), el.at_watermark(21)]
    )
    known.append((receipt, [one["id"] for one in events]))


def append_what_is_new(lake, known):
    receipt = lake.append([*batch("a-1"), *batch("new")], duplicates="skip_identical")
    assert receipt.skipped == 3
    known.append((receipt, [one["id"] for one in batch("new")]))


def append_in_group(lake, known):
    grouped(lake, "new", known, 1)


def fold_now(lake, known):
    fold(lake._chain)


def compact(lake, known):
    lake.compact()


def compact_in_runs(lake, known):
    lake.compact(target_bytes=about(lake, 2))


WRITES = [
    append,
    append_many,
    append_pieces,
    append_at_position,
    append_with_expectation,
    append_what_is_new,
    append_in_group,
]
WORK = [*WRITES, fold_now, compact, compact_in_runs]


def ripe(storage, **limits):
    """A lake in which there is something to fold, to compact and to collect."""
    lake, known = limited(el.create(storage, "o"), **limits), []
    appended(lake, "a", known, 3)
    lake.compact()
    appended(lake, "a2", known, 3)
    appended(lake, "b", known, 1)
    return known


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("work", WORK, ids=lambda one: one.__name__)
def test_who_slept_between_storing_and_committing_while_garbage_was_collected_commits_soundly(
    storage, work, times
):
    known, deleted = ripe(storage), []
    before = el.open(storage).watermark
    work(
        meddled(storage, "log/", *[lambda _: deleted.append(collected(storage).files)] * times),
        known,
    )
    stored = {
        file.path.partition("/")[0] for file in deleted[0] if file.reason == "no commit names it"
    }
    assert stored == (
        {"manifests", "keys"}
        if work is fold_now
        else {"segments", "keys"}
        if work is append_many
        else {"segments"}
    )
    assert len(deleted) == (times if work in WRITES else len(deleted)) <= times
    assert el.open(storage).watermark == max([before, *(receipt.stop for receipt, _ in known)])
    assert_sound(el.open(storage), known)
    collected(storage)
    assert set(files(storage)) == needed(storage)
    assert_sound(el.open(storage), known)


def append_again(lake, events):
    lake.append(events)


def store_and_append(lake, events):
    """The batch is stored once more, and committed by the one who stored it before."""
    batch = checked_batch(events)
    prepare(lake._chain, batch, ())
    el.open(lake._chain.storage).gc(older_than=NO_AGE, dry_run=False)
    append_to_chain(lake._chain, batch, time.time_ns() // 1000, Terms())


def compact_again(lake, events):
    assert lake.compact().made


@pytest.mark.parametrize(
    "then", [append_again, store_and_append, compact_again], ids=lambda one: one.__name__
)
def test_a_collector_that_slept_deletes_nothing_that_came_back_while_another_collected(then):
    """Garbage that one collector has listed and another deleted is stored once more, and needed, before the first one wakes."""

    class Sleepy(MemoryStorage):
        asleep = None

        def delete(self, path):
            if self.asleep and path.startswith("segments/"):
                wake, self.asleep = self.asleep, None
                wake()
            super().delete(path)

    storage = Sleepy()
    lake = el.create(storage, "o")
    lake.append([event("a")])
    lake.append([event("b")])
    events = [event("c", data={"noise": "x" * 5_000}), event("d")]
    # What was interrupted: a batch, and a compaction, that were stored and not committed.
    prepare(lake._chain, checked_batch(events), ())
    _merge(lake._chain, [segment for _, segment in lake._chain.segments(0, 2)])

    def meanwhile():
        collected(storage)
        then(el.open(storage), events)

    storage.asleep = meanwhile
    time.sleep(0.02)
    el.open(storage).gc(older_than=NO_AGE, dry_run=False)
    assert storage.asleep is None
    assert el.open(storage).verify(deep=True).problems == ()
    assert el.open(storage).snapshot().scan().collect().height == el.open(storage).watermark


@pytest.mark.parametrize("rows", [10, 2_000, 25_000])
def test_a_batch_that_is_stored_again_takes_no_file_of_an_earlier_try_over(rows):
    """A collector may have listed the earlier files as garbage, and delete them after the batch was stored again."""
    lake = el.create(MemoryStorage(), "o")
    batch = checked_batch(
        [{"id": str(number), "source": "s", "type": "t"} for number in range(rows)]
    )
    first, second = (prepare(lake._chain, batch, ()) for _ in range(2))
    named = [
        {getattr(one.keys, "sha256", None), *(piece.sha256 for piece in one.pieces)} - {None}
        for one in (first, second)
    ]
    assert named[0].isdisjoint(named[1])


@pytest.mark.parametrize("work", WORK, ids=lambda one: one.__name__)
def test_a_collection_at_any_call_of_anybody_at_work_does_no_harm(work):
    limits = {"fold_weight": 40, "inline_keys": 5}
    for number in itertools.count(step=scaled(1, 7)):
        inner = MemoryStorage()
        known = ripe(inner, **limits)
        storage = FaultyStorage(inner)
        lake = limited(el.open(storage), **limits)

        def collect(call, number=number, inner=inner):
            if call.number == number:
                el.open(inner).gc(older_than=NO_AGE, dry_run=False)

        storage.forget(collect)
        work(lake, known)
        assert_sound(el.open(inner), known, deep=number % 4 == 0)
        assert needed(inner) <= set(files(inner))
        el.open(inner).gc(older_than=NO_AGE, dry_run=False)
        assert set(files(inner)) == needed(inner)
        if len(storage.calls) <= number:
            break
    assert number > 3


def read_head(lake):
    return rows_of(lake.snapshot().scan().collect())


def query_head(lake):
    return rows_of(lake.snapshot().sql("from events order by sequence"))


def read_below(lake):
    return rows_of(lake.snapshot(9).scan().collect())


def read_one(lake):
    return lake.snapshot().event(4)


def follow(lake):
    return [frame["id"].to_list() for frame in lake.follow(timeout_seconds=0)]


def read_log(lake):
    return [entry.commit_hash for entry in lake.log()][:8]


@pytest.mark.parametrize(
    "work",
    [read_head, query_head, read_below, read_one, follow, read_log],
    ids=lambda one: one.__name__,
)
def test_a_compaction_and_a_collection_at_any_call_of_a_reader_change_nothing_that_he_reads(
    work,
):
    for number in itertools.count(step=scaled(1, 7)):
        inner = MemoryStorage()
        ripe(inner, fold_weight=40)
        expected = work(el.open(inner))
        storage = FaultyStorage(inner)
        lake = el.open(storage)

        def meddle(call, number=number, inner=inner):
            if call.number == number:
                el.open(inner).compact()
                el.open(inner).gc(older_than=NO_AGE, dry_run=False)

        storage.forget(meddle)
        assert work(lake) == expected
        if len(storage.calls) <= number:
            break
    assert number > 1


def read_inside(lake):
    return lake.snapshot(10).checkpoint


def prove(lake):
    return lake.prove_inclusion(4), lake.prove_consistency(lake.snapshot(7).checkpoint)


def append_known(lake):
    with pytest.raises(InvalidEventsError, match="in the lake already"):
        lake.append(batch("a2-1"))


def append_again(lake):
    return lake.append(batch("a2-1"), duplicates="skip_identical").skipped


def append_after(lake):
    return lake.append(batch("new"), expect=[el.on_event("/2", "b-0-2")]).start


def compact_all(lake):
    lake.compact()


@pytest.mark.parametrize(
    "work",
    [read_inside, prove, append_known, append_again, append_after, compact_all],
    ids=lambda one: one.__name__,
)
def test_a_compaction_and_a_collection_at_any_call_are_not_taken_for_damage(work):
    for number in itertools.count(step=scaled(1, 7)):
        inner = MemoryStorage()
        known = ripe(inner)
        storage = FaultyStorage(inner)
        lake = el.open(storage)
        lake.log()

        def meddle(call, number=number, inner=inner):
            if call.number == number:
                el.open(inner).compact()
                el.open(inner).gc(older_than=NO_AGE, dry_run=False)

        storage.forget(meddle)
        try:
            work(lake)
        except CorruptionError as error:
            # The lake is sound, and who tries again succeeds.
            assert_sound(el.open(inner), known)
            try:
                work(lake)
            except CorruptionError:
                pytest.fail(f"failed again, after {error}")
            raise
        if len(storage.calls) <= number:
            break


def test_a_large_file_whose_parts_were_collected_while_a_rival_took_its_ids_is_refused_for_that(
    tmp_path,
):
    rows = range(25)
    table = pa.table({"id": [f"e{n}" for n in rows], "source": ["s"] * 25, "type": ["t"] * 25})
    pq.write_table(table, tmp_path / "large.parquet")
    storage = MemoryStorage()
    lake = el.create(storage, "o")

    def rival(other):
        other.append([event("e7")])
        other.gc(older_than=NO_AGE, dry_run=False)

    ours = limited(meddled(storage, "log/", rival), batch={"segment_rows": 10})
    with pytest.raises(InvalidEventsError, match="in the lake already") as caught:
        ours.append(tmp_path / "large.parquet")
    assert [problem.row for problem in caught.value.problems] == [7]
    assert_sound(lake, [])


def test_a_writer_whose_temporary_file_is_collected_appends_all_the_same_or_can_try_again(
    tmp_path, monkeypatch
):
    lake = el.create(tmp_path / "lake", "o")
    known, real, calls = [], local_module.claim, []

    def claim(temporary, target):
        calls.append(target)
        if len(calls) in {1, 5}:
            collected(LocalStorage(tmp_path / "lake"))
        real(temporary, target)

    appended(lake, "a", known, 1)
    monkeypatch.setattr(local_module, "claim", claim)
    for _ in range(3):
        try:
            append(lake, known)
            break
        except StorageError as error:
            assert "nothing was" not in error.message
    assert len(known) == 2
    monkeypatch.undo()
    assert_sound(el.open(tmp_path / "lake"), known)


def test_a_writer_whose_temporary_file_is_collected_appends_all_the_same(tmp_path, monkeypatch):
    lake = el.create(tmp_path / "lake", "o")
    real, calls = local_module.claim, []

    def claim(temporary, target):
        calls.append(target)
        if len(calls) == 1:
            collected(LocalStorage(tmp_path / "lake"))
        real(temporary, target)

    monkeypatch.setattr(local_module, "claim", claim)
    assert lake.append(batch("a")).stop == 3


def test_collections_compactions_and_writers_at_once(storage):
    known, left, deleted = [], [3], []
    el.create(storage, "o")

    def write(work, name):
        lake = el.open(storage)
        try:
            for number in range(12):
                while True:
                    try:
                        work(lake, f"{name}{number}", known, 1)
                        break
                    except StorageError as error:
                        # A temporary file of ours was collected: nothing was appended, and we try
                        # again.
                        assert error.facts.get("errno") == 2
        finally:
            left.append(left.pop() - 1)

    def maintain():
        dice = random.Random(1)
        while left[0] > 0:
            el.open(storage).compact(target_bytes=dice.choice([4_000, 10**8]))
            deleted.extend(el.open(storage).gc(older_than=NO_AGE, dry_run=False).files)
            time.sleep(0.02)

    in_threads(
        lambda: write(appended, "a"),
        lambda: write(appended, "b"),
        lambda: write(appended, "c"),
        maintain,
    )
    assert deleted
    assert len(known) == 36
    assert_sound(el.open(storage), known)
    el.open(storage).compact()
    collected(storage)
    assert set(files(storage)) == needed(storage)
    assert_sound(el.open(storage), known)


def test_two_collections_at_once_delete_what_is_garbage_and_nothing_else(storage):
    known = ripe(storage)
    time.sleep(0.02)
    found = []

    def collect():
        found.append(
            {file.path for file in el.open(storage).gc(older_than=NO_AGE, dry_run=False).files}
        )

    in_threads(*[collect] * 4)
    # What another collector is just writing is a temporary file; without an age it counts as left
    # behind, and is written again.
    assert len({path for path in set.union(*found) if not layout.is_temporary(path)}) == 3
    assert set(files(storage)) == needed(storage)
    assert [entry.commit.kind for entry in el.open(storage).log()].count("fence") == 4
    assert_sound(el.open(storage), known)


# The command line


@pytest.fixture
def folder(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    for number in range(4):
        lake.append(batch(f"{number}"))
    return tmp_path / "lake"


def test_compact_and_gc_on_the_command_line(run, folder):
    code, out, _ = run("compact", folder)
    assert code == 0
    assert out.startswith("compacted 4 segments into 1")
    assert run("compact", folder)[1].startswith("nothing to compact")
    time.sleep(0.02)
    code, out, _ = run("gc", folder)
    assert (code, out.splitlines()[0]) == (0, "would delete 0 files")
    code, out, _ = run("gc", folder, "--older-than-days", 0)
    assert (code, out.splitlines()[0]) == (0, "would delete 4 files")
    assert "give --delete to delete" in out
    assert out.count("replaced by commit 4") == 4
    code, out, _ = run("gc", folder, "--older-than-days", "0", "--delete")
    assert (code, out.splitlines()[0]) == (0, "deleted 4 files")
    assert len(list(folder.glob("segments/*"))) == 1
    assert run("gc", folder, "--older-than-days", 0, "--delete")[1].startswith("deleted 0 files")
    assert run("verify", folder, "--deep")[0] == 0


def test_compact_and_gc_on_the_command_line_as_json(run, folder):
    sizes = {f"segments/{path.name}": path.stat().st_size for path in folder.glob("segments/*")}
    code, out, _ = run("compact", folder, "--json")
    made = json.loads(out)
    assert code == 0
    assert {name: made[name] for name in ("replaced", "made", "events", "bytes_before")} == {
        "replaced": 4, "made": 1, "events": 12, "bytes_before": sum(sizes.values()),
    }  # fmt: skip
    assert json.loads(run("compact", folder, "--json")[1])["made"] == 0
    time.sleep(0.02)
    for more, deleted in ([], False), (["--delete"], True):
        code, out, _ = run("gc", folder, "--older-than-days", 0, "--json", *more)
        found = json.loads(out)
        assert code == 0
        assert (found["deleted"], found["size_bytes"]) == (deleted, sum(sizes.values()))
        assert {file["path"]: file["size_bytes"] for file in found["files"]} == sizes
        assert all(
            file["since"].endswith("Z") and file["reason"].startswith("replaced by commit 4")
            for file in found["files"]
        )
    assert json.loads(run("gc", folder, "--json", "--delete")[1]) == {
        "deleted": True,
        "size_bytes": 0,
        "files": [],
    }


def test_half_a_day_is_an_age_on_the_command_line(run, folder):
    el.open(folder).compact()
    now = time.time()
    aged(folder, layout.commit_path(4), 0.6, now)
    for path in folder.glob("segments/*"):
        aged(folder, path.relative_to(folder), 1, now)
    assert run("gc", folder, "--older-than-days", 0.5)[1].startswith("would delete 4 files")
    assert run("gc", folder, "--older-than-days", 0.7)[1].startswith("would delete 0 files")


@pytest.mark.parametrize("command", [["compact"], ["gc"], ["gc", "--delete"]], ids=" ".join)
@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["", "json"])
def test_compact_and_gc_of_what_is_no_lake_exit_1_and_make_nothing(run, tmp_path, command, as_json):
    code, out, err = run(*command, tmp_path / "none", *as_json)
    assert (code, out) == (1, "")
    assert (json.loads(err)["error"] == "not-found") if as_json else "there is no lake" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("age", ["-1", "nan", "week"])
def test_what_is_no_age_is_refused_on_the_command_line(run, folder, age):
    code, out, err = run("gc", folder, "--delete", "--older-than-days", age)
    assert (code, out) == (2, "")
    assert "--older-than-days" in err
    assert len(el.open(folder).log()) == 4


@pytest.mark.parametrize("age", ["inf", "1e12"])
def test_a_huge_age_is_no_crash_on_the_command_line(run, folder, age):
    assert run("gc", folder, "--older-than-days", age)[0] in {0, 1, 2}


def test_an_age_in_the_future_of_nobody_keeps_everything(storage):
    known = ripe(storage)
    lake = el.open(storage)
    assert lake.gc(older_than=timedelta.max).files == ()
    assert lake.gc(older_than=timedelta(days=10_000), dry_run=False).files == ()
    assert lake.resolve(str(uuid.uuid4())) is None
    assert_sound(lake, known)


def test_what_a_compaction_dropped_while_files_were_listed_is_not_old(tmp_path):
    folder, now = tmp_path / "lake", time.time()

    class Busy(LocalStorage):
        def list(self, prefix):
            yield from super().list(prefix)
            if prefix == "":
                el.open(folder).compact()

    lake = el.create(folder, "o")
    for number in range(4):
        lake.append([event(str(number))])
    segments = listed(LocalStorage(folder), "segments")
    for path in segments:
        aged(folder, path, 30, now)
    assert el.open(Busy(folder)).gc(dry_run=False).files == ()
    assert segments < listed(LocalStorage(folder), "segments")


def test_a_part_of_an_event_table_is_unneeded_since_a_longer_one_stands_for_it(tmp_path):
    folder, now = tmp_path / "lake", time.time()
    lake = el.create(folder, "o")
    lake.register("t", {"type": "object", "properties": {"n": {"type": "integer"}}})
    lake.append([event("a")])
    lake.snapshot().table("t").collect()
    (short,) = listed(LocalStorage(folder), "tables")
    aged(folder, short, 30, now)
    lake.append([event("b")])
    lake.snapshot().table("t").collect()
    assert lake.gc(dry_run=False).files == ()
    (longer,) = listed(LocalStorage(folder), "tables") - {short}
    aged(folder, longer, 8, now)
    assert [file.path for file in lake.gc(dry_run=False).files] == [short]


class OneTick(MemoryStorage):
    """A store whose clock does not advance while the test runs."""

    def list(self, prefix):
        return [replace(item, modified=1_700_000_000_000_000) for item in super().list(prefix)]


def test_segments_that_were_compacted_in_the_tick_of_the_fence_are_collected():
    storage = OneTick()
    lake = el.create(storage, "o")
    for number in range(3):
        lake.append([event(str(number))])
    old = {item.path for item in storage.list(layout.SEGMENTS)}
    lake.compact()
    storage.create("segments/unnamed.parquet", b"being written by somebody")
    deleted = {file.path for file in lake.gc(older_than=timedelta(0), dry_run=False).files}
    assert old <= deleted
    assert "segments/unnamed.parquet" not in deleted
