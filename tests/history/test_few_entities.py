"""A query that reads the events of few entities is handed rows by Polars, and says what DuckDB's own reader makes it say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

import eventlake as el
from eventlake.history.sql.duckdb_views import ENTITY, EntityFilter
from eventlake.projections.computation import Query, RunOptions
from eventlake.projections.on_duckdb import run as duckdb_runner

BEGIN = datetime(1969, 12, 31, 23, tzinfo=UTC)
CONDITIONS = [
    "true",
    "type = 'b'",
    "type <> 'b'",
    "type IN ('a', 'ž', '')",
    "type NOT IN ('a', 'c')",
    "type > 'B' AND type <= 'ž'",
    "type LIKE '%a%' OR id LIKE '1_'",
    "correlation_id IS NULL",
    "correlation_id IS NOT NULL AND correlation_id <> ' '",
    "correlation_id = ' '",
    "correlation_id IS DISTINCT FROM 'c0'",
    "correlation_id IN ('c0', NULL)",
    "NOT (correlation_id = 'c0')",
    "time < '1970-01-01 01:00:00+00'::TIMESTAMPTZ",
    "time >= '1970-01-01 00:00:00.000001+00'::TIMESTAMPTZ AND time <> '1970-01-01 03:00:00+00'",
    "time BETWEEN '1969-12-31 23:00:00+00' AND '1970-01-01 02:00:00+00'",
    "recorded_at > (SELECT min(recorded_at) FROM events)",
    "sequence = 7",
    "sequence IN (1, 5, 11)",
    "sequence > 3 AND sequence < 9.5",
    "sequence % 3 = 1",
    "subject = '/loan/1'",
    "subject >= '/loan/é'",
    "subject IS NULL",
    "coalesce(subject, 'none') <> '/loan/1'",
    "json_extract_string(data, '$.n')::BIGINT > 4",
    "data IS NULL OR data = '{\"n\":3}'",
    "id IN (SELECT id FROM events WHERE type = 'a')",
    "time = (SELECT max(time) FROM events)",
    "1 = 0",
]


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    lake = el.create(tmp_path_factory.mktemp("few") / "lake", "tests.eventlake/few")
    subjects, types = (
        ["/loan/1", "/loan/2", None, "/loan/é", "/loan/10"],
        ["a", "b", "ž", "A", "ab"],
    )
    for start in range(0, 40, 8):
        rows = []
        for number in range(start, start + 8):
            row = {
                "id": str(number),
                "source": "s",
                "type": types[number % 5],
                "subject": subjects[number // 2 % 5],
                "time": (BEGIN + number * timedelta(minutes=30)).isoformat()
                if number % 7
                else None,
                "correlation_id": [None, "c0", " ", "c1"][number % 4] if start < 24 else None,
                "data": {"n": number} if number % 3 else None,
            }
            rows.append({name: value for name, value in row.items() if value is not None})
        lake.append(rows)
    return lake.snapshot(37).history


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_rows_of_few_entities_are_the_same_whoever_reads_them(history, condition):
    only = EntityFilter(
        "Subject", "subject", pa.table({ENTITY: pa.array(["/loan/1", "/loan/é", None, "/loan/77"])})
    )
    query = f"SELECT e.*, count(*) OVER (PARTITION BY subject) AS n FROM events e WHERE {condition} ORDER BY sequence"

    def made(only):
        return duckdb_runner.run(Query("made", query, history), RunOptions(only=only))

    assert only.plain() is not None
    few = made(only)
    many = replace(only, few=-1)
    assert many.plain() is None
    assert few.equals(made(many))
    if condition == "true":
        assert few.num_rows == sum(1 for number in range(37) if number // 2 % 5 in {0, 2, 3})


def test_a_column_that_the_lake_assigns_is_left_to_duckdb(history):
    for name in ("time", "recorded_at", "sequence"):
        assert EntityFilter(name, name, pa.table({ENTITY: pa.array([1])})).plain() is None
