"""Appending large batches, every check on, against writing the same table by hand and against deltalake.

The floor is what a careful engineer would write by hand: pyarrow's Parquet (zstd 3, defaults), its
SHA-256 and an fsync. It validates nothing, finds no duplicate and hashes no event. deltalake writes
with zstd 3 too, and with its default compression; it hashes nothing and never calls fsync.
"""

import hashlib
import json
import os
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from data import Setting, emptied, generation, nested, scratch
from measure import Candidate, Row, Table, interleaved, peer
from schemas_of import schemas

import eventlake as el

ORIGIN = "benchmark.example"
FLOOR = "pyarrow write (zstd 3) + sha256 + fsync"
OURS = "lake.append, every check on"
DELTA = "deltalake (zstd 3), no fsync"
DELTA_DEFAULT = "deltalake (its default), no fsync"
MAX_CPU, MAX_WALL, MAX_SMALL_WALL, MAX_NESTED_CPU = 2.0, 1.15, 1.25, 3.5
MAX_DICT_US = 12.0

deltalake = peer("deltalake")


def write_by_hand(table: pa.Table, path: Path) -> None:
    """The floor."""
    pq.write_table(table, path, compression="zstd", compression_level=3)
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    hashlib.sha256(path.read_bytes()).hexdigest()


def by_hand(table: pa.Table, folder: Path) -> Candidate:
    """The floor as a candidate."""
    return Candidate(
        FLOOR,
        lambda: write_by_hand(table, folder / "floor.parquet"),
        lambda: emptied(folder / "floor.parquet"),
    )


def into_empty(table: pa.Table, folder: Path) -> Candidate:
    """Our append into a lake that holds nothing; making the lake is not timed."""
    lakes: list[el.Lake] = []

    def before() -> None:
        lakes[:] = [el.create(emptied(folder / "lake"), ORIGIN)]

    return Candidate(OURS, lambda: lakes[0].append(table), before)


def with_deltalake(table: pa.Table, folder: Path) -> list[Candidate]:
    """The same table as deltalake's first commit; nothing where it is not installed."""
    if deltalake is None:
        return []
    zstd = deltalake.WriterProperties(compression="ZSTD", compression_level=3)
    path = folder / "delta"

    def work(properties: Any) -> None:
        deltalake.write_deltalake(path, table, mode="append", writer_properties=properties)

    return [
        Candidate(name, partial(work, properties), lambda: emptied(path))
        for name, properties in ((DELTA, zstd), (DELTA_DEFAULT, None))
    ]


def full_lake(table: pa.Table, folder: Path, batches: int) -> el.Lake:
    """A lake of ``batches`` generations of ``table``."""
    lake = el.create(emptied(folder), ORIGIN)
    for number in range(batches):
        lake.append(generation(table, number))
    return lake


def into_full(table: pa.Table, lake: el.Lake, first: int, rows: int) -> Candidate:
    """Our append of ``rows`` new events a round into a lake that holds many, by a process that has appended to it before."""
    numbers = count(first)
    batch: list[pa.Table] = []

    def before() -> None:
        batch[:] = [generation(table.slice(0, rows), next(numbers))]

    return Candidate(OURS, lambda: lake.append(batch[0]), before)


def of_many_types(table: pa.Table, copies: int) -> pa.Table:
    """The same events, each type cut into ``copies`` types that take turns."""
    part = (pl.int_range(pl.len()) % copies).cast(pl.String)
    frame = pl.DataFrame(table).with_columns(pl.concat_str("type", pl.lit("."), part).alias("type"))
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(table.schema).combine_chunks()


def registered(table: pa.Table, folder: Path) -> el.Lake:
    """A lake that knows a schema for every type of ``table``, and holds nothing."""
    lake = el.create(emptied(folder), ORIGIN)
    for name, schema in schemas(table).items():
        lake.register(name, schema)
    return lake


def as_dicts(table: pa.Table, lake: el.Lake, first: int, rows: int) -> Candidate:
    """Our append of ``rows`` new events a round that are dicts with dicts, as a service makes them."""
    numbers = count(first)
    batch: list[list[dict[str, Any]]] = []

    def before() -> None:
        events = generation(table.slice(0, rows), next(numbers)).to_pylist()
        batch[:] = [[event | {"data": json.loads(event["data"])} for event in events]]

    return Candidate(OURS, lambda: lake.append(batch[0]), before)


def with_schemas(result: Row, setting: Setting, events: pa.Table, folder: Path) -> None:
    """Adds appends of many registered types, and of dicts with and without schemas."""
    rows, copies = len(events), setting.size(42, 5)
    table = of_many_types(events, copies)
    lake = registered(table, folder / "types")
    title = f"{rows:,} events of {len(lake.schemas()):,} registered types"
    candidates = [by_hand(table, folder), into_full(table, lake, 0, rows)]
    judge(result, interleaved(title, rows, candidates, setting.times(3)), title, None)
    few = setting.size(100_000, 25_000)
    bare, known = el.create(folder / "dicts", ORIGIN), registered(events, folder / "known")
    for number, size in enumerate((few, 1_000, 100)):
        part = events.slice(0, size).combine_chunks()
        for what, lake in (("no schemas", bare), ("schemas", known)):
            title = f"{size:,} dicts, {what}"
            candidates = [by_hand(part, folder), as_dicts(part, lake, 1_000 * number, size)]
            measured = interleaved(title, size, candidates, setting.times(9))
            result.tables.append(measured)
            spent = (measured.get(OURS, "cpu_ms") or 0) * 1e3 / size
            limit = MAX_DICT_US if size == few else None
            result.add(f"{title}: CPU an event", "", spent, "µs", limit)


def judge(
    row: Row,
    table: Table,
    what: str,
    max_cpu: float | None = MAX_CPU,
    max_wall: float | None = None,
    *,
    delta: bool = False,
) -> None:
    """Adds the figures of one comparison."""
    row.tables.append(table)
    row.add(f"{what}: CPU", "pyarrow by hand", table.get(OURS, "x_cpu"), "x", max_cpu)
    row.add(f"{what}: wall", "pyarrow by hand", table.get(OURS, "x_wall"), "x", max_wall)
    if delta:
        for name in (DELTA, DELTA_DEFAULT):
            own, theirs = table.get(OURS, "x_wall"), table.get(name, "x_wall")
            row.add(f"{what}: wall", name, own / theirs if own and theirs else None, "x", 1.0)


def row(setting: Setting) -> Row:
    """Measures the row."""
    large, small = setting.size(1_000_000, 50_000), setting.size(100_000, 25_000)
    batches = 10
    events = setting.events(large)
    result = Row("append", "one batch of events into a lake, every check on, durable on return")
    with scratch() as folder:
        for rows, rounds, max_wall in ((large, 7, MAX_WALL), (small, 15, MAX_SMALL_WALL)):
            table = events.slice(0, rows).combine_chunks()
            title = f"{rows:,} events, flat JSON, empty lake"
            candidates = [
                by_hand(table, folder),
                into_empty(table, folder),
                *with_deltalake(table, folder),
            ]
            judge(
                result,
                interleaved(title, rows, candidates, setting.times(rounds)),
                title,
                max_wall=max_wall,
                delta=rows == large,
            )
        for what, objects_in_lists in (
            ("nested JSON", False),
            ("nested JSON with lists of objects", True),
        ):
            table = nested(events, objects_in_lists=objects_in_lists)
            title = f"{large:,} events, {what}, empty lake"
            measured = interleaved(
                title, large, [by_hand(table, folder), into_empty(table, folder)], setting.times(5)
            )
            judge(result, measured, title, MAX_NESTED_CPU)
        emptied(folder / "lake")
        with_schemas(result, setting, events, folder)
        lake = full_lake(events, folder / "full", batches)
        for rows, rounds, max_wall, first in (
            (small, 9, MAX_SMALL_WALL, 1000),
            (large, 5, MAX_WALL, 2000),
        ):
            known, table = lake.watermark, events.slice(0, rows).combine_chunks()
            title = f"{rows:,} events, flat JSON, {known:,} ids known"
            candidates = [by_hand(table, folder), into_full(events, lake, first, rows)]
            measured = interleaved(title, rows, candidates, setting.times(rounds))
            judge(result, measured, title, max_wall=max_wall)
    result.note(
        f"Data: {setting.source}; deltalake writes them with zstd 3, as the floor does, and by its default."
    )
    result.note(
        "Durable: when lake.append returns, segment, keys and commit are written and fsynced, and so are their folders.",
        "The floor fsyncs one file, deltalake nothing.",
    )
    result.note(
        f"The lake with known ids is made of {batches} appends of {large:,} events; each round appends new events, so it grows meanwhile.",
        "The appending process has appended to it before. Folding the manifest is in the figures.",
    )
    result.note(
        "Nested payloads are three levels deep, with a list of numbers; the second kind has a list of two objects as well."
    )
    worst = (f"{table.title}: {table.get(OURS, 'worst_x_wall'):.2f} x" for table in result.tables)
    result.note(f"Wall in the worst round, against the floor of that round: {'; '.join(worst)}.")
    return result
