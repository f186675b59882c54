"""Which ids the lake holds: fingerprints suspect, stored ids decide."""

import numpy as np
import pytest

import eventlake as el
from eventlake.columns.intake import envelope
from eventlake.core.documents.segment import Segment
from eventlake.errors import InvalidEventsError
from eventlake.storage import MemoryStorage
from tests.support.limits import limited

pytestmark = pytest.mark.every_case


def event(name, **more):
    return {"id": name, "source": "s", "type": "t"} | more


def test_a_fingerprint_met_again_is_only_a_suspicion(monkeypatch):
    monkeypatch.setattr(envelope, "event_keys", lambda events: np.zeros(len(events), np.uint64))
    lake = limited(el.create("memory://", "o"), batch={"few_rows": 0})
    for name in "abc":
        lake.append([event(name), event(name, source="other")])
    with pytest.raises(InvalidEventsError) as caught:
        lake.append([event("new"), event("b"), event("newer")])
    assert [(problem.row, problem.field) for problem in caught.value.problems] == [(1, "id")]
    assert lake.append([event("new")]).stop == 7


@pytest.mark.parametrize("reopened", [False, True])
def test_every_id_of_many_commits_of_any_size_is_known(reopened):
    storage = MemoryStorage()
    lake = el.create(storage, "o")
    sizes = [1, 7, 1, 1, 30, 2, 1, 1, 1, 5]
    names = [[f"{n}-{row}" for row in range(size)] for n, size in enumerate(sizes)]
    for batch in names:
        lake.append([event(name) for name in batch])
    lake = el.open(storage) if reopened else lake
    again = [event(name) for batch in names for name in batch]
    with pytest.raises(InvalidEventsError) as caught:
        lake.append([event("new"), *again])
    assert sorted(problem.row for problem in caught.value.problems) == list(
        range(1, len(again) + 1)
    )


def test_source_and_id_are_not_run_together():
    lake = el.create("memory://", "o")
    lake.append(
        [event("c", source="ab"), event("bc", source="a"), event("", source="abc") | {"id": "x"}]
    )
    assert lake.append([event("abc", source="x"), event("b", source="ac")]).stop == 5


def test_ids_in_several_segments_of_one_commit_are_known():
    lake = limited(el.create("memory://", "o"), batch={"segment_rows": 2})
    lake.append([event(str(n)) for n in range(5)])
    with pytest.raises(InvalidEventsError) as caught:
        lake.append([event("new"), event("4"), event("1")])
    assert sorted(problem.row for problem in caught.value.problems) == [1, 2]
    assert {n for n in range(5) if f"at sequence {n}" in str(caught.value)} == {1, 4}


def test_a_segment_without_a_dated_event_states_no_bounds_of_time():
    lake = limited(el.create("memory://", "o"), batch={"segment_rows": 2})
    lake.append([event("a"), event("b"), event("c", time="2026-01-31T12:00:00Z")])
    first, second = lake.log()[0].commit.segments
    assert isinstance(first, Segment)
    assert (first.undated, second.undated) == (2, 0)
    assert (first.time, second.time) == (None, (1_769_860_800_000_000,) * 2)
