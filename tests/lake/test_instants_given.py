"""Instants that a caller gives: taken to the microsecond, refused if finer, naive or not there; never cut."""

import json
import re
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import polars as pl
import pytest

import eventlake as el
from eventlake.core.instants import instant_of, micros
from eventlake.errors import InvalidInputError, InvalidProjectionError

START = datetime(2026, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
NS = pd.Timestamp("2026-01-01T00:00:00.000001500Z")
"""Cut to the microsecond it would leave the second event out; rounded up it would take in the third."""

REFUSED = [
    NS,
    pd.NaT,
    "2026-01-01T00:00:00.0000015Z",
    "2026-01-01T00:00:00.000001",
    "2026-01-01",
    "2025-12-31T23:00:00.000001-00:60",
    "2026-01-02T00:00:00.000001+24:00",
    "2025-12-31T24:00:00.000001Z",
    "2025-12-31T23:59:60Z",
    "yesterday",
    datetime(2026, 1, 1),
    pd.Timestamp("2026-01-01"),
    np.datetime64("2026-01-01T00:00:00.000001500", "ns"),
    np.datetime64("2026-01-01", "D"),
    date(2026, 1, 1),
]
EXACT = [
    START + US,
    "2026-01-01T00:00:00.000001Z",
    "2026-01-01T00:00:00.000001000Z",
    "2026-01-01T01:00:00.000001+01:00",
    pd.Timestamp("2026-01-01T00:00:00.000001000Z"),
    (START + US).astimezone(timezone(timedelta(hours=1))),
]


@pytest.fixture
def lake():
    made = el.create("memory://", origin="bank.example/instants")
    made.register(
        "t", {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}}
    )
    made.append(
        [
            {
                "id": str(n),
                "source": "s",
                "type": "t",
                "subject": "/a",
                "time": START + n * US,
                "recorded_at": START + n * US,
                "data": {"at": START + n * US},
            }
            for n in range(4)
        ]
    )
    return made


@pytest.mark.parametrize("value", EXACT)
def test_an_instant_of_whole_microseconds_is_taken_exactly_by_every_verb(lake, value):
    assert instant_of(value) == micros(START) + 1
    assert lake.snapshot(at=value).watermark == 1
    snapshot = lake.snapshot()
    assert snapshot.table("t", known_at=value).collect().height == 1
    features = el.FeatureSet(
        "f", features=[el.count("t", where=el.field("at") <= value).name("n")], known="watermark"
    )
    spine = pl.DataFrame({"subject": ["/a"], "cutoff": [datetime(2027, 1, 1, tzinfo=UTC)]})
    assert lake.build(features, spine=spine).polars()["n"].to_list() == [2]
    built = lake.build(
        el.Projection.sql("d", "SELECT subject, time, sequence FROM events", key=["time"])
    )
    assert built.split(by="time", column="time", since=value).test["sequence"].to_list() == [
        1,
        2,
        3,
    ]
    assert built.explain(value).row["sequence"] == 1
    until = el.spine.on("t", known_until=value).label("more", el.exists("t"), horizon="1s")
    assert until.rows(snapshot.history)["more"].to_list() == [None] * 4


@pytest.mark.parametrize("value", REFUSED)
def test_an_instant_that_is_finer_naive_or_none_is_refused_by_every_verb(lake, value):
    with pytest.raises(ValueError, match="expected"):
        instant_of(value)
    with pytest.raises(InvalidInputError, match="expected"):
        lake.snapshot(at=value)
    with pytest.raises(InvalidInputError, match="known_at="):
        lake.snapshot().table("t", known_at=value)
    built = lake.build(
        el.Projection.sql("d", "SELECT subject, time, sequence FROM events", key=["time"])
    )
    with pytest.raises(InvalidInputError, match="since="):
        built.split(by="time", column="time", since=value)
    with pytest.raises(InvalidInputError, match="not a valid key of these rows"):
        built.explain(value)
    until = el.spine.on("t", known_until=value).label("more", el.exists("t"), horizon="1s")
    with pytest.raises(InvalidInputError, match="known_until="):
        until.rows(lake.snapshot().history)
    spine = pl.DataFrame({"subject": ["/a"], "cutoff": [datetime(2027, 1, 1, tzinfo=UTC)]})
    with pytest.raises(InvalidInputError, match=r"expected|is compared with"):
        lake.build(
            el.FeatureSet(
                "f", features=[el.count("t", where=el.field("at") <= value)], known="watermark"
            ),
            spine=spine,
        )


@pytest.mark.parametrize("value", [NS, "2026-01-01T00:00:00.0000015Z"])
@pytest.mark.parametrize("field", ["time", "recorded_at"])
def test_an_event_is_not_given_an_instant_that_would_be_cut(lake, field, value):
    (problem,) = [
        one
        for one in lake.check([{"id": "9", "source": "s", "type": "u", field: value}])
        if one.field == field
    ]
    assert problem.message == "expected microseconds at the finest"


def test_a_payload_is_not_given_an_instant_that_would_be_cut(lake):
    (problem,) = lake.check([{"id": "9", "source": "s", "type": "u", "data": {"at": NS}}])
    assert problem.message.endswith("expected microseconds at the finest")


ODD = [
    "2026-01-01T12:00:00+01:99",
    "2026-01-01T12:00:00-01:60",
    "2026-01-01T12:00:00+24:00",
    "2026-01-01T24:00:00Z",
]


@pytest.mark.parametrize("value", ODD)
def test_an_event_is_not_given_an_hour_or_offset_that_no_clock_shows(lake, tmp_path, value):
    event = {
        "id": "9",
        "source": "s",
        "type": "t",
        "time": value,
        "recorded_at": "2027-01-01T00:00:00Z",
        "data": {"at": value},
    }
    given = [
        [event],
        pl.DataFrame([event | {"data": json.dumps(event["data"])}]),
        json.dumps(event).encode(),
    ]
    for events in given:
        found = {problem.field: problem for problem in lake.check(events)}
        assert (found["time"].row, found["time"].found) == (0, value)
        assert re.match(r"expected an (hour|offset) from", found["time"].message)
        found = {problem.field: problem for problem in lake.check([event | {"time": None}])}
        assert found["data.at"].message.startswith("expected an instant as RFC 3339 with a zone")
        (problem,) = lake.check([event | {"time": None, "data": None, "recorded_at": value}])
        assert (problem.field, problem.found) == ("recorded_at", value)
    (tmp_path / "s.csv").write_text(f"subject,cutoff\n/a,{value}\n")
    with pytest.raises(InvalidProjectionError, match=r"cutoff"):
        el.spine.read(tmp_path / "s.csv", columns={"cutoff": "timestamp"})


def test_a_payload_that_was_stored_with_such_an_offset_keeps_its_value():
    made = el.create("memory://", origin="bank.example/odd")
    made.append(
        [
            {"id": str(n), "source": "s", "type": "t", "data": {"at": value}}
            for n, value in enumerate(ODD[:2])
        ]
    )
    made.register(
        "t", {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}}
    )
    expected = [datetime(2026, 1, 1, 9, 21, tzinfo=UTC), datetime(2026, 1, 1, 14, tzinfo=UTC)]
    built = made.build(el.Projection.sql("d", 'SELECT sequence, t."at" FROM t', key=["sequence"]))
    assert built.polars().sort("sequence")["at"].to_list() == expected
    assert made.snapshot().table("t").sort("sequence").collect()["at"].to_list() == expected


def test_rows_of_instants_without_a_zone_are_split_by_an_instant_without_one(lake):
    built = lake.build(
        el.Projection.sql(
            "d",
            "SELECT time::TIMESTAMP AS t, sequence FROM events",
            key=["sequence"],
            level="fixed",
        )
    )
    assert built.split(by="time", column="t", since=datetime(2026, 1, 1, 0, 0, 0, 1)).test[
        "sequence"
    ].to_list() == [1, 2, 3]
    for value in (START, "2026-01-01T00:00:00Z", pd.Timestamp("2026-01-01T00:00:00.0000015")):
        with pytest.raises(InvalidInputError, match="since="):
            built.split(by="time", column="t", since=value)
