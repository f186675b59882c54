"""The clock hash: the plain loop of docs/reference/format.md, found fast, and extended where a history grew."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlake as el
from eventlake.caches import CACHES
from eventlake.columns.hashing.clock import first_of_runs, runs_text
from eventlake.errors import CorruptionError
from eventlake.history.pinned import PinnedHistory
from eventlake.storage import MemoryStorage
from tests.support import naive

INSTANTS = st.one_of(
    st.integers(10**15, 10**16 - 1),  # sixteen digits: from 2001 to 2286
    st.integers(-(10**15), 10**18),
)


def text_of(starts, instants):
    return b"".join(map(bytes, runs_text(starts, instants)))


@given(st.lists(st.tuples(st.integers(0, 1 << 40), INSTANTS)))
def test_runs_are_spelled_as_text_is(runs):
    runs.sort()
    starts, instants = (np.array([run[part] for run in runs], np.int64) for part in (0, 1))
    assert text_of(starts, instants) == "".join(f"{one}:{other}," for one, other in runs).encode()


@given(st.lists(st.integers(0, 3)), st.none() | st.integers(0, 3))
def test_a_run_begins_where_an_instant_differs_from_the_one_before(instants, previous):
    expected = [
        row
        for row, instant in enumerate(instants)
        if instant != (instants[row - 1] if row else previous)
    ]
    assert first_of_runs(np.array(instants, np.int64), previous).tolist() == expected


def test_runs_of_every_width_are_spelled():
    starts = np.array([10**width - 1 for width in range(1, 10)] + [(1 << 32) - 1], np.int64)
    instants = np.arange(len(starts)) + 10**15
    expected = "".join(f"{s}:{i}," for s, i in zip(starts.tolist(), instants.tolist(), strict=True))
    assert text_of(starts, instants) == expected.encode()


def test_runs_of_many_parts_are_spelled():
    starts = np.arange(0, 120_000, 3)
    instants = np.arange(len(starts)) * 999_999_937 + 10**15
    expected = "".join(f"{s}:{i}," for s, i in zip(starts.tolist(), instants.tolist(), strict=True))
    assert text_of(starts, instants) == expected.encode()


BEGIN = datetime(1999, 1, 1, tzinfo=UTC)


def history(storage, steps):
    """Commits with clocks of their own, or with the commit's, some of which continue a run."""
    lake, day, number = el.create(storage, "o"), 0, 0
    for copied, days in steps:
        batch = []
        for more in days:
            day += more
            batch.append({"id": str(number), "source": "s", "type": "t"})
            if copied:
                batch[-1]["recorded_at"] = (BEGIN + timedelta(days=day)).isoformat()
            number += 1
        lake.append(batch)
        if not copied:
            break  # later clocks would be before the commit's
    return lake


STEPS = st.lists(
    st.tuples(st.just(True) | st.booleans(), st.lists(st.integers(0, 900), min_size=1, max_size=5)),
    max_size=5,
)


@given(STEPS, st.data())
def test_a_history_has_the_hash_of_a_plain_loop_however_it_is_cut_and_compacted(steps, data):
    lake = history(MemoryStorage(), steps)
    rows = lake.snapshot().scan(["recorded_at"]).collect()["recorded_at"].dt.epoch("us").to_list()
    for compacted in (False, True):
        if compacted:
            lake.compact()
        marks = data.draw(st.permutations(range(len(rows) + 1)))
        for at in marks:
            expected = naive.clock_hash(rows[:at])
            assert lake.snapshot(at).history.clock_hash() == expected


def test_where_a_history_grew_only_the_new_segments_are_read(monkeypatch):
    lake = history(MemoryStorage(), [(True, [1, 2, 3]), (True, [0, 1])])
    read = []
    real = PinnedHistory.read

    def reading(self, stretch, columns=None):
        read.append(stretch.segment.start)
        return real(self, stretch, columns)

    monkeypatch.setattr(PinnedHistory, "read", reading)
    CACHES.clear()
    before = lake.snapshot().history.clock_hash()
    assert read == [0, 3]
    lake.append([{"id": "n", "source": "s", "type": "t", "recorded_at": "2010-01-01T00:00:00Z"}])
    after = lake.snapshot().history.clock_hash()
    assert lake.snapshot(5).history.clock_hash() == before
    assert read == [0, 3, 5]
    CACHES.clear()
    assert lake.snapshot().history.clock_hash() == after != before


def test_states_that_are_dropped_while_a_hash_begins_do_not_change_it(monkeypatch):
    lake = history(MemoryStorage(), [(True, [1, 2, 3]), (True, [0, 1])])
    expected = lake.snapshot().history.clock_hash()

    class Dropped:
        """States that another thread drops once they were looked up."""

        def __init__(self):
            self.found = {}

        def get(self, key):
            return self.found.pop(key, None)

        def put(self, key, value):
            self.found[key] = value

    monkeypatch.setattr("eventlake.history.clock_hash._states", Dropped())
    assert [lake.snapshot().history.clock_hash() for _ in range(3)] == [expected] * 3


def test_an_event_without_an_instant_is_damage(monkeypatch):
    lake = history(MemoryStorage(), [(True, [1, 2])])
    real = PinnedHistory.read

    def without(self, stretch, columns=None):
        table = real(self, stretch, columns)
        nulls = pa.nulls(table.num_rows, table.schema.field("recorded_at").type)
        return table.set_column(table.schema.get_field_index("recorded_at"), "recorded_at", nulls)

    monkeypatch.setattr(PinnedHistory, "read", without)
    with pytest.raises(CorruptionError, match="expected each event's recorded_at, found 2 nulls"):
        lake.snapshot().history.clock_hash()
