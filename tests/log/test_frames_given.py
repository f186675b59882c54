"""Events given as frames: what pandas puts where nothing is, empty inputs, and payloads that are structs or Python objects."""

import json
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import eventlake as el
from tests.support import naive

OPTIONAL = [name for name in naive.ORDER if name not in {"id", "source", "type"}]
MISSING = [
    None,
    float("nan"),
    np.float32("nan"),
    np.float64("nan"),
    pd.NA,
    pd.NaT,
    np.datetime64("NaT"),
    np.timedelta64("NaT"),
]


@pytest.fixture
def lake():
    return el.create("memory://", origin="bank.example/frames")


def stored(lake):
    return lake.snapshot().scan(raw=True).collect().sort("sequence")


@pytest.mark.parametrize("value", MISSING, ids=lambda value: f"{type(value).__name__} {value}")
@pytest.mark.parametrize("name", OPTIONAL)
def test_what_pandas_and_numpy_have_for_no_value_is_null_in_every_optional_attribute(
    lake, name, value
):
    base = {"id": "1", "source": "s", "type": "t"}
    lake.append([base | {name: value}])
    lake.append(pd.DataFrame([base | {"id": "2", name: value}]))
    lake.append(pd.DataFrame([base | {"id": "3", name: value}]).astype({name: object}))
    assert stored(lake)[name].to_list() == [None] * 3
    root = lake.checkpoint.root
    again = el.create("memory://", origin="bank.example/frames")
    again.append([base | {"id": number} for number in "123"])
    assert again.checkpoint.root == root


@pytest.mark.parametrize("value", MISSING[1:], ids=lambda value: f"{type(value).__name__} {value}")
@pytest.mark.parametrize("name", ["id", "source", "type"])
def test_what_is_no_value_is_missing_in_a_required_attribute(lake, name, value):
    (problem,) = lake.check([{"id": "1", "source": "s", "type": "t"} | {name: value}])
    assert (problem.field, problem.message) == (name, "required, but null or missing")


@pytest.mark.parametrize("value", [float("nan"), pd.NaT, pd.NA], ids=repr)
def test_inside_of_a_payload_nothing_is_guessed(lake, value):
    (problem,) = lake.check([{"id": "1", "source": "s", "type": "t", "data": {"a": value}}])
    assert (problem.row, problem.field) == (0, "data")


@pytest.mark.parametrize(
    "column",
    [
        pl.Series([None, None]),
        pl.Series([float("nan"), None]),
        pl.Series([None, None], dtype=pl.Int64),
        pl.Series([None, None], dtype=pl.Date),
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", OPTIONAL)
def test_a_column_without_any_value_is_null_whatever_its_type(lake, name, column):
    lake.append(
        pl.DataFrame({"id": ["1", "2"], "source": "s", "type": "t"}).with_columns(
            column.alias(name)
        )
    )
    assert stored(lake)[name].to_list() == [None, None]


def test_a_number_beside_nan_is_still_refused_where_text_is_expected(lake):
    (problem,) = lake.check(
        pl.DataFrame({"id": ["1", "2"], "source": "s", "type": "t", "subject": [float("nan"), 1.0]})
    )
    assert problem.field == "subject"


STRUCT = pa.struct(
    [
        ("text", pa.string()),
        ("money", pa.decimal128(20, 2)),
        ("big", pa.int64()),
        ("ratio", pa.float64()),
        ("flag", pa.bool_()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", "UTC")),
        ("tags", pa.list_(pa.string())),
        ("inner", pa.struct([("n", pa.uint64())])),
    ]
)
VALUE = {
    "text": 'a "b" \u00fc',
    "money": Decimal("123456789012345678.90"),
    "big": 2**63 - 1,
    "ratio": 0.1,
    "flag": True,
    "day": date(2026, 1, 31),
    "at": datetime(2026, 1, 31, 12, 0, 0, 1, UTC),
    "tags": ["x", None],
    "inner": {"n": 2**64 - 1},
}
TEXT = (
    '{"text":"a \\"b\\" \u00fc","money":123456789012345678.90,"big":9223372036854775807,"ratio":0.1,"flag":true,"day":"2026-01-31",'
    '"at":"2026-01-31T12:00:00.000001Z","tags":["x",null],"inner":{"n":18446744073709551615}}'
)


@pytest.mark.parametrize(
    "make",
    [lambda table: table, pl.DataFrame, lambda table: table.to_batches()[0]],
    ids=["arrow", "polars", "batch"],
)
def test_a_struct_is_serialised_as_the_same_python_value_is_with_every_digit(lake, make):
    events = {"id": ["1", "2"], "source": ["s"] * 2, "type": ["t"] * 2}
    lake.append(make(pa.table({**events, "data": pa.array([VALUE, None], STRUCT)})))
    assert stored(lake)["data"].to_list() == [TEXT, None]
    again = el.create("memory://", origin="bank.example/frames")
    again.append(
        [
            {"id": "1", "source": "s", "type": "t", "data": VALUE},
            {"id": "2", "source": "s", "type": "t"},
        ]
    )
    assert again.checkpoint == lake.checkpoint


UNION = pa.UnionArray.from_sparse(
    pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]
)
FORMLESS = {
    "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
    "interval": pa.array([pa.MonthDayNano([1, 2, 3]), None]),
    "union": UNION,
    "arrow.json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}', None])),
    "duration": pa.array([timedelta(seconds=1), None]),
    "time": pa.array([time(1), None]),
    "fixed_size_binary": pa.array([b"a", None], pa.binary(1)),
}
PYTHON = {
    "interval": "month_day_nano_interval",
    "duration": "timedelta has no JSON form",
    "time": "time has no JSON form",
}
PYTHON |= {"fixed_size_binary": "bytes has no JSON form"}
WITHIN = {
    "column": lambda column: column,
    "struct": lambda column: pa.StructArray.from_arrays([column], ["f"]),
    "list": lambda column: pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), column),
    "list of structs": lambda column: WITHIN["list"](WITHIN["struct"](column)),
}


@pytest.mark.parametrize("within", WITHIN)
@pytest.mark.parametrize("kind", FORMLESS)
def test_what_has_no_json_form_is_refused_by_name_at_any_depth(lake, kind, within):
    data = WITHIN[within](FORMLESS[kind])
    (problem,) = lake.check(
        pa.table({"id": ["1", "2"], "source": ["s"] * 2, "type": ["t"] * 2, "data": data})
    )
    assert problem.field == "data"
    assert re.search(
        PYTHON.get(kind, kind) if within != "column" else kind, f"{problem.message} {problem.found}"
    )


SAME = {
    "dictionary": pa.array(["x", None]).dictionary_encode(),
    "large": pa.array(["x", None], pa.large_string()),
    "view": pa.array(["x", None], pa.string_view()),
    "decimal256": pa.array([Decimal("1" * 45 + ".50"), None], pa.decimal256(50, 2)),
    "half": pa.array([1.5, None], pa.float16()),
    "uuid": pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([bytes(15) + b"\x01", None], pa.binary(16))
    ),
    "list view": pa.array([[1], None], pa.list_view(pa.int64())),
}
JSON = {
    **dict.fromkeys(("dictionary", "large", "view"), '"x"'),
    "decimal256": "1" * 45 + ".50",
    "half": "1.5",
    "uuid": '"00000000-0000-0000-0000-000000000001"',
    "list view": "[1]",
}


@pytest.mark.parametrize("kind", SAME)
def test_other_arrow_types_have_the_same_form_in_structs_and_lists(lake, kind):
    for number, (within, text) in enumerate(
        {"struct": '{"f":%s}', "list": "[%s]", "list of structs": '[{"f":%s}]'}.items()
    ):
        ids = [f"{number}a", f"{number}b"]
        lake.append(
            pa.table(
                {
                    "id": ids,
                    "source": ["s"] * 2,
                    "type": ["t"] * 2,
                    "data": WITHIN[within](SAME[kind]),
                }
            )
        )
        assert stored(lake)["data"].to_list()[-2:] == [text % JSON[kind], text % "null"]


def test_null_members_stay_null_and_lists_become_arrays(lake):
    events = {"id": ["1", "2"], "source": ["s"] * 2, "type": ["t"] * 2}
    lake.append(
        pa.table(
            {**events, "data": pa.array([{"a": None}, {"a": 1}], pa.struct([("a", pa.int8())]))}
        )
    )
    lake.append(pl.DataFrame({"id": ["3"], "source": "s", "type": "t", "data": [[1, None]]}))
    assert stored(lake)["data"].to_list() == ['{"a":null}', '{"a":1}', "[1,null]"]


def test_python_objects_of_a_pandas_frame_keep_their_own_members_and_numbers(lake):
    values = [
        {"a": 1},
        {"b": 2.5},
        {"a": Decimal("1.10"), "c": [1, 2]},
        None,
        float("nan"),
        '{"raw": 1.0}',
    ]
    ids = [str(number) for number in range(len(values))]
    lake.append(
        pd.DataFrame(
            {"id": ids, "source": "s", "type": "t", "data": pd.Series(values, dtype=object)}
        )
    )
    assert stored(lake)["data"].to_list() == [
        '{"a":1}',
        '{"b":2.5}',
        '{"a":1.10,"c":[1,2]}',
        None,
        None,
        '{"raw": 1.0}',
    ]


def test_a_python_object_that_json_cannot_hold_is_named_by_row(lake):
    frame = pd.DataFrame(
        {"id": ["1", "2"], "source": "s", "type": "t", "data": [{"a": 1}, {"a": {1}}]}
    )
    (problem,) = lake.check(frame)
    assert (problem.row, problem.field) == (1, "data")


# Empty files


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.ndjson", ""), ("x.ndjson", "\n\n"), ("x.jsonl", ""), ("x.json", "[]"), ("x.csv", "k,a\n")],
)
def test_a_file_without_rows_imports_nothing(lake, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    rules = {
        "source": "i",
        "order": "file",
        "events": [{"type": "t", "id": "r-{k}", "where": "a <> 'x'", "data": {"a": "a"}}],
    }
    done = el.import_file(lake, tmp_path / name, rules)
    assert (done.events, done.appended, lake.watermark) == (0, 0, 0)


def test_a_month_without_rows_beside_one_with_rows_is_no_error(lake, tmp_path):
    (tmp_path / "a.ndjson").write_text("")
    (tmp_path / "b.ndjson").write_text(json.dumps({"k": "1"}))
    tables = {name: {"file": f"{name}.ndjson"} for name in "ab"}
    blocks = [{"from": name, "type": "t", "id": f"{name}-{{k}}", "order": ["k"]} for name in "ab"]
    assert (
        el.import_file(lake, tmp_path, {"source": "i", "tables": tables, "events": blocks}).appended
        == 1
    )


def test_an_index_that_is_named_like_an_attribute_is_one_and_any_other_is_left_out(lake):
    frame = pd.DataFrame(
        {"id": ["1"], "source": "s", "type": "t", "subject": "/a"}, index=pd.Index([7], name="row")
    )
    lake.append(frame)
    lake.append(frame.assign(id="2").set_index("id"))
    lake.append(frame.assign(id="3").set_index(["id", "source"]))
    lake.append(frame.assign(id="4").rename_axis("id"))
    assert stored(lake).select("id", "source", "subject").rows() == [
        (number, "s", "/a") for number in "1234"
    ]
