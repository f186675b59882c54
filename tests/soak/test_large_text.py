"""More than 2 GiB of text in one column, of chunks that share their memory."""

import os

import numpy as np
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.columns.intake.envelope import to_batch
from eventlake.columns.schema import INSTANT
from eventlake.schemas.validate import schema_problems
from eventlake.tables.derive import by_type, derive

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif("EVENTLAKE_SOAK_SECONDS" not in os.environ, reason="takes 5 GB: make soak"),
]
ROWS = 250 * 9


@pytest.fixture(scope="module")
def table():
    chunk = pa.array(['{"s":"' + "x" * 1_000_000 + '"}'] * 250)
    columns = {
        "id": [str(n) for n in range(ROWS)],
        "source": ["s"] * ROWS,
        "type": ["a" if n % 100 else "b" for n in range(ROWS)],
    }
    return pa.table({**columns, "data": pa.chunked_array([chunk] * 9)})


def test_payloads_beyond_two_gib_are_checked_left_out_and_derived(table):
    lake = el.create("memory://", origin="o")
    version = lake.register("b", {"type": "object", "properties": {"s": {"type": "string"}}})
    batch, problems = to_batch(table)
    assert not problems
    assert schema_problems(batch, lake._chain.catalogue(), strict=False) == []
    assert batch.without(np.array([0])).rows == ROWS - 1
    assigned = {
        "sequence": pa.array(np.arange(ROWS)),
        "recorded_at": pa.array([0] * ROWS).cast(INSTANT),
    }
    events = table
    for name, column in assigned.items():
        events = events.append_column(name, column)
    ((event_type, mine),) = by_type(events, {"b"})
    assert event_type == "b"
    made = derive(mine, version)
    assert made.column("sequence").to_pylist() == list(range(0, ROWS, 100))
    assert {len(text) for text in made.column("s").to_pylist()} == {1_000_000}


def test_a_few_large_payloads_repeated_by_a_dictionary_are_taken(table):
    values = pa.DictionaryArray.from_arrays(
        np.zeros(ROWS, np.int32), table.column("data").chunk(0).slice(0, 1)
    )
    batch, problems = to_batch(table.drop(["data"]).append_column("data", values))
    assert not problems
    assert batch.table.column("data").type == pa.string()
    assert batch.table.column("data")[ROWS - 1] == table.column("data")[0]
