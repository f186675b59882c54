"""Which builds are the same dataset: by manifest hash, recipe hash and content hash."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

import eventlake as el
from eventlake.core.hashing.canonical import sha256_hex
from tests.scope import STORAGES
from tests.support import naive
from tests.support.dataset_fixtures import (
    ORIGIN,
    POLARS_TOTALS,
    START,
    TOTALS,
    events,
    make_lake,
    module,
    sql,
)


@pytest.fixture(params=["sql", "polars"])
def totals(request, tmp_path):
    return (
        TOTALS if request.param == "sql" else module(tmp_path, "features", POLARS_TOTALS)["totals"]
    )


def test_building_twice_is_one_dataset(tmp_path, totals):
    lake = make_lake(tmp_path / "lake")
    first, second = lake.build(totals), lake.build(totals)
    assert (first.manifest_hash, first.path) == (second.manifest_hash, second.path)
    assert len(lake.datasets()) == 1


def test_a_build_at_a_watermark_later_is_the_build_of_then(tmp_path, totals):
    lake = make_lake(tmp_path / "lake", [(0, 5)])
    then = lake.build(totals)
    lake.append(events(7, 5))
    for at in (
        5,
        then.manifest.recipe.checkpoint,
        str(then.manifest.recipe.checkpoint),
        then.manifest_hash,
        then.manifest_hash[:8],
    ):
        assert lake.build(totals, at=at).manifest_hash == then.manifest_hash
    assert lake.build(totals).manifest_hash != then.manifest_hash
    assert [dataset.watermark for dataset in lake.datasets()] == [5, 12]


def test_a_copied_lake_builds_the_same_dataset(tmp_path, totals):
    lake = make_lake(tmp_path / "lake")
    shutil.copytree(tmp_path / "lake", tmp_path / "elsewhere" / "copy of it")
    copy = el.open(tmp_path / "elsewhere" / "copy of it")
    built, there = lake.build(totals), copy.build(totals)
    assert there.manifest_hash == built.manifest_hash
    assert there.path != built.path


@pytest.mark.parametrize(
    "batches",
    [[(0, 12)], [(n, 1) for n in range(12)], [(0, 1), (1, 10), (11, 1)]],
    ids=["one", "single", "uneven"],
)
@pytest.mark.parametrize("where", STORAGES)
def test_the_manifest_hash_is_independent_of_batching_where_recorded_at_is_given(
    tmp_path, totals, batches, where
):
    expected = make_lake("memory://", recorded=True).build(totals)
    lake = make_lake(
        "memory://" if where == "memory" else tmp_path / "lake", batches, recorded=True
    )
    dataset = lake.build(totals)
    assert dataset.manifest_hash == expected.manifest_hash
    assert dataset.content_hash == expected.content_hash


def test_the_manifest_hash_is_independent_of_where_a_segment_is_cut(totals):
    cut = make_lake("memory://", [(0, 12)], recorded=True).build(totals, at=7)
    whole = make_lake("memory://", [(0, 7)], recorded=True).build(totals)
    assert cut.manifest_hash == whole.manifest_hash


def test_memory_and_disk_build_the_same_rows_in_sql(tmp_path):
    query = "SELECT sequence AS k, * EXCLUDE (sequence) FROM events"
    hashes = {
        make_lake(where, recorded=True).build(sql(query)).content_hash
        for where in ("memory://", tmp_path / "lake")
    }
    assert len(hashes) == 1


def test_clock_hash_is_that_of_the_naive_definition():
    lake = make_lake("memory://", recorded=True)
    recorded = [
        int((START + timedelta(hours=n, minutes=1)).timestamp()) * 1_000_000 for n in range(12)
    ]
    for watermark in (1, 5, 12):
        recipe = lake.build(
            sql("SELECT sequence AS k, recorded_at FROM events"), at=watermark
        ).manifest.recipe
        assert recipe.clock_hash == naive.clock_hash(recorded[:watermark])


READS_CLOCK = {
    "the column": "SELECT sequence AS k, recorded_at FROM events",
    "a star": "SELECT sequence AS k, * FROM events",
    "a filter": "SELECT sequence AS k FROM events WHERE recorded_at > TIMESTAMPTZ '2020-01-01 00:00:00Z'",
    "a sort": "SELECT row_number() OVER (ORDER BY recorded_at, sequence) AS k FROM events",
    "a subquery": "SELECT sequence AS k FROM events WHERE sequence < (SELECT count(DISTINCT recorded_at) FROM events)",
    "a correlated subquery": "SELECT sequence AS k, (SELECT count(*) FROM events o WHERE o.recorded_at < e.recorded_at) AS n FROM events e",
    "exists": "SELECT sequence AS k FROM events e WHERE EXISTS (FROM events o WHERE o.recorded_at > e.time)",
    "a CTE": "WITH seen AS (SELECT sequence, recorded_at AS r FROM events) SELECT sequence AS k, r FROM seen",
    "a CTE with a star": "WITH seen AS MATERIALIZED (FROM events) SELECT sequence AS k, recorded_at FROM seen",
    "an alias": "SELECT x AS k FROM (SELECT epoch_us(recorded_at) + sequence AS x FROM events)",
    "an alias list": "SELECT a AS k, g FROM events AS t(a, b, c, d, e, f, g)",
    "a join": "SELECT a.sequence AS k FROM events a JOIN events b USING (sequence, recorded_at)",
    "a whole row": "SELECT sequence AS k, events AS e FROM events",
    "a row as text": "SELECT sequence AS k, events::VARCHAR AS e FROM events",
    "columns by pattern": "SELECT sequence AS k, COLUMNS('rec.*') FROM events",
    "a window": "SELECT sequence AS k, lag(recorded_at) OVER (ORDER BY sequence) AS before FROM events",
    "group by": "SELECT max(sequence) AS k FROM events GROUP BY recorded_at",
    "distinct on": "SELECT DISTINCT ON (recorded_at) sequence AS k FROM events ORDER BY sequence",
    "a limit": "SELECT sequence AS k FROM events ORDER BY k LIMIT (SELECT extract(day FROM max(recorded_at))::INT FROM events)",
    "a lateral join": "SELECT sequence AS k, r FROM events, LATERAL (SELECT recorded_at AS r)",
    "a recursive CTE": """
        WITH RECURSIVE c AS (SELECT 0 AS k, max(recorded_at) AS r FROM events UNION ALL SELECT k + 1, r FROM c WHERE k < 2)
        FROM c
    """,
    "a query in text": "SELECT k FROM query('SELECT epoch_us(recorded_at) + sequence AS k FROM events')",
    "a table named in text": "SELECT sequence AS k, recorded_at FROM query_table('events')",
    "upper case": 'SELECT SEQUENCE AS k, "RECORDED_AT" AS r FROM EVENTS',
    "a qualified name": "SELECT main.events.sequence AS k, main.events.recorded_at AS r FROM main.events",
    "a set operation": "SELECT sequence AS k FROM events EXCEPT SELECT epoch_us(recorded_at) FROM events",
    "pivot": "PIVOT (SELECT sequence AS k, recorded_at, type FROM events) ON type IN ('payment.missed') USING max(recorded_at) GROUP BY k",
}
NOT_CLOCK = {
    "other columns": "SELECT sequence AS k, type, data FROM events",
    "a count": "SELECT count(*) AS k FROM events",
    "time": "SELECT sequence AS k, time FROM events",
    "an excluded column": "SELECT sequence AS k, * EXCLUDE (sequence, recorded_at) FROM events",
    "the name as text": "SELECT sequence AS k, 'recorded_at' AS text FROM events",
    "the name as an alias": "SELECT sequence AS k, time AS recorded_at FROM events",
    "a remark": "SELECT sequence AS k FROM events -- recorded_at",
    "no events": "SELECT 1 AS k",
    "a CTE of that name": "WITH events AS (SELECT 1 AS k, 2 AS recorded_at) SELECT k, recorded_at FROM events",
    "a CTE": "WITH seen AS (SELECT sequence, time FROM events) SELECT sequence AS k, time FROM seen",
}


def two_clocks(query, **attributes):
    """The dataset of one query over two lakes that differ in ``recorded_at`` alone."""
    datasets = []
    for days in (0, 3):
        lake = el.create("memory://", origin=ORIGIN)
        given = events(12)
        for number, event in enumerate(given):
            event["recorded_at"] = START + timedelta(days=days, hours=number * (days + 1))
            if number == 3:
                event.update(attributes)
        lake.append(given)
        datasets.append(lake.build(sql(query, level="fixed")))
    return datasets


@pytest.mark.parametrize("name", READS_CLOCK)
def test_a_query_that_sees_recorded_at_pins_the_clock(name):
    one, other = two_clocks(READS_CLOCK[name])
    assert one.manifest.recipe.clock_hash is not None
    assert one.recipe_hash != other.recipe_hash


@pytest.mark.parametrize("name", NOT_CLOCK)
def test_a_query_that_does_not_see_recorded_at_is_the_same_recipe_under_any_clock(name):
    one, other = two_clocks(NOT_CLOCK[name])
    assert one.manifest.recipe.clock_hash is None
    assert one.manifest_hash == other.manifest_hash


def test_the_time_of_undated_events_pins_the_clock():
    one, other = two_clocks(NOT_CLOCK["time"], time=None)
    assert one.manifest.recipe.clock_hash is not None
    assert one.content_hash != other.content_hash


def test_undated_events_pin_no_clock_where_time_is_not_seen():
    one, other = two_clocks(NOT_CLOCK["other columns"], time=None)
    assert one.manifest.recipe.clock_hash is None
    assert one.manifest_hash == other.manifest_hash


def test_the_catalogue_shows_nothing_of_the_clock(tmp_path):
    lake = make_lake(tmp_path / "lake")
    try:
        recipe = lake.build(
            sql("SELECT view_name AS k, sql FROM duckdb_views() WHERE view_name = 'events'")
        ).manifest.recipe
    except el.EventlakeError:
        return
    assert recipe.clock_hash is not None


def test_a_query_with_parameters_counts_as_reading_the_clock():
    lake = make_lake("memory://")
    assert (
        lake.build(sql("SELECT $w AS k", parameters={"w": 1})).manifest.recipe.clock_hash
        is not None
    )


def test_a_python_projection_counts_as_reading_the_clock(tmp_path):
    lake = make_lake("memory://")
    assert (
        lake.build(module(tmp_path, "features", POLARS_TOTALS)["totals"]).manifest.recipe.clock_hash
        is not None
    )


def test_clock_of_a_spine_query_is_judged_with_the_spine():
    lake = make_lake("memory://")
    spine = pl.DataFrame({"loan": ["/loan/0"], "recorded_at": [datetime(2026, 1, 1, tzinfo=UTC)]})
    blind = lake.build(
        sql(
            "SELECT spine_row AS k, spine.recorded_at FROM spine JOIN events ON subject = loan GROUP BY ALL"
        ),
        spine=spine,
    )
    seeing = lake.build(
        sql("SELECT spine_row AS k FROM spine JOIN events USING (recorded_at)", name="seeing"),
        spine=spine,
    )
    assert blind.manifest.recipe.clock_hash is None
    assert seeing.manifest.recipe.clock_hash is not None


@pytest.mark.parametrize(
    "changed",
    [
        sql(TOTALS.sources["query.sql"] + " ", name="totals"),
        sql(TOTALS.sources["query.sql"], name="totals2"),
        sql(TOTALS.sources["query.sql"], name="totals", level="fixed"),
        sql(TOTALS.sources["query.sql"], name="totals", key=["k", "events"]),
    ],
    ids=["source", "name", "level", "key"],
)
def test_everything_that_is_declared_is_in_the_recipe(changed):
    lake = make_lake("memory://")
    assert lake.build(changed).recipe_hash != lake.build(TOTALS).recipe_hash
    assert len(lake.datasets()) == 2


def test_another_origin_is_another_recipe():
    hashes = set()
    for origin in ("tests.eventlake/a", "tests.eventlake/b"):
        lake = el.create("memory://", origin=origin)
        lake.append(events(5, recorded=True))
        hashes.add(lake.build(TOTALS).recipe_hash)
    assert len(hashes) == 2


def test_the_manifest_hash_is_the_sha256_of_the_manifest_file(tmp_path):
    dataset = make_lake(tmp_path / "lake").build(TOTALS)
    data = Path(dataset.path, "manifest.json").read_bytes()
    assert sha256_hex(data) == dataset.manifest_hash
    assert dataset.path.endswith(f"builds/totals/{dataset.manifest_hash[:12]}")
    for secret in (b"2026-", str(tmp_path).encode(), b"built_at", b"commit_hash", b"part-"):
        assert secret not in data


def test_a_dataset_is_found_by_any_prefix_of_six_digits():
    lake = make_lake("memory://")
    dataset = lake.build(TOTALS)
    for digits in (6, 11, 12, 13, 64):
        assert lake.dataset(dataset.manifest_hash[:digits]).manifest_hash == dataset.manifest_hash
    with pytest.raises(el.EventlakeError, match="there is no dataset"):
        lake.dataset("0" * 12 if not dataset.manifest_hash.startswith("0" * 12) else "1" * 12)
    for tag in ("abcde", "xyz123"):
        with pytest.raises(el.EventlakeError, match="no dataset with the tag"):
            lake.dataset(tag)
    for prefix in ("", dataset.manifest_hash.upper(), dataset.manifest_hash + "0", "../../x"):
        with pytest.raises(el.EventlakeError, match="hex digits"):
            lake.dataset(prefix)


def test_unknown_prefix_beyond_the_folder_name_is_not_found():
    lake = make_lake("memory://")
    found = lake.build(TOTALS).manifest_hash
    other = found[:12] + ("0" if found[12] != "0" else "1")
    with pytest.raises(el.EventlakeError, match="there is no dataset"):
        lake.dataset(other)
