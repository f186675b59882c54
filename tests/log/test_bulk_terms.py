"""A file that is stored part by part takes a position, and skips what is stored, as a batch in memory does."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.errors import ConflictError, InvalidEventsError, InvalidInputError
from eventlake.storage import MemoryStorage
from eventlake.testing.invariants import assert_sound
from tests.scope import scaled
from tests.support.limits import limited
from tests.support.rivals import BetweenSegments

SKIP = "skip_identical"
FIRST = {"producer": "p", "position": 1}


def small_parts(storage="memory://"):
    """A lake in which ten rows are a part."""
    return limited(el.create(storage, "o"), batch={"segment_rows": 10})


def event(number, value=0):
    return {
        "id": f"e{number}",
        "source": "s",
        "type": "t",
        "subject": f"/{number % 5}",
        "data": f'{{"value": {value}}}',
    }


def events(numbers):
    return [event(number) for number in numbers]


def file(tmp_path, given):
    path = tmp_path / "events.parquet"
    pq.write_table(pa.Table.from_pylist(given), path)
    return path


def ids(lake):
    return lake.snapshot().scan(["id"]).collect()["id"].to_list()


def segments(storage):
    return {one.path for one in storage.list("segments")}


def test_a_file_that_is_sent_again_gets_its_first_receipt_and_stores_nothing(tmp_path):
    storage = MemoryStorage()
    lake = small_parts(storage)
    receipt = lake.append(file(tmp_path, events(range(37))), **FIRST)
    assert (receipt.count, receipt.repeated) == (37, False)
    assert len(lake.log()[-1].commit.segments) == 4
    assert lake.next_position("p") == 2
    before = segments(storage)
    for again in (file(tmp_path, events(range(37))), events(range(37))):
        found = lake.append(again, **FIRST)
        assert (found, found.repeated) == (receipt, True)
    assert segments(storage) == before
    assert_sound(lake, [(receipt, [f"e{number}" for number in range(37)])])


def test_a_file_is_known_again_that_was_sent_in_memory_and_among_others(tmp_path):
    lake = small_parts()
    with lake.writer(max_delay=0.2) as writer:
        writer.append(events(range(100, 103)))
        sent = writer.append(events(range(37)), **FIRST)
        writer.append(events(range(200, 203)))
    found = lake.append(file(tmp_path, events(range(37))), **FIRST)
    assert (found, found.repeated) == (sent.result(), True)
    assert lake.watermark == 43


@pytest.mark.parametrize(
    "other", [events(range(36)), events(range(38)), [*events(range(36)), event(36, 1)]]
)
def test_a_position_names_one_file_for_ever(tmp_path, other):
    storage = MemoryStorage()
    lake = small_parts(storage)
    lake.append(file(tmp_path, events(range(37))), **FIRST)
    before = segments(storage)
    with pytest.raises(ConflictError, match="in the lake already, with other events"):
        lake.append(file(tmp_path, other), **FIRST)
    with pytest.raises(ConflictError, match="a gap"):
        lake.append(file(tmp_path, events(range(50, 90))), producer="p", position=3)
    assert segments(storage) == before
    assert lake.watermark == 37


def test_a_file_that_is_sent_again_and_breaks_a_rule_is_refused_by_its_rows(tmp_path):
    lake = small_parts()
    lake.append(file(tmp_path, events(range(37))), **FIRST)
    bad = events(range(37))
    bad[3]["type"], bad[33]["data"] = "", "{"
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(file(tmp_path, bad), **FIRST)
    found = [(problem.row, problem.field) for problem in caught.value.problems]
    assert found == [(3, "type"), (33, "data")]


def test_a_rival_that_sends_the_file_meanwhile_gives_it_its_receipt(tmp_path):
    storage = BetweenSegments()
    lake, rival, receipts = small_parts(storage), el.open(storage), []
    storage.met = [lambda: receipts.append(rival.append(events(range(37)), **FIRST))]
    found = lake.append(file(tmp_path, events(range(37))), **FIRST)
    assert ([found], found.repeated) == (receipts, True)
    assert lake.watermark == 37


def test_a_rival_that_takes_the_position_meanwhile_wins(tmp_path):
    storage = BetweenSegments()
    lake, rival = small_parts(storage), el.open(storage)
    storage.met = [lambda: rival.append(events([99]), **FIRST)]
    with pytest.raises(ConflictError, match="in the lake already, with other events"):
        lake.append(file(tmp_path, events(range(37))), **FIRST)
    assert lake.watermark == 1


@pytest.mark.parametrize("seed", range(scaled(20, 4)))
def test_any_mixture_in_parts_leaves_what_it_leaves_in_memory(tmp_path, seed):
    draw = random.Random(seed)
    whole, parts = el.create("memory://", "o"), small_parts()
    for _ in range(4):
        # Numbers repeat within a part, across parts and across batches; some batches are all known.
        given = events(draw.choices(range(draw.choice([20, 200])), k=draw.randint(11, 60)))
        expected = whole.append(given, duplicates=SKIP)
        found = parts.append(file(tmp_path, given), duplicates=SKIP)
        assert (found.checkpoint, found.skipped, found.count) == (
            expected.checkpoint,
            expected.skipped,
            expected.count,
        )
    assert ids(parts) == ids(whole)
    assert_sound(parts)


@pytest.mark.parametrize("seed", range(scaled(20, 4)))
def test_events_that_differ_are_refused_by_their_rows_in_the_file(tmp_path, seed):
    draw = random.Random(seed)
    lake = small_parts()
    lake.append(events(range(20)))
    given = events(draw.choices(range(3, 40), k=50))
    wrong = sorted(draw.sample(range(50), 3))
    for number, row in enumerate(wrong):
        given[row] = event(number, 1)
    with pytest.raises(InvalidEventsError, match="in the lake already") as caught:
        lake.append(file(tmp_path, given), duplicates=SKIP)
    assert [problem.row for problem in caught.value.problems] == wrong
    assert lake.watermark == 20


def test_an_event_that_stands_in_two_parts_and_differs_is_refused_by_its_row_in_the_file(tmp_path):
    lake = small_parts()
    lake.append(events(range(5)))
    given = [*events(range(15)), *events(range(8, 30)), event(12, 1)]
    with pytest.raises(InvalidEventsError, match="row 12 has it already") as caught:
        lake.append(file(tmp_path, given), duplicates=SKIP)
    assert [(problem.row, problem.field) for problem in caught.value.problems] == [(37, "id")]


def test_a_correction_of_nothing_is_named_by_its_row_in_the_file(tmp_path):
    lake = small_parts()
    lake.append(events(range(15)))
    later = [event(number) | {"corrects": None, "correction": None} for number in range(30)]
    right = event(100) | {"subject": "/1", "corrects": "e1", "correction": "replace"}
    wrong = event(101) | {"subject": "/1", "corrects": "e77", "correction": "replace"}
    with pytest.raises(InvalidEventsError, match="corrects") as caught:
        lake.append(file(tmp_path, [*later, right, wrong]), duplicates=SKIP)
    assert [(problem.row, problem.field) for problem in caught.value.problems] == [(31, "corrects")]
    assert lake.append(file(tmp_path, [*later, right]), duplicates=SKIP).skipped == 15


def test_a_copied_history_goes_on_where_it_ended(tmp_path):
    lake = small_parts()
    history = [
        event(number) | {"recorded_at": f"2024-01-01T00:00:{number:02}Z"} for number in range(40)
    ]
    assert lake.append(file(tmp_path, history[:25]), duplicates=SKIP).count == 25
    assert lake.append(file(tmp_path, history), duplicates=SKIP).skipped == 25
    assert [one["id"] for one in history] == ids(lake)
    back = [*history[20:40], *history[:20]]
    with pytest.raises(InvalidEventsError, match="non-decreasing") as caught:
        lake.append(file(tmp_path, back), duplicates=SKIP)
    assert [problem.row for problem in caught.value.problems] == [20]


def test_a_file_that_names_its_sequences_leaves_no_row_out(tmp_path):
    given = [event(number) | {"sequence": number} for number in range(30)]
    with pytest.raises(InvalidInputError, match="the column 'sequence'"):
        small_parts().append(file(tmp_path, given), duplicates=SKIP)


def test_what_a_rival_brings_between_the_parts_is_left_out(tmp_path):
    storage = BetweenSegments()
    lake, rival = small_parts(storage), el.open(storage)
    storage.met = [lambda: rival.append(events([30, 5]))]
    receipt = lake.append(file(tmp_path, events(range(37))), duplicates=SKIP)
    assert (receipt.start, receipt.count, receipt.skipped) == (2, 35, 2)
    assert_sound(lake)
    storage.met = [lambda: rival.append([event(77, 1)])]
    with pytest.raises(InvalidEventsError, match="row 27, field id"):
        lake.append(file(tmp_path, events(range(50, 90))), duplicates=SKIP)
