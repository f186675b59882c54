"""Schemas: registered from three kinds of definitions, checked against history, asked at every append."""

import re
import threading
from decimal import Decimal

import pandera.polars as pp
import polars as pl
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.errors import (
    InvalidEventsError,
    InvalidInputError,
    NotFoundError,
    SchemaMismatchError,
)
from eventlake.storage import MemoryStorage
from tests.support.limits import limited

MONEY = {"type": "number", "multipleOf": 0.01}
PAYMENT = {
    "type": "object",
    "properties": {"amount": MONEY, "note": {"type": "string"}},
    "required": ["amount"],
}


def event(name, data=None, **more):
    return {
        "id": str(name),
        "source": "s",
        "type": "pay",
        "subject": "/loan/7",
        "data": {"amount": 1} if data is None else data,
        **more,
    }


@pytest.fixture
def lake():
    return el.create("memory://", "o")


def refused(lake, *events, **terms):
    watermark = lake.watermark
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(list(events), **terms)
    assert lake.watermark == watermark
    return [(problem.row, problem.field) for problem in caught.value.problems]


def test_three_kinds_of_definitions_are_one_schema(lake):
    described = [
        PAYMENT,
        pa.schema(
            [
                pa.field("amount", pa.decimal128(18, 2), nullable=False),
                pa.field("note", pa.string()),
            ]
        ),
        pp.DataFrameSchema(
            {"amount": pp.Column(pl.Decimal(18, 2)), "note": pp.Column(str, nullable=True)}
        ),
    ]
    versions = [lake.register("pay", schema) for schema in described]
    assert [version.number for version in versions] == [1, 1, 1]
    assert len({version.schema_hash for version in versions}) == 1
    assert len(lake.log()) == 1


def test_a_payload_that_does_not_fit_is_refused_with_all_others_by_row_and_path(lake):
    lake.register("pay", PAYMENT)
    found = refused(
        lake,
        event(1, {"amount": "x"}),
        event(2),
        event(3, {}),
        event(4, {"amount": 1.005, "note": 5}),
        event(2),
    )
    assert found == [
        (0, "data.amount"),
        (2, "data.amount"),
        (3, "data.amount"),
        (3, "data.note"),
        (4, "id"),
    ] or found == [(4, "id")]


def test_every_way_to_append_asks_the_schema(lake, tmp_path):
    lake.register("pay", PAYMENT)
    bad = event("bad", {"amount": True})
    assert refused(lake, bad) == [(0, "data.amount")]
    assert refused(lake, bad, producer="p", position=1) == [(0, "data.amount")]
    assert refused(lake, bad, duplicates="skip_identical") == [(0, "data.amount")]
    with lake.writer() as writer:
        futures = [writer.append([event("a")]), writer.append([bad]), writer.append([event("b")])]
    assert [future.exception() is None for future in futures] == [True, False, True]
    assert lake.watermark == 2


def test_a_large_file_is_checked_part_by_part(tmp_path):
    lake = limited(el.create(tmp_path / "lake", "o"), batch={"segment_rows": 10})
    lake.register("pay", PAYMENT)
    rows = [event(n, f'{{"amount":{n}}}') for n in range(35)]
    rows[27]["data"] = '{"amount":null}'
    rows[31]["corrects"], rows[33]["corrects"], rows[12]["corrects"] = "nobody", "3", "30"
    path = tmp_path / "events.parquet"
    pl.DataFrame(rows).write_parquet(path)
    assert refused_file(lake, path) == [(27, "data.amount")]
    rows[27]["data"] = '{"amount":27}'
    pl.DataFrame(rows).write_parquet(path)
    assert refused_file(lake, path) == [(12, "corrects"), (31, "corrects")]
    rows[31]["corrects"], rows[12]["corrects"] = None, "2"
    pl.DataFrame(rows).write_parquet(path)
    assert lake.append(path).stop == 35
    assert lake.verify(deep=True).ok


def refused_file(lake, path):
    with pytest.raises(InvalidEventsError) as caught:
        lake.append(path)
    return [(problem.row, problem.field) for problem in caught.value.problems]


def test_payloads_of_mixed_types_are_each_checked_against_their_own_schema(lake):
    fields = ("amount", "note", "when")
    for field in fields:
        lake.register(
            field,
            {"type": "object", "properties": {field: {"type": "integer"}}, "required": [field]},
        )
    events = [
        event(n, {fields[n % 7 % 3]: n}, type=(*fields, "free")[n * n % 11 % 4])
        for n in range(2_000)
    ]
    events[5] |= {"type": "note", "correction": "retract", "corrects": "4", "data": {}}
    events[4] |= {"type": "note", "data": {"note": 4}}
    wrong = [
        (row, f"data.{one['type']}")
        for row, one in enumerate(events)
        if one["type"] != "free" and one["type"] not in one["data"] and row != 5
    ]
    assert len(wrong) > 500
    assert refused(lake, *events) == wrong


def test_history_that_does_not_fit_is_named_by_sequence_and_nothing_is_registered(lake):
    lake.append(
        [
            event(1),
            event(2, {"amount": "12.345"}),
            {**event(3), "type": "other"},
            event(4, {"sum": 1}),
        ]
    )
    with pytest.raises(
        SchemaMismatchError,
        match=r"sequence 1, field data.amount.*\n.*sequence 3, field data.amount",
    ) as caught:
        lake.register("pay", PAYMENT)
    assert caught.value.facts["failures"] == 2
    assert lake.schemas() == {}


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        ({"properties": {"note": {"type": "string"}}, "required": []}, "amount: was removed"),
        ({"required": ["amount", "note"]}, "note: was not required"),
        (
            {
                "properties": {
                    "amount": {"type": "number", "multipleOf": 0.1},
                    "note": {"type": "string"},
                }
            },
            "cannot become decimal",
        ),
        (
            {"properties": {"amount": {"type": "number"}, "note": {"type": "string"}}},
            "cannot become float64",
        ),
        ({"properties": {"amount": {**MONEY, "minimum": 0}, "note": {"type": "string"}}}, "≥ 0"),
        (
            {"properties": {"amount": MONEY, "note": {"type": "string", "enum": ["a"]}}},
            "one of 'a'",
        ),
        ({"additionalProperties": False}, "was open"),
        (
            {
                "properties": {**PAYMENT["properties"], "day": {"type": "string"}},
                "required": ["amount", "day"],
            },
            "new and required",
        ),
    ],
)
def test_what_older_payloads_would_break_cannot_follow(lake, change, obstacle):
    lake.register("pay", PAYMENT)
    with pytest.raises(InvalidInputError, match=obstacle):
        lake.register("pay", PAYMENT | change)
    assert lake.schema("pay").number == 1


@pytest.mark.parametrize(
    "change",
    [
        {"properties": {**PAYMENT["properties"], "day": {"type": "string", "format": "date"}}},
        {"properties": {"amount": {**MONEY, "x-precision": 20}, "note": {"type": "string"}}},
        {
            "properties": {
                "amount": {"type": "number", "multipleOf": 0.001, "x-precision": 30},
                "note": {"type": "string"},
            }
        },
        {"required": []},
    ],
)
def test_what_accepts_all_that_was_accepted_is_the_next_version(lake, change):
    lake.register("pay", PAYMENT)
    lake.append([event(1, {"amount": 1.5})])
    version = lake.register("pay", PAYMENT | change)
    assert (version.number, version.since) == (2, 1)
    assert lake.snapshot().table("pay", columns=["amount"]).collect()["amount"].to_list() == [
        Decimal("1.5")
    ]


def test_a_new_field_is_checked_against_what_open_payloads_held_already(lake):
    lake.register("pay", PAYMENT)
    lake.append([event(1, {"amount": 1, "day": "tomorrow"})])
    with pytest.raises(SchemaMismatchError, match=r"sequence 0, field data.day"):
        lake.register(
            "pay",
            PAYMENT
            | {
                "properties": {**PAYMENT["properties"], "day": {"type": "string", "format": "date"}}
            },
        )


def test_a_strict_lake_refuses_types_without_a_schema():
    storage = MemoryStorage()
    el.create(storage, "o", strict=True)
    lake = el.open(storage)
    assert refused(lake, event(1)) == [(0, "type")]
    lake.register("pay", PAYMENT)
    assert lake.append([event(1)]).stop == 1


def test_a_strict_lake_names_the_first_event_of_each_type_without_a_schema():
    lake = el.create("memory://", "o", strict=True)
    lake.register("pay", PAYMENT)
    types = ["pay", "b", "a", "b", "pay", "a", "c"]
    events = [event(n, type=name) for n, name in enumerate(types)]
    assert refused(lake, *events) == [(1, "type"), (2, "type"), (6, "type")]


def test_names_that_sql_takes_for_one_are_refused(lake):
    lake.register("pay", PAYMENT)
    with pytest.raises(InvalidInputError, match="one table in SQL"):
        lake.register("PAY", PAYMENT)
    with pytest.raises(InvalidInputError, match="one name in SQL"):
        lake.register(
            "x",
            {
                "type": "object",
                "properties": {"Amount": {"type": "string"}, "amount": {"type": "string"}},
            },
        )
    with pytest.raises(InvalidInputError, match="the column of another field"):
        lake.register(
            "x",
            {
                "type": "object",
                "properties": {"id": {"type": "string"}, "data_id": {"type": "string"}},
            },
        )
    with pytest.raises(InvalidInputError, match="tables in SQL"):
        lake.register("Events", PAYMENT)


@pytest.mark.parametrize("name", ["*", "^a$", "^$", "eventlake until", "Eventlake x"])
def test_names_that_would_be_taken_for_something_else_are_refused(lake, name):
    fields = {name: {"type": "integer"}, "a": {"type": "integer"}}
    for schema in (
        {"type": "object", "properties": fields},
        pa.schema([(field, pa.int64()) for field in fields]),
    ):
        with pytest.raises(
            InvalidInputError, match=f"schema of pay, field {re.escape(name)}: .*(pattern|reserved)"
        ):
            lake.register("pay", schema)
    with pytest.raises(InvalidInputError, match="reserved for internal tables"):
        lake.register("Eventlake pay", PAYMENT)
    lake.register(
        "pay",
        {
            "type": "object",
            "properties": {"a": fields["a"], "in": {"type": "object", "properties": fields}},
        },
    )
    lake.append([event(1, {name: 1, "a": 2, "in": {name: 3}})])
    assert lake.snapshot().table("pay").select("a", "in").collect().row(0, named=True) == {
        "a": 2,
        "in": {name: 3, "a": None},
    }


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}, "pattern"),
        ({"type": "object", "properties": {"a": {"type": "string", "format": "email"}}}, "email"),
        ({"type": "object", "properties": {"a": {"anyOf": []}}}, "one type"),
        ({"type": "object", "properties": {"a": {"type": ["string", "integer"]}}}, "one type"),
        ({"type": "object", "properties": {"a": {"type": "number", "multipleOf": 0.25}}}, "0.25"),
        (
            {
                "type": "object",
                "properties": {"a": {"type": ["string", "null"]}},
                "required": ["a"],
            },
            "cannot be null",
        ),
        ({"type": "object", "properties": {"a": {"type": "number", "minimum": 0}}}, "multipleOf"),
        ({"type": "object", "patternProperties": {}}, "patternProperties"),
        ({"type": "object"}, "at least one field"),
        ({"type": "string"}, "expected an object"),
        (pa.schema([("a", pa.duration("us"))]), "duration"),
        (pa.schema([("a", pa.timestamp("us"))]), "timestamp"),
        (pp.DataFrameSchema({"a": pp.Column(str, pp.Check.str_length(1, 3))}), "str_length"),
        (5, "int"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(lake, schema, named):
    with pytest.raises(InvalidInputError, match=named):
        lake.register("t", schema)
    assert lake.schemas() == {}


def test_appends_and_registrations_that_race_leave_nothing_that_does_not_fit(tmp_path):
    el.create(tmp_path / "lake", "o")
    start = threading.Barrier(4)
    outcomes = []

    def append(name):
        lake = el.open(tmp_path / "lake")
        start.wait()
        for number in range(10):
            try:
                lake.append([event(f"{name} {number}", {"amount": "1.00" if number % 2 else "x"})])
            except InvalidEventsError as error:
                outcomes.append(error)

    def register():
        lake = el.open(tmp_path / "lake")
        start.wait()
        for _ in range(5):
            try:
                outcomes.append(lake.register("pay", PAYMENT))
            except SchemaMismatchError as error:
                outcomes.append(error)

    threads = [
        *(threading.Thread(target=append, args=(name,)) for name in range(3)),
        threading.Thread(target=register),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lake = el.open(tmp_path / "lake")
    assert lake.verify(deep=True).ok
    if lake.schemas():
        assert lake.snapshot().table("pay").collect().height == lake.watermark
    else:
        assert lake.watermark == 30


def test_a_registration_is_found_again_and_survives_compaction_collection_and_reopening(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    for number in range(3):
        lake.append([event(number)])
    version = lake.register("pay", PAYMENT)
    lake.compact()
    lake.gc(dry_run=False)
    assert el.open(tmp_path / "lake").schema("pay").schema_hash == version.schema_hash
    with pytest.raises(NotFoundError, match="from 1 to 1"):
        lake.schema("pay", 2)
    with pytest.raises(NotFoundError, match="no schema is registered"):
        lake.schema("other")
    catalogue = next((tmp_path / "lake" / "schemas").iterdir())
    data = catalogue.read_bytes()
    catalogue.write_bytes(data[:-2] + b"  ")
    assert [problem.path for problem in lake.verify().problems] == [f"schemas/{catalogue.name}"]
    catalogue.unlink()
    assert [problem.path for problem in lake.verify().problems] == [f"schemas/{catalogue.name}"]


def test_a_schema_is_proposed_whatever_exponents_numbers_have(lake):
    lake.append([event("1", data='{"a":1,"b":1e-9999999999999999999}')])
    assert lake.infer_schema("pay").schema.columns == ("a", "b")


def test_a_schema_is_proposed_from_payloads_with_reasons_and_fits_them(lake):
    rows = [
        {
            "amount": f"{n}.50",
            "n": n,
            "day": "2026-01-31",
            "at": "2026-01-31T00:00:00Z",
            "ok": True,
            "x": {"y": [n, 0.125]},
        }
        for n in range(9)
    ]
    rows[3]["extra"], rows[4]["mixed"], rows[5]["mixed"] = "text", 1, "1"
    lake.append([event(number, row) for number, row in enumerate(rows)])
    proposal = lake.infer_schema("pay")
    kinds = {field.name: str(field.type) for field in proposal.schema.fields}
    assert kinds == {
        "amount": "decimal(18, 2)",
        "n": "int64",
        "day": "date",
        "at": "timestamp",
        "ok": "bool",
        "x": "struct<y: list<decimal(18, 3)>>",
        "extra": "utf8",
    }
    assert [path for path, kind, _ in proposal.reasons if kind == "left out"] == ["mixed"]
    assert (
        lake.register("pay", proposal.json_schema()).schema_hash
        == lake.register("pay", proposal.schema).schema_hash
    )
    with pytest.raises(NotFoundError):
        lake.infer_schema("nothing")
