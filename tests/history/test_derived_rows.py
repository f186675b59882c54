"""Derived rows are compared with stored ones in batches, and wait in files where they are many."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlake as el
from eventlake.columns.rows import combined, gathered, taken
from eventlake.history.verifying.derived_rows import DerivedRows, Spill
from eventlake.history.verifying.report import Tally
from eventlake.history.verifying.tables import verify_typed
from eventlake.tables import stored_table
from eventlake.tables.derive import joined
from eventlake.tables.ranges import folder

ROWS = st.lists(
    st.tuples(st.none() | st.text("abé/", max_size=3), st.text(max_size=3)), max_size=20
)
CUTS = st.lists(st.integers(0, 20), max_size=4)


def table(rows, first=0):
    return pa.table(
        {
            "sequence": pa.array(range(first, first + len(rows)), pa.int64()),
            "subject": pa.array([subject for subject, _ in rows], pa.string()),
            "text": pa.array([text for _, text in rows], pa.string()),
        }
    )


def parts(whole, cuts):
    bounds = sorted({0, *(cut for cut in cuts if cut < len(whole)), len(whole)})
    return [whole.slice(a, b - a) for a, b in zip(bounds, bounds[1:], strict=False)]


@given(ROWS, CUTS, CUTS, st.sampled_from([1, 10**9]))
def test_rows_are_compared_the_same_however_they_are_cut_and_kept(rows, cuts, batches, most_bytes):
    whole = table(rows)
    ordered = joined([whole])
    more = joined([whole, table([("a", "")], len(rows))])
    reversed_rows = joined([table(rows[::-1])])
    for stored, expected in (
        (ordered, True),
        (more, False),
        (ordered.slice(1), not rows),
        (reversed_rows, reversed_rows.equals(ordered)),
    ):
        derived = DerivedRows()
        with Spill(most_bytes) as spill:
            for part in parts(whole, cuts):
                derived.add(part)
                spill.limit([derived])
            assert derived.are(parts(stored, batches)) == expected


@given(ROWS.filter(lambda rows: len({subject for subject, _ in rows}) > 1))
def test_rows_in_another_order_are_others(rows):
    derived, whole = DerivedRows(), table(rows)
    derived.add(whole)
    ordered = joined([whole])
    assert derived.are([whole]) == whole.equals(ordered)


def test_rows_beyond_the_bound_wait_in_files_which_are_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "eventlake.history.verifying.derived_rows.new_folder", lambda: _made(tmp_path / "spilled")
    )
    few, many = DerivedRows(), DerivedRows()
    few.add(table([("a", "x")]))
    many.add(table([("a", "x" * 1000)] * 10))
    with Spill(2_000) as spill:
        spill.limit([few, many])
        assert many.size_bytes == 0 < few.size_bytes
        assert len(list((tmp_path / "spilled").iterdir())) == 1
        assert many.are([table([("a", "x" * 1000)] * 10)])
        many.discard()
        assert not list((tmp_path / "spilled").iterdir())
    assert not (tmp_path / "spilled").exists()


def test_rows_stay_in_memory_where_no_file_can_be_made(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "eventlake.history.verifying.derived_rows.new_folder", lambda: tmp_path / "nowhere"
    )
    rows = DerivedRows()
    rows.add(table([("a", "x")]))
    with Spill(1) as spill:
        spill.limit([rows])
    assert rows.size_bytes
    assert rows.are([table([("a", "x")])])


@pytest.mark.parametrize("combined_bytes", [1, 1 << 30])
def test_rows_are_taken_from_wide_text_as_from_any(combined_bytes):
    whole = pa.concat_tables([table([("a", "x"), (None, "y")]), table([("b", "z")], 2)])
    rows = pa.array([2, 0])
    expected = gathered(whole, rows)
    assert taken(combined(whole, combined_bytes), rows, whole.schema).equals(expected)


def _made(folder):
    folder.mkdir()
    return folder


@pytest.mark.parametrize("most_bytes", [1, None])
def test_a_table_of_wrong_rows_is_found_whatever_the_bound(tmp_path, monkeypatch, most_bytes):
    lake = el.create(tmp_path / "lake", "rows.example")
    for name in ("a", "b"):
        lake.register(name, {"type": "object", "properties": {"n": {"type": "integer"}}})
    for first in range(0, 40, 10):
        lake.append(
            [
                {"id": str(n), "source": "s", "type": "ab"[n % 2], "data": {"n": n}}
                for n in range(first, first + 10)
            ]
        )
    with monkeypatch.context() as patch:
        patch.setattr(
            stored_table, "joined", lambda tables: _without_zero(pa.concat_tables(tables))
        )
        lake.snapshot().sql("SELECT count(*) FROM a, b")
    tally = Tally()
    files = {item.path: item.size_bytes for item in lake._chain.storage.list("")}
    verify_typed(lake._chain, files, tally, most_bytes=most_bytes)
    mine = {
        path for path in files if path.startswith(folder(lake._chain.catalogue().types["a"][-1]))
    }
    assert {finding.path for finding in tally.problems} == mine
    assert "does not match its segments" in tally.problems[0].message


def _without_zero(rows):
    values = [n or 1 for n in rows["n"].to_pylist()]
    return rows.set_column(rows.schema.get_field_index("n"), "n", pa.array(values, pa.int64()))
