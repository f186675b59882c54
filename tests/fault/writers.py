"""Processes that append, and what they acknowledged."""

import subprocess
import sys
from pathlib import Path

APPENDER = Path(__file__).with_name("appender.py")


ROWS = 4


def start(folder, name, batches):
    """An appending process that has opened the lake."""
    command = [sys.executable, str(APPENDER), str(folder), name, str(batches), str(ROWS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def receipts(text):
    """What was acknowledged on whole lines of stdout: ``(start, stop, first id)``."""
    lines = [
        line.split()
        for line in text.splitlines(keepends=True)
        if line.endswith("\n") and line != "ready\n"
    ]
    return [(int(first), int(stop), name) for first, stop, name in lines]


def history(lake):
    """The ids, in order; asserts that the sequences are dense and every batch whole."""
    frame = lake.snapshot().scan(columns=["sequence", "source", "id"]).collect()
    assert frame["sequence"].to_list() == list(range(lake.watermark))
    ids = frame["id"].to_list()
    assert len(set(ids)) == len(ids)
    for at in range(0, len(ids), ROWS):
        batch = ids[at].rsplit("-", 1)[0]
        assert ids[at : at + ROWS] == [f"{batch}-{row}" for row in range(ROWS)]
    return ids
