"""Builds: an exact one beside the same query by hand, shared, from an earlier build, found again; the checks; the content hash.

Publishing and hashing are apart where the row says so: what is compared with a query by hand is
running the projection over the history.
"""

import time
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
from append import full_lake
from data import Setting, scratch
from measure import Candidate, Row, interleaved, taken
from schemas_of import schemas
from typed import TYPE

import eventlake as el
from eventlake.columns.hashing.content import content_hash
from eventlake.history.snapshot import Snapshot
from eventlake.projections.computation import Computation, Query
from eventlake.projections.kinds import prepare
from eventlake.projections.on_duckdb.exact import check_exact

TOTALS = f'SELECT subject, count(*) AS n, sum(amount) AS total, max(sequence) AS last FROM "{TYPE}" GROUP BY subject'
EVENTS = "SELECT subject, count(*) AS n, count(DISTINCT type) AS types, max(sequence) AS last FROM events GROUP BY subject"
MEAN = f'SELECT subject, sum(amount)::DOUBLE / count(amount) AS mean FROM "{TYPE}" GROUP BY subject'
DEVIATION = f"""
SELECT subject, CASE WHEN n > 1 THEN sqrt((n * squares - total * total)::DOUBLE / (n * (n - 1))::DOUBLE) END AS std FROM (
    SELECT subject, count(amount)::HUGEINT AS n, sum((amount * 100)::BIGINT) AS total,
        sum((amount * 100)::BIGINT::HUGEINT * (amount * 100)::BIGINT) AS squares FROM "{TYPE}" GROUP BY subject)
"""
WIDE = """
WITH ranked AS (SELECT *, row_number() OVER (PARTITION BY subject ORDER BY sequence DESC) AS r FROM events)
SELECT subject, count(*) AS n, count(DISTINCT type) AS types, max(sequence) FILTER (WHERE r = 10) AS tenth,
    list(sequence ORDER BY sequence) FILTER (WHERE r <= 5) AS lasts, max(data) AS most FROM ranked GROUP BY subject
"""


def projection(name: str, query: str, *, by: bool = True) -> el.Projection:
    """One by subject."""
    return el.Projection.sql(name, query, key=["subject"], by="subject" if by else None)


def exact_build(result: Row, snapshot: Snapshot, rounds: int) -> None:
    """An exact projection beside the same query by hand over the same files, and exact means beside those of doubles."""
    history = snapshot.history
    locations = [part.location for part in history.table(TYPE).parts]
    hand = f"read_parquet({locations})"

    def by_hand(query: str) -> None:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.sql(query.replace(f'"{TYPE}"', hand)).to_arrow_table()

    for name, query, other, limit in (
        ("sums and counts", TOTALS, TOTALS, 1.15),
        (
            "mean",
            MEAN,
            MEAN.replace("sum(amount)::DOUBLE / count(amount)", "avg(amount::DOUBLE)"),
            1.1,
        ),
        (
            "std",
            DEVIATION,
            f'SELECT subject, stddev_samp(amount::DOUBLE) AS std FROM "{TYPE}" GROUP BY subject',
            1.4,
        ),
    ):
        wanted = projection(name.replace(" ", "_"), query)
        candidates = [
            Candidate("by hand", lambda other=other: by_hand(other)),
            Candidate("exact", lambda wanted=wanted: prepare(Computation(wanted, history)).rows()),
        ]
        measured = interleaved(
            f"{name} per subject, {snapshot.watermark:,} events",
            snapshot.watermark,
            candidates,
            rounds,
        )
        result.tables.append(measured)
        result.add(
            f"exact build, {name}: wall",
            "the query by hand",
            measured.get("exact", "x_wall"),
            "x",
            limit,
        )


def workers(result: Row, lake: el.Lake, rounds: int) -> None:
    """The same buckets by one worker process and by two."""
    wanted = projection("wide", WIDE)
    candidates = [
        Candidate(
            f"{count} worker{'s' * (count > 1)}",
            lambda count=count: lake.build(wanted, force=True, workers=count, buckets=8),
        )
        for count in (1, 2)
    ]
    measured = interleaved(
        f"{lake.watermark:,} events in 8 buckets, published", lake.watermark, candidates, rounds
    )
    result.tables.append(measured)
    one, two = (measured.get(name, "wall_ms") or 0 for name in ("1 worker", "2 workers"))
    result.add("two workers, whole build", "one", one / two, "x", 1.7, at_most=False)


def incremental(result: Row, lake: el.Lake, rounds: int) -> None:
    """One entity in a hundred has new events."""
    subjects = lake.snapshot().scan(["subject"]).unique().collect()["subject"].sort().to_list()
    figures: dict[str, list[float]] = {"in full": [], "incremental": []}
    for number in range(rounds):
        for name, query in (("totals", EVENTS), ("wide", WIDE)):
            wanted = projection(f"{name}{number}", query)
            lake.build(wanted)
        changed = subjects[number::100]
        rows = [
            {"id": f"new-{number}-{at}", "source": "new", "type": "note", "subject": subject}
            for at, subject in enumerate(changed)
        ]
        lake.append(rows)
        for name, query in (("totals", EVENTS), ("wide", WIDE)):
            wanted = projection(f"{name}{number}", query)
            whole = taken(lambda wanted=wanted: lake.build(wanted, force=True))
            full = lake.build(wanted)
            for item in lake.snapshot().history.storage.list(
                f"builds/{wanted.name}/{full.manifest_hash[:12]}"
            ):
                lake.snapshot().history.storage.delete(item.path)
            part = taken(lambda wanted=wanted: lake.build(wanted))
            assert lake.build(wanted).content_hash == full.content_hash
            figures.setdefault(f"{name} in full", []).append(whole.wall * 1000)
            figures.setdefault(f"{name} incremental", []).append(part.wall * 1000)
    for name in ("totals", "wide"):
        full, part = (
            float(np.median(figures[f"{name} in full"])),
            float(np.median(figures[f"{name} incremental"])),
        )
        result.add(f"{name} in full: hashing the history, running, publishing", "", full, "ms")
        result.add(f"{name} incremental, 1 % of {len(subjects):,} subjects changed", "", part, "ms")
        limit = 15.0 if full >= 5_000 else max(full / 350, 1.0)
        result.add(f"{name} incremental", "in full", full / part, "x", limit, at_most=False)


def small(result: Row, lake: el.Lake) -> None:
    """A recipe found again, the checks of a query and of a build, the content hash of a frame."""
    wanted = projection("totals", EVENTS)
    lake.build(wanted)
    lake.build(wanted)
    hits = [taken(lambda: el.open(lake.uri).build(wanted)).wall * 1000 for _ in range(15)]
    result.add("recipe hit, lake opened anew", "", float(np.median(hits)), "ms", 50)
    history = lake.snapshot().history
    checks = [
        taken(lambda: check_exact(Query("wide", WIDE, history))).wall * 1000 for _ in range(15)
    ]
    result.add("allow-list, one query", "", float(np.median(checks)), "ms", 20)
    once = [
        taken(lambda: lake.build(wanted, force=True, incremental=False)).wall * 1000
        for _ in range(3)
    ]
    twice = [
        taken(lambda: lake.build(wanted, force=True, incremental=False, check="perturb")).wall
        * 1000
        for _ in range(3)
    ]
    result.add(
        "perturbed build, beside the build itself",
        "one build",
        float(np.median(twice)) / float(np.median(once)) - 1,
        "x",
        2.5,
    )
    draw = np.random.default_rng(1)
    frame = pa.table({f"c{number}": draw.integers(0, 1 << 40, 2_000_000) for number in range(8)})
    frame = frame.append_column(
        "s", pl.Series([f"/loan/{number}" for number in range(2_000_000)]).to_arrow()
    )
    took = [taken(lambda: content_hash(frame)).wall * 1000 for _ in range(5)]
    result.add(
        "content hash",
        "",
        frame.nbytes / 1e9 / (float(np.median(took)) / 1000),
        "GB/s",
        1,
        at_most=False,
    )


def row(setting: Setting) -> Row:
    """Measures the row."""
    rows, batches = setting.size(1_000_000, 50_000), 10
    result = Row("builds", f"builds over {rows * batches:,} events in {batches} segments")
    with scratch() as folder:
        events = setting.events(rows)
        lake = full_lake(events, Path(folder) / "lake", batches)
        for event_type, schema in schemas(events).items():
            lake.register(event_type, schema)
        snapshot = lake.snapshot()
        snapshot.table(TYPE).select("sequence").collect()
        exact_build(result, snapshot, setting.times(5))
        workers(result, lake, setting.times(2))
        small(result, lake)
        incremental(result, lake, setting.times(2))
        began = time.monotonic()
        lake.gc(older_than=timedelta(0))
        result.note(
            f"Every figure is of this run. Looking for garbage took {time.monotonic() - began:.1f} s."
        )
    return result
