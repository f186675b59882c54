"""Processes that use one lake at once, each in its role, to be killed or stopped at any moment by a test.

They are forked from a server that has imported eventlake, so that a round costs a fraction of a
second. What was acknowledged is written to a file of each process, line by line, and outlives it.
"""

import itertools
import json
import multiprocessing
import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import eventlake as el
from eventlake.errors import EventlakeError
from eventlake.testing.invariants import assert_sound

CONTEXT = multiprocessing.get_context("forkserver")
# pyarrow imports pandas at the first array that is made of a list, which takes longer than all else
# that a process does.
CONTEXT.set_forkserver_preload(
    ["eventlake", "eventlake.testing.invariants", "pandas", "pyarrow.pandas_compat"]
)
ROLES = ("small", "large", "group", "compact", "collect")
DEADLINE_SECONDS = 20.0


def work(folder, role, name, said):
    """What a process does until it is killed."""
    lake = el.open(folder)
    answers = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def say(receipt, ids):
        checkpoint = receipt.checkpoint
        line = json.dumps([receipt.start, receipt.stop, str(checkpoint), ids])
        os.write(answers, line.encode() + b"\n")

    for number in itertools.count():
        if role == "compact":
            lake.compact(target_bytes=20_000)
        elif role == "collect":
            lake.gc(older_than=timedelta(0), dry_run=False)
        elif role == "group":
            with lake.writer() as writer:
                batches = [batch(f"{name}-{number}-{part}", 2) for part in range(20)]
                futures = [writer.append(one) for one in batches]
                for one, future in zip(batches, futures, strict=True):
                    say(future.result(), [event["id"] for event in one])
        else:
            events = batch(f"{name}-{number}", 3 if role == "small" else 700)
            say(lake.append(events), [event["id"] for event in events])


def batch(name, rows):
    """Some events of their own."""
    return [
        {
            "id": f"{name}-{row}",
            "source": "s",
            "type": "t",
            "subject": f"/{row % 7}",
            "data": {"row": row},
        }
        for row in range(rows)
    ]


class Crowd:
    """Rounds of processes at one lake.

    Attributes:
        lake: As the test sees it.
        acknowledged: Every receipt that any process has said it got, with its ids.
    """

    def __init__(self, folder: Path, dice) -> None:
        self.folder = folder
        self.dice = dice
        self.lake = el.create(folder / "lake", "o")
        self.acknowledged = []
        self.rounds = 0

    def round(self, roles, *, stop_one=False):
        """Starts one process a role, lets them live for a random while, and kills them."""
        names = [f"{self.rounds}-{number}" for number in range(len(roles))]
        files = [self.folder / f"said-{name}" for name in names]
        processes = [
            CONTEXT.Process(
                target=work, args=(str(self.folder / "lake"), role, name, str(file)), daemon=True
            )
            for role, name, file in zip(roles, names, files, strict=True)
        ]
        for process in processes:
            process.start()
        try:
            if self.dice.random() < 0.8:
                self._wait_for_word(
                    [
                        file
                        for file, role in zip(files, roles, strict=True)
                        if role not in {"compact", "collect"}
                    ]
                )
            time.sleep(self.dice.uniform(0, 0.12))
            if stop_one:
                os.kill(processes[0].pid, signal.SIGSTOP)
                time.sleep(self.dice.uniform(0, 0.5))
                os.kill(processes[0].pid, signal.SIGCONT)
                time.sleep(self.dice.uniform(0, 0.1))
        finally:
            alive = [process.is_alive() for process in processes]
            for process in processes:
                process.kill()
            for process in processes:
                process.join()
        assert all(alive), (
            f"a process ended by itself: {[process.exitcode for process in processes]}, {roles}"
        )
        for file in files:
            self._hear(file)
        self.rounds += 1

    def _wait_for_word(self, files):
        end = time.monotonic() + DEADLINE_SECONDS
        while files and not any(file.exists() and file.stat().st_size for file in files):
            assert time.monotonic() < end, "nobody got a receipt"
            time.sleep(0.002)

    def _hear(self, file):
        text = file.read_text() if file.exists() else ""
        for line in text.splitlines(keepends=True):
            if line.endswith("\n"):
                start, stop, checkpoint, ids = json.loads(line)
                self.acknowledged.append(
                    (el.Receipt(start, stop, el.Checkpoint.parse(checkpoint), None, None), ids)
                )
        file.unlink(missing_ok=True)

    def assert_sound(self, *, deep):
        """Everything acknowledged is there, and nothing is damaged."""
        assert_sound(el.open(self.folder / "lake"), self.acknowledged, deep=deep)

    def settle(self):
        """What is left over is collected, and nothing is missed."""
        try:
            self.lake.gc(older_than=timedelta(0), dry_run=False)
        except EventlakeError as error:
            message = "gc failed"
            raise AssertionError(message) from error
        report = self.lake.verify(deep=True)
        assert (report.problems, report.notes) == ((), ())
