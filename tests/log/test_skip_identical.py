"""``duplicates="skip_identical"``: what the lake holds to the last byte is left out, what differs is refused."""

import random
import threading
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

import eventlake as el
from eventlake.columns.intake import envelope
from eventlake.columns.keys import key_runs, keys
from eventlake.errors import ConflictError, InvalidEventsError, InvalidInputError
from eventlake.history.verifying import seen_events
from eventlake.log.chain import rebuild_keys
from eventlake.storage import LocalStorage, MemoryStorage
from tests.scope import STORAGES, scaled
from tests.support import naive
from tests.support.limits import SMALL_TIERS, limited
from tests.support.maintenance_fixtures import in_threads
from tests.support.rivals import Rivalled

SKIP = "skip_identical"


def event(name, **more):
    return {"id": name, "source": "s", "type": "t"} | more


def batch(name, rows, first=0):
    return [event(f"{name}-{row}", data={"row": row}) for row in range(first, first + rows)]


def ids(lake):
    return lake.snapshot().scan(["id"]).collect()["id"].to_list()


def problems(error):
    return [(problem.row, problem.field) for problem in error.value.problems]


@pytest.fixture(params=STORAGES)
def lake(request, tmp_path):
    return el.create("memory://" if request.param == "memory" else tmp_path / "lake", "o")


# One writer


def test_what_the_lake_holds_is_left_out_and_the_rest_follows(lake):
    assert lake.append(batch("a", 3), duplicates=SKIP).skipped == 0
    receipt = lake.append([*batch("a", 5), *batch("b", 1)], duplicates=SKIP)
    assert (receipt.start, receipt.stop, receipt.count, receipt.skipped) == (3, 6, 3, 3)
    assert ids(lake) == ["a-0", "a-1", "a-2", "a-3", "a-4", "b-0"]
    assert receipt.checkpoint == lake.checkpoint
    assert "3 in the lake already" in repr(receipt)
    assert lake.verify(deep=True).ok


def test_what_is_appended_keeps_the_order_of_the_batch(lake):
    lake.append([event("b"), event("d")])
    assert lake.append([event(name) for name in "edcba"], duplicates=SKIP).skipped == 2
    assert ids(lake) == ["b", "d", "e", "c", "a"]


def test_a_batch_of_which_nothing_is_left_commits_and_stores_nothing(lake):
    lake.append(batch("a", 3))
    before = [item.path for item in lake._chain.storage.list("")]
    receipt = lake.append(batch("a", 3), duplicates=SKIP)
    assert (
        receipt.start,
        receipt.stop,
        receipt.skipped,
        receipt.commit_hash,
        receipt.recorded_at,
    ) == (3, 3, 3, None, None)
    assert receipt.checkpoint == lake.checkpoint
    assert "3 events in the lake already" in repr(receipt)
    assert [item.path for item in lake._chain.storage.list("")] == before


def test_an_empty_batch_skips_nothing(lake):
    assert lake.append([], duplicates=SKIP).skipped == 0
    assert lake.watermark == 0


def test_events_are_refused_where_nothing_is_said_about_duplicates(lake):
    lake.append(batch("a", 1))
    for said in ({}, {"duplicates": "refuse"}):
        with pytest.raises(InvalidEventsError, match="in the lake already, at sequence 0"):
            lake.append([*batch("b", 1), *batch("a", 1)], **said)
    assert lake.watermark == 1


@pytest.mark.parametrize("given", ["skip", "", "SKIP_IDENTICAL", None, True, 1, "refuse "])
def test_another_word_for_duplicates_is_refused(lake, given):
    with pytest.raises(InvalidInputError, match="expected duplicates='refuse' or 'skip_identical'"):
        lake.append(batch("a", 1), duplicates=given)
    assert lake.watermark == 0


def test_what_cannot_be_hashed_is_no_word_for_duplicates():
    lake = el.create("memory://", "o")
    with pytest.raises(InvalidInputError):
        lake.append(batch("a", 1), duplicates=[SKIP])


def test_rows_are_not_left_out_of_a_batch_that_has_a_position_or_names_its_sequences(lake):
    with pytest.raises(InvalidInputError, match="a producer's position is about the whole batch"):
        lake.append(batch("a", 1), producer="p", position=0, duplicates=SKIP)
    with pytest.raises(InvalidInputError, match="the column 'sequence' is about the whole batch"):
        lake.append([event("a", sequence=0)], duplicates=SKIP)
    assert lake.watermark == 0


def test_a_batch_that_names_its_sequences_and_holds_an_event_twice_is_refused_as_well():
    lake = el.create("memory://", "o")
    with pytest.raises(InvalidInputError):
        lake.append(
            [event("a", sequence=5), event("a", sequence=6), event("b", sequence=7)],
            duplicates=SKIP,
        )


# What is the same event


STORED = event(
    "it",
    subject="/a",
    time="2026-01-01T12:00:00Z",
    data='{"a":1,"b":[1.0]}',
    extensions={"x": 1, "y": "z"},
)

SAME = {
    "as it was": {},
    "an instant in another zone": {"time": "2026-01-01T13:00:00.000+01:00"},
    "extensions in another order": {"extensions": {"y": "z", "x": 1}},
    "extensions as text with blanks": {"extensions": '{ "y": "z", "x": 1 }'},
    "the payload's text as bytes": {"data": b'{"a":1,"b":[1.0]}'},
    "null for what is missing": {"correlation_id": None, "corrects": None, "dataschema": None},
}
OTHER = {
    "data with a blank": {"data": '{"a": 1,"b":[1.0]}'},
    "data in another order": {"data": '{"b":[1.0],"a":1}'},
    "a number spelled in another way": {"data": '{"a":1,"b":[1.00]}'},
    "other data": {"data": '{"a":2,"b":[1.0]}'},
    "no data": {"data": None},
    "another type": {"type": "u"},
    "another subject": {"subject": "/a/"},
    "no subject": {"subject": None},
    "another time": {"time": "2026-01-01T12:00:00.000001Z"},
    "no time": {"time": None},
    "other extensions": {"extensions": {"x": 1}},
    "no extensions": {"extensions": None},
    "one attribute more": {"correlation_id": "c"},
}


@pytest.mark.parametrize("more", SAME.values(), ids=SAME)
def test_an_event_is_the_same_however_its_attributes_are_handed_in(lake, more):
    lake.append([event("before"), STORED])
    receipt = lake.append([STORED | more], duplicates=SKIP)
    assert (receipt.count, receipt.skipped) == (0, 1)


@pytest.mark.parametrize("more", OTHER.values(), ids=OTHER)
def test_an_event_that_differs_anywhere_is_another_one(lake, more):
    lake.append([event("before"), STORED])
    with pytest.raises(InvalidEventsError, match="in the lake already, at sequence 1") as caught:
        lake.append([event("new"), STORED | more], duplicates=SKIP)
    assert problems(caught) == [(1, "id")]
    assert "other events with ids that are taken" in caught.value.hint
    assert ids(lake) == ["before", "it"]


def test_a_dict_is_the_same_event_as_the_table_and_the_file_of_it(lake, tmp_path):
    events = [event("a", data={"n": 1}, subject="/x"), event("b", data=None)]
    lake.append(events)
    frame = lake.snapshot().scan(["id", "source", "type", "subject", "data"]).collect()
    frame.write_parquet(tmp_path / "same.parquet")
    for same in (
        events,
        frame,
        frame.to_arrow(),
        tmp_path / "same.parquet",
        (one for one in events),
    ):
        assert lake.append(same, duplicates=SKIP).skipped == 2


def test_the_same_id_of_another_source_is_another_event_and_no_duplicate(lake):
    lake.append([event("a")])
    assert lake.append([event("a", source="t")], duplicates=SKIP).skipped == 0
    assert lake.watermark == 2


def test_when_an_event_was_recorded_is_no_part_of_it(lake):
    lake.append([event("a", recorded_at="2025-01-01T00:00:00Z")])
    receipt = lake.append(
        [
            event("a", recorded_at="2025-02-01T00:00:00Z"),
            event("b", recorded_at="2025-03-01T00:00:00Z"),
        ],
        duplicates=SKIP,
    )
    assert (receipt.count, receipt.skipped) == (1, 1)
    recorded = lake.snapshot().scan(["recorded_at"]).collect()["recorded_at"]
    assert [f"{instant:%Y-%m}" for instant in recorded] == ["2025-01", "2025-03"]
    assert lake.append([event("a"), event("b")], duplicates=SKIP).skipped == 2


def test_a_whole_history_is_copied_again_without_a_second_event(lake):
    lake.append([STORED, event("b")])
    lake.append(batch("c", 3))
    copy = el.create("memory://", "o")
    first = lake.snapshot(3).scan(raw=True).drop("sequence").collect()
    copy.append(first, duplicates=SKIP)
    receipt = copy.append(
        lake.snapshot().scan(raw=True).drop("sequence").collect(), duplicates=SKIP
    )
    assert (receipt.count, receipt.skipped) == (2, 3)
    assert copy.checkpoint == lake.checkpoint
    assert copy.snapshot().history.clock_hash() == lake.snapshot().history.clock_hash()


def test_events_are_known_again_in_compacted_segments(lake):
    for number in range(6):
        lake.append(
            [
                event(
                    f"{number}",
                    **({"subject": f"/{number}"} if number % 2 else {"data": {"n": number}}),
                )
            ]
        )
    lake.compact()
    lake.gc(older_than=timedelta(0), dry_run=False)
    again = [
        event(f"{number}", **({"subject": f"/{number}"} if number % 2 else {"data": {"n": number}}))
        for number in range(6)
    ]
    assert lake.append([*again, event("new")], duplicates=SKIP).skipped == 6
    with pytest.raises(InvalidEventsError) as caught:
        lake.append([*again[:3], again[3] | {"subject": "/4"}, event("newer")], duplicates=SKIP)
    assert problems(caught) == [(3, "id")]


# Rows of errors


def test_all_events_that_differ_are_named_by_their_rows_in_the_batch_as_it_was_given(lake):
    lake.append(batch("a", 6))
    given = batch("a", 6)
    given[2]["data"], given[5]["subject"] = {"row": "other"}, "/x"
    with pytest.raises(InvalidEventsError) as caught:
        lake.append([event("new"), *given, *batch("b", 2)], duplicates=SKIP)
    assert problems(caught) == [(3, "id"), (6, "id")]
    assert [problem.found for problem in caught.value.problems] == [("s", "a-2"), ("s", "a-5")]
    assert lake.watermark == 6


def test_of_events_that_stand_in_the_batch_more_than_once_the_first_stays(lake):
    a, b = event("a", data={"n": 1}), event("b")
    receipt = lake.append([b, a, a, b, a, event("c"), a], duplicates=SKIP)
    assert receipt.count == 3
    assert ids(lake) == ["b", "a", "c"]
    assert lake.append([a, a, event("d"), a, event("d")], duplicates=SKIP).count == 1
    assert ids(lake) == ["b", "a", "c", "d"]


def test_an_event_that_stands_in_the_batch_twice_and_differs_is_refused(lake):
    with pytest.raises(InvalidEventsError, match="once in a batch, row 0 has it already") as caught:
        lake.append(
            [event("a", data={"n": 1}), event("b"), event("a", data={"n": 2})], duplicates=SKIP
        )
    assert problems(caught) == [(2, "id")]
    assert lake.watermark == 0


def test_an_event_that_stands_in_the_batch_twice_is_refused_where_nothing_is_said_about_duplicates(
    lake,
):
    with pytest.raises(InvalidEventsError, match="once in a batch"):
        lake.append([event("a"), event("a")])


@pytest.mark.parametrize(
    "bad", [{"type": ""}, {"data": "{"}, {"data": '{"a":1,"a":2}'}, {"subject": "a\nb"}]
)
def test_a_broken_rule_is_named_by_its_row_in_the_batch_as_it_was_given(bad):
    lake = el.create("memory://", "o")
    with pytest.raises(InvalidEventsError) as caught:
        lake.append([event("a"), event("a"), event("b") | bad], duplicates=SKIP)
    assert problems(caught) == [(2, next(iter(bad)))]


def test_a_differing_double_is_named_by_its_row_in_the_batch_as_it_was_given():
    lake = el.create("memory://", "o")
    with pytest.raises(InvalidEventsError) as caught:
        lake.append([event("a"), event("a"), event("b"), event("b", data=1)], duplicates=SKIP)
    assert problems(caught) == [(3, "id")]


@pytest.mark.parametrize(
    "instant",
    ["2025-01-03T00:00:00Z", "2999-01-01T00:00:00Z"],
    ids=["before the head", "in the future"],
)
def test_a_clock_that_does_not_fit_is_named_by_its_row_in_the_batch_as_it_was_given(instant):
    lake = el.create("memory://", "o")
    lake.append([event("old", recorded_at="2025-01-02T00:00:00Z")])
    lake.append([event("x", recorded_at="2025-06-01T00:00:00Z")])
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(
            [event("old", recorded_at="2025-01-02T00:00:00Z"), event("new", recorded_at=instant)],
            duplicates=SKIP,
        )
    assert problems(caught) == [(1, "recorded_at")]


def test_a_differing_event_after_some_that_were_left_out_twice_is_named_by_its_row(lake):
    lake.append([event("a"), event("b", data={"n": 1})])
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(
            [event("c"), event("c"), event("a"), event("a"), event("b", data={"n": 2})],
            duplicates=SKIP,
        )
    assert problems(caught) == [(4, "id")]


# Together with expectations


def test_expectations_are_about_the_history_not_about_the_events_left_out(lake):
    lake.append([event("a", subject="/a")])
    receipt = lake.append(
        [event("a", subject="/a"), event("b", subject="/b")],
        duplicates=SKIP,
        expect=[el.pristine("/b"), el.on_event("/a", "a")],
    )
    assert (receipt.count, receipt.skipped) == (1, 1)
    with pytest.raises(ConflictError, match="expected no event about /b"):
        lake.append(
            [event("b", subject="/b"), event("c")], duplicates=SKIP, expect=[el.pristine("/b")]
        )
    assert ids(lake) == ["a", "b"]


# Races


@pytest.fixture
def rivalled():
    storage = Rivalled()
    el.create(storage, "o")
    return storage


def test_events_that_a_rival_brought_meanwhile_are_left_out(rivalled):
    lake = el.open(rivalled)
    lake.append(batch("a", 1))
    rivalled.rivals = [batch("a", 2, first=1), batch("x", 1), batch("a", 1, first=4)]
    receipt = lake.append(batch("a", 6), duplicates=SKIP)
    assert ids(lake) == ["a-0", "a-1", "a-2", "x-0", "a-4", "a-3", "a-5"]
    assert (receipt.start, receipt.stop, receipt.skipped) == (5, 7, 4)
    assert lake.verify(deep=True).ok


def test_nothing_is_left_of_a_batch_that_a_rival_brought_whole(rivalled):
    lake = el.open(rivalled)
    rivalled.rivals = [batch("a", 3)]
    receipt = lake.append(batch("a", 3), duplicates=SKIP)
    assert (receipt.start, receipt.stop, receipt.skipped, receipt.commit_hash) == (3, 3, 3, None)
    assert receipt.checkpoint == lake.checkpoint == el.open(rivalled).checkpoint


def test_an_event_that_a_rival_brought_in_another_form_is_refused(rivalled):
    lake = el.open(rivalled)
    lake.append(batch("a", 2))
    rivalled.rivals = [batch("a", 1, first=2), [event("a-4", data={"row": "other"})]]
    with pytest.raises(InvalidEventsError) as caught:
        lake.append([event("new"), *batch("a", 6)], duplicates=SKIP)
    assert problems(caught) == [(5, "id")]
    assert ids(lake) == ["a-0", "a-1", "a-2", "a-4"]


@pytest.fixture(params=STORAGES)
def storage(request, tmp_path):
    made = MemoryStorage() if request.param == "memory" else LocalStorage(tmp_path / "lake")
    el.create(made, "o")
    return made


def test_writers_that_send_the_same_batches_bring_each_event_once(storage):
    receipts, turns = [], [threading.Barrier(3) for _ in range(12)]

    def send():
        lake = el.open(storage)
        for number, turn in enumerate(turns):
            turn.wait()
            receipts.append(lake.append(batch(f"{number}", 4), duplicates=SKIP))

    in_threads(send, send, send)
    lake = el.open(storage)
    assert sorted(ids(lake)) == sorted(
        f"{number}-{row}" for number in range(12) for row in range(4)
    )
    assert all(receipt.count + receipt.skipped == 4 for receipt in receipts)
    assert sum(receipt.count for receipt in receipts) == 48
    assert lake.verify(deep=True).ok


def test_writers_whose_batches_overlap_in_any_way_bring_each_event_once(storage):
    events = batch("a", 90)
    receipts = []

    def sender(seed):
        dice = random.Random(seed)

        def send():
            lake = el.open(storage)
            pieces = [dice.sample(events, 12) for _ in range(15)] + [dice.sample(events, 90)]
            receipts.extend((lake.append(piece, duplicates=SKIP), piece) for piece in pieces)

        return send

    in_threads(*map(sender, range(3)))
    lake = el.open(storage)
    found = ids(lake)
    assert sorted(found) == sorted(one["id"] for one in events)
    assert all(receipt.count + receipt.skipped == len(piece) for receipt, piece in receipts)
    spans = sorted((receipt.start, receipt.stop) for receipt, _ in receipts if receipt.count)
    assert [start for start, _ in spans] == [0, *(stop for _, stop in spans[:-1])]
    for receipt, piece in receipts:
        mine = found[receipt.start : receipt.stop]
        assert mine == [one["id"] for one in piece if one["id"] in mine]
    assert lake.verify(deep=True).ok


def test_a_writer_that_skips_and_one_that_refuses_bring_each_event_once(storage):
    refused = []

    def skipping():
        lake = el.open(storage)
        for number in range(20):
            lake.append(batch(f"{number}", 2), duplicates=SKIP)

    def refusing():
        lake = el.open(storage)
        for number in reversed(range(20)):
            try:
                lake.append(batch(f"{number}", 2))
            except InvalidEventsError:
                refused.append(number)

    in_threads(skipping, refusing)
    assert refused
    assert sorted(ids(el.open(storage))) == sorted(
        f"{number}-{row}" for number in range(20) for row in range(2)
    )


# Large batches and long histories


def test_large_batches_whose_keys_stand_in_files_of_their_own(lake):
    lake.append(batch("a", 700))
    assert len(list(lake._chain.storage.list("keys"))) == 1
    receipt = el.open(lake._chain.storage).append(batch("a", 1_300, first=100), duplicates=SKIP)
    assert (receipt.start, receipt.stop, receipt.skipped) == (700, 1_400, 600)
    assert ids(lake) == [f"a-{row}" for row in range(1_400)]
    given = batch("a", 700, first=600)
    given[650] = given[650] | {"subject": "/x"}
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(given, duplicates=SKIP)
    assert problems(caught) == [(650, "id")]
    assert lake.verify(deep=True).ok


def coarse_events(monkeypatch):
    """16 fingerprints for all events: nearly every key is met, and stored ids must decide."""
    real = keys.event_keys
    for module in (keys, envelope, rebuild_keys, seen_events):
        monkeypatch.setattr(
            module, "event_keys", lambda events: real(events) & np.uint64(0xF << 60)
        )


def coarse_cells(monkeypatch):
    """A tier's event keys tell the commit to within a quarter of it."""
    monkeypatch.setattr(key_runs, "CELLS", 4)


@pytest.mark.parametrize(
    "harder", [None, coarse_events, coarse_cells], ids=["plain", "shared fingerprints", "few cells"]
)
def test_any_mixture_over_many_tiers_is_that_of_a_dict(monkeypatch, harder):
    def opened():
        few = {"few_rows": 0} if harder is coarse_events else None
        return limited(el.open(storage), batch=few, **SMALL_TIERS)

    if harder:
        harder(monkeypatch)
    dice = random.Random(3)
    el.create(storage := MemoryStorage(), "o")
    lakes = [opened(), opened()]
    stored, order = {}, []
    for step in range(60 if harder is coarse_events else scaled(110, 60)):
        given = [
            event(f"{dice.randrange(1 + 2 * step)}", data=f"{dice.choice([1, 1, 1, 1, 2])}")
            for _ in range(dice.randrange(1, 5))
        ]
        wrong = {row for row, one in enumerate(given) if stored.get(one["id"], one) != one}
        first = {}
        for row, one in enumerate(given):
            first.setdefault(one["id"], row)
        doubled = {row for row, one in enumerate(given) if given[first[one["id"]]] != one}
        new = [
            one
            for row, one in enumerate(given)
            if first[one["id"]] == row and one["id"] not in stored
        ]
        try:
            receipt = dice.choice(lakes).append(given, duplicates=SKIP)
        except InvalidEventsError as error:
            rows = {problem.row for problem in error.problems}
            assert (
                doubled or rows == {row for row in wrong if first[given[row]["id"]] == row} != set()
            )
        else:
            assert not wrong
            assert not doubled
            assert (receipt.start, receipt.stop) == (len(order), len(order) + len(new))
            order += new
            stored |= {one["id"]: one for one in new}
        if dice.random() < 0.05:
            lakes[dice.randrange(2)] = opened()
        if dice.random() < 0.03:
            lakes[0].compact(target_bytes=20_000)
    assert lakes[0].snapshot().scan(["id", "data"]).collect().rows() == [
        (one["id"], one["data"]) for one in order
    ]
    assert lakes[1].snapshot().root == naive.root(order)
    assert lakes[1]._chain.head.commit.tiers
    assert lakes[1].verify(deep=True).ok


def test_a_batch_of_duplicates_reads_no_segment_more_than_a_few_times():
    class Counting(MemoryStorage):
        reads = 0

        def read(self, path):
            self.reads += path.startswith("segments/")
            return super().read(path)

    storage = Counting()
    lake = el.create(storage, "o")
    lake.append(batch("a", 300))
    storage.reads = 0
    assert lake.append(batch("a", 300), duplicates=SKIP).skipped == 300
    assert storage.reads < 10


def test_a_frame_of_nothing_but_duplicates_is_no_error(lake):
    frame = pl.DataFrame({"id": ["a", "b"], "source": ["s", "s"], "type": ["t", "t"]})
    lake.append(frame)
    assert lake.append(pl.concat([frame, frame]), duplicates=SKIP).count == 0
    assert lake.watermark == 2
