"""The verbs users type, on a real disk."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.core.attributes import EVENT_COLUMNS
from eventlake.core.instants import from_micros
from eventlake.errors import (
    AlreadyExistsError,
    ConflictError,
    CorruptionError,
    InvalidInputError,
    NotFoundError,
)
from eventlake.history.polars_scan import SCHEMA
from tests.support import naive


def event(name, **more):
    return {"id": name, "source": "s", "type": "t"} | more


@pytest.fixture
def lake(tmp_path):
    """Three commits, five events; the second a copied history."""
    lake = el.create(tmp_path / "lake", "bank.example/loans")
    lake.append(
        [
            event("0", recorded_at="2020-01-01T00:00:00Z", subject="x"),
            event("1", recorded_at="2020-01-03T00:00:00Z", type="u"),
        ]
    )
    lake.append(
        [
            event("2", recorded_at="2020-01-03T00:00:00Z"),
            event("3", recorded_at="2020-01-05T00:00:00Z", data={"n": 1}),
        ]
    )
    lake.append([event("4", time="2019-01-01T00:00:00Z", data='"y"')])
    return lake


def ids(snapshot):
    return "".join(snapshot.scan(columns=["id"]).collect()["id"])


def test_nothing_that_was_appended_is_lost_changed_or_reordered(tmp_path):
    """Promise 1, for one process; tests/fault has the crashes, the other writers and the failing disks."""
    model = []
    for number in range(12):
        lake = (
            el.open(tmp_path / "lake") if number % 3 else el.create(tmp_path / f"lake{number}", "o")
        )
        if number % 3 == 0:
            model = []
            (tmp_path / "lake").unlink(missing_ok=True)
            (tmp_path / "lake").symlink_to(tmp_path / f"lake{number}")
        batch = [
            event(f"{number}-{row}", data=f'{{"n":{row}.00}}') for row in range(number % 4 + 1)
        ]
        receipt = lake.append(batch)
        assert (receipt.start, receipt.stop) == (len(model), len(model) + len(batch))
        model += batch
        seen = (
            el.open(tmp_path / "lake")
            .snapshot()
            .scan(columns=["sequence", "id", "data"])
            .collect()
            .rows()
        )
        assert seen == [(n, e["id"], e["data"]) for n, e in enumerate(model)]
        assert el.open(tmp_path / "lake").snapshot().root == naive.root(model)


def test_a_receipt_says_where_the_batch_stands_and_which_history_it_made(lake):
    receipt = lake.append([event("5"), event("6")])
    assert (receipt.start, receipt.stop, receipt.count) == (5, 7, 2)
    assert receipt.checkpoint == lake.checkpoint == el.open(lake.uri).checkpoint
    assert receipt.commit_hash == lake.log()[-1].commit_hash == lake.snapshot().commit_hash
    assert receipt.recorded_at == lake.log()[-1].commit.recorded_at


def test_the_log_is_a_chain_of_hashes_from_the_first_commit(lake):
    entries = lake.log()
    assert [entry.commit.version for entry in entries] == [0, 1, 2]
    assert [entry.commit.prev for entry in entries] == [
        None,
        entries[0].commit_hash,
        entries[1].commit_hash,
    ]
    assert [(entry.commit.start, entry.commit.stop) for entry in entries] == [
        (0, 2),
        (2, 4),
        (4, 5),
    ]
    assert {entry.commit.origin for entry in entries} == {"bank.example/loans"}
    assert len({entry.commit.commit_id for entry in entries}) == 3


def test_the_folder_holds_lake_json_numbered_commits_and_segments_named_by_their_hash(
    lake, tmp_path
):
    found = sorted(
        path.relative_to(tmp_path / "lake").as_posix()
        for path in (tmp_path / "lake").rglob("*")
        if path.is_file()
    )
    segments = sorted(
        f"segments/{segment.sha256}.parquet"
        for entry in lake.log()
        for segment in entry.commit.segments
    )
    assert found == [
        "hint",
        "lake.json",
        *(f"log/{n:020d}.json" for n in range(3)),
        "reserve",
        *segments,
    ]


def test_a_segment_is_a_parquet_file_that_anyone_can_read(lake, tmp_path):
    frame = pl.concat(
        [pl.read_parquet(path) for path in (tmp_path / "lake" / "segments").iterdir()],
        how="diagonal",
    )
    assert sorted(frame["id"]) == list("01234")
    assert set(frame.columns) == {"id", "source", "type", "subject", "time", "data", "recorded_at"}


def test_the_same_batch_has_the_same_leaves_whatever_the_lake_and_the_clock_and_never_the_same_file():
    lakes = [el.create("memory://", origin) for origin in ("a", "b")]
    lakes[1].append([event("before"), event("before 2")])
    for lake in lakes:
        lake.append([event("x", data={"a": 1}), event("y")])
    first, second = (lake.log()[-1].commit.segments[0] for lake in lakes)
    assert (first.start, second.start) == (0, 2)
    assert first.range.root() == second.range.root()
    assert first.size_bytes == second.size_bytes
    assert first.sha256 != second.sha256


def test_an_open_lake_sees_what_others_append(lake):
    other = el.open(lake.uri)
    lake.append([event("5")])
    assert other.watermark == 6
    other.append([event("6")])
    assert (lake.watermark, len(lake.log()), ids(lake.snapshot())) == (7, 5, "0123456")


def test_a_lake_and_its_module_verbs_are_context_managers(tmp_path):
    with el.create(tmp_path / "a", "o") as lake:
        lake.append([event("0")])
    with el.open(tmp_path / "a") as lake:
        assert lake.watermark == 1


def test_a_lake_has_no_delete_and_no_update(lake):
    assert not {"delete", "update", "remove", "truncate", "drop"} & set(dir(lake))


INSTANTS = [
    ("2020-01-01T00:00:00Z", 0),
    ("2020-01-01T00:00:00.000001Z", 1),
    ("2020-01-02T00:00:00Z", 1),
    ("2020-01-03T00:00:00Z", 1),
    ("2020-01-03T02:00:00+02:00", 1),
    ("2020-01-03T00:00:00.000001Z", 3),
    ("2020-01-05T00:00:00Z", 3),
    ("2020-01-05T00:00:00.000001Z", 4),
    (datetime(2020, 1, 4, tzinfo=UTC), 3),
    (datetime(2020, 1, 3, 1, tzinfo=timezone(timedelta(hours=1))), 1),
    ("0001-01-01T00:00:00Z", 0),
]


@pytest.mark.parametrize(("at", "watermark"), INSTANTS, ids=[str(at) for at, _ in INSTANTS])
def test_an_instant_is_the_events_recorded_before_it(lake, at, watermark):
    snapshot = lake.snapshot(at)
    assert (snapshot.watermark, ids(snapshot)) == (watermark, "01234"[:watermark])


def test_the_heads_own_instant_is_passed_but_nothing_later(lake):
    head = from_micros(lake.log()[-1].commit.recorded_at)
    assert lake.snapshot(head).watermark == 4
    for later in (head + timedelta(microseconds=1), head + timedelta(days=1)):
        with pytest.raises(ConflictError, match="not moved past"):
            lake.snapshot(later)


def test_an_empty_lake_has_moved_past_nothing():
    with pytest.raises(ConflictError, match="not moved past"):
        el.create("memory://", "o").snapshot("2000-01-01T00:00:00Z")


def test_a_snapshot_can_be_named_in_every_documented_way(lake):
    head = lake.snapshot()
    commit = lake.log()[1]
    for at in (
        None,
        5,
        "5",
        head.checkpoint,
        str(head.checkpoint),
        head.commit_hash,
        head.commit_hash[:12],
        f" {head.commit_hash}\n",
    ):
        assert lake.snapshot(at).checkpoint == head.checkpoint
    for at in (4, commit.commit_hash, commit.commit_hash[:12], commit.commit.checkpoint):
        assert lake.snapshot(at).checkpoint == commit.commit.checkpoint
    assert lake.snapshot(at=0).commit_hash is None
    assert [lake.snapshot(n).commit_hash for n in (1, 2, 3)] == [
        lake.log()[n].commit_hash for n in (0, 0, 1)
    ]


STRANGE = [
    True,
    1.0,
    b"5",
    "five",
    "",
    "abcde",
    "zzzzzz",
    "-1",
    datetime(2020, 1, 1),
    "2020-01-01T00:00:00",
    [],
    "o 1@x",
]


@pytest.mark.parametrize("at", STRANGE, ids=[repr(at)[:20] for at in STRANGE])
def test_what_names_no_history_is_refused(lake, at):
    with pytest.raises(InvalidInputError):
        lake.snapshot(at)


@pytest.mark.parametrize("at", [-1, 6, 10**30, "6", "f" * 64, "0" * 12], ids=ascii)
def test_a_watermark_or_hash_that_is_not_there_is_not_found(lake, at):
    with pytest.raises(NotFoundError):
        lake.snapshot(at)


def test_a_prefix_that_fits_several_commits_is_refused():
    lake = el.create("memory://", "o")
    lake.append([event("0")])
    lake.append([event("1")])
    chain = lake._chain
    chain._tail[:] = [
        type(entry)(entry.commit, "abcdef" + entry.commit_hash[6:]) for entry in chain._tail
    ]
    chain._tail[1] = type(chain._tail[1])(
        replace(chain._tail[1].commit, prev=chain._tail[0].commit_hash), chain._tail[1].commit_hash
    )
    with pytest.raises(InvalidInputError, match="fits 2 hashes"):
        lake.snapshot("abcdef")
    assert lake.snapshot(chain._tail[0].commit_hash).watermark == 1


def test_a_checkpoint_of_another_history_is_refused(lake):
    head = lake.checkpoint
    with pytest.raises(CorruptionError, match="another history"):
        lake.snapshot(el.Checkpoint(head.origin, 5, "0" * 64))
    with pytest.raises(CorruptionError, match="another history"):
        lake.snapshot(f"{head.origin} 3@{head.root}")
    with pytest.raises(NotFoundError, match="stranger"):
        lake.snapshot(el.Checkpoint("stranger", 5, head.root))
    with pytest.raises(NotFoundError, match="end is missing"):
        lake.snapshot(el.Checkpoint(head.origin, 6, head.root))


def test_scan_is_lazy_and_has_the_documented_columns_and_types(lake):
    frame = lake.snapshot().scan()
    assert isinstance(frame, pl.LazyFrame)
    schema = frame.collect_schema()
    assert schema == SCHEMA
    assert tuple(schema) == EVENT_COLUMNS
    assert (schema["sequence"], schema["time"], schema["recorded_at"]) == (
        pl.Int64(),
        pl.Datetime("us", "UTC"),
        pl.Datetime("us", "UTC"),
    )
    assert frame.collect().schema == SCHEMA


def test_an_empty_history_has_the_same_columns_in_both_engines(lake):
    empty = lake.snapshot(0)
    assert empty.scan().collect().schema == SCHEMA
    assert empty.sql("select * from events").polars().schema == SCHEMA
    assert empty.types() == {}


def test_scan_and_sql_have_the_same_columns_types_and_rows(lake):
    snapshot = lake.snapshot()
    found = snapshot.sql("select * from events order by sequence")
    assert found.polars().equals(snapshot.scan().collect())
    assert found.polars().schema == SCHEMA


@pytest.mark.parametrize("columns", [["nope"], ["id", "ID"], "id"], ids=str)
def test_an_unknown_column_of_a_scan_is_refused(lake, columns):
    with pytest.raises(InvalidInputError, match="column"):
        lake.snapshot().scan(columns=columns)


def test_a_scan_takes_one_type_or_several_and_a_subject(lake):
    snapshot = lake.snapshot()
    assert snapshot.scan(types="u").collect()["id"].to_list() == ["1"]
    assert snapshot.scan(types=["u", "t"]).collect().height == 5
    assert snapshot.scan(types=[]).collect().height == 0
    assert snapshot.scan(subject="x").collect()["id"].to_list() == ["0"]
    assert snapshot.scan(types="u", subject="x").collect().height == 0


def test_a_scan_of_a_type_that_nothing_has_warns_and_names_the_nearest(lake):
    lake.register("paid", {"type": "object", "properties": {"a": {"type": "integer"}}})
    lake.append([{"id": "9", "source": "s", "type": "payment.received"}])
    snapshot = lake.snapshot()
    message = "no event and no schema has the type 'payment.recieved' "
    message += "(did you mean 'payment.received'? the types are paid, payment.received, t, u)"
    with pytest.warns(UserWarning, match=re.escape(message)):
        assert snapshot.scan(types=["payment.recieved", "u"]).collect()["id"].to_list() == ["1"]
    with pytest.warns(UserWarning, match="the types are none"):
        assert el.create("memory://", "o").snapshot().scan(types="t").collect().height == 0
    assert snapshot.scan(types="paid").collect().height == 0


def test_an_event_without_time_is_read_as_if_it_happened_when_it_was_recorded(lake):
    rows = lake.snapshot().scan(columns=["id", "time", "recorded_at"]).collect()
    same = dict(zip(rows["id"], rows["time"] == rows["recorded_at"], strict=True))
    assert same == {"0": True, "1": True, "2": True, "3": True, "4": False}
    assert lake.snapshot().sql(
        "select time from events where id = '4'"
    ).polars().item() == datetime(2019, 1, 1, tzinfo=UTC)


def test_sql_results_can_be_taken_over_by_any_arrow_library(lake):
    found = lake.snapshot().sql(
        "select id, time from events where sequence < $n order by sequence", n=2
    )
    assert pa.table(found).column("id").to_pylist() == ["0", "1"]
    assert found.arrow().schema.field("time").type == pa.timestamp("us", "UTC")
    assert pl.DataFrame(found).equals(found.polars())
    assert list(found.pandas()["id"]) == ["0", "1"]
    assert "0" in repr(found)
    assert "<table" in found._repr_html_()


@pytest.mark.parametrize(
    "query", ["selec 1", "select nope from events", "select * from nope", "delete from events", ""]
)
def test_a_query_that_duckdb_refuses_is_an_invalid_input(lake, query):
    with pytest.raises(InvalidInputError):
        lake.snapshot().sql(query)


def test_sql_runs_in_utc_whatever_the_machine_says(lake, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    found = (
        lake.snapshot()
        .sql("select hour(time) h, current_setting('TimeZone') z from events where id = '0'")
        .polars()
    )
    assert found.row(0) == (0, "UTC")


def test_queries_of_one_snapshot_do_not_see_each_other(lake):
    snapshot = lake.snapshot()
    snapshot.sql("with mine as (select 1) select * from mine")
    with pytest.raises(InvalidInputError, match="mine"):
        snapshot.sql("select * from mine")
    assert snapshot.sql("select count(*) from events").polars().item() == 5


@pytest.mark.parametrize(
    "query",
    [
        "create table x (a int)",
        "create view mine as select 1",
        "copy events to '{}'",
        "select 1; select 2",
        "set threads = 1",
    ],
    ids=["create table", "create view", "copy", "two selects", "set"],
)
def test_sql_takes_one_select_and_no_other_statement(lake, tmp_path, query):
    with pytest.raises(InvalidInputError):
        lake.snapshot().sql(query.format(tmp_path / "stolen.csv"))
    assert not (tmp_path / "stolen.csv").exists()


def test_a_folder_with_quotes_blanks_and_glob_characters_is_a_lake_like_any_other(tmp_path):
    folder = tmp_path / "o'neill \"[a-z]* {x} ? é %20"
    lake = el.create(folder, "o")
    lake.append([event("0")])
    lake.append([event("1")])
    snapshot = el.open(folder).snapshot()
    assert ids(snapshot) == "01"
    assert snapshot.sql("select id from events order by sequence").polars()["id"].to_list() == [
        "0",
        "1",
    ]


def test_a_lake_named_by_a_relative_path_is_found_after_a_change_of_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lake = el.create("lake", "o")
    lake.append([event("0")])
    monkeypatch.chdir("/")
    assert ids(lake.snapshot()) == "0"
    assert el.open(f"file://{tmp_path}/lake").watermark == 1


def test_memory_lakes_are_apart_from_each_other():
    first, second = el.create("memory://", "o"), el.create("memory://", "o")
    first.append([event("0")])
    assert second.watermark == 0


def test_create_refuses_a_second_time(lake):
    with pytest.raises(AlreadyExistsError):
        el.create(lake.uri, "another")


def test_types_are_counted_most_frequent_first_then_by_name(lake):
    lake.append(
        [event("5", type="a"), event("6", type="a"), event("7", type="u"), event("8", type="b")]
    )
    assert list(lake.snapshot().types().items()) == [("t", 4), ("a", 2), ("u", 2), ("b", 1)]


def test_many_small_commits_are_one_history_to_both_engines(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    for n in range(40):
        lake.append([event(str(n), subject=None if n % 3 else "x", data=n)])
    snapshot = lake.snapshot(33)
    assert (
        snapshot.scan()
        .collect()
        .equals(snapshot.sql("select * from events order by sequence").polars())
    )
    assert snapshot.scan(subject="x").collect()["sequence"].to_list() == list(range(0, 33, 3))
    grouped = (
        snapshot.sql(
            "select count(distinct recorded_at) runs, max(sequence) last, sum(data::int) total from events"
        )
        .polars()
        .row(0)
    )
    assert grouped[1:] == (32, sum(range(33)))
    assert snapshot.root == naive.root(
        [event(str(n), data=str(n)) | ({} if n % 3 else {"subject": "x"}) for n in range(33)]
    )


@pytest.mark.thorough
def test_a_batch_over_many_row_groups_is_read_in_order(tmp_path):
    rows = 260_000
    numbers = pl.int_range(rows, eager=True)
    frame = pl.DataFrame({"id": numbers.cast(pl.String)}).with_columns(
        source=pl.lit("s"), type=pl.lit("t"), data=pl.col("id")
    )
    lake = el.create(tmp_path / "lake", "o")
    lake.append(frame.slice(0, 10))
    lake.append(frame.slice(10))
    snapshot = lake.snapshot(rows - 5)
    expected = (
        frame.head(rows - 5)
        .with_row_index("sequence")
        .with_columns(pl.col("sequence").cast(pl.Int64))
        .select("sequence", "data")
    )
    assert snapshot.scan(columns=["sequence", "data"]).collect().equals(expected)
    found = snapshot.sql("select sequence, data from events order by sequence").polars()
    assert found.equals(expected)
    assert (
        snapshot.sql("select count(*) from events where sequence::varchar <> data").polars().item()
        == 0
    )
    assert (
        snapshot.scan()
        .filter(pl.col("sequence").cast(pl.String) != pl.col("data"))
        .collect(engine="streaming")
        .height
        == 0
    )
    assert lake.verify(deep=True).ok


def test_cards_and_reprs_name_the_lake_the_watermark_and_the_root(lake):
    report = lake.verify(deep=True)
    receipt = lake.append([event("5")])
    shown = io.StringIO()
    for thing in (lake, lake.snapshot(), receipt, report, lake.append([])):
        card = thing.card()
        shown.write(
            " ".join(
                [
                    card.title,
                    *(f"{a} {b}" for a, b in card.facts),
                    *(" ".join(row) for row in card.rows),
                ]
            )
        )
    assert "lake bank.example/loans" in shown.getvalue()
    assert receipt.checkpoint.root in shown.getvalue()
    assert "verified: nothing is wrong" in shown.getvalue()
    assert "nothing appended" in shown.getvalue()
    assert repr(lake).startswith("Lake('bank.example/loans'")
    assert str(receipt.checkpoint) in repr(lake.snapshot())
