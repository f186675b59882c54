"""Projections that are functions of one entity's rows: proved, put into buckets, shared among processes, built from earlier builds."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pandera.polars as pa_schema
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.cli.application import main
from eventlake.columns.parquet import frames
from eventlake.core import layout
from eventlake.datasets.building import buckets as buckets_module
from eventlake.errors import (
    CorruptionError,
    InvalidInputError,
    InvalidProjectionError,
    StorageError,
)
from eventlake.executors import local as workers
from eventlake.projections.computation import Computation
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.projections.on_duckdb.by_entity import bucketed, entities
from eventlake.storage import MemoryStorage
from eventlake.storage.scratch import scratch
from eventlake.testing.faults import FaultyStorage
from tests.scope import examples
from tests.support.dataset_fixtures import Hooked, event, make_lake, sql

SPINE = pl.DataFrame(
    {"subject": ["/loan/0", "/loan/1", "/loan/9", "/loan/1", None], "at": [3, 9, 4, 0, 1]}
)
LOCAL = {
    "sums": "SELECT subject, count(*) AS n, sum(json_extract_string(data, '$.n')::BIGINT) AS s FROM events GROUP BY subject",
    "two keys": "SELECT subject, type, count(*) AS n FROM events GROUP BY ALL",
    "rows": "SELECT subject, sequence, type FROM events",
    "window": "SELECT subject, sequence, row_number() OVER (PARTITION BY subject ORDER BY sequence) AS n FROM events",
    "window by spine_row": """
        SELECT spine_row, s.subject, e.sequence, row_number() OVER (PARTITION BY spine_row ORDER BY e.sequence) AS n
        FROM spine s JOIN events e ON e.subject = s.subject""",
    "spine": """
        SELECT s.spine_row, count(e.id) AS n, max(e.sequence) AS last
        FROM spine s LEFT JOIN events e ON e.subject = s.subject AND e.sequence < s.at GROUP BY s.spine_row""",
    "comma": "SELECT a.subject, count(*) AS n FROM events a, events b WHERE a.subject = b.subject AND a.sequence < b.sequence GROUP BY ALL",
    "subquery": "SELECT subject, sequence, (SELECT count(*) FROM events b WHERE b.subject = a.subject) AS n FROM events a",
    "cte": """
        WITH firsts AS MATERIALIZED (SELECT subject, min(sequence) AS first FROM events GROUP BY subject)
        SELECT e.subject, e.sequence, first FROM events e JOIN firsts USING (subject)""",
    "by sequence": "SELECT a.sequence, b.type FROM events a JOIN (SELECT sequence, type FROM events) b USING (sequence)",
    "by spine_row": """
        WITH counts AS (SELECT spine_row, count(*) AS n FROM spine s JOIN events e ON e.subject = s.subject GROUP BY spine_row),
        lasts AS (SELECT spine_row, max(sequence) AS last FROM spine s JOIN events e ON e.subject = s.subject GROUP BY spine_row)
        SELECT spine_row, n, last FROM spine LEFT JOIN counts USING (spine_row) LEFT JOIN lasts USING (spine_row)""",
    "exists": "SELECT subject, sequence FROM events e WHERE EXISTS (FROM spine s WHERE s.subject = e.subject AND s.spine_row < e.sequence)",
    "not exists": "SELECT subject, sequence FROM events e WHERE NOT EXISTS (FROM spine s WHERE s.subject = e.subject)",
    "asof": """
        SELECT spine_row, e.sequence FROM spine s ASOF LEFT JOIN events e ON e.subject = s.subject AND s.at >= e.sequence""",
    "spine alone": "SELECT spine_row, s.at FROM spine s",
    "values": """
        SELECT subject, sum(w) AS w FROM events e JOIN (VALUES ('loan.granted', 1), ('payment.missed', 2)) k(type, w) USING (type)
        GROUP BY subject""",
    "distinct": "SELECT DISTINCT subject, type FROM events",
    "union": "SELECT subject, sequence FROM events WHERE sequence < 5 UNION ALL SELECT subject, sequence FROM events WHERE sequence >= 5",
    "except": "SELECT subject FROM events EXCEPT SELECT subject FROM spine",
    "pivot": "SELECT * FROM (PIVOT events ON type IN ('loan.granted', 'payment.missed') USING count(*) GROUP BY subject)",
    "anti": "SELECT DISTINCT subject FROM events a ANTI JOIN spine s ON a.subject = s.subject",
    "series": "SELECT subject, sequence, g FROM events, range(2) t(g)",
    "unnest": "SELECT subject, sequence, unnest([1, 2]) AS u FROM events",
}
KEYS = {
    "two keys": ["subject", "type"],
    "distinct": ["subject", "type"],
    "spine": ["spine_row"],
    "by spine_row": ["spine_row"],
    "spine alone": ["spine_row"],
    "asof": ["spine_row"],
    "window by spine_row": ["spine_row", "sequence"],
    "series": ["sequence", "g"],
    "unnest": ["sequence", "u"],
} | {
    name: ["sequence"]
    for name in (
        "rows",
        "window",
        "subquery",
        "cte",
        "union",
        "by sequence",
        "exists",
        "not exists",
    )
}
GLOBAL = [
    (
        "SELECT type, count(*) FROM events GROUP BY type",
        "GROUP BY combines rows of several entities; do it by subject",
    ),
    ("SELECT 1 AS subject, count(*) FROM events", "an aggregate over all rows"),
    (
        "SELECT subject, row_number() OVER (ORDER BY sequence) FROM events",
        "a window combines rows of several entities",
    ),
    (
        "SELECT subject, sequence FROM events ORDER BY sequence LIMIT 3",
        "LIMIT takes rows of all entities",
    ),
    ("SELECT DISTINCT type FROM events", "DISTINCT combines rows"),
    (
        "SELECT a.subject FROM events a JOIN events b ON a.sequence = b.sequence + 1",
        "a join that is not on subject",
    ),
    (
        "SELECT a.subject FROM events a JOIN spine s ON a.sequence = s.spine_row",
        "a join that is not on subject",
    ),
    ("SELECT a.subject FROM events a, events b", "a join that is not on subject"),
    (
        "SELECT a.subject FROM events a JOIN events b ON a.sequence < b.sequence",
        "a join that is not on subject",
    ),
    (
        "SELECT a.subject FROM events a LEFT JOIN events b ON a.id = b.causation_id",
        "a LEFT join that is not on subject",
    ),
    (
        "SELECT subject, (SELECT max(sequence) FROM events) AS m FROM events",
        "an aggregate over all rows",
    ),
    (
        "SELECT subject FROM events WHERE subject IN (SELECT subject FROM spine)",
        "IN with a subquery",
    ),
    (
        "SELECT subject FROM events WHERE subject NOT IN (SELECT subject FROM spine)",
        "IN with a subquery",
    ),
    (
        "SELECT k.w FROM (VALUES ('x', 1)) k(t, w) LEFT JOIN events e ON e.type = k.t",
        "would repeat rows of no entity",
    ),
    (
        "SELECT k.w FROM (VALUES ('x', 1)) k(t, w) ANTI JOIN events e ON e.type = k.t",
        "would repeat rows of no entity",
    ),
    (
        "SELECT subject, 1 AS n FROM events UNION ALL SELECT 'x', 2",
        "a UNION with rows of no entity",
    ),
    (
        "SELECT type FROM events UNION SELECT subject FROM spine",
        "DISTINCT combines rows|UNION combines rows",
    ),
    ("SELECT type FROM events EXCEPT SELECT subject FROM spine", "EXCEPT combines rows"),
    ("SELECT subject, count(*) FROM events GROUP BY ROLLUP (subject)", "GROUP BY combines rows"),
    ("SELECT upper(subject) AS u, count(*) FROM events GROUP BY u", "GROUP BY combines rows"),
    (
        "SELECT spine_row, count(*) FROM spine s JOIN events e ON e.sequence = s.at GROUP BY spine_row",
        "a join that is not on subject",
    ),
    (
        "SELECT e.subject, count(*) FROM spine s LEFT JOIN events e ON e.subject = s.subject GROUP BY e.subject",
        "GROUP BY combines rows",
    ),
    (
        "SELECT a.sequence FROM events a CROSS JOIN events b LEFT JOIN events c ON c.subject = a.subject AND c.subject = b.subject",
        "a LEFT join that is not on subject",
    ),
    (
        """SELECT x FROM events c RIGHT JOIN (SELECT a.sequence AS x, a.subject AS s, b.subject AS t FROM events a, events b) z
        ON c.subject = s AND c.subject = t""",
        "a LEFT join that is not on subject",
    ),
    (
        """SELECT a.sequence, (SELECT n FROM (SELECT subject, count(*) AS n FROM events GROUP BY subject) c
            WHERE c.subject = a.subject AND c.subject = b.subject) AS n FROM events a, events b""",
        "a LEFT join that is not on subject",
    ),
    (
        "SELECT a.sequence FROM events a ASOF JOIN events b ON a.sequence > b.sequence WHERE a.subject = b.subject",
        "not on subject",
    ),
    (
        "SELECT e.sequence FROM (VALUES (3), (5)) v(x) ASOF JOIN events e ON x >= e.sequence",
        "would repeat rows of no entity",
    ),
    ("SELECT 1 AS subject", "it reads no table"),
]


def by_subject(name, *, key=None, **options):
    return el.Projection.sql(
        "made", LOCAL[name], key=key or KEYS.get(name, ["subject"]), by="subject", **options
    )


def spine_of(query):
    return SPINE if "spine" in query else None


@pytest.fixture
def lake(tmp_path):
    return make_lake(tmp_path / "lake", ((0, 12), (12, 18)))


@pytest.fixture
def ran(monkeypatch):
    """For each run of SQL, how many entities it was confined to; None for all."""
    seen, real = [], duckdb_runner.run

    def run(*arguments, **named):
        only = arguments[1].only
        seen.append(None if only is None else only.entities.num_rows)
        return real(*arguments, **named)

    monkeypatch.setattr(duckdb_runner, "run", run)
    return seen


# Proved


@pytest.mark.parametrize("name", LOCAL)
def test_by_buckets_the_rows_are_the_same(lake, name):
    spine = spine_of(LOCAL[name])
    whole = lake.build(by_subject(name), spine=spine, incremental=False)
    split = lake.build(by_subject(name), spine=spine, force=True, buckets=4)
    assert whole.manifest.rows
    assert split.manifest_hash == whole.manifest_hash


class Counting:
    """Computes the buckets in this process, and remembers which."""

    def __init__(self):
        self.buckets = []

    def run(self, storage, tasks):
        for bucket in buckets_module.InProcessExecutor().run(storage, tasks):
            self.buckets.append(bucket)
            yield bucket


@pytest.mark.parametrize(("options", "count"), [({"buckets": 3}, 3), ({"workers": 2}, 8)])
def test_the_buckets_of_a_build_are_computed_by_the_executor_that_is_given(lake, options, count):
    name = next(iter(LOCAL))
    spine, executor = spine_of(LOCAL[name]), Counting()
    whole = lake.build(by_subject(name), spine=spine, incremental=False)
    split = lake.build(by_subject(name), spine=spine, force=True, executor=executor, **options)
    assert sorted(executor.buckets) == list(range(count))
    assert split.manifest_hash == whole.manifest_hash


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"executor": "dask", "workers": 2}, "expected executor as an object with a method run"),
        ({"executor": Counting()}, "this build has none"),
    ],
)
def test_an_executor_that_could_do_nothing_is_refused(lake, options, says):
    with pytest.raises(InvalidInputError, match=says):
        lake.build(by_subject(next(iter(LOCAL))), **options)
    assert lake.datasets() == []


@pytest.mark.parametrize(("query", "reason"), GLOBAL)
def test_what_looks_beyond_one_entity_is_refused_with_its_reason(lake, query, reason):
    projection = el.Projection.sql("made", query, key=["subject"], by="subject")
    with pytest.raises(InvalidProjectionError, match=reason) as refused:
        lake.build(projection, spine=spine_of(query))
    assert (
        "is declared by subject, but its rows do not depend on one subject at a time"
        in refused.value.message
    )
    assert lake.datasets() == []


def test_the_entity_must_be_a_column_of_every_table_and_of_one_type(lake):
    with pytest.raises(InvalidProjectionError, match="the table events has no column loan"):
        lake.build(
            el.Projection.sql(
                "made", "SELECT subject FROM events GROUP BY subject", key=["subject"], by="loan"
            )
        )
    spine = pl.DataFrame({"subject": [1]})
    query = "SELECT s.spine_row FROM spine s JOIN events e ON s.subject = e.sequence"
    with pytest.raises(InvalidProjectionError, match="another than elsewhere"):
        lake.build(el.Projection.sql("made", query, key=["spine_row"], by="subject"), spine=spine)
    with pytest.raises(InvalidProjectionError, match="for the level exact"):
        el.Projection.sql("made", "SELECT 1 AS k", key=["k"], by="subject", level="fixed")


def test_the_second_build_is_in_buckets_too(lake, ran):
    lake.build(by_subject("spine"), spine=SPINE, check="perturb")
    assert ran[0] is None
    assert len(ran) == 3
    assert sum(ran[1:]) == 7  # five subjects, one of the spine alone, and null


@pytest.mark.parametrize("name", ["sums", "spine"])
def test_an_entity_is_told_once_however_many_events_it_has(lake, name):
    spine = (
        pa.table(SPINE).add_column(0, "spine_row", pa.array(range(SPINE.height)))
        if name == "spine"
        else None
    )
    found = (
        entities(Computation(by_subject(name), lake.snapshot().history, spine))
        .column(0)
        .to_pylist()
    )
    assert sorted(found, key=str) == sorted(set(found), key=str)
    assert len(found) == (7 if spine is not None else 5)


def test_a_bucket_is_the_sha256_of_the_entity():
    values = ["/loan/1", "", "žluť", None]
    found = bucketed(pa.table({"eventlake entity": values}), 7).sort_by("bucket").to_pylist()
    expected = {
        v: 0 if v is None else int(hashlib.sha256(v.encode()).hexdigest()[:15], 16) % 7
        for v in values
    }
    assert {row["eventlake entity"]: row["bucket"] for row in found} == expected


# Shared


def test_workers_make_what_one_process_makes(lake):
    whole = lake.build(by_subject("spine"), spine=SPINE, incremental=False)
    shared = lake.build(by_subject("spine"), spine=SPINE, force=True, workers=2, buckets=5)
    assert shared.manifest_hash == whole.manifest_hash
    assert [
        item.path
        for item in lake.snapshot().history.storage.list(layout.RECIPES)
        if layout.is_work(item.path)
    ] == []
    with pytest.raises(InvalidInputError, match="expected workers from 1"):
        lake.build(by_subject("sums"), workers=0)
    with pytest.raises(InvalidInputError, match="buckets from 1"):
        lake.build(by_subject("sums"), buckets=0)


def test_the_way_is_told(lake):
    dataset = lake.build(by_subject("sums"), workers=2)
    assert (
        dataset.provenance["way"]
        == "in full, in 8 buckets by subject: there is no earlier build to begin from"
    )
    assert (dataset.provenance["buckets"], dataset.provenance["workers"]) == (8, 2)
    assert el.create("memory://", "o").build(by_subject("sums"), workers=2).manifest.rows == 0


def test_an_interrupted_build_goes_on_where_it_ended(lake, monkeypatch):
    done, real = [], duckdb_runner.run

    def run(*arguments, **named):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments, **named)

    monkeypatch.setattr(duckdb_runner, "run", run)
    with pytest.raises(KeyboardInterrupt):
        lake.build(by_subject("sums"), buckets=5)
    kept = [item.path for item in lake.snapshot().history.storage.list(layout.RECIPES)]
    assert len(kept) == 3
    assert lake.verify().ok
    done.clear()
    dataset = lake.build(by_subject("sums"), buckets=5)
    assert len(done) == 2
    assert dataset.manifest_hash == lake.build(by_subject("sums"), force=True).manifest_hash


@pytest.mark.parametrize(
    "damage",
    [b"damaged", bytes(10_000) + b"PAR1", bytes(10_000)],
    ids=["short", "long", "of another kind"],
)
def test_a_damaged_bucket_is_deleted_and_done_again(lake, monkeypatch, damage):
    with monkeypatch.context() as patch:
        patch.setattr(buckets_module, "_rows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            lake.build(by_subject("sums"), buckets=3)
    storage = lake.snapshot().history.storage
    first = next(item.path for item in storage.list(layout.RECIPES) if layout.bucket_of(item.path))
    storage.replace(first, damage)
    held = []
    for verb in ("read", "read_sized"):
        plain = getattr(type(storage), verb)
        monkeypatch.setattr(
            type(storage),
            verb,
            lambda self, path, *size, plain=plain: held.append(path) or plain(self, path, *size),
        )
    storage.piece_bytes = 1_000
    with pytest.raises(el.EventlakeError, match="it was deleted"):
        lake.build(by_subject("sums"), buckets=3)
    assert first not in held or len(damage) < 1_000
    assert lake.build(by_subject("sums"), buckets=3).manifest.rows == 5


def test_what_a_worker_refuses_is_told_as_here(lake):
    query = "SELECT subject, sum((sequence + 9223372036854775700)::BIGINT)::BIGINT AS s FROM events GROUP BY subject"
    projection = el.Projection.sql("made", query, key=["subject"], by="subject")
    with pytest.raises(
        InvalidProjectionError,
        match=r"projection made: DuckDB refused the query.*(ut of .ange|verflow)",
    ):
        lake.build(projection, workers=2)


def test_a_worker_that_dies_is_replaced(lake, monkeypatch):
    died = []
    real = workers._Worker.ask

    def ask(self, task):
        if task.bucket == 1 and len(died) < 2:
            died.append(self._process.pid)
            os.kill(self._process.pid, signal.SIGKILL)
        return real(self, task)

    monkeypatch.setattr(workers._Worker, "ask", ask)
    shared = lake.build(by_subject("sums"), workers=2, buckets=4)
    assert len(set(died)) == 2
    assert shared.manifest_hash == lake.build(by_subject("sums"), force=True).manifest_hash


def test_a_bucket_of_which_workers_die_again_and_again_ends_the_build(lake, monkeypatch):
    monkeypatch.setattr(workers._Worker, "ask", lambda self, task: self._process.kill())
    with pytest.raises(StorageError, match="3 workers died"):
        lake.build(by_subject("sums"), workers=2, buckets=2)
    assert lake.datasets() == []


@pytest.mark.thorough
def test_a_slow_worker_is_outrun(lake, monkeypatch):
    def impatient(_, count):
        return workers.Processes(count, slow_seconds=0.2)

    monkeypatch.setattr("eventlake.executors.choose.executor_for", impatient)
    asked, hanging = [], threading.Event()
    real = workers._Worker.ask

    def ask(self, task):
        asked.append(task.bucket)
        if task.bucket == 3 and asked.count(3) == 1:
            hanging.wait(60)
        return real(self, task)

    monkeypatch.setattr(workers._Worker, "ask", ask)
    monkeypatch.setattr(
        workers._Pool, "end", lambda self, end=workers._Pool.end: (hanging.set(), end(self))
    )
    began = time.monotonic()
    lake.build(by_subject("sums"), workers=2, buckets=4)
    assert asked.count(3) == 2
    assert time.monotonic() - began < 60


def test_killed_workers_leave_no_temporary_files(lake, monkeypatch):
    """Each has made a folder of its own, as for every query, when it is killed with its task done."""
    folders, before = [], set(scratch().iterdir())
    real = workers._Worker.ask

    def ask(self, task):
        answer = real(self, task)
        folders.append(
            [
                one
                for pool in set(scratch().iterdir()) - before
                for one in pool.iterdir()
                if one.is_dir()
            ]
        )
        self._process.kill()
        return answer

    monkeypatch.setattr(workers._Worker, "ask", ask)
    lake.build(by_subject("sums"), workers=2, buckets=4)
    assert all(folders)
    assert set(scratch().iterdir()) == before


@pytest.mark.thorough
def test_a_script_without_a_guard_may_use_workers(lake, tmp_path):
    script = tmp_path / "job.py"
    script.write_text(
        "import sys, eventlake as el\n"
        "query = 'SELECT subject, count(*) AS n FROM events GROUP BY subject'\n"
        "made = el.open(sys.argv[1]).build(el.Projection.sql('made', query, key=['subject'], by='subject'), workers=2)\n"
        "print(made.manifest.rows)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), lake.uri],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout == "5\n"


# From an earlier build


def test_only_entities_with_new_events_are_computed(lake, ran):
    first = lake.build(by_subject("sums"))
    assert first.provenance["way"].startswith("in full: ")
    lake.append([event(100, subject="/loan/3"), event(101, subject="/loan/new")])
    second = lake.build(by_subject("sums"), incremental=True)
    assert ran == [None, 2]
    assert (second.provenance["way"], second.provenance["derived_from"]) == (
        "2 subjects anew",
        first.manifest_hash,
    )
    assert second.manifest_hash == lake.build(by_subject("sums"), force=True).manifest_hash
    assert second.manifest_hash != first.manifest_hash


def test_a_growing_spine_computes_its_new_rows(lake, ran):
    lake.build(by_subject("spine"), spine=SPINE)
    longer = pl.concat([SPINE, pl.DataFrame({"subject": ["/loan/2"], "at": [9]})])
    second = lake.build(by_subject("spine"), spine=longer, incremental=True)
    assert ran == [None, 1]
    assert (
        second.manifest_hash
        == lake.build(by_subject("spine"), spine=longer, force=True).manifest_hash
    )
    changed = longer.with_columns(
        at=pl.when(pl.col("subject") == "/loan/9").then(8).otherwise("at")
    )
    third = lake.build(by_subject("spine"), spine=changed, incremental=True)
    assert ran[3:] == [1]
    assert (
        third.manifest_hash
        == lake.build(by_subject("spine"), spine=changed, force=True).manifest_hash
    )


def test_other_code_parameters_or_histories_are_no_base(lake, tmp_path, ran):
    lake.build(by_subject("sums"))
    lake.append([event(100, subject="/loan/3")])
    lake.build(el.Projection.sql("made", LOCAL["sums"] + " ", key=["subject"], by="subject"))
    lake.build(by_subject("sums"), incremental=False)
    assert ran == [None] * 3
    anonymous = el.Projection.sql(
        "anonymous",
        "SELECT max(sequence) AS n FROM events GROUP BY subject",
        key=["n"],
        by="subject",
    )
    lake.build(anonymous, at=20)
    assert (
        "its rows do not say their subject"
        in lake.build(anonymous, incremental=True).provenance["way"]
    )


def test_a_damaged_base_is_none(lake, ran):
    first = lake.build(by_subject("sums"))
    storage = lake.snapshot().history.storage
    (part,) = [
        item.path
        for item in storage.list(layout.build_path("made", first.manifest_hash))
        if "/part-" in item.path
    ]
    storage.replace(part, b"damaged")
    lake.append([event(100, subject="/loan/3")])
    second = lake.build(by_subject("sums"), incremental=True)
    assert ran == [None, None]
    assert second.manifest_hash == lake.build(by_subject("sums"), force=True).manifest_hash


def test_a_lake_without_paths_is_built_from_earlier_builds_too(ran):
    lake = make_lake("memory://", ((0, 12), (12, 18)))
    lake.build(by_subject("sums"))
    lake.append([event(100, subject="/loan/3")])
    second = lake.build(by_subject("sums"), incremental=True)
    assert ran == [None, 1]
    assert second.manifest_hash == lake.build(by_subject("sums"), force=True).manifest_hash


def test_what_is_alike_in_python_is_no_base(lake, ran):
    query = "SELECT subject, count(*) AS n, ($x)::VARCHAR AS x FROM events GROUP BY subject"
    projection = el.Projection.sql(
        "made", query, key=["subject"], by="subject", parameters={"x": None}
    )
    lake.build(projection, parameters={"x": 1})
    lake.append([event(100, subject="/loan/3")])
    assert lake.build(projection, parameters={"x": True}, incremental=True).polars()[
        "x"
    ].unique().to_list() == ["true"]
    assert ran == [None, None]


def test_names_know_the_case_of_ascii_letters_alone(lake):
    spine = pl.DataFrame({"Ä": ["x"] * 3, "ä": ["/loan/0", "/loan/1", "/loan/2"]})
    query = 'SELECT s."Ä" AS k, count(*) AS n FROM spine s JOIN events e ON e.subject = s."ä" GROUP BY s."Ä"'
    with pytest.raises(InvalidProjectionError, match="GROUP BY combines rows"):
        lake.build(
            el.Projection.sql("made", query, key=["k"], by="subject", spine_by="ä"), spine=spine
        )
    upper = el.Projection.sql(
        "made",
        "SELECT SUBJECT, count(*) AS n FROM events GROUP BY ALL",
        key=["subject"],
        by="SUBJECT",
    )
    assert lake.build(upper, buckets=3).manifest.rows == 5


def test_columns_may_have_any_name_and_narrower_types(lake, ran):
    odd = 'SELECT subject AS "eventlake entity", count(*) AS "row" FROM events GROUP BY subject'
    schema = pa_schema.DataFrameSchema({"spine_row": pa_schema.Column(pl.Decimal(10, 0))})
    spined = by_subject("spine", schema=schema)
    wanted = el.Projection.sql("odd", odd, key=["eventlake entity"], by="subject")
    lake.build(wanted)
    lake.build(spined, spine=SPINE)
    lake.append([event(100, subject="/loan/3")])
    assert (
        lake.build(wanted, incremental=True).content_hash
        == lake.build(wanted, force=True).content_hash
    )
    assert (
        lake.build(spined, spine=SPINE, incremental=True).content_hash
        == lake.build(spined, spine=SPINE, force=True).content_hash
    )
    assert ran == [None, None, 1, None, 1, None]


def test_corrections_are_followed_whatever_the_case_of_the_entity():
    lake = el.create("memory://", "o")
    lake.register("t", {"type": "object", "properties": {"acc": {"type": "string"}}})
    rows = [
        {"id": f"e{n}", "source": "s", "type": "t", "subject": "/x", "data": {"acc": str(n % 9)}}
        for n in range(30)
    ]
    lake.append(rows)
    projection = el.Projection.sql(
        "made", "SELECT acc, count(*) AS n FROM latest.t GROUP BY acc", key=["acc"], by="ACC"
    )
    lake.build(projection)
    lake.append([rows[3] | {"id": "new", "corrects": "e1", "correction": "replace"}])
    made = lake.build(projection, incremental=True)
    assert made.provenance["way"] == "2 ACCs anew"
    assert made.content_hash == lake.build(projection, force=True).content_hash


def test_buckets_of_another_entity_or_of_a_forced_build_are_not_taken(lake, monkeypatch):
    query = "SELECT subject, type, count(*) AS n FROM events GROUP BY ALL"
    key = ["subject", "type"]
    real, done = duckdb_runner.run, []

    def run(*arguments, **named):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(duckdb_runner, "run", run)
        with pytest.raises(KeyboardInterrupt):
            lake.build(el.Projection.sql("made", query, key=key, by="subject"), buckets=2)
    expected = lake.build(el.Projection.sql("other", query, key=key)).content_hash
    assert (
        lake.build(el.Projection.sql("made", query, key=key, by="type"), buckets=2).content_hash
        == expected
    )
    done.clear()
    monkeypatch.setattr(
        duckdb_runner,
        "run",
        lambda *arguments, **named: (done.append(1), real(*arguments, **named))[1],
    )
    lake.build(el.Projection.sql("made", query, key=key, by="subject"), buckets=2, force=True)
    assert len(done) == 2


def test_buckets_that_are_deleted_meanwhile_are_done_again(lake, monkeypatch):
    real, storage, deleted = buckets_module._rows, lake.snapshot().history.storage, []

    def rows(inner, path):
        if len(deleted) < 2:
            deleted.append(path)
            storage.delete(path)
        return real(inner, path)

    monkeypatch.setattr(buckets_module, "_rows", rows)
    made = lake.build(by_subject("sums"), buckets=3)
    assert len(deleted) == 2
    monkeypatch.setattr(buckets_module, "_rows", real)
    assert made.content_hash == lake.build(by_subject("sums"), force=True).content_hash


@pytest.mark.thorough
def test_forced_builders_at_once_do_not_disturb_each_other(lake):
    failed, made = [], set()

    def build():
        try:
            for _ in range(2):
                made.add(
                    el.open(lake.uri).build(by_subject("sums"), buckets=4, force=True).content_hash
                )
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failed, len(made)) == ([], 1)


def test_reproduce_needs_no_base(lake):
    lake.build(by_subject("sums"))
    lake.append([event(100, subject="/loan/3")])
    second = lake.build(by_subject("sums"), incremental=True)
    assert lake.reproduce(second.manifest_hash).identical
    assert lake.verify(deep=True).ok


PAID = {
    "type": "object",
    "properties": {"account": {"type": "string"}, "cents": {"type": "integer"}},
}
LATEST = """
SELECT coalesce(account, '?') AS key, account, count(*) AS n, sum(cents) AS cents, list(id ORDER BY sequence) AS ids
FROM latest."paid" GROUP BY account
"""
AS_RECORDED = """
SELECT p.account, s.spine_row, count(p.id) AS n, max(p.sequence) AS last
FROM spine s JOIN "paid" p ON p.account = s.account AND p.sequence < s.until GROUP BY ALL
"""


@st.composite
def histories(draw):
    """Batches of payments of five accounts; some replace or retract an earlier one, and may move it to another account."""
    batches, ids, number = [], [], 0
    for size in draw(st.lists(st.integers(1, 8), min_size=2, max_size=3)):
        batch = []
        for _ in range(size):
            corrected = draw(st.none() | st.sampled_from(ids)) if ids else None
            data = {
                "account": draw(st.sampled_from([*"abcde", None])),
                "cents": draw(st.integers(-5, 5)),
            }
            one = {"id": f"p{number}", "source": "s", "type": "paid", "subject": "/x", "data": data}
            if corrected is not None:
                one |= {
                    "corrects": corrected,
                    "correction": draw(st.sampled_from(["replace", "retract"])),
                }
            batch.append({name: value for name, value in one.items() if value is not None})
            ids.append(f"p{number}")
            number += 1
        batches.append(batch)
    rows = [draw(st.lists(st.sampled_from("abcdef"), max_size=4)) for _ in batches]
    kinds = {"account": pl.String, "until": pl.Int64}
    spines = [
        pl.DataFrame({"account": one, "until": [3 * at for at in range(len(one))]}, schema=kinds)
        for one in rows
    ]
    return batches, spines


@settings(max_examples=examples(5), deadline=None)
@given(histories())
def test_from_an_earlier_build_or_in_full_the_rows_are_the_same(drawn):
    batches, spines = drawn
    lake = el.create("memory://", "o")
    lake.register("paid", PAID)
    latest = el.Projection.sql("latest", LATEST, key=["key"], by="account")
    recorded = el.Projection.sql("recorded", AS_RECORDED, key=["spine_row"], by="account")
    for batch, spine in zip(batches, spines, strict=True):
        lake.append(batch)
        for projection, given_spine in ((latest, None), (recorded, spine)):
            made = lake.build(projection, spine=given_spine, incremental=True)
            full = lake.build(projection, spine=given_spine, force=True, buckets=3)
            assert made.content_hash == full.content_hash


def test_the_command_takes_workers_and_buckets(lake, tmp_path, capsys):
    folder = tmp_path / "counts"
    folder.mkdir()
    (folder / "dataset.toml").write_text(
        'name = "counts"\nsql = "q.sql"\nkey = ["subject"]\nby = "subject"\n'
    )
    (folder / "q.sql").write_text("SELECT subject, count(*) AS n FROM events GROUP BY subject")
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "build",
                str(folder),
                "--lake",
                lake.uri,
                "--workers",
                "2",
                "--buckets",
                "3",
                "--full",
                "--json",
            ]
        )
    assert not ended.value.code
    built = json.loads(capsys.readouterr().out)
    assert lake.dataset(built["manifest_hash"]).provenance["buckets"] == 3


class Named(MemoryStorage):
    """A storage of a caller's own, whose URI is only a name."""

    uri = "vault://loans"


@pytest.mark.parametrize("kind", [Named, FaultyStorage, Hooked])
def test_workers_on_a_storage_whose_uri_is_only_a_name_are_refused_by_name_before_any_work(kind):
    storage = kind() if kind is Named else kind(MemoryStorage())
    lake = make_lake(storage)
    before = sorted(item.path for item in storage.list(""))
    query = sql(
        "SELECT subject, count(*) AS n FROM events GROUP BY subject", ["subject"], by="subject"
    )
    with pytest.raises(
        InvalidInputError,
        match=f"workers=2 opens the lake by its URI in other processes; that of a {type(storage).__name__}",
    ):
        lake.build(query, workers=2)
    assert sorted(item.path for item in storage.list("")) == before
    assert lake.build(query, buckets=3).polars().height == 5


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            pa.table({"spine_row": pa.array([0] * 1_000, pa.int64())}),
            "expected exactly 5 rows, its footer says 1,000",
        ),
        (
            pa.table({"subject": [hashlib.sha256(bytes([n])).hexdigest() for n in range(256)]}),
            r"expected [0-9,]+ bytes, found [0-9,]+",
        ),
    ],
    ids=["more rows", "more bytes"],
)
def test_a_spine_for_buckets_that_was_replaced_is_refused_before_it_is_decoded(
    lake, monkeypatch, other, told
):
    monkeypatch.setattr(
        buckets_module,
        "_store_spine",
        lambda storage, path, data: storage.create(path, frames.encode(other)),
    )
    with pytest.raises(CorruptionError, match=told) as caught:
        lake.build(by_subject("spine"), spine=SPINE, buckets=2)
    assert "spine" in caught.value.message
