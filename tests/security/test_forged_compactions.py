"""Compactions by somebody else: the root proves their events, and only the commits that appended them say when they were recorded."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.datasets.verifying.verify import verify_lake
from eventlake.errors import CorruptionError
from eventlake.storage import LocalStorage
from tests.support.forging_on_disk import forge_compaction, forge_payloads, payment

AT = datetime(2026, 3, 1, tzinfo=UTC)
READS = {
    "scan": lambda lake: lake.snapshot().scan().collect(),
    "sql": lambda lake: lake.snapshot().sql("SELECT max(recorded_at) FROM events").polars(),
    "an instant": lambda lake: lake.snapshot(AT).watermark,
    "build": lambda lake: lake.build(
        el.Projection.sql("seen", "SELECT sequence, recorded_at FROM events", key=["sequence"])
    ),
    "compaction": lambda lake: lake.compact(),
    "collection": lambda lake: lake.gc(older_than=timedelta(0), dry_run=False),
}


def copied(first, count, hours):
    """A copied history: events that bring when they were recorded, ``hours`` apart."""
    at = [
        datetime(2026, 2, 1, tzinfo=UTC) + timedelta(hours=hours * (first + number))
        for number in range(count)
    ]
    rows = pl.DataFrame(
        [{**payment(first + number), "data": '{"amount": 1}'} for number in range(count)]
    )
    return rows.with_columns(
        time=pl.col("time").str.to_datetime(time_zone="UTC", time_unit="us"),
        recorded_at=pl.Series(at, dtype=pl.Datetime("us", "UTC")),
    )


@pytest.fixture
def root(tmp_path):
    """Three appends, compacted."""
    lake = el.create(tmp_path / "lake", origin="bank.example/loans")
    for start in range(0, 30, 10):
        lake.append([payment(number) for number in range(start, start + 10)])
    assert lake.compact().made == 1
    return tmp_path / "lake"


@pytest.fixture
def history(tmp_path):
    """A history that was copied in two appends, an event every hour, compacted."""
    lake = el.create(tmp_path / "history", origin="bank.example/loans")
    for start in (0, 10):
        lake.append(copied(start, 10, 1))
    assert lake.compact().made == 1
    return tmp_path / "history"


def moved(rows, by=-1_000):
    """Moves when some events were recorded; the first and the last of ten stay."""

    def change(table):
        at = table.schema.get_field_index("recorded_at")
        values = table.column("recorded_at").cast(pa.int64()).to_pylist()
        values = [value + by if row in rows else value for row, value in enumerate(values)]
        return table.set_column(
            at,
            table.schema.field(at),
            pa.array(values, pa.int64()).cast(table.schema.field(at).type),
        )

    return change


def without_column(table):
    return table.drop_columns(["recorded_at"])


def test_compactions_by_another_user_are_believed_once_they_were_compared(root, history, stranger):
    expected = el.open(history).snapshot().scan().collect()
    stranger()
    assert el.open(history).snapshot().scan().collect().equals(expected)
    assert el.open(history).snapshot(datetime(2026, 2, 1, 5, tzinfo=UTC)).watermark == 5
    assert el.open(root).verify(deep=True).ok
    report = el.open(history).verify(deep=True)
    assert (report.ok, report.unproven) == (True, ())


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    "change",
    [moved(range(5)), moved([3], -60_000_000), without_column],
    ids=["first", "one", "no column"],
)
def test_a_compaction_that_says_otherwise_when_events_were_recorded_is_refused(
    root, stranger, read, change
):
    if read == "compaction":
        el.open(root).append([payment(number) for number in range(30, 40)])
    forge_compaction(root, change)
    stranger()
    with pytest.raises(CorruptionError, match="recorded_at"):
        READS[read](el.open(root))


def test_a_compaction_of_a_copied_history_is_compared_with_the_segments_that_it_replaced(
    history, stranger
):
    forge_compaction(history, moved([4]))
    stranger()
    with pytest.raises(CorruptionError, match="not what the segment says"):
        el.open(history).snapshot()
    report = el.open(history).verify(deep=True)
    assert any("not what the segment says" in finding.message for finding in report.problems)


def test_of_a_copied_history_whose_segments_are_gone_both_ends_are_known(history, stranger):
    el.open(history).gc(older_than=timedelta(0), dry_run=False)
    expected = el.open(history).snapshot().scan().collect()
    stranger()
    assert el.open(history).snapshot().scan().collect().equals(expected)
    report = el.open(history).verify(deep=True)
    assert report.ok
    assert [finding.message.partition(":")[0] for finding in report.unproven] == [
        "recorded_at of the events 0-10",
        "recorded_at of the events 10-20",
    ]
    forge_compaction(history, moved([10]))
    with pytest.raises(CorruptionError, match="does not begin and end"):
        el.open(history).snapshot()
    assert not el.open(history).verify(deep=True).ok


def test_a_collection_keeps_what_a_false_compaction_replaced(root, stranger):
    """The compaction holds other payloads under the right range: what it replaced is all there is of the events."""
    version = max(int(path.stem) for path in (root / "log").glob("*.json"))
    forge_payloads(root, version)
    before = {path.name for path in (root / "segments").iterdir()}
    for _ in range(2):
        with pytest.raises(CorruptionError, match="do not hash to the leaves"):
            el.open(root).gc(older_than=timedelta(0), dry_run=False)
        assert {path.name for path in (root / "segments").iterdir()} == before
        stranger()


@pytest.mark.parametrize("deep", [False, True])
def test_what_a_compaction_states_is_compared_with_what_it_replaces(root, deep):
    def states(segment):
        segment["types"] = {"payment.received": 29, "loan.granted": 1}

    forge_compaction(root, states=states)
    report = el.open(root).verify(deep=deep)
    assert any("what it replaces" in finding.message for finding in report.problems)


def test_a_false_compaction_that_another_one_replaced_is_found(root):
    """The newest compaction is right; the one before, which nobody reads any more, states another clock."""
    lake = el.open(root)
    lake.append([payment(number) for number in range(30, 40)])
    assert lake.compact().made == 1
    assert lake.verify(deep=True).ok
    states = {"recorded_at": [1_000, 2_000]}
    forge_compaction(root, states=lambda segment: segment.update(states), which=min)
    assert (
        next(finding.path for finding in el.open(root).verify().problems)
        == "log/00000000000000000003.json"
    )


def test_without_a_look_into_segments_the_clock_of_a_compaction_without_the_column_is_compared(
    root,
):
    forge_compaction(root, without_column)
    assert any("what it replaces" in finding.message for finding in el.open(root).verify().problems)


def test_ones_own_compaction_is_read_without_a_comparison(root, monkeypatch):
    monkeypatch.setattr(
        "eventlake.log.maintaining.check_compaction.compare", lambda *_: pytest.fail("compared")
    )
    assert el.open(root).snapshot().scan().collect().height == 30


def test_with_trust_in_the_lake_a_compaction_is_believed(root, stranger):
    forge_compaction(root, moved([3], -60_000_000))
    stranger()
    assert el.open(root, trust="lake").snapshot().scan().collect().height == 30


@pytest.mark.parametrize("deep", [False, True])
def test_a_compaction_that_cuts_a_segment_is_listed_and_the_rest_is_verified(root, deep):
    def states(segment):
        segment.update(stop=25, types={"payment.received": 25}, range=segment["range"][:3])

    forge_compaction(root, states=states)
    (root / "hint").write_bytes(b"{}")
    found = {finding.path for finding in verify_lake(LocalStorage(root), deep=deep).problems}
    assert {"log/00000000000000000003.json", "hint"} <= found
