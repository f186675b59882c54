"""What is accepted, and that it is kept byte for byte."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.core.attributes import MAX_ATTRIBUTE_BYTES, MAX_PAYLOAD_BYTES
from tests.support import naive

TEXTS = {
    "money keeps its zeros": '{"amount":1.00,"b":100.0000}',
    "odd blanks": '{ "a" :\t[ 1 ,2,\r  3 ] , "b":{ } }',
    "key order": '{"z":1,"a":2,"m":{"y":1,"b":2}}',
    "an integer beyond 64 bits": '{"n":123456789012345678901234567890123456789}',
    "an integer of 300 digits": "9" * 300,
    "digits beyond a double": "3.14159265358979323846264338327950288419716939937510",
    "exponents in every spelling": "[1e5,1E5,1e+5,1E-05,0e0,-0,-0.0,1e-999]",
    "the largest double": "1.7976931348623157e308",
    "escapes stay escapes": '"\\u00e9\\/\\b\\f\\n\\r\\t\\"\\\\\\u0000\\uD834\\uDD1E"',
    "characters stay characters": '"é€𝄞\u2028\x7f"',
    "brackets in a string are no nesting": json.dumps("[{" * 200),
    "keys that differ in case": '{"a":1,"A":2,"\u0061\u0301":3,"\u00e1":4}',
    "the same key in two objects": '[{"a":1},{"a":2,"b":{"a":3}}]',
    "64 levels": "[" * 64 + "]" * 64,
    "many shallow brackets": "[" + ",".join(["[]"] * 500) + "]",
    "a long exponent that is small": "1e-400",
    "text": '"hello"',
    "a number": "7",
    "false": "false",
    "an empty object": "{}",
    "the largest payload": '"' + "x" * (MAX_PAYLOAD_BYTES - 2) + '"',
}
WAYS = ["str", "bytes", "arrow", "binary column", "polars", "pandas", "parquet"]


def event(name="a", **more):
    return {"id": name, "source": "s", "type": "t"} | more


def table(texts, kind):
    rows = len(texts)
    return pa.table(
        {
            "id": [str(n) for n in range(rows)],
            "source": ["s"] * rows,
            "type": ["t"] * rows,
            "data": pa.array(texts, kind),
        }
    )


def batch(way, texts, folder):
    if way == "parquet":
        pq.write_table(table(texts, pa.string()), folder / "events.parquet", use_dictionary=True)
    return {
        "str": lambda: [event(str(n), data=text) for n, text in enumerate(texts)],
        "bytes": lambda: [event(str(n), data=text.encode()) for n, text in enumerate(texts)],
        "arrow": lambda: table(texts, pa.large_string()),
        "binary column": lambda: table([text.encode() for text in texts], pa.binary()),
        "polars": lambda: pl.DataFrame(table(texts, pa.string())),
        "pandas": lambda: table(texts, pa.string()).to_pandas(),
        "parquet": lambda: folder / "events.parquet",
    }[way]()


def assert_read_back(lake, texts):
    """Every reader sees ``texts`` as the payloads, and the root is the naive one."""
    snapshot = lake.snapshot()
    query = "select data from events order by sequence"
    assert snapshot.scan().collect()["data"].to_list() == texts
    assert snapshot.sql(query).polars()["data"].to_list() == texts
    assert pa.table(snapshot.sql(query)).column(0).to_pylist() == texts
    assert list(snapshot.sql(query).pandas()["data"]) == texts
    assert snapshot.root == naive.root([event(str(n), data=text) for n, text in enumerate(texts)])


@pytest.mark.parametrize("storage", ["memory", "disk"])
@pytest.mark.parametrize("way", WAYS)
def test_accepted_payloads_are_kept_byte_for_byte(tmp_path, way, storage):
    lake = el.create("memory://" if storage == "memory" else tmp_path / "lake", "o")
    lake.append(batch(way, list(TEXTS.values()), tmp_path))
    assert_read_back(lake, list(TEXTS.values()))


@pytest.mark.parametrize("name", TEXTS)
def test_ndjson_keeps_the_raw_slice_of_the_payload_whatever_stands_around_it(tmp_path, name):
    text = TEXTS[name]
    lines = [
        '{"id":"0","source":"s","type":"t","data":' + text + "}",
        '{"source":"s" , "data": \t' + text + '  ,"type":"t","id":"1"}',
        ' {"type":"t","id":"2","data":' + text + '\r,"source":"s"}\r',
    ]
    (tmp_path / "events.ndjson").write_bytes("\n".join(lines).encode())
    lake = el.create(tmp_path / "lake", "o")
    lake.append(str(tmp_path / "events.ndjson"))
    assert_read_back(lake, [text] * 3)


def test_the_content_of_an_ndjson_file_is_a_batch_like_the_file(tmp_path):
    content = b'{"id":"0","source":"s","type":"t","data":{ "a" : 1.00 }}\n'
    (tmp_path / "events.ndjson").write_bytes(content)
    lakes = [el.create("memory://", "o") for _ in range(2)]
    assert (
        lakes[0].append(content).checkpoint
        == lakes[1].append(tmp_path / "events.ndjson").checkpoint
    )


@pytest.mark.parametrize("text", [' {"a":1} ', "\n7\n", "\t[]\r\n"])
def test_blanks_around_a_payload_given_as_text_are_kept(text):
    lake = el.create("memory://", "o")
    lake.append([event("0", data=text)])
    assert_read_back(lake, [text])


def test_no_payload_and_the_payload_null_are_two_things(tmp_path):
    (tmp_path / "events.ndjson").write_text(
        '{"id":"n","source":"s","type":"t","data":null}\n{"id":"m","source":"s","type":"t"}'
    )
    lake = el.create("memory://", "o")
    lake.append([event("a"), event("b", data=None), event("c", data="null")])
    lake.append(tmp_path / "events.ndjson")
    assert lake.snapshot().scan().collect()["data"].to_list() == [None, None, "null", None, None]


def test_python_values_become_json_text_once():
    lake = el.create("memory://", "o")
    values = [
        {"b": Decimal("1.00"), "a": [True, None, "é"]},
        [],
        7,
        0.1,
        False,
        datetime(2026, 1, 31, tzinfo=UTC),
    ]
    lake.append([event(str(n), data=value) for n, value in enumerate(values)])
    texts = lake.snapshot().scan().collect()["data"].to_list()
    assert texts == [
        '{"b":1.00,"a":[true,null,"é"]}',
        "[]",
        "7",
        "0.1",
        "false",
        '"2026-01-31T00:00:00Z"',
    ]


def test_a_timestamp_finer_than_a_microsecond_is_not_cut_silently():
    with pytest.raises(el.EventlakeError):
        el.create("memory://", "o").append(
            [event(data={"at": pd.Timestamp(1, unit="ns", tz="UTC")})]
        )


@pytest.mark.parametrize(
    "type_", [pl.Categorical(), pl.Enum(["t", "u"])], ids=["categorical", "enum"]
)
def test_polars_categories_are_text(type_):
    lake = el.create("memory://", "o")
    frame = pl.DataFrame(
        {"id": ["a", "b"], "source": "s", "type": ["t", "u"]}, schema_overrides={"type": type_}
    )
    lake.append(frame)
    assert lake.snapshot().types() == {"t": 1, "u": 1}


def test_arrow_dictionaries_and_pandas_categories_are_text():
    lake = el.create("memory://", "o")
    lake.append(
        pa.table({"id": ["a"], "source": ["s"], "type": pa.array(["t"]).dictionary_encode()})
    )
    lake.append(pd.DataFrame({"id": ["b"], "source": ["s"], "type": pd.Categorical(["t"])}))
    assert lake.snapshot().types() == {"t": 2}


@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view()], ids=str)
@pytest.mark.parametrize("categories", [False, True], ids=["values", "categories"])
def test_a_part_of_a_column_of_views_is_text(kind, categories):
    payloads = pa.array(['{"a":1}', None, '{"b":"longer than a view holds"}', "{}"]).cast(kind)
    if categories:
        payloads = pa.DictionaryArray.from_arrays([0, 1, 2, 3], payloads)
    ids = pa.array(list("0123"), pa.string_view())
    table = pa.table({"id": ids, "source": ["s"] * 4, "type": ["t"] * 4, "data": payloads})
    lake = el.create("memory://", "o")
    lake.append(table.slice(1, 2))
    events = lake.snapshot().scan(["id", "data"]).collect()
    assert events.rows() == [("1", None), ("2", '{"b":"longer than a view holds"}')]


def test_lazy_frames_record_batches_readers_and_generators_are_batches():
    lake = el.create("memory://", "o")
    plain = {"source": ["s"], "type": ["t"]}
    lake.append(pl.LazyFrame({"id": ["1"], **plain}))
    lake.append(pa.record_batch({"id": ["2"], **plain}))
    lake.append(pa.table({"id": ["3"], **plain}).to_reader())
    lake.append(event(name) for name in "45")
    assert lake.snapshot().scan().collect()["id"].to_list() == list("12345")


def test_cloudevents_spellings_and_specversion_are_understood(tmp_path):
    (tmp_path / "e.json").write_text(
        '{"specversion":"1.0","id":"2","source":"s","type":"t","causationid":"c","correlationid":"d","partitionkey":"p"}'
    )
    lake = el.create("memory://", "o")
    lake.append(
        [event("1", specversion="1.0", causationid="c", correlationid="d", partitionkey="p")]
    )
    lake.append(tmp_path / "e.json")
    columns = ["causation_id", "correlation_id", "extensions"]
    assert (
        lake.snapshot().scan(columns=columns).collect().rows()
        == [("c", "d", '{"partitionkey":"p"}')] * 2
    )


def test_the_longest_attribute_and_every_printable_character_are_kept():
    subject = "é" * (MAX_ATTRIBUTE_BYTES // 2)
    odd = "'\"\\ ;--\u00a0\u2028\U0010ffff\ufeff"
    lake = el.create("memory://", "o")
    lake.append([event(odd, subject=subject, type=odd, source=odd)])
    assert lake.snapshot().scan(columns=["id", "source", "type", "subject"]).collect().row(0) == (
        odd,
        odd,
        odd,
        subject,
    )
    assert lake.snapshot().sql("select id, type from events where type = $t", t=odd).polars().row(
        0
    ) == (odd, odd)


def test_corrections_may_name_an_event_of_the_same_batch_and_replace_by_default():
    lake = el.create("memory://", "o")
    lake.append(
        [event("a"), event("b", corrects="a"), event("c", corrects="a", correction="retract")]
    )
    assert lake.snapshot().scan(columns=["corrects", "correction"]).collect().rows() == [
        (None, None),
        ("a", None),
        ("a", "retract"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "application/json",
        "application/JSON;charset=utf-8",
        "text/json",
        "application/cloudevents+json",
    ],
)
def test_json_content_types_are_accepted(content):
    assert el.create("memory://", "o").append([event(datacontenttype=content)]).count == 1


def test_a_copied_history_brings_its_clock_and_the_lake_goes_on_from_there():
    lake = el.create("memory://", "o")
    stamps = ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "2021-01-01T00:00:00.000001Z"]
    copied = lake.append([event(str(n), recorded_at=stamp) for n, stamp in enumerate(stamps)])
    again = lake.append([event("next", recorded_at=stamps[-1])])
    fresh = lake.append([event("fresh")])
    assert copied.recorded_at == again.recorded_at < fresh.recorded_at
    seen = lake.snapshot().scan(columns=["recorded_at", "time"]).collect()
    assert [
        moment.isoformat().replace("+00:00", "Z") for moment in seen["recorded_at"].to_list()[:4]
    ] == [*stamps, stamps[-1]]
    assert seen["time"].to_list() == seen["recorded_at"].to_list()


def test_copying_a_lake_event_by_event_gives_the_same_checkpoint_and_clock(tmp_path):
    lake = el.create(tmp_path / "a", "o")
    lake.append(
        [
            event("1", data='{"a": 1.00}', extensions={"x": 1}),
            event("2", time="2026-01-31T12:00:00Z"),
        ]
    )
    lake.append([event("3", corrects="2")])
    rows = lake.snapshot().sql("select * from events order by sequence").arrow()
    undated = lake.snapshot().scan(columns=["sequence", "time", "recorded_at"]).collect()
    times = [
        None if row["time"] == row["recorded_at"] else row["time"]
        for row in undated.iter_rows(named=True)
    ]
    rows = rows.set_column(
        rows.column_names.index("time"), "time", pa.array(times, pa.timestamp("us", "UTC"))
    )
    copy = el.create(tmp_path / "b", "o")
    copy.append(rows)
    assert copy.checkpoint == lake.checkpoint
    assert copy.snapshot().history.clock_hash() == lake.snapshot().history.clock_hash()
    assert copy.snapshot().scan().collect().equals(lake.snapshot().scan().collect())
