"""Numbers of a caller are refused by the name of their argument and its bounds."""

import math
import re

import numpy as np
import pytest

from eventlake.core import counts
from eventlake.errors import InvalidInputError


def test_an_integer_of_any_type_within_its_bounds_is_an_int():
    assert [counts.count(n, "n", 1, 3) for n in (1, 3, np.int64(2))] == [1, 3, 2]
    assert type(counts.count(np.uint8(2), "n")) is int
    assert counts.count((1 << 63) - 1, "n") == (1 << 63) - 1


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (-1, (), "expected n from 0, found -1"),
        (1 << 63, (), "expected n from 0, found 9,223,372,036,854,775,808"),
        (999, (1_000,), "expected n from 1,000, found 999"),
        (0, (1, 2_000), "expected n from 1 to 2,000, found 0"),
        (2_001, (1, 2_000), "expected n from 1 to 2,000, found 2,001"),
    ],
)
def test_an_integer_out_of_its_bounds_is_refused_with_them(value, bounds, message):
    with pytest.raises(InvalidInputError, match=re.escape(message)) as refused:
        counts.count(value, "n", *bounds)
    assert refused.value.facts == {"argument": "n"}


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(TypeError, match=re.escape(f"expected n as an integer, found {value!r}")):
        counts.count(value, "n")


def test_seconds_are_any_number_up_to_30_years():
    assert [counts.seconds(n, "t") for n in (0, 0.5, np.float32(2), 10**9)] == [0.0, 0.5, 2.0, 1e9]
    assert counts.seconds(1e-9, "t", positive=True) == 1e-9


@pytest.mark.parametrize(
    ("value", "positive", "message"),
    [
        (-0.5, False, "expected t from 0 and at most 1,000,000,000 seconds, found -0.5"),
        (10**9 + 1, False, "expected t from 0 and at most 1,000,000,000 seconds, found 1000000001"),
        (math.nan, False, "expected t from 0 and at most 1,000,000,000 seconds, found nan"),
        (0, True, "expected t above 0 and at most 1,000,000,000 seconds, found 0"),
    ],
)
def test_seconds_out_of_their_bounds_are_refused_with_them(value, positive, message):
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        counts.seconds(value, "t", positive=positive)


@pytest.mark.parametrize("value", [True, "1", None, 1j])
def test_what_is_no_number_is_no_time(value):
    with pytest.raises(TypeError, match=re.escape(f"expected t as a number, found {value!r}")):
        counts.seconds(value, "t")
