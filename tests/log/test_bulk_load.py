"""A Parquet file that is too large for one segment is stored part by part, and is one commit all the same."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.errors import ConflictError, InvalidEventsError
from eventlake.storage import MemoryStorage
from eventlake.testing.invariants import assert_sound
from tests.support.limits import limited
from tests.support.rivals import BetweenSegments

INSTANT = pa.timestamp("us", tz="UTC")


def small_parts(storage):
    """A lake in which ten rows are a part."""
    return limited(el.create(storage, "o"), batch={"segment_rows": 10})


def table(rows=37, **columns):
    numbers = range(rows)
    made = {
        "id": [f"e{n}" for n in numbers],
        "source": ["s"] * rows,
        "type": ["t"] * rows,
        "subject": [f"/{n % 5}" for n in numbers],
    }
    return pa.table(made | {"data": [f'{{"n": {n}}}' for n in numbers]} | columns)


def file(tmp_path, events, **how):
    pq.write_table(events, tmp_path / "events.parquet", **how)
    return tmp_path / "events.parquet"


@pytest.mark.parametrize("group", [3, 10, 25, 1_000])
@pytest.mark.parametrize("rows", [11, 20, 37])
def test_parts_make_the_history_that_the_whole_makes(tmp_path, rows, group):
    whole, parts = small_parts("memory://"), small_parts(MemoryStorage())
    whole.append([{"id": "before", "source": "s", "type": "t"}])
    parts.append([{"id": "before", "source": "s", "type": "t"}])
    receipt = parts.append(file(tmp_path, table(rows), row_group_size=group))
    assert receipt.checkpoint == whole.append(table(rows)).checkpoint
    assert (receipt.start, receipt.stop) == (1, rows + 1)
    assert len(parts.log()[-1].commit.segments) == -(-rows // 10)
    assert_sound(parts, [(receipt, [f"e{n}" for n in range(rows)])])
    with pytest.raises(InvalidEventsError, match="in the lake already, at sequence 1"):
        parts.append(table(1))
    assert (
        parts.append(
            [{"id": "x", "source": "s", "type": "t"}],
            expect=[el.populated("/4"), el.pristine("/5")],
        ).count
        == 1
    )


def test_problems_of_all_parts_are_told_by_their_rows_in_the_file_and_nothing_is_appended(tmp_path):
    lake = small_parts(MemoryStorage())
    lake.append(table(1))
    events = table()
    ids, types = events["id"].to_pylist(), events["type"].to_pylist()
    types[5], types[33], ids[20] = None, "events", ids[12]
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(file(tmp_path, table(id=ids, type=types)))
    assert [(problem.row, problem.field) for problem in caught.value.problems] == [
        (5, "type"),
        (33, "type"),
    ]
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(file(tmp_path, table(id=ids)))
    assert [(problem.row, problem.found) for problem in caught.value.problems] == [(0, ("s", "e0"))]
    lake = small_parts(MemoryStorage())
    with pytest.raises(InvalidEventsError, match="row 12 has it already") as caught:
        lake.append(file(tmp_path, table(id=ids)))
    assert [(problem.row, problem.found) for problem in caught.value.problems] == [
        (20, ("s", "e12"))
    ]
    within = table()["id"].to_pylist()
    within[27] = within[23]
    with pytest.raises(InvalidEventsError, match=r"row 27, field id: .* row 23 has it already"):
        lake.append(file(tmp_path, table(id=within)))
    assert lake.watermark == 0
    assert lake.append(file(tmp_path, table())).count == 37


def test_clocks_and_sequences_go_on_from_part_to_part(tmp_path):
    lake = small_parts(MemoryStorage())
    clock = pa.array([1_700_000_000_000_000 + n // 4 for n in range(37)]).cast(INSTANT)
    assert (
        lake.append(file(tmp_path, table(recorded_at=clock, sequence=list(range(37))))).count == 37
    )
    assert lake.snapshot().scan().collect()["recorded_at"].to_list() == clock.to_pylist()
    back = pa.concat_arrays([clock[10:20], clock[0:27]])
    lake = small_parts(MemoryStorage())
    with pytest.raises(
        InvalidEventsError, match=r"row 10, field recorded_at: expected non-decreasing"
    ):
        lake.append(file(tmp_path, table(recorded_at=back)))
    with pytest.raises(InvalidEventsError, match=r"row 20, field sequence: expected dense"):
        lake.append(file(tmp_path, table(sequence=[*range(20), *range(21, 38)])))
    with pytest.raises(ConflictError, match="the batch expects the sequences from 5"):
        lake.append(file(tmp_path, table(sequence=list(range(5, 42)))))
    with pytest.raises(ConflictError, match="/loan"):
        lake.append(file(tmp_path, table()), expect=[el.populated("/loan")])
    assert lake.watermark == 0


def test_only_the_first_instant_of_a_part_may_be_too_early(tmp_path):
    lake = small_parts(MemoryStorage())
    instants = [*range(100, 110), 105, *range(120, 129)]
    clock = pa.array([1_700_000_000_000_000 + instant for instant in instants]).cast(INSTANT)
    with pytest.raises(InvalidEventsError, match="expected non-decreasing") as caught:
        lake.append(file(tmp_path, table(20, recorded_at=clock)))
    (problem,) = caught.value.problems
    assert (problem.row, problem.field) == (10, "recorded_at")
    assert problem.found == clock[10].as_py()


def test_rivals_between_the_parts(tmp_path):
    """Another writer commits, takes one of the ids, or collects garbage, while the parts are stored."""

    storage = BetweenSegments()
    lake, rival = small_parts(storage), el.open(storage)
    storage.met = [
        lambda: rival.append([{"id": "r1", "source": "s", "type": "t"}]),
        lambda: None,
        lambda: rival.gc(older_than=timedelta(0), dry_run=False),
    ]
    receipt = lake.append(file(tmp_path, table()))
    assert storage.met == []
    assert_sound(lake, [(receipt, [f"e{n}" for n in range(37)])])
    assert receipt.start == 1
    storage.met = [lambda: rival.append([{"id": "f30", "source": "s", "type": "t"}])]
    with pytest.raises(InvalidEventsError, match=r"row 30, field id.*at sequence 38"):
        lake.append(file(tmp_path, table(id=[f"f{n}" for n in range(37)])))
    assert_sound(lake)
    assert lake.watermark == 39


def test_a_file_of_few_events_that_are_more_than_a_part_of_memory_is_stored_in_parts(
    tmp_path, monkeypatch
):
    texts = [f'{{"text": "{number:02000}"}}' for number in range(200)]
    path = file(tmp_path, table(200, data=texts))
    whole, parts = el.create("memory://", "o"), el.create("memory://", "o")
    whole.append(path)
    # Parts of 100 kB.
    monkeypatch.setenv("EVENTLAKE_MEMORY", "1MB")
    monkeypatch.setattr("eventlake.log.appending.read_events.part_bytes", lambda: 100_000)
    monkeypatch.setattr("eventlake.columns.parquet.foreign_files.part_bytes", lambda: 100_000)
    receipt = parts.append(path)
    assert len(parts.log()[-1].commit.segments) > 3
    assert len(whole.log()[-1].commit.segments) == 1
    assert receipt.checkpoint == whole.checkpoint
    assert parts.verify(deep=True).ok
