"""Four processes that append to one lake at once, against deltalake made sequence-safe.

Safe means here what eventlake means: no two events ever get one sequence, and none is left out.
deltalake's writers read the greatest sequence of the table version from its statistics, write the
next ones on condition that the version is still the newest (``max_commit_retries=0``), and try
again where it is not. With its own retries two writers would take the same sequences and never hear
of it. It calls no fsync; ours are durable.
"""

import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from append import ORIGIN
from data import Setting, scratch
from measure import Row, peer, percentile, settle

import eventlake as el

PROCESSES = 4
EVENTS = 100
SEQUENCE = pa.field("sequence", pa.int64())

deltalake = peer("deltalake")
Append = Callable[[pa.Table], int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one process saw.

    Attributes:
        began: When it was let go.
        ended: When its last commit was acknowledged.
        seconds: Of each commit.
        lost: Races lost on the way, where they can be counted.
    """

    began: float
    ended: float
    seconds: list[float]
    lost: int


def append_to_lake(lake: el.Lake, batch: pa.Table) -> int:
    """One of our commits."""
    lake.append(batch)
    return 0


def append_to_delta(table: Any, batch: pa.Table) -> int:
    """One sequence-safe commit to deltalake; gives the number of races lost."""
    once = deltalake.CommitProperties(max_commit_retries=0)
    lost = 0
    while True:
        table.update_incremental()
        following = next_of_delta(table)
        sequence = pa.array(np.arange(following, following + batch.num_rows))
        try:
            deltalake.write_deltalake(
                table,
                batch.append_column(SEQUENCE, sequence),
                mode="append",
                commit_properties=once,
            )
        except deltalake.exceptions.CommitFailedError:
            lost += 1
            time.sleep(random.uniform(0, 0.01))  # noqa: S311 - jitter, no secret
        else:
            return lost


def next_of_delta(table: Any) -> int:
    """The first free sequence of the version that ``table`` is at, from the statistics in its log."""
    greatest = pa.table(table.get_add_actions(flatten=True)).column("max.sequence")
    return max(greatest.to_pylist(), default=-1) + 1


def opened(kind: str, path: Path) -> Append:
    """What appends to the lake or table at ``path``, in the process that calls."""
    return (
        partial(append_to_lake, el.open(path))
        if kind == "lake"
        else partial(append_to_delta, deltalake.DeltaTable(path))
    )


def write(
    kind: str, path: Path, events: Path, numbers: range, meeting: tuple[Barrier, Any]
) -> None:
    """A process: opens, waits for the others, commits one batch after the other."""
    table = pq.read_table(events)
    append = opened(kind, path)
    barrier, answers = meeting
    times, lost = [], 0
    barrier.wait()
    began = time.monotonic()
    for number in numbers:
        started = time.perf_counter()
        lost += append(table.slice(number * EVENTS, EVENTS))
        times.append(time.perf_counter() - started)
    answers.put(Outcome(began, time.monotonic(), times, lost))


def together(kind: str, path: Path, events: Path, commits: int) -> list[Outcome]:
    """Runs the processes and waits for them."""
    settle()
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(PROCESSES), context.Queue()
    shares = [range(number * commits, (number + 1) * commits) for number in range(PROCESSES)]
    processes = [
        context.Process(target=write, args=(kind, path, events, share, (barrier, answers)))
        for share in shares
    ]
    for process in processes:
        process.start()
    outcomes = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    return outcomes


def wrong(sequences: list[int], expected: int) -> int:
    """How many sequences stand twice or are missing."""
    distinct = set(sequences)
    return len(sequences) - len(distinct) + len(set(range(expected)) - distinct)


def sequences_of(kind: str, path: Path) -> list[int]:
    """Every sequence that was given."""
    if kind == "lake":
        return el.open(path).snapshot().scan(columns=["sequence"]).collect()["sequence"].to_list()
    return deltalake.DeltaTable(path).to_pyarrow_table(columns=["sequence"])["sequence"].to_pylist()


@dataclass(frozen=True, slots=True)
class Race:
    """One run of all processes: commits a second, latencies in milliseconds, what is wrong with the sequences, races lost."""

    per_second: float
    p50: float
    p99: float
    wrong: int
    lost: int


def race(kind: str, folder: Path, events: Path, commits: int) -> Race:
    """One run, in a lake or table of its own."""
    path = folder / f"{kind}-{time.monotonic_ns()}"
    if kind == "lake":
        el.create(path, ORIGIN)
    else:
        deltalake.DeltaTable.create(path, schema=pq.read_schema(events).append(SEQUENCE))
    outcomes = together(kind, path, events, commits)
    wall = max(one.ended for one in outcomes) - min(one.began for one in outcomes)
    times = [seconds * 1e3 for one in outcomes for seconds in one.seconds]
    faults = wrong(sequences_of(kind, path), PROCESSES * commits * EVENTS)
    return Race(
        PROCESSES * commits / wall,
        percentile(times, 50),
        percentile(times, 99),
        faults,
        sum(one.lost for one in outcomes),
    )


def row(setting: Setting) -> Row:
    """Measures the row."""
    commits, rounds = setting.size(50, 10), setting.times(5)
    result = Row(
        "writers", f"{PROCESSES} processes, {commits} commits of {EVENTS} events each, to one lake"
    )
    races: dict[str, list[Race]] = {"lake": []} | ({"delta": []} if deltalake else {})
    with scratch() as folder:
        events = folder / "events.parquet"
        pq.write_table(setting.events(PROCESSES * commits * EVENTS), events)
        for _ in range(rounds):
            for kind, runs in races.items():
                runs.append(race(kind, folder, events, commits))
    ours, theirs = races["lake"], races.get("delta", [])
    ratios = [own.per_second / other.per_second for own, other in zip(ours, theirs, strict=False)]
    result.add(
        "sequences that stand twice or are missing, all rounds",
        "",
        sum(one.wrong for one in ours),
        "sequences",
        0,
    )
    result.add(
        "commits/s",
        "",
        statistics.median(one.per_second for one in ours),
        "commits/s",
        100,
        at_most=False,
    )
    peer_name = "deltalake made sequence-safe, no fsync"
    result.add(
        "commits/s, ours ÷ deltalake",
        peer_name,
        statistics.median(ratios) if ratios else None,
        "x",
        10,
        at_most=False,
    )
    result.add("p99 of a commit", "", statistics.median(one.p99 for one in ours), "ms", 50)
    result.add("p50 of a commit", "", statistics.median(one.p50 for one in ours), "ms")
    for name, runs in (("ours", ours), ("deltalake", theirs)):
        told = (
            f"{one.per_second:.0f} commits/s, p50 {one.p50:.1f}, p99 {one.p99:.0f} ms"
            for one in runs
        )
        result.notes += [f"{name}, round by round: {'; '.join(told)}."] if runs else []
    if theirs:
        result.notes.append(
            f"deltalake: {sum(one.wrong for one in theirs)} wrong sequences, {sum(one.lost for one in theirs)} races lost."
        )
    result.note(
        f"Data: {setting.source}. {rounds} rounds, ours and deltalake in turns, each in a new lake or table; medians of the rounds.",
        "The clock starts when all processes are ready. Ours durable, deltalake without any fsync.",
    )
    result.note("The budget for p99 is for a quiet disk.")
    return result
