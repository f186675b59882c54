"""Files outside of a lake are written in one step, however many write them."""

import os
import subprocess
import sys
import threading

import pytest

from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.definitions.lock import Lock
from eventlake.errors import StorageError
from eventlake.storage.files import write_file

WRITER = """
import sys
from pathlib import Path
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.definitions.lock import Lock
lock = Lock(sys.argv[2] * 50, Checkpoint("o", 5, "0" * 64), "duckdb 2.0.0", 3, "1" * 64, "2" * 64, "3" * 64)
for _ in range(150):
    lock.write(Path(sys.argv[1]))
"""


def names(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.thorough
def test_processes_that_write_one_lock_never_fail_and_leave_one_of_theirs_whole(tmp_path):
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), name], stderr=subprocess.PIPE
        )
        for name in "abc"
    ]
    seen = set()
    while any(process.poll() is None for process in running):
        if (tmp_path / "dataset.lock").exists():
            seen.add(Lock.read(tmp_path).name)
    assert [process.communicate()[1] for process in running] == [b""] * 3
    assert seen | {Lock.read(tmp_path).name} <= {name * 50 for name in "abc"}
    assert names(tmp_path) == ["dataset.lock"]


def test_threads_that_write_one_file_leave_one_text_whole(tmp_path):
    file, texts = tmp_path / "page.html", [letter * 100_000 for letter in "abcd"]
    threads = [
        threading.Thread(target=lambda text=text: [write_file(file, text) for _ in range(20)])
        for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_text() in texts
    assert names(tmp_path) == ["page.html"]


def test_a_file_that_cannot_be_written_keeps_what_it_held(tmp_path, monkeypatch):
    file = tmp_path / "dataset.lock"
    write_file(file, "before")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StorageError, match=r"dataset\.lock cannot be written: No space left on device"
    ) as caught:
        write_file(file, "after", "the hint")
    assert caught.value.hint == "the hint"
    assert (file.read_text(), names(tmp_path)) == ("before", ["dataset.lock"])


def test_a_link_stays_a_link_and_a_pipe_is_written_to(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("before")
    link.symlink_to(real)
    write_file(link, "after")
    assert (link.is_symlink(), real.read_text()) == (True, "after")
    os.mkfifo(tmp_path / "pipe")
    read = []
    thread = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    thread.start()
    write_file(tmp_path / "pipe", "through")
    thread.join()
    assert read == ["through"]


def test_a_lock_that_is_written_is_the_lock_that_is_read(tmp_path):
    lock = Lock(
        "a", Checkpoint("日本/loans", 5, "0" * 64), "duckdb 2.0.0", 3, "1" * 64, "2" * 64, "3" * 64
    )
    lock.write(tmp_path)
    assert Lock.read(tmp_path) == lock
