"""Event tables are sorted by subject and sequence, as bytes and numbers are."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from eventlake.tables.derive import joined

SUBJECTS = st.lists(st.none() | st.text("aé\U0001f600\uffff/", max_size=3), max_size=30)


@given(SUBJECTS, SUBJECTS)
def test_rows_are_sorted_by_subject_without_subject_first_then_by_sequence(first, second):
    numbers = [*range(0, 2 * len(first), 2), *range(1, 2 * len(second), 2)]
    rows = list(zip([*first, *second], numbers, strict=True))
    tables = [
        pa.table(
            {"subject": pa.array(subjects, pa.string()), "sequence": pa.array(some, pa.int64())}
        )
        for subjects, some in ((first, numbers[: len(first)]), (second, numbers[len(first) :]))
    ]
    found = joined(tables)
    expected = sorted(rows, key=lambda row: (row[0] is not None, (row[0] or "").encode(), row[1]))
    assert list(zip(found["subject"].to_pylist(), found["sequence"].to_pylist(), strict=True)) == (
        expected
    )
