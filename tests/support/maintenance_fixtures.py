"""Lakes to be compacted and collected, and everything of them that may not change by it."""

import random
import threading
import uuid

import eventlake as el
from tests.scope import some
from tests.support.dataset_fixtures import Hooked
from tests.support.events import moment, rows_of
from tests.support.limits import limited

NOW = 1_767_225_600_000_000
HOUR = 3_600_000_000


def event(name, **more):
    return {"id": name, "source": "s", "type": "t"} | more


def batch(name, rows=3):
    return [event(f"{name}-{row}", subject=f"/{row}", data={"row": row}) for row in range(rows)]


def appended(lake, name, known, rounds):
    """Appends batches one by one and adds what was acknowledged to ``known``."""
    for number in range(rounds):
        events = batch(f"{name}-{number}")
        known.append((lake.append(events), [one["id"] for one in events]))


def grouped(lake, name, known, rounds):
    """The same through a writer, four single events at a time."""
    with lake.writer() as writer:
        for number in range(rounds):
            futures = [
                (writer.append(one), [one[0]["id"]])
                for one in ([event(f"{name}-{number}-{part}")] for part in range(4))
            ]
            known.extend((future.result(), names) for future, names in futures)


def varied(storage, clock):
    """A lake whose segments have other columns each, with and without clocks of their own; one is large."""
    lake = el.create(storage, "o")
    copied = [
        event(f"copied {n}", recorded_at=moment(NOW - 9 * HOUR + n // 2 * HOUR), data={"n": n})
        for n in range(3)
    ]
    lake.append([*copied, event("copied undated", recorded_at=moment(NOW - HOUR))])
    lake.append([event("bare", type="u")])
    clock[0] += HOUR
    lake.append(
        [
            event("dated", time=moment(NOW - 77), subject="/loan/7"),
            event("undated", subject="/loan/7"),
        ]
    )
    lake.append([event("extended", extensions={"x": 1})])
    lake.resolve(str(uuid.uuid4()))
    lake.append([event("large", data={"noise": random.Random(1).randbytes(9_000).hex()})])
    lake.append([event(f"again {n}", recorded_at=moment(NOW + HOUR + n * 7)) for n in range(2)])
    clock[0] += HOUR
    small_segments = limited(lake, batch={"segment_rows": 2})
    small_segments.append([event(f"cut {n}", subject="/cut") for n in range(3)])
    lake.append(
        [
            event(
                "correct",
                corrects="dated",
                correction="replace",
                subject="/loan/7",
                correlation_id="c",
                data="1.00",
            )
        ]
    )
    clock[0] += HOUR
    lake.append([event("last", time=moment(0))])
    return lake


def observed(lake):
    """Everything that may not change: each watermark and instant on both engines, types, clocks, roots, proofs."""
    clocks = [
        row["recorded_at"] for row in rows_of(lake.snapshot().scan(["recorded_at"]).collect())
    ]
    instants = [
        moment(one)
        for one in sorted({*clocks, *(one + 1 for one in clocks[:-1])})
        if one <= clocks[-1]
    ]
    seen_ = []
    marks = some(range(len(clocks) + 1), 6)
    for at in [*marks, *some(instants, 6)]:
        snapshot = lake.snapshot(at)
        scanned = rows_of(snapshot.scan().collect())
        assert rows_of(snapshot.sql("select * from events order by sequence")) == scanned
        assert snapshot.watermark == (
            at if isinstance(at, int) else sum(moment(one) < at for one in clocks)
        )
        raw = rows_of(snapshot.scan(raw=True).collect())
        seen_.append(
            (
                at,
                snapshot.checkpoint,
                snapshot.commit_hash,
                snapshot.history.clock_hash(),
                snapshot.types(),
                scanned,
                raw,
            )
        )
    proofs = [lake.prove_inclusion(sequence) for sequence in range(len(clocks))]
    proofs += [lake.prove_consistency(one[1]) for one in seen_[1 : len(marks)]]
    singles = [lake.snapshot().event(sequence) for sequence in range(len(clocks))]
    filtered = rows_of(
        lake.snapshot().scan(["sequence", "id"], types="t", subject="/loan/7").collect()
    )
    return seen_, proofs, singles, filtered


def seen(lake):
    """Less than ``observed``, and cheaper."""
    snapshot = lake.snapshot()
    return snapshot.checkpoint, snapshot.history.clock_hash(), rows_of(snapshot.scan().collect())


def about(lake, number):
    """A target that about so many of the lake's largest segments fit into."""
    return int(
        (number + 0.5) * max(item.size_bytes for item in lake._chain.storage.list("segments"))
    )


def placed(lake):
    """The bounds of the segments that hold the events now."""
    chain = el.open(lake._chain.storage)._chain
    return [(segment.start, segment.stop) for _, segment in chain.segments(0, chain.watermark)]


def in_threads(*works):
    """Runs all of them at once; none may fail."""
    errors = []

    def guarded(work):
        try:
            work()
        except Exception as error:  # noqa: BLE001 - told to the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def meddled(storage, prefix, *meddlers):
    """A handle on ``storage`` in which each meddler is called once, before a file below ``prefix`` is created."""
    waiting = list(meddlers)

    def before(path, data):
        if path.startswith(prefix) and waiting:
            waiting.pop(0)(el.open(storage))

    return el.open(Hooked(storage, before=before))
