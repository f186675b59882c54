"""Many small commits by one process, against deltalake, which writes a commit file and a Parquet file too.

Ours are durable when they return (segment, commit and folders fsynced); deltalake's append calls no
fsync at all. deltalake keeps its table object open, which is faster for it than opening the table
each time. The two take turns in blocks; what a block left unwritten is flushed before the next.

Beside them stands a floor that tells what the disk takes: a small Parquet file and a JSON file,
each written under a temporary name, fsynced, linked to its name, and its folder fsynced. It checks
nothing, and is no log.
"""

import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from append import ORIGIN
from data import Setting, scratch
from measure import Row, peer, percentile, settle

import eventlake as el

EVENTS = 100
BLOCK = 50
FLOOR, OURS, DELTA = "Parquet and JSON by hand, 4 fsyncs", "lake.append", "deltalake"

deltalake = peer("deltalake")
Append = Callable[[int], object]


def seconds(append: Append, numbers: range) -> list[float]:
    """What each of these commits took."""
    settle()
    times = []
    for number in numbers:
        started = time.perf_counter()
        append(number)
        times.append(time.perf_counter() - started)
    return times


def of_deltalake(folder: Path, batches: Callable[[int], pa.Table]) -> Append | None:
    """An append to one deltalake table, or None where it is not installed."""
    if deltalake is None:
        return None
    table = deltalake.DeltaTable.create(folder, schema=batches(0).schema)
    return lambda number: deltalake.write_deltalake(table, batches(number), mode="append")


def by_hand(folder: Path, batches: Callable[[int], pa.Table]) -> Append:
    """The floor: the least that a durable commit with a Parquet file and a commit file can be."""
    for name in ("segments", "log"):
        (folder / name).mkdir(parents=True)

    def append(number: int) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(batches(number), sink, compression="zstd", compression_level=3)
        data = bytes(sink.getvalue())
        name = f"{hashlib.sha256(data).hexdigest()}.parquet"
        create(folder / "segments", name, data)
        create(
            folder / "log",
            f"{number:020d}.json",
            json.dumps({"version": number, "segment": name}).encode(),
        )

    return append


def create(folder: Path, name: str, data: bytes) -> None:
    """A file that is durable and whole, or not there."""
    temporary = folder / f".{name}"
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    (folder / name).hardlink_to(temporary)
    temporary.unlink()
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def row(setting: Setting) -> Row:
    """Measures the row."""
    many, longest = setting.size(1_000, 100), setting.size(2_000, 200)
    table = setting.events((longest + BLOCK + 1) * EVENTS)

    def batches(number: int) -> pa.Table:
        return table.slice(number * EVENTS, EVENTS)

    with scratch() as folder:
        lake, young = el.create(folder / "lake", ORIGIN), el.create(folder / "young", ORIGIN)
        ways: dict[str, Append | None] = {
            FLOOR: by_hand(folder / "floor", batches),
            OURS: lambda number: lake.append(batches(number)),
            DELTA: of_deltalake(folder / "delta", batches),
        }
        el.create(folder / "warm", ORIGIN).append(batches(0))
        times = in_turns({name: append for name, append in ways.items() if append}, many)
        before = time.process_time()
        times[OURS] += seconds(ways[OURS], range(many, longest))
        cpu = (time.process_time() - before) / (longest - many)
        pairs = [
            (
                *seconds(lambda number: young.append(batches(number)), range(at, at + 1)),
                *seconds(ways[OURS], range(longest + at, longest + at + 1)),
            )
            for at in range(BLOCK)
        ]
        assert lake.watermark == (longest + BLOCK) * EVENTS
        log_bytes = sum(path.stat().st_size for path in (folder / "lake" / "log").rglob("*.json"))
    result = Row("commits", f"one process, commits of {EVENTS} events each")
    judge(result, times, setting.size(200, 50), many)
    new, old = (statistics.median(side) for side in zip(*pairs, strict=True))
    result.add(
        f"p50 of the {BLOCK} commits after {longest:,} ÷ of the first {BLOCK} of a new lake, in turns",
        "",
        old / new,
        "x",
        1.3,
    )
    ours = times[OURS]
    raw = statistics.median(ours[-BLOCK:]) / statistics.median(ours[:BLOCK])
    result.add(
        f"p50 of commits {longest - BLOCK:,} to {longest:,} ÷ of the first {BLOCK} of the same lake",
        "",
        raw,
        "x",
    )
    result.add(f"commits/s over {longest:,}", "", longest / sum(ours), "commits/s")
    result.add(f"p50 over {longest:,} commits", "", statistics.median(ours) * 1e3, "ms")
    result.add(f"p99 over {longest:,} commits", "", percentile(ours, 99) * 1e3, "ms")
    result.add(f"CPU a commit, all threads, commits {many:,} to {longest:,}", "", cpu * 1e3, "ms")
    what = f"log bytes a commit, folds counted, over {longest:,}"
    result.add(what, "", log_bytes / (longest + BLOCK) / 1e3, "KB", 5.0)
    result.note(
        f"Data: {setting.source}. One run, in turns of {BLOCK} commits. Ours durable; deltalake (snappy, its default) without fsync."
    )
    result.note("Folding the manifest is part of the commits it falls on.")
    return result


def in_turns(ways: dict[str, Append], commits: int) -> dict[str, list[float]]:
    """So many commits each way, a block at a time."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for start in range(0, commits, BLOCK):
        for name, append in ways.items():
            times[name] += seconds(append, range(start, start + BLOCK))
    return times


def judge(result: Row, times: dict[str, list[float]], few: int, many: int) -> None:
    """Adds the ratios, and what lies behind them."""
    for commits, limit in ((few, 5.0), (many, 10.0)):
        ratio = sum(times[DELTA][:commits]) / sum(times[OURS][:commits]) if DELTA in times else None
        result.add(
            f"{commits:,} commits: time of deltalake ÷ ours",
            "deltalake, no fsync",
            ratio,
            "x",
            limit,
            at_most=False,
        )
    result.add(
        f"{many:,} commits: time of ours ÷ by hand",
        FLOOR,
        sum(times[OURS][:many]) / sum(times[FLOOR]),
        "x",
    )
    for name, taken in times.items():
        first, last = (
            f"{statistics.median(part) * 1e3:.1f} ms"
            for part in (taken[:BLOCK], taken[many - BLOCK : many])
        )
        result.note(
            f"{name}: p50 of the first {BLOCK} commits {first}, of the last {BLOCK} of {many:,} {last}."
        )
