"""What is computed of few rows by plain Python is what vector functions compute of many, and no broken rule is passed over."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from eventlake.columns.hashing import leaves
from eventlake.columns.intake import rules
from eventlake.columns.intake.envelope import Batch
from eventlake.columns.intake.few_rows import FewRows
from eventlake.columns.keys.keys import event_keys, subject_keys
from eventlake.columns.parquet import segments
from eventlake.columns.schema import SCHEMA, TYPES
from eventlake.testing.strategies import stored_events

ODD = st.sampled_from(
    [
        "",
        "\x00",
        "a\x1f",
        "\x7f",
        "\x85",
        "a\u2028",
        "é🦆",
        "events",
        "spine",
        "e" * 4096,
        "e" * 4097,
        "é" * 2049,
        "🦆" * 1024,
    ]
)
SUBJECTS = st.sampled_from(["/", "//", "/a/", "a/b", "/a//b", "/loan/7", "/loan/7/x", "loan"])


def table_of(rows):
    arrays = [
        pa.array(
            [row.get(name) for row in rows], pa.int64() if name == "time" else pa.string()
        ).cast(TYPES[name])
        for name in SCHEMA.names
    ]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


@given(
    stored_events(min_size=1), st.lists(SUBJECTS, max_size=8), st.integers(0, 4), st.integers(1, 12)
)
def test_few_rows_say_what_vectors_say(events, subjects, start, length):
    table = table_of(
        [
            {**event, **({"subject": subject} if subject else {})}
            for event, subject in zip(events, subjects + [None] * 10, strict=False)
        ]
    )
    few = FewRows.of(pa.concat_tables([table.slice(0, 1), table.slice(1)]))
    for rows, part in ((few, table), (few.slice(start, length), table.slice(start, length))):
        batch = Batch(part)
        assert rows.rows == part.num_rows
        if not rows.rows:
            continue
        assert (rows.leaf_hashes() == leaves.leaf_hashes(part)).all()
        assert rows.statistics() == segments.statistics(batch.stored_columns())
        keys, heads = rows.keys()
        assert (keys == event_keys(batch.frame)).all()
        assert np.array_equal(heads, np.sort(subject_keys(batch.frame)))
        assert np.array_equal(np.sort(batch.heads), heads)


@given(
    stored_events(min_size=1, max_size=3),
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(SCHEMA.names), ODD | st.none()), max_size=2
    ),
)
def test_a_rule_that_is_broken_is_never_taken_for_kept(events, changes):
    rows = [dict(event) for event in events]
    for row, name, value in changes:
        if name != "time":
            rows[row % len(rows)][name] = value
    batch = Batch(table_of(rows))
    if batch.few.surely_keep_text_rules():
        assert rules._text_problems(batch) == []
    if any(row.get(name) is None for row in rows for name in ("id", "source")):
        assert batch.few.keys() is None
        assert (batch.keys == event_keys(batch.frame)).all()


def test_the_rules_of_a_plain_batch_are_not_asked(monkeypatch):
    monkeypatch.setattr(rules, "_text_problems", None)
    event = {
        "source": "s",
        "type": "t",
        "subject": "/é",
        "time": 1,
        "datacontenttype": "application/json",
        "data": '{"a": 1}',
    }
    assert (
        rules.rule_problems(Batch(table_of([{"id": f"{row}", **event} for row in range(100)])))
        == []
    )
