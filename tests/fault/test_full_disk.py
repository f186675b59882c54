"""A disk that is full: what was acknowledged stays, the error says what to do, and the lake goes on when there is room again."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("full_disk.py")


def test_a_full_disk_loses_nothing_and_is_survived(tmp_path):
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare: a small disk cannot be mounted")
    inside = f'mount -t tmpfs -o size=1200k tmpfs "{tmp_path}" && exec "{sys.executable}" "{SCRIPT}" "{tmp_path}"'
    command = [unshare, "--user", "--map-root-user", "--mount", "sh", "-c", inside]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for error, message, hint in (said["first"], said["second"]):
        assert error in {"StorageFullError", "StorageError"}
        assert "ENOSPC" in message
        assert "the disk is full: free some space" in hint
    assert min(said["appended"]) > 0
    assert said["temporary"] == []
    assert said["free"] < 100_000
    pruned, collected = said["freed"]
    assert pruned == 1
    assert collected >= 2  # the compacted segments, and what the appends without room left
