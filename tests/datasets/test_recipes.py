"""The same recipe is computed once; datasets are named, found by any hash, and give their rows back when nobody named them."""

import json
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pandera.polars as pa
import polars as pl
import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.datasets.building.build_once import build_lease
from eventlake.datasets.lease_timing import LeaseTiming
from eventlake.datasets.store import retention
from eventlake.errors import (
    AlreadyExistsError,
    CorruptionError,
    InvalidInputError,
    InvalidProjectionError,
    NotFoundError,
    NotIdenticalError,
    SchemaMismatchError,
)
from eventlake.projections.on_duckdb import run as duckdb_runner
from tests.support.dataset_fixtures import TOTALS, TOTALS_SQL, cell, event, make_lake, sql
from tests.support.limits import limited

ALWAYS = timedelta(0)
COUNTED = """
import eventlake as el

@el.projection(name="counted", key=["subject"])
def counted(snapshot):
    return snapshot.scan(["subject"]).group_by("subject").len()
"""


@pytest.fixture
def runs(monkeypatch):
    """The names of the SQL projections that were run."""
    ran, real = [], duckdb_runner.run

    def run(query, *arguments, **named):
        ran.append(query.name)
        return real(query, *arguments, **named)

    monkeypatch.setattr(duckdb_runner, "run", run)
    return ran


@pytest.fixture
def lake(tmp_path):
    return make_lake(tmp_path / "lake")


def paths(lake, folder):
    return [item.path for item in lake.snapshot().history.storage.list(folder)]


def rows_files(lake, dataset):
    return [
        path
        for path in paths(lake, layout.build_path(dataset.name, dataset.manifest_hash))
        if "/part-" in path
    ]


# Once


def test_a_recipe_is_run_once_however_often_and_by_whomever_it_is_built(lake, runs):
    first = lake.build(TOTALS)
    again = el.open(lake.uri).build(TOTALS)
    assert (again.manifest_hash, again.polars().equals(first.polars())) == (
        first.manifest_hash,
        True,
    )
    assert runs == ["totals"]
    assert len(paths(lake, layout.BUILDS)) == len(set(paths(lake, layout.BUILDS)))


def test_another_history_query_parameter_or_spine_is_another_recipe(lake, runs):
    query = "SELECT subject AS k, count(*) + $more AS n FROM events GROUP BY subject"
    lake.build(sql(query, parameters={"more": 1}))
    lake.build(sql(query, parameters={"more": 1}), at=5)
    lake.build(sql(query, parameters={"more": 1}), parameters={"more": 2})
    lake.build(sql(query + " ", parameters={"more": 1}))
    lake.build(sql(query, parameters={"more": 1}), spine=pl.DataFrame({"x": [1]}))
    assert len(runs) == 5


def test_python_projections_are_collected_once(lake):
    collected = []

    counted = cell(COUNTED)["counted"]
    real = pl.LazyFrame.collect

    def collect(self, *arguments, **named):
        collected.append(1)
        return real(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pl.LazyFrame, "collect", collect)
        lake.build(counted)
        once = len(collected)
        lake.build(counted)
    assert once
    assert len(collected) == once


def test_unproven_datasets_are_always_computed(lake, runs):
    projection = sql(
        "SELECT subject AS k, avg(sequence::DOUBLE) AS m FROM events GROUP BY subject",
        level="unproven",
    )
    lake.build(projection)
    lake.build(projection)
    assert len(runs) == 2
    assert paths(lake, layout.RECIPES) == []


def test_what_was_made_is_found_without_its_note(lake, runs):
    lake.build(TOTALS)
    storage = lake.snapshot().history.storage
    for path in paths(lake, layout.RECIPES):
        storage.delete(path)
    lake.build(TOTALS)
    assert runs == ["totals"]


def test_lost_rows_are_computed_again(lake, runs):
    dataset = lake.build(TOTALS)
    for path in rows_files(lake, dataset):
        lake.snapshot().history.storage.delete(path)
    assert lake.build(TOTALS).polars().equals(dataset.polars())
    assert len(runs) == 2
    assert el.open(lake.uri).dataset(dataset.manifest_hash).polars().equals(dataset.polars())


def test_a_build_that_fails_leaves_nothing_and_blocks_nobody(lake):
    with pytest.raises(InvalidProjectionError):
        lake.build(sql("SELECT subject AS k FROM events"))
    assert paths(lake, layout.RECIPES) == paths(lake, layout.BUILDS) == []


def test_what_is_found_is_held_to_the_schema_of_today(lake, runs):
    strict = pa.DataFrameSchema({"events": pa.Column(pl.Int64, pa.Check.lt(0))})
    loose = pa.DataFrameSchema({"events": pa.Column(pl.Int64, pa.Check.ge(0))})
    lake.build(sql(TOTALS_SQL, name="totals", schema=loose))
    with pytest.raises(SchemaMismatchError):
        lake.build(sql(TOTALS_SQL, name="totals", schema=strict))
    assert runs == ["totals"]


def test_a_doubt_is_looked_into_even_where_the_rows_are_found(lake, runs):
    lake.build(TOTALS)
    lake.build(TOTALS, check="perturb")
    assert len(runs) == 2
    with pytest.raises(InvalidInputError, match="expected check as 'perturb'"):
        lake.build(TOTALS, check="twice")


# By force


def test_force_computes_again_and_stores_nothing_twice(lake, runs):
    first = lake.build(TOTALS)
    before = paths(lake, "")
    assert lake.build(TOTALS, force=True).manifest_hash == first.manifest_hash
    assert (len(runs), paths(lake, "")) == (2, before)


def test_force_stores_anew_what_is_damaged(lake):
    dataset = lake.build(TOTALS)
    (path,) = rows_files(lake, dataset)
    storage = lake.snapshot().history.storage
    storage.replace(path, storage.read(path)[:-1] + b"\0")
    with pytest.raises(CorruptionError):
        lake.build(TOTALS).polars()
    lake.build(TOTALS, force=True)
    assert len(rows_files(lake, dataset)) == 2


def test_a_recipe_that_makes_other_rows_than_before_is_told(lake, monkeypatch):
    lake.build(TOTALS)
    real = duckdb_runner.run
    monkeypatch.setattr(
        duckdb_runner, "run", lambda *arguments, **named: real(*arguments, **named).slice(1)
    )
    with pytest.raises(NotIdenticalError, match="the same recipe made other rows before"):
        lake.build(TOTALS, force=True)
    assert len(lake.datasets()) == 1


# At once


def test_of_many_threads_one_computes(lake, monkeypatch):
    ran, real = [], duckdb_runner.run

    def slow(*arguments, **named):
        ran.append(1)
        time.sleep(0.5)
        return real(*arguments, **named)

    monkeypatch.setattr(duckdb_runner, "run", slow)
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(el.open(lake.uri).build(TOTALS).manifest_hash))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(ran), len(made), len(set(made))) == (1, 4, 1)
    assert [path for path in paths(lake, layout.RECIPES) if path.endswith(".claim")] == []


BUILDER = """
import sys, time
import eventlake as el
from eventlake.projections.on_duckdb import run as duckdb_runner
real = duckdb_runner.run
def slow(*arguments, **named):
    with open(sys.argv[2], "a") as log:
        log.write("ran\\n")
    time.sleep(1)
    return real(*arguments, **named)
duckdb_runner.run = slow
query = "SELECT subject AS k, count(*) AS n FROM events GROUP BY subject"
print(el.open(sys.argv[1]).build(el.Projection.sql("counts", query, key=["k"])).manifest_hash)
"""


@pytest.mark.thorough
def test_of_many_processes_one_computes(lake, tmp_path):
    command = [sys.executable, "-c", BUILDER, lake.uri, str(tmp_path / "ran")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    hashes = {process.communicate(timeout=120)[0] for process in running}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(hashes) == 1
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_who_is_silent_is_taken_for_dead(lake, runs):
    lake = limited(lake, lease=LeaseTiming(patience_seconds=0.3))
    recipe_hash = lake.build(TOTALS).recipe_hash
    storage = lake.snapshot().history.storage
    for path in [*paths(lake, layout.BUILDS), *paths(lake, layout.RECIPES)]:
        storage.delete(path)
    storage.create(layout.claim_path(recipe_hash, 4), b"0")
    began = time.monotonic()
    lake.build(TOTALS)
    assert time.monotonic() - began >= 0.3
    assert len(runs) == 2
    assert [path for path in paths(lake, layout.RECIPES) if path.endswith(".claim")] == []


def folder_without_objects(root, recipe_hash):
    (root / layout.claim_path(recipe_hash, 1)).mkdir(parents=True)


def abandoned_lease_with_the_last_number(root, recipe_hash):
    # What follows has seven digits: no name of a lease, so it would never be seen or released.
    for number in (layout.MOST_CLAIMS, layout.MOST_CLAIMS + 1):
        path = root / layout.claim_path(recipe_hash, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0")


@pytest.mark.parametrize("obstacle", [folder_without_objects, abandoned_lease_with_the_last_number])
def test_what_has_the_name_of_the_next_lease_keeps_no_builder_waiting(lake, tmp_path, obstacle):
    recipe_hash = lake.build(sql(TOTALS_SQL)).recipe_hash
    obstacle(tmp_path / "lake", recipe_hash)
    storage = lake.snapshot().history.storage
    recipe = lake.datasets()[0].manifest.recipe
    soon, found = LeaseTiming(beat_seconds=0.1, patience_seconds=0.1), []

    def build():
        with build_lease(storage, recipe, lambda: None, soon) as made:
            found.append(made)

    builder = threading.Thread(target=build, daemon=True)
    builder.start()
    builder.join(20)
    assert found == [None]
    leases = [path for path in paths(lake, layout.RECIPES) if layout.claim_number(path)]
    assert leases == []


def test_who_works_says_so_and_is_waited_for(lake, monkeypatch):
    lease = LeaseTiming(beat_seconds=0.1, patience_seconds=0.4)
    ran, real = [], duckdb_runner.run

    def slow(*arguments, **named):
        ran.append(1)
        time.sleep(1.5)
        return real(*arguments, **named)

    monkeypatch.setattr(duckdb_runner, "run", slow)
    handles = [limited(el.open(lake.uri), lease=lease) for _ in range(2)]
    thread = threading.Thread(target=lambda: handles[0].build(TOTALS))
    thread.start()
    time.sleep(0.3)
    handles[1].build(TOTALS)
    thread.join()
    assert len(ran) == 1


def test_the_claim_of_a_dead_build_is_garbage(lake):
    dataset = lake.build(TOTALS)
    storage = lake.snapshot().history.storage
    storage.create(layout.claim_path(dataset.recipe_hash, 1), b"0")
    assert lake.verify().ok
    time.sleep(
        0.05
    )  # a file system's clock ticks every few milliseconds, and what is not older than the fence is spared
    found = lake.gc(older_than=ALWAYS, dry_run=False)
    assert [file.path for file in found.files] == [layout.claim_path(dataset.recipe_hash, 1)]


# Tags and hashes


def test_a_tag_finds_its_dataset_and_is_never_moved(lake):
    first, second = lake.build(TOTALS, at=5), lake.build(TOTALS)
    lake.tag(first.manifest_hash, "model-2025-q3")
    lake.tag("model-2025-q3", "champion")
    lake.tag(first.recipe_hash[:8], "champion")
    assert (
        lake.dataset("champion").manifest_hash
        == lake.reproduce("model-2025-q3").dataset.manifest_hash
        == first.manifest_hash
    )
    assert lake.tags() == {"champion": first.manifest_hash, "model-2025-q3": first.manifest_hash}
    with pytest.raises(AlreadyExistsError, match="a tag is never moved"):
        lake.tag(second.manifest_hash, "champion")
    lake.untag("champion")
    lake.tag(second.manifest_hash, "champion")
    assert lake.dataset("champion").manifest_hash == second.manifest_hash
    with pytest.raises(NotFoundError, match="there is no tag gone"):
        lake.untag("gone")
    with pytest.raises(NotFoundError, match="no dataset with the tag gone"):
        lake.dataset("gone")
    for name in ("", "a b", "../x", "abcdef12", "lock-x", "x" * 101, None):
        with pytest.raises(InvalidInputError, match="expected a tag"):
            lake.tag(second.manifest_hash, name)


def test_a_dataset_is_found_by_its_recipe_and_content_hash(lake):
    first, second = lake.build(TOTALS, at=5), lake.build(TOTALS)
    assert lake.dataset(first.recipe_hash[:10]).manifest_hash == first.manifest_hash
    assert lake.dataset(second.content_hash).manifest_hash == second.manifest_hash
    assert [one.manifest_hash for one in lake.datasets(second.content_hash[:9])] == [
        second.manifest_hash
    ]
    other = lake.build(sql(TOTALS_SQL, name="others"))
    assert {one.name for one in lake.datasets(second.content_hash)} == {"totals", "others"}
    for prefix in (first.manifest_hash[:9], first.recipe_hash[:9]):
        assert [one.manifest_hash for one in lake.datasets(prefix)] == [first.manifest_hash]
    with pytest.raises(InvalidInputError, match="fits 2 datasets"):
        lake.dataset(other.content_hash)


def test_verify_names_damaged_tags_and_those_of_nothing(lake):
    dataset = lake.build(TOTALS)
    lake.tag(dataset.manifest_hash, "kept")
    assert lake.verify(deep=True).ok
    storage = lake.snapshot().history.storage
    storage.replace(layout.tag_path("kept"), b"{}")
    storage.replace(layout.tag_path("none"), storage.read(layout.tag_path("kept")))
    assert {problem.path for problem in lake.verify().problems} == {
        layout.tag_path("kept"),
        layout.tag_path("none"),
    }


# Retention


def test_only_rows_that_nobody_named_are_given_back_and_they_can_be_made_again(lake, runs):
    old, tagged, locked = (
        lake.build(TOTALS, at=3),
        lake.build(TOTALS, at=5),
        lake.build(TOTALS, at=7),
    )
    newest, other = lake.build(TOTALS), lake.build(sql(TOTALS_SQL, name="others"), at=3)
    lake.tag(tagged.manifest_hash, "kept")
    locked.keep_for_lock()
    listed = lake.prune(older_than=ALWAYS)
    assert [file.path for file in listed.files] == rows_files(lake, old)
    assert rows_files(lake, old)
    assert not lake.prune(older_than=timedelta(days=1)).files
    done = lake.prune(older_than=ALWAYS, dry_run=False)
    assert (done.files, rows_files(lake, old)) == (listed.files, [])
    assert all(rows_files(lake, one) for one in (tagged, locked, newest, other))
    assert lake.verify(deep=True).ok
    with pytest.raises(NotFoundError, match="pruned to save room"):
        el.open(lake.uri).dataset(old.manifest_hash).polars()
    assert lake.reproduce(old.manifest_hash).identical
    assert lake.build(TOTALS, at=3).polars().equals(old.polars())
    assert el.open(lake.uri).dataset(old.manifest_hash).polars().equals(old.polars())
    assert lake.verify(deep=True).ok
    with pytest.MonkeyPatch.context() as patch:
        real = retention._rows

        def named_meanwhile(archive, listed):
            found = list(real(archive, listed))
            if archive.manifest.manifest_hash == newest.manifest_hash:
                lake.tag(newest.manifest_hash, "just-now")
            return found

        patch.setattr(retention, "_rows", named_meanwhile)
        lake.prune(older_than=ALWAYS, keep_last=0, dry_run=False)
    assert rows_files(lake, newest)
    with pytest.raises(InvalidInputError, match="from 0"):
        lake.prune(older_than=ALWAYS, keep_last=-1)


def test_a_lock_keeps_what_it_names(lake, tmp_path, capsys):
    from eventlake.cli.application import main  # noqa: PLC0415

    folder = tmp_path / "counts"
    folder.mkdir()
    (folder / "dataset.toml").write_text('name = "counts"\nsql = "q.sql"\nkey = ["k"]\n')
    (folder / "q.sql").write_text("SELECT subject AS k, count(*) AS n FROM events GROUP BY subject")

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        assert not ended.value.code
        return json.loads(capsys.readouterr().out)

    built = run("build", str(folder), "--lake", lake.uri)
    assert (
        run("prune", lake.uri, "--older-than-days", "0", "--keep-last", "0", "--delete")["files"]
        == []
    )
    run("tag", lake.uri, "mine", built["manifest_hash"])
    assert run("datasets", lake.uri, "--find", built["recipe_hash"][:7])[0]["tags"] == [
        "mine",
        "locked",
    ]
    assert run("tag", lake.uri, "mine", "--delete")[0]["tags"] == ["locked"]
    assert (
        run("build", str(folder), "--lake", lake.uri, "--force", "--locked")["manifest_hash"]
        == built["manifest_hash"]
    )
    lake.append([event(99)])
    assert (
        run("build", str(folder), "--lake", lake.uri, "--no-lock")["manifest_hash"]
        != built["manifest_hash"]
    )
    pruned = run("prune", lake.uri, "--older-than-days", "0", "--keep-last", "0", "--delete")
    assert len(pruned["files"]) == 1


def test_a_dataset_is_found_by_name_at_its_highest_watermark(tmp_path):
    lake = make_lake(tmp_path / "lake", ((0, 12), (12, 18)))
    query = "SELECT subject, count(*) AS n FROM events GROUP BY subject"
    older = lake.build(el.Projection.sql("totals", query, key=["subject"]), at=12)
    newer = lake.build(el.Projection.sql("totals", query, key=["subject"]))
    assert lake.dataset("totals").manifest_hash == newer.manifest_hash
    assert lake.diff(older.manifest_hash, "totals").after.manifest_hash == newer.manifest_hash
    assert lake.reproduce("totals").identical
    lake.tag(older.manifest_hash, "totals")
    assert lake.dataset("totals").manifest_hash == older.manifest_hash  # a tag goes before a name
    lake.untag("totals")
    lake.tag("totals", "another")
    assert lake.dataset("another").manifest_hash == newer.manifest_hash
    with pytest.raises(NotFoundError, match="no dataset with the tag total, and none of that name"):
        lake.dataset("total")
    lake.build(el.Projection.sql("totals", query + " HAVING count(*) > 1", key=["subject"]))
    with pytest.raises(InvalidInputError, match="2 datasets called totals have the watermark 30"):
        lake.dataset("totals")
