"""A path is a name, never a pattern and never a partition: every reader reads exactly its own lake's files."""

import shutil
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.errors import InvalidInputError

FOLDERS = (
    *(
        "a[b]c",
        "st*r",
        "qu?stion",
        "[!x]",
        "**",
        "it's",
        "{abc,x}",
        "new\nline",
        "back\\slash*",
        "year=2026",
        "who=other",
        "amount=5",
        "sequence=7",
    ),
    *("time=2020-01-01", "subject=x", "id=x"),
)
SCHEMA = {
    "type": "object",
    "properties": {
        "year": {"type": "integer"},
        "amount": {"type": "number", "multipleOf": 0.01},
        "who": {"type": "string"},
    },
}
COLUMNS = "sequence, id, subject, year, amount, who"
ROWS = [(n, f"e{n}", "/a", 1999, Decimal("1.50"), "me") for n in range(2)]


def event(number, who):
    data = {"year": 1999, "amount": "1.50", "who": who}
    return {
        "id": f"e{number}",
        "source": "bank",
        "type": "pay",
        "subject": "/a",
        "time": "2026-01-01T00:00:00Z",
        "data": data,
    }


def filled(path, who):
    lake = el.create(str(path), origin="t/x")
    lake.register("pay", SCHEMA)
    for number in range(2):
        lake.append([event(number, who)])
    return lake


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_lake_reads_its_own_files_whatever_its_path_holds(tmp_path, folder):
    for sibling in ("abc", "star", "quxstion", "a", "x"):
        filled(tmp_path / sibling / "lake", "somebody else")
    lake = filled(tmp_path / folder / "lake", "me")
    snapshot = lake.snapshot()
    data = "(data::JSON->>'year')::INTEGER, (data::JSON->>'amount')::DECIMAL(12, 2), data::JSON->>'who'"
    told = f"SELECT sequence, id, subject, {data} FROM events"
    assert snapshot.sql(f"{told} ORDER BY sequence").polars().rows() == ROWS
    assert snapshot.sql(f"SELECT {COLUMNS} FROM pay ORDER BY sequence").polars().rows() == ROWS
    assert (
        snapshot.sql(f"SELECT {COLUMNS} FROM latest.pay ORDER BY sequence").polars().rows() == ROWS
    )
    assert (
        snapshot.table("pay").sort("sequence").select(COLUMNS.split(", ")).collect().rows() == ROWS
    )
    assert [eval(data)["who"] for data in snapshot.scan(columns=["data"]).collect()["data"]] == [  # noqa: S307
        "me",
        "me",
    ]
    again = el.open(str(tmp_path / folder / "lake"))
    assert again.snapshot(at=1).sql(f"SELECT {COLUMNS} FROM pay").polars().rows() == ROWS[:1]
    assert again.verify(deep=True).ok


@pytest.mark.parametrize("folder", FOLDERS)
def test_builds_read_their_own_lake_on_both_engines(tmp_path, folder):
    filled(tmp_path / "abc" / "lake", "somebody else")
    lake = filled(tmp_path / folder / "lake", "me")
    sql = el.Projection.sql("p", "SELECT id, year, amount, who FROM pay", key=["id"])
    built = lake.build(sql)
    assert built.polars().rows() == [row[1:2] + row[3:] for row in ROWS]
    assert lake.reproduce(built.manifest_hash).identical
    spine = pl.DataFrame({"subject": ["/a"], "cutoff": [datetime(2100, 1, 1, tzinfo=UTC)]})
    features = el.FeatureSet(
        "f", features=[el.last("pay", "who"), el.sum("pay", "amount")], known="watermark"
    )
    rows = {
        engine: lake.build(features, spine=spine, engine=engine, force=True).polars().rows()
        for engine in ("duckdb", "polars")
    }
    assert [row[-2:] for row in rows["duckdb"]] == [("me", Decimal("3.00"))]
    assert rows["polars"] == rows["duckdb"]


def test_a_file_of_the_same_name_that_the_path_would_match_as_a_pattern_is_not_read(tmp_path):
    lake = el.create(str(tmp_path / "l1"), origin="t/x")
    lake.append([event(0, "me")])
    shutil.copytree(tmp_path / "l1", tmp_path / "l[1]")
    (segment,) = (tmp_path / "l1" / "segments").iterdir()
    table = pq.read_table(segment)
    other = table.set_column(table.schema.get_field_index("id"), "id", [["somebody else"]])
    segment.unlink()
    pq.write_table(other, segment)
    assert el.open(str(tmp_path / "l[1]")).snapshot().sql(
        "SELECT id FROM events"
    ).polars().rows() == [("e0",)]


@pytest.mark.parametrize("name", ["in[1]", "*", "year=2026", "who=x", "it's"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_import_reads_its_own_file(tmp_path, name, suffix):
    for folder, who in (("in1", "somebody else"), (name, "me")):
        (tmp_path / folder).mkdir(exist_ok=True)
        frame = pl.DataFrame({"id": ["1"], "who": [who], "at": ["2026-01-01T00:00:00Z"]})
        file = tmp_path / folder / f"{folder}.{suffix}"
        frame.write_csv(file) if suffix == "csv" else frame.write_parquet(file, use_pyarrow=True)
    lake = el.create("memory://", origin="t/x")
    rules = {"type": "t", "id": "{id}", "time": "at", "data": {"who": "who"}}
    el.import_file(lake, tmp_path / name / f"{name}.{suffix}", {"source": "s", "events": [rules]})
    assert lake.snapshot().scan(columns=["data"]).collect().rows() == [('{"who":"me"}',)]


@pytest.mark.parametrize(
    "condition",
    [
        "(WITH x AS (COPY (SELECT 1) TO '{out}') SELECT true)",
        "EXISTS (WITH x AS (COPY (SELECT 1) TO '{out}') FROM x)",
        "true); COPY (SELECT 1) TO '{out}'; SELECT (true",
        "EXISTS (FROM query('WITH x AS (COPY (SELECT 1) TO ''{out}'') FROM x'))",
    ],
)
def test_a_condition_of_a_mapping_writes_nothing(tmp_path, condition):
    (tmp_path / "in.csv").write_text("id\n1\n")
    rules = {
        "type": "t",
        "id": "{id}",
        "where": condition.format(out=tmp_path / "out.csv"),
        "order": ["id"],
    }
    with pytest.raises(InvalidInputError):
        el.import_file(
            el.create("memory://", origin="t/x"),
            tmp_path / "in.csv",
            {"source": "s", "events": [rules]},
        )
    assert [one.name for one in tmp_path.iterdir()] == ["in.csv"]


def test_a_query_of_a_mapping_reads_its_folder_and_nothing_above(tmp_path):
    (tmp_path / "in" / "more").mkdir(parents=True)
    (tmp_path / "above.csv").write_text("id\nabove\n")
    (tmp_path / "in" / "one.csv").write_text("id\n1\n")
    (tmp_path / "in" / "more" / "two.csv").write_text("id\n2\n")

    def imported(file):
        lake = el.create("memory://", origin="t/x")
        tables = {
            "one": {"file": "one.csv"},
            "all": {
                "query": f"FROM one UNION ALL FROM read_csv(getvariable('folder') || '{file}', all_varchar = true)"
            },
        }
        rules = {"from": "all", "type": "t", "id": "{id}", "order": ["id"]}
        el.import_file(lake, tmp_path / "in", {"source": "s", "tables": tables, "events": [rules]})
        return lake.snapshot().scan(columns=["id"]).collect()["id"].to_list()

    assert imported("/more/*.csv") == ["1", "2"]
    with pytest.raises(InvalidInputError, match="Permission Error"):
        imported("/../above.csv")
