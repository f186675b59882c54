"""The attributes of events in event tables: in SQL and Polars, features, spines and projections; and if a field has the name."""

from datetime import UTC, datetime

import polars as pl
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.errors import InvalidInputError

ATTRIBUTES = [
    "datacontenttype",
    "dataschema",
    "correlation_id",
    "causation_id",
    "traceparent",
    "extensions",
]
FIRST = ["sequence", "id", "source", "subject", "time", "recorded_at"]
FULL = {
    "datacontenttype": "application/json",
    "dataschema": "https://bank.example/paid",
    "correlation_id": "c1",
    "causation_id": "e0",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "extensions": {"region": "north", "n": 12345678901234567},
}
SHOWN = FULL | {"extensions": '{"n":12345678901234567,"region":"north"}'}


def event(name, event_type="paid", **more):
    return {
        "id": str(name),
        "source": "s",
        "type": event_type,
        "subject": f"/{name}",
        "time": datetime(2026, 1, 1, tzinfo=UTC),
        **more,
    }


@pytest.fixture(params=["memory", "folder"])
def lake(request, tmp_path):
    made = el.create(
        "memory://" if request.param == "memory" else tmp_path / "lake",
        origin="bank.example/attributes",
    )
    for event_type in ("paid", "missed"):
        made.register(event_type, {"type": "object", "properties": {"n": {"type": "integer"}}})
    made.append(
        [
            event(0, data={"n": 1}, **FULL),
            event(1, data={"n": 2}, correlation_id="c1"),
            event(2, data={"n": 4}, correlation_id="c2"),
        ]
    )
    made.append([event(3, data={"n": 8}), event(4, "missed", data={"n": 1})])
    return made


def test_both_engines_show_every_attribute_that_is_named(lake):
    snapshot = lake.snapshot()
    frame = snapshot.table("paid", [*FIRST, "n", *ATTRIBUTES]).sort("sequence").collect()
    assert frame.columns == [*FIRST, "n", *ATTRIBUTES]
    assert frame.select(ATTRIBUTES).row(0, named=True) == SHOWN
    assert frame["correlation_id"].to_list() == ["c1", "c1", "c2", None]
    named = f"SELECT {', '.join(frame.columns)} FROM paid ORDER BY sequence"
    assert snapshot.sql(named).polars().equals(frame)
    events = snapshot.scan(types="paid").collect().select(ATTRIBUTES)
    assert events.equals(frame.select(ATTRIBUTES))


def test_an_attribute_is_no_column_until_it_is_named(lake):
    snapshot = lake.snapshot()
    assert snapshot.table("paid").collect().columns == [*FIRST, "n"]
    lake.compact()
    assert lake.snapshot().table("paid").collect().columns == [*FIRST, "n"]
    assert snapshot.table("missed", columns=["correlation_id", "corrects"]).collect().rows() == [
        (None, None)
    ]
    assert snapshot.table(
        "paid", ["id"], where=pl.col("correlation_id") == "c2"
    ).collect().rows() == [("2",)]
    assert snapshot.sql("SELECT correlation_id, traceparent FROM missed").polars().rows() == [
        (None, None)
    ]
    with pytest.raises(InvalidInputError, match="correlation"):
        snapshot.table("paid", columns=["correlation"])


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("SELECT * FROM paid", [*FIRST, "n"]),
        ("SELECT *, 'correlation_id' AS x FROM paid -- correlation_id", [*FIRST, "n", "x"]),
        (
            "SELECT p.*, e.correlation_id AS c FROM paid p JOIN events e USING (id)",
            [*FIRST, "n", "c"],
        ),
        (
            "SELECT p.*, correlation_id AS c FROM paid p JOIN events e USING (id)",
            [*FIRST, "n", "c"],
        ),
        (
            "WITH x AS (SELECT id, 'k' AS correlation_id FROM paid) SELECT correlation_id, paid.* FROM x JOIN paid USING (id)",
            None,
        ),
        (
            "SELECT n % 2 AS correlation_id, count(*) AS k FROM paid GROUP BY correlation_id",
            ["correlation_id", "k"],
        ),
    ],
)
def test_a_query_that_could_be_asked_before_has_the_columns_that_it_had(lake, query, columns):
    expected = ["correlation_id", *FIRST, "n"] if columns is None else columns
    assert lake.snapshot().sql(query).polars().columns == expected


def test_an_alias_keeps_its_meaning(lake):
    query = (
        "SELECT n % 2 AS correlation_id, count(*) AS k FROM paid GROUP BY correlation_id ORDER BY 1"
    )
    assert lake.snapshot().sql(query).polars().rows() == [(0, 3), (1, 1)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT correlation_id FROM paid WHERE n = 4",
        'SELECT "Correlation_ID" FROM paid WHERE n = 4',
        "SELECT p.correlation_id FROM paid p JOIN events e USING (sequence) WHERE p.n = 4",
        "SELECT paid.correlation_id AS correlation_id FROM paid WHERE n = 4",
        "SELECT p.correlation_id FROM latest.paid AS p WHERE p.n = 4",
        "SELECT count(*) FILTER (correlation_id = 'c2') || '' AS n FROM paid",
        "SELECT max(a.correlation_id) FROM paid a JOIN paid b USING (correlation_id) WHERE a.n = 4",
    ],
)
def test_a_query_that_names_an_attribute_has_it(lake, query):
    assert lake.snapshot().sql(query).polars().item() in {"c2", "1"}


def spine(**columns):
    return pl.DataFrame(
        {
            **columns,
            "cutoff": [datetime(2027, 1, 1, tzinfo=UTC)] * len(next(iter(columns.values()))),
        }
    )


@pytest.mark.parametrize(
    "name",
    [
        "correlation_id",
        "causation_id",
        "traceparent",
        "extensions",
        "dataschema",
        "datacontenttype",
    ],
)
def test_an_attribute_names_the_entity_of_features_on_both_engines(lake, name):
    features = el.FeatureSet(
        "f", by=name, features=[el.sum("paid", "n").name("total"), el.count("paid", where=el.field("correlation_id") == "c1").name("c1")],
        known="watermark",
    )  # fmt: skip
    asked = spine(**{name: [SHOWN[name], "nobody"]})
    made = [
        lake.build(features, spine=asked, engine=engine, force=True)
        for engine in ("duckdb", "polars")
    ]
    assert made[0].content_hash == made[1].content_hash
    assert made[0].polars().select("total", "c1").rows() == [
        (3, 2) if name == "correlation_id" else (1, 1),
        (0, 0),
    ]


def test_an_attribute_is_a_feature_and_is_carried_by_a_spine(lake):
    events = el.spine.on("paid", by="correlation_id", carry=["causation_id"])
    features = el.FeatureSet(
        "f",
        by="correlation_id",
        features=[el.last("paid", "causation_id").name("cause")],
        known="watermark",
    )
    found = lake.build(features, spine=events).polars().sort("spine_row")
    assert found.select("correlation_id", "causation_id").rows() == [
        ("c1", "e0"),
        ("c1", None),
        ("c2", None),
    ]


def test_a_sql_projection_is_by_an_attribute_in_full_in_buckets_and_incrementally(lake):
    query = "SELECT correlation_id, sum(n)::BIGINT AS total FROM paid WHERE correlation_id IS NOT NULL GROUP BY correlation_id"
    projection = el.Projection.sql("totals", query, key=["correlation_id"], by="correlation_id")
    whole = lake.build(projection)
    assert whole.polars().rows() == [("c1", 3), ("c2", 4)]
    assert lake.build(projection, buckets=3, force=True).content_hash == whole.content_hash
    lake.append([event(5, data={"n": 16}, correlation_id="c2")])
    grown = lake.build(projection, incremental=True)
    assert grown.polars().rows() == [("c1", 3), ("c2", 20)]
    assert lake.build(projection, force=True, incremental=False).content_hash == grown.content_hash
    assert lake.reproduce(whole.manifest_hash).identical


@el.projection(name="totals", key=["correlation_id"])
def totals(snapshot):
    paid = snapshot.table("paid", columns=["correlation_id", "n"])
    return (
        paid.filter(pl.col("correlation_id").is_not_null())
        .group_by("correlation_id")
        .agg(pl.col("n").max())
    )


@el.projection(name="plain", key=["sequence"])
def plain(snapshot):
    return snapshot.table("paid").sort("sequence")


def test_a_python_projection_has_the_attributes_that_it_names(lake):
    assert lake.build(totals).polars().sort("correlation_id").rows() == [("c1", 2), ("c2", 4)]
    assert lake.build(plain).polars().columns == [*FIRST, "n"]


def test_a_field_that_is_called_as_an_attribute_takes_its_place():
    lake = el.create("memory://", origin="o")
    lake.register(
        "t",
        {
            "type": "object",
            "properties": {"correlation_id": {"type": "integer"}, "Extensions": {"type": "string"}},
        },
    )
    lake.append(
        [
            event(
                1,
                "t",
                correlation_id="c",
                causation_id="k",
                extensions={"a": 1},
                data={"correlation_id": 7, "Extensions": "x"},
            )
        ]
    )
    assert lake.snapshot().table("t").collect().columns == [*FIRST, "correlation_id", "Extensions"]
    frame = (
        lake.snapshot()
        .table("t", columns=["correlation_id", "Extensions", "causation_id"])
        .collect()
    )
    assert frame.row(0) == (7, "x", "k")
    assert lake.snapshot().sql(
        "SELECT correlation_id, extensions, causation_id FROM t"
    ).polars().row(0) == (7, "x", "k")
    features = el.FeatureSet(
        "f", by="correlation_id", features=[el.count("t").name("n")], known="watermark"
    )
    assert lake.build(features, spine=spine(correlation_id=[7])).polars()["n"].to_list() == [1]


def test_sql_and_python_make_the_same_rows_of_an_attribute(lake):
    def by_python(snapshot):
        return snapshot.table("paid", ["id", "correlation_id", "n"])

    query = "SELECT id, correlation_id, n FROM paid"
    sql = lake.build(el.Projection.sql("attributes", query, key=["id"]))
    python = lake.build(
        el.Projection(
            "attributes",
            "python",
            "module.py:by_python",
            {"module.py": "the module"},
            ("id",),
            function=by_python,
        )
    )
    assert python.polars().rows() == [
        ("0", "c1", 1),
        ("1", "c1", 2),
        ("2", "c2", 4),
        ("3", None, 8),
    ]
    assert sql.content_hash == python.content_hash


def test_attributes_that_no_event_has_cost_few_bytes(tmp_path):
    made = el.create(tmp_path / "lake", origin="bank.example/attributes")
    made.register("paid", {"type": "object", "properties": {"n": {"type": "integer"}}})
    made.append([event(number, data={"n": number}) for number in range(5_000)])
    made.snapshot().table("paid", ["n"]).collect()
    (path,) = (tmp_path / "lake" / "tables").rglob("*.parquet")
    stored = pq.ParquetFile(path).metadata
    groups = [stored.row_group(group) for group in range(stored.num_row_groups)]
    sizes = {
        chunk.path_in_schema: chunk.total_compressed_size
        for group in groups
        for chunk in map(group.column, range(group.num_columns))
    }
    assert sum(size for name, size in sizes.items() if name in ATTRIBUTES) <= 100 * len(ATTRIBUTES)
    assert sizes["id"] > 2_000
