"""What readers see: both engines, memory and disk, at every watermark, against a model of rows."""

import tempfile
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake import lake as lake_module
from eventlake.core.attributes import EVENT_COLUMNS
from eventlake.errors import ConflictError
from eventlake.testing.strategies import stored_events
from tests.scope import examples
from tests.support import naive
from tests.support.events import as_arrow, cut, moment, rfc3339, rows_of
from tests.support.limits import limited

BEGIN = 1_700_000_000_000_000
CUTS = st.lists(st.integers(0, 100), max_size=3)
STEPS = st.sampled_from([0, 0, 1, 1_000_000, 86_400_000_000])
EVERYTHING = f"select {', '.join(EVENT_COLUMNS)} from events order by sequence"


@st.composite
def histories(draw, max_size=7):
    """Batches with the clock at which each is written and, for a copied history, the instants it brings."""
    now = BEGIN
    written = []
    for batch in cut(draw(stored_events(min_size=1, max_size=max_size)), draw(CUTS)):
        now += draw(STEPS)
        copied = None
        if draw(st.booleans()):
            copied = []
            for _ in batch:
                now += draw(STEPS)
                copied.append(now)
        written.append((batch, now, copied))
    return written


def write(history, storage, rows_a_segment=10**6):
    """The lake of a history, and the rows that readers should see."""
    lake = limited(el.create(storage, "o"), batch={"segment_rows": rows_a_segment})
    expected = []
    for batch, now, copied in history:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lake_module, "_now", lambda now=now: now)
            lake.append(as_arrow(batch, recorded_at=copied))
        for row, model in enumerate(batch):
            expected.append(naive.read_row(len(expected), model, copied[row] if copied else now))
    return lake, expected


@settings(max_examples=examples(15))
@given(histories(max_size=5), st.sampled_from([2, 10**6]))
def test_at_every_watermark_scan_and_sql_show_the_events_below_it_in_memory_and_on_disk(
    history, rows_a_segment
):
    with tempfile.TemporaryDirectory() as folder:
        for storage in ("memory://", folder):
            lake, expected = write(history, storage, rows_a_segment)
            for watermark in range(len(expected) + 1):
                snapshot = lake.snapshot(at=watermark)
                assert snapshot.watermark == watermark
                assert snapshot.root == naive.root(expected_events(history)[:watermark])
                assert rows_of(snapshot.scan().collect()) == expected[:watermark]
                assert rows_of(snapshot.sql(EVERYTHING)) == expected[:watermark]


def expected_events(history):
    return [model for batch, _, _ in history for model in batch]


@pytest.mark.filterwarnings("ignore:no event and no schema has the type")
@settings(max_examples=examples(25))
@given(histories(), st.data())
def test_filters_and_columns_pushed_into_a_scan_change_nothing_but_what_they_say(history, data):
    with tempfile.TemporaryDirectory() as folder:
        lake, expected = write(history, data.draw(st.sampled_from(["memory://", folder])))
        watermark = data.draw(st.integers(0, len(expected)))
        kinds = data.draw(
            st.lists(st.sampled_from([row["type"] for row in expected]), max_size=2, unique=True)
        )
        subject = data.draw(st.sampled_from([row["subject"] for row in expected]))
        columns = data.draw(st.lists(st.sampled_from(EVENT_COLUMNS), min_size=1, unique=True))
        engine = data.draw(st.sampled_from(["in-memory", "streaming"]))
        found = (
            lake.snapshot(watermark)
            .scan(columns=columns, types=kinds, subject=subject)
            .collect(engine=engine)
        )
    wanted = [
        row
        for row in expected[:watermark]
        if row["type"] in kinds and (subject is None or row["subject"] == subject)
    ]
    assert rows_of(found) == [{name: row[name] for name in columns} for row in wanted]


@settings(max_examples=examples(25))
@given(histories(), st.data())
def test_sql_filters_on_assigned_columns_agree_with_the_model(history, data):
    with tempfile.TemporaryDirectory() as folder:
        lake, expected = write(history, data.draw(st.sampled_from(["memory://", folder])), 2)
        row = data.draw(st.sampled_from(expected))
        name = data.draw(st.sampled_from(["sequence", "recorded_at", "time"]))
        value = row[name] if name == "sequence" else moment(row[name])
        query = f"select sequence from events where {name} >= $bound order by sequence"
        found = lake.snapshot().sql(query, bound=value).polars()["sequence"].to_list()
    assert found == [other["sequence"] for other in expected if other[name] >= row[name]]


@settings(max_examples=examples(25))
@given(histories())
def test_the_clock_hash_is_that_of_the_naive_runs_at_every_watermark(history):
    lake, expected = write(history, "memory://")
    clock = [row["recorded_at"] for row in expected]
    found = [lake.snapshot(watermark).history.clock_hash() for watermark in range(len(clock) + 1)]
    assert found == [naive.clock_hash(clock[:watermark]) for watermark in range(len(clock) + 1)]


@settings(max_examples=examples(25))
@given(histories(), st.integers(1, 3), st.integers(1, 3))
def test_the_clock_hash_does_not_depend_on_how_a_copied_history_is_cut(history, rows, other_rows):
    copied = [(batch, now, stamps or [now] * len(batch)) for batch, now, stamps in history]
    hashes = {
        write(form, "memory://", n)[0].snapshot().history.clock_hash()
        for form, n in ((history, rows), (copied, other_rows))
    }
    assert len(hashes) == 1


@settings(max_examples=examples(25))
@given(histories(), st.data())
def test_an_instant_names_the_events_recorded_strictly_before_it(history, data):
    lake, expected = write(history, "memory://", data.draw(st.sampled_from([1, 2, 10**6])))
    clock = [row["recorded_at"] for row in expected]
    instant = data.draw(st.sampled_from(clock)) + data.draw(st.sampled_from([-1, 0, 1]))
    spelled = data.draw(
        st.sampled_from([moment(instant), rfc3339(instant, 0), rfc3339(instant, 1)])
    )
    if instant > clock[-1]:
        with pytest.raises(ConflictError, match="not moved past"):
            lake.snapshot(at=spelled)
    else:
        snapshot = lake.snapshot(at=spelled)
        assert snapshot.watermark == bisect_left(clock, instant)
        assert rows_of(snapshot.scan().collect()) == expected[: bisect_left(clock, instant)]


@settings(max_examples=examples(25))
@given(histories())
def test_the_types_of_a_snapshot_are_those_of_its_events_at_every_watermark(history):
    lake, expected = write(history, "memory://")
    for watermark in range(len(expected) + 1):
        kinds = [row["type"] for row in expected[:watermark]]
        assert lake.snapshot(watermark).types() == {kind: kinds.count(kind) for kind in kinds}


@settings(max_examples=examples(25))
@given(histories())
def test_a_snapshot_taken_before_an_append_shows_the_same_after_it(history):
    storage = "memory://"
    lake, expected = write(history, storage)
    snapshot = lake.snapshot()
    lazy = snapshot.scan()
    checkpoint = snapshot.checkpoint
    lake.append([{"id": "later", "source": "later", "type": "later"}])
    assert snapshot.checkpoint == checkpoint
    assert (
        rows_of(lazy.collect())
        == rows_of(snapshot.scan().collect())
        == rows_of(snapshot.sql(EVERYTHING))
        == expected
    )
    assert (
        lake.snapshot(checkpoint).checkpoint
        == lake.snapshot(str(checkpoint)).checkpoint
        == checkpoint
    )
