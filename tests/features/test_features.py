"""Feature sets as datasets: built on both engines, found again, reproduced, refused where they cannot be."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial

import numpy as np
import polars as pl
import pytest

import eventlake as el
from eventlake.caches import CACHES
from eventlake.datasets.building.given_spine import given_spine
from eventlake.errors import InvalidInputError, InvalidProjectionError, NotFoundError
from eventlake.features import look_up as features_run
from eventlake.features.engine_cache import ENGINE_CACHE
from eventlake.features.feature_set import FeatureSet
from eventlake.features.on_duckdb import database as duckdb_tables
from eventlake.features.on_duckdb import parts as duckdb_parts
from eventlake.features.on_polars import cached_events
from eventlake.features.on_polars import parts as polars_parts
from eventlake.features.planned.limits import LookUpLimits
from eventlake.features.planned.plan import _Compiler, compiled
from eventlake.projections import features as projections
from eventlake.storage import MemoryStorage
from tests.scope import scaled
from tests.support.feature_fixtures import (
    BEGIN,
    DAY,
    FEATURES,
    SCHEMA,
    SPINE,
    event,
    filled,
    instants,
)


@pytest.fixture
def lake(tmp_path):
    return filled(el.create(tmp_path / "lake", "tests.eventlake/features"))


def test_a_dataset_has_the_spines_rows_in_their_order_and_a_column_for_each_feature(lake):
    rows = lake.build(FEATURES, spine=SPINE).polars()
    assert rows.columns == [
        "spine_row",
        "subject",
        "cutoff",
        "late",
        "payment_count_2d",
        "payment_count_30d",
        "payment_amount_mean",
        "payment_method_last",
        "missed_days_since_last",
        "missed_exists_30d",
        "each",
        "by_card",
    ]
    assert rows.select(SPINE.columns).equals(SPINE)
    assert rows["payment_count_2d"].to_list() == [2, 0, 0]
    assert rows["payment_count_30d"].to_list() == [4, 0, 6]
    assert rows["payment_amount_mean"].to_list() == [12.0, None, 13.0]
    assert rows["payment_method_last"].to_list() == ["card", None, "card"]
    assert rows["missed_days_since_last"].to_list() == [None, 3.0, 3.0]
    assert rows["missed_exists_30d"].to_list() == [False, True, True]
    assert rows["each"].to_list() == [12.0, None, 13.0]
    assert rows["by_card"].to_list() == [2, 0, 3]


def test_a_lake_in_memory_makes_the_same_dataset(lake):
    other = filled(el.create(MemoryStorage(), "tests.eventlake/features"))
    for engine in ("duckdb", "polars"):
        assert (
            other.build(FEATURES, spine=SPINE, engine=engine, force=True).manifest_hash
            == lake.build(FEATURES, spine=SPINE).manifest_hash
        )
    assert el.check_leakage(other.build(FEATURES, spine=SPINE)).ok


def test_both_engines_make_the_same_dataset_and_it_is_computed_once(lake):
    one = lake.build(FEATURES, spine=SPINE, engine="duckdb")
    again = lake.build(FEATURES, spine=SPINE, engine="polars")
    assert one.manifest_hash == again.manifest_hash
    forced = lake.build(FEATURES, spine=SPINE, engine="polars", force=True)
    assert forced.manifest_hash == one.manifest_hash
    recipe = one.manifest.recipe
    assert (recipe.kind, recipe.engine, recipe.level, recipe.check, recipe.settings) == (
        "features",
        "eventlake",
        "exact",
        "by construction",
        {},
    )
    assert set(recipe.schemas) == {"payment", "missed"}
    lake.build(FEATURES, spine=SPINE, check="perturb", force=True)


def test_a_feature_set_is_reproduced_without_trust_and_after_later_events(lake):
    built = lake.build(FEATURES, spine=SPINE)
    lake.append([event(7, day=1, amount=99.5) | {"recorded_at": (BEGIN + 10 * DAY).isoformat()}])
    lake.append([event(8, day=12, amount=1.25)])
    result = lake.reproduce(built.manifest_hash)
    assert result.identical
    assert (
        lake.build(FEATURES, spine=SPINE, at=built.watermark).manifest_hash == built.manifest_hash
    )
    assert lake.build(FEATURES, spine=SPINE).content_hash == built.content_hash, (
        "what was told later was not known at the cutoffs"
    )
    seen = el.FeatureSet("risk", features=FEATURES.features, known="watermark")
    assert lake.build(seen, spine=SPINE).polars()["payment_count_30d"].to_list() == [5, 0, 7]
    late = SPINE.with_columns(cutoff=instants(4, 9, 20))
    assert lake.build(FEATURES, spine=late).polars()["payment_count_30d"].to_list() == [4, 0, 8]


@pytest.mark.parametrize("known", ["cutoff", "watermark"])
def test_a_build_parses_and_compiles_its_features_once(lake, known, monkeypatch):
    features, calls = replace(FEATURES, known=known), []

    def counted(function):
        def call(*arguments):
            calls.append(function.__name__)
            return function(*arguments)

        return call

    parse = counted(FeatureSet.from_text.__func__)
    monkeypatch.setattr(FeatureSet, "from_text", classmethod(parse))
    monkeypatch.setattr(_Compiler, "compiled", counted(_Compiler.compiled))
    CACHES.clear()
    built = lake.build(features, spine=SPINE)
    assert sorted(calls) == ["compiled", "from_text"]
    calls.clear()
    CACHES.clear()
    lake.append([event(7, day=8, subject="/loan/2", amount=99.5)])
    again = lake.build(features, spine=SPINE)
    assert again.manifest_hash != built.manifest_hash
    assert again.provenance["derived_from"] == built.manifest_hash
    assert sorted(calls) == ["compiled", "from_text"]


def test_a_feature_set_says_everything_in_the_source_that_is_archived(lake):
    built = lake.build(FEATURES, spine=SPINE)
    (text,) = built._archive.sources().values()
    assert el.FeatureSet.from_text("risk", text).columns == FEATURES.columns
    assert json.loads(text)["known"] == "cutoff"


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        ([el.sum("payment", "weight")], "takes integers and decimals; the field is float64"),
        ([el.sum("payment", "method")], "takes integers and decimals"),
        ([el.min("payment", "weight")], "takes integers, decimals, text"),
        ([el.sum("payment", "amout")], "has no field amout"),
        ([el.count("payment", where=el.field("method") == "crad")], "is compared with 'crad'"),
        ([el.count("payment", where=el.field("amount") > 1.005)], "is compared with '1.005'"),
        ([el.count("payment"), el.count("payment")], "more than one column"),
        ([el.count("payment").name("late")], "would be a column of the spine and a feature"),
        ([el.exists("payment") + 1], "is not numeric"),
        ([1 - el.exists("payment")], "is not numeric"),
        ([el.count("payment") / (1 + el.exists("payment"))], "is not numeric"),
        ([el.last("payment", "method") + 1], "is not numeric"),
        ([el.count("payment").name("x" * 200) + el.count("missed")], "too long for a column"),
        ([], "at least one feature"),
        ([1], "expected features such as"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_there(lake, features, problem):
    with pytest.raises(InvalidInputError, match=problem):
        lake.build(el.FeatureSet("risk", features=features), spine=SPINE)
    assert lake.datasets() == []


@pytest.mark.parametrize(
    ("spine", "problem"),
    [
        (None, "needs a spine"),
        (SPINE.drop("cutoff"), "has no column cutoff"),
        (SPINE.rename({"subject": "loan"}), "has no column subject"),
        (
            SPINE.with_columns(pl.col("cutoff").dt.replace_time_zone(None)),
            "expected cutoff of the spine as timestamp",
        ),
        (
            SPINE.with_columns(
                cutoff=pl.Series([BEGIN, None, BEGIN], dtype=pl.Datetime("us", "UTC"))
            ),
            "cutoff is null in 1 row",
        ),
        (
            SPINE.with_columns(subject=pl.Series([1, 2, 3])),
            "expected subject of the spine as large_string",
        ),
    ],
)
@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_a_spine_without_entities_and_instants_is_refused(lake, spine, problem, engine):
    with pytest.raises((InvalidInputError, InvalidProjectionError), match=problem):
        lake.build(FEATURES, spine=spine, engine=engine)


def test_a_type_without_a_schema_is_refused_with_what_to_do(lake):
    with pytest.raises(NotFoundError, match="nothing"):
        lake.build(el.FeatureSet("risk", features=[el.count("nothing")]), spine=SPINE)


ODD = [
    "t",
    "c",
    "r",
    "u",
    "k",
    "n",
    "entity",
    "code",
    "place",
    "row",
    "group",
    "until",
    "spoke",
    "spine_row",
    "since",
    "till",
    "a b",
    'q"x',
    "select",
]
OTHERS = ("spine rows", "e", "names", "made 0", "entities", "lifetimes of e", "gone e", "gone of e")


@pytest.mark.parametrize("known", ["cutoff", pytest.param("watermark", marks=pytest.mark.thorough)])
def test_no_name_of_a_field_a_type_or_a_column_is_taken_for_one_of_ours(known):
    lake = el.create(MemoryStorage(), "tests.eventlake/odd")
    fields = {name: {"type": "integer"} for name in ODD} | {
        "time": {"type": "string"},
        "corrects": {"type": "string"},
    }
    for day, kind in enumerate(("rows", "until", *OTHERS)):
        lake.register(kind, {"type": "object", "properties": fields})
        data = {name: place for place, name in enumerate(ODD)}
        lake.append(
            [event(number, kind, day, time="A", corrects="B", **data) for number in range(2)]
        )
        lake.append(
            [event(9, kind, day, time="A", corrects="B", **data) | {"corrects": f"{kind}-0"}]
        )
    columns = [
        el.FeatureSet("odd", by=by, known=known, spine_by="Who", cutoff="cutoff", features=[
            *(one(kind, name, window="30d") for kind in ("rows", "until") for name in ODD[:8] for one in (el.sum, el.last, el.min)),
            *(one(kind, name).name(f"{kind} {number} {one.__name__}".replace(" ", "_")) for kind in OTHERS
              for number, name in enumerate(ODD if kind in OTHERS[:2] else ODD[:2]) for one in (el.sum, el.distinct)),
            el.count("e", where=el.field("until") == ODD.index("until")).name("until_is"),
        ])
        for by in ("time", "corrects")
    ]  # fmt: skip
    spine = pl.DataFrame(
        {
            "Who": ["A", "B"],
            "who is": ["x", "y"],
            "CUT_OFF": ["x", "y"],
            "cutoff": instants(9, 9),
            "t": [1, 2],
        }
    )
    for features, row in zip(columns, (0, 1), strict=True):
        one, other = (
            lake.build(features, spine=spine, engine=engine, force=True).polars()
            for engine in ("duckdb", "polars")
        )
        assert one.equals(other)
        assert one[row, "rows_code_sum_30d"] == 2 * ODD.index("code")
        assert one[row, "e_11_sum"] == 2 * 11
        assert one[row, "until_is"] == 2
        assert one[1 - row, "until_is"] == 0


def test_fields_with_the_names_of_attributes_are_reached_as_columns(tmp_path):
    lake = el.create(tmp_path / "lake", "tests.eventlake/names")
    lake.register(
        "pay",
        {
            "type": "object",
            "properties": {"id": {"type": "integer"}, "sequence": {"type": "integer"}},
        },
    )
    lake.append([event(number, "pay", number, id=10 + number, sequence=20) for number in range(3)])
    names = ["id", "data_id", "sequence", "data_sequence"]
    features = el.FeatureSet(
        "names",
        features=[
            el.last("pay", name, where=el.field("data_id") < 12).name(f"f_{name}") for name in names
        ],
    )
    for engine in ("duckdb", "polars"):
        made = lake.build(features, spine=SPINE.tail(1), engine=engine, force=True)
        assert made.polars().select(features.columns).row(0) == ("pay-1", 11, 1, 20)
    with pytest.raises(InvalidProjectionError, match="it has data_id, data_sequence; subject"):
        lake.build(replace(features, features=[el.last("pay", "di")]), spine=SPINE)


def test_fields_inside_of_fields_are_called_by_their_path(tmp_path):
    lake = el.create(tmp_path / "lake", "tests.eventlake/nested")
    fields = {
        "customer": {"id": {"type": "string"}, "*": {"type": "integer"}},
        "time": {"n": {"type": "integer"}},
    }
    lake.register(
        "pay",
        {
            "type": "object",
            "properties": {k: {"type": "object", "properties": v} for k, v in fields.items()},
        },
    )
    lake.append(
        [event(n, "pay", n, customer={"id": f"c{n % 2}", "*": 1}, time={"n": n}) for n in range(6)]
    )
    spine = el.spine.on("pay", by="customer.id", carry=["time.n"])
    wanted = [
        el.sum("pay", "time.n"),
        el.last("pay", "customer.id", where={"time.n": 1}).name("one"),
    ]
    features = el.FeatureSet("nested", by="customer.id", features=wanted)
    first, other = (
        lake.build(features, spine=spine, engine=engine, force=True)
        for engine in ("duckdb", "polars")
    )
    assert first.content_hash == other.content_hash
    told = first.polars().select("customer.id", "time.n", "pay_time_n_sum", "one").rows()
    assert told == [
        ("c0", 0, 0, None),
        ("c1", 1, 0, None),
        ("c0", 2, 0, None),
        ("c1", 3, 1, "c1"),
        ("c0", 4, 2, None),
        ("c1", 5, 4, "c1"),
    ]
    assert el.check_leakage(first).ok
    assert first.explain({"spine_row": 5}, "pay_time_n_sum").events["sequence"].to_list() == [1, 3]
    for name in ("customer.*", "customer", "time.m"):
        with pytest.raises(InvalidProjectionError, match=r"has no field|hold one value"):
            lake.build(replace(features, features=[el.last("pay", name)]), spine=spine)


@pytest.mark.parametrize("window", ["90", "1y", "0d", "-1d", 91, "1M", "1.5d", "99999999d", []])
def test_a_window_is_a_whole_number_of_a_unit(window):
    with pytest.raises(InvalidInputError, match=r"window|two hundred"):
        el.count("payment", window=window)


def test_constants_that_arrow_cannot_hold_are_refused_and_others_are_exact(lake):
    for constant in (
        1e-39,
        1e300,
        2**63,
        Decimal("3.1415926535897932384626433832795028841971"),
        float("inf"),
        True,
    ):
        with pytest.raises(InvalidInputError, match="a number of at most 38 digits"):
            el.count("payment") * constant
    count = el.count("payment")
    made = [
        (count * 1e-30).name("small"),
        (count * 10**18).name("large"),
        (1 - count / 2).name("less"),
        (count * np.float64(0.5)).name("half"),
    ]
    rows = lake.build(
        el.FeatureSet("risk", features=[*made, 1 - el.count("missed")]), spine=SPINE
    ).polars()
    assert rows["small"].to_list() == [Decimal("4E-30"), 0, Decimal("6E-30")]
    assert rows["large"].to_list() == [4 * 10**18, 0, 6 * 10**18]
    assert rows["less"].to_list() == [-1.0, 1.0, -2.0]
    assert rows["half"].to_list() == [2, 0, 3]
    assert rows["f_1_minus_missed_count"].to_list() == [1, 0, 0]


def test_null_less_the_smallest_integer_is_null(lake):
    lake.register("edge", {"type": "object", "properties": {"n": {"type": "integer"}}})
    lake.append([event(1, "edge", 9, n=-(2**63))])
    made = (el.lag("edge", "n", 3) - el.last("edge", "n")).name("none")
    spine = SPINE.with_columns(cutoff=instants(20, 20, 20))
    assert (
        lake.build(el.FeatureSet("risk", features=[made]), spine=spine).polars()["none"].to_list()
        == [None] * 3
    )


def test_one_is_not_true(lake):
    lake.register("flag", {"type": "object", "properties": {"n": {"type": "integer"}}})
    features = [
        el.count("flag", where={"n": 1}).name("one"),
        el.count("flag", where={"n": True}).name("true"),
    ]
    with pytest.raises(InvalidInputError, match="is compared with True"):
        lake.build(el.FeatureSet("risk", features=features), spine=SPINE)


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_a_spine_may_be_empty_or_have_rows_without_an_entity(lake, engine):
    features = el.FeatureSet(
        "risk",
        features=[
            *FEATURES.features,
            el.min("payment", "amount"),
            el.lag("payment", "amount"),
            el.delta("payment", "amount"),
        ],
    )
    assert lake.build(features, spine=SPINE.clear(), engine=engine).polars().height == 0
    built = lake.build(
        features, spine=SPINE.with_columns(subject=pl.lit(None, pl.String)), engine=engine
    )
    assert built.polars()["payment_count_30d"].to_list() == [0, 0, 0]
    assert built.explain(0).events.height == 0


def test_many_windows_are_asked_for_in_several_queries(lake):
    windows = [f"{hours}h" for hours in range(1, 251)]
    features = el.FeatureSet("risk", features=[el.count("payment", window=windows)])
    one, other = (
        lake.build(features, spine=SPINE, engine=engine, force=True).polars()
        for engine in ("duckdb", "polars")
    )
    assert one.equals(other)
    assert one["payment_count_250h"].to_list() == [4, 0, 6]


def test_every_feature_takes_several_windows_and_they_are_named_together(lake):
    windows = ["2d", None]
    several = [
        *(
            make("payment", window=windows).name(make.__name__)
            for make in (el.count, el.exists, el.since_last, el.since_first)
        ),
        *(make("payment", "amount", window=windows, offset="1d") for make in (el.sum, el.lag)),
        el.rate("payment", window=["2d", "30d"], where={"method": "card"}).name("by_card"),
    ]
    features = el.FeatureSet("several", features=several)
    lags = ["payment_amount_lag_1_2d_offset_1d", "payment_amount_lag_1_offset_1d"]
    assert features.columns[:4] == ("count_2d", "count", "exists_2d", "exists")
    assert list(features.columns[-4:]) == [*lags, "by_card_2d", "by_card_30d"]
    row = lake.build(features, spine=SPINE).polars().row(0, named=True)
    assert (row["count_2d"], row["count"], row["by_card_2d"], row["since_first"]) == (
        2,
        4,
        0.5,
        4.0,
    )
    assert row[lags[0]] == row[lags[1]] == Decimal("11.50")
    for window in (["2d", None], [], None, ""):
        with pytest.raises(InvalidInputError, match="expected a window"):
            el.rate("payment", window=window)
    with pytest.raises(InvalidInputError, match="expected a name"):
        el.count("payment", window=windows).name("by card")


@pytest.mark.parametrize("known", ["cutoff", pytest.param("watermark", marks=pytest.mark.thorough)])
def test_values_that_enter_at_one_instant_and_leave_at_others_are_counted_alike_by_every_way(
    known,
):
    lake = el.create(MemoryStorage(), "tests.eventlake/features")
    lake.register("payment", SCHEMA)
    lake.register("owned", {"type": "object", "properties": {"owner": {"type": "string"}}})
    told = (BEGIN + DAY).isoformat()
    payments = [
        event(number, subject=f"/loan/{number % 3}", amount=number * 31 % 5_000)
        | {
            "time": (BEGIN + timedelta(seconds=number * 7919 % 86_000)).isoformat(),
            "recorded_at": told,
        }
        for number in range(scaled(20_000, 4_000))
    ]
    owned = [
        event(number, "owned", subject=f"/loan/{number}", owner="X") | {"recorded_at": told}
        for number in range(3)
    ]
    lake.append([*payments, *owned])
    cutoffs = pl.Series(
        [BEGIN + DAY + timedelta(minutes=2 * number) for number in range(1, 600)],
        dtype=pl.Datetime("us", "UTC"),
    )
    spine = pl.DataFrame({"owner": ["X"] * len(cutoffs), "cutoff": cutoffs})
    features = [
        el.distinct("payment", "amount", window="25h"),
        el.max("payment", "amount", window="25h"),
        el.lag("payment", "amount", 3),
    ]
    through = el.FeatureSet(
        "f",
        features=features,
        known=known,
        via=[el.relation("owned", child="subject", parent="owner")],
    )
    plain = el.FeatureSet("f", features=features, known=known, spine_by="owner")
    for one, asked in ((through, spine), (plain, spine.with_columns(owner=pl.lit("/loan/1")))):
        history = lake.snapshot().history
        plan = compiled(one, history.catalogue)
        made = [
            pl.DataFrame(
                features_run.rows(plan, history, given_spine(asked), engine, LookUpLimits(few))
            )
            for engine, few in (("polars", 20), ("duckdb", 10**9), ("duckdb", -1))
        ]
        assert made[0].equals(made[1])
        assert made[0].equals(made[2])
        assert (
            lake.build(one, spine=asked)
            .polars()
            .select(one.columns)
            .equals(made[0].select(one.columns))
        )
        assert made[0]["payment_amount_distinct_25h"].n_unique() > 10


@pytest.mark.parametrize("name", ["*", "^.*$", "", "Spine_Row", "a\0b"])
def test_columns_that_would_be_taken_for_something_else_are_refused(lake, name):
    for column in ("subject", "cutoff")[not name :]:
        given = {"spine_by" if column == "subject" else "cutoff": name}
        features = el.FeatureSet("f", features=[el.count("payment")], **given)
        with pytest.raises(InvalidInputError, match=r"names alone|row number|NUL"):
            lake.build(features, spine=SPINE.rename({column: name}))


@pytest.mark.parametrize("name", ["name", "entity", "names", "rows", "c", "t"])
def test_a_spine_names_its_columns_as_it_likes_but_not_alike(lake, name):
    features = [el.count("payment"), el.last("payment", "amount")]
    for more in ({"spine_by": name}, {"cutoff": name}):
        spine = SPINE.rename({"subject" if "spine_by" in more else "cutoff": name})
        named = el.FeatureSet("f", features=features, **more)
        one, other = (
            lake.build(named, spine=spine, engine=engine, force=True)
            for engine in ("duckdb", "polars")
        )
        assert one.content_hash == other.content_hash
        query = named.plan("duckdb", lake.snapshot()).removesuffix(";\n")
        found = lake.snapshot().sql(query, spine=spine.with_row_index("spine_row")).polars()
        assert found["p0"].to_list() == one.polars()["payment_count"].to_list()
    with pytest.raises(InvalidProjectionError, match="SQL does not tell them apart"):
        el.FeatureSet("f", features=features, spine_by="Cutoff")


def test_a_condition_is_no_truth():
    with pytest.raises(InvalidInputError, match="has no truth"):
        bool(el.field("a") == 1 and el.field("b") == 2)
    with pytest.raises(InvalidInputError, match="is_null"):
        el.field("a") == None  # noqa: B015, E711


def test_an_overflow_is_an_error_on_both(lake):
    lake.register("large", {"type": "object", "properties": {"n": {"type": "integer"}}})
    lake.append([event(n, "large", 9, n=2**63 - 1) for n in range(2)])
    spine = SPINE.with_columns(cutoff=instants(30, 30, 30))
    told = []
    for engine in ("duckdb", "polars"):
        with pytest.raises(InvalidInputError, match="large_n_sum does not fit its type") as caught:
            lake.build(
                el.FeatureSet("risk", features=[el.sum("large", "n")]), spine=spine, engine=engine
            )
        told.append(caught.value.message)
    assert told[0] == told[1]
    mean = lake.build(el.FeatureSet("risk", features=[el.mean("large", "n")]), spine=spine)
    assert mean.polars()["large_n_mean"].to_list() == [float(2**63 - 1), None, float(2**63 - 1)]


def definition(folder, toml, source):
    folder.mkdir()
    (folder / "dataset.toml").write_text(toml, encoding="utf-8")
    (folder / "features.py").write_text(source, encoding="utf-8")
    SPINE.write_parquet(folder / "spine.parquet")
    return folder


TOML = 'name = "risk"\nfeatures = "features.py:RISK"\nspine = "spine.parquet"\n'
SOURCE = 'import eventlake as el\n\nRISK = el.FeatureSet("risk", features=[el.count("payment", window="30d"), el.last("payment", "method")])\n'


def test_a_definition_names_a_feature_set_and_is_built_on_either_engine(lake, tmp_path):
    folder = definition(tmp_path / "risk", TOML, SOURCE)
    one, other = (
        lake.build(el.read_definition(folder), engine=engine) for engine in ("duckdb", "polars")
    )
    assert one.manifest_hash == other.manifest_hash
    assert one.polars()["payment_count_30d"].to_list() == [4, 0, 6]


@pytest.mark.parametrize(
    ("toml", "source", "problem"),
    [
        (TOML.replace("RISK", "OTHER"), SOURCE, "there is no 'OTHER'"),
        (TOML, SOURCE.replace('"risk"', '"other"'), "called other, the dataset risk"),
        (TOML, "RISK = 1", "RISK as a FeatureSet"),
        (TOML, "RISK = 1 / 0", "ZeroDivisionError"),
        (TOML + 'engine = "spark"\n', SOURCE, "it runs on duckdb and polars"),
    ],
)
def test_a_definition_of_features_that_cannot_be_is_refused(lake, tmp_path, toml, source, problem):
    with pytest.raises(InvalidProjectionError, match=problem):
        lake.build(el.read_definition(definition(tmp_path / "risk", toml, source)))


def test_the_events_behind_a_value_are_those_inside_its_window(lake):
    lake.append([event(9, day=7, amount=1, method="card") | {"corrects": "payment-3"}])
    built = lake.build(FEATURES, spine=SPINE)
    found = built.explain(2, "payment_count_2d")
    assert found.behind["id"].to_list() == ["payment-9"]
    assert built.explain(0, "payment_count_2d").behind["id"].to_list() == ["payment-2", "payment-3"]
    assert built.explain(2, "each").behind["id"].to_list() == [
        f"payment-{number}" for number in (0, 1, 2, 4, 5, 9)
    ]
    assert built.explain(2, "by_card").behind["id"].to_list() == [
        "payment-1",
        "payment-5",
        "payment-9",
    ]
    assert built.explain(2, "missed_days_since_last").behind["id"].to_list() == ["missed-0"]
    assert built.explain(1, "payment_count_30d").behind.height == 0
    counted = built.polars()
    for row in range(3):
        whole = built.explain(row).events
        for column in ("payment_count_2d", "payment_count_30d", "by_card"):
            assert (
                whole.filter(pl.col("behind").list.contains(column)).height == counted[row, column]
            )


def test_cutoffs_before_anything_was_recorded_are_refused_with_both_ways_out(lake):
    early = SPINE.with_columns(cutoff=instants(-9, -3, -5))
    with pytest.raises(InvalidInputError, match="nothing was known then") as caught:
        lake.build(FEATURES, spine=early)
    assert "known='watermark'" in str(caught.value)
    assert "recorded_at taken from time" in str(caught.value)
    lake.build(el.FeatureSet("risk", features=FEATURES.features, known="watermark"), spine=early)
    with pytest.warns(UserWarning, match="2 of 3 cutoffs"):
        lake.build(FEATURES, spine=SPINE.with_columns(cutoff=instants(-9, -3, 5)))


@pytest.mark.parametrize("known", ["cutoff", "watermark"])
def test_a_plan_can_be_read_on_both_engines_with_and_without_schemas(lake, known):
    features = el.FeatureSet(
        "risk", features=[*FEATURES.features, el.max("payment", "amount", window="9d")], known=known
    )
    for snapshot in (None, lake.snapshot()):
        sql, steps = features.plan("duckdb", snapshot), features.plan("polars", snapshot)
        for name in features.columns:
            assert name in sql
            assert name in steps
        assert sql.count("JOIN e ON") == steps.count("rows.join(events") > 1
    with pytest.raises(InvalidInputError, match="expected engine"):
        features.plan("spark")


def test_the_sql_of_a_plan_is_a_projection_of_its_own(lake):
    features = el.FeatureSet(
        "risk",
        features=[el.count("payment", window="2d"), el.sum("payment", "amount")],
        known="watermark",
    )
    built = lake.build(features, spine=SPINE).polars()
    query = features.plan("duckdb", lake.snapshot()).rstrip().rstrip(";")
    rows = lake.build(
        el.Projection.sql("plain", query, key=["spine_row"], level="fixed"), spine=SPINE
    ).polars()
    assert rows["p0"].cast(pl.Int64).to_list() == built["payment_count_2d"].to_list()
    assert (
        rows["p1"].cast(pl.Float64).to_list()
        == built["payment_amount_sum"].cast(pl.Float64).to_list()
    )


@pytest.mark.parametrize("few", [10**9, -1])
@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_what_was_sorted_before_is_used_again_and_never_for_other_events(
    tmp_path, monkeypatch, engine, few
):
    lake = el.create(tmp_path / "lake", "tests.eventlake/kept")
    lake.register("payment", SCHEMA)
    read = []
    collected, created = cached_events.events, duckdb_tables.Tables._create
    monkeypatch.setattr(
        cached_events, "events", lambda *given: read.append(given) or collected(*given)
    )
    reading = re.compile(r'(main|latest)."payment"')
    monkeypatch.setattr(
        duckdb_tables.Tables,
        "_create",
        lambda *g: (reading.search(g[2]) and read.append(g)) or created(*g),
    )
    look_up = partial(features_run.LookUp, limits=LookUpLimits(few_pairs=few))
    monkeypatch.setattr(projections, "LookUp", look_up)
    ENGINE_CACHE.clear()

    def counts(spine=SPINE, **how):
        made = lake.build(
            el.FeatureSet(
                "kept", features=[el.count("payment"), el.sum("payment", "amount")], **how
            ),
            spine=spine,
            engine=engine,
            force=True,
        )
        return made.polars()["payment_count"].to_list()

    lake.append([event(1, day=1, amount=1)])
    assert (counts(), counts(), len(read)) == ([1, 0, 1], [1, 0, 1], 1)
    assert (counts(SPINE.with_columns(cutoff=instants(2, 2, 9))), len(read)) == ([1, 0, 1], 1)
    assert (counts(SPINE[::-1]), len(read)) == ([1, 0, 1], 1)
    assert (counts(SPINE[:1]), len(read)) == ([1], 2)
    # Hindsight is found in the same events.
    assert (counts(known="watermark"), len(read)) == ([1, 0, 1], 3)
    lake.append([event(2, day=2, amount=2)])
    read.clear()
    assert (counts(), len(read)) == ([2, 0, 2], 1)
    lake.append([event(3, day=3, amount=2) | {"corrects": "payment-2"}])
    assert (counts(), len(read)) == ([2, 0, 2], 2)
    assert (counts(), len(read)) == ([2, 0, 2], 2)


@pytest.mark.parametrize("few", [10**9, -1])
@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_what_is_kept_serves_whatever_is_asked_next(lake, engine, few):
    amounts = [
        one("payment", "amount", window=["2d", "30d"])
        for one in (el.sum, el.max, el.last, el.distinct)
    ]
    some = [
        FEATURES,
        replace(FEATURES, known="watermark"),
        *(
            el.FeatureSet("some", known=known, features=amounts)
            for known in ("cutoff", "watermark")
        ),
        el.FeatureSet("some", depth=1, features=amounts),
        el.FeatureSet(
            "some",
            features=[
                el.count("payment", where=el.field("method") == "card"),
                el.lag("payment", "method", 2),
            ],
        ),
        el.FeatureSet(
            "some",
            features=[el.first("payment", "method", window="9d"), el.std("payment", "amount")],
            known="watermark",
        ),
    ]
    spines = [SPINE, GROWN.with_columns(cutoff=pl.col("cutoff") - DAY)]
    asked = [(features, spine) for features in some for spine in spines]

    def found(features, spine):
        history = lake.snapshot().history
        return features_run.rows(
            compiled(features, history.catalogue),
            history,
            given_spine(spine),
            engine,
            LookUpLimits(few_pairs=few),
        )

    alone = []
    for one in asked:
        ENGINE_CACHE.clear()
        alone.append(found(*one))
    ENGINE_CACHE.clear()
    for number in (*range(len(asked)), *reversed(range(len(asked)))):
        assert found(*asked[number]).equals(alone[number])


@pytest.mark.parametrize("few", [10**9, -1])
@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_an_event_leaves_its_window_when_it_is_superseded_however_early_it_was_recorded(
    lake, engine, few
):
    lake.append([event(6, day=5) | {"recorded_at": (BEGIN + 6 * DAY).isoformat()}])
    lake.append(
        [event(7, day=7) | {"corrects": "payment-5", "correction": "retract", "data": None}]
    )
    features = el.FeatureSet(
        "some", features=[el.count("payment", window=["7d", "30d"]), el.sum("payment", "amount")]
    )
    spine = pl.DataFrame({"subject": ["/loan/1"] * 3, "cutoff": instants(5.5, 6.5, 7.9)})
    history = lake.snapshot().history
    found = features_run.rows(
        compiled(features, history.catalogue),
        history,
        given_spine(spine),
        engine,
        LookUpLimits(few_pairs=few),
    )
    assert found["payment_count_7d"].to_pylist() == [6, 7, 5]
    assert found["payment_count_30d"].to_pylist() == [6, 7, 6]
    assert [float(amount) for amount in found["payment_amount_sum"].to_pylist()] == [78, 78, 62.5]


GROWN = pl.concat(
    [SPINE, pl.DataFrame({"subject": ["/loan/2"], "cutoff": instants(12), "late": [False]})]
)
HINDSIGHT = replace(FEATURES, known="watermark")


@pytest.mark.parametrize(
    ("features", "day", "way"),
    [
        (
            FEATURES,
            10,
            "1 row anew",
        ),  # nothing that is recorded later changes what an older cutoff knew
        (FEATURES, 7, "2 rows anew"),  # the second row of loan 1 knew it, its first did not
        (HINDSIGHT, 10, "in full: "),  # both rows of loan 1, and the new one: more than half
    ],
)
def test_a_grown_spine_is_looked_up_where_it_is_new_or_something_was_said(
    tmp_path, features, day, way
):
    lake = filled(el.create(tmp_path / "lake", "tests.eventlake/features"))
    first = lake.build(features, spine=SPINE)
    lake.append([event(99, day=day, amount=3, method="card")])
    grown = lake.build(features, spine=GROWN, engine="polars")
    assert grown.provenance["way"].startswith(way)
    assert grown.provenance.get("derived_from") == (first.manifest_hash if "anew" in way else None)
    assert grown.content_hash == lake.build(features, spine=GROWN, force=True).content_hash
    assert lake.reproduce(grown.manifest_hash).identical


def test_other_columns_of_a_grown_spine_are_the_new_ones(lake):
    lake.build(FEATURES, spine=SPINE)
    other = GROWN.select("cutoff", "subject", note=pl.lit("a"))
    made = lake.build(FEATURES, spine=other)
    assert made.provenance["way"] == "1 row anew"
    assert made.polars()["note"].to_list() == ["a"] * 4
    assert (
        made.content_hash
        == lake.build(FEATURES, spine=other, force=True, incremental=False).content_hash
    )


@pytest.mark.parametrize("engine", [pytest.param("duckdb", marks=pytest.mark.thorough), "polars"])
def test_buckets_and_workers_make_the_same_features(tmp_path, engine):
    lake = filled(el.create(tmp_path / "lake", "tests.eventlake/features"))
    made = lake.build(FEATURES, spine=GROWN, engine=engine, workers=2, buckets=3)
    assert made.provenance["way"].startswith("in full, in 3 buckets by subject")
    assert (
        made.content_hash
        == lake.build(FEATURES, spine=GROWN, force=True, check="perturb").content_hash
    )


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
@pytest.mark.parametrize(("piece_rows", "pieces"), [(4, (8 + 7) // 4), (8, 2)])
def test_many_events_are_looked_up_by_entity_and_few_for_one_stretch_of_rows_after_the_other(
    lake, monkeypatch, engine, piece_rows, pieces
):
    spine = pl.concat(
        [
            GROWN,
            pl.DataFrame(
                {
                    "subject": ["/loan/7", None, "/loan/2"],
                    "cutoff": instants(5, 5, 6),
                    "late": [True, None, False],
                }
            ),
        ]
    )
    whole = lake.build(FEATURES, spine=spine, engine=engine)
    of_engine = {"duckdb": duckdb_parts.DuckDB, "polars": polars_parts.Polars}[engine]
    found, plain = [], of_engine.parts
    monkeypatch.setattr(
        of_engine,
        "parts",
        lambda self, asked, early: found.append(len(asked)) or plain(self, asked, early),
    )
    look_up = partial(features_run.LookUp, limits=LookUpLimits(piece_rows=piece_rows))
    monkeypatch.setattr(projections, "LookUp", look_up)
    again = lake.build(FEATURES, spine=spine, engine=engine, force=True)
    assert len(found) == pieces
    assert sum(found) == 7
    assert again.content_hash == whole.content_hash


def test_a_bucket_whose_cutoffs_lie_before_everything_is_no_reason_to_refuse(lake):
    spine = pl.DataFrame(
        {"subject": ["/loan/8", *["/loan/1"] * 4], "cutoff": instants(-9, 3, 4, 5, 6)}
    )
    made = lake.build(FEATURES, spine=spine, buckets=5)
    assert made.content_hash == lake.build(FEATURES, spine=spine, force=True).content_hash


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_rows_that_see_what_was_recorded_after_their_cutoff_are_counted(tmp_path, engine):
    lake = filled(el.create(tmp_path / "lake", "tests.eventlake/features"))
    assert lake.build(HINDSIGHT, spine=SPINE, engine=engine).provenance["hindsight_rows"] == 0
    late = event(99, day=8, amount=3, method="card") | {"time": (BEGIN + 3 * DAY).isoformat()}
    lake.append(
        [
            late,
            event(98, day=9, subject="/loan/2", amount=1),
            event(97, day=20, subject="/loan/2", amount=1),
        ]
    )
    # It happened on day 3 and was told on day 8: the row of day 4 sees it too early, that of day 9
    # does not.
    made = lake.build(HINDSIGHT, spine=SPINE, engine=engine)
    assert (made.provenance["hindsight_rows"], made.provenance["hindsight_events"]) == (1, 1)
    assert ("hindsight", "1 of 3 rows see 1 event too early") in made.card().facts
    assert "hindsight_rows" not in lake.build(FEATURES, spine=SPINE, engine=engine).provenance
    # On day 21 it is said that what was told of day 3 never was: the rows of days 4 and 9 knew it,
    # and miss it.
    lake.append(
        [event(90, day=21) | {"corrects": "payment-3", "correction": "retract", "data": None}]
    )
    made = lake.build(HINDSIGHT, spine=SPINE, engine=engine)
    assert (
        "hindsight",
        "2 of 3 rows see 1 event too early, and miss 1 known at the cutoff",
    ) in made.card().facts
    # What no feature is made of is nothing that a row sees.
    cash = el.FeatureSet(
        "cash", known="watermark", features=[el.count("payment", where={"method": "cash"})]
    )
    assert lake.build(cash, spine=SPINE, engine=engine).provenance["hindsight_rows"] == 0


@pytest.mark.parametrize("how", ["earlier", "buckets", "relations"])
def test_a_build_that_does_not_look_at_all_events_says_that_hindsight_was_not_counted(
    tmp_path, how
):
    lake = filled(el.create(tmp_path / "lake", "tests.eventlake/features"))
    features, spine, asked = HINDSIGHT, SPINE, {}
    if how == "earlier":
        lake.build(HINDSIGHT, spine=SPINE)
        spine = GROWN
    elif how == "buckets":
        asked = {"buckets": 2}
    else:
        lake.register("owned", {"type": "object", "properties": {"owner": {"type": "string"}}})
        owned = {"source": "crm", "type": "owned", "subject": "/loan/1", "data": {"owner": "ann"}}
        lake.append([owned | {"id": "owned-1", "time": BEGIN.isoformat()}])
        features = replace(HINDSIGHT, via=(el.relation("owned", child="subject", parent="owner"),))
        spine = SPINE.select(pl.lit("ann").alias("owner"), "cutoff")
    made = lake.build(features, spine=spine, **asked)
    assert made.provenance["way"].endswith("; hindsight not counted")
    assert "hindsight_rows" not in made.provenance
    assert ("hindsight", "not counted; el.check_leakage(dataset) counts it") in made.card().facts
    # That ann owns a loan was recorded after the cutoffs.
    seen = 3 if how == "relations" else 0
    assert el.check_leakage(made).hindsight["hindsight_rows"] == seen
    report = lake.verify(deep=True)
    assert (report.ok, report.unproven) == (True, ())
    if how != "relations":
        again = lake.build(features, spine=spine, force=True)
        assert again.content_hash == made.content_hash


@pytest.mark.parametrize(
    "cutoff", [2**63 - 1, -(2**63) + 2, 253_402_300_800_000_000, -62_135_596_800_000_001]
)
def test_cutoffs_beyond_the_calendar_are_refused(lake, cutoff):
    spine = pl.DataFrame(
        {"subject": ["/loan/1"], "cutoff": pl.Series([cutoff]).cast(pl.Datetime("us", "UTC"))}
    )
    with pytest.raises(InvalidInputError, match="1 of 1 cutoffs are not in the years 1 to 9999"):
        lake.build(HINDSIGHT, spine=spine)


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_the_ends_of_the_calendar_are_looked_up(lake, engine):
    ends = pl.Series([-62_135_596_800_000_000, 253_402_300_799_999_999]).cast(
        pl.Datetime("us", "UTC")
    )
    made = lake.build(
        HINDSIGHT, spine=pl.DataFrame({"subject": ["/loan/1"] * 2, "cutoff": ends}), engine=engine
    )
    assert made.polars()["payment_amount_mean"].to_list() == [None, 13.0]


def test_what_a_whole_build_would_refuse_is_not_taken_over(tmp_path):
    lake = el.create(tmp_path / "lake", "tests.eventlake/features")
    lake.register("pay", {"type": "object", "properties": {"n": {"type": "integer"}}})
    lake.append([event(0, "pay", 0, n=1)])
    features, spine = el.FeatureSet("deviation", features=[el.std("pay", "n")]), SPINE.head(1)
    lake.build(features, spine=spine)
    lake.append([event(number, "pay", 5, n=2**63 - 1) for number in (1, 2, 3)])
    for incremental in (True, False):
        with pytest.raises(
            InvalidInputError,
            match=r"squares of n of an entity's 4 pay events, .* may not add up to 38 digits",
        ):
            lake.build(features, spine=spine, incremental=incremental)


def test_a_spine_may_have_any_column(lake):
    spine = SPINE.rename({"subject": "eventlake", "late": "stale"}).with_columns(place=pl.lit(1))
    features = replace(FEATURES, spine_by="eventlake")
    lake.build(features, spine=spine)
    more = pl.concat([spine, spine.tail(1).with_columns(cutoff=instants(30).first())])
    assert lake.build(features, spine=more).provenance["way"] == "1 row anew"
