"""The row that a key names, among rows that are read piece by piece."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlake.datasets.inspecting.row_key import row_of_key
from eventlake.errors import InvalidInputError, NotFoundError

SCHEMA = pl.Schema({"n": pl.Int64(), "text": pl.String()})


def pieces_of(rows, size):
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return [frame.slice(start, size) for start in range(0, frame.height, size)]


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 5), st.integers(0, 5))
def test_a_row_is_found_whatever_piece_it_is_in(numbers, size, key):
    rows = [(number, f"row {place}") for place, number in enumerate(numbers)]
    there = [row for row in rows if row[0] == key]
    try:
        found = row_of_key(pieces_of(rows, size), SCHEMA, ("n",), key)
    except NotFoundError:
        assert not there
    except InvalidInputError as error:
        assert len(there) > 1
        assert error.message == f"{len(there)} rows have n {key}"
    else:
        assert found.schema == SCHEMA
        assert found.rows() == there


def test_an_invalid_key_is_refused_before_any_row_is_read():
    def unread():
        pytest.fail("a row was read")
        yield

    with pytest.raises(InvalidInputError, match="expected a key as values of n"):
        row_of_key(unread(), SCHEMA, ("n",), {"other": 1})
    with pytest.raises(InvalidInputError, match="is not a valid key"):
        row_of_key(unread(), SCHEMA, ("n",), True)


def test_all_rows_are_read_so_that_their_hash_is_checked():
    read = []

    def noted():
        for number, piece in enumerate(pieces_of([(n, "") for n in range(6)], 2)):
            read.append(number)
            yield piece

    row_of_key(noted(), SCHEMA, ("n",), 0)
    assert read == [0, 1, 2]
