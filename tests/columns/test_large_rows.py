"""Rows of tables whose text may not fit one array: the same rows by either way."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.columns.rows import chosen, gathered, narrow
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
