"""The demo: a simulated lender whose training set is the same everywhere, sees no future, and can be explained in plain Python."""

import io
import json
import subprocess
import sys
from collections import defaultdict
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.cli.application import main
from eventlake.columns.hashing.content import content_hash
from eventlake.datasets.definitions.lock import Lock
from eventlake.demo.lender import LOANS_MAX, simulate
from eventlake.demo.run_demo import ORIGIN, DemoResult, definition, demo_lake, run_demo
from eventlake.errors import AlreadyExistsError
from eventlake.projections.computation import Computation
from eventlake.projections.on_duckdb import run as duckdb_runner
from eventlake.projections.on_polars import run as polars_runner
from eventlake.projections.rows import declared_types, finish
from tests.support.canonical_events import canonical_sha256

EVENTS = 39_809
EVENTS_SHA256 = "6ee260e611a84941e8375685de5014cf6fe7b8d3df1fb171d93d42675fffba02"
SMALL = 150
COLUMNS = [
    "sequence",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "recorded_at",
    "corrects",
    "correction",
    "data",
]
HORIZON, GRACE = timedelta(days=90), timedelta(days=30)


@pytest.fixture(scope="module")
def table():
    return simulate()


@pytest.fixture(scope="module")
def small():
    """A smaller lender's lake in memory, its spine, and the dataset's rows."""
    lake = el.create("memory://", origin=ORIGIN)
    lake.append(simulate(SMALL, seed=11))
    spine = pl.DataFrame(definition().spine(lake.snapshot().history))
    rows = lake.build(definition()).polars()
    return lake, spine, rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "lake"
    return folder, run_demo(folder)


# The simulator


def test_the_simulated_history_never_changes(table):
    assert table.num_rows == EVENTS
    assert canonical_sha256(table) == EVENTS_SHA256


@pytest.mark.thorough
def test_the_simulated_history_is_the_same_in_another_process_with_another_hash_seed():
    code = """
from eventlake.demo.lender import simulate
from tests.support.canonical_events import canonical_sha256
print(canonical_sha256(simulate()))
"""
    environment = {
        "PYTHONHASHSEED": "1",
        "TZ": "Asia/Tokyo",
        "LC_ALL": "C",
        "PATH": "/usr/bin:/bin",
    }
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=root,
    )
    assert done.stdout.strip() == EVENTS_SHA256


def test_another_seed_is_another_history_and_a_seed_is_one_history():
    assert simulate(20, seed=1).equals(simulate(20, seed=1))
    assert not simulate(20, seed=1).equals(simulate(20, seed=2))


def test_the_simulated_table_keeps_its_promises(table):
    frame = pl.DataFrame(table)
    assert frame.drop("corrects", "correction").null_count().sum_horizontal().item() == 0
    assert frame["id"].is_unique().all()
    assert (frame["time"] <= frame["recorded_at"]).all()
    assert frame["recorded_at"].is_sorted()
    assert all(isinstance(json.loads(text), dict) for text in frame["data"])


def test_the_bank_is_late_and_wrong_now_and_then_and_puts_it_right(table):
    frame = pl.DataFrame(table)
    assert frame.filter(pl.col("recorded_at") - pl.col("time") > pl.duration(days=3)).height > 300
    corrections = frame.filter(pl.col("corrects").is_not_null())
    first = frame.select(
        "source", "subject", "type", "time", "data", corrects="id", first_recorded_at="recorded_at"
    )
    pairs = corrections.join(first, on=["source", "subject", "type", "time", "corrects"])
    assert pairs.height == corrections.height
    assert (pairs["recorded_at"] > pairs["first_recorded_at"]).all()
    changed = (
        pairs.group_by("correction")
        .agg((pl.col("data") != pl.col("data_right")).all(), pl.len())
        .sort("correction")
        .rows()
    )
    assert changed == [("replace", True, 173), ("retract", False, 103)]


@pytest.mark.parametrize("loans", [-1, LOANS_MAX])
def test_an_impossible_number_of_loans_is_refused(loans):
    with pytest.raises(ValueError, match="expected 0 to"):
        simulate(loans)


def test_no_loans_make_an_empty_history_of_the_same_columns(table):
    assert simulate(0).num_rows == 0
    assert simulate(0).schema == table.schema


# Both engines, locked and reproduced


def test_the_demo_ends_in_one_content_hash(finished):
    _, result = finished
    assert result.identical
    assert result.content_hash == result.content_hash_polars == result.content_hash_reproduced


def test_the_demo_makes_what_its_lock_in_git_pins(finished):
    _, result = finished
    lock = Lock.read(definition().folder)
    assert result.checkpoint == str(lock.checkpoint)
    assert (result.content_hash, result.rows) == (lock.content_hash, lock.rows)
    assert lock.checkpoint.watermark == EVENTS


def test_the_demo_lake_verifies_and_holds_both_datasets(finished):
    folder, _ = finished
    lake = el.open(folder)
    assert sorted(dataset.manifest.recipe.engine for dataset in lake.datasets()) == [
        "duckdb",
        "polars",
    ]
    assert lake.verify(deep=True).ok


def test_the_demo_in_the_same_folder_again_appends_nothing(finished):
    folder, result = finished
    assert run_demo(folder) == result
    assert [entry.commit.kind for entry in el.open(folder).log()] == [*["schema"] * 9, "append"]


def test_the_demo_refuses_a_folder_with_another_lake(tmp_path):
    el.create(tmp_path / "lake", origin="bank.example/loans")
    with pytest.raises(AlreadyExistsError, match=r"bank\.example"):
        demo_lake(tmp_path / "lake")


@pytest.mark.thorough
def test_a_demo_that_died_before_its_first_append_starts_again(tmp_path):
    el.create(tmp_path / "lake", origin=ORIGIN)
    assert demo_lake(tmp_path / "lake").watermark == EVENTS


@pytest.mark.parametrize("as_json", [True, pytest.param(False, marks=pytest.mark.thorough)])
def test_the_demo_command_tells_the_hashes(finished, as_json):
    folder, result = finished
    told = io.StringIO()
    with redirect_stdout(told), pytest.raises(SystemExit) as ended:
        main(["demo", str(folder), *(["--json"] if as_json else [])])
    assert ended.value.code == 0
    if as_json:
        document = json.loads(told.getvalue())
        assert (document["identical"], document["manifest_hash"]) == (True, result.manifest_hash)
    else:
        assert told.getvalue().count(result.content_hash) == 3


def test_a_demo_whose_engines_differ_is_not_identical():
    result = DemoResult("lake", "x", 1, "m", "a", "b", "a")
    assert not result.identical
    assert ("result", "DIFFERENT") in result.card().facts


def test_the_demo_lake_has_a_table_for_every_event_type(finished):
    folder, _ = finished
    snapshot = el.open(folder).snapshot()
    types = pl.DataFrame(simulate())["type"].value_counts().sort("type").rows()
    assert [(name, snapshot.table(name).collect().height) for name, _ in types] == types
    said, stands = (
        snapshot.table("payment.received", ["amount"], corrections=corrections)
        .collect()["amount"]
        .sum()
        for corrections in ("as_recorded", "latest")
    )
    assert (
        said
        != stands
        == snapshot.sql('SELECT sum(amount) AS paid FROM latest."payment.received"')
        .polars()["paid"]
        .item()
    )


def test_engines_agree_on_the_small_lender(small):
    lake, _, rows = small
    assert rows.equals(lake.build(definition(), engine="polars").polars())
    assert rows.height > 50


# No feature looks into the future


def project(engine, events, spine):
    """The definition's rows over a lake that holds ``events`` alone."""
    lake = el.create("memory://", origin=ORIGIN)
    lake.append(events.drop("sequence"))
    projection = definition().projection(engine)
    history = lake.snapshot().history
    table = spine.to_arrow().add_column(0, "spine_row", pa.array(range(spine.height), pa.int64()))
    types = declared_types(projection.schema)
    computation = Computation(projection, history, table, types)
    duckdb = engine == "duckdb"
    result = (
        duckdb_runner.run(computation.query)
        if duckdb
        else polars_runner.prepare(computation).rows()
    )
    return pl.DataFrame(finish(computation, result))


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_no_feature_changes_when_events_at_or_after_the_cutoff_are_removed(small, engine):
    lake, spine, rows = small
    events = lake.snapshot().scan(COLUMNS).collect()
    for row in range(0, spine.height, max(1, spine.height // 8)):
        one = spine.slice(row, 1)
        cutoff = one["cutoff"].item()
        before = events.filter(pl.col("time") < cutoff, pl.col("recorded_at") < cutoff)
        assert before.height < events.height
        expected = rows.filter(pl.col("loan") == one["loan"].item())
        assert project(engine, before, one).equals(expected)


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_an_event_exactly_at_the_cutoff_is_not_seen_and_one_just_before_is(small, engine):
    lake, spine, _ = small
    events = lake.snapshot().scan(COLUMNS).collect()
    one = spine.slice(0, 1)
    loan, cutoff = one["loan"].item(), one["cutoff"].item()
    counts = []
    for moment in (cutoff, cutoff - timedelta(microseconds=1)):
        story = events.filter(pl.col("subject") == loan)
        extra = story.head(1).with_columns(
            id=pl.lit("extra"),
            type=pl.lit("reminder.sent"),
            time=pl.lit(moment),
            recorded_at=pl.lit(moment),
            data=pl.lit("{}"),
        )
        given = pl.concat([story, extra.cast(story.schema)]).sort(
            "recorded_at", maintain_order=True
        )
        counts.append(project(engine, given, one)["reminders"].item())
    assert counts[1] == counts[0] + 1


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_engines_do_not_mind_odd_cutoffs(small, engine):
    lake, spine, _ = small
    days = pl.int_range(pl.len()) * 37 % 500 - 100
    moved = spine.with_columns(pl.col("cutoff") + pl.duration(days=days, minutes=days * 7))
    events = lake.snapshot().scan(COLUMNS).collect()
    kept = moved.filter(pl.col("cutoff") > datetime(2024, 12, 1, tzinfo=UTC)).head(40)
    other = "polars" if engine == "duckdb" else "duckdb"
    assert content_hash(project(engine, events, kept).to_arrow()) == content_hash(
        project(other, events, kept).to_arrow()
    )


# Labels and features, in plain Python


def stories(lake):
    told = defaultdict(list)
    for row in lake.snapshot().scan().collect().iter_rows(named=True):
        told[row["subject"]].append(row)
    return told


def books(story):
    """What is owed by instalment, and what was paid, going by ``story`` alone."""
    wrong = {row["corrects"] for row in story}
    owed, paid = {}, []
    for row in story:
        data = json.loads(row["data"])
        if row["type"] == "instalment.scheduled":
            owed[data["instalment"]] = (
                datetime.fromisoformat(data["due"]).replace(tzinfo=UTC),
                Decimal(data["amount"]),
            )
        elif (
            row["type"] == "payment.received"
            and row["id"] not in wrong
            and row["correction"] != "retract"
        ):
            paid.append((row["time"], data["instalment"], Decimal(data["amount"])))
    return owed, paid


def is_overdue(owed, paid):
    """Tries every instant at which the answer can change."""
    cutoff = owed[3][0]
    horizon = cutoff + HORIZON
    instants = {cutoff, *(due + GRACE for due, _ in owed.values()), *(at for at, *_ in paid)}
    for moment in (each for each in instants if cutoff <= each < horizon):
        for number, (due, amount) in owed.items():
            got = sum(part for at, paid_for, part in paid if paid_for == number and at <= moment)
            if moment >= due + GRACE and got < amount:
                return True
    return False


def test_every_label_is_that_of_plain_python(small):
    lake, spine, _ = small
    told = stories(lake)
    last = max(row["recorded_at"] for story in told.values() for row in story)
    expected = {}
    for loan, story in told.items():
        owed, _ = books(story)
        if 3 in owed and owed[3][0] + HORIZON <= last:
            owed, paid = books([row for row in story if row["recorded_at"] < owed[3][0] + HORIZON])
            expected[loan] = (owed[3][0], is_overdue(owed, paid))
    found = {row["loan"]: (row["cutoff"], row["overdue"]) for row in spine.iter_rows(named=True)}
    assert found == expected
    assert list(found) == sorted(found)
    assert {label for _, label in found.values()} == {True, False}


def test_a_label_given_once_is_never_changed_by_later_events(small):
    lake, spine, _ = small
    heights = []
    for twelfth in (5, 8, 11):
        known = pl.DataFrame(
            definition().spine(lake.snapshot(lake.watermark * twelfth // 12).history)
        )
        assert known.join(spine, on=["loan", "cutoff", "overdue"], how="anti").is_empty()
        heights.append(known.height)
    assert heights == sorted(heights)
    assert 0 < heights[0] < spine.height


def test_every_feature_is_that_of_plain_python(small):
    lake, spine, rows = small
    told = stories(lake)
    found = {row["loan"]: row for row in rows.iter_rows(named=True)}
    assert len(found) == spine.height
    for example in spine.iter_rows(named=True):
        expected = features(told[example["loan"]], example["cutoff"]) | {
            "overdue": example["overdue"]
        }
        row = found[example["loan"]]
        assert {name: row[name] for name in expected} == expected


def features(story, cutoff):
    seen = [row for row in story if row["time"] < cutoff and row["recorded_at"] < cutoff]
    owed, paid = books(seen)
    fallen = {number: owing for number, owing in owed.items() if owing[0] < cutoff}
    total = sum((amount for *_, amount in paid), Decimal(0))
    scheduled = sum(amount for _, amount in fallen.values())
    late = [(at.date() - owed[number][0].date()).days for at, number, _ in paid]
    late += [
        (cutoff - due).days
        for number, (due, amount) in fallen.items()
        if sum(part for *_, paid_for, part in paid if paid_for == number) < amount
    ]
    last = max((at.date() for at, *_ in paid), default=None)
    return {
        "payments": len(paid),
        "late_payments": sum(at.date() > owed[number][0].date() for at, number, _ in paid),
        "paid": total,
        "scheduled": scheduled,
        "share_paid": int(total * 100) / int(scheduled * 100),
        "missed": sum(row["type"] == "payment.missed" for row in seen),
        "reminders": sum(row["type"] == "reminder.sent" for row in seen),
        "worst_days_late": max(0, *late),
        "days_since_last_payment": last and (cutoff.date() - last).days,
    }
