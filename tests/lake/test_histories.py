"""Copying a history, naming one, and the folder it stands in."""

import os
import stat
import subprocess
import sys
import uuid

import numpy as np
import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.errors import (
    AlreadyExistsError,
    CorruptionError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from eventlake.log.maintaining.fold import fold
from eventlake.storage import LocalStorage, ObjectExistsError
from eventlake.storage import local as local_module

DATED = {
    "id": "dated",
    "source": "s",
    "type": "t",
    "time": "2026-01-01T00:00:00Z",
    "data": {"a": 1},
}
UNDATED = {"id": "undated", "source": "s", "type": "t", "data": '{"a": 1.00}'}


def test_a_history_with_undated_events_is_copied_as_the_very_same_one(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    lake.append([DATED, UNDATED])
    frame = lake.snapshot().scan(raw=True).collect()
    assert frame["time"].null_count() == 1
    copies = [el.create("memory://", "o") for _ in range(2)]
    copies[0].append(frame)
    frame.write_parquet(tmp_path / "copy.parquet")
    copies[1].append(tmp_path / "copy.parquet")
    for copy in copies:
        assert copy.checkpoint == lake.checkpoint
        assert copy.snapshot().history.clock_hash() == lake.snapshot().history.clock_hash()
        assert copy.snapshot().scan().collect().equals(lake.snapshot().scan().collect())


def test_a_copied_history_goes_on_after_commits_without_events():
    """A fence or a fold is made today; it must not keep events of an older history out."""
    lake = el.create("memory://", "o")
    assert lake.resolve(str(uuid.uuid4())) is None
    lake.append([DATED | {"recorded_at": "2025-01-01T00:00:00Z"}])
    lake.resolve(str(uuid.uuid4()))
    fold(lake._chain)
    lake.append([UNDATED | {"recorded_at": "2025-01-02T00:00:00Z"}])
    assert [entry.commit.kind for entry in lake.log()] == [
        "fence",
        "append",
        "fence",
        "fold",
        "append",
    ]
    assert lake.snapshot("2025-01-02T00:00:00Z").watermark == 1
    assert lake.verify(deep=True).ok


def test_digits_are_a_watermark_unless_they_begin_a_hash_too(monkeypatch):
    lake = el.create("memory://", "o")
    lake.append([DATED, UNDATED])
    entry = lake.log()[0]
    monkeypatch.setattr(type(entry), "commit_hash", "000002" + "ab" * 29, raising=False)
    assert lake.snapshot("2").watermark == 2
    assert lake.snapshot("000002").watermark == 2
    with pytest.raises(NotFoundError):
        lake.snapshot("000001")
    with pytest.raises(NotFoundError):
        lake.snapshot("7")
    assert lake.snapshot(np.int64(1)).watermark == 1


def test_digits_that_are_a_watermark_and_begin_a_hash_are_refused(monkeypatch):
    lake = el.create("memory://", "o")
    lake.append([DATED, UNDATED])
    monkeypatch.setattr(
        "eventlake.history.resolve._named_by_hash",
        lambda chain, prefix: [lake.snapshot(1).checkpoint],
    )
    monkeypatch.setattr(type(lake._chain), "watermark", 300_000)
    with pytest.raises(InvalidInputError, match="beginning of a hash"):
        lake.snapshot("123456")


def inode(folder):
    return folder.stat().st_dev, folder.stat().st_ino


def synced_folders(monkeypatch):
    """The folders that are fsynced from here on, by device and inode."""
    synced = []
    real = local_module.sync_and_close

    def sync(folder):
        facts = os.fstat(folder)
        synced.append((facts.st_dev, facts.st_ino))
        real(folder)

    monkeypatch.setattr(local_module, "sync_and_close", sync)
    return synced


def test_a_folder_found_by_create_is_durable_before_the_caller_hears_of_it(tmp_path, monkeypatch):
    """A writer may link a segment and die before its folder is synced; whoever finds the segment there must sync it."""
    storage = LocalStorage(tmp_path / "lake")
    storage.create("segments/x", b"1")
    synced = synced_folders(monkeypatch)
    with pytest.raises(ObjectExistsError):
        storage.create("segments/x", b"1")
    assert inode(tmp_path / "lake" / "segments") in synced


def test_every_new_folder_is_synced_into_the_one_above_it(tmp_path, monkeypatch):
    synced = synced_folders(monkeypatch)
    LocalStorage(tmp_path / "a" / "b" / "lake").create("log/x", b"1")
    folders = [tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "lake"]
    assert {inode(folder) for folder in folders} <= set(synced)


def test_the_umask_decides_who_may_read_a_lake(tmp_path):
    script = "import os, sys, eventlake as el; os.umask(int(sys.argv[2], 8)); el.create(sys.argv[1], 'o')"
    for umask, file_mode, folder_mode in (("022", 0o644, 0o755), ("077", 0o600, 0o700)):
        subprocess.run([sys.executable, "-c", script, str(tmp_path / umask), umask], check=True)
        assert stat.S_IMODE((tmp_path / umask / layout.LAKE).stat().st_mode) == file_mode
        assert stat.S_IMODE((tmp_path / umask).stat().st_mode) == folder_mode


def test_a_file_where_a_lake_should_be_is_called_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidInputError, match="found a file"):
        el.create(tmp_path / "file", "o")


def test_uris_with_a_host_are_refused_and_home_is_known(tmp_path, monkeypatch):
    with pytest.raises(InvalidInputError, match="three slashes"):
        el.create("file://host/lake", "o")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert el.create("~/lake", "o").uri == str(tmp_path / "lake")
    assert el.open(f"file://{tmp_path}/lake").origin == "o"
    with pytest.raises(AlreadyExistsError):
        el.create(f"file://localhost{tmp_path}/lake", "o")


def test_an_append_that_needs_a_lost_segment_says_so(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    lake.append([DATED])
    next((tmp_path / "lake" / "segments").iterdir()).unlink()
    with pytest.raises(CorruptionError, match="is missing"):
        el.open(tmp_path / "lake").append([DATED])
    with pytest.raises(CorruptionError, match="is missing"):
        lake.snapshot().collect(lake.snapshot().scan())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_lake_that_may_only_be_read_is_read(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    lake.append([DATED])
    (tmp_path / "lake" / "log").chmod(0o500)
    with pytest.raises(StorageError):
        lake.append([UNDATED])
    assert el.open(tmp_path / "lake").verify(deep=True).ok
