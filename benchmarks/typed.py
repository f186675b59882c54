"""Event tables: reading one field, finding one subject, deriving them; and checking payloads at append.

*Typed read* sums one field of one type: from our table, from the JSON in the segments (as each
engine does it, through doubles), and from a Parquet file of just these rows with just these types,
written by hand. *Derive* makes the tables of all types in a process that has none; its floor is
writing the same events as segments would be.
"""

import shutil
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from append import ORIGIN, full_lake, of_many_types, registered
from data import Setting, emptied, scratch
from measure import Candidate, Row, interleaved
from schemas_of import schemas

import eventlake as el
from eventlake.columns.parquet import segments
from eventlake.history.snapshot import Snapshot

TYPE, FIELD, SUBJECT = "payment.received", "amount", "/loan/7-0000"
COPIES = 42
"""Types that each type is cut into, for some 500 in all."""


def typed_read(result: Row, snapshot: Snapshot, folder: Path, rounds: int) -> None:
    """Sums a field three ways on each engine."""
    table = snapshot.table(TYPE).sort("sequence").collect()
    by_hand = folder / "by-hand.parquet"
    pq.write_table(
        table.to_arrow(compat_level=pl.CompatLevel.oldest()),
        by_hand,
        compression="zstd",
        compression_level=1,
    )
    locations = snapshot.history.locations()
    expected = table[FIELD].sum()
    json_sql = f"SELECT sum((data ->> '{FIELD}')::DECIMAL(18, 2)) FROM read_parquet(?) WHERE type = '{TYPE}'"
    ours, hand, text = "event table", "hand-written typed Parquet", "JSON in the segments"
    duck = [
        Candidate(text, lambda: duckdb.connect().execute(json_sql, [locations]).fetchall()),
        Candidate(
            hand,
            lambda: (
                duckdb.connect()
                .execute(f"SELECT sum({FIELD}) FROM read_parquet(?)", [str(by_hand)])
                .fetchall()
            ),
        ),
        Candidate(ours, lambda: snapshot.sql(f'SELECT sum({FIELD}) FROM "{TYPE}"').arrow()),
    ]
    amount = pl.col("data").str.json_path_match(f"$.{FIELD}").cast(pl.Decimal(18, 2)).sum()
    polars = [
        Candidate(
            text,
            lambda: (
                pl.scan_parquet(locations).filter(pl.col("type") == TYPE).select(amount).collect()
            ),
        ),
        Candidate(hand, lambda: pl.scan_parquet(by_hand).select(pl.col(FIELD).sum()).collect()),
        Candidate(ours, lambda: snapshot.table(TYPE).select(pl.col(FIELD).sum()).collect()),
    ]
    assert snapshot.sql(f'SELECT sum({FIELD}) AS s FROM "{TYPE}"').polars()["s"].item() == expected
    assert snapshot.table(TYPE).select(pl.col(FIELD).sum()).collect().item() == expected
    for engine, candidates in (("DuckDB", duck), ("Polars", polars)):
        measured = interleaved(
            f"sum of {TYPE}.{FIELD}, {engine}, {table.height:,} rows",
            table.height,
            candidates,
            rounds,
        )
        result.tables.append(measured)
        of_text, of_hand, of_ours = (
            measured.get(name, "wall_ms") or 0 for name in (text, hand, ours)
        )
        result.add(f"typed read, {engine}: wall", "JSON extraction", of_ours / of_text, "x", 0.2)
        result.add(
            f"typed read, {engine}: wall", "hand-written typed Parquet", of_ours / of_hand, "x", 1.2
        )


def one_subject(result: Row, snapshot: Snapshot, rounds: int) -> None:
    """One subject's events of one type, and of every type."""
    types = list(snapshot.types())
    rows = snapshot.table(TYPE, subject=SUBJECT).collect().height
    every = sum(snapshot.table(one, subject=SUBJECT).collect().height for one in types)
    assert every == snapshot.scan(subject=SUBJECT, columns=["sequence"]).collect().height > 0
    candidates = [
        Candidate(
            "scan(subject=…) over the segments", lambda: snapshot.scan(subject=SUBJECT).collect()
        ),
        Candidate(
            "table(type, subject=…)", lambda: snapshot.table(TYPE, subject=SUBJECT).collect()
        ),
        Candidate(
            "table(…, subject=…) of every type",
            lambda: [snapshot.table(one, subject=SUBJECT).collect() for one in types],
        ),
    ]
    measured = interleaved(
        f"one subject out of {snapshot.watermark:,} events, warm", every, candidates, rounds
    )
    result.tables.append(measured)
    result.add(
        f"one subject, {rows:,} events of one type",
        "",
        measured.get("table(type, subject=…)", "wall_ms"),
        "ms",
        20,
    )
    result.add(
        f"one subject, {every:,} events of {len(types)} types",
        "",
        measured.get("table(…, subject=…) of every type", "wall_ms"),
        "ms",
    )


def deriving(result: Row, events: pa.Table, folder: Path, rounds: int) -> None:
    """The tables of all types from one segment: of one type, of those there are, of hundreds."""
    of_one = events.filter(pc.equal(events.column("type"), TYPE))
    for table in (of_one, events, of_many_types(events, COPIES)):
        lake = registered(table, folder / "derived")
        lake.append(table)
        _derive_all(result, table, lake, folder / "derived" / "tables", rounds)


def _derive_all(result: Row, events: pa.Table, lake: el.Lake, tables: Path, rounds: int) -> None:
    snapshot, types = lake.snapshot(), list(lake.schemas())
    every = " UNION ALL ".join(f'SELECT count(*) FROM "{event_type}"' for event_type in types)
    derive = "deriving the tables of all types"
    candidates = [
        Candidate("writing the events as a segment", lambda: segments.encode(events)),
        Candidate(
            derive, lambda: snapshot.sql(every), lambda: shutil.rmtree(tables, ignore_errors=True)
        ),
    ]
    what = f"{events.num_rows:,} events of {len(types):,} types"
    measured = interleaved(f"derive, {what}", events.num_rows, candidates, rounds)
    result.tables.append(measured)
    against = "writing the segments"
    result.add(f"derive, {what}: CPU", against, measured.get(derive, "x_cpu"), "x", 2.5)
    result.add(f"derive, {what}: wall", against, measured.get(derive, "x_wall"), "x")


def validating(result: Row, events: pa.Table, folder: Path, rounds: int) -> None:
    """An append into a lake without schemas, and into one with a schema for every type."""
    plain, typed = folder / "plain", folder / "typed"
    described = schemas(events)

    def made() -> None:
        el.create(emptied(plain), ORIGIN)
        lake = el.create(emptied(typed), ORIGIN)
        for event_type, schema in described.items():
            lake.register(event_type, schema)

    candidates = [
        Candidate("append, no schemas", lambda: el.open(plain).append(events), made),
        Candidate("append, a schema for every type", lambda: el.open(typed).append(events)),
    ]
    measured = interleaved(
        f"validate, {events.num_rows:,} events of {len(described)} types",
        events.num_rows,
        candidates,
        rounds,
    )
    result.tables.append(measured)
    result.add(
        "validate: wall",
        "append without",
        measured.get("append, a schema for every type", "x_wall"),
        "x",
        1.4,
    )
    result.add(
        "validate: CPU",
        "append without",
        measured.get("append, a schema for every type", "x_cpu"),
        "x",
        1.4,
    )


def row(setting: Setting) -> Row:
    """Measures the row."""
    rows, batches = setting.size(1_000_000, 50_000), 10
    result = Row(
        "typed",
        f"typed events: a lake of {rows * batches:,} events in {batches} segments with a schema for every type",
    )
    events = setting.events(rows)
    with scratch() as folder:
        validating(result, events, folder, setting.times(5))
        deriving(result, events, folder, setting.times(5))
        lake = full_lake(events, folder / "lake", batches)
        for event_type, schema in schemas(events).items():
            lake.register(event_type, schema)
        typed_read(result, lake.snapshot(), folder, setting.times(11))
        one_subject(result, lake.snapshot(), setting.times(11))
    result.note(
        f"Data: {setting.source}. Files in the page cache; a process that has read the tables before."
    )
    result.note(
        "Reading amounts out of JSON text goes through doubles on both engines; the event table does not."
    )
    return result
