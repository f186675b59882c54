"""Declared types are reached without loss or not at all."""

from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from eventlake.columns.casts import lossless
from eventlake.errors import SchemaMismatchError

pytestmark = pytest.mark.every_case

D = Decimal


def cast(values, source, target):
    column = pa.chunked_array([pa.array(values, source)])
    return lossless(column, target, "amount")


@pytest.mark.parametrize(
    ("values", "source", "target"),
    [
        ([1, None, 2**32 - 1], pa.uint32(), pa.int64()),
        ([-128, 127], pa.int64(), pa.int8()),
        ([0, 255], pa.int64(), pa.uint8()),
        ([2**64 - 1], pa.uint64(), pa.decimal128(20, 0)),
        ([-(2**63), 2**63 - 1], pa.int64(), pa.decimal128(19, 0)),
        ([5, -5, None], pa.int32(), pa.decimal128(38, 18)),
        ([99], pa.int64(), pa.decimal128(3, 1)),
        ([D("1.00"), D("-7.00"), None], pa.decimal128(18, 2), pa.int64()),
        ([D(2) ** 63 - 1, -(D(2) ** 63)], pa.decimal128(38, 0), pa.int64()),
        ([D(2) ** 64 - 1], pa.decimal128(38, 0), pa.uint64()),
        ([D("1.50")], pa.decimal128(5, 2), pa.decimal128(4, 1)),
        ([D("1.5")], pa.decimal128(4, 1), pa.decimal128(38, 30)),
        ([D("999.99")], pa.decimal128(38, 2), pa.decimal128(5, 2)),
        ([0.5, None, -0.0], pa.float32(), pa.float64()),
        (["a"], pa.large_string(), pa.large_string()),
    ],
)
def test_values_are_the_same_after_a_lossless_cast(values, source, target):
    result = cast(values, source, target)
    assert result.type == target
    assert result.to_pylist() == pa.array(values, source).to_pylist()


@pytest.mark.parametrize(
    ("values", "source", "target"),
    [
        ([2**31], pa.int64(), pa.int32()),
        ([-1], pa.int64(), pa.uint64()),
        ([200], pa.uint32(), pa.int8()),
        ([2**63], pa.uint64(), pa.int64()),
        ([100], pa.int64(), pa.decimal128(3, 1)),
        ([4449734546176139861], pa.int64(), pa.decimal128(38, 31)),
        ([D(10**20 - 1)], pa.decimal128(20, 0), pa.decimal128(38, 25)),
        ([D("1.50")], pa.decimal128(5, 2), pa.int64()),
        ([D(2) ** 63], pa.decimal128(38, 0), pa.int64()),
        ([D(-1)], pa.decimal128(38, 0), pa.uint64()),
        ([D("1.55")], pa.decimal128(5, 2), pa.decimal128(5, 1)),
        ([D("999.9")], pa.decimal128(4, 1), pa.decimal128(4, 2)),
        ([D("100.50")], pa.decimal128(5, 2), pa.decimal128(38, 37)),
    ],
)
def test_overflow_and_lost_digits_are_refused(values, source, target):
    with pytest.raises(SchemaMismatchError, match="amount"):
        cast([None, *values], source, target)


@pytest.mark.parametrize(
    ("values", "source", "target"),
    [
        ([1.0], pa.float64(), pa.int64()),
        ([1], pa.int64(), pa.float64()),
        ([1.0], pa.float64(), pa.float32()),
        ([D("1.0")], pa.decimal128(5, 1), pa.float64()),
        ([1.0], pa.float64(), pa.decimal128(5, 1)),
        (["1"], pa.large_string(), pa.int64()),
        ([1], pa.int64(), pa.large_string()),
        (["a"], pa.large_string(), pa.large_binary()),
        ([True], pa.bool_(), pa.int8()),
        ([1], pa.int8(), pa.bool_()),
        ([date(2026, 1, 1)], pa.date32(), pa.timestamp("us")),
        ([datetime(2026, 1, 1)], pa.timestamp("us"), pa.timestamp("us", "UTC")),
        ([datetime(2026, 1, 1)], pa.timestamp("us"), pa.int64()),
        ([[1]], pa.large_list(pa.int32()), pa.large_list(pa.int64())),
    ],
)
def test_pairs_that_could_lose_something_are_refused_whatever_the_values(values, source, target):
    with pytest.raises(SchemaMismatchError, match="could lose") as caught:
        cast(values, source, target)
    assert caught.value.facts["column"] == "amount"


def test_null_survives_every_allowed_cast():
    for source, target in [
        (pa.int8(), pa.int64()),
        (pa.int64(), pa.decimal128(38, 0)),
        (pa.decimal128(9, 2), pa.int8()),
        (pa.float32(), pa.float64()),
    ]:
        assert cast([None, None], source, target).to_pylist() == [None, None]


@pytest.mark.parametrize("scale", [19, 30, 37])
def test_a_small_integer_becomes_a_decimal_with_many_places(scale):
    assert cast([5], pa.int64(), pa.decimal128(38, scale)).to_pylist() == [D(5)]
