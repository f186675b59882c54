"""SQL that comes with a lake, a dataset or a question reads the history and nothing else."""

import json
from pathlib import Path

import polars as pl
import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.core.hashing.canonical import seal, sha256_hex
from eventlake.errors import CorruptionError, EventlakeError, InvalidInputError
from eventlake.storage import MemoryStorage
from eventlake.tables import expressions
from tests.support.forging import (
    QUERY,
    document,
    forge_commit,
    forge_dataset,
    lake_of_a_stranger,
    put,
)

FILE = "/etc/passwd"
V1 = {"type": "object", "properties": {"name": {"type": "string"}}}
V2 = {"type": "object", "properties": {"loud": {"type": "string"}}}
ESCAPES = [
    "1); CREATE OR REPLACE MACRO upper(x) AS 'PWNED'; SELECT (upper(name)",
    "upper(name)) AS loud, (SELECT content FROM read_text('/etc/passwd')",
    "upper(name)) FROM payloads; COPY (SELECT 1) TO 'out.csv'; SELECT (upper(name)",
    "(WITH x AS (COPY (SELECT 1) TO 'out.csv') SELECT 'a')",
    "(SELECT content FROM read_text('/etc/passwd'))",
    "upper(name) FROM range(3)",
    "upper(name) -- \n) FROM range(3",
    "getvariable('folder')",
    "current_setting('home_directory')",
    "x" * 2_001,
    "(" * 600 + "name" + ")" * 600 + " || " * 600 + "name",
]


@pytest.fixture
def lake(tmp_path):
    lake = el.create(str(tmp_path / "lake"), origin="t/x")
    lake.register("t", V1)
    lake.append(
        [
            {"id": str(number), "source": "s", "type": "t", "data": {"name": "bob"}}
            for number in range(3)
        ]
    )
    return lake


@pytest.mark.parametrize(
    "query",
    [
        *(
            f"SELECT * FROM read_text('{FILE}')",
            f"SELECT * FROM '{FILE}'",
            "SELECT * FROM glob('/etc/*')",
            f"FROM read_csv('{FILE}')",
        ),
        *(
            f"SELECT (SELECT content FROM read_blob('{FILE}')) FROM events",
            "FROM read_parquet('s3://bucket/x.parquet')",
        ),
    ],
)
def test_a_query_that_reads_a_file_is_told_to_hand_in_a_frame(lake, query):
    with pytest.raises(InvalidInputError) as refused:
        lake.snapshot().sql(query)
    assert "snapshot.sql(query, name=frame)" in str(refused.value)
    assert lake.snapshot().sql(
        "SELECT x FROM frame", frame=pl.DataFrame({"x": [1]})
    ).polars().rows() == [(1,)]


@pytest.mark.parametrize(
    "query",
    [
        *(
            "COPY (SELECT 1) TO '{out}'",
            "ATTACH '{out}'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET threads = 2",
            "PRAGMA threads = 2",
        ),
        *(
            "CREATE TABLE x AS SELECT 1",
            "EXPORT DATABASE '{out}'",
            "SELECT 1; COPY (SELECT 1) TO '{out}'",
            "CALL pragma_version()",
        ),
        *(
            "WITH x AS (COPY (SELECT 1) TO '{out}') SELECT * FROM x",
            "WITH x AS (COPY events TO '{segment}') SELECT 1",
        ),
        *(
            "FROM query('WITH x AS (COPY (SELECT 1) TO ''{out}'') FROM x')",
            "FROM enable_logging('QueryLog', storage_path = '{out}')",
        ),
        "FROM frame",
    ],
)
def test_what_does_more_than_read_is_refused_and_nothing_is_written(lake, tmp_path, query):
    frame = pl.DataFrame({"x": [1]})  # a variable of the caller is no table
    (segment,) = (tmp_path / "lake" / "segments").iterdir()
    before = {
        path: path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and "tables" not in path.parts
    }
    with pytest.raises(InvalidInputError):
        lake.snapshot().sql(query.format(out=tmp_path / "out", segment=segment))
    after = {
        path: path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and "tables" not in path.parts
    }
    assert after == before
    assert frame.height == 1


@pytest.mark.parametrize("level", ["exact", "fixed"])
@pytest.mark.parametrize(
    "query",
    [
        f"SELECT content AS subject, 1 AS n FROM read_text('{FILE}')",
        "WITH x AS (COPY (SELECT 1) TO 'out.csv') SELECT subject, 1 AS n FROM events",
        "SELECT 'a' AS subject, 1 AS n; COPY (SELECT 1) TO 'out.csv'",
        "SELECT subject, 1 AS n FROM query('WITH x AS (COPY (SELECT 1) TO ''out.csv'') FROM x')",
        "SELECT subject, n FROM history",
    ],
)
def test_archived_sql_reads_the_history_and_nothing_else(tmp_path, monkeypatch, query, level):
    monkeypatch.chdir(tmp_path)
    storage = lake_of_a_stranger()

    def weaker(manifest):
        manifest["recipe"]["level"] = level
        if level == "fixed":
            manifest["recipe"] |= {"check": "declared, unchecked"}
            manifest["recipe"]["settings"] = {
                "memory_limit": "4GB",
                "preserve_insertion_order": True,
                "threads": 1,
            }

    forged = forge_dataset(storage, "paid", weaker, source=lambda _: query.encode())
    lake = el.open(storage)
    history = pl.DataFrame({"subject": ["a"], "n": [1]})
    with pytest.raises(
        EventlakeError, match=r"refused|one SELECT|only reads|only return rows|does not exist"
    ):
        lake.reproduce(forged)
    with pytest.raises(EventlakeError):
        el.check_leakage(lake.dataset(forged))
    assert (list(tmp_path.iterdir()), history.height) == ([], 1)


def test_archived_sql_that_reads_the_history_is_still_reproduced():
    storage = lake_of_a_stranger()
    forged = forge_dataset(storage, "paid", source=lambda _: (QUERY + " ").encode())
    assert el.open(storage).reproduce(forged).identical


def with_upcast(storage, text):
    """Another expression in the catalogue that the newest commit names."""
    logs = sorted(item.path for item in storage.list("log"))
    old = document(storage, logs[-1])["schemas"]
    catalogue = document(storage, layout.schemas_path(old))
    catalogue["types"]["t"][1]["upcast"]["loud"] = text
    data = seal(catalogue)
    put(storage, layout.schemas_path(sha256_hex(data)), data)
    forge_commit(
        storage, int(Path(logs[-1]).stem), lambda commit: commit.update(schemas=sha256_hex(data))
    )
    for item in [*storage.list("tables")]:
        storage.delete(item.path)


def upcast_lake():
    storage = MemoryStorage()
    lake = el.create(storage, "t/x")
    lake.register("t", V1)
    lake.append([{"id": "1", "source": "s", "type": "t", "data": {"name": "bob"}}])
    lake.register("t", V2, upcast={"loud": "upper(name)"})
    return storage


@pytest.mark.parametrize("text", ESCAPES)
def test_an_upcast_of_a_stranger_is_judged_before_it_runs_and_reaches_no_other_lake(
    tmp_path, monkeypatch, text
):
    monkeypatch.chdir(tmp_path)
    bad, good = upcast_lake(), upcast_lake()
    with_upcast(bad, text)
    lake = el.open(bad)
    for read in (
        lambda: lake.snapshot().table("t").collect(),
        lambda: lake.snapshot().sql("SELECT loud FROM t"),
    ):
        with pytest.raises(CorruptionError, match="cannot have been registered"):
            read()
    assert [
        finding.path for finding in lake.verify().problems if finding.path.startswith("schemas/")
    ]
    assert el.open(good).snapshot().table("t").collect()["loud"].to_list() == ["BOB"]
    assert el.open(good).verify(deep=True).ok
    assert list(tmp_path.iterdir()) == []


def test_what_one_set_of_expressions_defines_is_met_by_no_other():
    one, other = {"a": "upper(name)"}, {"a": "upper(name) || '!'"}
    rows = pl.DataFrame({"name": ["bob"]}).to_arrow()
    expressions._databases().of(one).execute("CREATE OR REPLACE MACRO upper(x) AS 'PWNED'")
    assert expressions.evaluate(one, rows).column("a").to_pylist() == ["PWNED"]
    assert expressions.evaluate(other, rows).column("a").to_pylist() == ["BOB!"]
    expressions._databases()._kept.clear()


def test_few_databases_are_kept_for_expressions():
    rows = pl.DataFrame({"name": ["bob"]}).to_arrow()
    for number in range(20):
        assert expressions.evaluate({"a": f"name || '{number}'"}, rows).column("a").to_pylist() == [
            f"bob{number}"
        ]
    assert len(expressions._databases()) == 8


def test_features_of_a_stranger_reach_sql_as_typed_values_alone():
    storage = lake_of_a_stranger()
    evil = f"30) OR (SELECT count(*) FROM read_text('{FILE}')) > 0 OR (1 = 1"
    for change in (
        lambda one: one["where"].update(
            parts=[
                {
                    "sign": "==",
                    "field": f"amount\" = 1 OR (SELECT 1 FROM read_text('{FILE}')) = \"",
                    "values": ["1"],
                }
            ],
            sign="not",
        ),
        lambda one: one.update(window=evil),
        lambda one: one.update(offset=evil),
    ):
        copy = lake_of_a_stranger()

        def source(data, change=change):
            said = json.loads(data)
            change(said["features"][0])
            return json.dumps(said).encode()

        forged = forge_dataset(copy, "risk", source=source)
        with pytest.raises(EventlakeError) as refused:
            el.open(copy).reproduce(forged)
        assert "root:" not in str(refused.value)
    assert el.open(storage).verify(deep=True).ok
