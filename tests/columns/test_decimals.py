"""Decimals keep every digit when their point moves, or are refused."""

from decimal import Context, Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlake.columns.decimals import rescaled

DIGITS = 38
EXACT = Context(prec=200)


@st.composite
def kinds(draw):
    precision = draw(st.integers(1, DIGITS))
    return pa.decimal128(precision, draw(st.integers(0, precision)))


@st.composite
def numbers(draw):
    """A value of some exact type, often one with zeros at its end, which another scale may drop."""
    if draw(st.booleans()):
        return pa.array([draw(st.integers(-(2**63), 2**63 - 1))], pa.int64())
    kind = draw(kinds())
    units = draw(st.integers(0, 10**kind.precision - 1))
    units -= units % 10 ** draw(st.integers(0, kind.precision))
    value = EXACT.scaleb(Decimal(draw(st.sampled_from([1, -1])) * units), -kind.scale)
    return pa.array([value], kind)


@given(numbers(), kinds())
@example(pa.array([4449734546176139861], pa.int64()), pa.decimal128(DIGITS, 31))
@example(pa.array([Decimal(12345678901234567890)], pa.decimal128(38, 0)), pa.decimal128(38, 25))
def test_a_rescaled_number_is_the_same_number_or_refused(array, kind):
    value = Decimal(array[0].as_py())
    units = EXACT.scaleb(value, kind.scale)
    if units == units.to_integral_value(context=EXACT) and abs(units) < 10**kind.precision:
        assert rescaled(array, kind).to_pylist() == [value]
    else:
        with pytest.raises(pa.ArrowInvalid):
            rescaled(array, kind)
