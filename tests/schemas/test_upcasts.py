"""Upcasts: what an old payload is under a new schema is a recorded expression, and means the same for ever."""

import json
import os
import signal
import time
import warnings
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from unittest.mock import ANY

import polars as pl
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.cli import main
from eventlake.errors import InvalidInputError, SchemaMismatchError
from eventlake.history.sql import tables_read
from eventlake.storage import MemoryStorage
from eventlake.tables import expressions as expressing
from eventlake.tables import payloads
from eventlake.tables import upcast as upcasting

CENTS = {
    "type": "object",
    "properties": {"cents": {"type": "integer"}, "note": {"type": "string"}},
    "required": ["cents"],
}
MONEY = {"type": "number", "multipleOf": 0.01, "x-precision": 18}
CROWNS = {
    "type": "object",
    "properties": {
        "amount": MONEY,
        "note": {"type": "string"},
        "paid_by": {"type": "string", "enum": ["card", "cash"]},
    },
    "required": ["amount"],
}
TO_CROWNS = {"amount": "CAST(cents AS DECIMAL(18, 2)) * 0.01"}


def event(name, **data):
    return {
        "id": str(name),
        "source": "s",
        "type": "pay",
        "subject": "/loan/7",
        "time": "2026-01-01T00:00:00Z",
        "data": data,
    }


def lake_of(*data, schema=CENTS, where="memory://"):
    lake = el.create(where, "o")
    lake.register("pay", schema)
    lake.append([event(f"first {number}", **one) for number, one in enumerate(data)])
    return lake


def columns(snapshot, *names, **options):
    return snapshot.table("pay", **options).sort("sequence").collect().select(names).rows()


def test_old_payloads_are_read_as_new_ones_and_stay_as_they_are():
    lake = lake_of({"cents": 150, "note": "a"}, {"cents": -1})
    version = lake.register("pay", CROWNS, upcast=TO_CROWNS)
    assert (version.number, version.since) == (2, 2)
    lake.append([event("new", amount=2.5, paid_by="card")])
    rows = columns(lake.snapshot(), "amount", "note", "paid_by")
    assert rows == [
        (Decimal("1.50"), "a", None),
        (Decimal("-0.01"), None, None),
        (Decimal("2.50"), None, "card"),
    ]
    assert (
        lake.snapshot()
        .sql('SELECT amount, note, paid_by FROM "pay" ORDER BY sequence')
        .polars()
        .rows()
        == rows
    )
    assert lake.snapshot().scan().collect()["data"].to_list()[0] == '{"cents":150,"note":"a"}'
    assert columns(lake.snapshot(at=2), "cents", version=1) == [(150,), (-1,)]


def test_what_does_not_follow_needs_an_expression_and_the_message_says_for_which_field():
    lake = lake_of({"cents": 1})
    with pytest.raises(InvalidInputError, match="cents: was removed") as caught:
        lake.register("pay", CROWNS)
    assert "upcast=" in caught.value.hint
    with pytest.raises(
        InvalidInputError, match="field amount needs an expression: is new and required"
    ):
        lake.register("pay", CROWNS, upcast={})
    narrow = {**CENTS, "properties": {"cents": {"type": "integer", "maximum": 9}}}
    with pytest.raises(
        InvalidInputError, match="field cents needs an expression: int64 cannot become int64"
    ):
        lake.register("pay", narrow, upcast={})
    assert lake.schema("pay").number == 1


def test_an_upcast_of_the_first_version_is_refused():
    lake = el.create("memory://", "o")
    with pytest.raises(InvalidInputError, match="nothing to upcast from"):
        lake.register("pay", CROWNS, upcast=TO_CROWNS)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("cents / 100", "DOUBLE|double"),
        ("CAST(cents AS DOUBLE)::DECIMAL(18, 2)", "DOUBLE|double"),
        ("cents + 1e0", "DOUBLE|double"),
        ("random()::DECIMAL(18, 2)", r"random\(\): it "),
        ("year(current_date)", r"current_date\(\): it "),
        ("epoch_us(now())", r"now\(\): it "),
        ("length(version())", r"version\(\): it "),
        ("epoch_us(current_timestamp)", r"current_timestamp\(\): it "),
        ("length(getvariable('x'))", r"getvariable\(\): it "),
        ("year(age(TIMESTAMP '2020-01-01'))", r"current_date\(\): it "),
        ("(SELECT 1)", "one value from one row"),
        ("sum(cents)", "one value from one row"),
        ("row_number() OVER ()", "one value from one row"),
        ("unnest([1, 2])", "one value from one row"),
        ("1), (2", "DuckDB refused"),
        ("*", "one value from one row"),
        ("$1", "one value from one row"),
        ("nothing", "DuckDB refused"),
        ("cents +", "DuckDB refused"),
        ("1); DROP TABLE payloads; SELECT (1", "DuckDB refused|one value from one row"),
        ("note", "found string"),
        ("cents > 1", "found bool"),
        ("list_sum([cents, 1])", "HUGEINT"),
        ("ago(INTERVAL 0 DAY)::VARCHAR", r"ago\(\)"),
        (
            "CAST(CAST('12:00:00+00' AS TIMETZ) AT TIME ZONE 'Europe/Prague' AS VARCHAR)",
            "TIME WITH TIME ZONE",
        ),
        (
            "length(json_serialize_plan('SELECT current_date', optimize := true)::VARCHAR)",
            r"json_serialize_plan\(\)",
        ),
        ("CAST(CAST([cents] AS DOUBLE[]) AS DECIMAL(18, 2)[])[1]", "double|DOUBLE"),
        (
            "CAST(CAST(struct_pack(a := cents) AS STRUCT(a DOUBLE)) AS STRUCT(a DECIMAL(18, 2))).a",
            "double|DOUBLE",
        ),
        ("to_json(cents)::VARIANT::DECIMAL(18, 2)", "VARIANT"),
        ("CAST(json_extract(to_json([cents]), '$[0]') AS DECIMAL(18, 2))", "JSON"),
        ("340282366920938463463374607431768211455::UHUGEINT", "UHUGEINT"),
        ("12345678901234567890123456789012345678901234567890", "cannot be understood|BIGNUM"),
        ("cents" + "+1" * 300, "cannot be understood"),
        ("cents" + "+1" * 3_000, "2,000 characters"),
        ("'\ud800'", "cannot be understood"),
        ("* REPLACE (1 AS cents)", "one value from one row"),
        ("COLUMNS(*)", "one value from one row|DuckDB refused"),
        ("#2", "one value from one row|DuckDB refused"),
        ("cents) + (cents", "DuckDB refused"),
        ("cents AS amount", "DuckDB refused"),
        ("", "expected SQL expressions"),
        (7, "expected SQL expressions"),
    ],
)
def test_an_expression_that_does_not_mean_the_same_for_ever_is_refused(expression, complaint):
    lake = lake_of({"cents": 1})
    with pytest.raises(InvalidInputError, match=complaint):
        lake.register("pay", CROWNS, upcast={"amount": expression})
    assert len(lake.schemas()["pay"]) == 1
    assert lake.register("pay", CROWNS, upcast=TO_CROWNS).number == 2  # nothing was left behind


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("cents", Decimal("150.00")),
        ("cents -- in crowns, they were never cents", Decimal("150.00")),
        ("CASE WHEN note = 'a' THEN 1.5 ELSE NULL END", Decimal("1.50")),
        ("coalesce(nullif(cents, 150), 7)", Decimal("7.00")),
        ("CAST(list_sum([cents, 1]) AS BIGINT)", Decimal("151.00")),
        ("CASE WHEN cents < 0 THEN error('negative') ELSE cents END", Decimal("150.00")),
        ("year(DATE '2026-01-01')", Decimal("2026.00")),
    ],
)
def test_expressions_that_are_allowed(expression, value):
    lake = lake_of({"cents": 150, "note": "a"})
    lake.register("pay", CROWNS, upcast={"amount": expression})
    assert columns(lake.snapshot(), "amount") == [(value,)]


@pytest.mark.parametrize("upcast", ["x", [("amount", "cents")], {1: "cents", "amount": "cents"}, 7])
def test_what_is_no_mapping_of_expressions_is_refused(upcast):
    with pytest.raises(InvalidInputError, match="expected SQL expressions by field"):
        lake_of({"cents": 1}).register("pay", CROWNS, upcast=upcast)


def test_a_function_is_not_taken_for_a_field_of_its_name():
    schema = {
        "type": "object",
        "properties": {"uuid": {"type": "string"}, "today": {"type": "string"}},
    }
    lake = lake_of({"uuid": "u"}, schema=schema)
    with pytest.raises(InvalidInputError, match=r"uuid\(\): it is another value"):
        lake.register("pay", schema, upcast={"uuid": "uuid()::VARCHAR"})
    lake.register("pay", schema, upcast={"uuid": "uuid || coalesce(today, '')"})
    assert columns(lake.snapshot(), "uuid") == [("u",)]


@pytest.mark.parametrize(
    "day", ["DATE '10000-01-01'", "DATE '0001-01-01' - 400", "'infinity'::DATE"]
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_day_or_an_instant_beyond_the_years_1_to_9999_is_refused(day, nested):
    kind = {"type": "string", "format": "date"}
    schema = {
        "type": "object",
        "properties": {"day": {"type": "array", "items": kind} if nested else kind},
    }
    with pytest.raises(SchemaMismatchError, match="sequence 0, field day"):
        lake_of({"cents": 1}).register("pay", schema, upcast={"day": f"[{day}]" if nested else day})
    instant = {"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}}
    with pytest.raises(SchemaMismatchError, match="sequence 0, field at"):
        lake_of({"cents": 1}).register("pay", instant, upcast={"at": "'infinity'::TIMESTAMPTZ"})


def test_integers_fill_decimals_of_any_scale():
    wide = {
        "type": "object",
        "properties": {"amount": {"type": "number", "multipleOf": 1e-30, "x-precision": 38}},
    }
    lake = lake_of({"cents": 99_999_999})
    lake.register("pay", wide, upcast={"amount": "cents"})
    assert columns(lake.snapshot(), "amount") == [(Decimal(99_999_999),)]
    with pytest.raises(SchemaMismatchError, match="sequence 0, field amount"):
        lake_of({"cents": 100_000_000}).register("pay", wide, upcast={"amount": "cents"})


@pytest.mark.parametrize("expression", ["cents", "CAST(cents AS DECIMAL(38, 0))"])
def test_a_number_without_a_place_in_a_decimal_does_not_become_another_one(expression):
    wide = {
        "type": "object",
        "properties": {"amount": {"type": "number", "multipleOf": 1e-31, "x-precision": 38}},
    }
    with pytest.raises(SchemaMismatchError, match="sequence 0, field amount"):
        lake_of({"cents": 4449734546176139861}).register("pay", wide, upcast={"amount": expression})


def test_fields_without_an_expression_are_widened_inside_and_found_by_their_exact_name():
    def of(**properties):
        return {"type": "object", "properties": properties}

    whole, text = {"type": "integer"}, {"type": "string"}
    old = of(s=of(a=whole, b=text), l={"type": "array", "items": whole}, z=text)
    new = of(
        s=of(b=text, c=text, a=MONEY | {"x-precision": 38}),
        l={"type": "array", "items": MONEY | {"x-precision": 38}},
        z=text,
    )
    lake = lake_of({"s": {"a": 1, "b": "x"}, "l": [1, 2]}, {"l": []}, {}, schema=old)
    lake.register("pay", new, upcast={"z": "'z'"})
    expected = [
        ({"b": "x", "c": None, "a": Decimal(1)}, [Decimal(1), Decimal(2)], "z"),
        (None, [], "z"),
        (None, None, "z"),
    ]
    assert columns(lake.snapshot(), "s", "l", "z") == expected
    with pytest.raises(InvalidInputError, match="the old field is called 'z'"):
        lake.register("pay", of(Z=text), upcast={})


def test_a_table_is_not_made_of_nulls_where_only_the_whole_of_it_was_too_much(monkeypatch):
    lake = lake_of(*({"cents": number} for number in range(100)))
    evaluated = upcasting.evaluate

    def refused(expressions, table):
        if table.num_rows > 30:
            raise expressing.EvaluationError
        return evaluated(expressions, table)

    monkeypatch.setattr(upcasting, "evaluate", refused)
    lake.register("pay", CROWNS, upcast=TO_CROWNS)
    assert [amount for (amount,) in columns(lake.snapshot(), "amount")] == [
        Decimal(number) / 100 for number in range(100)
    ]


def test_an_open_snapshot_keeps_its_schemas_whatever_is_registered_compacted_and_collected(
    tmp_path,
):
    lake = lake_of(where=tmp_path / "lake")
    for number in range(4):
        lake.append([event(number, cents=number)])
    snapshot = lake.snapshot()
    lake.register("pay", CENTS, upcast={"cents": "cents * 100"})
    lake.compact()
    lake.gc(older_than=timedelta(0), dry_run=False)
    assert snapshot.sql("SELECT count(*) AS n FROM events").polars()["n"].item() == 4
    assert columns(snapshot, "cents") == [(number,) for number in range(4)]
    assert columns(lake.snapshot(), "cents") == [(number * 100,) for number in range(4)]


def test_a_registration_that_lost_its_race_to_another_reads_all_events_again():
    storage = MemoryStorage()
    lake, other = lake_of({"cents": 900}, where=storage), el.open(storage)
    create, reads = storage.create, []

    def slow(path, data):
        if path.startswith("schemas/") and not reads:
            reads.append(path)
            other.register("pay", CENTS, upcast={"cents": "cents * 100"})
        create(path, data)

    storage.create = slow
    limited = {"type": "object", "properties": {"cents": {"type": "integer", "maximum": 1000}}}
    with pytest.raises(SchemaMismatchError, match="sequence 0, field cents"):
        lake.register("pay", limited, upcast={"cents": "cents"})
    assert columns(el.open(storage).snapshot(), "cents") == [(90_000,)]


def test_a_forked_process_upcasts_and_queries_too():
    lake = lake_of({"cents": 1})
    lake.register("pay", CROWNS, upcast=TO_CROWNS)
    lake.snapshot().sql("SELECT count(*) FROM events")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that threads are left behind is the point
        child = os.fork()
    if not child:
        try:
            fine = expressing.evaluate({"a": "cents"}, pa.table({"cents": [1]})).num_rows == 1
            tables_read._names("SELECT 1")
            os._exit(0 if fine else 1)
        finally:
            os._exit(2)
    for _ in range(100):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status == 0


def test_a_field_that_is_inexact_may_go_through_a_double():
    lake = lake_of({"cents": 150})
    lake.register(
        "pay",
        {"type": "object", "properties": {"amount": {"type": "number"}}},
        upcast={"amount": "cents / 100"},
    )
    assert columns(lake.snapshot(), "amount") == [(1.5,)]


def test_an_expression_for_a_field_that_is_not_there_is_refused():
    with pytest.raises(InvalidInputError, match="found 'amout'"):
        lake_of({"cents": 1}).register("pay", CROWNS, upcast={**TO_CROWNS, "amout": "1"})


def test_history_that_an_upcast_cannot_read_is_named_by_sequence_and_nothing_is_registered():
    lake = lake_of(
        *({"cents": number, "note": "x"} for number in range(300)),
        {"cents": 10**17},
        {"cents": 1, "note": "12.345"},
    )
    with pytest.raises(
        SchemaMismatchError, match=r"sequence 300, field amount: the upcast failed"
    ) as caught:
        lake.register("pay", CROWNS, upcast={"amount": "cents * CAST(1000 AS DECIMAL(4, 0))"})
    assert caught.value.facts["failures"] == 1
    with pytest.raises(
        SchemaMismatchError, match=r"sequence 0, field amount: the upcast failed"
    ) as caught:
        lake.register("pay", CROWNS, upcast={"amount": "CAST(note AS DECIMAL(18, 3))"})
    assert "'note': 'x'" in caught.value.message
    with pytest.raises(
        SchemaMismatchError,
        match=r"sequence 3, field paid_by: expected utf8 \(one of 'card', 'cash'\) from the upcast",
    ):
        lake.register(
            "pay", CROWNS, upcast={**TO_CROWNS, "paid_by": "CASE WHEN cents = 3 THEN 'cheque' END"}
        )
    with pytest.raises(
        SchemaMismatchError, match=r"sequence 4, field amount: expected .*required from the upcast"
    ):
        lake.register("pay", CROWNS, upcast={"amount": "nullif(cents, 4)"})
    assert lake.schema("pay").number == 1
    assert lake.verify(deep=True).problems == ()


def test_a_digit_too_many_is_an_error_and_not_rounded():
    lake = lake_of({"cents": 15})
    with pytest.raises(SchemaMismatchError, match="data loss"):
        lake.register("pay", CROWNS, upcast={"amount": "CAST(cents AS DECIMAL(18, 3)) * 0.001"})


def test_events_after_an_upcast_cannot_be_read_with_the_version_before_it():
    lake = lake_of({"cents": 1})
    lake.register(
        "pay",
        {**CENTS, "properties": {**CENTS["properties"], "extra": {"type": "integer"}}},
        upcast={"cents": "cents * 100"},
    )
    lake.append([event("new", cents=7)])
    assert columns(lake.snapshot(), "cents") == [(100,), (7,)]
    with pytest.raises(
        InvalidInputError, match="version 1 of the schema of pay cannot read event 1"
    ) as caught:
        lake.snapshot().table("pay", version=1).collect()
    assert "watermark 1 or below" in caught.value.hint
    assert columns(lake.snapshot(at=1), "cents", version=1) == [(1,)]


def test_events_that_only_a_later_version_accepts_cannot_be_read_with_an_older_one():
    schema = {"type": "object", "properties": {"kind": {"type": "string", "enum": ["a"]}}}
    lake = lake_of({"kind": "a"}, schema=schema)
    lake.register(
        "pay", {"type": "object", "properties": {"kind": {"type": "string", "enum": ["a", "b"]}}}
    )
    lake.append([event("new", kind="b")])
    with pytest.raises(
        InvalidInputError, match="version 1 of the schema of pay cannot read event 1"
    ):
        lake.snapshot().table("pay", version=1).collect()


def test_registering_again_changes_nothing_and_another_expression_is_another_version():
    lake = lake_of({"cents": 1})
    first = lake.register("pay", CROWNS, upcast=TO_CROWNS)
    assert lake.register("pay", CROWNS, upcast=TO_CROWNS) == first
    assert lake.register("pay", CROWNS) == first
    assert el.open(lake._chain.storage).schema("pay") == first
    others = [lake_of({"cents": 1}) for _ in range(2)]
    hashes = {
        other.register("pay", CROWNS, upcast={"amount": text}).schema_hash
        for other, text in zip(others, ["cents", "-cents"], strict=True)
    }
    assert len(hashes | {first.schema_hash}) == 3


def test_three_upcasts_in_a_row_with_versions_between_them(tmp_path):
    lake = lake_of({"cents": 150}, where=tmp_path / "lake")
    lake.register("pay", CROWNS, upcast=TO_CROWNS)
    lake.append([event("second", amount=2)])
    lake.register(
        "pay",
        {
            **CROWNS,
            "properties": {**CROWNS["properties"], "day": {"type": "string", "format": "date"}},
        },
    )
    lake.append([event("third", amount=3, day="2026-02-03")])
    split = {
        "type": "object",
        "properties": {
            "crowns": {"type": "integer"},
            "rest": MONEY,
            "when": {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}},
        },
    }
    lake.register(
        "pay",
        split,
        upcast={
            "crowns": "trunc(amount)::BIGINT",
            "rest": "amount - trunc(amount)",
            "when": "struct_pack(day := day)",
        },
    )
    lake.append([event("fourth", crowns=4, rest=0.25, when={"day": "2026-02-04"})])
    lake.register("pay", split, upcast={"crowns": "-crowns"})
    lake.append([event("fifth", crowns=5)])
    expected = [
        (-1, Decimal("0.50"), {"day": None}),
        (-2, Decimal("0.00"), {"day": None}),
        (-3, Decimal("0.00"), {"day": date(2026, 2, 3)}),
        (-4, Decimal("0.25"), {"day": date(2026, 2, 4)}),
        (5, None, None),
    ]
    assert columns(lake.snapshot(), "crowns", "rest", "when") == expected
    lake.compact()
    assert columns(el.open(tmp_path / "lake").snapshot(), "crowns", "rest", "when") == expected
    assert [version.upcast is not None for version in lake.schemas()["pay"]] == [
        False,
        True,
        False,
        True,
        True,
    ]


def test_old_datasets_are_reproduced_bit_for_bit_after_every_version(tmp_path):
    lake = lake_of({"cents": 150, "note": "a"}, {"cents": 250}, where=tmp_path / "lake")
    datasets = [
        lake.build(
            el.Projection.sql("first", 'SELECT sequence, cents FROM "pay"', key=["sequence"])
        )
    ]

    def assert_all_reproduce():
        for dataset in datasets:
            assert el.open(tmp_path / "lake").reproduce(dataset.manifest_hash).identical

    lake.register(
        "pay", {**CENTS, "properties": {**CENTS["properties"], "extra": {"type": "integer"}}}
    )
    lake.append([event("b", cents=1, extra=2)])
    assert_all_reproduce()
    datasets.append(
        lake.build(
            el.Projection.sql(
                "second", 'SELECT sequence, cents, extra FROM "pay"', key=["sequence"]
            )
        )
    )
    lake.register("pay", CROWNS, upcast=TO_CROWNS)
    lake.append([event("c", amount=0.01, paid_by="cash")])
    assert_all_reproduce()
    datasets.append(
        lake.build(
            el.Projection.sql(
                "third", 'SELECT sequence, amount, paid_by FROM "pay"', key=["sequence"]
            )
        )
    )
    lake.register("pay", CROWNS, upcast={"amount": "amount * 2"})
    lake.append([event("d", amount=9)])
    datasets.append(
        lake.build(
            el.Projection.sql("fourth", 'SELECT sequence, amount FROM "pay"', key=["sequence"])
        )
    )
    assert_all_reproduce()
    lake.compact()
    assert_all_reproduce()
    assert datasets[3].polars().sort("sequence")["amount"].to_list() == [
        Decimal(text) for text in ("3.00", "5.00", "0.02", "0.02", "9.00")
    ]


def test_a_registration_that_lost_its_race_looks_at_the_events_between():
    storage = MemoryStorage()
    lake = lake_of({"cents": 1}, where=storage)
    other = el.open(storage)
    reads = []
    create = storage.create

    def slow(path, data):
        if path.startswith("schemas/") and not reads:
            reads.append(path)
            other.append([event("between", cents=10**17)])
        create(path, data)

    storage.create = slow
    with pytest.raises(SchemaMismatchError, match="sequence 1, field amount"):
        lake.register("pay", CROWNS, upcast={"amount": "cents * CAST(1000 AS DECIMAL(4, 0))"})
    assert other.schema("pay").number == 1


@pytest.mark.thorough
def test_a_large_history_is_upcast_in_order():
    lake = lake_of(*({"cents": number} for number in range(70_000)))
    lake.register("pay", CROWNS, upcast=TO_CROWNS)
    amounts = lake.snapshot().table("pay").sort("sequence").collect()["amount"]
    assert (amounts == pl.Series(range(70_000)).cast(pl.Decimal(20, 2)) * Decimal("0.01")).all()


def test_the_command_registers_an_upcast_and_shows_it(tmp_path, capsys):
    lake_of({"cents": 150}, where=tmp_path / "lake")
    files = {name: str(tmp_path / f"{name}.json") for name in ("schema", "upcast", "list")}
    for name, content in (("schema", CROWNS), ("upcast", TO_CROWNS), ("list", [1])):
        Path(files[name]).write_text(json.dumps(content), encoding="utf-8")

    def run(command, *arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["schema", command, str(tmp_path / "lake"), "pay", *arguments])
        printed = capsys.readouterr()
        return ended.value.code, printed.out + printed.err

    assert run("register", files["schema"]) == (1, ANY)
    assert run("register", files["schema"], "--upcast", files["list"])[1].startswith(
        "error: " + files["list"] + " is not an upcast"
    )
    code, printed = run("register", files["schema"], "--upcast", files["upcast"])
    assert code == 0
    assert "upcast from version 1" in printed
    assert json.loads(run("show", "--json")[1])["upcast"] == TO_CROWNS
    assert json.loads(run("show", "--version", "1", "--json")[1])["upcast"] is None


def test_a_deep_verification_finds_a_table_that_holds_other_rows_and_an_event_that_does_not_fit(
    tmp_path, monkeypatch
):
    lake = lake_of(*({"cents": number} for number in range(10)), where=tmp_path / "lake")
    lake.append([event("second", cents=7)])
    lake.register("pay", CROWNS, upcast=TO_CROWNS)
    with monkeypatch.context() as patch:
        patch.setattr(
            payloads,
            "upcast",
            lambda table, version: (_nulls(upcasting.upcast(table, version)[0]), []),
        )
        lake.snapshot().table("pay").collect()
    lake.append([event("new", amount=1)])
    lake.snapshot().table("pay").collect()
    assert lake.verify().ok
    report = lake.verify(deep=True)
    assert [finding.path.split("/")[0] for finding in report.problems] == ["tables"]
    assert "does not match its segments" in report.problems[0].message
    (tmp_path / "lake" / report.problems[0].path).unlink()
    lake.snapshot().table("pay").collect()
    assert lake.verify(deep=True).problems == ()
    monkeypatch.setattr(
        upcasting, "checked", lambda *_, **__: (_ for _ in ()).throw(upcasting.OddError)
    )
    # What the table should hold cannot be told any more, and a table that was not compared is not
    # sound.
    assert {finding.path.split("/")[0] for finding in lake.verify(deep=True).problems} == {
        "segments",
        "tables",
    }


def _nulls(table):
    return pa.Table.from_arrays(
        [pa.nulls(table.num_rows, kind) for kind in table.schema.types], schema=table.schema
    )
