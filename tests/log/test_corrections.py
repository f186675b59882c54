"""A correction names an earlier event of its source, type and subject, or its batch is refused whole."""

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import InvalidEventsError
from tests.support.limits import limited


def event(name, **more):
    return {"id": name, "source": "s", "type": "t", "subject": "/a"} | more


HELD = event("held")
CASES = {
    "in the lake": ([event("x", corrects="held")], []),
    "in the batch": ([event("x"), event("y", corrects="x")], []),
    "one of each": ([event("x", corrects="held"), event("y", corrects="x")], []),
    "nowhere": (
        [event("x"), event("y", corrects="gone")],
        [(1, "expected the id of an earlier event of source 's'; the lake holds none", "gone")],
    ),
    "of another source": (
        [event("x", source="other", corrects="held")],
        [(0, "expected the id of an earlier event of source 'other'; the lake holds none", "held")],
    ),
    "later in the batch": (
        [event("x", corrects="y"), event("y")],
        [(0, "expected an earlier event, but it comes later in the batch", "y")],
    ),
    "of another type in the lake": (
        [event("x", type="u", corrects="held")],
        [(0, "expected an event of the same type ('u'), found 't'", "held")],
    ),
    "of another type in the batch": (
        [event("x"), event("y", type="u", corrects="x")],
        [(1, "expected an event of the same type ('u'), found 't'", "x")],
    ),
    "about another subject": (
        [event("x", subject="/b", corrects="held")],
        [(0, "expected an event of the same subject ('/b'), found '/a'", "held")],
    ),
    "about no subject": (
        [event("x", subject=None, corrects="held")],
        [(0, "expected an event of the same subject (None), found '/a'", "held")],
    ),
    "about no subject, as the other": (
        [event("x", subject=None), event("y", subject=None, corrects="x")],
        [],
    ),
    "two of them": (
        [event("x", corrects="gone"), event("y"), event("z", subject="/b", corrects="held")],
        [
            (0, "expected the id of an earlier event of source 's'; the lake holds none", "gone"),
            (2, "expected an event of the same subject ('/b'), found '/a'", "held"),
        ],
    ),
}


def found_in(error):
    assert {problem.field for problem in error.problems} == {"corrects"}
    return [(problem.row, problem.message, problem.found) for problem in error.problems]


@pytest.fixture
def lake():
    lake = el.create("memory://", "o")
    lake.append([event("first", subject="/b"), HELD])
    return lake


@pytest.mark.every_case
@pytest.mark.parametrize("case", CASES)
def test_a_correction_without_its_event_is_refused_by_row(lake, case):
    events, problems = CASES[case]
    if not problems:
        assert lake.append(events).count == len(events)
        return
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(events)
    assert found_in(caught.value) == problems
    assert caught.value.hint == "correct the rows and append the batch again."
    assert lake.watermark == 2


@pytest.mark.every_case
@pytest.mark.parametrize("case", CASES)
def test_a_correction_in_a_group_is_refused_alone_and_by_its_own_row(lake, case):
    events, problems = CASES[case]
    with lake.writer(max_delay=10, max_events=2 + len(events)) as writer:
        before, given, after = (
            writer.append(batch)
            for batch in ([event("before")], events, [event("after", corrects="before")])
        )
    assert (before.result().count, after.result().count) == (1, 1)
    if not problems:
        assert given.result().count == len(events)
    else:
        assert found_in(given.exception()) == problems


@pytest.mark.every_case
@pytest.mark.parametrize("case", CASES)
def test_a_correction_in_a_file_that_is_read_row_by_row_is_refused_by_its_row_in_the_file(
    lake, tmp_path, case
):
    events, problems = CASES[case]
    file = tmp_path / "events.parquet"
    pl.DataFrame([event("0"), *events], infer_schema_length=None).write_parquet(file)
    lake = limited(lake, batch={"segment_rows": 1})
    if not problems:
        assert lake.append(file).count == 1 + len(events)
        return
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(file)
    assert found_in(caught.value) == [(row + 1, *rest) for row, *rest in problems]
    assert lake.watermark == 2


def test_a_correction_finds_an_event_of_the_first_commit_whose_keys_are_a_file():
    lake = limited(el.create("memory://", "o"), inline_keys=0)
    lake.append([HELD])
    assert lake.append([event("x", corrects="held")]).start == 1
