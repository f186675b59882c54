"""Temporary folders: of a process's own, and removed by whoever comes next if their owner was killed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from eventlake.database import open_database
from eventlake.errors import InvalidProjectionError, StorageError
from eventlake.projections.source import load
from eventlake.storage import scratch
from eventlake.storage.scratch import PREFIX

pytestmark = pytest.mark.every_case

SLEEPER = """
import sys
from eventlake.storage.scratch import scratch
print(scratch(), flush=True)
sys.stdin.read()
"""
PARENT = """
import subprocess, sys
from eventlake.storage.scratch import lock_to_inherit, scratch
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], pass_fds=lock_to_inherit())
print(scratch(), flush=True)
child.wait()
"""


@pytest.fixture
def above(tmp_path, monkeypatch):
    """The folder for temporary files of this process, which has no folder in it yet, and of its children."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    scratch._own.cache_clear()
    yield folder
    scratch._own.cache_clear()


def started(program=SLEEPER):
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, Path(process.stdout.readline().strip())


def ended(process):
    process.stdin.close()
    process.stdout.close()
    process.wait(60)


def test_the_folder_of_a_killed_process_is_removed_with_what_is_in_it(above):
    process, folder = started()
    (folder / "spilled").mkdir()
    (folder / "spilled" / "block").write_bytes(bytes(1000))
    process.kill()
    ended(process)
    assert folder.exists()
    own = scratch.scratch()
    assert list(above.iterdir()) == [own]


def test_the_folder_of_a_living_process_stays(above):
    process, folder = started()
    own = scratch.scratch()
    assert {own, folder} == set(above.iterdir())
    ended(process)
    assert list(above.iterdir()) == [own]


def test_the_folder_of_a_stopped_process_stays(above):
    process, folder = started()
    process.send_signal(signal.SIGSTOP)
    scratch.scratch()
    assert folder.exists()
    process.send_signal(signal.SIGCONT)
    ended(process)


def test_the_folder_of_a_dead_process_stays_while_a_worker_of_it_lives(above):
    process, folder = started(PARENT)
    process.kill()
    process.wait(60)
    scratch.scratch()
    assert folder.exists()
    ended(process)  # the worker reads the same standard input
    scratch._own.cache_clear()
    for _ in range(600):
        scratch.scratch()
        if not folder.exists():
            break
        scratch._own.cache_clear()
        time.sleep(0.1)
    assert not folder.exists()


def test_only_folders_that_a_process_made_are_swept(above, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (above / f"{PREFIX}link").symlink_to(kept)
    (above / f"{PREFIX}file").write_text("x")
    (above / "eventlake-tests-x").mkdir()
    others = above / f"{PREFIX}others"
    others.mkdir()
    if os.geteuid() == 0:
        os.chown(others, 65534, 65534)
    scratch.scratch()
    assert (kept / "file").exists()
    assert (above / f"{PREFIX}link").is_symlink()
    assert (above / f"{PREFIX}file").exists()
    assert (above / "eventlake-tests-x").exists()
    assert others.exists() == (os.geteuid() == 0)


def test_a_folder_that_another_process_sweeps_before_it_is_locked_is_made_again(above, monkeypatch):
    real, made = tempfile.mkdtemp, []

    def swept(**named):
        folder = real(**named)
        made.append(folder)
        if len(made) == 1:
            shutil.rmtree(folder)
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", swept)
    own = scratch.scratch()
    assert (len(made), str(own)) == (2, made[1])
    assert own.is_dir()


def test_a_folder_that_was_taken_away_is_made_again(above):
    first = scratch.scratch()
    shutil.rmtree(first)
    second = scratch.scratch()
    assert second != first
    assert second.is_dir()


def test_without_a_folder_for_temporary_files_databases_open_and_projections_are_refused_by_name(
    above, monkeypatch
):
    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert open_database().sql("SELECT 1").fetchall() == [(1,)]
    with pytest.raises(StorageError, match="expected a folder for temporary files"):
        load("p.py:f", {"p.py": "def f(snapshot): pass"})


@pytest.mark.parametrize("source", ["1 / 0", "raise KeyboardInterrupt", "f = 7", "def g(): pass"])
def test_a_source_that_cannot_be_loaded_leaves_no_copy(above, source):
    with pytest.raises((InvalidProjectionError, KeyboardInterrupt)):
        load("p.py:f", {"p.py": source})
    assert list(scratch.scratch().iterdir()) == []
