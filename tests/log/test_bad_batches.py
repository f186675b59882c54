"""The table of everything a batch may not be. Each case is refused whole, with row and field, and writes nothing."""

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.core.instants import from_micros
from eventlake.errors import ConflictError, InvalidEventsError, InvalidInputError, NotFoundError
from tests.support.bad_payloads import (
    JSON,
    PAYLOADS,
    arrow,
    between,
    case,
    event,
    middle,
    row1,
    view,
)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def without(name):
    return {key: value for key, value in event().items() if key != name}


def extension(name, value, says=""):
    return row1(f"extensions: {name}", "extensions", says, extensions=value)


REQUIRED = [
    *(
        case(f"{name} is missing", between(without(name)), (1, name), says="required")
        for name in ("id", "source", "type")
    ),
    *(
        row1(f"{name} is null", name, "required", **{name: None})
        for name in ("id", "source", "type")
    ),
    *(
        row1(f"{name} is empty", name, "at least one character", **{name: ""})
        for name in ("id", "source", "type")
    ),
    *(
        row1(f"{name} is a number", name, "expected text", **{name: 7})
        for name in ("id", "source", "type")
    ),
    *(
        case(f"an Arrow table has no {name}", arrow(1, **{name: None}), (0, name), says="required")
        for name in ("id", "source", "type")
    ),
    case(
        "an event is no dict",
        between("x", None, 7),
        (1, "event"),
        (2, "event"),
        (3, "event"),
        says="expected a dict",
    ),
    case(
        "an event is an empty dict",
        between({}),
        (1, "id"),
        (1, "source"),
        (1, "type"),
        says="required",
    ),
]
ATTRIBUTES = [
    *(
        row1(f"{name} is empty", name, "at least one character", **{name: ""})
        for name in ("subject", "dataschema", "correlation_id")
    ),
    *(
        row1(f"{name} is no text", name, "expected text", **{name: ["x"]})
        for name in ("subject", "causation_id", "dataschema")
    ),
    row1("an attribute holds NUL", "subject", "control characters", subject="a\x00b"),
    row1("an attribute holds a line break", "id", "control characters", id="a\nb"),
    row1("an attribute holds a C1 control", "source", "control characters", source="a\x85"),
    row1("an attribute is longer than 4,096 bytes", "subject", "4,096 bytes", subject="é" * 2049),
    row1("an attribute holds a lone surrogate", "subject", "surrogates", subject="\ud800"),
    row1("an attribute is bytes", "subject", "expected text", subject=b"x"),
    row1("a type is called events", "type", "SQL", type="events"),
    row1("a type is called spine", "type", "SQL", type="spine"),
    row1(
        "datacontenttype is XML",
        "datacontenttype",
        "JSON content type",
        datacontenttype="application/xml",
    ),
    row1(
        "datacontenttype is nearly JSON",
        "datacontenttype",
        "JSON content type",
        datacontenttype="application/jsonp",
    ),
    row1("datacontenttype is empty", "datacontenttype", "at least", datacontenttype=""),
    row1("traceparent is no W3C trace parent", "traceparent", "W3C", traceparent="x"),
    row1("traceparent is in upper case", "traceparent", "W3C", traceparent=TRACE.upper()),
    row1("traceparent has a line break", "traceparent", "", traceparent=TRACE + "\n"),
    row1("specversion is 0.3", "specversion", "'1.0'", specversion="0.3"),
    row1("data_base64 is given", "data_base64", "binary", data_base64="eA=="),
    row1("a known name is misspelt", "tpye", "did you mean 'type'", tpye="x"),
    row1("a name has capitals", "Subject", "did you mean 'subject'", Subject="x"),
    row1(
        "an extension name has an underscore", "my_zone", "lower-case letters and digits", my_zone=1
    ),
    case(
        "a name is no text",
        between({7: 1} | event()),
        (1, "7"),
        says="lower-case letters and digits",
    ),
    row1(
        "an attribute is given in both spellings",
        "correlation_id",
        "two spellings",
        correlationid="x",
        correlation_id="y",
    ),
]
DUPLICATES = [
    case(
        "an id stands twice in a batch",
        between(event(), event(data=1)),
        (2, "id"),
        says="row 1 has it already",
    ),
    case(
        "an id stands three times",
        between(event(), event(), event()),
        (2, "id"),
        (3, "id"),
        says="once in a batch",
    ),
]
CORRECTIONS = [
    row1("correction without corrects", "corrects", "id of the event", correction="replace"),
    row1(
        "an unknown correction",
        "correction",
        "'replace' or 'retract'",
        corrects="a",
        correction="delete",
    ),
    row1("an event corrects itself", "corrects", "cannot correct itself", corrects="b"),
    row1("corrects is empty", "corrects", "at least", corrects=""),
]
CLOCKS = [
    row1("time: a naive datetime", "time", "zone", time=datetime(2026, 1, 31)),
    row1("time: naive text", "time", "zone", time="2026-01-31T12:00:00"),
    row1("time: no instant", "time", "RFC 3339", time="yesterday"),
    row1("time: an impossible day", "time", "", time="2026-02-30T12:00:00Z"),
    row1("time: a day", "time", "not a day", time=date(2026, 1, 31)),
    row1("time: a number", "time", "RFC 3339", time=1_767_225_600),
    row1(
        "time: text finer than a microsecond",
        "time",
        "microseconds",
        time="2026-01-31T12:00:00.0000001Z",
    ),
    row1(
        "time: a pandas timestamp finer than a microsecond",
        "time",
        "microseconds",
        time=pd.Timestamp(1, unit="ns", tz="UTC"),
    ),
    row1(
        "time: before the year 1 in UTC",
        "time",
        "years 1 to 9999",
        time="0001-01-01T00:00:00+00:01",
    ),
    case(
        "time: Arrow, finer than a microsecond",
        arrow(time=middle(1_001, pa.timestamp("ns", "UTC"))),
        (1, "time"),
        says="microseconds",
    ),
    case(
        "time: Arrow, text that is no UTF-8",
        arrow(time=view(b"2026-01-31T12:00:00Z", b"\xff", b"2026-01-31T12:00:00Z")),
        (1, "time"),
        says="UTF-8",
    ),
    case(
        "time: Arrow, out of the years and out of microseconds",
        arrow(time=pa.array([253_402_300_800, 2**60, 0], pa.timestamp("s", "UTC"))),
        (0, "time"),
        (1, "time"),
        says="microseconds can hold",
    ),
    case(
        "time: Arrow, without a zone",
        arrow(time=middle(1, pa.timestamp("us"))),
        (None, "time"),
        says="without a zone",
    ),
    case(
        "time: Arrow, text without a zone",
        arrow(time=middle("2026-01-31T12:00:00", pa.string())),
        (1, "time"),
        says="zone",
    ),
    case("time: Arrow, a number", arrow(time=middle(1, pa.int64())), (None, "time"), says="int64"),
    case(
        "time: Arrow, a day",
        arrow(time=middle(date(2026, 1, 1), pa.date32())),
        (None, "time"),
        says="date32",
    ),
    case(
        "time: Arrow, beyond the year 9999",
        arrow(time=middle(2**58, pa.timestamp("us", "UTC"))),
        (1, "time"),
        says="9999",
    ),
    case(
        "time: Arrow, seconds beyond the year 9999",
        arrow(time=middle(2**40, pa.timestamp("s", "UTC"))),
        (1, "time"),
        says="9999",
    ),
    case(
        "recorded_at: it decreases",
        [
            event("a", recorded_at=NOW),
            event("b", recorded_at=NOW - timedelta(microseconds=1)),
            event("c", recorded_at=NOW),
        ],
        (1, "recorded_at"),
        says="non-decreasing",
    ),
    case(
        "recorded_at: missing in a row",
        [event("a", recorded_at=NOW), event("b"), event("c", recorded_at=NOW)],
        (1, "recorded_at"),
    ),
    case(
        "recorded_at: naive",
        [event("a", recorded_at="2026-01-31T12:00:00")],
        (0, "recorded_at"),
        says="zone",
    ),
    case(
        "recorded_at: Arrow, a number",
        arrow(recorded_at=pa.array([1, 2, 3])),
        (None, "recorded_at"),
        says="int64",
    ),
    case(
        "recorded_at: in the far future",
        [event(recorded_at="2126-01-01T00:00:00Z")],
        (0, "recorded_at"),
        says="five minutes",
    ),
    case(
        "recorded_at: the last of the batch is in the far future",
        [event("a", recorded_at=NOW), event("b", recorded_at=NOW + timedelta(days=40_000))],
        (1, "recorded_at"),
        says="five minutes",
    ),
]
SEQUENCES = [
    case(
        "sequence: not dense",
        [event("a", sequence=0), event("b", sequence=2)],
        (1, "sequence"),
        says="dense",
    ),
    case(
        "sequence: missing in a row",
        [event("a", sequence=0), event("b")],
        (1, "sequence"),
        says="from 0",
    ),
    case("sequence: text", [event("a", sequence="0")], (0, "sequence"), says="int64"),
    case("sequence: a boolean", [event("a", sequence=False)], (0, "sequence"), says="int64"),
    case(
        "sequence: Arrow, floating point",
        arrow(sequence=pa.array([0.0, 1.0, 2.0])),
        (None, "sequence"),
        says="double",
    ),
]
EXTENSIONS = [
    extension("a list", [1], "expected text"),
    extension("text of a list", "[1]", "JSON object"),
    extension("text of a number", "1", "JSON object"),
    extension("null in text", "null", "JSON object"),
    extension("no JSON", "{", JSON),
    extension("empty text", "", JSON),
    extension("a duplicate key", '{"a":1,"a":1}', "uplicate"),
    extension("a float", {"a": 0.5}, "floating point"),
    extension("a float in text", '{"a":1.0}', "floating point"),
    extension("NaN", {"a": float("nan")}, JSON),
    extension("a set", {"a": {1}}, JSON),
    extension("a lone surrogate", {"a": "\ud800"}, "surrogates"),
    extension("an escaped lone surrogate", '{"a":"\\ud800"}', JSON),
    extension("nested 65 deep", '{"a":' * 65 + "1" + "}" * 65, "64 levels"),
    row1(
        "extensions: text beside one given by name",
        "extensions",
        "beside",
        extensions='{"a":1}',
        b=2,
    ),
    row1("extensions: a float given by name", "extensions", "floating point", ratio=0.5),
    case(
        "extensions: Arrow, a struct",
        arrow(extensions=middle({"a": 1}, pa.struct({"a": pa.int64()}))),
        (None, "extensions"),
    ),
]
COLUMNS = [
    case(
        "an Arrow column is of a type that Arrow does not decode",
        arrow(
            data=pa.DictionaryArray.from_arrays(
                [0, 0, 0], pa.array([{"a": "x"}], pa.struct({"a": pa.string_view()}))
            )
        ),
        (None, "data"),
        says="decodes",
    ),
    case(
        "an Arrow column is unknown",
        arrow(amount=[1, 2, 3]),
        (None, "amount"),
        says="data or extensions",
    ),
    case(
        "an Arrow column is misspelt",
        arrow(Subject=["x"] * 3),
        (None, "Subject"),
        says="expected one of",
    ),
    case(
        "an Arrow column stands in two spellings",
        arrow(correlationid=["x"] * 3, correlation_id=["y"] * 3),
        (None, "correlation_id"),
    ),
    case(
        "an Arrow column stands twice",
        pa.Table.from_arrays([pa.array(["x"])] * 4, names=["id", "source", "type", "id"]),
        (None, "id"),
        says="twice",
    ),
    *(
        case(
            f"an Arrow {name} is a column of numbers",
            arrow(**{name: [1, 2, 3]}),
            (None, name),
            says="int64",
        )
        for name in ("id", "source", "type", "subject", "data", "corrects")
    ),
    case(
        "an Arrow subject is binary",
        arrow(subject=middle(b"x", pa.binary())),
        (None, "subject"),
        says="binary",
    ),
    case(
        "Arrow data holds NaN",
        arrow(data=middle({"a": float("nan")}, pa.struct({"a": pa.float64()}))),
        (1, "data"),
        says="nan",
    ),
    case(
        "Arrow data holds binary",
        arrow(data=middle({"a": b"x"}, pa.struct({"a": pa.binary()}))),
        (1, "data"),
        says="bytes has no JSON",
    ),
    case(
        "Arrow data holds a naive time",
        arrow(data=middle({"a": 0}, pa.struct({"a": pa.timestamp("us")}))),
        (1, "data"),
        says="zone",
    ),
    case(
        "Arrow data holds nanoseconds",
        arrow(data=middle({"a": 1}, pa.struct({"a": pa.timestamp("ns", "UTC")}))),
        (1, "data"),
        says="micro",
    ),
    case(
        "Arrow data is a map",
        arrow(data=middle([("a", 1)], pa.map_(pa.string(), pa.int64()))),
        (None, "data"),
        says="map",
    ),
    case(
        "an Arrow subject is no UTF-8",
        arrow(subject=view(None, b"\xff", None)),
        (1, "subject"),
        says="UTF-8",
    ),
    case(
        "Polars data holds a duration",
        pl.DataFrame(arrow(1)).with_columns(data=pl.struct(a=pl.duration(days=1))),
        (0, "data"),
        says="JSON",
    ),
    case(
        "a pandas id is a number",
        pd.DataFrame({"id": [1], "source": ["s"], "type": ["t"]}),
        (None, "id"),
        says="int64",
    ),
]


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("events", "places", "says"),
    [
        *REQUIRED,
        *ATTRIBUTES,
        *DUPLICATES,
        *CORRECTIONS,
        *CLOCKS,
        *SEQUENCES,
        *PAYLOADS,
        *EXTENSIONS,
        *COLUMNS,
    ],
)
def test_a_bad_batch_is_refused_whole_with_row_and_field(tmp_path, events, places, says):
    lake = el.create(tmp_path / "lake", "o")
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(events)
    error = caught.value
    assert {(problem.row, problem.field) for problem in error.problems} == places
    assert any(says in str(problem) for problem in error.problems)
    for row, field in list(places)[:10]:
        assert (f"row {row:,}, field {field}" if row is not None else f"column {field}") in str(
            error
        )
    assert files(tmp_path / "lake") == ["lake.json", "reserve"]
    assert lake.watermark == el.open(tmp_path / "lake").watermark == 0


NDJSON = [
    case(
        "a line is no JSON",
        b'{"id":"a","source":"s","type":"t"}\n{"id":',
        (1, "line"),
        (1, "id"),
        (1, "source"),
        (1, "type"),
    ),
    case("a line is a list", b"[1]", (0, "line")),
    case(
        "a line has the same key twice", b'{"id":"a","id":"a","source":"s","type":"t"}', (0, "line")
    ),
    case(
        "a payload has the same key twice",
        b'{"id":"a","source":"s","type":"t","data":{"a":1,"a":1}}',
        (0, "line"),
    ),
    case("a payload is NaN", b'{"id":"a","source":"s","type":"t","data":NaN}', (0, "line")),
    case("a payload is 1e999", b'{"id":"a","source":"s","type":"t","data":1e999}', (0, "line")),
    case("a line is no UTF-8", b'{"id":"\xff","source":"s","type":"t"}', (0, "line")),
    case(
        "a file starts with a byte order mark",
        b'\xef\xbb\xbf{"id":"a","source":"s","type":"t"}',
        (0, "line"),
    ),
    case(
        "a line holds two events",
        b'{"id":"a","source":"s","type":"t"} {"id":"b","source":"s","type":"t"}',
        (0, "line"),
    ),
    case(
        "a payload has 65 levels",
        b'{"id":"a","source":"s","type":"t","data":' + b"[" * 65 + b"]" * 65 + b"}",
        (0, "line"),
    ),
    case("an id is a number", b'{"id":7,"source":"s","type":"t"}', (0, "id")),
    case("a name is misspelt", b'{"id":"a","source":"s","type":"t","subjct":"x"}', (0, "subjct")),
    case(
        "data_base64 is given",
        b'{"id":"a","source":"s","type":"t","data_base64":"eA=="}',
        (0, "data_base64"),
    ),
    case(
        "a time is naive",
        b'{"id":"a","source":"s","type":"t","time":"2026-01-31T12:00:00"}',
        (0, "time"),
    ),
    case("a time is a number", b'{"id":"a","source":"s","type":"t","time":7}', (0, "time")),
    case(
        "an attribute holds an escaped line break",
        b'{"id":"a\\nb","source":"s","type":"t"}',
        (0, "id"),
    ),
]


@pytest.mark.parametrize(("content", "places", "says"), NDJSON)
def test_a_bad_ndjson_file_is_refused_whole_with_line_and_field(tmp_path, content, places, says):
    (tmp_path / "events.ndjson").write_bytes(content)
    lake = el.create(tmp_path / "lake", "o")
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(tmp_path / "events.ndjson")
    found = {(problem.row, problem.field) for problem in caught.value.problems}
    assert found >= places or found == {place for place in places if place[1] == "line"}
    assert all(row in {place[0] for place in places} for row, _ in found)
    assert files(tmp_path / "lake") == ["lake.json", "reserve"]


def test_a_line_that_is_no_json_is_not_also_blamed_for_missing_attributes(tmp_path):
    (tmp_path / "events.ndjson").write_bytes(b'{"id":"a","source":"s","type":"t"}\n{"id":')
    with pytest.raises(InvalidEventsError) as caught:
        el.create("memory://", "o").append(tmp_path / "events.ndjson")
    assert [(problem.row, problem.field) for problem in caught.value.problems] == [(1, "line")]


@pytest.mark.parametrize(
    ("bad", "places"),
    [(b'{"id":"a","source":"s"}', [(0, "type")]), (b'{"id":', [(0, "line")])],
    ids=["type is missing", "no JSON"],
)
def test_blank_lines_of_an_ndjson_file_are_no_rows(tmp_path, bad, places):
    (tmp_path / "events.ndjson").write_bytes(b"\n\n" + bad)
    with pytest.raises(InvalidEventsError) as caught:
        el.create("memory://", "o").append(tmp_path / "events.ndjson")
    assert [(problem.row, problem.field) for problem in caught.value.problems] == places


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([event(data=10**5_000)], id="an integer that Python does not print"),
        pytest.param([event(sequence=2**70)], id="sequence beyond 64 bits"),
        pytest.param(
            [event("a", sequence=2**63 - 1), event("b", sequence=0)],
            id="sequence at the end of 64 bits",
        ),
        pytest.param(
            arrow(1, time=pa.array([2**50], pa.timestamp("s", "UTC"))),
            id="seconds beyond what microseconds can hold",
        ),
        pytest.param(pl.Series([1]), id="a Polars series"),
        pytest.param(pa.chunked_array([["x"]]), id="a chunked array"),
        pytest.param(
            pd.DataFrame({"id": pd.Series(["a", 1], dtype=object), "source": "s", "type": "t"}),
            id="a pandas column of text and numbers",
        ),
    ],
)
def test_foreign_errors_do_not_escape_from_an_append(events):
    with pytest.raises(InvalidInputError):
        el.create("memory://", "o").append(events)


@pytest.mark.parametrize(
    "events",
    [
        [event(subject="\ud800")],
        [event(data={"\ud800": 1})],
        pytest.param([event(**{"\ud800": 1})]),
    ],
    ids=["in a value", "in a payload", "in a name"],
)
def test_a_refusal_of_lone_surrogates_can_itself_be_printed(events):
    with pytest.raises(InvalidEventsError) as caught:
        el.create("memory://", "o").append(events)
    assert str(caught.value).encode()


def test_all_problems_of_a_batch_are_told_at_once():
    bad = [
        event("a", type="events", data="NaN"),
        event("b", time="2026-01-31T12:00:00", subject=""),
        {"source": "s", "tpye": "t"},
        event("d", extensions="[]", correction="replace", traceparent="x"),
        event("b", data='{"a":1,"a":2}'),
        "no event",
        event("ok"),
        event("g", datacontenttype="text/plain", data="[" * 65 + "]" * 65),
    ]
    with pytest.raises(InvalidEventsError) as caught:
        el.create("memory://", "o").append(bad)
    assert [(problem.row, problem.field) for problem in caught.value.problems] == [
        (0, "data"),
        (0, "type"),
        (1, "subject"),
        (1, "time"),
        (2, "id"),
        (2, "tpye"),
        (2, "type"),
        (3, "corrects"),
        (3, "extensions"),
        (3, "traceparent"),
        (4, "data"),
        (4, "id"),
        (5, "event"),
        (7, "data"),
        (7, "datacontenttype"),
    ]


def test_every_one_of_many_bad_rows_is_told():
    with pytest.raises(InvalidEventsError) as caught:
        el.create("memory://", "o").append([event(str(n), data="x") for n in range(1_000)])
    assert [(problem.row, problem.field) for problem in caught.value.problems] == [
        (n, "data") for n in range(1_000)
    ]
    assert "1,000 problems in the batch" in str(caught.value)


def test_an_extension_given_twice_with_two_values_is_refused():
    lake = el.create("memory://", "o")
    try:
        lake.append([event(extensions={"zone": 1}, zone=2)])
    except InvalidEventsError as error:
        assert [problem.row for problem in error.problems] == [0]
    else:
        pytest.fail(
            f"kept {lake.snapshot().scan(columns=['extensions']).collect().item()}, the other value was dropped silently"
        )


@pytest.fixture
def filled(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    lake.append([event("a", data=1), event("b", source="other")])
    return lake


def refused(lake, folder, events):
    """The problems of a batch that must be refused and leave no trace."""
    before = files(folder / "lake")
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(events)
    assert files(folder / "lake") == before
    assert lake.watermark == 2
    return [(problem.row, problem.field) for problem in caught.value.problems], str(caught.value)


@pytest.mark.parametrize("reopened", [False, True])
def test_an_id_that_the_lake_holds_is_refused_by_row_with_its_sequence(filled, tmp_path, reopened):
    lake = el.open(tmp_path / "lake") if reopened else filled
    places, text = refused(
        lake, tmp_path, [event("new"), event("b", source="other"), event("a", data=2)]
    )
    assert places == [(1, "id"), (2, "id")] or places == [(2, "id"), (1, "id")]
    assert "at sequence 0" in text
    assert "at sequence 1" in text


def test_the_same_id_of_another_source_is_another_event(filled):
    assert (
        filled.append(
            [event("a", source="third"), event("b", source="third"), event("a", source="other")]
        ).stop
        == 5
    )


def test_recorded_at_before_the_head_is_refused(filled, tmp_path):
    places, text = refused(filled, tmp_path, [event("old", recorded_at="2020-01-01T00:00:00Z")])
    assert places == [(0, "recorded_at")]
    assert "before the head" in text


def test_a_duplicate_and_a_wrong_clock_are_told_together(filled, tmp_path):
    places, _ = refused(
        filled,
        tmp_path,
        [
            event("x", recorded_at="2020-01-01T00:00:00Z"),
            event("a", recorded_at="2020-01-01T00:00:00Z"),
        ],
    )
    assert sorted(places) == [(0, "recorded_at"), (1, "id")]


@pytest.mark.parametrize("start", [0, 1, 3])
def test_sequences_that_are_not_the_next_ones_are_a_conflict_and_write_nothing(
    filled, tmp_path, start
):
    before = files(tmp_path / "lake")
    with pytest.raises(ConflictError) as caught:
        filled.append([event("x", sequence=start), event("y", sequence=start + 1)])
    assert caught.value.facts == {"expected": 2, "found": start}
    assert files(tmp_path / "lake") == before


def test_sequences_that_are_the_next_ones_are_accepted(filled):
    assert filled.append([event("x", sequence=2), event("y", sequence=3)]).stop == 4


@pytest.mark.parametrize(
    "events",
    [[], (), iter([]), pl.DataFrame(), arrow(0), pd.DataFrame({"id": []}, dtype=str)],
    ids=["list", "tuple", "iterator", "polars", "arrow", "pandas"],
)
def test_an_empty_batch_is_a_no_op(filled, tmp_path, events):
    before = files(tmp_path / "lake")
    receipt = filled.append(events)
    assert (
        receipt.start,
        receipt.stop,
        receipt.count,
        receipt.commit_hash,
        receipt.recorded_at,
    ) == (2, 2, 0, None, None)
    assert receipt.checkpoint == filled.checkpoint
    assert files(tmp_path / "lake") == before


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\n"])
def test_a_file_of_blank_lines_is_an_empty_batch(filled, tmp_path, content):
    (tmp_path / "events.jsonl").write_bytes(content)
    assert filled.append(str(tmp_path / "events.jsonl")).count == 0


@pytest.mark.parametrize("events", [event(), 7, None, object], ids=lambda e: type(e).__name__)
def test_what_holds_no_events_is_refused(filled, events):
    with pytest.raises(InvalidInputError, match="expected events") as caught:
        filled.append(events)
    assert not isinstance(caught.value, InvalidEventsError)
    assert caught.value.hint


def test_a_file_that_is_not_there_or_not_readable_is_refused(filled, tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 but not really PAR1")
    (tmp_path / "events.csv").write_text("id,source,type\n")
    (tmp_path / "folder.ndjson").mkdir()
    with pytest.raises(NotFoundError, match=r"nothing\.ndjson"):
        filled.append(tmp_path / "nothing.ndjson")
    for name in ("bad.parquet", "events.csv", "folder.ndjson"):
        with pytest.raises(InvalidInputError, match=name):
            filled.append(tmp_path / name)
    assert filled.watermark == 2


@pytest.mark.parametrize("name", ["events.ndjson", "events.parquet"])
def test_a_file_that_the_system_does_not_read_is_refused_by_its_name(
    filled, tmp_path, monkeypatch, name
):
    (tmp_path / name).write_bytes(b"PAR1" if name.endswith("parquet") else b"{}\n")

    def fail(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pathlib.Path.read_bytes", fail)
    monkeypatch.setattr("eventlake.log.appending.read_events.check_footer", fail)
    with pytest.raises(InvalidInputError, match=f"{name} is not readable as .*Input/output error"):
        filled.append(tmp_path / name)


def test_a_bad_parquet_file_is_refused_by_row(filled, tmp_path):
    pq.write_table(arrow(data=middle("NaN", pa.string())), tmp_path / "events.parquet")
    with pytest.raises(InvalidEventsError) as caught:
        filled.append(tmp_path / "events.parquet")
    assert [(problem.row, problem.field) for problem in caught.value.problems] == [(1, "data")]


def test_a_clock_far_behind_the_head_is_told_and_nothing_is_committed(filled, monkeypatch):
    monkeypatch.setattr("eventlake.lake._now", lambda: 0)
    with pytest.raises(el.EventlakeError, match="clock") as caught:
        filled.append([event("late")])
    assert caught.value.kind == "storage"
    assert filled.watermark == 2


def test_a_clock_a_little_behind_the_head_takes_the_heads_instant(filled, monkeypatch):
    head = filled.log()[-1].commit.recorded_at
    monkeypatch.setattr("eventlake.lake._now", lambda: head - 60_000_000)
    assert filled.append([event("late")]).recorded_at == head


def test_a_copied_history_may_be_five_minutes_ahead_and_no_microsecond_more(filled, monkeypatch):
    now = filled.log()[-1].commit.recorded_at
    monkeypatch.setattr("eventlake.lake._now", lambda: now)
    latest = from_micros(now + 5 * 60 * 1_000_000)
    with pytest.raises(InvalidEventsError, match="five minutes after now"):
        filled.append([event("x", recorded_at=latest + timedelta(microseconds=1))])
    assert filled.append([event("x", recorded_at=latest)]).stop == 3
