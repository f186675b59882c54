"""Lost races: another lake commits between our reading of the head and our commit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.errors import ConflictError, InvalidEventsError
from eventlake.storage import MemoryStorage
from eventlake.testing.strategies import stored_events
from tests.scope import examples
from tests.support import naive
from tests.support.events import as_arrow, as_dicts, cut, rows_of
from tests.support.rivals import Rivalled


def event(name, **more):
    return {"id": name, "source": "s", "type": "t"} | more


@settings(max_examples=examples(25))
@given(
    stored_events(min_size=2, corrections=False),
    st.lists(st.integers(0, 100), max_size=4),
    st.integers(0, 3),
)
def test_after_lost_races_every_batch_is_in_at_dense_sequences_and_the_root_is_that_of_the_committed_order(
    history, cuts, after
):
    batches = cut(history, cuts)
    storage = Rivalled()
    lake = el.create(storage, "o")
    before, ours, rivals = (
        batches[: after % len(batches)],
        batches[after % len(batches)],
        batches[after % len(batches) + 1 :],
    )
    for batch in before:
        lake.append(as_dicts(batch))
    storage.rivals = [as_arrow(batch) for batch in rivals]
    receipt = lake.append(as_arrow(ours))
    committed = [model for batch in (*before, *rivals, ours) for model in batch]
    assert (receipt.start, receipt.stop) == (len(committed) - len(ours), len(committed))
    assert receipt.checkpoint.root == naive.root(committed) == el.open(storage).snapshot().root
    found = rows_of(lake.snapshot().scan(columns=["sequence", "source", "id"]).collect())
    assert found == [
        {"sequence": n, "source": e["source"], "id": e["id"]} for n, e in enumerate(committed)
    ]
    assert [(e.commit.start, e.commit.stop) for e in lake.log()] == bounds([*before, *rivals, ours])
    assert lake.verify(deep=True).ok


def bounds(batches):
    ends = [sum(map(len, batches[: n + 1])) for n in range(len(batches))]
    return list(zip([0, *ends], ends, strict=False))


def test_a_lost_race_leaves_no_second_segment_behind():
    storage = Rivalled()
    lake = el.create(storage, "o")
    storage.rivals = [[event("a")], [event("b")]]
    lake.append([event("ours")])
    assert len(list(storage.list("segments"))) == 3
    assert lake.verify(deep=True).notes == ()


def test_a_race_lost_to_a_duplicate_is_refused_and_the_rivals_batch_stays():
    storage = Rivalled()
    lake = el.create(storage, "o")
    storage.rivals = [[event("first"), event("same", data=1)]]
    with pytest.raises(InvalidEventsError) as caught:
        lake.append([event("new"), event("same", data=2)])
    assert [(problem.row, problem.field) for problem in caught.value.problems] == [(1, "id")]
    assert "at sequence 1" in str(caught.value)
    assert lake.snapshot().scan(columns=["id", "data"]).collect().rows() == [
        ("first", None),
        ("same", "1"),
    ]
    report = lake.verify(deep=True)
    assert report.ok
    assert [note.path.partition("/")[0] for note in report.notes] == ["segments"]


def test_a_race_lost_by_a_batch_that_names_its_sequences_is_a_conflict():
    storage = Rivalled()
    lake = el.create(storage, "o")
    storage.rivals = [[event("rival")]]
    with pytest.raises(ConflictError) as caught:
        lake.append([event("a", sequence=0), event("b", sequence=1)])
    assert caught.value.facts == {"expected": 1, "found": 0}
    assert lake.watermark == 1


def test_a_race_lost_by_a_copied_history_to_a_later_head_is_refused():
    storage = Rivalled()
    lake = el.create(storage, "o")
    storage.rivals = [[event("rival")]]
    with pytest.raises(InvalidEventsError) as caught:
        lake.append([event("old", recorded_at="2020-01-01T00:00:00Z")])
    assert [(problem.row, problem.field) for problem in caught.value.problems] == [
        (0, "recorded_at")
    ]
    assert lake.watermark == 1


def test_a_writer_that_lost_a_race_commits_no_earlier_than_the_winner(monkeypatch):
    storage = Rivalled()
    lake = el.create(storage, "o")
    clock = iter([1_000, 2_000])
    monkeypatch.setattr("eventlake.lake._now", lambda: next(clock))
    storage.rivals = [[event("rival")]]
    assert lake.append([event("ours")]).recorded_at == 2_000


def test_a_lake_opened_while_another_writer_commits_twice_is_opened():
    class Busy(MemoryStorage):
        """Another writer commits twice between the reading of the hint and what follows."""

        def exists(self, path):
            """As ``MemoryStorage``, after two more commits."""
            if not hasattr(self, "done"):
                self.done = True
                writer.append([event("b")])
                writer.append([event("c")])
            return super().exists(path)

    storage = Busy()
    writer = el.create(storage, "o")
    writer.append([event("a")])
    assert el.open(storage).watermark == 3
