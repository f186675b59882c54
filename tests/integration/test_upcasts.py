"""Upcasts: what an old payload is under a new schema is a recorded expression, and means the same for ever."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from unittest.mock import ANY

import polars as pl
import pytest

import eventlake as el
from eventlake.cli import main
from eventlake.errors import InvalidInputError, SchemaMismatchError
from eventlake.storage import MemoryStorage

CENTS = {"type": "object", "properties": {"cents": {"type": "integer"}, "note": {"type": "string"}}, "required": ["cents"]}
MONEY = {"type": "number", "multipleOf": 0.01, "x-precision": 18}
CROWNS = {
    "type": "object",
    "properties": {"amount": MONEY, "note": {"type": "string"}, "paid_by": {"type": "string", "enum": ["card", "cash"]}},
    "required": ["amount"],
}
TO_CROWNS = {"amount": "CAST(cents AS DECIMAL(18, 2)) * 0.01"}


def event(name, **data):
    return {"id": str(name), "source": "s", "type": "pay", "subject": "/loan/7", "time": "2026-01-01T00:00:00Z", "data": data}


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
    assert rows == [(Decimal("1.50"), "a", None), (Decimal("-0.01"), None, None), (Decimal("2.50"), None, "card")]
    assert lake.snapshot().sql('SELECT amount, note, paid_by FROM "pay" ORDER BY sequence').polars().rows() == rows
    assert lake.snapshot().scan().collect()["data"].to_list()[0] == '{"cents":150,"note":"a"}'
    assert columns(lake.snapshot(at=2), "cents", version=1) == [(150,), (-1,)]


def test_what_does_not_follow_needs_an_expression_and_the_message_says_for_which_field():
    lake = lake_of({"cents": 1})
    with pytest.raises(InvalidInputError, match="cents: is gone") as caught:
        lake.register("pay", CROWNS)
    assert "upcast=" in caught.value.hint
    with pytest.raises(InvalidInputError, match="field amount needs an expression: is new and required"):
        lake.register("pay", CROWNS, upcast={})
    narrow = {**CENTS, "properties": {"cents": {"type": "integer", "maximum": 9}}}
    with pytest.raises(InvalidInputError, match="field cents needs an expression: int64 cannot become int64"):
        lake.register("pay", narrow, upcast={})
    assert lake.schema("pay").number == 1


def test_an_upcast_of_the_first_version_is_refused():
    lake = el.create("memory://", "o")
    with pytest.raises(InvalidInputError, match="nothing to upcast from"):
        lake.register("pay", CROWNS, upcast=TO_CROWNS)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("cents / 100", "goes through a DOUBLE"),
        ("CAST(cents AS DOUBLE)::DECIMAL(18, 2)", "goes through a DOUBLE"),
        ("cents + 1e0", "goes through a DOUBLE"),
        ("random()::DECIMAL(18, 2)", r"random\(\) does not give the same"),
        ("year(current_date)", r"current_date\(\) does not give the same"),
        ("epoch_us(now())", r"now\(\) does not give the same"),
        ("length(version())", r"version\(\) does not give the same"),
        ("epoch_us(current_timestamp)", r"current_timestamp\(\) does not give the same"),
        ("length(getvariable('x'))", r"getvariable\(\) does not give the same"),
        ("year(age(TIMESTAMP '2020-01-01'))", "does not give the same"),
        ("(SELECT 1)", "one value from one row"),
        ("sum(cents)", "one value from one row"),
        ("row_number() OVER ()", "one value from one row"),
        ("unnest([1, 2])", "one value from one row"),
        ("1), (2", "one value from one row"),
        ("*", "one value from one row"),
        ("$1", "DuckDB refused"),
        ("nothing", "DuckDB refused"),
        ("cents +", "DuckDB refused"),
        ("1); DROP TABLE payloads; SELECT (1", "DuckDB refused|one value from one row"),
        ("note", "gives string"),
        ("cents > 1", "gives bool"),
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
        ("list_sum([cents, 1])", Decimal("151.00")),
        ("CASE WHEN cents < 0 THEN error('negative') ELSE cents END", Decimal("150.00")),
        ("year(DATE '2026-01-01')", Decimal("2026.00")),
    ],
)
def test_expressions_that_are_allowed(expression, value):
    lake = lake_of({"cents": 150, "note": "a"})
    lake.register("pay", CROWNS, upcast={"amount": expression})
    assert columns(lake.snapshot(), "amount") == [(value,)]


def test_a_field_that_is_inexact_may_go_through_a_double():
    lake = lake_of({"cents": 150})
    lake.register("pay", {"type": "object", "properties": {"amount": {"type": "number"}}}, upcast={"amount": "cents / 100"})
    assert columns(lake.snapshot(), "amount") == [(1.5,)]


def test_an_expression_for_a_field_that_is_not_there_is_refused():
    with pytest.raises(InvalidInputError, match="found 'amout'"):
        lake_of({"cents": 1}).register("pay", CROWNS, upcast={**TO_CROWNS, "amout": "1"})


def test_history_that_an_upcast_cannot_read_is_named_by_sequence_and_nothing_is_registered():
    lake = lake_of(*({"cents": number, "note": "x"} for number in range(300)), {"cents": 10**17}, {"cents": 1, "note": "12.345"})
    with pytest.raises(SchemaMismatchError, match=r"sequence 300, field amount: the upcast failed") as caught:
        lake.register("pay", CROWNS, upcast={"amount": "cents * CAST(1000 AS DECIMAL(4, 0))"})
    assert caught.value.facts["failures"] == 1
    with pytest.raises(SchemaMismatchError, match=r"sequence 0, field amount: the upcast failed") as caught:
        lake.register("pay", CROWNS, upcast={"amount": "CAST(note AS DECIMAL(18, 3))"})
    assert "'note': 'x'" in caught.value.message
    with pytest.raises(SchemaMismatchError, match=r"sequence 3, field paid_by: expected utf8 \(one of 'card', 'cash'\) from the upcast"):
        lake.register("pay", CROWNS, upcast={**TO_CROWNS, "paid_by": "CASE WHEN cents = 3 THEN 'cheque' END"})
    with pytest.raises(SchemaMismatchError, match=r"sequence 4, field amount: expected .*required from the upcast"):
        lake.register("pay", CROWNS, upcast={"amount": "nullif(cents, 4)"})
    assert lake.schema("pay").number == 1
    assert lake.verify(deep=True).problems == ()


def test_a_digit_too_many_is_an_error_and_not_rounded():
    lake = lake_of({"cents": 15})
    with pytest.raises(SchemaMismatchError, match="data loss"):
        lake.register("pay", CROWNS, upcast={"amount": "CAST(cents AS DECIMAL(18, 3)) * 0.001"})


def test_events_after_an_upcast_cannot_be_read_with_the_version_before_it():
    lake = lake_of({"cents": 1})
    lake.register("pay", {**CENTS, "properties": {**CENTS["properties"], "extra": {"type": "integer"}}}, upcast={"cents": "cents * 100"})
    lake.append([event("new", cents=7)])
    assert columns(lake.snapshot(), "cents") == [(100,), (7,)]
    with pytest.raises(InvalidInputError, match="version 1 of the schema of pay cannot read event 1") as caught:
        lake.snapshot().table("pay", version=1).collect()
    assert "watermark 1 or below" in caught.value.hint
    assert columns(lake.snapshot(at=1), "cents", version=1) == [(1,)]


def test_events_that_only_a_later_version_accepts_cannot_be_read_with_an_older_one():
    schema = {"type": "object", "properties": {"kind": {"type": "string", "enum": ["a"]}}}
    lake = lake_of({"kind": "a"}, schema=schema)
    lake.register("pay", {"type": "object", "properties": {"kind": {"type": "string", "enum": ["a", "b"]}}})
    lake.append([event("new", kind="b")])
    with pytest.raises(InvalidInputError, match="version 1 of the schema of pay cannot read event 1"):
        lake.snapshot().table("pay", version=1).collect()


def test_registering_again_changes_nothing_and_another_expression_is_another_version():
    lake = lake_of({"cents": 1})
    first = lake.register("pay", CROWNS, upcast=TO_CROWNS)
    assert lake.register("pay", CROWNS, upcast=TO_CROWNS) == first
    assert lake.register("pay", CROWNS) == first
    assert el.open(lake._chain.storage).schema("pay") == first
    others = [lake_of({"cents": 1}) for _ in range(2)]
    hashes = {
        other.register("pay", CROWNS, upcast={"amount": text}).schema_hash for other, text in zip(others, ["cents", "-cents"], strict=True)
    }
    assert len(hashes | {first.schema_hash}) == 3


def test_three_upcasts_in_a_row_with_versions_between_them(tmp_path):
    lake = lake_of({"cents": 150}, where=tmp_path / "lake")
    lake.register("pay", CROWNS, upcast=TO_CROWNS)
    lake.append([event("second", amount=2)])
    lake.register("pay", {**CROWNS, "properties": {**CROWNS["properties"], "day": {"type": "string", "format": "date"}}})
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
        "pay", split, upcast={"crowns": "trunc(amount)::BIGINT", "rest": "amount - trunc(amount)", "when": "struct_pack(day := day)"}
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
    assert [version.upcast is not None for version in lake.schemas()["pay"]] == [False, True, False, True, True]


def test_old_datasets_are_reproduced_bit_for_bit_after_every_version(tmp_path):
    lake = lake_of({"cents": 150, "note": "a"}, {"cents": 250}, where=tmp_path / "lake")
    datasets = [lake.build(el.Projection.sql("first", 'SELECT sequence, cents FROM "pay"', key=["sequence"]))]

    def assert_all_reproduce():
        for dataset in datasets:
            assert el.open(tmp_path / "lake").reproduce(dataset.manifest_hash).identical

    lake.register("pay", {**CENTS, "properties": {**CENTS["properties"], "extra": {"type": "integer"}}})
    lake.append([event("b", cents=1, extra=2)])
    assert_all_reproduce()
    datasets.append(lake.build(el.Projection.sql("second", 'SELECT sequence, cents, extra FROM "pay"', key=["sequence"])))
    lake.register("pay", CROWNS, upcast=TO_CROWNS)
    lake.append([event("c", amount=0.01, paid_by="cash")])
    assert_all_reproduce()
    datasets.append(lake.build(el.Projection.sql("third", 'SELECT sequence, amount, paid_by FROM "pay"', key=["sequence"])))
    lake.register("pay", CROWNS, upcast={"amount": "amount * 2"})
    lake.append([event("d", amount=9)])
    datasets.append(lake.build(el.Projection.sql("fourth", 'SELECT sequence, amount FROM "pay"', key=["sequence"])))
    assert_all_reproduce()
    lake.compact()
    assert_all_reproduce()
    assert datasets[3].polars().sort("sequence")["amount"].to_list() == [Decimal(text) for text in ("3.00", "5.00", "0.02", "0.02", "9.00")]


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
    assert run("register", files["schema"], "--upcast", files["list"])[1].startswith("error: " + files["list"] + " is not an upcast")
    code, printed = run("register", files["schema"], "--upcast", files["upcast"])
    assert code == 0
    assert "upcast from version 1" in printed
    assert json.loads(run("show", "--json")[1])["upcast"] == {**TO_CROWNS, "note": '"note"', "paid_by": "NULL"}
    assert json.loads(run("show", "--version", "1", "--json")[1])["upcast"] is None
