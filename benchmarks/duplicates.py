"""Finding ids that a lake of many events holds already: what it costs on disk, and how long it takes.

Timed is ``eventlake.log.appending.known_ids.known`` alone, the step of an append that asks whether
any ``(source, id)`` of a checked batch is in the lake. Hashing the batch's own ids is not in it:
the batch's check for duplicates within itself has done that before.
"""

import statistics
from datetime import timedelta
from itertools import count

import pyarrow as pa
from append import full_lake
from data import Setting, generation, scratch
from measure import Row, settle, taken

import eventlake as el
from eventlake.columns.intake.envelope import Batch
from eventlake.log.appending.known_ids import find_known
from eventlake.log.appending.read_events import checked_batch

FEW = 100


def new_batch(table: pa.Table, number: int, rows: int) -> Batch:
    """A checked batch of new events, with its ids hashed."""
    batch = checked_batch(generation(table.slice(0, rows), number))
    assert len(batch.sorted_keys) == rows
    return batch


def milliseconds(lake: el.Lake, batch: Batch, expected: int = 0) -> float:
    """How long the lake takes to say which events of the batch it holds."""
    settle()
    found: list[int] = []
    time = taken(lambda: found.append(len(find_known(lake._chain, batch)))).wall * 1e3  # noqa: SLF001 - one step of an append, by itself
    assert found == [expected], f"found {found} of {expected} known events"
    return time


def row(setting: Setting) -> Row:
    """Measures the row."""
    rows, batches, rounds = setting.size(1_000_000, 50_000), 10, setting.times(7)
    events = setting.events(rows)
    result = Row("duplicates", f"find known (source, id) in a lake of {rows * batches:,} events")
    with scratch() as folder:
        lake = full_lake(events, folder / "lake", batches)
        total = lake.watermark
        keys = folder / "lake" / "keys"
        before = sum(path.stat().st_size for path in keys.iterdir())
        lake.gc(older_than=timedelta(0), dry_run=False)
        after = sum(path.stat().st_size for path in keys.iterdir())
        files = len(list(keys.iterdir()))
        numbers = count(1000)
        cold_many = [
            milliseconds(el.open(folder / "lake"), new_batch(events, next(numbers), rows))
            for _ in range(rounds)
        ]
        cold_few = [
            milliseconds(el.open(folder / "lake"), new_batch(events, next(numbers), FEW))
            for _ in range(rounds)
        ]
        warm = el.open(folder / "lake")
        milliseconds(warm, new_batch(events, next(numbers), rows))
        many = [milliseconds(warm, new_batch(events, next(numbers), rows)) for _ in range(rounds)]
        few = [milliseconds(warm, new_batch(events, next(numbers), FEW)) for _ in range(rounds)]
        hits = [
            milliseconds(warm, new_batch(events, number % batches, FEW), FEW)
            for number in range(rounds)
        ]
    result.add("key files on disk", "", after / total, "bytes an id", 10)
    result.add(f"{rows:,} new ids, warm", "", statistics.median(many), "ms", 250)
    result.add(
        f"{rows:,} new ids, first question after opening", "", statistics.median(cold_many), "ms"
    )
    result.add(f"{FEW} new ids, warm", "", statistics.median(few), "ms", 5)
    result.add(
        f"{FEW} new ids, first question after opening", "", statistics.median(cold_few), "ms"
    )
    result.add(
        f"{FEW} ids of one batch that are known, to the event", "", statistics.median(hits), "ms"
    )
    result.note(
        f"Data: {setting.source}, {batches} appends of {rows:,}. {rounds} rounds; medians. 100 million ids are not measured."
    )
    result.note(
        f"The key files ({files} after lake.gc) hold the keys of subjects and commits too.",
        f"Before lake.gc the superseded ones are there as well: {before / total:.1f} bytes an id.",
    )
    result.note(
        "Warm: in a process that has asked before. The first question after opening reads key files from the page cache."
    )
    result.note(
        "The question is one step of an append, timed by itself. Known ids are confirmed by reading their segment."
    )
    return result
