"""Tables become events by a mapping: each rule with an input that breaks it, and imports that are interrupted, repeated or changed."""

import errno
import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from uuid import UUID

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.errors import (
    ConflictError,
    InvalidEventsError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from eventlake.importing import import_file
from eventlake.importing.database import database, is_disk_full
from eventlake.importing.files import json_rows
from eventlake.importing.import_file import staged_events
from eventlake.importing.mapping import read_mapping
from eventlake.importing.problems import MOST_ALIKE
from eventlake.importing.staged import Staged
from eventlake.importing.tables import Tables
from eventlake.lake import Lake

LOANS = """\
loan_id,account,granted,amount,status,note
10,1,2024-01-05,1200.50,A,first
9,2,2024-01-05,80,B,
11,1,2024-02-01T12:00:00.25,0.07,A,"says ""hi""\\ you"
"""


TOML = """
source = "bank"
zone = "Europe/Prague"
producer = "bank"

[[events]]
type = "loan.granted"
id = "loan-{loan_id}"
time = "granted"
order = ["loan_id"]
data.amount = { column = "amount", type = "decimal(12, 2)" }
"""


def mapping(**settings):
    """One that fits ``LOANS``; settings of the event's own are given as ``event={…}``, members of the payload as ``data={…}``."""
    event = {
        "type": "loan.granted",
        "id": "loan-{loan_id}",
        "subject": "/account/{account}",
        "time": "granted",
        "order": [{"column": "loan_id", "type": "int64"}],
        "data": {
            "loan_id": {"column": "loan_id", "type": "int64"},
            "amount": {"column": "amount", "type": "decimal(12, 2)"},
            "status": {"column": "status", "codes": {"A": "finished", "B": "running"}},
            "note": "note",
        },
    }
    data = event["data"] | settings.pop("data", {})
    event |= {
        "data": {name: value for name, value in data.items() if value is not None}
    } | settings.pop("event", {})
    event = {name: value for name, value in event.items() if value is not None}
    return {"source": "bank", "zone": "Europe/Prague", "events": [event], **settings}


@pytest.fixture
def lake():
    return el.create("memory://", "bank.example/loans")


@pytest.fixture
def loans(tmp_path):
    return write(tmp_path / "loans.csv", LOANS)


@pytest.fixture
def folder(tmp_path, loans):
    write(tmp_path / "m.toml", TOML)
    el.create(tmp_path / "lake", "bank.example/loans")
    return tmp_path


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def rows(path, *lines, header="loan_id,account,granted,amount,status,note"):
    return write(path, "\n".join([header, *lines]) + "\n")


def events(lake):
    return lake.snapshot().scan(raw=True).collect()


def problems(lake, path, described):
    """What a dry run finds; the import itself must refuse the same and append nothing."""
    found = el.import_file(lake, path, described, dry_run=True)
    with pytest.raises(InvalidEventsError) as refused:
        el.import_file(lake, path, described)
    assert refused.value.problems == found.problems
    assert "in the input, nothing was appended" in refused.value.message
    assert not found.ok
    assert lake.watermark == 0
    return [str(problem) for problem in found.problems]


# Rows to events


def test_rows_become_events_in_order_of_time_then_keys(lake, loans):
    done = el.import_file(lake, loans, mapping())
    assert (done.events, done.appended, done.batches, done.checkpoint) == (3, 3, 1, lake.checkpoint)
    found = events(lake)
    assert found["id"].to_list() == ["loan-9", "loan-10", "loan-11"]
    assert found["source"].unique().to_list() == ["bank"]
    assert found["subject"].to_list() == ["/account/2", "/account/1", "/account/1"]
    assert [str(time) for time in found["time"]] == [
        "2024-01-04 23:00:00+00:00",
        "2024-01-04 23:00:00+00:00",
        "2024-02-01 11:00:00.250000+00:00",
    ]
    assert found["data"].to_list() == [
        '{"loan_id":9,"amount":80.00,"status":"running"}',
        '{"loan_id":10,"amount":1200.50,"status":"finished","note":"first"}',
        '{"loan_id":11,"amount":0.07,"status":"finished","note":"says \\"hi\\"\\\\ you"}',
    ]


def test_text_is_spelled_as_json_spells_it(lake, tmp_path):
    text = "".join(map(chr, range(1, 0x100))) + "\u2028😀"
    pl.DataFrame({"id": ["1"], "text": [text]}).write_parquet(tmp_path / "t.parquet")
    el.import_file(
        lake,
        tmp_path / "t.parquet",
        {"source": "s", "events": [{"type": "t", "id": "{id}", "data": {'té"xt': "text"}}]},
    )
    assert events(lake)["data"][0] == json.dumps(
        {'té"xt': text}, ensure_ascii=False, separators=(",", ":")
    )


def test_csv_parquet_ndjson_and_json_give_the_same_events(tmp_path):
    frame = pl.read_csv(LOANS.encode(), infer_schema=False)
    typed = frame.with_columns(
        pl.col("loan_id", "account").cast(pl.Int64), pl.col("amount").cast(pl.Decimal(12, 4))
    )
    typed.write_parquet(tmp_path / "loans.parquet")
    objects = [
        "{"
        + ", ".join(
            f'"{name}": {value if name in {"loan_id", "account", "amount"} else json.dumps(value)}'
            for name, value in row.items()
        )
        + "}"
        for row in frame.iter_rows(named=True)
    ]
    write(tmp_path / "loans.ndjson", "\n\n".join(objects))
    write(tmp_path / "loans.json", f"[{','.join(objects)}]")
    write(tmp_path / "loans.csv", LOANS)
    (tmp_path / "loans.csv.gz").write_bytes(gzip.compress(LOANS.encode()))
    (tmp_path / "loans.ndjson.gz").write_bytes(gzip.compress("\n".join(objects).encode()))
    write(tmp_path / "odd", LOANS.replace(",", ";"))
    roots = set()
    for name in ("csv", "csv.gz", "parquet", "ndjson", "ndjson.gz", "json"):
        other = el.create("memory://", "o")
        el.import_file(other, tmp_path / f"loans.{name}", mapping())
        roots.add(other.checkpoint)
    other = el.create("memory://", "o")
    el.import_file(
        other,
        tmp_path,
        mapping(tables={"loan": {"file": "odd", "format": "csv", "delimiter": ";"}}),
    )
    assert roots == {other.checkpoint}


def test_parquet_types_become_json_without_loss(lake, tmp_path):
    frame = pl.DataFrame({
        "id": [1], "day": [date(2024, 1, 5)], "local": [datetime(2024, 7, 1, 12)], "flag": [True], "rate": [0.1],
        "money": [Decimal("12345678901234567890.12")],
    }).with_columns(instant=pl.col("local").dt.replace_time_zone("UTC"))  # fmt: skip
    frame.write_parquet(tmp_path / "t.parquet")
    kinds = {
        "day": "date",
        "local": "timestamp",
        "instant": "timestamp",
        "flag": "bool",
        "rate": "float64",
        "money": "decimal(38, 2)",
    }
    data = {name: {"column": name, "type": kind} for name, kind in kinds.items()}
    event = {"type": "t", "id": "{id}-{day}-{flag}-{money}", "time": "instant", "data": data}
    el.import_file(
        lake, tmp_path / "t.parquet", {"source": "s", "zone": "Europe/Prague", "events": [event]}
    )
    assert events(lake)["id"][0] == "1-2024-01-05-true-12345678901234567890.12"
    assert events(lake)["data"][0] == (
        '{"day":"2024-01-05","local":"2024-07-01T10:00:00Z","instant":"2024-07-01T12:00:00Z","flag":true,"rate":0.1,"money":12345678901234567890.12}'
    )


def test_json_numbers_keep_their_digits(lake, tmp_path):
    path = write(
        tmp_path / "n.ndjson",
        '{"id": 1, "amount": 0.10000000000000000001, "inner": {"a": [1.50, null]}}\n{"id": 2, "late": "x"}\n',
    )
    data = {
        "amount": {"column": "amount", "type": "decimal(38, 20)"},
        "inner": {"column": "inner", "type": "json"},
        "late": "late",
    }
    el.import_file(
        lake,
        path,
        {"source": "s", "events": [{"type": "t", "id": "{id}", "order": ["id"], "data": data}]},
    )
    assert events(lake)["data"].to_list() == [
        '{"amount":0.10000000000000000001,"inner":{"a": [1.50, null]}}',
        '{"late":"x"}',
    ]


def test_a_row_gives_several_events_and_conditions_choose_rows(lake, loans):
    described = mapping()
    status = {
        "type": "loan.ended",
        "id": "end-{loan_id}",
        "time": "granted",
        "where": "status = 'A' -- ended",
        "order": ["loan_id"],
    }
    status |= {
        "causation_id": "loan-{loan_id}",
        "source": "bank/{status}",
        "data": {"why": {"template": "status {status}"}},
    }
    described["events"].append(status)
    el.import_file(lake, loans, described)
    found = events(lake)
    assert found["id"].to_list() == ["loan-9", "loan-10", "end-10", "loan-11", "end-11"]
    assert found["causation_id"].to_list() == [None, None, "loan-10", None, "loan-11"]
    assert found["source"].to_list() == ["bank", "bank", "bank/A", "bank", "bank/A"]
    assert found["data"][2] == '{"why":"status A"}'


def test_corrections_and_extensions_are_attributes_like_others(lake, tmp_path):
    path = write(tmp_path / "p.csv", "n,of,amount\n1,,5\n2,1,6\n")
    event = {
        "type": "paid",
        "id": "{n}",
        "subject": "/x",
        "order": ["n"],
        "corrects": {"template": "{of}", "required": False},
    }
    event |= {
        "data": {"amount": {"column": "amount", "type": "int64"}},
        "extensions": {"run": {"template": "r{n}"}},
    }
    el.import_file(lake, path, {"source": "s", "events": [event]})
    assert events(lake)["corrects"].to_list() == [None, "1"]
    assert events(lake)["extensions"].to_list() == ['{"run":"r1"}', '{"run":"r2"}']


def test_tables_of_a_folder_are_joined_by_queries(lake, tmp_path, loans):
    write(tmp_path / "owner.tsv", "account\towner\n1\tAnn\n2\tBob\n")
    tables = {
        "loan": {"file": "loans.csv"},
        "owner": {"file": "owner.tsv", "delimiter": "\t"},
        "owned": {"query": "SELECT loan.*, owner FROM loan JOIN owner USING (account); -- joined"},
    }
    el.import_file(
        lake, tmp_path, mapping(tables=tables, event={"from": "owned"}, data={"owner": "owner"})
    )
    assert [json.loads(data)["owner"] for data in events(lake)["data"]] == ["Bob", "Ann", "Ann"]


def test_the_rows_of_one_file_may_keep_their_order(lake, loans):
    el.import_file(lake, loans, mapping(order="file", event={"order": None}))
    assert events(lake)["id"].to_list() == ["loan-10", "loan-9", "loan-11"]


def test_the_rows_of_one_file_keep_their_order_over_chunks_batches_and_left_out_rows(
    lake, tmp_path, monkeypatch
):
    monkeypatch.setattr(import_file, "Tables", partial(Tables, chunk_rows=7))
    numbers = [number * 37 % 101 for number in range(100)]
    path = write(
        tmp_path / "loans.csv",
        "n,at\n" + "".join(f"{number},2024-01-{1 + number % 9:02}\n" for number in numbers),
    )
    block = {
        "type": "t",
        "id": "{n}",
        "time": "at",
        "where": "n::BIGINT % 3 > 0",
        "data": {"n": "n"},
    }
    el.import_file(
        lake,
        path,
        {"source": "bank", "zone": "UTC", "order": "file", "batch_events": 9, "events": [block]},
    )
    assert events(lake)["id"].to_list() == [str(number) for number in numbers if number % 3 > 0]


@pytest.mark.parametrize("order", [{}, {"order": "file"}], ids=["by time", "of the file"])
def test_an_import_keeps_no_table_of_its_input_beside_the_events(loans, order):
    settings = mapping(**order, event={"order": None} if order else {})
    with staged_events(loans, read_mapping(settings)) as (staged, problems):
        assert (staged.total, problems.all()) == (3, ())
        kept = staged._connection.execute(
            "FROM duckdb_tables() SELECT table_name ORDER BY table_name"
        ).fetchall()
    # The other two hold broken lines.
    assert kept == [("eventlake_rejects",), ("eventlake_rejects_scans",), ("events",)]


def test_numbers_are_written_as_the_mapping_says(lake, tmp_path):
    path = write(tmp_path / "n.csv", 'id;a;b;c\n1;"1.234.567,5";007;-0,00\n2;12,25;+5.000;-,5\n')
    comma = {"type": "decimal(12, 2)", "decimal_separator": ",", "thousands": "."}
    data = {
        "a": {"column": "a", **comma},
        "b": {"column": "b", "type": "int64", "quoted": True, "thousands": "."},
        "c": {"column": "c", **comma},
    }
    el.import_file(
        lake,
        path,
        {
            "source": "s",
            "csv": {"delimiter": ";"},
            "events": [{"type": "t", "id": "{id}", "order": ["id"], "data": data}],
        },
    )
    assert events(lake)["data"].to_list() == [
        '{"a":1234567.50,"b":"7","c":0.00}',
        '{"a":12.25,"b":"5000","c":-0.50}',
    ]


def test_keys_are_compared_by_what_they_mean(lake, tmp_path):
    path = write(
        tmp_path / "k.csv", "n,at\n10,2024-01-02\n-3,2024-01-02\n9,2024-01-01T23:00:00-05:00\n"
    )
    for key, order in (
        ({"column": "n", "type": "int64"}, ["-3", "9", "10"]),
        ("n", ["-3", "10", "9"]),
    ):
        other = el.create("memory://", "o")
        el.import_file(
            other, path, {"source": "s", "events": [{"type": "t", "id": "{n}", "order": [key]}]}
        )
        assert events(other)["id"].to_list() == order
    key = {"column": "at", "type": "timestamp", "zone": "UTC"}
    el.import_file(
        lake, path, {"source": "s", "events": [{"type": "t", "id": "{n}", "order": [key, "n"]}]}
    )
    assert events(lake)["id"].to_list() == ["-3", "10", "9"]


def test_files_without_a_header_line_and_in_other_encodings(lake, tmp_path):
    (tmp_path / "old.dat").write_bytes("1|Plzeň|\n2||x\n".encode("cp1250"))
    csv = {
        "file": "old.dat",
        "delimiter": "|",
        "encoding": "cp1250",
        "columns": ["id", "town", "note"],
        "empty": "text",
    }
    data = {"town": "town", "note": "note"}
    el.import_file(
        lake,
        tmp_path,
        {
            "source": "s",
            "tables": {"t": csv},
            "events": [{"type": "t", "id": "{id}", "order": ["id"], "data": data}],
        },
    )
    assert events(lake)["data"].to_list() == [
        '{"town":"Plzeň","note":""}',
        '{"town":"","note":"x"}',
    ]


@pytest.mark.parametrize(
    ("text", "csv"),
    [
        ('id;x\n1;a"b\n', {"quote": ""}),
        ("id;x\n1;'a\"b'\n", {"quote": "'"}),
        ('id;x\n1;"a\\"b"\n', {"escape": "\\"}),
    ],
    ids=["unquoted", "single quotes", "backslash"],
)
def test_quotes_and_escapes_are_as_the_mapping_says(lake, tmp_path, text, csv):
    path = write(tmp_path / "q.csv", text)
    el.import_file(
        lake,
        path,
        {
            "source": "s",
            "csv": {"delimiter": ";", **csv},
            "events": [{"type": "t", "id": "{id}", "data": {"x": "x"}}],
        },
    )
    assert json.loads(events(lake)["data"][0]) == {"x": 'a"b'}


# Times


@pytest.mark.parametrize(
    ("choice", "gap", "overlap"), [("earlier", "00:30", "00:30"), ("later", "01:30", "01:30")]
)
def test_gaps_and_overlaps_are_errors_or_chosen(lake, tmp_path, choice, gap, overlap):
    path = rows(
        tmp_path / "t.csv",
        "1,1,2024-03-31 02:30:00,1,A,",
        "2,1,2024-10-27 02:30:00,1,A,",
        "3,1,2024-10-27T02:30:00+01:00,1,A,",
    )
    first, second = problems(lake, path, mapping())
    assert first.startswith(
        "source, row 0, time (column granted): expected a time that the clocks of Europe/Prague show, this one is skipped"
    )
    assert second.startswith(
        "source, row 1, time (column granted): expected a time that the clocks of Europe/Prague show once"
    )
    assert (
        len(problems(lake, path, mapping(gap=choice)))
        == len(problems(lake, path, mapping(overlap=choice)))
        == 1
    )
    el.import_file(
        lake, path, mapping(gap=choice, event={"time": {"column": "granted", "overlap": choice}})
    )
    found = dict(events(lake).select("id", "time").iter_rows())
    assert found["loan-1"].isoformat() == f"2024-03-31T{gap}:00+00:00"
    assert found["loan-2"].isoformat() == f"2024-10-27T{overlap}:00+00:00"
    assert found["loan-3"].isoformat() == "2024-10-27T01:30:00+00:00"


def test_a_local_time_needs_a_zone(lake, loans):
    described = mapping()
    del described["zone"]
    assert all(
        "expected a time with an offset, or a zone in the mapping" in line
        for line in problems(lake, loans, described)
    )


@pytest.mark.parametrize(
    ("text", "how", "expected"),
    [
        ("930101", {"format": "%y%m%d", "century": 1900}, "1993-01-01T00:00:00Z"),
        ("930101", {"format": "%y%m%d", "century": 2000}, "2093-01-01T00:00:00Z"),
        ("000229", {"format": "%y%m%d", "century": 1900}, "a time of the format"),
        ("31.12.2024 14:05", {"format": "%d.%m.%Y %H:%M"}, "2024-12-31T14:05:00Z"),
        ("31.12.2024", {"format": "%d.%m.%Y %H:%M"}, "a time of the format"),
        ("2024111", {"format": "%Y%m%d"}, "a time of the format"),
        ("24-01-01", {"format": "%F"}, "a time of the format"),
        ("2024-06-30 23:59:60", {"format": "%F %T"}, "a time of the format"),
        ("1/5/2024 9:15 PM", {"format": "%-m/%-d/%Y %-I:%M %p"}, "2024-01-05T21:15:00Z"),
        ("05-Jan-2024", {"format": "%d-%b-%Y"}, "2024-01-05T00:00:00Z"),
        ("2024-01-01 10:00:00.5", {"format": "%F %T%.f"}, "2024-01-01T10:00:00.500000Z"),
        (
            "2024-01-01 10:00:00.1234567",
            {"format": "%F %T%.f"},
            "expected microseconds at the finest",
        ),
        ("2024-01-01 10:00 +0200", {"format": "%Y-%m-%d %H:%M %z"}, "2024-01-01T08:00:00Z"),
        ("1700000000", {"format": "unix"}, "2023-11-14T22:13:20Z"),
        ("1700000000123", {"format": "unix_ms"}, "2023-11-14T22:13:20.123000Z"),
        ("soon", {"format": "unix"}, "expected a whole number"),
        ("2024-02-30", {}, "expected an ISO 8601"),
        ("2024-01-01T10:00:00.1234567Z", {}, "expected microseconds at the finest"),
        ("2024-01-01T10:00:00.1234560Z", {}, "2024-01-01T10:00:00.123456Z"),
        ("0001-01-01T00:00:00+05:00", {}, "expected an instant in the years 1 to 9999"),
        ("", {}, "expected a time, the row has none"),
        ("2024-06-30T23:59:60Z", {}, "expected an ISO 8601"),
        ("1677-01-01 00:00:00.5", {"format": "%F %T%.f"}, "1677-01-01T00:00:00.500000Z"),
        (
            "9999-12-31 23:59:59.1234567",
            {"format": "%F %T%.f"},
            "expected microseconds at the finest",
        ),
        ("9999-12-31 23:59:59.123456000", {"format": "%F %T%.f"}, "9999-12-31T23:59:59.123456Z"),
        ("2024-07-01 12:00", {"zone": "Europe/Prague"}, "2024-07-01T10:00:00Z"),
        ("2150-07-01 12:00", {"zone": "Europe/Prague"}, "2150-07-01T10:00:00Z"),
        ("2150-01-01 12:00", {"zone": "Europe/Prague"}, "2150-01-01T11:00:00Z"),
        ("9999-12-31 00:00", {"zone": "Europe/Prague"}, "9999-12-30T23:00:00Z"),
        (
            "9999-12-31 23:00",
            {"zone": "America/New_York"},
            "expected an instant in the years 1 to 9999",
        ),
        ("2150-03-29 02:30", {"zone": "Europe/Prague"}, "this one is skipped"),
        ("2150-03-29 02:30", {"zone": "Europe/Prague", "gap": "earlier"}, "2150-03-29T00:30:00Z"),
        ("2150-03-29 02:30", {"zone": "Europe/Prague", "gap": "later"}, "2150-03-29T01:30:00Z"),
        ("2150-10-25 02:30", {"zone": "Europe/Prague"}, "this one is shown twice"),
        ("2150-10-25 02:30", {"zone": "Europe/Prague", "overlap": "later"}, "2150-10-25T01:30:00Z"),
    ],
)
def test_times_are_read_as_the_mapping_says(lake, tmp_path, text, how, expected):
    path = rows(tmp_path / "t.csv", f"1,1,{text},1,A,")
    described = mapping(zone="UTC", event={"time": {"column": "granted", **how}})
    if expected.endswith("Z"):
        el.import_file(lake, path, described)
        assert events(lake)["time"][0] == datetime.fromisoformat(expected)
    else:
        (line,) = problems(lake, path, described)
        assert expected in line


def test_recorded_is_now_the_time_or_a_column(loans, tmp_path):
    def recorded(**settings):
        other = el.create("memory://", "o")
        el.import_file(other, loans, mapping(**settings))
        return (
            events(other)["recorded_at"],
            events(other)["time"],
            other.log()[-1].commit.recorded_at,
        )

    found, times, commit = recorded()
    assert found.dt.epoch("us").unique().to_list() == [commit]
    found, times, _ = recorded(recorded="time")
    assert found.to_list() == times.to_list()
    write(
        loans, "loan_id,account,granted,amount,status,note\n1,1,2024-01-05,1,A,2024-01-06 08:00\n"
    )
    found, _, _ = recorded(recorded={"column": "note", "zone": "UTC"})
    assert [str(one) for one in found] == ["2024-01-06 08:00:00+00:00"]


def test_a_recorded_clock_must_not_step_back_from_batch_to_batch(lake, tmp_path):
    path = rows(
        tmp_path / "t.csv", "1,1,2024-01-01,1,A,2024-01-09", "2,1,2024-01-02,1,A,2024-01-08"
    )
    (line,) = problems(lake, path, mapping(recorded={"column": "note"}, batch_events=1))
    assert line.startswith("source, row 1, recorded_at: expected non-decreasing instants")


# Rows that cannot be events


def test_every_problem_is_named_by_table_row_and_column(lake, tmp_path):
    lines = ["1,1,2024-01-01,1.005,A,", ",1,2024-01-01,12x,C,", "3,1,soon,12345678901,A,"]
    found = problems(
        lake,
        rows(tmp_path / "t.csv", *lines),
        mapping(data={"note": {"column": "note", "required": True}}),
    )
    assert found == [
        "source, row 0, data.amount (column amount): expected decimal(12, 2), no digit lost, found '1.005'",
        "source, row 0, data.note (column note): required, but the row has no value",
        "source, row 1, data.amount (column amount): expected decimal(12, 2), no digit lost, found '12x'",
        "source, row 1, data.note (column note): required, but the row has no value",
        "source, row 1, data.status (column status): expected one of the codes 'A', 'B', found 'C'",
        "source, row 1, id (column loan_id): expected a value, the row has none",
        "source, row 1, order (column loan_id): expected a value to order by, the row has none",
        "source, row 2, data.amount (column amount): expected decimal(12, 2), no digit lost, found '12345678901'",
        "source, row 2, data.note (column note): required, but the row has no value",
        "source, row 2, time (column granted): "
        "expected an ISO 8601 date or time like 2026-01-31 or 2026-01-31T12:00:00+01:00, found 'soon'",
    ]


@pytest.mark.parametrize(
    ("value", "how", "expected"),
    [
        ("1.5", {"type": "int64"}, "expected int64"),
        ("9223372036854775808", {"type": "int64"}, "expected int64"),
        ("yes", {"type": "bool"}, "expected true or false"),
        ("1e999", {"type": "float64"}, "expected a finite number"),
        ("NaN", {"type": "float64"}, "expected a finite number"),
        ("1.5", {"type": "decimal(4, 1)", "decimal_separator": ";"}, "no digit lost"),
        (
            "1.23.4",
            {"type": "decimal(9, 1)", "thousands": ".", "decimal_separator": ","},
            "no digit lost",
        ),
        ("1.23", {"type": "int64", "thousands": "."}, "expected int64"),
        ("1.5", {"type": "decimal(9, 1)", "decimal_separator": ","}, "no digit lost"),
        (".", {"type": "decimal(4, 1)"}, "no digit lost"),
        ("1e2", {"type": "decimal(4, 1)"}, "no digit lost"),
        ("1;x", {"type": "json"}, "expected JSON text"),
        ('"1,""x"":2"', {"type": "json"}, "expected JSON text"),
        ("2024-01-01 10:00", {"type": "date"}, "expected a date without a time of day"),
        ("2024-13-01", {"type": "date"}, "expected an ISO 8601"),
        ("2024-10-27 02:30", {"type": "timestamp"}, "shown twice"),
    ],
)
def test_a_value_that_is_not_of_its_type_is_a_problem(lake, tmp_path, value, how, expected):
    (line,) = problems(
        lake,
        rows(tmp_path / "t.csv", f"1,1,2024-01-01,1,A,{value}"),
        mapping(data={"note": {"column": "note", **how}}),
    )
    assert line.startswith("source, row 0, data.note (column note): ")
    assert expected in line


def test_decimals_are_not_made_from_doubles(lake, tmp_path):
    pl.DataFrame({"id": [1], "amount": [0.1]}).write_parquet(tmp_path / "t.parquet")
    for kind in ("decimal(12, 2)", "int64"):
        data = {"amount": {"column": "amount", "type": kind}}
        (line,) = problems(
            lake,
            tmp_path / "t.parquet",
            {"source": "s", "events": [{"type": "t", "id": "{id}", "data": data}]},
        )
        assert "found a column of Float64" in line


def test_what_is_many_times_wrong_is_counted(lake, tmp_path):
    path = rows(tmp_path / "t.csv", *[f"{n},1,soon,1,A," for n in range(MOST_ALIKE + 50)])
    found = problems(lake, path, mapping())
    assert len(found) == MOST_ALIKE + 1
    assert found[-1].endswith("50 rows more")
    dry = el.import_file(lake, path, mapping(), dry_run=True)
    assert (dry.problem_count, len(dry.problems)) == (MOST_ALIKE + 50, MOST_ALIKE + 1)
    assert f"{MOST_ALIKE + 50} problems" in dry.card().title
    with pytest.raises(InvalidEventsError, match=f"^{MOST_ALIKE + 50} problems") as refused:
        el.import_file(lake, path, mapping())
    assert refused.value.count == MOST_ALIKE + 50


def test_an_order_that_is_not_total_is_refused(lake, loans):
    (line,) = problems(
        lake, loans, mapping(event={"order": ["status"], "time": {"template": "2024-01-01"}})
    )
    assert line == (
        "source, row 2, order of [[events]] 1: expected a total order, but by time, status nothing says "
        "which of this row and row 0 comes first"
    )


def test_ids_that_stand_twice_in_the_input_are_found_across_batches(lake, loans):
    found = problems(lake, loans, mapping(batch_events=1, event={"id": "of-{account}"}))
    assert [line.partition(":")[0] for line in found] == ["source, row 0, id", "source, row 2, id"]


def test_event_rules_and_schemas_are_asked_before_anything_is_appended(lake, loans):
    lake.register(
        "loan.granted",
        {"type": "object", "properties": {"status": {"type": "string", "enum": ["finished"]}}},
    )
    (line,) = [
        str(p) for p in el.import_file(lake, loans, mapping(batch_events=1), dry_run=True).problems
    ]
    assert line.startswith("source, row 1, data.status: expected utf8 (one of 'finished')")
    with pytest.raises(InvalidEventsError):
        el.import_file(lake, loans, mapping(batch_events=1))
    (line,) = problems(
        el.create("memory://", "o"),
        loans,
        mapping(event={"where": "note = 'first'", "type": "events"}),
    )
    assert (
        line == "source, row 0, type: this name is a table in SQL; expected another, found 'events'"
    )


def test_broken_lines_of_a_csv_file_are_named(lake, tmp_path):
    path = rows(
        tmp_path / "t.csv",
        "1,1,2024-01-01,1,A,",
        "2,1",
        "3,1,2024-01-01,1,A,,,more",
        '4,1,2024-01-01,1,A,"open',
    )
    with pytest.raises(InvalidEventsError) as refused:
        el.import_file(lake, path, mapping())
    assert [problem.field for problem in refused.value.problems] == ["line 3", "line 4", "line 5"]
    assert "Expected Number of Columns: 6 Found: 2" in str(refused.value.problems[0])
    assert lake.watermark == 0


# Mappings that are wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sauce": "x"}, "top level: unknown setting 'sauce'"),
        ({"zone": "Europe/Pragu"}, "there is no time zone 'Europe/Pragu'"),
        ({"gap": "shift"}, "expected gap as one of 'error', 'earlier', 'later', found 'shift'"),
        ({"recorded": "yesterday"}, "expected recorded as 'now', 'time'"),
        (
            {"recorded": {"column": "granted", "formt": "x"}},
            "top level recorded: unknown setting 'formt'",
        ),
        ({"order": ["loan_id"]}, "expected order as 'file'"),
        ({"order": "file"}, "without an order of their own"),
        ({"source": "a\0b"}, "mapping, source: expected text without NUL"),
        (
            {"source": "\ud800"},
            "mapping, source: expected text without NUL characters and lone surrogates",
        ),
        ({"data": {"\udc00": "note"}}, "expected text without NUL characters and lone surrogates"),
        ({"csv": {"encoding": "klin gon"}}, "there is no encoding"),
        (
            {"tables": {"eventlake_rejects": {"file": "x"}}},
            "expected tables of other names than eventlake_",
        ),
        (
            {"data": {"amount": {"column": "amount", "type": "decimal(999999,0)"}}},
            "expected type as one of",
        ),
        (
            {"data": {"amount": {"column": "amount", "type": "decimal(9,2)", "thousands": "e"}}},
            "a character that no number has, found 'e'",
        ),
        (
            {
                "data": {
                    "amount": {"column": "amount", "type": "decimal(9,2)", "decimal_separator": "-"}
                }
            },
            "a character that no number has",
        ),
        ({"events": []}, r"expected at least one \[\[events\]\]"),
        ({"batch_events": 0}, "expected batch_events as a whole number from 1"),
        ({"csv": {"delimiter": "::"}}, "expected delimiter as one character"),
        ({"csv": {"encoding": "klingon"}}, "there is no encoding 'klingon'"),
        ({"tables": {"t": {"file": "x", "query": "y"}}}, "expected either file or query"),
        (
            {"tables": {"t": {"file": "/etc/passwd"}}},
            "expected file as a path below the folder that is imported, found '/etc/passwd'",
        ),
        (
            {"tables": {"t": {"file": "a/../../b.csv"}}},
            "expected file as a path below the folder that is imported",
        ),
        ({"tables": {"t": {"query": "y", "delimiter": ";"}}}, "unknown setting 'delimiter'"),
        ({"event": {"kind": "x"}}, r"\[\[events\]\] 1: unknown setting 'kind'"),
        ({"event": {"from": "loans"}}, "there is no table 'loans'"),
        ({"event": {"id": None}}, "id is required"),
        ({"event": {"id": "loan-{loan_id"}}, "unpaired brace"),
        ({"event": {"id": {"template": "x", "required": False}}}, "always required"),
        ({"event": {"time": None}, "recorded": "time"}, "recorded = 'time' needs a time"),
        ({"event": {"time": {"format": "%Y"}}}, "expected either column or template"),
        (
            {"event": {"time": {"column": "granted", "format": "%y%m%d"}}},
            "years of two digits need a century",
        ),
        (
            {"event": {"time": {"column": "granted", "format": "%F %T %Z"}}},
            "format '%F %T %Z': '%Z' cannot be read",
        ),
        ({"event": {"time": {"column": "granted", "format": "%H:%M"}}}, "it names no whole date"),
        (
            {"event": {"time": {"column": "granted", "format": "%F %H"}}},
            "it names no whole time of day",
        ),
        ({"event": {"time": {"column": "granted", "century": 1900}}}, "for a format with %y"),
        (
            {"event": {"order": [{"column": "loan_id", "type": "float64"}]}},
            "expected type as one of utf8, int64, date, timestamp, found",
        ),
        (
            {"data": {"x": {"column": "note", "type": "decimal"}}},
            "data.x: expected type as one of bool, .* found 'decimal'",
        ),
        ({"data": {"x": {"column": "note", "type": "decimal(40, 2)"}}}, "at most 38 digits"),
        (
            {"data": {"x": {"column": "note", "quoted": True}}},
            "quoted is for decimal, float64, int64, not for utf8",
        ),
        (
            {"data": {"x": {"column": "note", "codes": {"A": 1}}}},
            "expected codes as a table of text",
        ),
        (
            {"data": {"x": {"column": "note", "type": "decimal(9, 1)", "thousands": "."}}},
            "decimal_separator and thousands to differ",
        ),
        ({"data": {"x": 1}}, "expected a table of settings, found 1"),
    ],
    ids=str,
)
def test_a_mapping_that_is_wrong_says_where(lake, loans, change, message):
    with pytest.raises(InvalidInputError, match=message):
        el.import_file(lake, loans, mapping(**change))
    assert lake.watermark == 0


def test_a_missing_column_is_named_with_those_that_there_are(lake, loans):
    with pytest.raises(
        InvalidInputError, match="table source has no column 'lone_id', 'Note'"
    ) as refused:
        el.import_file(lake, loans, mapping(event={"id": "{lone_id}"}, data={"note": "Note"}))
    assert refused.value.hint == "its columns are loan_id, account, granted, amount, status, note."


def test_files_that_are_not_there_are_named(lake, tmp_path, loans):
    with pytest.raises(NotFoundError, match="there is no file or folder"):
        el.import_file(lake, tmp_path / "no.csv", mapping())
    with pytest.raises(NotFoundError, match=r"table loan: there is no file .*no\.csv"):
        el.import_file(lake, tmp_path, mapping(tables={"loan": {"file": "no.csv"}}))
    with pytest.raises(NotFoundError, match="there is no mapping"):
        el.import_file(lake, loans, tmp_path / "no.toml")
    with pytest.raises(InvalidInputError, match="is a folder: its files need names"):
        el.import_file(lake, tmp_path, mapping())


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
def test_a_file_of_a_mapping_is_a_regular_file_and_others_are_not_waited_for(lake, tmp_path, kind):
    path = tmp_path / "loan.csv"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(
        InvalidInputError, match=r"table loan: expected .*loan\.csv as a regular file"
    ):
        el.import_file(lake, tmp_path, mapping(tables={"loan": {"file": "loan.csv"}}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.bin", b"x", "the name of .* does not determine its format"),
        ("t.parquet", b"PAR1", "cannot be read as parquet"),
        ("t.ndjson", b'{"a": 1}\n[2]\n', "line 2 of .*expected a JSON object"),
        ("t.ndjson", b'{"a": 1, "a": 2}', "line 1 of .*expected a JSON object .*[Dd]uplicate"),
        ("t.ndjson", b'{"a": "\xff"}', "line 1 of .*expected a JSON object"),
        ("t.json", b'{"a": 1}', "expected .* as a JSON array of objects"),
        ("t.csv", b"a,A\n1,2\n", "found a, A more than once|found A, a more than once"),
        ("t.csv", b"", "found the columns"),
        ("t.csv", "a,ž\n1,ž\n".encode("cp1250"), "is not utf-8"),
        ("t.csv.gz", b"a,b\n1,2\n", "cannot be read"),
    ],
)
def test_files_that_are_something_else_are_refused(lake, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=message):
        el.import_file(lake, tmp_path / name, mapping())


def test_queries_and_conditions_that_fail_say_so(lake, tmp_path, loans):
    loan = {"loan": {"file": "loans.csv"}}
    for query, message in (
        ("SELECT * FROM lone", "table q: DuckDB refused its query"),
        ("SELECT 1; SELECT 2", "expected one SELECT"),
        ("DROP TABLE loan", "expected one SELECT"),
        ("SELECT error('twice') FROM loan", "twice"),
        ("SELECT *, random() AS r FROM loan", "random is not the same every time"),
        (
            "SELECT *, age(granted::TIMESTAMP) AS r FROM loan",
            "age of one argument is not the same every time",
        ),
        ("FROM loan WHERE granted < current_date", "current_date is not the same every time"),
        ("FROM loan TABLESAMPLE 50%", "a sample is not the same every time"),
        ("FROM query('FROM loan')", "query is not the same every time"),
        ("SELECT loan_id, account AS loan_id FROM loan", "loan_id more than once"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            el.import_file(
                lake, tmp_path, mapping(tables=loan | {"q": {"query": query}}, event={"from": "q"})
            )
    with pytest.raises(InvalidInputError, match="DuckDB refused where = 'stat = 1'"):
        el.import_file(lake, loans, mapping(event={"where": "stat = 1"}))


@pytest.mark.parametrize(
    "condition",
    [
        "true); COPY (SELECT 1) TO 'made.csv'; SELECT (true",
        "true); INSERT INTO source VALUES ('99', '1', '2024-01-01', '1', 'A', ''); SELECT (true",
        "false) OR (true",
        "true FROM source",
        "true LIMIT 1",
        "true, true",
        "true AS x",
        "random() < 0.5",
        "now() > granted::TIMESTAMP",
        "EXISTS (FROM source TABLESAMPLE 1 ROWS)",
        "(SELECT true",
        "true /*",
        "",
    ],
)
def test_a_condition_is_one_expression_that_is_the_same_every_time(
    lake, loans, condition, monkeypatch
):
    monkeypatch.chdir(loans.parent)
    for dry_run in (True, False):
        with pytest.raises(InvalidInputError, match="where"):
            el.import_file(lake, loans, mapping(event={"where": condition}), dry_run=dry_run)
    assert [path.name for path in loans.parent.iterdir()] == ["loans.csv"]
    assert lake.watermark == 0


def test_corrections_are_looked_at_before_the_first_batch_lands(lake, tmp_path):
    event = {
        "type": "paid",
        "id": "{n}",
        "subject": "/{who}",
        "order": ["n"],
        "corrects": {"template": "{of}", "required": False},
    }
    described = {"source": "s", "events": [event], "batch_events": 1, "producer": "p"}
    lake.append(
        [
            {"id": "old", "source": "s", "type": "paid", "subject": "/a"},
            {"id": "other", "source": "s", "type": "paid"},
        ]
    )
    path = write(
        tmp_path / "p.csv",
        "n,who,of\n1,a,\n2,a,1\n3,a,old\n4,a,none\n5,a,6\n6,a,\n7,b,1\n8,a,other\n9,a,9\n",
    )
    with pytest.raises(InvalidEventsError) as refused:
        el.import_file(lake, path, described)
    assert [
        (problem.row, problem.field, problem.message.partition(" of source")[0])
        for problem in refused.value.problems
    ] == [
        (
            4,
            "corrects",
            "expected an earlier event; the one it names comes later in the order of the input",
        ),
        (6, "corrects", "expected an event of the same subject, the one it names has /a"),
        (
            8,
            "corrects",
            "expected an earlier event; the one it names comes later in the order of the input",
        ),
    ]
    write(path, "n,who,of\n1,a,\n2,a,1\n3,a,old\n4,a,none\n8,a,other\n")
    with pytest.raises(InvalidEventsError) as refused:
        el.import_file(lake, path, described)
    assert [
        (problem.row, problem.field, problem.message.partition(" of source")[0])
        for problem in refused.value.problems
    ] == [
        (3, "corrects", "expected the id of an earlier event"),
        (4, "corrects", "expected an event of the same subject ('/a'), found None"),
    ]
    assert lake.watermark == 2
    write(path, "n,who,of\n1,a,\n2,a,1\n3,a,old\n")
    assert el.import_file(lake, path, described).appended == 3
    assert el.import_file(lake, path, described).appended == 0


def test_instants_that_no_lake_takes_are_seen_before_the_first_batch_lands(lake, tmp_path):
    path = rows(
        tmp_path / "t.csv", "1,1,2024-01-01,1,A,2024-01-09", "2,1,2024-01-02,1,A,2999-01-08"
    )
    described = mapping(recorded={"column": "note"}, batch_events=1)
    with pytest.raises(
        InvalidEventsError,
        match="source, row 1, recorded_at: expected nothing more than five minutes after now",
    ):
        el.import_file(lake, path, described)
    assert not el.import_file(lake, path, described, dry_run=True).ok
    assert lake.watermark == 0
    lake.append([{"id": "head", "source": "s", "type": "t"}])
    rows(path, "1,1,2024-01-01,1,A,2024-01-09", "2,1,2024-01-02,1,A,2024-01-10")
    with pytest.raises(
        InvalidEventsError, match="source, row 0, recorded_at: expected nothing before the head's"
    ):
        el.import_file(lake, path, described)
    assert lake.watermark == 1


def test_what_another_writer_did_meanwhile_is_told_by_row_and_batch(lake, tmp_path, monkeypatch):
    path = rows(tmp_path / "t.csv", "1,1,2024-01-01,1,A,", "2,1,2024-01-02,1,A,")
    described = mapping(batch_events=1)
    given = lake.append

    def append(batch, **settings):
        receipt = given(batch, **settings)
        if receipt.start == 0:
            given([{"id": "loan-2", "source": "bank", "type": "t"}])
        return receipt

    monkeypatch.setattr(lake, "append", append)
    with pytest.raises(
        InvalidEventsError, match="in the batch at position 1, nothing of it was appended"
    ) as refused:
        el.import_file(lake, path, described)
    (problem,) = refused.value.problems
    assert (problem.table, problem.row, problem.field) == ("source", 1, "id")
    assert "the 1 batches before stay" in refused.value.hint


def test_two_imports_at_once_each_count_their_own(lake, tmp_path, monkeypatch):
    path = rows(tmp_path / "t.csv", "1,1,2024-01-01,1,A,", "2,1,2024-01-02,1,A,")
    described, given, inner = mapping(batch_events=1, producer="p"), lake.append, []

    def append(batch, **settings):
        monkeypatch.setattr(lake, "append", given)
        inner.append(el.import_file(lake, path, described).appended)
        return given(batch, **settings)

    monkeypatch.setattr(lake, "append", append)
    assert el.import_file(lake, path, described).appended == 0
    assert (inner, lake.watermark) == ([2], 2)


@pytest.mark.parametrize("separator", [".", "'", "\u00a0", "\u202f", " "])
def test_groups_of_thousands_are_groups(lake, tmp_path, separator):
    data = {
        "amount": {
            "column": "amount",
            "type": "decimal(12, 3)",
            "thousands": separator,
            "decimal_separator": ",",
        }
    }
    path = rows(tmp_path / "t.csv", f'1,1,2024-01-01,"12{separator}345{separator}678,5",A,')
    el.import_file(lake, path, mapping(data=data))
    assert json.loads(events(lake)["data"][0], parse_float=str)["amount"] == "12345678.500"
    other = el.create("memory://", "o")
    rows(path, f"1,1,2024-01-01,0{separator}123,A,", f"2,1,2024-01-02,12{separator}34,A,")
    assert len(problems(other, path, mapping(data=data))) == 2


def test_a_full_folder_for_temporary_files_is_named(lake, loans, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("eventlake.importing.import_file.Staged.arrange", full)
    with pytest.raises(StorageError, match=r"the folder for temporary files, .*, is full"):
        el.import_file(lake, loans, mapping())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "Out of Memory Error: failed to offload data block of size 32.0 KiB (960.0 KiB/976.5 KiB used).\n"
            "This limit was set by the 'max_temp_directory_size' setting.",
            r"the folder for temporary files, .*, is full",
        ),
        (
            "Out of Memory Error: failed to allocate data of size 16.0 MiB (16.0 MiB/28.6 MiB used)\n\nPossible solutions:",
            r"expected enough memory for the import of .*loans\.csv: Out of Memory Error: failed to allocate data of size 16\.0 MiB",
        ),
    ],
    ids=["disk", "memory"],
)
def test_a_full_disk_and_a_lack_of_memory_are_told_apart(lake, loans, monkeypatch, said, expected):
    def out_of_memory(*_):
        raise duckdb.OutOfMemoryException(said)

    monkeypatch.setattr("eventlake.importing.import_file.Staged.arrange", out_of_memory)
    with pytest.raises(StorageError, match=expected):
        el.import_file(lake, loans, mapping())


def test_what_duckdb_says_of_a_lack_of_memory_and_of_a_full_disk_is_known(tmp_path):
    for memory, disk, full in (("30MB", "1MB", True), ("30MB", "10GB", False)):
        with duckdb.connect(
            config={
                "memory_limit": memory,
                "max_temp_directory_size": disk,
                "temp_directory": str(tmp_path / "t"),
            }
        ) as one:
            query = (
                "CREATE TABLE t AS SELECT range::VARCHAR || repeat('x', 300) FROM range(500_000)"
                if full
                else "SELECT list(v) FROM (SELECT repeat('x', 1_000_000) AS v FROM range(100))"
            )
            with pytest.raises(duckdb.OutOfMemoryException) as caught:
                one.execute(query).fetchall()
        assert is_disk_full(caught.value) == full


@pytest.mark.parametrize("form", ["csv", "parquet", "ndjson", "json", "query"])
def test_text_of_an_input_is_handled_in_chunks_of_bounded_bytes(tmp_path, form):
    notes = (
        ["x" * 3_000] * 10 + ["y" * 25_000] + [None] * 20 + ["é" * 2_000] * 5
    )  # 4,000 bytes each
    table = pa.table(
        {
            "id": [str(number) for number in range(len(notes))],
            "time": ["2026-01-01"] * len(notes),
            "note": notes,
        }
    )
    path = tmp_path / f"notes.{'parquet' if form == 'query' else form}"
    if form in {"parquet", "query"}:
        pq.write_table(table, path)
    elif form == "csv":
        pl.DataFrame(table).write_csv(path)
    elif form == "ndjson":
        path.write_text(
            "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in table.to_pylist())
        )
    else:
        path.write_text(json.dumps(table.to_pylist(), ensure_ascii=False))
    tables = {"notes": {"file": path.name}}
    if form == "query":
        tables = {
            "notes": {"query": "FROM read_parquet(getvariable('folder') || '/notes.parquet')"}
        }
    event = {
        "from": "notes",
        "type": "note.made",
        "source": "bank",
        "id": "n-{id}",
        "time": "time",
        "order": ["id"],
        "data": {"note": "note"},
    }
    made = read_mapping({"producer": "x", "zone": "UTC", "tables": tables, "events": [event]})
    with database(tmp_path, made.tables) as (connection, scratch):
        tables = Tables(connection, scratch, tmp_path, made.tables, chunk_bytes=10_000)
        chunks = [chunk["note"].to_list() for chunk in tables.rows(made.events[0])]
    _assert_bounded(chunks, notes)
    if "json" in form:
        parts = json_rows(made.tables[0], path, lines=form == "ndjson", chunk_bytes=10_000)
        _assert_bounded([part["note"].to_pylist() for part in parts], notes)


def _assert_bounded(chunks, notes):
    assert [note for chunk in chunks for note in chunk] == notes
    assert [
        chunk for chunk in chunks if sum(len((note or "").encode()) for note in chunk) > 10_000
    ] == [["y" * 25_000]]


def test_a_damaged_gz_file_is_refused(lake, tmp_path):
    data = bytearray(gzip.compress(LOANS.encode()))
    data[-6] ^= 1  # of the checksum
    (tmp_path / "loans.csv.gz").write_bytes(data)
    with pytest.raises(InvalidInputError, match="CRC"):
        el.import_file(lake, tmp_path / "loans.csv.gz", mapping())


def test_column_names_hold_no_nul(lake, tmp_path):
    write(tmp_path / "n.ndjson", '{"id": 1, "v\\u0000": 2}\n')
    write(tmp_path / "n.csv", "id,v\0\n1,2\n")
    for name in ("n.ndjson", "n.csv"):
        with pytest.raises(
            InvalidInputError,
            match=r"table source: expected columns with names of their own|gives no names",
        ):
            el.import_file(
                lake, tmp_path / name, {"source": "s", "events": [{"type": "t", "id": "{id}"}]}
            )


def test_types_that_no_event_can_hold_are_refused_by_name(lake, tmp_path, loans):
    tables = {"loan": {"file": "loans.csv"}}
    tables["odd"] = {
        "query": f"SELECT loan_id, [1] AS list, INTERVAL 1 DAY AS span, '{UUID(int=7)}'::UUID AS u, 'x'::ENUM ('x') AS e FROM loan"
    }
    event = {"from": "odd", "type": "t", "id": "{loan_id}-{u}-{e}", "order": ["loan_id"]}
    el.import_file(lake, tmp_path, {"source": "s", "tables": tables, "events": [event]})
    assert all(name.endswith("-x") for name in events(lake)["id"])
    with pytest.raises(
        InvalidInputError,
        match=r"types that no event can hold: list \(INTEGER\[\]\), span \(INTERVAL\)",
    ):
        el.import_file(
            lake,
            tmp_path,
            {
                "source": "s",
                "tables": tables,
                "events": [event | {"data": {"a": "list", "b": "span"}}],
            },
        )


def test_dates_beyond_the_calendar_are_no_text(lake, tmp_path, loans):
    odd = "SELECT loan_id, d, t FROM loan, (VALUES ('infinity'::DATE, '-infinity'::TIMESTAMP)) v(d, t) LIMIT 1"
    tables = {"loan": {"file": "loans.csv"}, "odd": {"query": odd}}
    event = {"from": "odd", "type": "t", "id": "{loan_id}", "data": {"d": "d", "t": "t"}}
    lines = problems(lake, tmp_path, {"source": "s", "tables": tables, "events": [event]})
    assert ["expected an instant in the years 1 to 9999 UTC" in line for line in lines] == [
        True,
        True,
    ]


@pytest.mark.parametrize(
    "value",
    ["'infinity'::TIMESTAMP", "'-infinity'::TIMESTAMPTZ", "'infinity'::DATE", "DATE '10000-01-01'"],
)
def test_times_beyond_the_calendar_are_problems(lake, tmp_path, loans, value):
    tables = {
        "loan": {"file": "loans.csv"},
        "odd": {"query": f"SELECT loan_id, {value} AS at FROM loan LIMIT 1"},
    }
    event = {"from": "odd", "type": "t", "id": "{loan_id}", "time": "at"}
    (line,) = problems(
        lake,
        tmp_path,
        {"source": "s", "zone": "Europe/Prague", "tables": tables, "events": [event]},
    )
    assert "expected an instant in the years 1 to 9999 UTC" in line


def test_names_of_tables_and_columns_may_be_any(lake, tmp_path):
    write(tmp_path / "x*[1].csv", 'id,"a""b",select\n1,2,3\n')
    tables = {
        'reject "errors"': {"file": "x*[1].csv"},
        "reject_errors": {"query": 'FROM "reject ""errors"""'},
    }
    event = {
        "from": "reject_errors",
        "type": "t",
        "id": "{id}",
        "data": {"x": 'a"b', "y": "select"},
    }
    el.import_file(lake, tmp_path, {"source": "s", "tables": tables, "events": [event]})
    assert events(lake)["data"].to_list() == ['{"x":"2","y":"3"}']
    with pytest.raises(InvalidInputError, match="differ in more than case"):
        el.import_file(
            lake,
            tmp_path,
            {
                "source": "s",
                "tables": {name: {"file": "x*[1].csv"} for name in "aA"},
                "events": [event],
            },
        )


# Again, and after a crash


def test_an_import_that_was_interrupted_goes_on_where_it_ended(lake, loans, monkeypatch):
    whole = el.create("memory://", "bank.example/loans")
    el.import_file(whole, loans, mapping(batch_events=1))
    append = Lake.append

    def failing(self, events, **more):
        if more["position"] == 2:
            raise StorageError("the disk is full")
        return append(self, events, **more)

    monkeypatch.setattr(Lake, "append", failing)
    with pytest.raises(StorageError):
        el.import_file(lake, loans, mapping(batch_events=1))
    assert lake.watermark == 2
    monkeypatch.setattr(Lake, "append", append)
    lake.append([{"id": "between", "source": "other", "type": "t"}])
    done = el.import_file(lake, loans, mapping(batch_events=1))
    assert (done.appended, done.events, lake.watermark) == (1, 3, 4)
    assert "appended 1 event, 2 in the lake already" in done.card().title
    assert events(lake).filter(pl.col("source") == "bank")["data"].equals(events(whole)["data"])


KILLED = """
import os, sys
import eventlake as el
append = el.Lake.append
def dying(self, events, **more):
    return append(self, events, **more) if more["position"] < 2 else os._exit(9)
el.Lake.append = dying
el.import_file(el.open(sys.argv[1]), sys.argv[2], sys.argv[3])
"""


def test_a_killed_import_gives_the_history_of_one_that_was_not(folder, loans):
    (folder / "m.toml").write_text("batch_events = 1\n" + TOML, encoding="utf-8")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, folder / "lake", loans, folder / "m.toml"], check=False
    )
    assert killed.returncode == 9
    lake = el.open(folder / "lake")
    assert lake.watermark == 2
    assert el.import_file(lake, loans, folder / "m.toml").appended == 1
    whole = el.create("memory://", "bank.example/loans")
    el.import_file(whole, loans, folder / "m.toml")
    assert lake.checkpoint == whole.checkpoint
    assert lake.verify(deep=True).ok


def test_an_import_that_is_repeated_appends_nothing(lake, loans):
    first = el.import_file(lake, loans, mapping(recorded="time", batch_events=2))
    lake.append([{"id": "later", "source": "other", "type": "t"}])
    again = el.import_file(lake, loans, mapping(recorded="time", batch_events=2))
    assert (first.appended, again.appended, lake.watermark) == (3, 0, 4)
    assert again.checkpoint == first.checkpoint
    assert again.card().title == "nothing appended: 3 events in the lake already"


def test_a_changed_input_is_refused_under_the_same_producer(lake, loans):
    el.import_file(lake, loans, mapping())
    write(loans, LOANS.replace("1200.50", "1200.51"))
    with pytest.raises(ConflictError, match="in the lake already, with other events") as refused:
        el.import_file(lake, loans, mapping())
    assert "another producer name" in refused.value.hint
    assert lake.watermark == 3


def test_an_input_that_lost_batches_is_refused(lake, loans):
    el.import_file(lake, loans, mapping(batch_events=1))
    write(loans, LOANS.replace('11,1,2024-02-01T12:00:00.25,0.07,A,"says ""hi""\\ you"\n', ""))
    with pytest.raises(ConflictError, match="has appended 3 batches, and the input gives 2"):
        el.import_file(lake, loans, mapping(batch_events=1))


def test_ids_that_the_lake_knows_are_found_before_anything_is_appended(lake, loans):
    lake.append([{"id": "loan-11", "source": "bank", "type": "t"}])
    with pytest.raises(
        InvalidEventsError, match=r"source, row 2, id: .source, id. is in the lake already"
    ):
        el.import_file(lake, loans, mapping(batch_events=1))
    assert lake.watermark == 1


def test_the_producer_is_named_by_the_call_the_mapping_or_the_input(lake, loans, tmp_path):
    assert el.import_file(lake, loans, mapping(), producer="mine", dry_run=True).producer == "mine"
    assert (
        el.import_file(lake, loans, mapping(producer="theirs"), dry_run=True).producer == "theirs"
    )
    assert el.import_file(lake, loans, mapping(), dry_run=True).producer == "bank mapping loans.csv"
    more = rows(tmp_path / "more.csv", "12,1,2024-03-01,1,A,")
    el.import_file(lake, loans, mapping())
    assert el.import_file(lake, more, mapping()).appended == 1


def test_a_dry_run_appends_nothing_and_shows_what_it_would(lake, loans):
    done = el.import_file(lake, loans, mapping(), dry_run=True)
    assert (done.ok, done.events, done.appended, lake.watermark) == (True, 3, 3, 0)
    el.import_file(lake, loans, mapping())
    shown = events(lake).select(done.first.columns)
    assert done.first.equals(shown)
    assert done.card().title == "would append 3 events"
    assert "loan-9" in done._repr_html_()
    assert (
        el.import_file(lake, loans, mapping(), dry_run=True).card().title
        == "would append 0 events, 3 in the lake already"
    )


def test_check_says_what_append_would_refuse_and_appends_nothing(lake):
    assert lake.check([{"id": "1", "source": "s", "type": "t"}]) == []
    assert [
        str(problem)
        for problem in lake.check(
            [{"id": "1", "source": "s", "type": "events"}, {"id": "", "source": "s", "type": "t"}]
        )
    ] == [
        "row 0, field type: this name is a table in SQL; expected another, found 'events'",
        "row 1, field id: expected at least one character",
    ]
    strict = el.create("memory://", "o", strict=True)
    (problem,) = strict.check([{"id": "1", "source": "s", "type": "t"}])
    assert "this lake is strict" in problem.message
    assert lake.watermark == strict.watermark == 0


# The command line


def test_the_command_imports_and_says_what_it_did(run, folder, loans):
    arguments = ("import", folder / "lake", loans, "--map", folder / "m.toml")
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert "appended 3 events" in out
    code, out, _ = run(*arguments, "--json")
    document = json.loads(out)
    assert code == 0
    assert (
        document["producer"],
        document["events"],
        document["appended"],
        document["dry_run"],
    ) == ("bank", 3, 0, False)
    write(loans, LOANS.replace("1200.50", "1"))
    code, out, err = run(*arguments, "--json")
    assert (code, out, json.loads(err)["error"]) == (1, "", "conflict")
    code, _, err = run(*arguments, "--json", "--producer", "other")
    assert (code, json.loads(err)["error"]) == (1, "invalid-events")


def test_a_dry_run_on_the_command_line_shows_events_and_problems(run, folder, loans):
    arguments = ("import", folder / "lake", loans, "--map", folder / "m.toml", "--dry-run")
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert "would append 3 events" in out
    assert '{"amount":1200.50}' in out
    write(loans, LOANS.replace("1200.50", "1200.505"))
    code, out, err = run(*arguments)
    assert (code, err) == (1, "")
    assert "would append nothing: 1 problem" in out
    assert "expected decimal(12, 2), no digit lost" in out
    assert "loan-9" in out
    code, out, _ = run(*arguments, "--json")
    document = json.loads(out)
    assert code == 1
    assert document["problems"] == [
        {
            "table": "source",
            "row": 0,
            "field": "data.amount (column amount)",
            "message": "expected decimal(12, 2), no digit lost",
            "found": "1200.505",
            "rows": 1,
        }
    ]
    assert '"data":{"amount":80.00}' in document["first"][0]
    assert el.open(folder / "lake").watermark == 0


def test_an_import_that_is_refused_lists_the_problems(run, folder, loans):
    write(loans, LOANS.replace("1200.50", "1200.505"))
    code, out, err = run("import", folder / "lake", loans, "--map", folder / "m.toml", "--json")
    assert (code, out) == (1, "")
    assert json.loads(err)["problems"][0]["table"] == "source"


@pytest.mark.parametrize(
    ("path", "mapping", "complaint"),
    [
        ("cut.csv.gz", None, "cannot be"),
        ("a\x00b.csv", None, "is not a path"),
        ("~nobody-of-this-name/x.csv", None, "is not a path"),
        ("rows.csv", "a\x00b.toml", "is not a path"),
        ("rows.csv", 7, "expected a mapping as the path"),
        ("rows.csv", "deep.toml", "is not TOML"),
    ],
)
def test_what_is_no_path_or_cut_short_is_refused_in_our_words(tmp_path, path, mapping, complaint):
    plain = {
        "source": "s",
        "events": [{"type": "t", "id": "{id}", "subject": "/x", "order": ["id"]}],
    }
    (tmp_path / "rows.csv").write_text("id\n1\n", encoding="utf-8")
    (tmp_path / "cut.csv.gz").write_bytes(
        gzip.compress(b"id\n" + b"".join(b"%d\n" % n for n in range(5_000)))[:-40]
    )
    (tmp_path / "deep.toml").write_text("a = " + "[" * 5_000, encoding="utf-8")
    lake = el.create("memory://", "o")
    given = path if path.startswith("~") else str(tmp_path / path)
    with pytest.raises(InvalidInputError) as caught:
        el.import_file(
            lake,
            given,
            plain
            if mapping is None
            else str(tmp_path / mapping)
            if isinstance(mapping, str)
            else mapping,
        )
    assert complaint in str(caught.value)
    assert lake.watermark == 0


# Instants of nanoseconds


FINE_US = 1_767_225_600_123_456
FAR = datetime(3000, 1, 1, tzinfo=UTC)
KINDS = [
    pa.timestamp("s", "UTC"),
    pa.timestamp("ms", "UTC"),
    pa.timestamp("us", "UTC"),
    pa.timestamp("ns", "UTC"),
    pa.timestamp("ns", "Europe/Prague"),
    pa.timestamp("ns"),
    pa.timestamp("us"),
    "INT96",
]
AT_EVENT = {
    "type": "t",
    "id": "r-{k}-{at}",
    "time": "at",
    "data": {"at": {"column": "at", "type": "timestamp"}},
}


def instants_file(path, kind, micros, nanos=0):
    """A Parquet file with one row of another day before."""
    legacy = kind == "INT96"
    kind = pa.timestamp("ns") if legacy else kind
    step = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1}[kind.unit]
    values = [0, micros * 1000 + nanos] if kind.unit == "ns" else [0, micros // step]
    table = pa.table({"k": ["0", "1"], "at": pa.array(values, pa.int64()).cast(kind)})
    pq.write_table(table, path, use_deprecated_int96_timestamps=legacy)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_parquet_instants_of_whole_microseconds_are_imported_exactly(lake, tmp_path, kind):
    micros = (
        FINE_US
        if kind == "INT96" or kind.unit in {"us", "ns"}
        else FINE_US // 1_000_000 * 1_000_000
    )
    instants_file(tmp_path / "t.parquet", kind, micros)
    el.import_file(
        lake, tmp_path / "t.parquet", {"source": "s", "zone": "UTC", "events": [AT_EVENT]}
    )
    row = lake.snapshot().scan(raw=True).collect().row(1, named=True)
    text = "2026-01-01T00:00:00.123456" if micros == FINE_US else "2026-01-01T00:00:00"
    assert row["time"] == datetime.fromisoformat(f"{text}+00:00")
    assert row["data"] == f'{{"at":"{text}Z"}}'
    assert row["id"] == f"r-1-{text}{'Z' if kind != 'INT96' and kind.tz else ''}"


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind == "INT96" or kind.unit == "ns"], ids=str
)
@pytest.mark.parametrize("nanos", [1, 999])
def test_parquet_instants_finer_than_a_microsecond_are_refused_by_row(lake, tmp_path, kind, nanos):
    instants_file(tmp_path / "t.parquet", kind, FINE_US, nanos)
    with pytest.raises(
        InvalidInputError,
        match=r"microsecond.* in row 1|row 1, .*expected microseconds at the finest",
    ):
        el.import_file(
            lake, tmp_path / "t.parquet", {"source": "s", "zone": "UTC", "events": [AT_EVENT]}
        )
    assert lake.watermark == 0


def test_nanoseconds_are_refused_in_dates_and_in_text_made_of_instants(lake, tmp_path):
    instants_file(tmp_path / "t.parquet", pa.timestamp("ns"), 86_400_000_000, 1)
    data = {"day": {"column": "at", "type": "date"}}
    found = problems(
        lake,
        tmp_path / "t.parquet",
        {"source": "s", "events": [{"type": "t", "id": "{k}", "subject": "{at}", "data": data}]},
    )
    assert [line.split(", found")[0] for line in found] == [
        "source, row 1, data.day (column at): expected microseconds at the finest",
        "source, row 1, subject (column at): expected microseconds at the finest",
    ]


def test_int96_beyond_the_range_of_nanoseconds_is_imported_exactly(lake, tmp_path):
    table = pa.table({"k": ["0"], "at": pa.array([FAR.replace(tzinfo=None)], pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "t.parquet", use_deprecated_int96_timestamps=True)
    el.import_file(
        lake, tmp_path / "t.parquet", {"source": "s", "zone": "UTC", "events": [AT_EVENT]}
    )
    assert lake.snapshot().scan().collect()["time"].to_list() == [FAR]


def test_int96_finer_than_a_microsecond_in_a_parquet_file_of_events_is_refused(lake, tmp_path):
    columns = {name: ["1"] for name in ("id", "source", "type")}
    table = pa.table({**columns, "time": pa.array([FINE_US * 1000 + 1], pa.timestamp("ns", "UTC"))})
    pq.write_table(table, tmp_path / "e.parquet", use_deprecated_int96_timestamps=True)
    with pytest.raises(
        InvalidInputError, match=r"column time .* finer than a microsecond in row 0"
    ):
        lake.append(tmp_path / "e.parquet")
    assert lake.watermark == 0


def test_known_ids_are_placed_by_one_query_a_batch_named_by_row_and_counted(
    lake, tmp_path, monkeypatch
):
    total, batch = 1_000, 400
    (tmp_path / "t.csv").write_text("k\n" + "".join(f"{number}\n" for number in range(total)))
    rules = {
        "source": "s",
        "order": "file",
        "batch_events": batch,
        "events": [{"type": "t", "id": "{k}"}],
    }
    el.import_file(lake, tmp_path / "t.csv", rules)
    queries = []
    read = Staged._read
    monkeypatch.setattr(
        Staged,
        "_read",
        lambda self, columns, start, stop: (
            queries.append(columns) or read(self, columns, start, stop)
        ),
    )
    found = el.import_file(
        lake, tmp_path / "t.csv", rules | {"producer": "again"}, dry_run=True
    ).problems
    assert queries.count("block, row") == 3
    assert [(one.row, one.message) for one in found[:-1]] == [
        (row, f"(source, id) is in the lake already, at sequence {row:,}")
        for row in range(MOST_ALIKE)
    ]
    assert (
        found[-1].message
        == f"(source, id) is in the lake already, at sequence …: {total - MOST_ALIKE} rows more"
    )


@pytest.mark.parametrize(
    "query",
    [
        """SELECT id, "at" FROM read_parquet(getvariable('folder') || '/t.parquet')""",
        """SELECT id, "at" FROM parquet_scan([getvariable('folder') || '/*.parquet'])""",
        """SELECT id, "at"::DATE AS "at" FROM (SELECT * FROM read_parquet(getvariable('folder') || '/t.parquet'))""",
        """SELECT id, "at" FROM '{folder}/t.parquet'""",
    ],
)
def test_int96_that_a_query_reads_is_imported_whole_or_refused(tmp_path, query):
    event = {
        "from": "q",
        "type": "t",
        "id": "{id}",
        "time": {"column": "at", "zone": "UTC"},
        "order": ["id"],
    }
    settings = {
        "source": "s",
        "tables": {"q": {"query": query.replace("{folder}", str(tmp_path))}},
        "events": [event],
    }
    whole = 1_767_225_600_000_001_000
    for nanoseconds in (whole, whole + 1):
        table = pa.table({"id": [1], "at": pa.array([nanoseconds], pa.timestamp("ns"))})
        pq.write_table(table, tmp_path / "t.parquet", use_deprecated_int96_timestamps=True)
        lake = el.create("memory://", "o")
        if nanoseconds == whole:
            assert el.import_file(lake, tmp_path, settings).appended == 1
            continue
        with pytest.raises(
            InvalidInputError, match=r"instant \(INT96\) that is finer than a microsecond in row 0"
        ):
            el.import_file(lake, tmp_path, settings)


def test_broken_lines_of_a_csv_file_are_named_up_to_a_bound_and_counted(lake, tmp_path):
    lines = [
        "loan_id,account,granted,amount,status,note",
        *(f"{number},1,2024-01-05,1,A,x,more" for number in range(5000)),
    ]
    path = write(tmp_path / "loans.csv", "\n".join(lines) + "\n")
    with pytest.raises(InvalidEventsError) as caught:
        el.import_file(lake, path, mapping())
    assert len(caught.value.problems) == MOST_ALIKE + 1
    assert str(caught.value.problems[0]).startswith(
        "source, line 2: Expected Number of Columns: 6 Found: 7"
    )
    assert str(caught.value.problems[-1]) == "source, lines: broken: 4,900 lines more"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("SELECT id, who FROM empty WHERE amount > '5'", []),
        ("SELECT e.id, upper(e.who) AS who FROM empty AS e", []),
        ("SELECT * FROM empty", []),
        ("SELECT id, o.who FROM empty JOIN other AS o USING (id)", []),
        (
            "SELECT o.id, coalesce(e.who, o.who) AS who FROM other AS o LEFT JOIN empty AS e ON e.id = o.id",
            ["1"],
        ),
        ("SELECT id, who FROM other UNION ALL SELECT id, who FROM empty", ["1"]),
        ("SELECT count(*)::VARCHAR AS id, 'none' AS who FROM empty", ["0"]),
    ],
)
def test_a_query_over_a_file_without_rows_has_the_rows_that_it_should(lake, tmp_path, query, ids):
    write(tmp_path / "empty.ndjson", "\n")
    write(tmp_path / "other.ndjson", '{"id": "1", "who": "a"}\n')
    tables = {
        "empty": {"file": "empty.ndjson"},
        "other": {"file": "other.ndjson"},
        "q": {"query": query},
    }
    event = {
        "from": "q",
        "type": "t",
        "id": "{id}",
        "where": "who <> ''",
        "order": ["id"],
        "data": {"who": "who"},
    }
    imported = el.import_file(lake, tmp_path, {"source": "s", "tables": tables, "events": [event]})
    assert imported.appended == len(ids)
    assert lake.snapshot().scan().collect()["id"].to_list() == ids
