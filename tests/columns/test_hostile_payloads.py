"""Payloads that no append accepts, in a lake whose hashes all hold, and numbers that a fast reader takes for others."""

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlake as el
from eventlake.columns.hashing import leaves
from eventlake.columns.intake.json_scan import has_long_number
from eventlake.columns.parquet import segments
from eventlake.datasets.verifying.verify import verify_lake
from eventlake.errors import EventlakeError, InvalidEventsError
from eventlake.storage import MemoryStorage
from tests.support.forging import SCHEMA, TYPE, document, forge_commit, payments

pytestmark = pytest.mark.every_case

PAYLOADS = {
    "deep list": "[" * 100_000,
    "deep object": '{"amount":' * 50_000,
    "deep member": '{"amount":1.5,"b":' + "[" * 5_000 + "]" * 5_000 + "}",
    "cut": "{",
    "nothing": "",
    "NaN": '{"amount":NaN}',
    "a member twice": '{"amount":1,"amount":2}',
    "huge integer": '{"amount":' + "9" * 500_000 + "}",
    "huge exponent": '{"amount":1e999999999}',
    "byte order mark": "\ufeff{}",
    "control character": '{"amount":"\x00"}',
    "lone surrogate": '{"amount":"\\ud800"}',
    "two texts": '{"amount":1} {"amount":2}',
    "two lines": '{"amount":1}\n{"amount":2}',
}
EXTENSIONS = {"deep": "[" * 100_000, "cut": "{", "list": "[1]", "blank": " "}


def forged(column, value):
    """A lake whose first event has another value, which all hashes know."""
    lake = el.create(storage := MemoryStorage(), "adv.example/x")
    lake.register(TYPE, SCHEMA)
    lake.append([event | {"extensions": {"k": "v"}} for event in payments(range(3))])
    newest = max(item.path for item in storage.list("log"))
    table = segments.decode(
        storage.read(f"segments/{document(storage, newest)['segments'][0]['sha256']}.parquet"), "x"
    )
    values = [value, *table.column(column).to_pylist()[1:]]
    table = table.set_column(
        table.schema.get_field_index(column),
        column,
        pa.array(values, table.schema.field(column).type),
    )
    data = segments.encode(table)
    sha256 = hashlib.sha256(data).hexdigest()
    storage.create(f"segments/{sha256}.parquet", data)
    folded = leaves.compact_range(leaves.leaf_hashes(table), 0)

    def change(commit):
        commit["segments"][0].update(sha256=sha256, bytes=len(data), range=folded.hex())
        commit.update(frontier=folded.hex(), root=folded.root().hex())

    forge_commit(storage, int(newest[4:24]), change)
    return storage, f"segments/{sha256}.parquet"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("data", value) for value in PAYLOADS.values()),
        *(("extensions", value) for value in EXTENSIONS.values()),
    ],
    ids=[*PAYLOADS, *(f"extensions {name}" for name in EXTENSIONS)],
)
def test_events_that_no_append_lets_in_are_found_and_crash_nothing(column, value):
    storage, path = forged(column, value)
    assert path in {finding.path for finding in verify_lake(storage, deep=True).problems}
    lake = el.open(storage)
    for read in (
        lambda: lake.snapshot().table(TYPE).collect(),
        lambda: lake.snapshot().sql(f'SELECT * FROM "{TYPE}"').polars(),
        lambda: lake.infer_schema(TYPE),
        lake.compact,
    ):
        try:
            read()
        except EventlakeError as error:
            assert error.message


@pytest.mark.parametrize(
    "number",
    [
        "1e-300",
        "1e-999",
        "1.5E-999",
        "1e-99999",
        "1e-999999999",
        "-1e-999999999",
        '"1e-999"',
        '"1E-999999999"',
        '" 1e-999"',
        '"1\\u0065-999999999"',
        '"\\u0031e-999"',
        '"1e\\u002d999999999"',
        '"1.' + "0" * 15_000 + '1"',
        '"1e-\\u0039\\u003999"',
    ],
)
@pytest.mark.parametrize("rows", [1, 600], ids=["alone", "among many"])
def test_a_decimal_with_a_far_exponent_is_refused_by_row_and_field_never_taken_for_zero(
    number, rows
):
    lake = el.create("memory://", "o")
    lake.register(
        TYPE,
        {
            "type": "object",
            "properties": {"amount": {"type": "number", "multipleOf": 0.01}},
            "required": ["amount"],
        },
    )
    events = [
        {"id": f"{row}", "source": "s", "type": TYPE, "data": '{"amount":1.25}'}
        for row in range(rows)
    ]
    events[-1]["data"] = f'{{"amount":{number}}}'
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(events)
    assert [(problem.row, problem.field) for problem in caught.value.problems] == [
        (rows - 1, "data.amount")
    ]


def test_text_that_only_looks_like_a_far_exponent_is_read_as_it_is():
    lake = el.create("memory://", "o")
    lake.register(
        TYPE,
        {
            "type": "object",
            "properties": {
                "amount": {"type": "number", "multipleOf": 0.01},
                "note": {"type": "string"},
            },
        },
    )
    notes = ["1e-999", "a: 1e-9999,", "1e1234ab-55", "\\u00651", "[1e-999]"]
    lake.append(
        [
            {
                "id": f"{n}",
                "source": "s",
                "type": TYPE,
                "data": f'{{"amount":1.25,"note":"{note}"}}',
            }
            for n, note in enumerate(notes)
        ]
    )
    read = lake.snapshot().table(TYPE).collect()
    assert read.sort("sequence")["note"].to_list() == [
        note.replace("\\u0065", "e") for note in notes
    ]
    assert [str(amount) for amount in read["amount"]] == ["1.25"] * 5


def test_text_that_is_no_utf_8_is_refused_before_an_engine_sees_it():
    table = pa.table(
        {"id": pa.array([b"\xff\xfe"]).view(pa.string()), "source": ["s"], "type": ["t"]}
    )
    with pytest.raises(EventlakeError, match="UTF8"):
        segments.decode(segments.encode(table), "x")


@given(st.from_regex(r"-?[1-9][0-9]{0,400}(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,4})?", fullmatch=True))
def test_a_number_beyond_a_double_is_always_suspected(number):
    value = abs(float(number))
    if value in {0.0, float("inf")}:
        assert has_long_number(f'{{"a":{number}}}'.encode())


@pytest.mark.parametrize("number", ["1e309", "1E+309", "-1e-999", "9" * 310, "1e0999", "12e-0400"])
def test_each_form_of_a_long_number_is_suspected(number):
    assert has_long_number(b'{"note":"2026-01-31","a":' + number.encode() + b"}")
    assert not has_long_number(b'{"note":"2026-01-31","a":1e99,"b":1E-99,"c":"a-000-b"}')
