"""Rows of tables whose text may not fit one array: the same rows by either way."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlake as el
from eventlake.columns.rows import chosen, gathered, grouped, narrow, numbered
from eventlake.tables import derive, payloads

pytestmark = pytest.mark.every_case

TABLE = pa.table(
    {
        "n": pa.chunked_array([[1, 2], [3, None]], pa.int64()),
        "text": pa.chunked_array([["a", None], ["ü", ""]], pa.string()),
        "inner": pa.chunked_array(
            [[{"t": ["x", None]}, None], [{"t": None}, {"t": []}]],
            pa.struct([("t", pa.list_(pa.string()))]),
        ),
    }
)


@pytest.mark.parametrize("most", [0, 1 << 30])
@pytest.mark.parametrize("indices", [[3, 0, 2, 1], [0, None, 3], [], [2, 2, 2]])
def test_rows_are_gathered_in_any_order_with_nulls(most, indices):
    found = gathered(TABLE, pa.array(indices, pa.int64()), combined_bytes=most, few_rows=2)
    assert found.schema == TABLE.schema
    plain = TABLE.to_pylist()
    assert found.to_pylist() == [
        dict.fromkeys(TABLE.column_names) if one is None else plain[one] for one in indices
    ]


def test_rows_are_chosen_in_order():
    assert chosen(TABLE, np.array([0, 3])).to_pylist() == [
        TABLE.to_pylist()[0],
        TABLE.to_pylist()[3],
    ]
    assert chosen(TABLE, np.array([], np.int64)).num_rows == 0


@given(
    st.lists(st.lists(st.tuples(st.integers(-1, 3), st.sampled_from(["", "ü", "abc", None])))),
    st.sampled_from([0, 20, 1 << 30]),
    st.booleans(),
)
def test_every_row_is_in_its_group_in_order(chunks, window_bytes, many_groups):
    rows = [row for chunk in chunks for row in chunk]
    column = pa.chunked_array([[text for _, text in chunk] for chunk in chunks], pa.string())
    # More groups than 16 bits hold are sorted another way.
    factor = 1 << 15 if many_groups else 1
    numbers = np.array([number * factor for number, _ in rows], np.int32)
    found, before = [], -1
    for window in grouped(column, numbers, window_bytes):
        placed = sorted(row for _, own, _ in window for row in own.tolist())
        assert not placed or placed[0] > before
        before = placed[-1] if placed else before
        for number, own, values in window:
            assert own.tolist() == sorted(own.tolist())
            found += zip(own.tolist(), [number] * len(own), values.to_pylist(), strict=True)
    expected = [(row, n * factor, text) for row, (n, text) in enumerate(rows) if n >= 0]
    assert sorted(found) == expected


@given(st.lists(st.lists(st.sampled_from(["b", "a", "", "ü"]))))
def test_values_are_numbered_as_they_first_appear(chunks):
    numbers, names = numbered(pa.chunked_array(chunks, pa.string()))
    plain = [value for chunk in chunks for value in chunk]
    assert names == list(dict.fromkeys(plain))
    assert [names[number] for number in numbers] == plain


@pytest.mark.parametrize("most", [0, 1 << 30])
def test_text_is_narrowed_in_pieces(most):
    text = pa.chunked_array([["a", "b", None], [], ["c" * 100]], pa.large_string())
    column = narrow(text, most)
    assert (column.type, column.to_pylist()) == (pa.string(), ["a", "b", None, "c" * 100])


def test_an_event_table_is_the_same_by_either_way(monkeypatch):
    def made():
        lake = el.create("memory://", origin="o")
        lake.register("t", {"type": "object", "properties": {"s": {"type": "string"}}})
        lake.append(
            [
                {
                    "id": str(n),
                    "source": "s",
                    "type": "t" if n % 2 else "u",
                    "subject": f"/{n % 3}",
                    "data": {"s": "x" * n},
                }
                for n in range(50)
            ]
        )
        return lake.snapshot().table("t").collect().drop("recorded_at", "time")

    plain = made()
    in_pieces = partial(gathered, combined_bytes=0, few_rows=7)
    for module in (derive, payloads):
        monkeypatch.setattr(module, "gathered", in_pieces)
    assert made().equals(plain)
