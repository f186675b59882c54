"""A payload that was accepted is the same through every face: as it was written, in Polars, in SQL, in Arrow and in pandas."""

import math

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.errors import InvalidEventsError
from eventlake.schemas.parse import _row_by_row
from eventlake.schemas.schema import Schema
from eventlake.storage import MemoryStorage
from tests.scope import examples
from tests.support.bad_payloads import PAYLOADS
from tests.support.typed_json import spelled, structs


@st.composite
def typed(draw):
    payload = draw(structs(1))
    return Schema("pay", payload), draw(
        st.lists(spelled(payload, wild=False), min_size=1, max_size=4)
    )


@given(typed(), st.booleans())
@settings(max_examples=examples(30))
@pytest.mark.timeout(600)
def test_an_accepted_payload_is_equal_through_every_face(case, later):
    schema, payloads = case
    lake = el.create(MemoryStorage(), "o")
    if not later:
        lake.register("pay", schema)
    events = [
        {"id": str(n), "source": "s", "type": "pay", "data": payload}
        for n, payload in enumerate(payloads)
    ]
    try:
        lake.append(events)
        lake.register("pay", schema)
    except InvalidEventsError:
        return
    snapshot = lake.snapshot()
    expected = _row_by_row(pa.array(payloads), schema.payload, stored=False)[0].to_pylist()
    names = dict(zip(schema.columns, (field.name for field in schema.fields), strict=True))

    def fields(rows):
        return [{name: row[column] for column, name in names.items()} for row in rows]

    assert (
        snapshot.scan(["sequence", "data"]).sort("sequence").collect()["data"].to_list() == payloads
    )
    frame = snapshot.table("pay").sort("sequence").collect()
    assert same(fields(frame.to_dicts()), expected)
    result = snapshot.sql('SELECT * FROM "pay" ORDER BY sequence')
    assert same(fields(result.polars().to_dicts()), expected)
    assert same(fields(result.arrow().to_pylist()), expected)
    assert same(fields(pa.RecordBatchReader.from_stream(result).read_all().to_pylist()), expected)
    assert same(fields([plain(row) for row in result.pandas().to_dict("records")]), expected)


def plain(row):
    """What pandas puts in the place of nothing, and of instants, as Python has it."""
    out = {}
    for name, value in row.items():
        absent = not isinstance(value, list | dict) and pd.isna(value)
        out[name] = (
            None if absent else value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
        )
    return out


def same(found, expected):
    """Equal, zeros and their signs too."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(same(found[name], expected[name]) for name in expected)
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(found) == len(expected)
            and all(map(same, found, expected))
        )
    if isinstance(expected, float):
        return found == expected and math.copysign(1, found) == math.copysign(1, expected)
    return found == expected and isinstance(found, bool) == isinstance(expected, bool)


def test_integers_that_are_no_doubles_come_through_pandas_beside_a_null():
    lake = el.create(MemoryStorage(), "o")
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "l": {"type": "array", "items": {"type": "integer"}},
        },
    }
    lake.register("pay", schema)
    large = 2**63 - 1
    lake.append(
        [
            {"id": "1", "source": "s", "type": "pay", "data": {"n": large, "l": [large]}},
            {"id": "2", "source": "s", "type": "pay"},
        ]
    )
    frame = lake.snapshot().sql('SELECT n, l FROM "pay" ORDER BY sequence').pandas()
    assert (frame["n"][0], frame["n"].isna().tolist(), frame["l"][0]) == (
        large,
        [False, True],
        [large],
    )


HOSTILE = {
    param.id: param.values[0][1]["data"] for param in PAYLOADS if isinstance(param.values[0], list)
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_payload_of_a_registered_type_is_refused_by_row_among_a_thousand_good_ones(
    hostile,
):
    lake = el.create(MemoryStorage(), "o")
    lake.register("t", {"type": "object", "properties": {"a": {"type": "integer"}}})
    events = [
        {"id": str(n), "source": "s", "type": "t", "data": f'{{"a":{n}}}'} for n in range(1_000)
    ]
    events[777]["data"] = hostile
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(events)
    assert {problem.row for problem in caught.value.problems} == {777}
    assert all(
        problem.field.split(".")[0] == "data" and problem.message
        for problem in caught.value.problems
    )
    assert lake.watermark == 0
    events[777]["data"] = '{ "a" : 777 , "b":1.50 }'
    lake.append(events)
    assert lake.snapshot().scan(["data"]).collect()["data"][777] == events[777]["data"]
    assert lake.snapshot().table("t", ["a"]).collect()["a"].to_list() == list(range(1_000))
