"""A second build under other threads, memory and order of rows finds what the first one owes to luck, and says where."""

import json
import random

import polars as pl
import pytest

import eventlake as el
from eventlake.cli.application import main
from eventlake.demo import SCHEMAS, definition, simulate
from eventlake.errors import NotIdenticalError
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.storage import MemoryStorage


def sql(query, **options):
    return el.Projection.sql("made", query, key=["k"], **options)


DICE = random.Random(5)
EVENTS = [
    {"id": str(number), "source": "s", "type": "pay", "subject": f"/loan/{number % 7}", "time": "2026-01-01T00:00:00Z",
     "data": {"x": DICE.random(), "n": DICE.randrange(10**6)}}
    for number in range(5_000)
]  # fmt: skip
SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}, "n": {"type": "integer"}}}
SPINE = pl.DataFrame({"loan": [f"/loan/{number}" for number in range(7)]})


@pytest.fixture(scope="module", params=["memory", "local"])
def lake(request, tmp_path_factory):
    made = el.create(
        MemoryStorage()
        if request.param == "memory"
        else tmp_path_factory.mktemp("perturbed") / "lake",
        "o",
    )
    made.register("pay", SCHEMA)
    for start in (0, 3_000):
        made.append(EVENTS[start : start + 3_000])
    return made


@pytest.mark.parametrize(
    "query",
    [
        "SELECT subject AS k, sum(n) AS s, list(n ORDER BY sequence) AS l FROM pay GROUP BY subject",
        "SELECT subject AS k, count(*) AS s FROM latest.pay GROUP BY subject",
        "SELECT spine_row AS k, loan, sum(n) AS s FROM spine JOIN pay ON subject = loan GROUP BY spine_row, loan",
        "SELECT subject AS k, max(json_extract_string(data, '$.n')::BIGINT) AS m FROM events GROUP BY subject",
    ],
)
def test_what_is_exact_is_published(lake, query):
    dataset = lake.build(sql(query), spine=SPINE if "spine" in query else None, check="perturb")
    assert dataset.manifest.recipe.check == "allow-list"


@pytest.mark.parametrize(
    ("query", "column", "cause"),
    [
        (
            "SELECT subject AS k, sum(n) AS s, sum(x) AS f FROM pay GROUP BY subject",
            "columns that differ: f\n",
            "order of rows",
        ),
        (
            "SELECT subject AS k, first(n) AS f FROM pay GROUP BY subject",
            "columns that differ: f\n",
            "order of rows",
        ),
        (
            "SELECT sequence AS k, row_number() OVER (ORDER BY time) AS r FROM pay",
            "columns that differ: r\n",
            "order of rows",
        ),
    ],
)
def test_what_is_not_is_told_by_cause_column_and_row_and_nothing_is_published(
    lake, query, column, cause
):
    before = len(lake.datasets())
    with pytest.raises(NotIdenticalError) as caught:
        lake.build(sql(query, level="fixed"), check="perturb")
    assert column in caught.value.message
    assert cause in caught.value.message
    rows = [line for line in caught.value.message.splitlines() if line.startswith("  k ")]
    assert 1 <= len(rows) <= 10
    assert all(", then " in row for row in rows)
    assert len(lake.datasets()) == before
    lake.build(sql(query, level="fixed"))


def test_the_order_of_many_events_is_disturbed_too(lake, monkeypatch):
    query = "SELECT subject AS k, first(n) AS f FROM pay GROUP BY subject"
    shuffle = duckdb_runner._shuffle
    monkeypatch.setattr(
        duckdb_runner, "_shuffle", lambda connection, few: shuffle(connection, few=False)
    )
    with pytest.raises(NotIdenticalError, match="order of rows"):
        lake.build(sql(query, level="fixed"), check="perturb")
    spine = "SELECT spine_row AS k, loan, sum(n) AS s FROM spine JOIN pay ON subject = loan GROUP BY spine_row, loan"
    lake.build(sql(spine, level="fixed"), spine=SPINE, check="perturb", force=True)


@el.projection(name="firsts", key=["subject"], level="fixed")
def firsts(snapshot):
    return snapshot.table("pay").group_by("subject", maintain_order=True).agg(pl.col("n").first())


@el.projection(name="sums", key=["subject"])
def sums(snapshot):
    return (
        snapshot.table("pay")
        .group_by("subject", maintain_order=True)
        .agg(
            pl.col("n").cast(pl.Int128).sum().cast(pl.Int64),
            pl.col("n").sort_by("sequence").first().alias("first"),
        )
    )


def test_python_is_perturbed_by_order(lake):
    with pytest.raises(NotIdenticalError, match="columns that differ: n\n"):
        lake.build(firsts, check="perturb")
    assert lake.build(sums, check="perturb").manifest.rows == 7


def test_the_demo_is_the_same_under_any_circumstances():
    lake = el.create(MemoryStorage(), "o")
    for event_type, schema in SCHEMAS.items():
        lake.register(event_type, schema)
    lake.append(simulate(200, seed=3))
    for engine in ("duckdb", "polars"):
        lake.build(definition(), engine=engine, check="perturb")


def test_the_command_checks_when_it_writes_a_lock(tmp_path, capsys):
    lake = el.create(tmp_path / "lake", "o")
    lake.register("pay", SCHEMA)
    lake.append(EVENTS[:2_000])
    folder = tmp_path / "sums"
    folder.mkdir()
    (folder / "dataset.toml").write_text(
        'name = "sums"\npython = "sums.py:sums"\nkey = ["subject"]\n', encoding="utf-8"
    )
    # What Python counts itself is in no plan: only the second build can tell.
    code = """
from itertools import count

import eventlake as el
import polars as pl

RUNS = count()

@el.projection(name="sums", key=["subject"])
def sums(snapshot):
    return snapshot.table("pay").group_by("subject").agg(pl.len()).with_columns(pl.lit(next(RUNS)).alias("n"))
"""
    (folder / "sums.py").write_text(code, encoding="utf-8")

    def run(*options):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["build", str(folder), "--lake", str(tmp_path / "lake"), "--json", *options])
        return ended.value.code, capsys.readouterr()

    code, printed = run()
    assert code == 1
    assert "is not reproducible; its rows changed with" in json.loads(printed.err)["message"]
    assert not (folder / "dataset.lock").exists()
    assert run("--no-check")[0] == 0
    assert (folder / "dataset.lock").exists()
    assert run("--locked")[0] == 0
    assert run("--locked", "--check")[0] == 1
