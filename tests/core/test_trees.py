"""Leaf hashes and compact ranges, vectorised, against the naive tree."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlake.columns.hashing import leaves
from eventlake.columns.intake.envelope import to_batch
from eventlake.columns.parquet import segments
from eventlake.columns.schema import SCHEMA
from eventlake.core.hashing.merkle import CompactRange, leaf_hash
from eventlake.testing.strategies import stored_events
from tests.support import naive
from tests.support.events import as_arrow

ANY_TEXT = st.none() | st.text(max_size=5)
"""All of Unicode that UTF-8 can spell, NUL and the empty text included: the hash has no rules of its own."""


@st.composite
def raw_tables(draw):
    rows = draw(st.integers(1, 6))
    columns = {
        name: draw(st.lists(ANY_TEXT, min_size=rows, max_size=rows))
        for name in naive.ORDER
        if name != "time"
    }
    columns["id"] = draw(st.lists(st.text(max_size=5), min_size=rows, max_size=rows))
    columns["time"] = draw(
        st.lists(st.none() | st.integers(-(2**62), 2**62), min_size=rows, max_size=rows)
    )
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def table_of(rows):
    arrays = [
        pa.array([row[f.name] for row in rows], pa.int64() if f.name == "time" else f.type).cast(
            f.type
        )
        for f in SCHEMA
    ]
    return pa.table(arrays, schema=SCHEMA)


def naive_range(entries, start, stop):
    """Aligned perfect subtrees of [start, stop), left to right, each hashed by the recursive definition."""
    nodes = []
    while start < stop:
        size = 1
        while start % (2 * size) == 0 and start + 2 * size <= stop:
            size *= 2
        nodes.append(naive.tree_hash(entries[start : start + size]))
        start += size
    return tuple(nodes)


@given(raw_tables())
def test_vectorised_leaf_hashes_are_the_naive_ones(rows):
    found = [row.tobytes() for row in leaves.leaf_hashes(table_of(rows))]
    assert found == [naive.leaf(row) for row in rows]


@given(raw_tables(), st.integers(1, 3))
def test_leaf_hashes_do_not_depend_on_the_chunk_in_which_a_row_stands(rows, chunk_rows):
    found = [row.tobytes() for row in leaves.leaf_hashes(table_of(rows), chunk_rows)]
    assert found == [naive.leaf(row) for row in rows]


@pytest.mark.parametrize("name", ["id", "type", "subject"])
def test_a_value_beyond_the_limit_leaves_the_hashes_of_other_rows_alone(name):
    plain = dict.fromkeys(naive.ORDER) | {"id": "1", "source": "/s", "type": "t"}
    rows = [plain, plain | {name: "x" * 5_000}, plain | {"id": "2"}]
    found = [row.tobytes() for row in leaves.leaf_hashes(table_of(rows))]
    assert found[::2] == [naive.leaf(row) for row in rows[::2]]


@given(
    raw_tables(),
    st.sets(st.sampled_from([n for n in naive.ORDER if n not in {"id", "source", "type"}])),
)
def test_an_absent_column_hashes_like_a_null_one(rows, dropped):
    blanked = [
        {name: None if name in dropped else value for name, value in row.items()} for row in rows
    ]
    absent = leaves.leaf_hashes(table_of(rows).drop_columns(sorted(dropped)))
    assert (absent == leaves.leaf_hashes(table_of(blanked))).all()


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 2**40))
def test_the_compact_range_of_a_batch_holds_the_roots_of_its_aligned_subtrees(start, count, seed):
    entries = [b"%d %d" % (seed, at) for at in range(start + count)]
    hashes = leaves._from_hex(
        leaves.pl.Series([leaf_hash(e).hex() for e in entries[start:]], dtype=leaves.pl.String)
    )
    found = leaves.compact_range(hashes, start)
    assert CompactRange.of_leaves(start, [leaf.tobytes() for leaf in hashes]) == found
    assert (found.start, found.stop, found.nodes) == (
        start,
        start + count,
        naive_range(entries, start, start + count),
    )


@pytest.mark.parametrize("start", [0, 7, 2**20 - 1])
def test_the_compact_range_of_a_large_batch_is_that_of_its_leaves_one_by_one(start):
    # Several threads hash the lowest level, in several steps each.
    rows = 3 * leaves.ROWS_AT_ONCE * (os.cpu_count() or 1) + 5
    hashes = np.random.default_rng(start).integers(0, 255, (rows, 32), dtype=np.uint8)
    one_by_one = CompactRange.of_leaves(start, [leaf.tobytes() for leaf in hashes])
    assert leaves.compact_range(hashes, start) == one_by_one


@given(st.integers(1, 200), st.integers(0, 120), st.data())
def test_compact_ranges_merge_in_any_order_to_the_same_range(count, start, data):
    entries = [b"%d" % at for at in range(start + count)]
    bounds = sorted(
        {start, start + count, *data.draw(st.lists(st.integers(start, start + count), max_size=6))}
    )
    parts = [
        CompactRange(a, b, naive_range(entries, a, b))
        for a, b in zip(bounds, bounds[1:], strict=False)
    ]
    while len(parts) > 1:
        at = data.draw(st.integers(0, len(parts) - 2))
        parts[at : at + 2] = [parts[at].merge(parts[at + 1])]
    assert parts[0] == CompactRange(
        start, start + count, naive_range(entries, start, start + count)
    )


@given(st.integers(0, 260))
def test_the_root_of_a_frontier_is_the_rfc_6962_tree_hash(count):
    entries = [b"leaf %d" % at for at in range(count)]
    frontier = CompactRange.empty()
    for at, entry in enumerate(entries):
        frontier = frontier.merge(CompactRange(at, at + 1, (leaf_hash(entry),)))
    assert frontier.root() == naive.tree_hash(entries)
    assert CompactRange.from_hex(0, count, frontier.hex()) == frontier


@given(
    stored_events(min_size=1),
    st.sampled_from(["none", "snappy", "gzip", "lz4", "zstd", "brotli"]),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from(["1.0", "2.4", "2.6"]),
    st.sampled_from(["1.0", "2.0"]),
)
def test_a_segment_written_with_other_parquet_settings_has_the_same_compact_range(
    history, compression, rows, dictionary, version, page_version
):
    batch, problems = to_batch(as_arrow(history))
    assert not problems
    stored = batch.stored_columns()
    ours = segments.decode(segments.encode(stored), "ours")
    sink = pa.BufferOutputStream()
    pq.write_table(
        stored,
        sink,
        compression=compression,
        row_group_size=rows,
        use_dictionary=dictionary,
        version=version,
        data_page_version=page_version,
        coerce_timestamps="us",
    )
    theirs = segments.decode(bytes(sink.getvalue()), "theirs")
    expected = naive_range([b""] * 7 + [naive.event_bytes(e) for e in history], 7, 7 + len(history))
    for table in (stored, ours, theirs):
        assert leaves.compact_range(leaves.leaf_hashes(table), 7).nodes == expected


@given(stored_events(min_size=1))
def test_a_segment_leaves_out_the_attributes_that_no_event_has(history):
    stored = to_batch(as_arrow(history))[0].stored_columns()
    assert stored.column_names == [
        name for name in naive.ORDER if any(e.get(name) is not None for e in history)
    ]
    assert segments.decode(segments.encode(stored), "x").equals(stored)


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 127, 128, 200, 1_000, 4_099])
def test_a_range_that_was_made_quick_is_the_range_wherever_it_stands(rows):
    hashes = np.random.default_rng(rows).integers(0, 255, (rows, 32), dtype=np.uint8)
    tables = leaves.blocks(hashes)
    for start in (0, 1, 63, 64, 65, 1_000, 131_072, 1_048_575, 10**9 + 7):
        naive_range = CompactRange.empty(start)
        for number, leaf in enumerate(hashes):
            naive_range = naive_range.merge(
                CompactRange(start + number, start + number + 1, (leaf.tobytes(),))
            )
        assert (
            leaves.moved_range(hashes, tables, start)
            == leaves.compact_range(hashes, start)
            == naive_range
        )
