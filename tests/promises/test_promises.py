"""The promises of the README: each test bears the name of the sentence it proves, in small. The suites around it go deep."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

import eventlake as el

WRITER = """
import sys, eventlake as el
lake, name = el.open(sys.argv[1]), sys.argv[2]
for batch in range(10_000):
    events = [{"id": f"{batch}-{row}", "source": name, "type": "tick", "data": {"batch": batch, "row": row}} for row in range(5)]
    receipt = lake.append(events)
    print(receipt.start, batch, flush=True)
"""


def paid(number, amount, subject="/loan/7"):
    moment = f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z"
    return {
        "id": f"p{number}",
        "source": "bank",
        "type": "payment.received",
        "subject": subject,
        "time": moment,
        "data": {"amount": f"{amount}.00"},
    }


def test_nothing_that_was_appended_is_lost_changed_or_reordered(tmp_path):
    """Two writers are killed at some moment; what either of them was told is durable stands where it was told, and nothing stands twice."""
    el.create(tmp_path / "lake", "promise.example")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "lake"), name],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    first = [writer.stdout.readline() for writer in writers]
    time.sleep(1)
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
    acknowledged = {}
    for name, line, writer in zip(("one", "two"), first, writers, strict=True):
        said = [line, *writer.communicate()[0].splitlines()]
        acknowledged |= {
            int(start): (name, int(batch))
            for start, batch in (entry.split() for entry in said if entry.count(" ") == 1)
        }

    lake = el.open(tmp_path / "lake")
    events = lake.snapshot().scan().collect()
    assert len(acknowledged) >= 2
    assert events["sequence"].to_list() == list(range(lake.watermark))
    for start, (name, batch) in acknowledged.items():
        rows = events.slice(start, 5)
        assert rows["source"].to_list() == [name] * 5
        assert rows["data"].to_list() == [f'{{"batch":{batch},"row":{row}}}' for row in range(5)]
    assert events.select("source", "id").is_unique().all()
    report = lake.verify(deep=True)
    assert report.ok, report.problems


def test_a_watermark_names_one_history(tmp_path):
    """The same events in other batches, through another door and in other Parquet have the same root; one changed bit has another."""
    events = [paid(number, number) for number in range(60)]
    whole = el.create(tmp_path / "whole", "promise.example")
    whole.append(events)

    cut = el.create("memory://", "promise.example")
    bounds = [0, *sorted(random.Random(7).sample(range(1, 60), 9)), 60]
    for start, stop in zip(bounds, bounds[1:], strict=False):
        cut.append(whole.snapshot().scan().collect().slice(start, stop - start))
    assert [cut.snapshot(at=n).root for n in range(61)] == [
        whole.snapshot(at=n).root for n in range(61)
    ]

    written = tmp_path / "again.parquet"
    pq.write_table(
        whole.snapshot().scan().drop("sequence").collect().to_arrow(),
        written,
        compression="gzip",
        version="1.0",
    )
    again = el.create(tmp_path / "again", "promise.example")
    again.append(written)
    assert again.snapshot().checkpoint == whole.snapshot().checkpoint

    changed = [*events[:30], {**events[30], "data": {"amount": "30.01"}}, *events[31:]]
    other = el.create("memory://", "promise.example")
    other.append(changed)
    assert other.snapshot(at=30).root == whole.snapshot(at=30).root
    assert other.snapshot(at=31).root != whole.snapshot(at=31).root


def test_a_dataset_is_rebuilt_bit_for_bit_from_its_manifest_hash(tmp_path):
    """After more was appended, in another process, in a copy of the lake, with the stored rows gone: the same content hash."""
    lake = el.create(tmp_path / "lake", "promise.example")
    lake.append([paid(number, number % 7, f"/loan/{number % 5}") for number in range(200)])
    query = """
        SELECT subject AS loan, count(*) AS payments, sum((data ->> 'amount')::DECIMAL(18, 2)) AS paid, max(time) AS last
        FROM events GROUP BY subject"""
    dataset = lake.build(el.Projection.sql("paid", query, key=["loan"]))
    rows = dataset.polars()
    lake.append([paid(number, 1, "/loan/0") for number in range(200, 300)])

    shutil.copytree(tmp_path / "lake", tmp_path / "copy")
    for part in Path(tmp_path / "copy" / "builds").rglob("part-*.parquet"):
        part.unlink()
    script = (
        "import sys, eventlake as el; result = el.open(sys.argv[1]).reproduce(sys.argv[2]); "
        "print(result.identical, result.content_hash, result.dataset.watermark)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "copy"), dataset.manifest_hash]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said == ["True", dataset.content_hash, "200"]
    assert (
        dataset.content_hash
        != lake.build(el.Projection.sql("paid", query, key=["loan"])).content_hash
    )
    assert rows["payments"].sum() == 200
    assert isinstance(rows, pl.DataFrame)


FEATURES = [
    el.count("payment.received", window="2d"),
    el.sum("payment.received", "amount"),
    el.max("payment.received", "amount"),
    el.since_last("payment.received"),
]


def declared(tmp_path):
    """Payments of two loans, one a day, and a spine whose cutoffs lie in their midst."""
    lake = el.create(tmp_path / "lake", "promise.example")
    lake.register(
        "payment.received",
        {"type": "object", "properties": {"amount": {"type": "number", "multipleOf": 0.01}}},
    )
    days = [f"2026-01-{day:02}T00:00:00Z" for day in range(1, 31)]
    for number in range(8):
        lake.append(
            [
                paid(number, number + 1, f"/loan/{number % 2}")
                | {"time": days[number], "recorded_at": days[number]}
            ]
        )
    cutoffs = pl.Series(days[4:8]).str.to_datetime(time_unit="us", time_zone="UTC")
    return lake, pl.DataFrame({"subject": ["/loan/0", "/loan/1"] * 2, "cutoff": cutoffs}), days


def test_no_declared_feature_looks_into_the_future(tmp_path):
    """What happens or is recorded at the cutoff or after it changes no row, on either engine; and the check sees what hindsight changes."""
    lake, spine, days = declared(tmp_path)
    features = el.FeatureSet("risk", features=FEATURES)
    before = lake.build(features, spine=spine)
    at = [
        paid(20 + number, 1_000, f"/loan/{number % 2}")
        | {"time": days[4 + number], "recorded_at": days[20]}
        for number in range(4)
    ]
    late = [paid(30, 2_000, "/loan/0") | {"time": days[0], "recorded_at": days[21]}]
    wrong = [
        paid(31, 3_000, "/loan/0") | {"time": days[0], "recorded_at": days[22], "corrects": "p0"}
    ]
    lake.append([*at, *late, *wrong])
    for engine in ("duckdb", "polars"):
        after = lake.build(features, spine=spine, engine=engine, force=True)
        assert after.content_hash == before.content_hash
        assert el.check_leakage(after).ok
    hindsight = lake.build(el.FeatureSet("risk", features=FEATURES, known="watermark"), spine=spine)
    assert hindsight.content_hash != before.content_hash
    assert not el.check_leakage(hindsight, known="cutoff").ok


def test_every_value_of_a_declared_feature_is_explained_by_its_events(tmp_path):
    """The events that are named make the value: as many as were counted, adding up to what was summed, the newest of the age."""
    lake, spine, _ = declared(tmp_path)
    dataset = lake.build(el.FeatureSet("risk", features=FEATURES), spine=spine)
    amounts = dict(
        lake.snapshot().table("payment.received").select("id", "amount").collect().rows()
    )
    for row in dataset.polars().rows(named=True):

        def behind(column, key=row["spine_row"]):
            return dataset.explain(key, column).behind

        assert behind("payment_received_count_2d").height == row["payment_received_count_2d"]
        summed = [amounts[name] for name in behind("payment_received_amount_sum")["id"]]
        assert sum(summed) == row["payment_received_amount_sum"]
        assert max(summed) == row["payment_received_amount_max"]
        age = row["cutoff"] - behind("payment_received_days_since_last")["time"].max()
        assert age.total_seconds() / 86_400 == row["payment_received_days_since_last"]
