"""A dataset is published whole or not at all, whatever fails, and whoever builds it at the same time."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pandera.polars as pandera
import polars as pl
import pytest

import eventlake as el
from eventlake.columns.hashing.content import content_hash
from eventlake.columns.parquet import frames
from eventlake.core import layout
from eventlake.datasets.lease_timing import LeaseTiming
from eventlake.errors import SchemaMismatchError, StorageError
from eventlake.storage import MemoryStorage, from_uri
from tests.scope import STORAGES
from tests.support.dataset_fixtures import Hooked, attempt, event, make_lake, sql
from tests.support.limits import limited

PROJECTION = sql(
    "SELECT spine_row AS k, loan, count(events.id) AS n FROM spine LEFT JOIN events ON subject = loan GROUP BY ALL"
)
SPINE = pl.DataFrame({"loan": ["/loan/1", "/loan/2", "/loan/3"]})
FILES = ["part-00000", "source/query.sql", "spine.parquet", "provenance.json", "manifest.json"]
"""In the order in which they are written."""


def name_of(path):
    """A file's name in its attempt's folder, or in the dataset's."""
    return path.split("/", 3)[3].partition("/")[2] or path.split("/", 3)[3]


def impatient(lake):
    """The lake, whose builders of one recipe do not wait for each other: what happens where they meet is what is looked at."""
    return limited(lake, lease=LeaseTiming(patience_seconds=0))


class Crash(BaseException):
    """The process ends here; no code of ours may catch it."""


def storages(tmp_path):
    return {"memory": MemoryStorage(), "local": from_uri(tmp_path / "lake")}


def fail_at(number, error):
    """A hook that raises at the ``number``-th file below ``builds/``."""
    seen = []

    def hook(path, data):
        if path.startswith("builds/"):
            seen.append(path)
            if len(seen) == number:
                raise error

    return hook


def is_complete(lake, dataset):
    """Every promise a published dataset makes."""
    fresh = lake.dataset(dataset.manifest_hash)
    assert content_hash(fresh.arrow()) == fresh.content_hash
    assert lake.reproduce(fresh.manifest_hash).identical
    report = lake.verify(deep=True)
    assert report.ok, report.problems
    return report


def build(lake, **options):
    return impatient(lake).build(PROJECTION, spine=SPINE, **options)


def test_files_are_written_in_an_order_in_which_the_manifest_is_last():
    written = []
    lake = make_lake(Hooked(after=lambda path, data: written.append(path)))
    written.clear()
    dataset = build(lake)
    written = [path for path in written if not path.endswith(".claim")]
    noted = [path for path in written if path.startswith(f"{layout.RECIPES}/")]
    written, last = written[: -len(noted)], written[-len(noted) :]
    assert noted == last
    names = [name_of(path) for path in written]
    assert all(path.startswith(f"{dataset.path}/") for path in written)
    assert [
        name.replace(name[10:], "") if name.startswith("part-") else name for name in names
    ] == FILES


@pytest.mark.parametrize("where", STORAGES)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", range(1, len(FILES) + 1))
@pytest.mark.parametrize(
    "error", [StorageError("the disk is full"), Crash()], ids=["failure", "crash"]
)
def test_a_build_that_fails_at_any_file_publishes_all_or_nothing(
    tmp_path, where, moment, number, error
):
    hooked = Hooked(storages(tmp_path)[where])
    lake = make_lake(hooked)
    setattr(hooked, moment, fail_at(number, error))
    with pytest.raises((StorageError, Crash)):
        build(lake)
    setattr(hooked, moment, None)
    published = moment == "after" and number == len(FILES)
    survivor = el.open(hooked)
    assert len(survivor.datasets()) == published
    left = survivor.verify(deep=True)
    assert left.ok, left.problems
    # A build that stopped before its manifest is finished, and can be published by anybody.
    all_but_manifest = (moment, number) in {("after", len(FILES) - 1), ("before", len(FILES))}
    assert [note.path.rsplit("/", 1)[-1] == "manifest.json" for note in left.notes].count(
        True
    ) == all_but_manifest
    assert bool(left.notes) is (not published and (moment, number) != ("before", 1))
    dataset = build(survivor)
    report = is_complete(survivor, dataset)
    assert report.datasets == 1
    assert bool(report.notes) is (bool(left.notes) and not all_but_manifest)
    time.sleep(0.02)
    survivor.gc(older_than=timedelta(0), dry_run=False)
    assert is_complete(survivor, dataset).notes == ()


def test_left_overs_of_an_interrupted_build_are_notes_alone(tmp_path):
    hooked = Hooked(from_uri(tmp_path / "lake"), before=fail_at(4, Crash()))
    lake = make_lake(hooked)
    with pytest.raises(Crash):
        build(lake)
    report = lake.verify(deep=True)
    assert report.ok
    assert sorted(name_of(note.path)[:10] for note in report.notes) == [
        "part-00000",
        "source/que",
        "spine.parq",
    ]


def test_a_temporary_file_left_in_a_dataset_is_a_note(tmp_path):
    lake = make_lake(tmp_path / "lake")
    dataset = build(lake)
    Path(dataset.path, ".tmp-1-abc").write_bytes(b"half")
    report = lake.verify()
    assert report.ok
    assert ["/.tmp-1-abc" in note.path for note in report.notes] == [True]


def test_other_bytes_left_by_another_version_give_way(monkeypatch, tmp_path):
    hooked = Hooked(from_uri(tmp_path / "lake"), before=fail_at(5, Crash()))
    lake = make_lake(hooked)
    real = frames.write_bytes
    monkeypatch.setattr(
        frames,
        "write_bytes",
        lambda table, **how: real(
            table.replace_schema_metadata({b"writer": b"another version"}), **how
        ),
    )
    with pytest.raises(Crash):
        build(lake)
    monkeypatch.setattr(frames, "write_bytes", real)
    hooked.before = None
    dataset = build(lake)
    report = is_complete(lake, dataset)
    assert report.notes == ()
    assert b"another version" in next(attempt(dataset).glob("part-*")).read_bytes()


def test_an_invalid_dataset_writes_no_file_at_all(tmp_path):
    written = []
    lake = make_lake(Hooked(before=lambda path, data: written.append(path)))
    written.clear()
    schema = pandera.DataFrameSchema({"n": pandera.Column(checks=pandera.Check.ge(100))})
    with pytest.raises(SchemaMismatchError):
        impatient(lake).build(sql(PROJECTION.sources["query.sql"], schema=schema), spine=SPINE)
    assert [path for path in written if not path.endswith(".claim")] == []
    assert [item.path for item in lake.snapshot().history.storage.list("recipes")] == []


def test_publishing_what_is_published_writes_nothing():
    written = []
    lake = make_lake(Hooked(after=lambda path, data: written.append(path)))
    first = build(lake)
    written.clear()
    assert build(lake).manifest_hash == first.manifest_hash
    assert written == []


@pytest.mark.parametrize("where", STORAGES)
def test_threads_that_build_the_same_recipe_make_one_dataset(tmp_path, where):
    storage = storages(tmp_path)[where]
    make_lake(storage)
    start = Barrier(4)

    def work(_):
        lake = el.open(storage)
        start.wait()
        return impatient(lake).build(sql("SELECT sequence AS k, data FROM events"))

    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(work, range(4)))
    lake = el.open(storage)
    (dataset,) = lake.datasets()
    assert {each.manifest_hash for each in built} == {dataset.manifest_hash}
    is_complete(lake, dataset)


BUILD = """
import sys, eventlake as el
print(el.open(sys.argv[1]).build(el.Projection.sql("made", "SELECT sequence AS k, data FROM events", key=["k"])).manifest_hash)
"""


def test_processes_that_build_the_same_recipe_make_one_dataset(tmp_path):
    lake = make_lake(tmp_path / "lake")
    running = [
        subprocess.Popen([sys.executable, "-c", BUILD, lake.uri], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    hashes = {process.communicate()[0].strip() for process in running}
    (dataset,) = lake.datasets()
    assert hashes == {dataset.manifest_hash}
    is_complete(lake, dataset)


def overtaken_at(name, then=None):
    """A storage whose user is overtaken by a twin just before it creates ``name``; afterwards ``then`` sees every file it creates."""
    storage = MemoryStorage()
    twin = make_lake(storage)
    done = []

    def before(path, data):
        if path.endswith(name) and not done:
            done.append(build(twin))
        elif done and then:
            then(path)

    return Hooked(storage, before=before), twin, done


@pytest.mark.parametrize(
    "name", ["source/query.sql", "spine.parquet", "provenance.json", "manifest.json"]
)
def test_a_builder_overtaken_by_its_twin_succeeds(name):
    hooked, twin, done = overtaken_at(name)
    dataset = build(el.open(hooked))
    assert dataset.manifest_hash == done[0].manifest_hash
    is_complete(twin, dataset)


@pytest.mark.parametrize("name", ["source/query.sql", "spine.parquet", "provenance.json"])
def test_a_builder_that_crashes_after_it_was_overtaken_harms_no_published_dataset(name):
    def crash(path):
        raise Crash

    hooked, twin, done = overtaken_at(name, then=crash)
    with pytest.raises(Crash):
        build(el.open(hooked))
    is_complete(twin, done[0])


@pytest.mark.parametrize(
    "name", ["source/query.sql", "spine.parquet", "provenance.json", "manifest.json"]
)
def test_an_overtaken_builder_deletes_and_replaces_nothing(name):
    hooked, twin, done = overtaken_at(name)
    hooked.delete = None
    at_the_twins_end = {}
    real = hooked.before

    def before(path, data):
        real(path, data)
        if done and not at_the_twins_end:
            at_the_twins_end.update(objects(hooked))

    hooked.before = before
    build(el.open(hooked))
    assert at_the_twins_end.items() <= objects(hooked).items()
    report = twin.verify(deep=True)
    assert (report.ok, report.notes) == (True, ())


def objects(storage):
    return {item.path: storage.read(item.path) for item in storage.list("builds")}


def test_two_builders_that_meet_at_a_left_over_both_succeed():
    storage = MemoryStorage()
    lake = make_lake(storage)
    with pytest.raises(Crash):
        build(el.open(Hooked(storage, before=fail_at(4, Crash()))))
    finished = []

    def before(path, data):
        if path.endswith("spine.parquet") and not finished:
            finished.append(build(lake))

    dataset = build(el.open(Hooked(storage, before=before)))
    assert dataset.manifest_hash == finished[0].manifest_hash
    is_complete(lake, dataset)


@pytest.mark.parametrize("then", ["finished", "died"])
@pytest.mark.parametrize("name", FILES[1:])
def test_a_collector_that_slept_before_any_delete_harms_no_dataset(name, then):
    """It has listed an attempt as garbage, and looked at its provenance; then the builder goes on."""

    class Sleepy(MemoryStorage):
        asleep = None

        def create(self, path, data):
            if self.asleep and path.endswith("/provenance.json") and b"given_up" in data:
                wake, self.asleep = self.asleep, None
                wake()
            super().create(path, data)

    storage = Sleepy()
    lake = make_lake(storage)
    collected = []

    def collect(path, data):
        if path.endswith(name) and not collected:
            collected.append(path)
            time.sleep(0.02)
            storage.asleep = lambda: build(lake) if then == "finished" else None
            el.open(storage).gc(older_than=timedelta(0), dry_run=False)

    dataset = build(el.open(Hooked(storage, before=collect)))
    assert collected
    is_complete(lake, dataset)


def test_a_builder_that_died_after_his_attempt_was_collected_has_published_nothing():
    storage = MemoryStorage()
    lake = make_lake(storage)

    def collect(path, data):
        if path.endswith("/provenance.json"):
            time.sleep(0.02)
            el.open(storage).gc(older_than=timedelta(0), dry_run=False)
            raise Crash

    with pytest.raises(Crash):
        build(el.open(Hooked(storage, before=collect)))
    assert lake.datasets() == []
    assert lake.verify(deep=True).problems == ()
    is_complete(lake, build(lake))


def test_a_dataset_that_lost_its_provenance_is_not_collected_and_can_be_built_again(tmp_path):
    lake = make_lake(tmp_path / "lake")
    dataset = build(lake)
    (attempt(dataset) / "provenance.json").unlink()
    time.sleep(0.02)
    assert lake.gc(older_than=timedelta(0), dry_run=False).files == ()
    assert [problem.path.rsplit("/", 1)[-1] for problem in lake.verify().problems] == [
        "provenance.json"
    ]
    is_complete(lake, build(lake))


def test_building_again_restores_rows_that_went_missing(tmp_path):
    lake = make_lake(tmp_path / "lake")
    dataset = build(lake)
    for part in attempt(dataset).glob("part-*"):
        part.unlink()
    again = build(lake)
    assert content_hash(again.arrow()) == dataset.content_hash
    assert [problem.path.rsplit("/", 1)[-1][:4] for problem in lake.verify(deep=True).problems] == [
        "part"
    ]
    assert lake.reproduce(again.manifest_hash).identical


def interrupted_at_its_manifest(storage):
    """A lake whose build was stopped when everything but the manifest was written."""
    lake = make_lake(storage)
    with pytest.raises(Crash):
        build(el.open(Hooked(storage, before=fail_at(len(FILES), Crash()))))
    return lake


@pytest.mark.parametrize("where", STORAGES)
@pytest.mark.parametrize(
    "then",
    [(), ("gc",), ("prune",), ("append", "build"), ("append", "gc", "prune", "build")],
    ids=" ".join,
)
def test_a_build_interrupted_at_its_manifest_leaves_nothing_that_keeps_verify_red(
    tmp_path, where, then
):
    lake = interrupted_at_its_manifest(storages(tmp_path)[where])
    steps = {
        "gc": lambda: lake.gc(older_than=timedelta(0), dry_run=False),
        "prune": lambda: lake.prune(older_than=timedelta(0), dry_run=False),
        "append": lambda: lake.append([event(99)]),
        "build": lambda: build(lake),
    }
    assert lake.verify(deep=True).ok
    for step in then:
        steps[step]()
        assert lake.verify(deep=True).ok, step


def test_a_collection_publishes_a_build_that_was_interrupted_at_its_manifest():
    storage = MemoryStorage()
    lake = interrupted_at_its_manifest(storage)
    assert lake.datasets() == []
    (note,) = lake.verify().notes
    assert "'eventlake gc LAKE --delete' publishes it" in note.message
    assert lake.gc(older_than=timedelta(0)).files == ()
    assert lake.datasets() == []
    lake.gc(older_than=timedelta(0), dry_run=False)
    (dataset,) = lake.datasets()
    other = build(make_lake(MemoryStorage()))
    assert (dataset.manifest_hash, dataset.polars().rows()) == (
        other.manifest_hash,
        other.polars().rows(),
    )
    assert is_complete(lake, dataset).notes == ()


def test_a_manifest_that_was_lost_after_publication_is_found_and_written_again_by_a_collection(
    tmp_path,
):
    lake = make_lake(tmp_path / "lake")
    dataset = build(lake)
    before = Path(dataset.path, "manifest.json").read_bytes()
    Path(dataset.path, "manifest.json").unlink()
    (problem,) = lake.verify().problems
    assert problem.path == f"builds/{dataset.name}/{dataset.manifest_hash[:12]}/manifest.json"
    assert problem.message.startswith("missing; the dataset was published")
    lake.gc(dry_run=False)
    assert Path(dataset.path, "manifest.json").read_bytes() == before
    assert is_complete(lake, dataset).notes == ()


def test_a_manifest_is_not_written_again_from_a_provenance_that_was_changed_or_for_rows_that_are_gone(
    tmp_path,
):
    lake = make_lake(tmp_path / "lake")
    dataset = build(lake)
    Path(dataset.path, "manifest.json").unlink()
    provenance = attempt(dataset) / "provenance.json"
    good = provenance.read_bytes()
    for bad in (good.replace(b'"rows":3', b'"rows":4'), good[:-1], b"{}"):
        provenance.write_bytes(bad)
        lake.gc(dry_run=False)
        assert not Path(dataset.path, "manifest.json").exists()
    provenance.write_bytes(good)
    next(attempt(dataset).glob("part-*")).unlink()
    lake.gc(dry_run=False)
    assert not Path(dataset.path, "manifest.json").exists()
