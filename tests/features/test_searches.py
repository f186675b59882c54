"""What is searched for along events and rows, beside plain loops over all of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eventlake.features.on_polars.running_max import latest_before
from eventlake.features.on_polars.segment_tree import greatest
from eventlake.features.planned.edges import NEVER

STRETCHES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=30)
EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 2), st.integers(0, 9), st.integers(0, 9) | st.just(NEVER)
    ),
    max_size=30,
)


@given(STRETCHES, st.randoms(use_true_random=False), st.integers(1, 4))
def test_a_place_is_told_the_greatest_ranks_of_all_stretches_that_it_lies_in(
    stretches, random, depth
):
    ranks = list(range(len(stretches)))
    random.shuffle(ranks)
    first, stop = (np.array([stretch[side] for stretch in stretches], np.int64) for side in (0, 1))
    found = greatest(first, stop, np.array(ranks, np.int64), 41, depth)
    for place in range(41):
        inside = [
            rank
            for rank, (begin, end) in zip(ranks, stretches, strict=True)
            if begin <= place < end
        ]
        assert found[:, place].tolist() == (sorted(inside, reverse=True) + [-1] * depth)[:depth]


@given(EVENTS)
def test_an_event_is_told_when_those_of_its_value_that_entered_before_it_have_left(events):
    events = sorted(events)
    columns = [np.array(column, np.int64) for column in zip(*events, strict=True)] or [
        np.empty(0, np.int64)
    ] * 4
    found = latest_before(*columns).tolist()
    for number, (code, value, enter, _) in enumerate(events):
        earlier = [
            leave
            for other, (c, v, entered, leave) in enumerate(events)
            if (c, v) == (code, value) and (entered, other) < (enter, number)
        ]
        assert found[number] == max(earlier, default=-NEVER)
