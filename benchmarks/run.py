"""Bulk append, scan and verify beside their floors, in one run on one machine.

    python benchmarks/run.py [ROWS | FILE.parquet] [ROUNDS]

Each round runs every candidate once, floor first, so that a machine that slows down slows both; medians of the rounds are printed with the
ratio to the floor. CPU is that of all threads. Events are those of the simulated lender (kept in ``bench-data/``), or of a Parquet file.
"""

import hashlib
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import eventlake as el
from eventlake.demo import simulate

DATA = Path(__file__).parents[1] / "bench-data"
EVENTS_PER_LOAN = 26


def events(rows: int) -> pa.Table:
    """The first ``rows`` events of a large simulated lender, without their clock."""
    path = DATA / f"lender-{rows}.parquet"
    if not path.exists():
        table = simulate(loans=rows // (EVENTS_PER_LOAN - 1) + 10).slice(0, rows)
        pq.write_table(table.drop_columns(["recorded_at"]), path)
    table = pq.read_table(path).combine_chunks()
    assert table.num_rows == rows, f"the simulator told {table.num_rows} events only"
    return table


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def floor_append(table: pa.Table, folder: Path) -> None:
    """What a careful engineer would write by hand: Parquet (zstd 3, defaults), its SHA-256, fsync."""
    path = folder / "floor.parquet"
    pq.write_table(table, path, compression="zstd", compression_level=3)
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    hashlib.sha256(path.read_bytes()).hexdigest()


def compare(title: str, candidates: dict[str, Callable[[], object]], rounds: int, rows: int) -> None:
    """Prints one table; the first candidate is the floor."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, work in candidates.items():
            times[name].append(measured(work))
    floor = next(iter(times.values()))
    print(f"\n{title}\n  {'':34} wall ms    cpu ms  x wall  x cpu   events/s")
    for name, taken in times.items():
        wall, cpu = (statistics.median(values) for values in zip(*taken, strict=True))
        x_wall, x_cpu = (statistics.median(t[i] / f[i] for t, f in zip(taken, floor, strict=True)) for i in (0, 1))
        print(f"  {name:34}{wall * 1e3:8.1f}{cpu * 1e3:10.1f}{x_wall:8.2f}{x_cpu:7.2f}{rows / wall:11,.0f}")


def append_rows(table: pa.Table, scratch: Path, rounds: int) -> el.Lake:
    """Append against its floor; gives the lake of the last round."""
    lakes: list[el.Lake] = []

    def ours() -> None:
        shutil.rmtree(scratch / "lake", ignore_errors=True)
        lake = el.create(scratch / "lake", "benchmark.example")
        lake.append(table)
        lakes.append(lake)

    candidates = {"pyarrow write + sha256 + fsync": lambda: floor_append(table, scratch), "lake.append, every check on": ours}
    compare(f"append {table.num_rows:,} events in one batch", candidates, rounds, table.num_rows)
    return lakes[-1]


def scans(lake: el.Lake, rounds: int) -> None:
    """Count by type, against the engines on the same files."""
    snapshot = lake.snapshot()
    files = snapshot.history.locations()
    query = "SELECT type, count(*) FROM {} GROUP BY type"
    compare(
        "count by type",
        {
            "DuckDB read_parquet, same files": lambda: duckdb.connect().execute(query.format("read_parquet(?)"), [files]).fetchall(),
            "snapshot.sql": lambda: snapshot.sql(query.format("events")).arrow(),
            "Polars scan_parquet, same files": lambda: pl.scan_parquet(files).group_by("type").len().collect(),
            "snapshot.scan": lambda: snapshot.scan().group_by("type").len().collect(),
        },
        rounds,
        snapshot.watermark,
    )


def verifies(lake: el.Lake, rounds: int) -> None:
    """Verification, against reading and hashing the same files."""
    files = lake.snapshot().history.locations() or []
    compare(
        "verify",
        {
            "sha256 of the segments": lambda: [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files],
            "lake.verify()": lake.verify,
            "lake.verify(deep=True)": lambda: lake.verify(deep=True),
        },
        rounds,
        lake.watermark,
    )


def main() -> None:
    """Prints the tables."""
    given = sys.argv[1] if len(sys.argv) > 1 else "1000000"
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    versions = f"python {sys.version.split()[0]}, duckdb {duckdb.__version__}, polars {pl.__version__}, pyarrow {pa.__version__}"
    print(f"{os.cpu_count()} cores, {versions}")
    DATA.mkdir(exist_ok=True)
    table = events(int(given)) if given.isdigit() else pq.read_table(given).combine_chunks()
    rows = table.num_rows
    with tempfile.TemporaryDirectory(dir=DATA) as scratch:
        append_rows(table.slice(0, rows // 10), Path(scratch), rounds)
        lake = append_rows(table, Path(scratch), rounds)
        scans(lake, rounds)
        verifies(lake, rounds)


if __name__ == "__main__":
    main()
