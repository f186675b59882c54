"""Events of an import are the same, and in the same order, whatever fits into memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlake as el
from eventlake.database import DEFAULT
from eventlake.importing import database
from eventlake.importing.import_file import staged_events
from eventlake.importing.mapping import read_mapping
from eventlake.importing.placed_rows import PlacedRows, stops_of
from eventlake.importing.rules import Table

EVENTS = {
    "source": "till",
    "id": "{id}",
    "type": "sale",
    "subject": "/shop/{shop}",
    "time": {"column": "time"},
    "data": {"text": {"column": "text"}},
}
ROWS = 90


def csv_of(folder, rows=ROWS):
    """Rows in no order, some of them long."""
    file = folder / "sales.csv"
    lines = ["id,shop,time,text"]
    for n in range(rows):
        at = (n * 7919) % rows
        text = "é" * (at % 97 if at % 20 else 3_000)
        lines.append(f"{n},{n % 5},2026-01-01T{at // 60:02}:{at % 60:02}:00Z,{text}")
    file.write_text("\n".join(lines) + "\n")
    return file


def staged(file, mapping, most_bytes):
    """All events, in order, and the largest size of a part."""
    with staged_events(file, read_mapping(mapping), most_bytes) as (events, problems):
        assert not problems
        parts = list(events.parts(0, events.total))
        batches = [events.batch(start, stop) for start, stop in events.batches()]
        read = [pq.read_table(one) if isinstance(one, Path) else one for one in batches[-1:]]
        start, stop = list(events.batches())[-1]
        assert read[0].equals(events.events(start, stop))
        places = events.places(0, events.total)
        kinds = {type(one) for one in batches}
        return pa.concat_tables(parts), max(part.nbytes for part in parts), places, kinds


@pytest.mark.parametrize(
    "order",
    [{}, {"order": "file"}],
    ids=["time", "file"],
)
@pytest.mark.parametrize("blocks", [1, 2])
def test_events_are_staged_alike_whatever_fits_into_memory(tmp_path, order, blocks):
    file = csv_of(tmp_path)
    more = [EVENTS, EVENTS | {"id": "second {id}", "type": "refund"}][:blocks]
    mapping = {"events": more, "batch_events": 60, **order}
    whole, _, places, kinds = staged(file, mapping, 1 << 30)
    assert kinds == {pa.Table}
    assert whole.num_rows == blocks * ROWS
    for most_bytes in (2_000, 9_000):
        found, largest, found_places, kinds = staged(file, mapping, most_bytes)
        assert found.equals(whole)
        assert found_places == places
        # A single event may be larger.
        assert largest <= max(most_bytes, 8_000)
        assert type(tmp_path) in kinds


def test_an_import_in_many_parts_makes_the_same_history(tmp_path, monkeypatch):
    file, mapping = csv_of(tmp_path), {"events": [EVENTS], "batch_events": 40}
    whole = el.create("memory://", "import.example/lake")
    el.import_file(whole, file, mapping)
    # A process with less memory than the rows of a batch take.
    monkeypatch.setenv("EVENTLAKE_MEMORY", "1MB")
    small = el.create("memory://", "import.example/lake")
    done = el.import_file(small, file, mapping)
    assert done.appended == ROWS
    assert small.checkpoint == whole.checkpoint
    assert not el.import_file(small, file, mapping).appended
    # Who has more memory resumes what was begun with less.
    monkeypatch.delenv("EVENTLAKE_MEMORY")
    assert not el.import_file(small, file, mapping).appended


@given(st.permutations(range(40)), st.lists(st.integers(1, 400), min_size=8, max_size=8))
def test_placed_rows_are_read_in_the_order_of_their_places(tmp_path_factory, places, sizes):
    stops = stops_of(sizes, 5, 500)
    assert stops == sorted(set(stops))
    assert stops[-1] == 40
    placed = PlacedRows(tmp_path_factory.mktemp("placed"), stops)
    for start in range(0, 40, 7):
        some = np.array(places[start : start + 7])
        placed.add(pa.table({"n": some, "text": [f"row {n}" for n in some]}), some)
    files = [table.column("n").to_pylist() for table in placed.in_order()]
    assert [n for file in files for n in file] == list(range(40))
    assert [file[-1] + 1 for file in files] == stops


@given(st.lists(st.integers(0, 100), min_size=1), st.integers(1, 9), st.integers(1, 300))
def test_files_of_placed_rows_are_bounded_unless_one_step_is_larger(sizes, step, most_bytes):
    stops = [0, *stops_of(sizes, step, most_bytes)]
    for start, stop in zip(stops, stops[1:], strict=False):
        held = sizes[start // step : stop // step]
        assert sum(held) <= most_bytes or len([size for size in held if size]) == 1


def test_the_memory_of_an_import_is_bounded_unless_its_mapping_has_queries(monkeypatch):
    monkeypatch.setenv("EVENTLAKE_MEMORY", "1GB")
    plain = [Table("a", "a.csv", None)]
    assert database.resources_of(plain).memory == "250MB"
    monkeypatch.setenv("EVENTLAKE_MEMORY", "100GB")
    assert database.resources_of(plain).memory == "512MB"
    assert database.resources_of([*plain, Table("b", None, "FROM a")]) == DEFAULT
