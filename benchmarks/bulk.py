"""Loading one large Parquet file: time and peak memory, each way in a process of its own.

Ours is ``lake.append(path)``: one batch, whole or not at all, every check on, durable. Beside it
stand copying the file row group by row group with pyarrow, SHA-256 and fsync, and deltalake fed
with the same record batches (zstd 3, no fsync).
"""

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from append import ORIGIN
from data import Setting, emptied, generation, scratch
from measure import Row, peer, settle

import eventlake as el

ROW_GROUP = 131_072


def ours(source: Path, folder: Path) -> None:
    """The file as one batch."""
    receipt = el.create(folder, ORIGIN).append(source)
    assert receipt.stop == pq.read_metadata(source).num_rows


def by_hand(source: Path, folder: Path) -> None:
    """Row group by row group."""
    folder.mkdir()
    target = folder / "copy.parquet"
    file = pq.ParquetFile(source)
    with pq.ParquetWriter(
        target, file.schema_arrow, compression="zstd", compression_level=3
    ) as writer:
        for batch in file.iter_batches(ROW_GROUP):
            writer.write_batch(batch)
    with target.open("rb") as stream:
        os.fsync(stream.fileno())
        hashlib.file_digest(stream, "sha256")


def with_deltalake(source: Path, folder: Path) -> None:
    """The same record batches as one commit."""
    deltalake = peer("deltalake")
    file = pq.ParquetFile(source)
    batches = pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches(ROW_GROUP))
    properties = deltalake.WriterProperties(compression="ZSTD", compression_level=3)
    deltalake.write_deltalake(folder, batches, writer_properties=properties)


WAYS: dict[str, Callable[[Path, Path], None]] = {
    "by hand": by_hand,
    "ours": ours,
    "deltalake": with_deltalake,
}


def peak_mebibytes() -> float:
    """The most memory this process has had, without what its parent had when it forked."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            2**20 if sys.platform == "darwin" else 2**10
        )
    return (
        next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        / 2**10
    )


def child(way: str, source: Path, folder: Path) -> dict[str, float]:
    """Runs one way in a process of its own: wall and CPU seconds, peak MiB, and those MiB that were there before it began."""
    settle()
    command = [sys.executable, __file__, way, str(source), str(emptied(folder))]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603 - ourselves
    emptied(folder)
    return dict(json.loads(done.stdout))


def large_file(setting: Setting, path: Path, rows: int, batches: int) -> Path:
    """A Parquet file of ``batches`` generations of ``rows`` events."""
    table = setting.events(rows)
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for number in range(batches):
            writer.write_table(generation(table, number), row_group_size=ROW_GROUP)
    return path


def row(setting: Setting) -> Row:
    """Measures the row."""
    rows, batches, rounds = setting.size(1_000_000, 50_000), 10, setting.times(2)
    total = rows * batches
    result = Row(
        "bulk", f"load one Parquet file of {total:,} events, each way in a process of its own"
    )
    ways = [way for way in WAYS if way != "deltalake" or peer("deltalake")]
    taken: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with scratch() as folder:
        source = large_file(setting, folder / "events.parquet", rows, batches)
        size = source.stat().st_size
        for _ in range(rounds):
            for way in ways:
                taken[way].append(child(way, source, folder / "target"))
    median = {
        way: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for way, runs in taken.items()
    }
    ours_, hand = median["ours"], median["by hand"]
    result.add("lake.append(path): peak memory", "", ours_["peak"] * 2**20 / 1e9, "GB", 2.0)
    result.add("lake.append(path): time", "", ours_["wall"], "s")
    result.add("lake.append(path)", "", total / ours_["wall"], "events/s")
    result.add("wall", "pyarrow, row group by row group", ours_["wall"] / hand["wall"], "x")
    result.add("CPU", "pyarrow, row group by row group", ours_["cpu"] / hand["cpu"], "x")
    theirs = median.get("deltalake")
    result.add(
        "wall", "deltalake, no fsync", ours_["wall"] / theirs["wall"] if theirs else None, "x"
    )
    for way, one in median.items():
        facts = f"{one['wall']:.1f} s wall, {one['cpu']:.1f} s CPU, peak {one['peak']:,.0f} MiB, of which {one['idle']:,.0f} MiB imports"
        result.note(f"{way}: {facts}.")
    result.note(
        f"Data: {setting.source}, {batches} generations of {rows:,}; the file has {size / 1e6:,.0f} MB. {rounds} rounds; medians."
    )
    result.note("lake.append(path) appends one batch, all or nothing.")
    return result


def main() -> None:
    """The child: does it, and tells what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.way == "deltalake":
        peer("deltalake")
    idle, before, started = peak_mebibytes(), os.times(), time.perf_counter()
    WAYS[given.way](given.source, given.folder)
    wall, after = time.perf_counter() - started, os.times()
    cpu = after.user + after.system - before.user - before.system
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak_mebibytes(), "idle": idle}))


if __name__ == "__main__":
    main()
