"""Event tables that are stored nowhere."""

import gc
from pathlib import Path

import polars as pl
import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.errors import StorageError
from eventlake.history import polars_scan
from eventlake.tables import temporary
from eventlake.tables.files import event_tables

SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "integer"}, "text": {"type": "string"}},
    "required": ["amount"],
}
ROWS = 500


def lake_of(rows, path="memory://"):
    lake = el.create(path, "temporary.example/lake")
    for kind in ("pay", "bill"):
        lake.register(kind, SCHEMA)
    times = [f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z" for n in range(rows)]
    events = [
        {
            "id": str(n),
            "source": "till",
            "type": "bill" if n % 3 else "pay",
            "subject": f"/{n % 7}",
            "time": times[n],
            "data": {"amount": n, "text": "x" * (n % 50)},
        }
        for n in range(rows)
    ]
    for start in range(0, rows, 100):
        lake.append(events[start : start + 100])
    return lake


def derived(history, most_bytes):
    versions = [history.catalogue.version(name) for name in ("pay", "bill")]
    return event_tables(
        history.storage,
        history.manifest,
        versions,
        history.watermark,
        history.trust,
        ignore_stored=True,
        most_bytes=most_bytes,
    )


def files_of(table):
    return [Path(part.location) for part in table.parts if part.location is not None]


@pytest.mark.parametrize("rows", [0, 1, ROWS])
@pytest.mark.parametrize("most_bytes", [1, 10_000, 1 << 30])
def test_tables_in_temporary_files_have_the_rows_of_tables_in_memory(rows, most_bytes):
    history = lake_of(rows).snapshot().history
    small, large = derived(history, most_bytes), derived(history, 1 << 40)
    for one, other in zip(small, large, strict=True):
        found = polars_scan.table(one).sort("sequence").collect()
        assert found.equals(polars_scan.table(other).sort("sequence").collect())
        assert not files_of(other)
        held = sum(part.rows.nbytes for part in one.parts if part.rows is not None)
        assert held < most_bytes or not found.height
    assert bool(files_of(small[0])) == (rows > 0 and most_bytes < 1 << 30)
    # Nothing was stored with the lake.
    assert not list(history.storage.list(layout.TABLES))


def test_temporary_files_are_removed_with_the_last_part_that_needs_them():
    history = lake_of(ROWS).snapshot().history
    table, _ = derived(history, 5_000)
    since = table.since(history.watermark - 1)
    files = files_of(table)
    assert len(files) > 1
    del table
    gc.collect()
    assert all(file.exists() for file in files)
    del since
    gc.collect()
    assert not any(file.exists() for file in files)


def test_without_room_for_files_the_rows_stay_in_memory(monkeypatch):
    def full():
        raise StorageError("the disk is full")

    monkeypatch.setattr(temporary, "new_folder", full)
    history = lake_of(ROWS).snapshot().history
    table, _ = derived(history, 10_000)
    assert not files_of(table)
    assert polars_scan.table(table).select(pl.len()).collect().item() == -(-ROWS // 3)


def test_a_history_that_ignores_stored_tables_derives_each_once(monkeypatch):
    history = lake_of(ROWS).snapshot().history
    ignoring = history.with_schemas({}, ignore_stored=True)
    first = ignoring.tables(["pay"])["pay"]
    assert ignoring.tables(["bill", "pay"])["pay"] is first
    assert ignoring.table("pay") is first
    # Earlier watermarks and other histories are others.
    assert ignoring.table_at("pay", 100) is not first
    assert history.with_schemas({}, ignore_stored=True).table("pay") is not first


def test_temporary_files_that_a_cleaner_removed_are_made_again():
    history = lake_of(ROWS).snapshot().history.with_schemas({}, ignore_stored=True)
    tables = [derived(history, 10_000)[0]]
    key = ("pay", tables[0].version.schema_hash, history.watermark)
    history._derived[key] = tables[0]

    def count():
        table = history.tables(["pay"])["pay"]
        if table is tables[0]:
            for file in files_of(table):
                file.unlink(missing_ok=True)
        return polars_scan.table(table).collect().height

    assert history.retry(count) == -(-ROWS // 3)
