"""What a first batch of events has in the wrong form is told by an expression, and the expression works."""

import json
import re
from datetime import UTC, date, datetime, time
from uuid import UUID

import msgspec
import pandas as pd
import polars as pl
import pytest

import eventlake as el
from eventlake.errors import InvalidEventsError

NAMES = {"UTC": UTC, "datetime": datetime, "time": time, "msgspec": msgspec, "pl": pl}
EVENT = {"id": "1", "source": "till", "type": "sale", "data": {"amount": 1}}


@pytest.fixture
def lake():
    return el.create("memory://", "o")


def told(lake, events):
    with pytest.raises(InvalidEventsError) as refused:
        lake.append(events)
    (problem,) = refused.value.problems
    return problem.message


def written(message, value):
    """The value of the expression that a message says to write."""
    expression = re.search(r"write (.*?)(?:$| if |, which)", message)[1]
    return eval(expression, NAMES | {"value": value})  # noqa: S307 - what a user is told to write


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", 1),
        ("subject", UUID(int=7)),
        ("time", datetime(2026, 1, 31, 12)),
        ("time", date(2026, 1, 31)),
        ("time", 1_769_860_800),
    ],
)
def test_an_attribute_of_another_type_is_told_the_expression_that_is_right(lake, name, value):
    message = told(lake, [EVENT | {name: value}])
    lake.append([EVENT | {name: written(message, value)}])
    assert lake.snapshot().scan([name]).collect().item() is not None


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_or_object_as_bytes_is_told_how_to_make_lines_of_it(lake, indent):
    for number, document in enumerate(([EVENT, EVENT | {"id": "2"}], EVENT | {"id": "3"})):
        content = json.dumps(document, indent=indent).encode()
        if indent is not None or number == 0:
            content = written(told(lake, content), content)
        lake.append(content)
    assert lake.watermark == 3


def test_lines_that_are_arrays_are_named_each(lake):
    with pytest.raises(InvalidEventsError) as refused:
        lake.append(b"[1]\n[2]")
    assert [one.row for one in refused.value.problems if one.field == "line"] == [0, 1]


def test_a_fact_of_ones_own_is_told_to_belong_into_data(lake):
    assert "other facts belong into data" in told(lake, [EVENT | {"user_id": 5}])
    assert "belong into data" in told(lake, [EVENT | {"ratio": 0.5}])
    frame = pl.DataFrame({"id": ["1"], "source": "s", "type": "t", "amount": [1.5]})
    expression = re.search(r"data=(.*)", told(lake, frame))[1]
    lake.append(frame.select("id", "source", "type", data=eval(expression, NAMES)))  # noqa: S307 - as above
    assert lake.snapshot().scan(["data"]).collect().item() == '{"amount":1.5}'


def test_a_column_of_another_type_is_told_the_cast(lake):
    frame = pl.DataFrame({"id": [1], "source": "s", "type": "t"})
    assert ".cast(pl.String) in Polars, .astype('string') in pandas" in told(lake, frame)
    lake.append(frame.with_columns(pl.col("id").cast(pl.String)))
    lake.append(frame.with_columns(id=2).to_pandas().astype({"id": "string"}))
    naive = frame.select(pl.lit("3").alias("id"), "source", "type", time=datetime(2026, 1, 31))
    message = told(lake, naive)
    assert ".dt.replace_time_zone('UTC') in Polars" in message
    assert ".dt.tz_localize('UTC') in pandas" in message
    lake.append(naive.with_columns(pl.col("time").dt.replace_time_zone("UTC")))
    times = pd.Series([datetime(2026, 1, 31)]).dt.tz_localize("UTC")
    lake.append(naive.with_columns(id=pl.lit("4")).to_pandas().assign(time=times))
    assert lake.watermark == 4


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_ndjson_is_read_from_bytes_of_any_kind(lake, kind):
    lines = b'{"id":"1","source":"s","type":"t"}\n{"id":"2","source":"s","type":"t"}\n'
    assert lake.append(kind(lines)).count == 2
