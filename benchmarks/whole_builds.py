"""Whole builds of eleven features, beside the whole work by hand: the best query, Parquet files and their SHA-256.

Every build has a name of its own, so that nothing is found again; what is warm is what the process
has read and sorted before. By hand, events are read from one Parquet file of four typed columns.
"""

import hashlib
import itertools
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from data import Setting, scratch
from features import (
    PREFIX,
    RANGE,
    by_join,
    by_search,
    drawn,
    features,
    filled,
    on_duckdb,
    payments,
    ten_times,
)
from measure import Candidate, Row, interleaved, peak_gigabytes, taken

import eventlake as el
from eventlake.datasets.building.given_spine import given_spine
from eventlake.features.engine_cache import ENGINE_CACHE

FIRST_LIMIT = {"duckdb": 1.5, "polars": 2.0}


def by_hand(look_up: Callable[[], pl.DataFrame], spine: pa.Table, folder: Path) -> None:
    """Look up, write the rows and the spine, and hash both files."""
    for name, table in (("rows", look_up().to_arrow()), ("spine", spine)):
        path = folder / f"{name}.parquet"
        pq.write_table(table, path, compression="zstd", compression_level=1)
        hashlib.sha256(path.read_bytes()).hexdigest()


def hand_queries(engine: str, file: Path, spine: pa.Table) -> dict[str, Callable[[], pl.DataFrame]]:
    """The queries of an engine; that without pairs of rows and events first."""
    if engine == "duckdb":
        return {
            "running sums, one ASOF": lambda: on_duckdb(PREFIX, file, spine),
            "range join": lambda: on_duckdb(RANGE, file, spine),
        }
    return {
        "binary search": lambda: by_search(file, spine),
        "join and filter": lambda: by_join(file, spine),
    }


def built(lake: el.Lake, spine: pl.DataFrame, engine: str, known: str, *, warm: bool) -> el.Dataset:
    """One dataset that was never built before."""
    if not warm:
        ENGINE_CACHE.clear()
    named = replace(features(known), name=f"made{secrets.token_hex(4)}")
    return lake.build(named, spine=spine, engine=engine)


def measure(
    result: Row, lake: el.Lake, file: Path, spines: dict[str, pa.Table], how: tuple[str, str, int]
) -> None:
    """First and warm builds, with ``known`` both ways; ``how`` is kind of spine, engine and rounds."""
    kind, engine, rounds = how
    spine = spines[kind]
    given, queries = pl.DataFrame(spine).drop("spine_row"), hand_queries(engine, file, spine)
    # The range join of a skewed spine takes a minute for a million events.
    chosen = dict(list(queries.items())[: 2 if kind == "even" else 1])
    candidates = [
        Candidate(name, lambda query=query: by_hand(query, spine, file.parent))
        for name, query in chosen.items()
    ]
    for known in ("watermark", "cutoff"):
        first = Candidate(
            f"known at the {known}, first",
            lambda known=known: built(lake, given, engine, known, warm=False),
        )
        warm = Candidate(
            f"known at the {known}, warm",
            lambda known=known: built(lake, given, engine, known, warm=True),
        )
        candidates += [first, warm]
    title = f"{lake.watermark:,} events, {spine.num_rows:,} rows, {kind}, {engine}"
    table = interleaved(title, lake.watermark, candidates, rounds)
    result.tables.append(table)
    best = min(table.get(name, "cpu_ms") or 0 for name in chosen)
    for candidate in candidates[len(chosen) :]:
        limit = 0.8 if candidate.name.endswith("warm") else FIRST_LIMIT[engine]
        cpu = table.get(candidate.name, "cpu_ms") or 0
        result.add(f"{title}, {candidate.name}: CPU", "by hand", cpu / best, "x", limit)


def many_rows(result: Row, lake: el.Lake, file: Path, spine: pa.Table, limit: float) -> None:
    """A spine of many rows once, in processes of their own; ``limit`` is of CPU."""
    kept = file.with_name("asked.parquet")
    pl.DataFrame(spine).drop("spine_row").write_parquet(kept)
    for engine in FIRST_LIMIT:
        figures = {}
        for how in ("by hand", "built"):
            command = [sys.executable, __file__, how, lake.uri, str(file), str(kept), engine]
            told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - ourselves
            figures[how] = [float(one) for one in told.stdout.split()]
        (by_hand_cpu, by_hand_memory), (cpu, memory) = figures["by hand"], figures["built"]
        title = f"{lake.watermark:,} events, {spine.num_rows:,} rows, {engine}"
        result.add(f"{title}: CPU", "by hand", cpu / by_hand_cpu, "x", limit)
        result.add(f"{title}: memory at most", "", memory, "GB", 2.5)
        result.add(f"{title}, by hand: memory at most", "", by_hand_memory, "GB")


def row(setting: Setting) -> Row:
    """Measures the row."""
    events, labels = setting.size(1_000_000, 50_000), setting.size(100_000, 5_000)
    result = Row(
        "whole_builds", f"whole builds of eleven features, {labels:,} rows over {events:,} events"
    )
    given = payments(setting, events)
    with scratch() as folder:
        history, file = filled(given, Path(folder))
        lake = el.open(history.storage.uri)
        spines = drawn(given, labels)
        for kind, engine in itertools.product(spines, FIRST_LIMIT):
            measure(result, lake, file, spines, (kind, engine, setting.times(5)))
        many = drawn(given, setting.size(10_000_000, 20_000))["even"]
        many_rows(result, lake, file, many, 1.3)
    given = ten_times(given)
    with scratch() as folder:
        history, file = filled(given, Path(folder))
        lake = el.open(history.storage.uri)
        many = drawn(given, setting.size(1_000_000, 20_000))["even"]
        many_rows(result, lake, file, many, 1.2)
    result.note(
        "By hand everything that was recorded counts. A build also hashes its rows and its spine,",
        "counts hindsight, and waits until its files are on the disk.",
    )
    return result


def alone(how: str, uri: str, file: str, spine: str, engine: str) -> str:
    """CPU seconds and the most memory of this process for one way."""
    given = pl.read_parquet(spine)
    if how == "built":
        lake = el.open(uri)
        took = taken(lambda: built(lake, given, engine, "watermark", warm=False))
    else:
        numbered = given_spine(given)
        query = next(iter(hand_queries(engine, Path(file), numbered).values()))
        took = taken(lambda: by_hand(query, numbered, Path(file).parent))
    return f"{took.cpu} {peak_gigabytes()}\n"


if __name__ == "__main__":
    sys.stdout.write(alone(*sys.argv[1:]))
