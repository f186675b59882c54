"""The root: a function of the events and their order, and of nothing else."""

import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.testing.strategies import stored_event, stored_events
from tests.scope import examples
from tests.support import naive
from tests.support.events import FORMATS, as_arrow, cut
from tests.support.limits import limited

CUTS = st.lists(st.integers(0, 100), max_size=3)


def lake_of(batches, formats, folder):
    lake = el.create("memory://", "o")
    for batch, form in zip(batches, formats * len(batches), strict=False):
        lake.append(FORMATS[form](batch, folder))
    return lake


@given(
    stored_events(min_size=1),
    CUTS,
    CUTS,
    st.lists(st.sampled_from(list(FORMATS)), min_size=1, max_size=3),
)
def test_a_watermark_names_one_history_whatever_the_batching_and_the_input_format(
    history, cuts, other_cuts, formats
):
    with tempfile.TemporaryDirectory() as folder:
        first = lake_of(cut(history, cuts), formats, folder)
        second = lake_of(cut(history, other_cuts), ["arrow"], folder)
    for watermark in range(len(history) + 1):
        expected = naive.root(history[:watermark])
        assert first.snapshot(watermark).root == second.snapshot(watermark).root == expected


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=examples(25))
@given(batch=stored_events(min_size=1, max_size=6))
def test_every_input_format_gives_the_naive_root(form, batch):
    with tempfile.TemporaryDirectory() as folder:
        assert el.create("memory://", "o").append(
            FORMATS[form](batch, folder)
        ).checkpoint.root == naive.root(batch)


@settings(max_examples=examples(25))
@given(stored_events(min_size=1, max_size=6, corrections=False), st.data())
def test_a_history_with_one_other_event_has_another_root(history, data):
    place = data.draw(st.integers(0, len(history) - 1))
    other = data.draw(stored_event(ids=st.just("new id")))
    changed = [*history[:place], other, *history[place + 1 :]]
    roots = [
        el.create("memory://", "o").append(as_arrow(batch)).checkpoint.root
        for batch in (history, changed)
    ]
    assert (roots[0] == roots[1]) == (history == changed)


@given(
    stored_events(min_size=1, max_size=4),
    st.sampled_from([n for n in naive.ORDER if n not in {"time", "data", "extensions"}]),
    st.data(),
)
def test_one_flipped_bit_of_one_attribute_changes_the_root(history, name, data):
    place = data.draw(st.integers(0, len(history) - 1))
    value = history[place].get(name, "0")
    flipped = {**history[place], name: chr(ord(value[0]) ^ 1) + value[1:]}
    assert naive.root([*history[:place], flipped, *history[place + 1 :]]) != naive.root(history)


@settings(max_examples=examples(25))
@given(stored_events(min_size=2), st.integers(1, 4))
def test_a_batch_of_several_segments_has_the_root_of_one(history, rows):
    lake = limited(el.create("memory://", "o"), batch={"segment_rows": rows})
    receipt = lake.append(as_arrow(history))
    assert [segment.rows for segment in lake.log()[0].commit.segments[:-1]] == [rows] * (
        (len(history) - 1) // rows
    )
    assert receipt.checkpoint.root == naive.root(history)
    assert [lake.snapshot(n).root for n in range(len(history))] == [
        naive.root(history[:n]) for n in range(len(history))
    ]
    assert lake.verify(deep=True).ok


def test_an_empty_lake_has_the_root_of_the_empty_tree():
    assert el.create("memory://", "o").snapshot().root == naive.root([])
