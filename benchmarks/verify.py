"""Verification, against reading and hashing the same segments with SHA-256.

*Shallow* re-hashes every file. *Deep* also decodes every segment, hashes every event again, makes
the manifest's keys again and looks for ids that stand twice. Where types have schemas, it also reads
every payload and derives every event table again.
"""

import hashlib
from pathlib import Path

from append import full_lake
from data import Setting, scratch
from measure import Candidate, Row, Table, interleaved
from schemas_of import schemas

import eventlake as el

FLOOR, SHALLOW, DEEP = "sha256 of the segments", "lake.verify()", "lake.verify(deep=True)"


def hash_files(files: list[str]) -> list[str]:
    """The floor."""
    return [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files]


def typed_tables(lake: el.Lake, setting: Setting) -> Table:
    """The same lake, with a schema and an event table for every type."""
    events = setting.events(setting.size(1_000_000, 50_000))
    for event_type, schema in schemas(events).items():
        lake.register(event_type, schema)
    types = " UNION ALL ".join(f'SELECT count(*) FROM "{one}"' for one in lake.schemas())
    lake.snapshot().sql(types)
    deep = Candidate(DEEP, lambda: lake.verify(deep=True))
    title = f"verify, {len(lake.schemas())} types with schemas and event tables"
    return interleaved(title, lake.watermark, [deep], setting.times(3))


def row(setting: Setting) -> Row:
    """Measures the row."""
    rows, batches = setting.size(1_000_000, 50_000), 4
    result = Row("verify", f"re-hash a lake of {rows * batches:,} events in {batches} segments")
    with scratch() as folder:
        lake = full_lake(setting.events(rows), folder / "lake", batches)
        files = lake.snapshot().history.locations() or []
        candidates = [
            Candidate(FLOOR, lambda: hash_files(files)),
            Candidate(SHALLOW, lake.verify),
            Candidate(DEEP, lambda: lake.verify(deep=True)),
        ]
        measured = interleaved("verify", lake.watermark, candidates, setting.times(5))
        report = lake.verify(deep=True)
        assert report.ok, report.problems
        segments = sum(Path(file).stat().st_size for file in files)
        typed = typed_tables(lake, setting)
    result.tables += [measured, typed]
    wall = {line.name: line.wall_ms / 1e3 for line in measured.lines}
    result.add("deep", "", rows * batches / wall[DEEP], "events/s", 1_000_000, at_most=False)
    cpu = (measured.get(DEEP, "cpu_ms") or 0) / 1e3 / (rows * batches / 1e6)
    result.add("deep: CPU of a million events", "", cpu, "s")
    result.add("deep, with schemas and event tables", "", typed.lines[0].per_second, "events/s")
    result.add(
        "shallow, all bytes that it reads",
        "",
        report.size_bytes / wall[SHALLOW] / 1e9,
        "GB/s",
        1.0,
        at_most=False,
    )
    result.add("sha256 of the segments alone, the floor", "", segments / wall[FLOOR] / 1e9, "GB/s")
    result.note(
        f"Data: {setting.source}, {batches} appends. {report.size_bytes / 1e6:,.0f} MB, of which segments {segments / 1e6:,.0f} MB."
    )
    result.note("Files are in the page cache.")
    return result
