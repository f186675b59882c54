"""Which events are behind a row, and behind one value of it; and what reproduction says of a difference."""

import json
from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest

import eventlake as el
from eventlake.cli.application import main
from eventlake.errors import CorruptionError, InvalidInputError, NotFoundError
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.projections.sql import SqlProjections
from tests.support.dataset_fixtures import cell, event, make_lake, sql

TOTALS = """
SELECT subject, count(*) AS n, max(sequence) FILTER (WHERE type = 'payment.missed') AS missed,
    sum(json_extract_string(data, '$.amount')::DECIMAL(18, 2)) AS amount, bool_or(type = 'payment.received') AS paid
FROM events GROUP BY subject
"""
COUNTED = """
import eventlake as el

@el.projection(name="counted", key=["subject"])
def counted(snapshot):
    return snapshot.scan(["subject"]).group_by("subject").len()
"""
SPINE = pl.DataFrame(
    {"loan": ["/loan/0", "/loan/1", "/loan/0", "/loan/9"], "until": [4, 30, 30, 30]}
)
SEEN = """
SELECT s.spine_row, count(e.id) AS n, max(e.sequence) AS last
FROM spine s LEFT JOIN events e ON e.subject = s.loan AND e.sequence < s.until GROUP BY s.spine_row
"""


@pytest.fixture
def lake(tmp_path):
    return make_lake(tmp_path / "lake", ((0, 12), (12, 18)))


def of(lake, subject):
    """Sequences by event type of one subject."""
    rows = (
        lake.snapshot()
        .scan(["subject", "type", "sequence"])
        .filter(pl.col("subject") == subject)
        .collect()
        .rows()
    )
    return {
        kind: sorted(sequence for _, other, sequence in rows if other == kind)
        for kind in {row[1] for row in rows}
    }


def test_the_events_behind_a_row_are_those_without_which_it_would_be_another(lake):
    dataset = lake.build(sql(TOTALS, key=("subject",), by="subject"))
    there = of(lake, "/loan/2")
    found = dataset.explain("/loan/2")
    assert found.events["sequence"].to_list() == sorted(
        sequence for sequences in there.values() for sequence in sequences
    )
    assert found.behind["sequence"].to_list() == found.events["sequence"].to_list()
    assert (found.entity, found.by, found.row["n"]) == ("/loan/2", "subject", found.events.height)
    assert found.card().title == f"{found.events.height} events behind the row"
    assert "without it these change" in found._repr_html_()


def test_the_events_behind_a_value(lake):
    dataset = lake.build(sql(TOTALS, key=("subject",), by="subject"))
    there = of(lake, "/loan/2")
    missed = lake.explain(dataset.manifest_hash, {"subject": "/loan/2"}, "missed")
    assert missed.behind["sequence"].to_list() == there["payment.missed"][-1:]
    assert missed.card().title == f"1 event behind missed {missed.row['missed']}"
    # Several payments say the same: no single one is behind it.
    assert len(there["payment.received"]) > 1
    assert lake.explain(dataset.manifest_hash, "/loan/2", "paid").behind.height == 0
    amounts = dict(
        lake.snapshot()
        .scan()
        .filter(pl.col("subject") == "/loan/2")
        .select("sequence", "data")
        .collect()
        .rows()
    )
    counting = [
        sequence for sequence, data in amounts.items() if Decimal(json.loads(data)["amount"])
    ]
    assert lake.explain(dataset.manifest_hash, "/loan/2", "amount").behind[
        "sequence"
    ].to_list() == sorted(counting)


def test_a_row_of_a_spine_is_made_of_what_it_could_see(lake):
    dataset = lake.build(sql(SEEN, key=("spine_row",), by="subject", spine_by="loan"), spine=SPINE)
    early, late = dataset.explain(0), dataset.explain("2")
    assert early.behind["sequence"].to_list() == [
        sequence for sequence in late.events["sequence"] if sequence < 4
    ]
    assert late.behind.height == late.events.height > early.behind.height
    assert dataset.explain(3).events.height == 0


def test_what_was_not_declared_by_an_entity_is_tried_by_subject(lake):
    dataset = lake.build(sql(TOTALS, key=("subject",)))
    assert dataset.explain("/loan/3").behind.height == sum(map(len, of(lake, "/loan/3").values()))
    every = lake.build(sql("SELECT type AS k, count(*) AS n FROM events GROUP BY type"))
    with pytest.raises(InvalidInputError, match=r"cannot be found.*do it by subject"):
        every.explain("payment.missed")
    with pytest.raises(InvalidInputError, match="cannot be found: it is a exact python projection"):
        lake.build(cell(COUNTED)["counted"]).explain("/loan/3")
    nameless = lake.build(sql("SELECT max(sequence) AS k FROM events GROUP BY subject"))
    with pytest.raises(InvalidInputError, match="no column identifies its subject"):
        nameless.explain(29)


def test_a_row_is_explained_as_it_was_after_more_events_compaction_and_collection(lake):
    dataset = lake.build(sql(TOTALS, key=("subject",), by="subject"))
    before = dataset.explain("/loan/2").events
    lake.append([event(100, subject="/loan/2")])
    lake.compact()
    lake.gc(older_than=timedelta(0), dry_run=False)
    assert el.open(lake.uri).dataset(dataset.manifest_hash).explain("/loan/2").events.equals(before)


def test_keys_and_columns_that_are_none_are_refused(lake):
    dataset = lake.build(
        sql("SELECT subject, type, count(*) AS n FROM events GROUP BY ALL", key=("subject", "type"))
    )
    assert dataset.explain(("/loan/2", "payment.missed")).row["type"] == "payment.missed"
    with pytest.raises(
        NotFoundError, match="there is no row with the key subject '/loan/2', type 'x'"
    ):
        dataset.explain(("/loan/2", "x"))
    for key in ("/loan/2", {"subjekt": "/loan/2"}, {}, ("a", "b", "c")):
        with pytest.raises(
            InvalidInputError,
            match="expected a key as values of subject, type, or a dict of columns and values",
        ):
            dataset.explain(key)
    assert dataset.polars().filter(pl.col("subject") == "/loan/2").height > 1
    with pytest.raises(InvalidInputError, match="rows have subject '/loan/2'"):
        dataset.explain({"subject": "/loan/2"})
    assert (
        dataset.explain({"type": "payment.missed", "subject": "/loan/2"}).row
        == dataset.explain(("/loan/2", "payment.missed")).row
    )
    with pytest.raises(InvalidInputError, match="has no column 'amount'"):
        dataset.explain(("/loan/2", "payment.missed"), "amount")


WORTHS = "SELECT subject, count(*) AS n, 1.10::DECIMAL(18, 2) AS worth, max(time) AS last, NULL::VARCHAR AS note FROM events GROUP BY subject"


@pytest.mark.parametrize("worth", ["1.1", "1.10", 1.1, Decimal("1.1"), Decimal("1.100")], ids=repr)
def test_a_row_may_be_named_by_any_columns(lake, worth):
    dataset = lake.build(sql(WORTHS, key=("subject",), by="subject"))
    assert dataset.explain({"worth": worth, "note": None, "subject": "/loan/2"}).entity == "/loan/2"


@pytest.mark.parametrize(
    "key",
    [
        {"worth": Decimal("NaN")},
        {"worth": float("inf")},
        {"n": {"a": 1}},
        {"n": True},
        {"n": [1]},
        {"last": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_values_that_a_column_cannot_have_are_refused(lake, key):
    dataset = lake.build(sql(WORTHS, key=("subject",), by="subject"))
    with pytest.raises((InvalidInputError, NotFoundError)):
        dataset.explain(key)


def test_what_the_history_does_not_make_again_is_not_explained(lake, monkeypatch):
    dataset = lake.build(sql(TOTALS, key=("subject",), by="subject"))
    monkeypatch.setattr(
        "eventlake.projections.on_duckdb.by_entity.OneEntity.rows",
        lambda self, without=None: dataset.arrow().slice(0, 1),
    )
    with pytest.raises(CorruptionError, match="do not reproduce the stored row"):
        dataset.explain("/loan/2")


def test_the_command_explains(lake, capsys):
    dataset = lake.build(sql(TOTALS, key=("subject",), by="subject"))
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "explain",
                lake.uri,
                dataset.manifest_hash[:12],
                "/loan/2",
                "--column",
                "missed",
                "--json",
            ]
        )
    assert not ended.value.code
    found = json.loads(capsys.readouterr().out)
    assert [one["sequence"] for one in found["events"]] == [found["row"]["missed"]]
    assert (found["by"], found["entity"], found["column"]) == ("subject", "/loan/2", "missed")


# What a reproduction says


def test_reproduction_says_what_differs_and_how_to_go_back(lake, monkeypatch, tmp_path, capsys):
    dataset = lake.build(sql(TOTALS, key=("subject",)))
    same = lake.reproduce(dataset.manifest_hash)
    assert (same.identical, same.causes) == (True, ())
    versions = dataset.provenance["versions"]
    assert f"duckdb=={versions['duckdb']}" in same.command
    assert f"eventlake=={versions['eventlake']}" in same.command
    real = duckdb_runner.run
    monkeypatch.setattr(
        duckdb_runner, "run", lambda *arguments, **named: real(*arguments, **named).slice(1)
    )
    other = lake.reproduce(dataset.manifest_hash)
    assert (other.identical, other.causes) == (False, ("data",))
    monkeypatch.setattr(SqlProjections, "engine_version", lambda self: "9.9.9")
    newer = lake.reproduce(dataset.manifest_hash)
    assert newer.causes == ("environment",)
    assert any("9.9.9 now" in difference for difference in newer.differences)
    assert ("environment then", newer.command) in newer.card().facts


def test_a_lock_alone_reproduces(lake, tmp_path, capsys):
    folder = tmp_path / "counts"
    folder.mkdir()
    (folder / "dataset.toml").write_text('name = "counts"\nsql = "q.sql"\nkey = ["subject"]\n')
    (folder / "q.sql").write_text("SELECT subject, count(*) AS n FROM events GROUP BY subject")
    for arguments in (
        ["build", str(folder), "--lake", lake.uri],
        ["reproduce", lake.uri, str(folder)],
    ):
        if arguments[0] == "reproduce":
            (folder / "q.sql").unlink()
            (folder / "dataset.toml").unlink()
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        assert not ended.value.code
        found = json.loads(capsys.readouterr().out)
    assert found["identical"] is True
