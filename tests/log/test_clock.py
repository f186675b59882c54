"""Clocks that run ahead: a writer is refused by the store's clock, and a lake whose head is ahead goes on when somebody accepts it."""

import json
import time
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

import eventlake as el
from eventlake import lake as lake_module
from eventlake.cli.application import main
from eventlake.columns.parquet.foreign_files import parquet_parts
from eventlake.core.instants import format_instant
from eventlake.errors import InvalidInputError, NotFoundError, StorageError
from eventlake.log.appending.append import Terms
from eventlake.log.appending.append import append_parts as append_to_chain
from eventlake.log.chain.open_or_create import reopen
from eventlake.storage import LocalStorage, MemoryStorage
from eventlake.testing.invariants import assert_sound
from eventlake.testing.s3 import s3_server

MINUTE = 60_000_000
CENTURY = 36_525 * 24 * 60 * MINUTE


@pytest.fixture
def ahead(monkeypatch):
    """How far this machine's clock runs ahead, in microseconds."""
    by = [0]
    monkeypatch.setattr("eventlake.lake._now", lambda: time.time_ns() // 1000 + by[0])
    return by


@pytest.fixture(params=[LocalStorage, MemoryStorage], ids=["local", "memory"])
def storage(request, tmp_path):
    return request.param(tmp_path / "lake") if request.param is LocalStorage else MemoryStorage()


def event(number, **more):
    return {"id": str(number), "source": "s", "type": "t", "subject": f"/{number % 3}"} | more


def append(lake, number):
    return [lake.append([event(number)])]


def append_group(lake, number):
    with lake.writer() as writer:
        return [writer.append([event(number)]).result()]


def append_copied(lake, number):
    return [lake.append([event(number, recorded_at=format_instant(time.time_ns() // 1000))])]


def append_parts(lake, number):
    file = Path(lake.uri).with_name(f"{number}.parquet")
    pl.DataFrame([event(number)]).write_parquet(file)
    chain, now = reopen(lake._chain), lake_module._now()
    return [append_to_chain(chain, lambda: parquet_parts(str(file), 1), now, Terms())]


def lake_ahead(storage, ahead, by=CENTURY):
    """Two events by a right clock, then one by a clock that runs ahead, on a store that has no clock of its own."""
    inner = MemoryStorage()
    lake = el.create(inner, "o")
    receipts = append(lake, 0) + append(lake, 1)
    ahead[0] = by
    receipts += append(lake, 2)
    ahead[0] = 0
    for item in inner.list(""):
        storage.create(item.path, inner.read(item.path))
    return el.open(storage), [(receipt, [str(receipt.start)]) for receipt in receipts]


@pytest.mark.parametrize("way", [append, append_group, append_copied, append_parts])
@pytest.mark.parametrize(
    "by", [6 * MINUTE, 24 * 60 * MINUTE, CENTURY], ids=["six minutes", "a day", "a century"]
)
def test_a_writer_whose_clock_runs_ahead_of_the_stores_appends_nothing(tmp_path, ahead, way, by):
    lake = el.create(tmp_path / "lake", "o")
    append(lake, 0)
    ahead[0] = by
    for handle in (lake, el.open(tmp_path / "lake")):
        with pytest.raises(
            StorageError,
            match=r"this machine's clock says .* the clock of .* said .*; nothing was appended",
        ):
            way(handle, 1)
    ahead[0] = 0
    assert [entry.commit.stop for entry in lake.log()] == [1]
    assert way(lake, 1)[0].stop == 2
    assert_sound(lake)


def test_an_object_stores_own_clock_is_the_witness_and_asked_once_by_a_writer_that_agrees_with_it(
    ahead, monkeypatch
):
    with s3_server() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        lake = el.create("s3://bucket/lake", "o")
        for number in range(3):
            append(lake, number)
        asked = [key for verb, key in server.requests if verb == "HEAD" and "/segments/" in key]
        assert len(asked) == 1
        ahead[0] = 6 * MINUTE
        with pytest.raises(StorageError, match=r"the clock of s3://bucket/lake said"):
            append(lake, 3)
        assert el.open("s3://bucket/lake").watermark == 3


@pytest.mark.parametrize(
    "by", [4 * MINUTE, -CENTURY], ids=["four minutes ahead", "a century behind"]
)
def test_a_writer_within_five_minutes_of_the_store_or_behind_it_appends(tmp_path, ahead, by):
    lake = el.create(tmp_path / "lake", "o")
    ahead[0] = by
    (receipt,) = append(lake, 0)
    assert abs(receipt.recorded_at - (time.time_ns() // 1000 + by)) < 2 * MINUTE


def test_a_clock_that_jumps_ahead_in_a_running_process_is_noticed(tmp_path, ahead):
    lake = el.create(tmp_path / "lake", "o")
    append(lake, 0)
    ahead[0] = 6 * MINUTE
    with pytest.raises(StorageError, match="this machine's clock says"):
        append(lake, 1)


def test_a_storage_without_a_clock_of_its_own_is_no_witness(ahead):
    class Old:
        """A storage written before the port asked for ``modified``."""

        def __init__(self):
            self._inner = MemoryStorage()

        def __getattr__(self, name):
            if name == "modified":
                raise AttributeError(name)
            return getattr(self._inner, name)

    lake = el.create(Old(), "o")
    ahead[0] = CENTURY
    (receipt,) = append(lake, 0)
    assert receipt.recorded_at > time.time_ns() // 1000 + CENTURY - MINUTE


@pytest.mark.parametrize("way", [append, append_group])
@pytest.mark.parametrize("by", [0, CENTURY])
def test_a_writer_whose_store_fails_to_say_its_time_appends_nothing_and_can_try_again(
    storage, ahead, monkeypatch, way, by
):
    lake = el.create(storage, "o")

    def fails(self, path):
        message = "could not find it: 403 Forbidden"
        raise StorageError(message, path=path)

    ahead[0] = by
    with monkeypatch.context() as failing:
        failing.setattr(type(storage), "modified", fails)
        with pytest.raises(
            StorageError,
            match=r"the store does not say when it stored segments/.*; nothing was appended: ",
        ):
            way(lake, 0)
    ahead[0] = 0
    assert el.open(storage).watermark == 0
    assert way(lake, 0)[0].stop == 1
    assert_sound(el.open(storage))


def test_what_one_store_agreed_with_is_no_witness_for_another_store_of_its_name(ahead):
    class Store(MemoryStorage):
        """In memory, with a clock of its own; every one has the same URI."""

        uri = "shared://store"

        def __init__(self, behind):
            super().__init__()
            self._behind = behind

        def modified(self, path):
            super().modified(path)
            return time.time_ns() // 1000 - self._behind

    append(el.create(Store(0), "o"), 0)
    with pytest.raises(StorageError, match="the clock of shared://store said"):
        append(el.create(Store(6 * MINUTE), "o"), 0)


@pytest.mark.parametrize("way", [append, append_group])
def test_a_head_that_is_ahead_is_refused_by_naming_its_commit_and_accepted_by_that_name(
    storage, ahead, way
):
    lake, known = lake_ahead(storage, ahead)
    third = lake.log()[2]
    lake.compact()
    with pytest.raises(StorageError) as refused:
        way(lake, 3)
    assert (
        f"commit 2 ({third.commit_hash[:12]}) was recorded at {format_instant(third.commit.recorded_at)}"
        in refused.value.message
    )
    assert "'eventlake clock LAKE --accept 2' or lake.accept_clock(2)" in refused.value.hint
    assert (refused.value.facts["version"], refused.value.facts["commit_hash"]) == (
        2,
        third.commit_hash,
    )
    assert (lake.clock().version, lake.clock().ahead, lake.clock().accepted) == (2, True, False)
    fence = lake.accept_clock(2)
    assert (fence.commit.kind, fence.commit.clock) == ("fence", third.commit.recorded_at)
    assert lake.clock().accepted
    for number, handle in ((3, lake), (4, el.open(storage)), (5, el.open(storage))):
        (receipt,) = way(handle, number)
        assert receipt.recorded_at == third.commit.recorded_at
        known.append((receipt, [str(number)]))
        handle.gc(older_than=timedelta(0), dry_run=False)
        handle.compact()
    assert_sound(el.open(storage), known)
    assert (
        el.open(storage).accept_clock(2).commit.version == el.open(storage).log()[-1].commit.version
    )


def test_what_was_accepted_ends_when_real_time_has_passed_it(storage, ahead):
    lake, _ = lake_ahead(storage, ahead, by=60 * MINUTE)
    lake.accept_clock(2)
    append(lake, 3)
    late = el.open(storage)
    ahead[0] = 2 * 60 * MINUTE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(storage), "modified", lambda self, path: None)
        (receipt,) = append(late, 4)
    assert late.log()[-1].commit.clock is None
    ahead[0] = 0
    with pytest.raises(StorageError, match="but commit 5 "):
        append(late, 5)
    assert receipt.stop == 5


def test_only_the_commit_that_set_the_clock_is_accepted_and_only_if_it_is_ahead(storage, ahead):
    lake, _ = lake_ahead(storage, ahead)
    for wrong in (0, 1, 3, -1):
        with pytest.raises(InvalidInputError, match="expected commit 2, which set the clock to"):
            lake.accept_clock(wrong)
    for wrong in ("2", True, 2.0):
        with pytest.raises(InvalidInputError, match="expected version as an integer"):
            lake.accept_clock(wrong)
    right = el.create(MemoryStorage(), "o")
    with pytest.raises(NotFoundError, match="no commit"):
        right.accept_clock(0)
    append(right, 0)
    with pytest.raises(InvalidInputError, match="the head was recorded at"):
        right.accept_clock(0)
    assert [entry.commit.kind for entry in right.log()] == ["append"]


def test_a_lake_whose_head_is_a_century_ahead_can_be_read_verified_built_and_explained(
    storage, ahead
):
    lake, _ = lake_ahead(storage, ahead)
    assert lake.verify(deep=True).ok
    assert lake.snapshot().scan().collect().height == 3
    counts = el.Projection.sql(
        "counts", "SELECT subject AS k, count(*) AS n FROM events GROUP BY subject", key=["k"]
    )
    dataset = lake.build(counts)
    assert dataset.polars().rows() == [("/0", 1), ("/1", 1), ("/2", 1)]
    assert lake.reproduce(dataset.manifest_hash).identical


def test_the_command_compares_the_clocks_and_accepts(tmp_path, ahead, capsys):
    lake, _ = lake_ahead(LocalStorage(tmp_path / "lake"), ahead)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        assert not ended.value.code
        return capsys.readouterr().out

    said = json.loads(run("clock", lake.uri, "--json"))
    assert (said["commit"], said["ahead"], said["accepted"]) == (2, True, False)
    assert said["recorded_at"] == format_instant(lake.log()[2].commit.recorded_at)
    assert "ahead: appends are refused" in run("clock", lake.uri)
    assert "ahead, and accepted" in run("clock", lake.uri, "--accept", "2")
    assert append(el.open(lake.uri), 3)[0].stop == 4
    run("init", str(tmp_path / "empty"), "--origin", "o")
    assert "in step" in run("clock", str(tmp_path / "empty"))
