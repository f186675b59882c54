"""What a dataset holds comes back from every reader; what no dataset can hold is refused by name when it is built."""

import datetime as dt
import uuid
from decimal import Decimal

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import SchemaMismatchError

UTC = dt.UTC
KEPT = {
    "TIMESTAMP '9999-12-31 23:59:59.999999'": dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
    "TIMESTAMP '0001-01-01'": dt.datetime(1, 1, 1),
    "TIMESTAMPTZ '1677-01-01 00:00:00+00'": dt.datetime(1677, 1, 1, tzinfo=UTC),
    "TIMESTAMP_NS '2026-01-01 00:00:00.123456'": dt.datetime(2026, 1, 1, 0, 0, 0, 123456),
    "TIMESTAMP_S '2026-01-01 00:00:00'": dt.datetime(2026, 1, 1),
    "TIMESTAMP_MS '2026-01-01 00:00:00.1'": dt.datetime(2026, 1, 1, 0, 0, 0, 100000),
    "DATE '0001-01-01'": dt.date(1, 1, 1),
    "DATE '9999-12-31'": dt.date(9999, 12, 31),
    "TIME '23:59:59.999999'": dt.time(23, 59, 59, 999999),
    "99999999999999999999999999999999999999::HUGEINT": Decimal(10**38 - 1),
    "-99999999999999999999999999999999999999::HUGEINT": Decimal(1 - 10**38),
    "9999999999999999999999999999999999.9999::DECIMAL(38, 4)": Decimal(
        "9999999999999999999999999999999999.9999"
    ),
    "18446744073709551615::UBIGINT": 2**64 - 1,
    "UUID '00000000-0000-0000-0000-000000000001'": str(uuid.UUID(int=1)),
    "'a'::ENUM('a', 'b')": "a",
    "'\\xAA\\x00'::BLOB": b"\xaa\x00",
    "chr(0)": "\0",
    "NULL::DATE": None,
    "[DATE '2026-01-01', NULL]": [dt.date(2026, 1, 1), None],
    "{'a': [TIMESTAMP '2026-01-01']}": {"a": [dt.datetime(2026, 1, 1)]},
    "map_entries(MAP {'a': 1})": [{"key": "a", "value": 1}],
    "epoch_us(INTERVAL 1 HOUR)": 3_600_000_000,
    "'101'::BIT::VARCHAR": "101",
}
BEYOND = {
    "'infinity'::TIMESTAMP": "found infinity",
    "'-infinity'::TIMESTAMPTZ": "found -infinity",
    "'infinity'::DATE": "found infinity",
    "'-infinity'::DATE": "found -infinity",
    "TIMESTAMPTZ '10000-01-01 00:00:00+00'": "from 0001-01-01 to 9999-12-31",
    "TIMESTAMP '0001-12-31 (BC)'": "from 0001-01-01 to 9999-12-31",
    "DATE '10000-01-01'": "from 0001-01-01 to 9999-12-31",
    "DATE '0044-03-15 (BC)'": "from 0001-01-01 to 9999-12-31",
    "[DATE '2026-01-01', 'infinity'::DATE]": r"column v\[\]: .* found infinity",
    "{'a': [{'b': 'infinity'::TIMESTAMP}]}": r"column v\.a\[\]\.b: .* found infinity",
    "TIME '24:00:00'": "before 24:00",
    "100000000000000000000000000000000000000::HUGEINT": "at most 38 digits",
    "170141183460469231731687303715884105727::HUGEINT": "at most 38 digits",
    "[-170141183460469231731687303715884105727::HUGEINT]": "at most 38 digits",
    "TIMESTAMP_NS '2026-01-01 00:00:00.123456789'": "without loss",
    "'101'::BIT": "cannot hold BIT",
    "['101'::BIT]": "cannot hold BIT",
    "INTERVAL 1 HOUR": "cannot hold INTERVAL",
    "MAP {'a': 1}": r"cannot hold MAP\(VARCHAR, INTEGER\)",
    "{'a': MAP {'a': 1}}": r"cannot hold MAP\(VARCHAR, INTEGER\)",
    "NULL": "has type null",
}
ONLY_LOOSELY = {
    "TIMETZ '10:00:00+02'": "cannot hold TIME WITH TIME ZONE",
    "{'a': [TIMETZ '10:00:00+02']}": "cannot hold TIME WITH TIME ZONE",
    "1::UHUGEINT": "cannot hold UHUGEINT",
    "340282366920938463463374607431768211455::UHUGEINT": "cannot hold UHUGEINT",
    "1::BIGNUM": "cannot hold BIGNUM",
    "'x'::VARIANT": "cannot hold VARIANT",
    "union_value(k := 1)": r"cannot hold UNION\(k INTEGER\)",
    "TIME_NS '10:00:00.123456789'": "without loss",
}


@pytest.fixture(scope="module")
def lake():
    made = el.create("memory://", "o.example")
    made.append(
        [{"id": "1", "source": "s", "type": "t", "subject": "/a", "time": "2026-01-01T00:00:00Z"}]
    )
    return made


def sql(expression, level):
    return el.Projection.sql(
        "q", f"SELECT sequence AS k, {expression} AS v FROM events", key=["k"], level=level
    )


def python(expression, level="unproven"):
    def run(snapshot):
        return snapshot.scan().select(k="sequence", v=expression)

    return el.Projection(
        "q", "python", "f.py:run", {"f.py": str(expression)}, ("k",), level, function=run
    )


def read(dataset):
    """The only value, as each reader gives it."""
    yield dataset.polars()["v"].to_list()[0]
    yield dataset.arrow().column("v").to_pylist()[0]
    cell = dataset.pandas()["v"].iloc[0]
    for plain in ("to_pydatetime", "to_pytimedelta"):
        cell = getattr(cell, plain)() if hasattr(cell, plain) else cell
    yield cell


@pytest.mark.parametrize("expression", KEPT)
def test_what_a_dataset_holds_comes_back_from_every_reader(lake, expression):
    dataset = lake.build(sql(expression, "exact"))
    assert list(read(dataset)) == [KEPT[expression]] * 3
    assert lake.reproduce(dataset.manifest_hash).identical
    assert lake.verify(deep=True).ok


@pytest.mark.parametrize("level", ["exact", "fixed", "unproven"])
@pytest.mark.parametrize("expression", BEYOND)
def test_what_no_dataset_can_hold_is_refused_by_name_at_every_level(lake, expression, level):
    before = len(lake.datasets())
    with pytest.raises(SchemaMismatchError, match=BEYOND[expression]) as caught:
        lake.build(sql(expression, level))
    assert caught.value.hint
    assert len(lake.datasets()) == before


@pytest.mark.parametrize("level", ["fixed", "unproven"])
@pytest.mark.parametrize("expression", ONLY_LOOSELY)
def test_types_that_arrow_would_change_are_refused_below_exact_too(lake, expression, level):
    with pytest.raises(SchemaMismatchError, match=ONLY_LOOSELY[expression]):
        lake.build(sql(expression, level))
    with pytest.raises(el.EventlakeError, match="declared exact and is not"):
        lake.build(sql(expression, "exact"))


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        (pl.lit(2**62).cast(pl.Datetime("us")), "from 0001-01-01 to 9999-12-31"),
        (pl.lit(2**62).cast(pl.Datetime("ms")), "without loss"),
        (pl.lit(10**18 + 1).cast(pl.Datetime("ns")), "without loss"),
        (pl.lit(2**31 - 1).cast(pl.Int32).cast(pl.Date), "found infinity"),
        (pl.lit(-800_000).cast(pl.Date), "from 0001-01-01 to 9999-12-31"),
        (
            pl.struct(a=pl.concat_list(pl.lit(2**62).cast(pl.Datetime("us", "UTC")))),
            r"column v\.a\[\]",
        ),
        (pl.lit(36_000_000_000_001).cast(pl.Time), "without loss"),
        (pl.lit(1).cast(pl.Duration("ns")), "without loss"),
        (pl.lit(1.5).cast(pl.Float16), "halffloat"),
        (pl.lit(2**127 - 1, dtype=pl.Int128), "Int128"),
        (pl.lit(2**128 - 1, dtype=pl.UInt128), "UInt128"),
        (pl.lit(None), "has type null"),
    ],
)
def test_polars_values_that_no_dataset_can_hold_are_refused_by_name(lake, expression, complaint):
    before = len(lake.datasets())
    with pytest.raises(SchemaMismatchError, match=complaint):
        lake.build(python(expression))
    assert len(lake.datasets()) == before


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (
            pl.lit(dt.datetime(9999, 12, 31, 23, 59, 59, 999999)),
            dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
        ),
        (pl.lit(dt.date(1, 1, 1)), dt.date(1, 1, 1)),
        (pl.lit(dt.time(10, 0, 0, 5)), dt.time(10, 0, 0, 5)),
        (pl.lit(dt.timedelta(days=-3, microseconds=1)), dt.timedelta(days=-3, microseconds=1)),
        (pl.lit(1).cast(pl.Duration("ms")), dt.timedelta(milliseconds=1)),
        (pl.lit(10**37).cast(pl.Decimal(38, 0)), Decimal(10**37)),
        (pl.lit("a").cast(pl.Enum(["a"])), "a"),
        (
            pl.lit(dt.datetime(2026, 1, 1)).dt.replace_time_zone("Europe/Berlin"),
            dt.datetime(2025, 12, 31, 23, tzinfo=UTC),
        ),
        (pl.lit([1, 2], dtype=pl.Array(pl.Int64, 2)), [1, 2]),
    ],
)
def test_polars_values_come_back_from_every_reader(lake, expression, value):
    dataset = lake.build(python(expression))
    assert list(read(dataset)) == [value] * 3


def test_what_the_hints_say_can_be_built(lake):
    finite = "CASE WHEN v BETWEEN '0001-01-01' AND '9999-12-31' THEN v END"
    for odd in (
        "'infinity'::TIMESTAMP",
        "'-infinity'::DATE",
        "TIMESTAMPTZ '10000-01-01 00:00:00+00'",
    ):
        query = (
            f"SELECT sequence AS k, {finite} AS w FROM (SELECT sequence, {odd} AS v FROM events)"
        )
        assert lake.build(el.Projection.sql("q", query, key=["k"])).polars()["w"].to_list() == [
            None
        ]
    assert lake.build(
        sql("CAST(170141183460469231731687303715884105727::HUGEINT AS VARCHAR)", "exact")
    ).polars()["v"].to_list() == [str(2**127 - 1)]
    assert lake.build(sql("(time AT TIME ZONE 'UTC')::TIME", "exact")).polars()["v"].to_list() == [
        dt.time(0)
    ]
