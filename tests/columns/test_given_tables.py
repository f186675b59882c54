"""Tables as callers hand them over: a pandas index is no data, and what cannot be read is refused by name."""

from datetime import UTC, date, datetime, time, timezone
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.errors import InvalidInputError
from tests.support.feature_fixtures import BEGIN, DAY, event, filled

FEATURES = el.FeatureSet("risk", features=[el.count("payment")])
PLAIN = pd.DataFrame(
    {
        "subject": ["/loan/1", "/loan/2"],
        "cutoff": pd.to_datetime(["2026-01-05", "2026-01-09"], utc=True),
    }
)
INDEXED = {
    "filtered": pd.concat([PLAIN.head(1), PLAIN])[[False, True, True]],
    "shifted": PLAIN.set_axis([5, 9]),
    "text": PLAIN.set_axis(["x", "y"]),
    "named": PLAIN.set_axis(pd.Index(["x", "y"], name="row")),
    "levels": PLAIN.set_index([[1, 2], ["a", "b"]]),
}


@pytest.fixture
def lake(tmp_path):
    return filled(el.create(tmp_path / "lake", "tests.eventlake/features"))


@pytest.mark.parametrize("name", INDEXED)
def test_a_pandas_index_is_no_column_of_a_spine(lake, name):
    plain = lake.build(FEATURES, spine=PLAIN)
    indexed = lake.build(FEATURES, spine=INDEXED[name], force=True)
    assert indexed.polars().columns == ["spine_row", "subject", "cutoff", "payment_count"]
    assert indexed.manifest_hash == plain.manifest_hash


@pytest.mark.parametrize("name", INDEXED)
def test_an_index_that_pandas_wrote_into_arrow_or_parquet_is_no_column_of_a_spine(
    lake, name, tmp_path
):
    plain = lake.build(FEATURES, spine=PLAIN)
    unnamed = INDEXED[name].rename_axis([None] * INDEXED[name].index.nlevels)
    unnamed.to_parquet(tmp_path / "spine.parquet", index=True)
    table = pa.Table.from_pandas(unnamed, preserve_index=True)
    assert "__index_level_0__" in table.column_names
    for given in (
        table,
        pl.DataFrame(table),
        pl.LazyFrame(table),
        el.spine.read(tmp_path / "spine.parquet"),
    ):
        assert lake.build(FEATURES, spine=given, force=True).manifest_hash == plain.manifest_hash


def test_a_pandas_index_is_no_column_of_events_tables_and_predictions(lake):
    events = (
        pd.DataFrame([event(number, day=7, amount=1) for number in (20, 21)])
        .drop(columns="data")
        .set_axis(["x", "y"])
    )
    lake.append(events)
    added = (
        lake.snapshot().scan().filter(pl.col("id").is_in(["payment-20", "payment-21"])).collect()
    )
    assert (added.height, added["extensions"].to_list()) == (2, [None, None])
    table = lake.snapshot().sql("SELECT * FROM given", given=PLAIN.set_axis(["x", "y"])).polars()
    assert table.columns == ["subject", "cutoff"]
    dataset = lake.build(FEATURES, spine=PLAIN)
    said = pd.DataFrame({"spine_row": [0, 1], "prediction": [0.5, 0.25]}, index=["x", "y"])
    assert lake.record_predictions(dataset, said, model="m").stop == lake.watermark
    with pytest.raises(InvalidInputError, match=r"reset_index\(\)"):
        lake.record_predictions(dataset, said.set_index("spine_row"), model="m")
    with pytest.raises(InvalidInputError, match=r"reset_index\(\)"):
        lake.build(FEATURES, spine=PLAIN.set_index("subject"))
    assert (
        lake.build(FEATURES, spine=PLAIN.set_index("subject").reset_index()).content_hash
        == dataset.content_hash
    )


def with_column(values):
    return PLAIN.assign(odd=values)


ODD = {
    "mixed": (
        with_column(["a", 1]),
        r"the spine: column odd cannot be read, its pandas type is object[\s\S]*frame\['odd'\]",
    ),
    "complex": (with_column([1j, 2j]), "column odd cannot be read"),
    "objects": (with_column([object(), object()]), "column odd cannot be read"),
    "sparse": (with_column(pd.arrays.SparseArray([1, 2])), "column odd cannot be read"),
    "twice": (pd.concat([PLAIN, PLAIN[["cutoff"]]], axis=1), "'cutoff' more than once"),
    "zero": (
        with_column([1, 2]).rename(columns={"odd": 0}),
        r"found 0[\s\S]*rename\(columns=str\)",
    ),
    "number": (
        with_column([1, 2]).rename(columns={"odd": 7}),
        r"found 7[\s\S]*rename\(columns=str\)",
    ),
    "levels": (
        PLAIN.set_axis(pd.MultiIndex.from_product([["k"], PLAIN.columns]), axis=1),
        "expected the names of columns as text",
    ),
    "int128": (
        pl.DataFrame(PLAIN).with_columns(odd=pl.lit(1, pl.Int128)),
        r"Int128[\s\S]*cast\(pl.Int64\)",
    ),
    "int128 inside": (
        pl.DataFrame(PLAIN).with_columns(odd=pl.struct(n=pl.lit(1, pl.UInt128)).implode()),
        "UInt128",
    ),
    "polars objects": (
        pl.DataFrame(PLAIN).with_columns(odd=pl.Series([object(), object()], dtype=pl.Object)),
        "Python objects",
    ),
    "arrow twice": (pa.table([[1], [2]], ["a", "a"]), "'a' more than once"),
    "rows": (
        [{"subject": "/loan/1", "cutoff": BEGIN + DAY}],
        r"found list[\s\S]*pl.DataFrame\(rows\)",
    ),
    "series": (PLAIN["subject"], "found Series"),
    "case": (
        with_column([1, 2]).rename(columns={"odd": "Cutoff"}),
        "'cutoff' and 'Cutoff', which differ by case alone",
    ),
    "feature": (
        with_column([1, 2]).rename(columns={"odd": "PAYMENT_count"}),
        "column PAYMENT_count and the feature payment_count differ by case",
    ),
}


NAIVE, ZONED, FINE = (
    datetime(2026, 1, 1, 5),
    datetime(2026, 1, 1, tzinfo=UTC),
    pd.Timestamp("2026-01-01T00:00:00.000000001Z"),
)
CHANGED = {
    "zones": ([ZONED, NAIVE], "found datetimes with a zone and datetimes without a zone"),
    "no zone first": ([NAIVE, ZONED], "found datetimes with a zone and datetimes without a zone"),
    "dates": ([date(2026, 1, 1), NAIVE], "found dates and datetimes without a zone"),
    "nanoseconds": ([ZONED, FINE], "expected microseconds at the finest, found Timestamp"),
    "nanosecond": (
        [pd.Timedelta(1, "ns"), None],
        "expected microseconds at the finest, found Timedelta",
    ),
    "in a list": ([[ZONED], [FINE]], "expected microseconds at the finest"),
    "in a dict": (
        [{"a": [ZONED]}, {"a": [NAIVE]}],
        "found datetimes with a zone and datetimes without a zone",
    ),
    "time": ([time(1, tzinfo=UTC), None], "expected times without a zone"),
    "bytes": (["a", b"a"], "found bytes and text"),
    "set": ([{1}, {2}], r"expected lists, found \{1\}"),
    "truth": ([np.bool_(True), 2], "found booleans and integers"),
    "category": (
        pd.Categorical(
            [date(2026, 1, 1), NAIVE], categories=pd.Index([date(2026, 1, 1), NAIVE], dtype=object)
        ),
        "found dates and",
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_python_values_in_a_pandas_column_that_arrow_would_change_are_refused(lake, name):
    values, words = CHANGED[name]
    frame = PLAIN.assign(odd=values if name == "category" else pd.Series(values, dtype=object))
    with pytest.raises(InvalidInputError, match=f"the spine: column odd: .*{words}"):
        lake.build(FEATURES, spine=frame)
    with pytest.raises(InvalidInputError, match=f"given: column odd: .*{words}"):
        lake.snapshot().sql("SELECT * FROM given", given=frame)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            [ZONED, datetime(2026, 1, 1, tzinfo=timezone(DAY / 4))],
            [ZONED, datetime(2025, 12, 31, 18, tzinfo=UTC)],
        ),
        ([1, 1.5], [1.0, 1.5]),
        ([Decimal("1.5"), 1], [Decimal("1.5"), Decimal("1.0")]),
        ([pd.NaT, NAIVE], [None, NAIVE]),
        ([[np.int8(1)], [300]], [[1], [300]]),
        ([[pd.NA], [None, 1]], [[None], [None, 1]]),
    ],
)
def test_python_values_of_one_type_are_kept_as_they_are(lake, values, expected):
    dataset = lake.build(FEATURES, spine=PLAIN.assign(odd=pd.Series(values, dtype=object)))
    assert dataset.polars()["odd"].to_list() == expected


WRONG_UTF8 = pa.Array.from_buffers(
    pa.string(),
    2,
    [None, pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])), pa.py_buffer(b"a\xff")],
)
ARROW = {
    "not UTF-8": (WRONG_UTF8, "column odd is damaged: .*Invalid UTF8"),
    "not UTF-8 in a list": (
        pa.ListArray.from_arrays([0, 1, 2], WRONG_UTF8),
        "column odd is damaged: .*Invalid UTF8",
    ),
    "no fields": (pa.array([{}, {}], pa.struct([])), "column odd has structs without fields"),
    "no fields in a list": (
        pa.array([[{}], []], pa.list_(pa.struct([]))),
        r"column odd\[\] has structs without fields",
    ),
    "fields of one name": (
        pa.StructArray.from_arrays([pa.array([1, 2])] * 2, ["a", "a"]),
        "column odd has several fields of one name",
    ),
    "NUL in a field's name": (
        pa.StructArray.from_arrays([pa.array([1, 2])], ["a\0b"]),
        "column odd has a field called",
    ),
}


@pytest.mark.parametrize("name", ARROW)
def test_an_arrow_spine_that_no_dataset_can_hold_is_refused_by_column(lake, name):
    values, words = ARROW[name]
    with pytest.raises(InvalidInputError, match=words):
        lake.build(
            FEATURES,
            spine=pa.Table.from_pandas(PLAIN, preserve_index=False).append_column("odd", values),
        )


def test_a_query_whose_struct_has_no_fields_is_refused_by_column(lake):
    query = el.Projection.sql(
        "none",
        "SELECT sequence, struct_pack() AS odd FROM events",
        key=["sequence"],
        level="unproven",
    )
    with pytest.raises(InvalidInputError, match="column odd has structs without fields"):
        lake.build(query)


@pytest.mark.parametrize("column", ["", "x" * 5000])
def test_a_spine_with_a_name_that_no_dataset_can_have_is_refused(lake, column):
    with pytest.raises(
        InvalidInputError, match="expected names of 1 to 4,096 characters without NUL"
    ):
        lake.build(FEATURES, spine=PLAIN.assign(odd=1).rename(columns={"odd": column}))


@pytest.mark.parametrize("name", ODD)
def test_a_spine_that_cannot_be_read_is_refused_by_name(lake, name):
    frame, words = ODD[name]
    with pytest.raises(InvalidInputError, match=words):
        lake.build(FEATURES, spine=frame)


@pytest.mark.parametrize("name", [name for name in ODD if name not in {"case", "feature", "rows"}])
def test_events_and_tables_of_queries_that_cannot_be_read_are_refused(lake, name):
    frame, words = ODD[name]
    with pytest.raises(
        InvalidInputError,
        match="column a: expected one of"
        if name == "arrow twice"
        else words.replace("the spine", "the events"),
    ):
        lake.append(frame)
    if name != "series":
        with pytest.raises(InvalidInputError, match=words.replace("the spine", "given")):
            lake.snapshot().sql("SELECT * FROM given", given=frame)


def test_a_python_projection_that_returns_what_arrow_cannot_hold_is_refused(lake, tmp_path):
    folder = tmp_path / "wide"
    folder.mkdir()
    (folder / "dataset.toml").write_text(
        'name = "wide"\npython = "wide.py:wide"\nkey = ["id"]\nlevel = "unproven"\n'
    )
    text = 'import polars as pl\n\n\ndef wide(snapshot):\n    return snapshot.scan(["id"]).with_columns(n=pl.lit(1, pl.Int128))\n'
    (folder / "wide.py").write_text(text)
    with pytest.raises(InvalidInputError, match="projection wide: column n is Int128"):
        lake.build(el.read_definition(folder))


def test_columns_that_sql_does_not_tell_apart_are_refused_when_declared_and_archived_ones_are_read():
    features = [el.count("x").name("A"), el.exists("x").name("a")]
    with pytest.raises(InvalidInputError, match="A and a would be one"):
        el.FeatureSet("f", features=features)
    text = el.FeatureSet("f", features=[features[0], el.exists("x").name("b")]).text()
    assert el.FeatureSet.from_text("f", text.replace('"name": "b"', '"name": "a"')).columns == (
        "A",
        "a",
    )


def shops(lake, names):
    spine = pd.DataFrame(
        {
            "subject": names,
            "cutoff": BEGIN + 9 * DAY,
            "late": np.arange(len(names)) % 2 == 0,
            "shop": names,
        }
    )
    return lake.build(FEATURES, spine=spine)


@pytest.mark.filterwarnings("ignore:feature set .* no entity of the spine:UserWarning")
def test_text_is_a_category_without_order_whose_codes_are_those_of_the_training_rows(lake):
    x, y = shops(lake, ["b", "c", "b", "a"]).xy("late")
    assert not x["shop"].cat.ordered
    assert (list(x["shop"].cat.categories), x["shop"].cat.codes.tolist()) == (
        ["a", "b", "c"],
        [1, 2, 1, 0],
    )
    assert y.tolist() == [True, False, True, False]
    later = shops(lake, ["c", "d", "b"])
    assert later.x(drop=["late"])["shop"].cat.codes.tolist() == [1, 2, 0]
    for categories in (x, {"shop": ["a", "b", "c"]}):
        scored = later.x(drop=["late"], categories=categories)
        assert scored["shop"].dtype == x["shop"].dtype
        assert scored["shop"].cat.codes.tolist() == [2, -1, 1]  # nobody was trained on d
    with pytest.raises(InvalidInputError, match="categories have none for it"):
        later.x(drop=["late"], categories={"other": ["a"]})


def test_rows_whose_target_is_not_known_are_refused_or_left_out_as_asked(lake):
    spine = el.spine.on("payment").label("late", el.exists("missed"), horizon="4d")
    dataset = lake.build(FEATURES, spine=spine)
    with pytest.raises(
        InvalidInputError, match=r"null in 3 of 6 rows[\s\S]*xy\('late', unknown='drop'\)"
    ):
        dataset.xy("late")
    x, y = dataset.xy("late", unknown="drop")
    assert (x["payment_count"].tolist(), y.tolist()) == ([0.0, 1.0, 2.0], [False, False, False])


@pytest.mark.parametrize(
    "column", [pl.Series("a\0b", [1]), pl.Series("a", [{"x\0": 1}]), pl.Series("a", [[{"x\0": 1}]])]
)
def test_a_frame_with_nul_in_a_name_is_refused_at_any_depth(lake, column):
    with pytest.raises(InvalidInputError, match="names without NUL"):
        lake.build(FEATURES, spine=pl.DataFrame(PLAIN.head(1)).with_columns(column))
