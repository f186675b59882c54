import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlake.features.planned.early import Recorded
from eventlake.features.planned.entity_keys import Cutoffs, Scale, places_of

ENTITIES = 3
FAR = 200_000_000_000_000_000
"""Instants so far apart that they do not fit a key with their entity."""
INSTANT = st.integers(-4, 6) | st.sampled_from([-FAR, FAR])
CODE = st.integers(0, ENTITIES - 1)


def columns(rows):
    return np.array(rows, np.int64).reshape(-1, 3).T


@given(
    events=st.lists(st.tuples(CODE, INSTANT, INSTANT), max_size=12),
    rows=st.lists(st.tuples(st.integers(0, ENTITIES), INSTANT, st.just(0)), max_size=12),
    wide=st.booleans(),
)
def test_rows_see_early_what_happened_before_their_cutoff_and_was_not_recorded_by_then(
    events, rows, wide
):
    events = sorted(events)
    # With as many entities no key holds both, and instants are numbered.
    entities = (1 << 62) if wide else ENTITIES + 1
    codes, times, recorded = columns(events)
    row_codes, cutoffs, _ = columns(rows)
    scale = Scale(codes, times, entities)
    places = places_of(scale.keys, scale.probe(row_codes, cutoffs))
    sequences = np.arange(len(events)) * 10
    found = Recorded(codes, recorded, sequences, entities).after(row_codes, cutoffs, places)

    pairs = {
        (row, number)
        for row, (code, cutoff, _) in enumerate(rows)
        for number, (one, time, known) in enumerate(events)
        if one == code and time < cutoff <= known
    }
    assert found[0].tolist() == [row in {one for one, _ in pairs} for row in range(len(rows))]
    assert found[1].tolist() == sorted({10 * number for _, number in pairs})


@given(rows=st.lists(st.tuples(CODE, INSTANT, st.just(0)), max_size=12), instant=INSTANT)
def test_rows_after_an_instant_are_a_range_in_the_order_of_cutoffs(rows, instant):
    codes, cutoffs, _ = columns(rows)
    found = Cutoffs(codes, cutoffs, ENTITIES + 1)
    order = found.order
    assert sorted(order.tolist()) == list(range(len(rows)))
    keys = list(zip(codes[order].tolist(), cutoffs[order].tolist(), strict=True))
    assert keys == sorted(keys)
    for code in range(ENTITIES):
        (place,) = found.after(np.array([code]), np.array([instant])).tolist()
        assert place == sum((one, cutoff) <= (code, instant) for one, cutoff in keys)


@pytest.mark.parametrize("rows", [0, 3])
def test_nothing_is_early_without_events(rows):
    none = np.empty(0, np.int64)
    some = np.zeros(rows, np.int64)
    late, events = Recorded(none, none, none, 2).after(some, some, some)
    assert (late.tolist(), events.tolist()) == ([False] * rows, [])
