"""A dataset is rebuilt bit for bit from its manifest hash, and nothing stored is believed on the way."""

import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pandera.polars as pandera
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.errors import (
    CorruptionError,
    EventlakeError,
    InvalidInputError,
    InvalidProjectionError,
    NotFoundError,
)
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.projections.on_polars import exact as polars_exact
from eventlake.projections.on_polars import run as polars_runner
from eventlake.projections.sql import SqlProjections
from tests.support.dataset_fixtures import (
    POLARS_TOTALS,
    TOTALS,
    attempt,
    cell,
    events,
    make_lake,
    module,
    sql,
)

SPINE = pl.DataFrame(
    {"loan": ["/loan/3", "/loan/0", "/loan/9"], "cutoff": [datetime(2026, 1, 1, 8, tzinfo=UTC)] * 3}
)
FEATURES = sql(
    """SELECT spine_row, loan, count(events.id) AS n FROM spine
    LEFT JOIN events ON subject = loan AND time < cutoff GROUP BY ALL ORDER BY n DESC""",
    key=["spine_row"],
    name="features",
)
FRESH = """
import sys, json, eventlake as el
result = el.open(sys.argv[1]).reproduce(sys.argv[2], trust=len(sys.argv) > 3)
print(json.dumps([result.identical, result.content_hash, list(result.differences)]))
"""


def in_a_fresh_process(lake, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", FRESH, lake.uri, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def parts(dataset):
    return sorted(attempt(dataset).glob("part-*.parquet"))


def flip(path, position=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if position is None else position] ^= 1
    path.chmod(0o640)
    path.write_bytes(data)


@pytest.fixture
def lake(tmp_path):
    return make_lake(tmp_path / "lake")


def test_a_fresh_process_rebuilds_the_rows_after_the_stored_ones_are_gone(lake, tmp_path):
    dataset = lake.build(FEATURES, spine=SPINE, at=9)
    for part in parts(dataset):
        part.rename(tmp_path / part.name)
    assert in_a_fresh_process(lake, dataset.manifest_hash) == [True, dataset.content_hash, []]


@pytest.mark.thorough
def test_an_archived_module_with_its_files_runs_in_a_fresh_process(lake, tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    (code / "rates_of_dataset.py").write_text("FACTOR = 3\n")
    (code / "weights.json").write_text('{"bonus": 4}')
    source = """
import contextlib
import json
from pathlib import Path
import polars as pl
import eventlake as el
from rates_of_dataset import FACTOR

BONUS = json.loads((Path(__file__).parent / "weights.json").read_text())["bonus"]

@el.projection(name="weighted", key=["k"], files=["rates_of_dataset.py", "weights.json"], parameters={"w": 2})
def weighted(snapshot, w):
    return snapshot.scan(["sequence"]).select(pl.col("sequence").alias("k"), (pl.col("sequence") * FACTOR * w + BONUS).alias("v"))
"""
    sys.path.insert(0, str(code))
    try:
        projection = module(code, "weighted_features", source)["weighted"]
    finally:
        sys.path.remove(str(code))
        sys.modules.pop("rates_of_dataset")
    dataset = lake.build(projection, parameters={"w": 5})
    assert dataset.polars().rows() == [(n, n * 15 + 4) for n in range(12)]
    for file in code.iterdir():
        if file.is_file():
            file.unlink()
    for part in parts(dataset):
        part.unlink()
    assert in_a_fresh_process(lake, dataset.manifest_hash, "trust") == [
        True,
        dataset.content_hash,
        [],
    ]


def test_python_is_reproduced_whatever_the_allow_list_says_today(lake, tmp_path, monkeypatch):
    projection = module(tmp_path, "features", POLARS_TOTALS)["totals"]
    dataset = lake.build(projection)
    assert dataset.manifest.recipe.check == "allow-list"
    another = partial(polars_exact.check_exact, version="2.10.0")
    monkeypatch.setattr(polars_runner, "check_exact", another)
    assert lake.reproduce(dataset.manifest_hash, trust=True).identical
    with pytest.raises(InvalidProjectionError, match="nothing is proven of Polars"):
        lake.build(projection)


def test_archived_files_are_used_and_not_what_stands_at_the_old_place(lake, tmp_path):
    projection = module(tmp_path, "features", POLARS_TOTALS)["totals"]
    dataset = lake.build(projection)
    (tmp_path / "features.py").write_text("raise SystemExit('the old place was read')\n")
    assert lake.reproduce(dataset.manifest_hash, trust=True).identical


def test_archived_python_needs_trust(lake, tmp_path):
    ran = tmp_path / "ran"
    marked = f"open({str(ran)!r}, 'w').close()\n{POLARS_TOTALS}"
    dataset = lake.build(module(tmp_path, "features", marked)["totals"])
    name = dataset.manifest_hash
    ran.unlink()
    with pytest.raises(InvalidInputError, match=r"features\.py:totals") as caught:
        lake.reproduce(name)
    assert "--trust" in caught.value.hint
    reads = [
        lambda: el.open(lake.uri).dataset(name).polars(),
        lambda: repr(el.open(lake.uri).dataset(name)),
        lake.datasets,
        lambda: lake.diff(name, name).html(),
        lambda: lake.explain(name, dataset.polars()["k"][0]),
        lambda: el.check_leakage(dataset),
        lambda: lake.verify(deep=True),
        lambda: lake.prune(older_than=timedelta(0)),
        lake.gc,
    ]
    for read in reads:
        with contextlib.suppress(EventlakeError):
            read()
    assert not ran.exists()
    assert lake.reproduce(name, trust=True).identical
    assert ran.exists()


def test_a_notebook_projection_is_reproduced(lake):
    source = '''
import polars as pl
import eventlake as el

@el.projection(name="totals", key=["k"])
def totals(snapshot):
    """Counts."""
    frame = snapshot.scan()
    return frame.group_by(pl.col("subject").alias("k")).agg(pl.len().alias("events"))
'''
    dataset = lake.build(cell(source)["totals"])
    assert lake.reproduce(dataset.manifest_hash, trust=True).identical


@pytest.mark.thorough
def test_a_notebook_projection_keeps_strings_tabs_defaults_and_nested_functions(lake):
    source = '''
import polars as pl
import polars.selectors as cs
import eventlake as el

@el.projection(
    name="odd",
    key=["k"],
    parameters={"factor": 2},
)
# A remark between decorator and function.
def odd(
    snapshot: el.Snapshot, spine: pl.LazyFrame, factor: int = 7, *, shift: int = 1
) -> pl.LazyFrame:
    """A text
with	a tab, and a line
  that stands outside."""
    text = """two
lines	and a tab"""

    def widened(column: str) -> pl.Expr:
        return (pl.col(column) * factor + shift).alias("v")

    frame = spine.select(cs.all()).with_columns(pl.lit(text).alias("text"))
    return frame.select(pl.col("spine_row").alias("k"), widened("a"), "text")
'''
    dataset = lake.build(cell(source)["odd"], spine=pl.DataFrame({"a": [1, 2]}))
    assert dataset.polars().rows() == [
        (0, 3, "two\nlines\tand a tab"),
        (1, 5, "two\nlines\tand a tab"),
    ]
    assert in_a_fresh_process(lake, dataset.manifest_hash, "trust") == [
        True,
        dataset.content_hash,
        [],
    ]


def test_reproduction_says_both_hashes_and_writes_nothing(lake):
    dataset = lake.build(TOTALS)
    before = sorted((path, path.stat().st_mtime_ns) for path in Path(lake.uri).rglob("*"))
    result = lake.reproduce(dataset.manifest_hash[:6])
    assert (result.identical, result.content_hash, result.differences) == (
        True,
        dataset.content_hash,
        (),
    )
    assert result.dataset.manifest_hash == dataset.manifest_hash
    assert sorted((path, path.stat().st_mtime_ns) for path in Path(lake.uri).rglob("*")) == before


def test_events_appended_later_change_no_reproduction(lake):
    dataset = lake.build(TOTALS)
    lake.append(events(20, 12))
    assert lake.reproduce(dataset.manifest_hash).identical


def test_memory_lakes_reproduce_too():
    lake = make_lake("memory://")
    dataset = lake.build(FEATURES, spine=SPINE)
    assert lake.reproduce(dataset.manifest_hash).identical


def test_declared_types_are_reproduced_from_the_manifest_without_the_schema(lake):
    schema = pandera.DataFrameSchema(
        {
            "events": pandera.Column(pl.Int16, pandera.Check.ge(0)),
            "amount": pandera.Column(pl.Decimal(38, 4)),
        }
    )
    query = TOTALS.sources["query.sql"]
    dataset = lake.build(sql(query, schema=schema))
    assert dataset.polars().schema["events"] == pl.Int16()
    assert lake.reproduce(dataset.manifest_hash).identical


def test_a_declared_struct_with_an_instant_is_reproduced(lake):
    schema = pandera.DataFrameSchema(
        {"s": pandera.Column(pl.Struct({"at": pl.Datetime("us", "UTC"), "n": pl.Int64()}))}
    )
    dataset = lake.build(
        sql("SELECT sequence AS k, {'at': time, 'n': sequence} AS s FROM events", schema=schema)
    )
    assert lake.reproduce(dataset.manifest_hash).identical


def test_parameters_are_reproduced(lake):
    projection = sql(
        "SELECT sequence AS k FROM events WHERE type = $kind AND sequence < $n",
        parameters={"kind": "x", "n": 1},
    )
    dataset = lake.build(projection, parameters={"kind": "payment.received", "n": 8})
    assert dataset.polars()["k"].to_list() == [1, 3, 5, 7]
    assert lake.reproduce(dataset.manifest_hash).identical


def test_an_unknown_hash_is_not_found(lake):
    with pytest.raises(NotFoundError):
        lake.reproduce("abcdef")


# Nothing stored is believed


@pytest.mark.parametrize("index", [0, 1])
def test_a_tampered_segment_is_named(lake, index):
    dataset = lake.build(TOTALS)
    segment = sorted(Path(lake.uri, "segments").iterdir())[index]
    flip(segment)
    with pytest.raises(CorruptionError, match=segment.name) as caught:
        lake.reproduce(dataset.manifest_hash)
    assert caught.value.facts["path"] == f"segments/{segment.name}"


def test_a_segment_beyond_the_watermark_does_not_matter(lake):
    dataset = lake.build(TOTALS, at=5)
    lake.append(events(3, 12))
    beyond = Path(lake.uri, "segments", f"{lake.log()[-1].commit.segments[0].sha256}.parquet")
    flip(beyond)
    assert lake.reproduce(dataset.manifest_hash).identical


def test_a_tampered_spine_is_named(lake):
    dataset = lake.build(FEATURES, spine=SPINE)
    file = attempt(dataset) / "spine.parquet"
    table = pq.read_table(file)
    file.chmod(0o640)
    pq.write_table(
        table.set_column(1, "loan", pa.array(["/loan/1", "/loan/0", "/loan/9"], pa.large_string())),
        file,
    )
    with pytest.raises(CorruptionError, match="spine"):
        lake.reproduce(dataset.manifest_hash)


def test_a_broken_or_missing_spine_is_named(lake):
    dataset = lake.build(FEATURES, spine=SPINE)
    file = attempt(dataset) / "spine.parquet"
    file.chmod(0o640)
    file.write_bytes(b"PAR1")
    with pytest.raises(CorruptionError, match=r"spine\.parquet"):
        lake.reproduce(dataset.manifest_hash)
    file.unlink()
    with pytest.raises(CorruptionError, match=r"spine\.parquet is missing"):
        lake.reproduce(dataset.manifest_hash)


def test_tampered_or_missing_source_is_named_and_not_run(lake):
    dataset = lake.build(TOTALS)
    file = attempt(dataset) / "source" / "query.sql"
    file.chmod(0o640)
    file.write_text("SELECT 1 AS k")
    with pytest.raises(CorruptionError, match=r"source/query\.sql"):
        lake.reproduce(dataset.manifest_hash)
    file.unlink()
    with pytest.raises(CorruptionError, match=r"source/query\.sql is missing"):
        lake.reproduce(dataset.manifest_hash)


def test_tampered_python_is_not_run_even_with_trust(lake, tmp_path):
    dataset = lake.build(module(tmp_path, "features", POLARS_TOTALS)["totals"])
    file = attempt(dataset) / "source" / "features.py"
    file.chmod(0o640)
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + POLARS_TOTALS)
    with pytest.raises(CorruptionError, match=r"features\.py"):
        lake.reproduce(dataset.manifest_hash, trust=True)
    assert not (tmp_path / "ran").exists()


def test_a_tampered_manifest_is_named(lake):
    dataset = lake.build(TOTALS)
    file = Path(dataset.path, "manifest.json")
    document = json.loads(file.read_bytes())
    document["output"]["rows"] += 1
    file.chmod(0o640)
    file.write_text(json.dumps(document, separators=(",", ":"), sort_keys=True))
    with pytest.raises(CorruptionError, match=r"manifest\.json"):
        lake.reproduce(dataset.manifest_hash)
    with pytest.warns(UserWarning, match=r"manifest\.json"):
        assert lake.datasets() == []


def test_a_dataset_of_another_lake_is_not_rebuilt_from_this_ones_events(tmp_path):
    one = make_lake(tmp_path / "one")
    dataset = one.build(sql("SELECT count(*) AS k FROM events"))
    other = el.create(tmp_path / "two", origin=one.origin)
    other.append(events(12, 100))
    target = Path(other.uri, "builds", "made")
    target.mkdir(parents=True)
    Path(dataset.path).rename(target / Path(dataset.path).name)
    with pytest.raises(CorruptionError, match="another history"):
        other.reproduce(dataset.manifest_hash)


def test_a_lake_that_lost_its_end_says_so(tmp_path):
    lake = make_lake(tmp_path / "lake")
    dataset = lake.build(TOTALS)
    Path(lake.uri, "log", "00000000000000000001.json").unlink()
    with pytest.raises(CorruptionError, match="newest commits are lost"):
        el.open(lake.uri)
    Path(lake.uri, "hint").unlink()
    with pytest.raises(NotFoundError, match="only 5"):
        el.open(lake.uri).reproduce(dataset.manifest_hash)


# Rows that differ


def doctored(runner, monkeypatch, change):
    real = runner.prepare

    def prepare(*arguments, **named):
        prepared = real(*arguments, **named)
        return replace(prepared, rows=lambda: change(prepared.rows()))

    monkeypatch.setattr(runner, "prepare", prepare)


def bump(name):
    return lambda table: table.set_column(
        table.schema.get_field_index(name), name, pc.add(table.column(name), 1)
    )


def test_a_differing_engine_result_names_the_columns_that_differ(lake, monkeypatch):
    dataset = lake.build(TOTALS)
    doctored(duckdb_runner, monkeypatch, bump("events"))
    result = lake.reproduce(dataset.manifest_hash)
    assert result.identical is False
    assert result.content_hash != dataset.content_hash
    assert result.differences == ("column events",)


def test_a_differing_polars_result_names_the_columns_that_differ(lake, monkeypatch, tmp_path):
    dataset = lake.build(module(tmp_path, "features", POLARS_TOTALS)["totals"])
    doctored(polars_runner, monkeypatch, bump("events"))
    result = lake.reproduce(dataset.manifest_hash, trust=True)
    assert result.identical is False
    assert "column events" in result.differences
    assert not any(
        difference in result.differences
        for difference in ("column k", "column amount", "column last")
    )


def test_a_lost_row_and_a_new_column_are_told(lake, monkeypatch):
    dataset = lake.build(TOTALS)
    doctored(
        duckdb_runner,
        monkeypatch,
        lambda table: table.slice(1).append_column(
            "extra", pa.nulls(table.num_rows - 1, pa.int8())
        ),
    )
    result = lake.reproduce(dataset.manifest_hash)
    assert result.identical is False
    assert "rows: 5 then, 4 now" in result.differences
    assert any(
        difference.startswith("schema: ") and "extra" in difference
        for difference in result.differences
    )


def test_another_engine_version_is_told_even_where_rows_are_identical(lake, monkeypatch):
    dataset = lake.build(TOTALS)
    monkeypatch.setattr(SqlProjections, "engine_version", lambda self: "9.9.9")
    result = lake.reproduce(dataset.manifest_hash)
    assert result.identical is True
    assert len(result.differences) == 1
    assert result.differences[0].startswith("engine: duckdb")
    assert result.differences[0].endswith("duckdb 9.9.9 now")


def test_unreadable_stored_rows_are_told_beside_a_difference(lake, monkeypatch):
    dataset = lake.build(TOTALS)
    flip(parts(dataset)[0])
    doctored(duckdb_runner, monkeypatch, bump("events"))
    result = lake.reproduce(dataset.manifest_hash)
    assert result.identical is False
    assert any(
        difference.startswith("stored rows: ") and "part-00000" in difference
        for difference in result.differences
    )


def test_changed_stored_rows_are_refused_to_readers_and_irrelevant_to_reproduction(lake):
    dataset = lake.build(TOTALS)
    part = parts(dataset)[0]
    table = pq.read_table(part)
    part.chmod(0o640)
    pq.write_table(bump("events")(table), part)
    with pytest.raises(CorruptionError, match=part.name):
        lake.dataset(dataset.manifest_hash).polars()
    assert lake.reproduce(dataset.manifest_hash).identical


def test_the_same_rows_in_other_parquet_bytes_are_refused_as_changed(lake):
    dataset = lake.build(TOTALS)
    part = parts(dataset)[0]
    table = pq.read_table(part)
    part.chmod(0o640)
    pq.write_table(table, part, compression="gzip")
    with pytest.raises(CorruptionError, match=part.name):
        lake.dataset(dataset.manifest_hash).arrow()


def test_rows_are_checked_on_first_use_and_not_on_listing(lake):
    dataset = lake.build(TOTALS)
    parts(dataset)[0].unlink()
    assert [found.manifest_hash for found in lake.datasets()] == [dataset.manifest_hash]
    with pytest.raises(CorruptionError, match="missing"):
        lake.datasets()[0].polars()
