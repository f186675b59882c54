"""Files that a collector takes away while they are read: event tables are derived again, and compacted segments are found in others."""

from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import CorruptionError, StorageError
from eventlake.history.pinned import PinnedHistory
from eventlake.history.sql import result
from eventlake.tables import stored_table

BY_SUBJECT = el.Projection.sql(
    "q", "SELECT subject, count(*) AS n FROM paid GROUP BY subject", key=["subject"], by="subject"
)
EVENTS = el.Projection.sql(
    "e", "SELECT subject, count(*) AS n FROM events GROUP BY subject", key=["subject"], by="subject"
)
COUNTS = [("/l/0", 6), ("/l/1", 6), ("/l/2", 6)]
FEATURES = el.FeatureSet("f", features=[el.count("paid"), el.sum("paid", "n")], known="watermark")
SPINE = pl.DataFrame(
    {"subject": ["/l/0", "/l/1"], "cutoff": ["2100-01-01", "2100-01-01"]}
).with_columns(pl.col("cutoff").str.to_datetime(time_zone="UTC", time_unit="us"))


@pytest.fixture
def lake(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    lake.register("paid", {"type": "object", "properties": {"n": {"type": "integer"}}})
    for number in range(3):
        lake.append(
            [
                {
                    "id": f"{number} {n}",
                    "source": "s",
                    "type": "paid",
                    "subject": f"/l/{n % 3}",
                    "data": {"n": n},
                }
                for n in range(6)
            ]
        )
    return lake


def tables_deleted(lake):
    for path in (lake_folder(lake) / "tables").rglob("*.parquet"):
        path.unlink()


def compacted_and_collected(lake):
    other = el.open(lake.uri)
    other.compact()
    other.gc(older_than=timedelta(0), dry_run=False)


def lake_folder(lake):
    return Path(lake.uri)


def when_given(monkeypatch, lake, happens, times=1):
    """Lets something happen each time that engines have been given files, which they have not opened yet."""
    left = [times]

    def hooked(real):
        def given(self, *arguments, **named):
            found = real(self, *arguments, **named)
            if left[0] and self._opened:
                left[0] -= 1
                happens(lake)
            return found

        return given

    for name in ("locations", "tables", "_table"):
        monkeypatch.setattr(PinnedHistory, name, hooked(getattr(PinnedHistory, name)))
    return left


def rows(dataset):
    return dataset.polars().rows()


READS = {
    "sql of events": lambda lake: (
        lake.snapshot()
        .sql("SELECT subject, count(*) FROM events GROUP BY subject ORDER BY subject")
        .polars()
        .rows()
    ),
    "sql of a table": lambda lake: (
        lake.snapshot()
        .sql("SELECT subject, count(*) FROM paid GROUP BY subject ORDER BY subject")
        .polars()
        .rows()
    ),
    "build": lambda lake: rows(lake.build(BY_SUBJECT)),
    "build of events": lambda lake: rows(lake.build(EVENTS)),
    "build by buckets": lambda lake: rows(lake.build(BY_SUBJECT, buckets=2)),
    "build of events by buckets": lambda lake: rows(lake.build(EVENTS, buckets=2)),
    "build in Polars": lambda lake: rows(lake.build(counted)),
    "frame": lambda lake: (
        lake.snapshot()
        .collected(lambda snapshot: snapshot.scan().group_by("subject").len().sort("subject"))
        .rows()
    ),
}


@el.projection(name="p", key=["subject"])
def counted(snapshot):
    return snapshot.table("paid").group_by("subject").agg(pl.len().cast(pl.Int64).alias("n"))


@pytest.mark.parametrize("happens", [tables_deleted, compacted_and_collected])
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_read_whose_files_are_collected_meanwhile_gives_the_same_rows(
    lake, monkeypatch, read, happens
):
    left = when_given(monkeypatch, lake, happens)
    assert read(lake) == COUNTS
    assert left == [0]


@pytest.mark.parametrize("happens", [tables_deleted, compacted_and_collected])
@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_features_whose_files_are_collected_meanwhile_are_the_same(
    lake, monkeypatch, engine, happens
):
    when_given(monkeypatch, lake, happens)
    assert [row[-2:] for row in rows(lake.build(FEATURES, spine=SPINE, engine=engine))] == [
        (6, 9),
        (6, 15),
    ]


@pytest.mark.parametrize("happens", [tables_deleted, compacted_and_collected])
def test_datasets_are_reproduced_explained_and_looked_through_while_files_are_collected(
    lake, monkeypatch, happens
):
    made, features = lake.build(BY_SUBJECT), lake.build(FEATURES, spine=SPINE)
    left = when_given(monkeypatch, lake, happens, times=0)
    asked = [
        lambda: lake.reproduce(made.manifest_hash).identical,
        lambda: len(lake.explain(made.manifest_hash, "/l/1").events) == 6,
        lambda: len(made.explain("/l/1").events) == 6,
        lambda: el.check_leakage(features).leaks.height == 0,
    ]
    for ask in asked:
        left[0] = 1
        assert ask()


def test_an_event_table_whose_files_go_as_fast_as_they_are_stored_is_read_from_the_segments(
    lake, monkeypatch
):
    lake.snapshot().table("paid").collect()
    lake.append([{"id": "new", "source": "s", "type": "paid", "subject": "/l/0", "data": {"n": 7}}])
    real = stored_table.to_merge

    def gone(*arguments):
        found = real(*arguments)
        tables_deleted(lake)
        return found

    monkeypatch.setattr(stored_table, "to_merge", gone)
    assert lake.snapshot().table("paid").select(pl.len()).collect().item() == 19


def test_files_that_go_whenever_they_are_read_are_told_of(lake, monkeypatch):
    real = result.select

    def select(*arguments, **named):
        tables_deleted(lake)
        return real(*arguments, **named)

    monkeypatch.setattr(result, "select", select)
    with pytest.raises(
        StorageError, match="files were deleted again and again while they were read"
    ):
        lake.snapshot().sql("SELECT * FROM paid")


@pytest.mark.parametrize(
    ("frame", "happens"),
    [
        (el.Snapshot.scan, compacted_and_collected),
        (lambda snapshot: snapshot.table("paid"), tables_deleted),
    ],
)
def test_a_frame_whose_files_were_collected_is_told_to_be_taken_again(lake, frame, happens):
    snapshot = lake.snapshot()
    old = frame(snapshot)
    happens(lake)
    for _ in range(2):
        with pytest.raises(StorageError, match="was collected as garbage") as raised:
            snapshot.collect(old)
        assert raised.value.hint == "take the frame from the snapshot again, and collect it."
    assert snapshot.collect(frame(snapshot)).height == 18


def test_a_frame_of_a_lost_segment_is_told_of_as_damage(lake):
    snapshot = lake.snapshot()
    frame = snapshot.scan()
    next((lake_folder(lake) / "segments").iterdir()).unlink()
    with pytest.raises(CorruptionError, match="is missing"):
        snapshot.collect(frame)
