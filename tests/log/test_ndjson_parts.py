"""An NDJSON file that is larger than a part is appended part by part, and is the same batch."""

import json

import pytest

import eventlake as el
from eventlake.errors import InvalidEventsError

ROWS = 400
MEMORY = "1MB"
"""Parts of 31 KB."""


def event(n, **more):
    return {
        "id": str(n),
        "source": "till",
        "type": "sale" if n % 3 else "refund",
        "subject": f"/shop/{n % 7}",
        "time": f"2026-01-01T{n // 60:02}:{n % 60:02}:00Z",
        "data": {"amount": n, "text": "é" * (n % 100)},
        **more,
    }


def written(path, events, end="\n"):
    path.write_text(end.join(json.dumps(one, ensure_ascii=False) for one in events) + end)
    return path


def appended(file, **options):
    lake = el.create("memory://", "parts.example/lake")
    receipt = lake.append(file, **options)
    return lake, receipt


@pytest.fixture
def small(monkeypatch):
    return lambda: monkeypatch.setenv("EVENTLAKE_MEMORY", MEMORY)


@pytest.mark.parametrize(
    "more", [{}, {"producer": "till", "position": 0}], ids=["plain", "position"]
)
def test_an_ndjson_file_in_parts_is_the_batch_that_it_is_as_a_whole(tmp_path, small, more):
    file = written(tmp_path / "events.ndjson", map(event, range(ROWS)), end="\n \n")
    whole, receipt = appended(file, **more)
    small()
    lake, in_parts = appended(file, **more)
    assert in_parts.checkpoint == receipt.checkpoint
    assert in_parts.count == ROWS
    assert len(lake.snapshot().history.stretches) > len(whole.snapshot().history.stretches)
    frames = [one.snapshot().scan().drop("recorded_at").collect() for one in (whole, lake)]
    assert frames[0].equals(frames[1])
    if more:
        assert lake.append(file, **more).repeated


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": None},
        {"time": "yesterday"},
        {"recorded_at": "2026-01-01T00:00:00Z"},
        {"sequence": 0},
        {"colour": 1, "Colour": 2},
    ],
    ids=["id", "time", "recorded_at", "sequence", "extension"],
)
def test_the_problems_of_a_file_in_parts_are_those_of_the_file(tmp_path, small, wrong):
    events = [event(n, **(wrong if n in {300, 390} else {})) for n in range(ROWS)]
    file = written(tmp_path / "events.jsonl", events)
    with pytest.raises(InvalidEventsError) as whole:
        appended(file)
    small()
    lake = el.create("memory://", "parts.example/lake")
    with pytest.raises(InvalidEventsError) as in_parts:
        lake.append(file)
    assert in_parts.value.problems == whole.value.problems
    assert lake.watermark == 0


def test_a_copied_history_in_parts_keeps_its_instants(tmp_path, small):
    events = [event(n, recorded_at=f"2026-02-01T00:{n // 60:02}:{n % 60:02}Z") for n in range(ROWS)]
    file = written(tmp_path / "events.json", events)
    whole, _ = appended(file)
    small()
    lake, _ = appended(file)
    assert lake.checkpoint == whole.checkpoint
    recorded = [one.snapshot().scan(["recorded_at"]).collect() for one in (whole, lake)]
    assert recorded[0].equals(recorded[1])


def test_an_id_that_two_parts_have_is_refused_by_its_row(tmp_path, small):
    file = written(tmp_path / "events.jsonl", [event(n % 390) for n in range(391)])
    small()
    lake = el.create("memory://", "parts.example/lake")
    with pytest.raises(InvalidEventsError, match="row 0 has it already") as caught:
        lake.append(file)
    assert [(one.row, one.field) for one in caught.value.problems] == [(390, "id")]
    assert lake.watermark == 0
