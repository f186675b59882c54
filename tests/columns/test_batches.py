"""Parquet is decoded in batches of bounded bytes, whatever its row groups are."""

import io

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlake.columns.parquet import batches, segments
from eventlake.columns.parquet.foreign_files import parquet_parts
from eventlake.memory import batch_bytes, part_bytes


def encoded(table, group_rows, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=group_rows, **options)
    return sink.getvalue()


@given(
    st.lists(st.text(max_size=40), min_size=1, max_size=60),
    st.integers(1, 70),
    st.integers(1, 400),
    st.none() | st.integers(1, 70),
)
def test_batches_are_the_rows_in_order_within_both_limits(texts, group_rows, most_bytes, most_rows):
    table = pa.table({"number": range(len(texts)), "text": texts})
    file = batches.opened(pa.BufferReader(encoded(table, group_rows)))
    found = list(batches.joined(batches.pieces(file, most_bytes), most_bytes, most_rows))
    assert pa.concat_tables(found).equals(table)
    assert all(part.num_rows for part in found)
    if most_rows is not None:
        assert max(part.num_rows for part in found) <= most_rows
    piece = batches.piece_rows(file.metadata, most_bytes)
    for part in found:
        # It had room for its last piece.
        assert part.slice(0, max(part.num_rows - piece, 0)).nbytes < most_bytes


@pytest.mark.parametrize("dictionary", [False, True])
def test_one_row_group_of_large_texts_is_many_batches(dictionary):
    texts = [str(n) * 500 for n in range(1_000, 3_000)]
    table = pa.table({"id": texts, "source": texts, "type": texts, "data": texts})
    data = encoded(table, 1 << 20, use_dictionary=dictionary)
    for read in (segments.batches, segments.strict_batches, segments.plain_batches):
        found = list(read(data, "x", most_bytes=1 << 20))
        assert len(found) > 8
        assert pa.concat_tables(found).equals(table)
    assert max(part.nbytes for part in found) < 2 << 20
    named = pa.concat_tables(segments.batches(data, "x", ["data", "time"], most_bytes=1 << 20))
    assert named.equals(table.select(["data"]))


def test_parts_of_a_file_of_events_are_bounded_in_bytes_too(tmp_path):
    table = pa.table({"data": [f"{number:01000}" for number in range(900)]})
    pq.write_table(table, tmp_path / "x.parquet")
    assert [one.num_rows for one in parquet_parts(str(tmp_path / "x.parquet"), 400)] == [
        400,
        400,
        100,
    ]
    few = list(parquet_parts(str(tmp_path / "x.parquet"), 400, 100_000))
    assert max(one.num_rows for one in few) < 200
    assert pa.concat_tables(few).equals(table)


def test_the_size_of_a_batch_follows_the_memory_limit(monkeypatch):
    monkeypatch.delenv("EVENTLAKE_MEMORY", raising=False)
    usual = batch_bytes()
    monkeypatch.setenv("EVENTLAKE_MEMORY", "640MB")
    assert batch_bytes() == 10_000_000 < usual
    assert part_bytes() == 4 * batch_bytes()
    monkeypatch.setenv("EVENTLAKE_MEMORY", "999999TB")
    assert batch_bytes() == usual


def test_frames_of_no_rows_have_no_batches():
    data = encoded(pl.DataFrame({"a": []}).to_arrow(), 10)
    assert list(segments.plain_batches(data, "x")) == []
