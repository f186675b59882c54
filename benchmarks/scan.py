"""Counting events by type, against the engines on the same Parquet files.

The floor opens a DuckDB connection and reads the segments with ``read_parquet``; ``snapshot.sql``
opens one too and gives ``events`` its sequences, its clock and its cut. The snapshot is held;
opening a lake is measured in ``open.py``.
"""

import duckdb
import polars as pl
from append import full_lake
from data import Setting, scratch
from measure import Candidate, Row, interleaved

DUCKDB, SQL = "DuckDB read_parquet, same files", "snapshot.sql"
POLARS, SCAN = "Polars scan_parquet, same files", "snapshot.scan"
QUERY = "SELECT type, count(*) AS events FROM {} GROUP BY type ORDER BY type"


def row(setting: Setting) -> Row:
    """Measures the row."""
    rows, batches = setting.size(1_000_000, 50_000), 4
    result = Row("scan", f"count {rows * batches:,} events in {batches} segments by type")
    with scratch() as folder:
        lake = full_lake(setting.events(rows), folder / "lake", batches)
        snapshot = lake.snapshot()
        files = snapshot.history.locations()
        plain = [
            Candidate(
                DUCKDB,
                lambda: (
                    duckdb.connect().execute(QUERY.format("read_parquet(?)"), [files]).fetchall()
                ),
            ),
            Candidate(SQL, lambda: snapshot.sql(QUERY.format("events")).arrow()),
        ]
        frames = [
            Candidate(POLARS, lambda: pl.scan_parquet(files).group_by("type").len().collect()),
            Candidate(SCAN, lambda: snapshot.scan().group_by("type").len().collect()),
        ]
        total = sum(snapshot.sql(QUERY.format("events")).polars()["events"])
        assert total == rows * batches
        rounds = setting.times(21)
        measured = [
            interleaved("count by type, DuckDB", total, plain, rounds),
            interleaved("count by type, Polars", total, frames, rounds),
        ]
    result.tables += measured
    result.add(
        "snapshot.sql: wall", "DuckDB read_parquet", measured[0].get(SQL, "x_wall"), "x", 1.1
    )
    result.add("snapshot.sql: CPU", "DuckDB read_parquet", measured[0].get(SQL, "x_cpu"), "x")
    result.add("snapshot.scan: wall", "Polars scan_parquet", measured[1].get(SCAN, "x_wall"), "x")
    result.add("snapshot.scan: CPU", "Polars scan_parquet", measured[1].get(SCAN, "x_cpu"), "x")
    result.note(
        f"Data: {setting.source}, {batches} appends. {rounds} rounds; files in the page cache."
    )
    return result
