"""A deep verification keeps the subject of every event as a number."""

from types import SimpleNamespace

import polars as pl
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from eventlake.columns.keys.keys import event_keys
from eventlake.history.verifying.seen_events import SeenEvents, SegmentSummary

SUBJECTS = st.lists(st.none() | st.text("ab/é", max_size=2), min_size=1, max_size=6)
# A segment without the column, or its parts.
SEGMENTS = st.lists(st.integers(1, 4) | st.lists(SUBJECTS, min_size=1, max_size=3), min_size=1)


def part(subjects, first):
    count = subjects if isinstance(subjects, int) else len(subjects)
    columns = {"source": ["s"] * count, "id": [str(first + row) for row in range(count)]}
    if not isinstance(subjects, int):
        columns["subject"] = pa.array(subjects, pa.string())
    return pa.table(columns)


@given(SEGMENTS)
def test_every_event_has_its_key_and_subject_however_it_is_stored(given_segments):
    seen, subjects, keys, stop = SeenEvents(), [], [], 0
    for segment in given_segments:
        parts, start = [], stop
        for some in [segment] if isinstance(segment, int) else segment:
            table = part(some, stop)
            frame = pl.DataFrame(table)
            subjects += [None] * some if isinstance(some, int) else some
            keys += event_keys(frame).tolist()
            parts.append((table, frame))
            stop += table.num_rows
        where = SimpleNamespace(start=start, stop=stop)
        summaries = [SegmentSummary.of(where, *one) for one in parts]
        seen.add(SegmentSummary.joined(where, summaries))
    events = seen.events(stop)
    assert events.rows["key"].to_list() == keys
    names = events.names.to_list()
    assert len(names) == len(set(names))
    assert [
        None if number is None else names[number] for number in events.rows["subject"]
    ] == subjects
    assert seen.events(stop + 1) is None
