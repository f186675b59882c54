"""Real processes: killed while they append, and appending at the same time."""

import random
import re
import threading
import time

import pytest

import eventlake as el
from tests.fault.writers import ROWS, history, receipts, start
from tests.scope import scaled

KILLS = scaled(20, 4)
AT_ONCE = 2


@pytest.mark.timeout(400)
def test_what_was_acknowledged_survives_kill_9_at_any_moment(tmp_path):
    folder = tmp_path / "lake"
    el.create(folder, "o")
    moments = random.Random(20260131)
    acknowledged = []
    for turn in range(0, KILLS, AT_ONCE):
        processes = [start(folder, f"p{turn + n}", 10_000) for n in range(AT_ONCE)]
        try:
            for process in processes:
                assert process.stdout.readline() == "ready\n"
            # Every other writer is known to have been told that something is durable, however slow
            # the machine is.
            heard = [
                process.stdout.readline() if n % 2 == 0 else ""
                for n, process in enumerate(processes)
            ]
            for process in processes:
                time.sleep(moments.uniform(0, 0.06))
                process.kill()
        finally:
            for process in processes:
                process.kill()
        for process, first in zip(processes, heard, strict=True):
            out, err = process.communicate()
            assert process.returncode == -9, err
            acknowledged += receipts(first + out)
        lake = el.open(folder)
        ids = history(lake)
        assert all(
            ids[first] == name and stop - first == ROWS for first, stop, name in acknowledged
        )
    report = lake.verify(deep=True)
    assert report.problems == ()
    left = re.compile(r"(segments|keys|manifests)/.*|(.*/)?\.tmp-.*")
    assert all(left.fullmatch(note.path) for note in report.notes), report.notes
    assert lake.append([{"id": "after", "source": "s", "type": "t"}]).start == len(ids)
    assert acknowledged


@pytest.mark.thorough
def test_two_processes_appending_at_once_lose_nothing_and_double_nothing(tmp_path):
    folder = tmp_path / "lake"
    el.create(folder, "o")
    processes = [start(folder, name, 30) for name in ("left", "right")]
    answers = [process.communicate(timeout=60) for process in processes]
    assert [
        (process.returncode, err) for process, (_, err) in zip(processes, answers, strict=True)
    ] == [(0, "")] * 2
    lake = el.open(folder)
    ids = history(lake)
    acknowledged = [receipt for out, _ in answers for receipt in receipts(out)]
    assert len(acknowledged) == 60
    assert sorted(first for first, _, _ in acknowledged) == list(range(0, 60 * ROWS, ROWS))
    assert all(ids[first] == name for first, _, name in acknowledged)
    assert lake.verify(deep=True).problems == ()
    clock = [entry.commit.recorded_at for entry in lake.log()]
    assert clock == sorted(clock)


def test_threads_sharing_one_lake_and_threads_with_their_own_lose_nothing(tmp_path):
    folder = tmp_path / "lake"
    shared = el.create(folder, "o")
    taken = []
    failures = []

    def work(name, lake):
        try:
            for number in range(8):
                receipt = lake.append(
                    [
                        {"id": f"{name}-{number}-{row}", "source": name, "type": "t"}
                        for row in range(ROWS)
                    ]
                )
                taken.append((receipt.start, f"{name}-{number}-0"))
        except el.EventlakeError as error:
            failures.append(error)

    lakes = {"a": shared, "b": shared, "c": el.open(folder), "d": el.open(folder)}
    threads = [threading.Thread(target=work, args=pair) for pair in lakes.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    ids = history(el.open(folder))
    assert sorted(first for first, _ in taken) == list(range(0, 32 * ROWS, ROWS))
    assert all(ids[first] == name for first, name in taken)
    assert shared.verify(deep=True).problems == ()


def test_a_reader_beside_a_writer_sees_whole_commits_that_only_grow(tmp_path):
    folder = tmp_path / "lake"
    el.create(folder, "o")
    process = start(folder, "w", 25)
    seen = []
    lake = el.open(folder)
    while process.poll() is None:
        snapshot = lake.snapshot()
        seen.append(snapshot.checkpoint)
        assert snapshot.scan(columns=["id"]).collect().height == snapshot.watermark
    process.communicate()
    assert process.returncode == 0
    marks = [checkpoint.watermark for checkpoint in seen]
    assert marks == sorted(marks)
    assert all(mark % ROWS == 0 for mark in marks)
    assert all(
        lake.snapshot(checkpoint).root == checkpoint.root
        for checkpoint in {c.watermark: c for c in seen}.values()
    )
