"""A dataset is removed whole or not at all, whatever fails and whoever works at the same time, and it is told of afterwards."""

import contextlib
import itertools
import json
from datetime import timedelta

import pytest

import eventlake as el
from eventlake.cli.application import main
from eventlake.core import layout
from eventlake.errors import InvalidInputError, NotFoundError, StorageError
from eventlake.storage import MemoryStorage
from eventlake.testing.faults import FaultyStorage, at_call
from tests.scope import scaled
from tests.support.dataset_fixtures import TOTALS, Hooked, event, make_lake, sql

NO_AGE = timedelta(0)
TOTALS_OF_LOANS = sql(
    "SELECT subject AS k, count(*) AS n FROM events WHERE source = 'core' GROUP BY subject",
    name="totals",
)
"""Without the predictions, which may have no subject."""


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def lake(storage):
    return make_lake(storage)


def files(storage, dataset):
    """What is left of a dataset, without the marks of its removal."""
    found = [
        item.path for item in storage.list(f"builds/{dataset.name}/{dataset.manifest_hash[:12]}")
    ]
    return [path for path in found if not path.endswith("/removed.json")]


def is_green(lake):
    report = lake.verify(deep=True)
    assert report.ok, report.problems
    return report


def test_a_removed_dataset_has_no_file_and_is_told_of_by_every_verb_that_asks_for_it(storage, lake):
    old, kept = lake.build(TOTALS, at=5), lake.build(TOTALS)
    before = files(storage, old)
    done = lake.remove_dataset(old.manifest_hash)
    assert (done.deleted, {file.path for file in done.files}) == (True, set(before))
    assert files(storage, old) == []
    assert [one.manifest_hash for one in lake.datasets()] == [kept.manifest_hash]
    asks = [
        lake.dataset,
        lake.reproduce,
        lake.remove_dataset,
        lambda one: lake.diff(one, kept.manifest_hash),
        lambda one: lake.tag(one, "x"),
    ]
    for ask, reference in itertools.product(
        asks, (old.manifest_hash, old.recipe_hash[:8], old.content_hash)
    ):
        with pytest.raises(
            NotFoundError, match=rf"dataset {old.manifest_hash[:12]} \(totals\) was removed on 20"
        ):
            ask(reference)
    with pytest.raises(NotFoundError, match="there is no dataset with a hash"):
        lake.dataset("0123456789")
    assert is_green(lake).notes == ()
    assert lake.gc(older_than=NO_AGE, dry_run=False).files == ()
    assert kept.polars().height == 5
    again = lake.build(TOTALS, at=5)
    assert (again.manifest_hash, again.computed) == (old.manifest_hash, True)
    assert lake.dataset(old.manifest_hash).polars().equals(old.polars())
    assert is_green(lake).datasets == 2


@pytest.mark.parametrize("hold", ["tag", "lock", "prediction"])
def test_a_dataset_that_something_holds_is_not_removed_and_what_holds_it_is_named(
    storage, lake, hold
):
    dataset = lake.build(TOTALS_OF_LOANS)
    holds = {
        "tag": lambda: lake.tag(dataset.manifest_hash, "champion"),
        "lock": dataset.keep_for_lock,
        "prediction": lambda: lake.record_predictions(
            dataset, dataset.polars().select("k").with_columns(prediction=1.0), model="m"
        ),
    }
    holds[hold]()
    before = files(storage, dataset)
    says = {
        "tag": "held by the tag champion",
        "lock": r"held by a dataset\.lock",
        "prediction": "held by 5 predictions",
    }
    with pytest.raises(InvalidInputError, match=says[hold]):
        lake.remove_dataset(dataset.manifest_hash)
    assert files(storage, dataset) == before
    lake.append([event(99)])
    lake.build(TOTALS_OF_LOANS)
    assert lake.prune(older_than=NO_AGE, datasets=True, dry_run=False).files == ()
    is_green(lake)
    if hold != "prediction":
        lake.untag("champion" if hold == "tag" else f"lock-{dataset.manifest_hash}")
        lake.remove_dataset(dataset.manifest_hash)
        assert files(storage, dataset) == []


@pytest.mark.parametrize("fault", ["before", "after", "full"])
@pytest.mark.parametrize("then", ["remove", "build", "gc"])
def test_a_removal_that_fails_at_any_call_is_ended_by_another_or_the_dataset_is_built_again(
    fault, then
):
    for number in itertools.count(step=scaled(1, 3)):
        inner = MemoryStorage()
        dataset = make_lake(inner).build(TOTALS)
        faulty = FaultyStorage(inner)
        handle = el.open(faulty)
        faulty.forget(at_call(number, fault))
        with contextlib.suppress(StorageError):
            handle.remove_dataset(dataset.manifest_hash)
        calls = len(faulty.calls)
        lake = el.open(inner)
        is_green(lake)
        if then == "build":
            assert lake.build(TOTALS).polars().equals(dataset.polars())
        elif then == "remove" and lake.datasets():
            lake.remove_dataset(dataset.manifest_hash)
        lake.gc(older_than=NO_AGE, dry_run=False)
        published = [one.manifest_hash for one in lake.datasets()]
        if then == "build":
            assert el.open(inner).dataset(dataset.manifest_hash).polars().equals(dataset.polars())
        elif then == "remove":
            assert (published, files(inner, dataset)) == ([], [])
        is_green(lake)
        if calls <= number:
            break
    assert number > 8


@pytest.mark.parametrize("name", ["part-", "query.sql", "provenance.json", "manifest.json"])
def test_who_builds_a_dataset_while_it_is_removed_has_it_whole(name):
    storage = MemoryStorage()
    lake = make_lake(storage)
    dataset = lake.build(TOTALS)
    for item in [one.path for one in storage.list(f"builds/{dataset.name}")]:
        if "/part-" in item:
            storage.delete(item)
    removed = []

    def before(path, data):
        if name in path and path.startswith("builds/") and not removed:
            removed.append(path)
            el.open(storage).remove_dataset(dataset.manifest_hash)

    again = el.open(Hooked(storage, before=before)).build(TOTALS)
    assert removed
    assert again.polars().equals(dataset.polars())
    assert el.open(storage).dataset(dataset.manifest_hash).polars().equals(dataset.polars())
    is_green(lake)
    lake.gc(older_than=NO_AGE, dry_run=False)
    assert el.open(storage).dataset(dataset.manifest_hash).polars().equals(dataset.polars())
    is_green(lake)


def test_a_tag_that_is_given_while_a_dataset_is_removed_keeps_it(storage, lake):
    dataset = lake.build(TOTALS)
    tagged = []

    def before(path, data):
        if path.endswith("/removed.json") and not tagged:
            tagged.append(path)
            lake.tag(dataset.manifest_hash, "late")

    with pytest.raises(InvalidInputError, match="held by the tag late"):
        el.open(Hooked(storage, before=before)).remove_dataset(dataset.manifest_hash)
    assert el.open(storage).dataset("late").polars().equals(dataset.polars())
    assert is_green(lake).notes == ()


def test_a_tag_that_is_written_after_a_removal_looked_for_tags_is_taken_back(storage, lake):
    dataset = lake.build(TOTALS)

    def before(path, data):
        if path.startswith("tags/"):
            el.open(storage).remove_dataset(dataset.manifest_hash)

    with pytest.raises(NotFoundError, match="was removed on"):
        el.open(Hooked(storage, before=before)).tag(dataset.manifest_hash, "late")
    assert lake.tags() == {}
    is_green(lake)


def test_a_dataset_that_is_being_removed_says_so(storage, lake):
    dataset = lake.build(TOTALS)
    (attempt,) = {layout.attempt(path) for path in files(storage, dataset) if layout.attempt(path)}
    lake.append([event(99)])
    lake.build(TOTALS)
    storage.create(f"{attempt}/removed.json", b"{}")
    with pytest.raises(NotFoundError, match="is being removed"):
        lake.dataset(dataset.manifest_hash).polars()
    (note,) = is_green(lake).notes
    assert "it is being removed" in note.message


# Retention


def test_prune_removes_whole_datasets_by_choice_pruned_ones_too(storage, lake):
    built = []
    for number in range(6):
        lake.append([event(100 + number)])
        built.append(lake.build(TOTALS))
    lake.prune(older_than=NO_AGE, keep_last=3, dry_run=False)
    lake.tag(built[1].manifest_hash, "kept")
    listed = lake.prune(older_than=NO_AGE, keep_last=2, datasets=True)
    assert lake.prune(older_than=timedelta(days=1), keep_last=2, datasets=True).files == ()
    done = lake.prune(older_than=NO_AGE, keep_last=2, datasets=True, dry_run=False)
    assert {file.path for file in done.files} == {file.path for file in listed.files}
    assert {file.path.split("/")[2] for file in done.files} == {
        built[number].manifest_hash[:12] for number in (0, 2, 3)
    }
    assert [one.manifest_hash for one in lake.datasets()] == [
        built[number].manifest_hash for number in (1, 4, 5)
    ]
    assert all(files(storage, built[number]) == [] for number in (0, 2, 3))
    assert is_green(lake).notes == ()


@pytest.mark.thorough
def test_thirty_nights_of_locks_leave_one_and_prune_gives_back_what_nobody_holds(
    lake, storage, monkeypatch
):
    night = []
    for number in range(scaled(30, 12)):
        lake.append([event(100 + number)])
        dataset = lake.build(TOTALS)
        dataset.keep_for_lock()
        if number == 9:
            lake.tag(dataset.manifest_hash, "model-2026-q1")
        night.append(dataset)
    assert set(lake.tags()) == {"model-2026-q1", f"lock-{night[-1].manifest_hash}"}
    reads = []
    real = MemoryStorage.read
    monkeypatch.setattr(
        MemoryStorage,
        "read",
        lambda self, path: (path.startswith("tags/") and reads.append(path), real(self, path))[1],
    )
    done = lake.prune(older_than=NO_AGE, keep_last=0, dry_run=False)
    assert {file.path.split("/")[2] for file in done.files} == {
        one.manifest_hash[:12] for one in night
    } - {
        night[9].manifest_hash[:12],
        night[-1].manifest_hash[:12],
    }
    assert len(reads) < 40
    assert el.open(storage).dataset("model-2026-q1").polars().equals(night[9].polars())
    is_green(lake)


def test_a_new_lock_lets_go_of_locks_of_its_own_dataset_name_alone(lake):
    other = el.Projection.sql("others", TOTALS.sources["query.sql"], key=["k"])
    first, beside = lake.build(TOTALS, at=5), lake.build(other, at=5)
    first.keep_for_lock()
    beside.keep_for_lock()
    second = lake.build(TOTALS)
    second.keep_for_lock()
    assert set(lake.tags()) == {f"lock-{one.manifest_hash}" for one in (beside, second)}
    first.keep_for_lock(new=False)
    assert set(lake.tags()) == {f"lock-{one.manifest_hash}" for one in (first, beside, second)}


# The command line


@pytest.fixture
def run(capsys):
    def run(*arguments, code=0):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--json"])
        assert (ended.value.code or 0) == code
        said = capsys.readouterr()
        return json.loads(said.out or said.err)

    return run


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "counts"
    folder.mkdir()
    (folder / "dataset.toml").write_text('name = "counts"\nsql = "q.sql"\nkey = ["k"]\n')
    (folder / "q.sql").write_text("SELECT subject AS k, count(*) AS n FROM events GROUP BY subject")
    return folder


def test_nightly_builds_from_the_command_line_keep_one_lock_and_datasets_are_removed_by_hash(
    tmp_path, folder, run
):
    lake = make_lake(tmp_path / "lake")
    built = []
    for number in range(4):
        lake.append([event(100 + number)])
        built.append(run("build", folder, "--lake", lake.uri, "--no-check"))
    assert set(lake.tags()) == {f"lock-{built[-1]['manifest_hash']}"}
    refused = run("datasets", "rm", lake.uri, built[-1]["manifest_hash"][:12], code=1)
    assert "held by a dataset.lock" in json.dumps(refused)
    removed = run(
        "datasets", "rm", lake.uri, built[0]["manifest_hash"], built[1]["recipe_hash"][:9]
    )
    assert {file["path"].split("/")[2] for file in removed["files"]} == {
        one["manifest_hash"][:12] for one in built[:2]
    }
    assert [one["manifest_hash"] for one in run("datasets", lake.uri)] == [
        one["manifest_hash"] for one in built[2:]
    ]
    assert "was removed on" in json.dumps(
        run("reproduce", lake.uri, built[0]["manifest_hash"], code=1)
    )
    pruned = run("prune", lake.uri, "--older-than-days", 0, "--datasets", "--delete")
    assert {file["path"].split("/")[2] for file in pruned["files"]} == {
        built[2]["manifest_hash"][:12]
    }
    assert run("verify", lake.uri)["ok"]


def test_locked_says_whether_rows_were_found_or_computed(tmp_path, folder, run, capsys):
    lake = make_lake(tmp_path / "lake")
    built = run("build", folder, "--lake", lake.uri)
    lake.append([event(100)])
    assert run("build", folder, "--lake", lake.uri, "--locked")["computed"] is False
    assert run("build", folder, "--lake", lake.uri, "--locked", "--force")["computed"] is True
    for options, says in (
        ([], "found as an earlier build stored them; nothing was computed"),
        (["--force"], "computed by this build, and equal to what the lock pins"),
    ):
        with pytest.raises(SystemExit):
            main(["build", str(folder), "--lake", lake.uri, "--locked", *options])
        assert says in " ".join(capsys.readouterr().out.split())
    assert lake.dataset(built["manifest_hash"]).computed is False


def test_locked_of_what_is_built_and_remembered_writes_nothing(tmp_path, folder, run, monkeypatch):
    from eventlake.storage import LocalStorage  # noqa: PLC0415

    lake = make_lake(tmp_path / "lake")
    built = run("build", folder, "--lake", lake.uri)
    monkeypatch.setattr(
        LocalStorage, "create", lambda self, path, data: pytest.fail(f"{path} was created")
    )
    monkeypatch.setattr(
        LocalStorage, "replace", lambda self, path, data: pytest.fail(f"{path} was replaced")
    )
    assert (
        run("build", folder, "--lake", lake.uri, "--locked")["manifest_hash"]
        == built["manifest_hash"]
    )


def test_locked_in_a_lake_that_may_only_be_read_says_that_the_lock_is_not_remembered(
    tmp_path, folder, capsys, monkeypatch
):
    from eventlake.storage import LocalStorage  # noqa: PLC0415

    lake = make_lake(tmp_path / "lake")
    with pytest.raises(SystemExit):
        main(["build", str(folder), "--lake", lake.uri])
    (name,) = lake.tags()
    lake.untag(name)

    def refuse(self, path, data):
        raise StorageError(f"could not create {path}: the file system is read-only")

    monkeypatch.setattr(LocalStorage, "create", refuse)
    with pytest.raises(SystemExit) as ended:
        main(["build", str(folder), "--lake", lake.uri, "--locked"])
    assert not ended.value.code
    assert "the lake could not record that a lock names the dataset" in " ".join(
        capsys.readouterr().err.split()
    )


BESIDE = {
    "datasets": lambda lake, kept: (
        [one.manifest_hash for one in lake.datasets()] == [kept.manifest_hash]
    ),
    "dataset": lambda lake, kept: lake.dataset("totals").manifest_hash == kept.manifest_hash,
    "recipe hash": lambda lake, kept: (
        lake.dataset(kept.recipe_hash).manifest_hash == kept.manifest_hash
    ),
    "prune": lambda lake, kept: lake.prune(older_than=NO_AGE, dry_run=False).files == (),
    "prune datasets": lambda lake, kept: (
        lake.prune(older_than=NO_AGE, datasets=True, dry_run=False).files == ()
    ),
    "remove": lambda lake, kept: lake.remove_dataset(kept.manifest_hash).deleted,
    "tag": lambda lake, kept: lake.tag(kept.manifest_hash, "x") is None,
    "build": lambda lake, kept: lake.build(TOTALS).manifest_hash == kept.manifest_hash,
    "diff": lambda lake, kept: (
        lake.diff(kept.manifest_hash[:12], kept.content_hash[:12]).rows.added == 0
    ),
    "gc": lambda lake, kept: lake.gc(older_than=NO_AGE, dry_run=False).deleted,
    "verify": lambda lake, kept: lake.verify().ok,
}


@pytest.mark.parametrize("verb", BESIDE.values(), ids=BESIDE)
def test_a_dataset_that_is_removed_after_it_was_listed_is_in_nobodys_way(storage, lake, verb):
    old, kept = lake.build(TOTALS, at=5), lake.build(TOTALS)
    removed = []

    class Late(MemoryStorage):
        """Lists what was there before another process removed a dataset."""

        def list(self, prefix):
            found = list(super().list(prefix))
            if (not prefix or prefix.startswith(layout.BUILDS)) and not removed:
                removed.append(lake.remove_dataset(old.manifest_hash))
            return iter(found)

    late = Late()
    late.__dict__ = storage.__dict__
    assert verb(el.open(late), kept)
    assert removed
