"""What a build takes, refuses and stores, on a small lake, on disk and in memory."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pandera.config as pandera_config
import pandera.polars as pandera
import polars as pl
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.columns.hashing.content import content_hash
from eventlake.errors import (
    CorruptionError,
    InvalidInputError,
    InvalidProjectionError,
    SchemaMismatchError,
)
from tests.scope import STORAGES
from tests.support.dataset_fixtures import (
    KINDS,
    POLARS_TOTALS,
    TOTALS,
    attempt,
    events,
    make_lake,
    module,
    sql,
)


@pytest.fixture(params=STORAGES)
def lake(request, tmp_path):
    return make_lake("memory://" if request.param == "memory" else tmp_path / "lake")


def python(function, name="made", key=("k",), **options):
    """A projection of ``function`` as a module would make it; its source does not matter here."""
    return el.Projection(
        name,
        "python",
        "p.py:f",
        {"p.py": "def f(): ...\n"},
        tuple(key),
        function=function,
        **options,
    )


def frame(**columns):
    return python(lambda snapshot: pl.LazyFrame(columns))


def expected_totals():
    """The totals in plain Python, by subject."""
    found = {}
    for event in events(12):
        amount = Decimal(event["data"].split('"')[3])
        row = found.setdefault(event["subject"], [0, Decimal(0), event["time"]])
        found[event["subject"]] = [row[0] + 1, row[1] + amount, max(row[2], event["time"])]
    return {subject: tuple(row) for subject, row in found.items()}


def test_a_sql_build_has_the_rows_of_plain_python(lake):
    found = {row[0]: row[1:] for row in lake.build(TOTALS).polars().iter_rows()}
    assert found == expected_totals()


def test_a_polars_build_has_the_rows_of_plain_python(lake, tmp_path):
    projection = module(tmp_path, "features", POLARS_TOTALS)["totals"]
    found = {row[0]: row[1:] for row in lake.build(projection).polars().iter_rows()}
    assert found == expected_totals()


def test_the_rows_are_what_arrow_pandas_and_polars_see(lake):
    dataset = lake.build(sql("SELECT sequence AS k, type FROM events"))
    assert (
        dataset.arrow().to_pylist()
        == dataset.polars().to_dicts()
        == dataset.pandas().to_dict("records")
    )
    assert pa.table(dataset).equals(dataset.arrow())
    assert content_hash(dataset.arrow()) == dataset.content_hash


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT 1 AS other", "key column k is not among other"),
        ("SELECT unnest([1, NULL]) AS k", "null in 1 rows"),
        ("SELECT unnest([1, 2, 1]) AS k", "more than one row has the key"),
        ("SELECT 1.5::DOUBLE AS k", "float64"),
        ("SELECT 1.5::FLOAT AS k", "float32"),
        ("SELECT [1] AS k", "cannot identify a row"),
        ("SELECT {'a': 1} AS k", "cannot identify a row"),
        ("SELECT 1 AS k, 2 AS a, 3 AS a", "a more than once"),
    ],
)
def test_rows_without_a_proper_key_are_refused(lake, query, problem):
    with pytest.raises(InvalidProjectionError, match=problem):
        lake.build(sql(query))
    assert lake.datasets() == []


def test_a_key_of_several_columns_is_unique_as_a_whole(lake):
    query = "SELECT * FROM (VALUES (1, 'b'), (1, 'a'), (0, 'b')) AS t(k, l)"
    assert lake.build(sql(query, key=["k", "l"])).polars().rows() == [(0, "b"), (1, "a"), (1, "b")]
    with pytest.raises(InvalidProjectionError, match="more than one row"):
        lake.build(sql(query, key=["k"]))


@pytest.mark.parametrize(
    ("values", "kind", "ordered"),
    [
        (["b", "ä", "a", ""], "VARCHAR", ["", "a", "b", "ä"]),
        ([True, False], "BOOLEAN", [False, True]),
        ([Decimal("1.50"), Decimal("-2.00")], "DECIMAL(9, 2)", [Decimal("-2.00"), Decimal("1.50")]),
        (
            [datetime(2026, 1, 2), datetime(2025, 1, 2)],
            "TIMESTAMP",
            [datetime(2025, 1, 2), datetime(2026, 1, 2)],
        ),
        ([10, 9, -1], "TINYINT", [-1, 9, 10]),
    ],
)
def test_rows_are_in_key_order_for_every_kind_of_key(lake, values, kind, ordered):
    rows = ", ".join(f"('{value}'::{kind})" for value in values)
    assert (
        lake.build(sql(f"SELECT k FROM (VALUES {rows}) AS t(k)")).polars()["k"].to_list() == ordered
    )


@pytest.mark.parametrize(
    "order", ["", "ORDER BY sequence", "ORDER BY sequence DESC", "ORDER BY type, id DESC"]
)
def test_rows_are_in_key_order_whatever_the_query_orders_by(lake, order):
    dataset = lake.build(sql(f"SELECT sequence AS k, type FROM events {order}"))
    assert dataset.polars()["k"].to_list() == list(range(12))
    assert (
        dataset.content_hash
        == lake.build(sql("SELECT sequence AS k, type FROM events")).content_hash
    )


def test_a_dataset_without_rows_keeps_its_schema(lake):
    dataset = lake.build(sql("SELECT sequence AS k, data FROM events WHERE false"))
    assert dataset.polars().schema == {"k": pl.Int64(), "data": pl.String()}
    assert dataset.manifest.rows == dataset.polars().height == 0


def test_a_build_on_an_empty_lake_has_no_rows():
    lake = el.create("memory://", origin="tests.eventlake/empty")
    assert lake.build(TOTALS).polars().height == 0


@pytest.mark.parametrize(
    "query",
    [
        "",
        "-- nothing",
        "SELECT",
        "SELEC 1 AS k",
        "CREATE TABLE t (k INT)",
        "SELECT nope AS k FROM events",
        "SELECT 1 AS k FROM nope",
        "SELECT 1 AS k FROM spine",
        "SELECT $missing AS k",
        "SELECT ? AS k",
        "DELETE FROM events",
        "INSERT INTO events SELECT * FROM events",
        "UPDATE events SET id = 'x'",
        "SELECT 1 / 'a' AS k",
        "SELECT error('no') AS k",
    ],
)
def test_what_is_no_working_select_is_refused(lake, query):
    with pytest.raises(InvalidProjectionError, match="made"):
        lake.build(sql(query))
    assert lake.datasets() == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 AS k; SELECT 2 AS k",
        "CREATE TABLE t AS SELECT 1 AS k; SELECT * FROM t",
        "CREATE OR REPLACE TEMP VIEW events AS SELECT 1 AS k; FROM events",
    ],
)
def test_more_than_one_statement_is_refused(query):
    lake = make_lake("memory://")
    with pytest.raises(InvalidProjectionError):
        lake.build(sql(query))


FORBIDDEN = [
    "SELECT content AS k FROM read_text('{file}')",
    "SELECT content AS k FROM read_blob('{file}')",
    "SELECT column0 AS k FROM read_csv('{file}')",
    "SELECT column0 AS k FROM '{file}'",
    "SELECT file AS k FROM glob('{folder}/*')",
    "SELECT 1 AS k FROM parquet_metadata('{file}')",
    "COPY (SELECT 1 AS k) TO '{folder}/out.csv'",
    "COPY (SELECT 1 AS k) TO '{folder}/out.csv' (RETURN_STATS)",
    "COPY (SELECT 1 AS k) TO '{folder}/out' (PER_THREAD_OUTPUT)",
    "EXPORT DATABASE '{folder}/out'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/out.db' AS other; SELECT 1 AS k",
    "SET threads = 4; SELECT 1 AS k",
    "SET enable_external_access = true; SELECT 1 AS k",
    "SET allowed_paths = ['{file}']; SELECT 1 AS k",
    "SET TimeZone = 'Asia/Tokyo'; SELECT 1 AS k",
    "PRAGMA memory_limit = '1GB'; SELECT 1 AS k",
    "RESET lock_configuration; SELECT 1 AS k",
    "INSTALL httpfs; SELECT 1 AS k",
    "LOAD httpfs; SELECT 1 AS k",
    "SELECT 1 AS k FROM 'https://example.com/x.parquet'",
    "CREATE PERSISTENT SECRET s (TYPE s3); SELECT 1 AS k",
    "SELECT getenv('HOME') AS k",
]


@pytest.mark.parametrize("query", FORBIDDEN)
def test_sql_can_reach_nothing_but_the_history(lake, tmp_path, query):
    folder = tmp_path / "outside"
    folder.mkdir()
    file = folder / "secret.csv"
    file.write_text("secret\n")
    with pytest.raises(InvalidProjectionError) as caught:
        lake.build(sql(query.format(file=file, folder=folder)))
    assert "secret\n" not in str(caught.value)
    assert lake.datasets() == []
    assert [path.name for path in folder.iterdir()] == ["secret.csv"]
    assert file.read_text() == "secret\n"


def test_python_variables_are_no_tables_of_a_query(lake):
    for name in ("history", "parameters", "query", "connection", "SETTINGS", "name"):
        with pytest.raises(InvalidProjectionError, match="DuckDB refused"):
            lake.build(sql(f"SELECT 1 AS k FROM {name}"))


def test_sql_cannot_overwrite_a_segment(tmp_path):
    lake = make_lake(tmp_path / "lake")
    segment = next((tmp_path / "lake" / "segments").iterdir())
    with pytest.raises(InvalidProjectionError):
        lake.build(sql(f"COPY (SELECT 1 AS k) TO '{segment}' (USE_TMP_FILE false)"))
    assert lake.verify().ok


def test_sql_cannot_read_events_beyond_the_watermark(tmp_path):
    lake = make_lake(tmp_path / "lake", [(0, 12)])
    segment = next((tmp_path / "lake" / "segments").iterdir())
    with pytest.raises(InvalidProjectionError):
        lake.build(sql(f"SELECT id AS k FROM read_parquet('{segment}')"), at=3)


def test_a_cut_segment_shows_nothing_beyond_the_watermark(lake, tmp_path):
    projection = module(tmp_path, "features", POLARS_TOTALS)["totals"]
    for watermark in (0, 1, 4, 5, 6, 12):
        dataset = lake.build(sql("SELECT sequence AS k FROM events"), at=watermark)
        assert dataset.polars()["k"].to_list() == list(range(watermark))
        assert lake.build(projection, at=watermark).polars()["events"].sum() == watermark


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (pl.DataFrame({"k": [1]}), "DataFrame"),
        (None, "NoneType"),
        ([1], "list"),
        (pl.Series([1]), "Series"),
        (pa.table({"k": [1]}), "Table"),
    ],
    ids=["DataFrame", "None", "list", "Series", "Arrow"],
)
def test_a_function_must_return_a_lazy_frame(lake, returned, found):
    with pytest.raises(InvalidProjectionError, match=f"LazyFrame, found {found}"):
        lake.build(python(lambda snapshot: returned))
    assert lake.datasets() == []


def test_a_function_that_fails_in_polars_is_refused(lake):
    with pytest.raises(InvalidProjectionError, match="ColumnNotFound"):
        lake.build(python(lambda snapshot: snapshot.scan().select("nope")))
    assert lake.datasets() == []


def test_a_function_that_does_not_take_its_arguments_is_refused(lake):
    with pytest.raises(InvalidProjectionError, match=r"must take \(snapshot, w, spine\)"):
        lake.build(
            python(lambda snapshot: snapshot.scan(), parameters={"w": 1}),
            spine=pl.DataFrame({"a": [1]}),
        )


def test_polars_functions_get_spine_and_parameters(lake):
    projection = python(
        lambda snapshot, spine, w: spine.select(pl.col("spine_row").alias("k"), pl.col("a") * w),
        parameters={"w": 2},
    )
    assert lake.build(projection, spine=pl.DataFrame({"a": [5, 4]})).polars().rows() == [
        (0, 10),
        (1, 8),
    ]
    assert lake.build(
        projection, spine=pl.DataFrame({"a": [5, 4]}), parameters={"w": 3}
    ).polars().rows() == [(0, 15), (1, 12)]


@pytest.mark.parametrize("key", [[None, 1], [1, 1], [1.5, 2.5]])
def test_polars_rows_without_a_proper_key_are_refused(lake, key):
    with pytest.raises(InvalidProjectionError):
        lake.build(frame(k=key))
    assert lake.datasets() == []


@pytest.mark.parametrize(
    ("query", "column"),
    [
        ("SELECT 1 AS k, INTERVAL 1 DAY AS odd", "odd"),
        ("SELECT 1 AS k, MAP {'a': 1} AS odd", "odd"),
        ("SELECT 1 AS k, NULL AS odd", "odd"),
        ("SELECT 1 AS k, TIMESTAMP_NS '2026-01-01 00:00:00.000000001' AS odd", "odd"),
        ("SELECT 1 AS k, union_value(a := 1) AS odd", "odd"),
    ],
)
def test_a_column_that_cannot_be_hashed_is_refused_by_name(lake, query, column):
    with pytest.raises(SchemaMismatchError, match=column) as caught:
        lake.build(sql(query, level="fixed"))
    assert caught.value.facts["column"].startswith(column)
    assert lake.datasets() == []


def test_a_polars_type_that_arrow_lacks_is_refused_as_a_projection(lake):
    projection = python(
        lambda snapshot: pl.LazyFrame({"k": [1], "odd": [2]}, schema_overrides={"odd": pl.Int128})
    )
    with pytest.raises(el.EventlakeError):
        lake.build(projection)


def test_the_other_engine_is_refused(lake):
    with pytest.raises(InvalidProjectionError, match="runs on duckdb"):
        lake.build(sql("SELECT 1 AS k"), engine="polars")
    with pytest.raises(InvalidProjectionError, match="runs on polars"):
        lake.build(frame(k=[1]), engine="duckdb")
    with pytest.raises(InvalidProjectionError, match="not on spark"):
        lake.build(sql("SELECT 1 AS k"), engine="spark")
    assert lake.build(sql("SELECT 1 AS k"), engine="duckdb").manifest.recipe.engine == "duckdb"


def test_sql_parameters_reach_the_query_and_the_recipe(lake):
    projection = sql(
        "SELECT sequence AS k FROM events WHERE type = $kind", parameters={"kind": KINDS[0]}
    )
    default = lake.build(projection)
    other = lake.build(projection, parameters={"kind": "payment.received"})
    assert default.polars()["k"].to_list() == [0, 4, 8]
    assert other.polars()["k"].to_list() == [1, 3, 5, 7, 9, 11]
    assert other.manifest.recipe.parameters == {"kind": "payment.received"}
    assert default.recipe_hash != other.recipe_hash
    assert (
        lake.build(projection, parameters={"kind": KINDS[0]}).manifest_hash == default.manifest_hash
    )


@pytest.mark.parametrize("value", ["'; DROP VIEW events; --", "ä\n", "", True, None, -(2**63)])
def test_a_parameter_is_a_value_never_sql(lake, value):
    projection = sql("SELECT 1 AS k, $w::VARCHAR AS w", parameters={"w": value})
    text = (
        {True: "true", None: None}.get(value, str(value)) if not isinstance(value, str) else value
    )
    assert lake.build(projection).polars().rows() == [(1, text)]


# Spines


def test_spine_rows_come_back_in_spine_order_with_the_key_spine_row(lake):
    spine = pl.DataFrame(
        {
            "loan": ["/loan/3", "/loan/0", "/loan/3"],
            "cutoff": [datetime(2026, 1, 9, tzinfo=UTC)] * 3,
        }
    )
    query = """SELECT spine_row, loan, count(events.id) AS n FROM spine LEFT JOIN events ON subject = loan AND time < cutoff
        GROUP BY ALL ORDER BY n DESC, loan, spine_row DESC"""
    dataset = lake.build(sql(query, key=["spine_row"]), spine=spine)
    assert dataset.polars().select("spine_row", "loan").rows() == [
        (0, "/loan/3"),
        (1, "/loan/0"),
        (2, "/loan/3"),
    ]


@pytest.mark.parametrize(
    "form",
    [
        "polars",
        "lazy",
        "pandas",
        "filtered pandas",
        "arrow",
        "reader",
        "strings as views",
        "dictionary",
    ],
)
def test_a_spine_is_its_rows_whatever_library_holds_them(lake, form):
    table = pa.table({"loan": ["/loan/3", "/loan/0"], "label": [True, False]})
    given = {
        "polars": lambda: pl.DataFrame(table),
        "lazy": lambda: pl.DataFrame(table).lazy(),
        "pandas": table.to_pandas,
        "filtered pandas": lambda: pa.concat_tables([table.slice(1), table]).to_pandas().iloc[1:],
        "arrow": lambda: table,
        "reader": table.to_reader,
        "strings as views": lambda: table.set_column(
            0, "loan", table.column(0).cast(pa.string_view())
        ),
        "dictionary": lambda: table.set_column(0, "loan", table.column(0).dictionary_encode()),
    }[form]()
    projection = sql("SELECT * FROM spine", key=["spine_row"])
    assert (
        lake.build(projection, spine=given).manifest_hash
        == lake.build(projection, spine=table).manifest_hash
    )


def test_the_spine_is_archived_with_its_hash(tmp_path):
    lake = make_lake(tmp_path / "lake")
    spine = pa.table({"loan": ["b", "a", None], "n": pa.array([1, 2, 3], pa.int8())})
    dataset = lake.build(sql("SELECT spine_row AS k FROM spine"), spine=spine)
    numbered = spine.add_column(0, "spine_row", pa.array([0, 1, 2], pa.int64()))
    recorded = dataset.manifest.recipe.spine
    assert (recorded.rows, recorded.content_hash) == (3, content_hash(numbered))
    stored = pl.read_parquet(attempt(dataset) / "spine.parquet").to_arrow()
    assert content_hash(stored) == recorded.content_hash


def test_another_spine_is_another_recipe(lake):
    projection = sql("SELECT count(*) AS k FROM spine")
    one, other = (lake.build(projection, spine=pl.DataFrame({"a": [value]})) for value in (1, 2))
    assert one.content_hash == other.content_hash
    assert one.recipe_hash != other.recipe_hash


@pytest.mark.parametrize("spine", ["x", 5, [{"a": 1}], {"a": [1]}], ids=str)
def test_a_spine_that_is_no_table_is_refused(lake, spine):
    with pytest.raises(InvalidInputError, match="spine"):
        lake.build(sql("SELECT 1 AS k"), spine=spine)


def test_a_spine_may_not_bring_its_own_spine_row(lake):
    with pytest.raises(InvalidInputError, match="spine_row"):
        lake.build(sql("SELECT 1 AS k"), spine=pl.DataFrame({"spine_row": [1]}))


def test_a_spine_column_that_cannot_be_hashed_is_refused_by_name(lake):
    with pytest.raises(SchemaMismatchError, match="odd"):
        lake.build(sql("SELECT 1 AS k"), spine=pa.table({"odd": pa.nulls(2)}))


def test_an_empty_spine_makes_an_empty_dataset(lake):
    dataset = lake.build(
        sql("SELECT * FROM spine", key=["spine_row"]),
        spine=pl.DataFrame(schema={"loan": pl.String}),
    )
    assert dataset.polars().schema == {"spine_row": pl.Int64(), "loan": pl.String()}
    assert dataset.manifest.recipe.spine.rows == 0


# pandera


class Totals(pandera.DataFrameModel):
    k: str = pandera.Field(unique=True)
    events: int = pandera.Field(ge=1)

    class Config:
        strict = True


COUNTS = "SELECT subject AS k, count(*)::UINTEGER AS events FROM events GROUP BY subject"


def test_declared_integer_types_are_the_datasets_types(lake):
    dataset = lake.build(sql(COUNTS, schema=Totals))
    assert dataset.polars().schema == {"k": pl.String(), "events": pl.Int64()}
    assert dataset.manifest.recipe.declared_schema == (("k", "utf8"), ("events", "int64"))


def test_a_polars_count_and_a_duckdb_count_meet_in_the_declared_type(lake):
    schema = pandera.DataFrameSchema(
        {"k": pandera.Column(pl.String), "events": pandera.Column(pl.Int64)}
    )
    by_sql = lake.build(
        sql("SELECT subject AS k, count(*) AS events FROM events GROUP BY ALL", schema=schema)
    )
    counted = python(
        lambda snapshot: (
            snapshot.scan().group_by(pl.col("subject").alias("k")).agg(pl.len().alias("events"))
        ),
        schema=schema,
    )
    assert lake.build(counted).content_hash == by_sql.content_hash


def test_declared_decimals_are_reached_without_loss(lake):
    query = "SELECT subject AS k, sum(json_extract_string(data, '$.amount')::DECIMAL(18, 2)) AS amount FROM events GROUP BY ALL"
    schema = pandera.DataFrameSchema({"amount": pandera.Column(pl.Decimal(18, 2))})
    dataset = lake.build(sql(query, schema=schema))
    assert dataset.polars().schema["amount"] == pl.Decimal(18, 2)
    assert {row[0]: row[1] for row in dataset.polars().iter_rows()} == {
        key: row[1] for key, row in expected_totals().items()
    }


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("SELECT 1 AS k, 300 AS v", pl.Int8),
        ("SELECT 1 AS k, 1.55::DECIMAL(9, 2) AS v", pl.Decimal(9, 1)),
        ("SELECT 1 AS k, 1.5::DOUBLE AS v", pl.Int64),
        ("SELECT 1 AS k, '1' AS v", pl.Int64),
        ("SELECT 1 AS k, 1 AS v", pl.Float64),
        ("SELECT 1 AS k, TIMESTAMP '2026-01-01' AS v", pl.Datetime("us", "UTC")),
    ],
)
def test_a_declared_type_that_would_lose_something_is_refused_by_column(lake, query, kind):
    schema = pandera.DataFrameSchema({"v": pandera.Column(kind)})
    with pytest.raises(SchemaMismatchError, match="column v"):
        lake.build(sql(query, schema=schema))
    assert lake.datasets() == []


def test_a_declared_column_that_is_missing_is_refused_by_name(lake):
    schema = pandera.DataFrameSchema({"v": pandera.Column(pl.Int64)})
    with pytest.raises(SchemaMismatchError, match="column v"):
        lake.build(sql("SELECT 1 AS k", schema=schema))
    assert lake.datasets() == []


def test_rows_that_break_the_schema_are_listed_and_not_published(lake):
    schema = pandera.DataFrameSchema(
        {"v": pandera.Column(pl.Int32, pandera.Check.ge(0), nullable=False)}
    )
    with pytest.raises(SchemaMismatchError, match="nothing was published") as caught:
        lake.build(sql("SELECT unnest(range(20))::INT AS k, k - 15 AS v", schema=schema))
    assert caught.value.facts["failures"] == 15
    assert "row 0, column v: greater_than_or_equal_to(0), found -15" in str(caught.value)
    assert "… and 5 more" in str(caught.value)
    assert lake.datasets() == []


def test_a_null_where_none_is_allowed_is_refused(lake):
    schema = pandera.DataFrameSchema({"v": pandera.Column(pl.Int32)})
    with pytest.raises(SchemaMismatchError, match="column v"):
        lake.build(sql("SELECT 1 AS k, NULL::INT AS v", schema=schema))
    assert lake.datasets() == []


def test_a_strict_schema_refuses_further_columns(lake):
    schema = pandera.DataFrameSchema({"k": pandera.Column(pl.Int32)}, strict=True)
    with pytest.raises(SchemaMismatchError):
        lake.build(sql("SELECT 1 AS k, 2 AS v", schema=schema))
    assert lake.datasets() == []


@pytest.mark.parametrize("depth", [None, "SCHEMA_ONLY", "DATA_ONLY"])
@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    ("column", "query"),
    [
        (pandera.Column(pl.Int32, pandera.Check.ge(4)), "SELECT 1 AS k, 3 AS v"),
        (pandera.Column(pl.Int32, unique=True), "SELECT 1 AS k, 3 AS v UNION ALL SELECT 2, 3"),
        (pandera.Column(pl.Int32, nullable=False), "SELECT 1 AS k, NULL::INT AS v"),
    ],
    ids=["value", "unique", "null"],
)
def test_a_declared_schema_is_checked_whatever_pandera_is_told(lake, depth, enabled, column, query):
    fine = lake.build(sql("SELECT 1 AS k, 4 AS v", schema=pandera.DataFrameSchema({"v": column})))
    found = lake.build(sql(query))
    with pandera_config.config_context(validation_enabled=enabled, validation_depth=depth):
        again = lake.build(
            sql("SELECT 1 AS k, 4 AS v", schema=pandera.DataFrameSchema({"v": column}))
        )
        assert again.manifest_hash == fine.manifest_hash
        with pytest.raises(SchemaMismatchError, match="break the schema"):
            lake.build(sql(query, schema=pandera.DataFrameSchema({"v": column})))
    assert {one.manifest_hash for one in lake.datasets()} == {
        fine.manifest_hash,
        found.manifest_hash,
    }


HOSTILE = {
    "PANDERA_VALIDATION_ENABLED": "False",
    "PANDERA_VALIDATION_DEPTH": "SCHEMA_ONLY",
    "POLARS_MAX_THREADS": "1",
    "POLARS_ENGINE_AFFINITY": "streaming",
    "PYTHONHASHSEED": "77",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "tr_TR.UTF-8",
    "OMP_NUM_THREADS": "1",
}
BUILDS = """
import sys, decimal
import pandera.polars as pandera, polars as pl
import eventlake as el
from eventlake.errors import SchemaMismatchError
if sys.argv[1] == "hostile":
    decimal.getcontext().prec = 2
    decimal.setcontext(decimal.Context(prec=2, rounding=decimal.ROUND_UP))
    pl.Config.set_engine_affinity("streaming")
    pl.Config.set_fmt_str_lengths(3)
    sys.setrecursionlimit(5_000)
lake = el.create("memory://", "o.example")
lake.register("pay", {"type": "object", "properties": {"amount": {"type": "number", "multipleOf": 0.001}, "x": {"type": "number"}}})
day = "2026-01-0{}T23:30:00Z".format
lake.append([{"id": f"{n}", "source": "s", "type": "pay", "subject": f"/i/{n % 3}", "time": day(1 + n), "recorded_at": day(1 + n),
              "data": '{"amount":1234567.%03d,"x":%d.1}' % (n * 97, n)} for n in range(8)])
made = "sum(amount) AS s, sum(amount)::DOUBLE / count(*) AS m, max(upper(id || 'i')) AS u, max(time::DATE)::VARCHAR AS d"
query = f"SELECT subject, {made} FROM pay GROUP BY subject"
spine = pl.DataFrame({"subject": ["/i/0", "/i/1"], "cutoff": pl.Series(["2026-01-07T00:00:00Z"] * 2).str.to_datetime(time_zone="UTC")})
declared = [el.sum("pay", "amount"), el.mean("pay", "amount"), el.std("pay", "amount"), el.last("pay", "amount")]
features = el.FeatureSet("f", by="subject", features=declared)
for made in (
    lake.build(el.Projection.sql("q", query, key=["subject"])),
    lake.build(features, spine=spine),
    lake.build(features, spine=spine, engine="polars", force=True),
):
    print(made.manifest_hash, made.content_hash)
    made.pandas()
schema = pandera.DataFrameSchema({"k": pandera.Column(pl.Int32, pandera.Check.ge(2))})
try:
    lake.build(el.Projection.sql("v", "SELECT 1 AS k", key=["k"], schema=schema))
except SchemaMismatchError as error:
    print("refused", error.facts["failures"])
"""


@pytest.mark.thorough
def test_the_environment_and_global_settings_change_no_dataset():
    def run(how, environment):
        command = [sys.executable, "-c", BUILDS, how]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
        ).stdout.splitlines()

    usual = run("usual", {})
    assert len(usual) == 4
    assert usual[-1] == "refused 1"
    assert usual[1] == usual[2]
    assert run("hostile", HOSTILE) == usual


@pytest.mark.parametrize(
    "schema",
    [
        pandera.DataFrameSchema({"k": pandera.Column()}, strict="filter"),
        pandera.DataFrameSchema({"v": pandera.Column(pl.Int32, default=7, nullable=True)}),
        pandera.DataFrameSchema(
            {"v": pandera.Column()},
            drop_invalid_rows=True,
            checks=pandera.Check(lambda data: data.lazyframe.select(pl.col("v") > 5)),
        ),
    ],
    ids=["filter", "default", "drop"],
)
def test_a_schema_that_changes_values_is_refused(lake, schema):
    with pytest.raises((InvalidProjectionError, SchemaMismatchError)):
        lake.build(sql("SELECT 1 AS k, NULL::INT AS v UNION ALL SELECT 2, 3", schema=schema))
    assert lake.datasets() == []


def test_coercion_that_changes_nothing_is_harmless(lake):
    schema = pandera.DataFrameSchema({"v": pandera.Column(pl.Int64, coerce=True)})
    assert lake.build(sql("SELECT 1 AS k, 3 AS v", schema=schema)).polars().rows() == [(1, 3)]


def test_coercion_to_an_undeclared_lossless_type_is_refused(lake):
    schema = pandera.DataFrameSchema({"v": pandera.Column(pl.Float64, coerce=True)})
    with pytest.raises(SchemaMismatchError, match="column v"):
        lake.build(sql("SELECT 1 AS k, 3 AS v", schema=schema))
    assert lake.datasets() == []


# What is read is checked first


def test_a_damaged_segment_is_named_and_nothing_is_built(tmp_path):
    lake = make_lake(tmp_path / "lake")
    segment = min((tmp_path / "lake" / "segments").iterdir())
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.chmod(0o640)
    segment.write_bytes(data)
    with pytest.raises(CorruptionError, match=segment.name):
        lake.build(TOTALS)
    assert lake.datasets() == []


def test_a_missing_segment_is_corruption(tmp_path):
    lake = make_lake(tmp_path / "lake")
    segment = min((tmp_path / "lake" / "segments").iterdir())
    segment.unlink()
    with pytest.raises(CorruptionError, match=segment.name):
        lake.build(TOTALS)


def test_a_column_of_python_objects_is_refused_by_name(lake):
    objects = pl.DataFrame({"k": [1], "thing": pl.Series([object()], dtype=pl.Object)})
    with pytest.raises(SchemaMismatchError, match="column thing"):
        lake.build(python(lambda snapshot: objects.lazy(), level="fixed"))
    with pytest.raises(SchemaMismatchError, match="column thing"):
        lake.build(sql("SELECT spine_row FROM spine", key=("spine_row",)), spine=objects)
    assert lake.datasets() == []


def test_a_decimal_with_a_negative_scale_is_refused_by_name(lake):
    spine = pa.table({"amount": pa.array([Decimal(100)], pa.decimal128(20, -2))})
    with pytest.raises(SchemaMismatchError, match="amount"):
        lake.build(sql("SELECT spine_row FROM spine", key=("spine_row",)), spine=spine)
