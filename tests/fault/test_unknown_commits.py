"""A store that does not answer: the outcome of a commit is unknown, and settled for good by asking."""

import os
import uuid

import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.errors import CommitUnknownError, InvalidInputError, StorageError
from eventlake.storage import (
    LocalStorage,
    MemoryStorage,
    NotDurableError,
    NotStoredError,
    ObjectExistsError,
)
from eventlake.storage import local as local_module
from tests.support.limits import limited

FIRST = [{"id": "first", "source": "s", "type": "t"}]
BATCH = [{"id": f"new {n}", "source": "s", "type": "t"} for n in range(3)]


class Silent(MemoryStorage):
    """Memory that can stop answering about commits; writes sent meanwhile are lost, land at once, or land when ``deliver`` says so."""

    fate = None

    def __init__(self):
        super().__init__()
        self.on_their_way = []

    def create(self, path, data):
        """As ``MemoryStorage``, or no answer."""
        if self.fate is None or layout.commit_version(path) is None:
            return super().create(path, data)
        if self.fate == "lands":
            super().create(path, data)
        if self.fate == "late":
            self.on_their_way.append((path, data))
        raise StorageError(f"no answer for {path}", path=path)

    def read(self, path):
        """As ``MemoryStorage``, or no answer."""
        if (
            self.fate is not None
            and layout.commit_version(path) is not None
            and layout.commit_version(path) > 0
        ):
            raise StorageError(f"no answer for {path}", path=path)
        return super().read(path)

    def deliver(self):
        """What was on its way arrives; says what the store answered, to nobody."""
        answers = []
        for path, data in self.on_their_way:
            try:
                super().create(path, data)
                answers.append("created")
            except ObjectExistsError:
                answers.append("exists")
        return answers


@pytest.fixture
def storage():
    storage = Silent()
    el.create(storage, "o").append(FIRST)
    return storage


def unknown(storage, fate):
    lake = limited(el.open(storage), patience_seconds=0.05)
    lake._chain.refresh = lambda: None
    storage.fate = fate
    with pytest.raises(CommitUnknownError) as caught:
        lake.append(BATCH)
    del lake._chain.refresh
    storage.fate = None
    assert caught.value.facts["version"] == 1
    assert caught.value.facts["commit_id"] in caught.value.hint
    return lake, caught.value.facts["commit_id"]


@pytest.mark.parametrize("who", ["the writer", "another process"])
def test_a_commit_that_landed_is_resolved_to_its_receipt(storage, who):
    lake, commit_id = unknown(storage, "lands")
    asking = lake if who == "the writer" else el.open(storage)
    receipt = asking.resolve(commit_id)
    assert (receipt.start, receipt.stop) == (1, 4)
    assert receipt == asking.resolve(commit_id)
    assert [entry.commit.kind for entry in el.open(storage).log()] == ["append", "append"]
    assert el.open(storage).verify(deep=True).ok


@pytest.mark.parametrize("fate", ["lost", "late"])
def test_a_commit_that_did_not_land_never_will_once_it_is_resolved(storage, fate):
    lake, commit_id = unknown(storage, fate)
    assert lake.resolve(commit_id) is None
    assert set(storage.deliver()) <= {"exists"}
    assert [entry.commit.kind for entry in lake.log()] == ["append", "fence"]
    assert lake.append(BATCH).start == 1
    reopened = el.open(storage)
    assert reopened.snapshot().scan().collect()["id"].to_list() == [
        "first",
        "new 0",
        "new 1",
        "new 2",
    ]
    assert reopened.verify(deep=True).ok


def test_without_resolving_a_late_commit_may_land(storage):
    """Why there are fences: what was not answered is not what did not happen."""
    lake, commit_id = unknown(storage, "late")
    assert "created" in storage.deliver()
    assert lake.resolve(commit_id).stop == 4


def test_a_number_that_another_writer_took_settles_it_too(storage):
    lake, commit_id = unknown(storage, "late")
    el.open(storage).append([{"id": "other", "source": "s", "type": "t"}])
    assert set(storage.deliver()) == {"exists"}
    assert lake.resolve(commit_id) is None


def test_fences_hold_no_events_and_are_no_obstacle():
    lake = el.create("memory://", "o")
    for _ in range(2):
        assert lake.resolve(str(uuid.uuid4())) is None
    lake.append(FIRST)
    lake.resolve(str(uuid.uuid4()))
    assert [entry.commit.kind for entry in lake.log()] == ["fence", "fence", "append", "fence"]
    for at in (0, 1, lake.log()[3].commit_hash):
        snapshot = lake.snapshot(at)
        assert snapshot.scan().collect().height == snapshot.watermark
    assert lake.verify(deep=True, against=lake.checkpoint).ok
    assert el.open(lake._chain.storage).checkpoint == lake.checkpoint


@pytest.mark.parametrize("commit_id", ["", "x", None, 5])
def test_what_is_no_commit_id_is_refused(commit_id):
    lake = el.create("memory://", "o")
    with pytest.raises(InvalidInputError, match="commit_id"):
        lake.resolve(commit_id)
    assert lake.log() == []


def test_a_store_that_is_sure_that_nothing_was_stored_is_believed(storage, monkeypatch):
    lake = el.open(storage)

    def full(path, data):
        if layout.commit_version(path) is not None:
            raise NotStoredError("full", path=path)
        return MemoryStorage.create(storage, path, data)

    monkeypatch.setattr(storage, "create", full)
    with pytest.raises(NotStoredError):
        lake.append(BATCH)
    monkeypatch.undo()
    assert lake.append(BATCH).start == 1


def failing_sync(monkeypatch, name, at):
    real, calls = getattr(local_module, name), []

    def sync(thing):
        calls.append(thing)
        if len(calls) == at:
            if name == "sync_and_close":
                os.close(thing)
            raise OSError(5, "Input/output error")
        real(thing)

    monkeypatch.setattr(local_module, name, sync)


def test_a_failed_fsync_of_the_log_is_unknown_and_this_writer_writes_no_more(tmp_path, monkeypatch):
    lake = el.create(tmp_path / "lake", "o")
    lake.append(FIRST)
    with monkeypatch.context() as patch:
        failing_sync(patch, "sync_and_close", 2)
        with pytest.raises(CommitUnknownError) as caught:
            lake.append(BATCH)
        assert isinstance(caught.value.__cause__, NotDurableError)
    with pytest.raises(NotStoredError, match="an earlier fsync"):
        lake.append([{"id": "later", "source": "s", "type": "t"}])
    fresh = el.open(tmp_path / "lake")
    assert fresh.resolve(caught.value.facts["commit_id"]).stop == 4
    assert fresh.append([{"id": "later", "source": "s", "type": "t"}]).start == 4


def test_a_failed_fsync_of_a_file_stores_nothing_and_this_writer_writes_no_more(
    tmp_path, monkeypatch
):
    storage = LocalStorage(tmp_path / "lake")
    storage.create("log/a", b"1")
    with monkeypatch.context() as patch:
        failing_sync(patch, "sync", 1)
        with pytest.raises(NotStoredError):
            storage.create("log/b", b"2")
    with pytest.raises(NotStoredError, match="an earlier fsync"):
        storage.create("log/c", b"3")
    assert [item.path for item in storage.list("")] == ["log/a"]
