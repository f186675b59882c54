"""Opening a lake of 1,000 commits and reading the events of the 500th history, against lance at its 500th version.

Maintenance is allowed: ours is compacted (``lake.compact()``), lance's files are too
(``optimize.compact_files()``); a lance version is pinned to the files it was written with, while a
watermark is read from whatever segments hold the history now. Both read the same columns.
"""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
from append import ORIGIN
from data import Setting, scratch
from measure import Candidate, Row, interleaved, peer

import eventlake as el

EVENTS = 100
LANCE, LANCE_COMPACT = "lance, as written", "lance, compacted"
OURS, OURS_COMPACT = "eventlake, as written", "eventlake, compacted"

lance = peer("lance")


def write(folder: Path, table: pa.Table, commits: int, name: str) -> el.Lake:
    """The same commits to a lake and, where it is installed, to a lance dataset."""
    lake = el.create(folder / f"lake-{name}", ORIGIN)
    for number in range(commits):
        batch = table.slice(number * EVENTS, EVENTS)
        lake.append(batch)
        if lance:
            lance.write_dataset(
                batch, folder / f"lance-{name}", mode="append" if number else "create"
            )
    return lake


def read_lake(path: Path, watermark: int, columns: list[str]) -> pl.DataFrame:
    """Opens and reads a pinned history."""
    return el.open(path).snapshot(at=watermark).scan(columns=columns).collect()


def read_lance(path: Path, version: int) -> pa.Table:
    """Opens and reads a pinned version."""
    return lance.dataset(path, version=version).to_table()


def candidate(name: str, read: Callable[..., object], *arguments: object) -> Candidate:
    """Opening and reading as a candidate."""
    return Candidate(name, lambda: read(*arguments))


def row(setting: Setting) -> Row:
    """Measures the row."""
    commits = setting.size(1_000, 60)
    pinned, rounds = commits // 2, setting.times(15)
    table = setting.events(commits * EVENTS)
    result = Row(
        "open",
        f"open, and read the events of the {pinned}th of {commits:,} commits of {EVENTS} events",
    )
    with scratch() as folder:
        for name in ("plain", "compacted"):
            lake = write(folder, table, commits, name)
        lake.compact()
        if lance:
            lance.dataset(folder / "lance-compacted").optimize.compact_files()
        columns, watermark = table.column_names, pinned * EVENTS
        candidates = [
            candidate(OURS_COMPACT, read_lake, folder / "lake-compacted", watermark, columns),
            candidate(OURS, read_lake, folder / "lake-plain", watermark, columns),
            candidate("eventlake, compacted, el.open alone", el.open, folder / "lake-compacted"),
        ]
        if lance:
            candidates.insert(
                0, candidate(LANCE_COMPACT, read_lance, folder / "lance-compacted", pinned)
            )
            candidates.insert(1, candidate(LANCE, read_lance, folder / "lance-plain", pinned))
            for name in ("plain", "compacted"):
                theirs = pl.DataFrame(read_lance(folder / f"lance-{name}", pinned))
                assert theirs.equals(read_lake(folder / f"lake-{name}", watermark, columns)), (
                    "the two do not read the same"
                )
        measured = interleaved(
            "open and read, in a process that has done it before", watermark, candidates, rounds
        )
    result.tables.append(measured)
    for what, ours in (("maintenance allowed", OURS_COMPACT), ("no maintenance", OURS)):
        theirs = [
            time for name in (LANCE_COMPACT, LANCE) if (time := measured.get(name, "wall_ms"))
        ]
        own = measured.get(ours, "wall_ms")
        ratio = own / min(theirs) if own and theirs else None
        result.add(
            f"open and read, {what}: wall",
            "the faster of lance's two",
            ratio,
            "x",
            1.0 if ours == OURS_COMPACT else None,
        )
    result.note(
        f"Data: {setting.source}. {rounds} rounds; both give the same rows (checked). Files are in the page cache."
    )
    result.note("lance has no fsync; reading does not need one.")
    return result
