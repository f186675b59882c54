"""Rows by key, as ``diff`` counts them: key types, values, parts of any size, and a naive oracle."""

import math
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlake.columns.hashing.content import content_hash
from eventlake.columns.hashing.differs import differs
from eventlake.columns.parquet.frames import encode_parts
from eventlake.core.instants import MAX_DAY, MAX_US, MIN_DAY, MIN_US
from eventlake.datasets.comparing.diff import diff
from eventlake.datasets.comparing.merge_join import merge
from tests.support.diff_fixtures import compared, counts, stored

NAN_WITH_PAYLOAD = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]


def column(kind, *values):
    return pa.array(values, kind)


KEYS = {
    "text": column(pa.large_string(), "a", "z", "é", "\U00010000", "\uffff", ""),
    "int": column(pa.int64(), -(2**63), -1, 0, 5, 7, 2**63 - 1),
    "uint": column(pa.uint64(), 0, 1, 2, 2**63, 2**64 - 2, 2**64 - 1),
    "date": column(pa.date32(), *(date(2026, 1, day) for day in range(1, 7))),
    "far date": column(pa.int32(), MIN_DAY, -5, 0, 4, 10**6, MAX_DAY).cast(pa.date32()),
    "instant": column(
        pa.timestamp("us", "UTC"), *(datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 7))
    ),
    "far instant": column(pa.int64(), MIN_US, -5, 0, 4, 10**7, MAX_US).cast(
        pa.timestamp("us", "UTC")
    ),
    "decimal": column(
        pa.decimal128(38, 3),
        *(
            Decimal(n)
            for n in ("-1.5", "0", "0.001", "7", "10", "99999999999999999999999999999999999.999")
        ),
    ),
    "time": column(pa.time64("us"), *(time(hour) for hour in range(6))),
    "duration": column(pa.duration("us"), *(timedelta(hours=hour) for hour in range(-3, 3))),
    "binary": column(pa.large_binary(), b"", b"\x00", b"a", b"b", b"\xfe", b"\xff\xff"),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("part_rows", [1, 2, 100])
def test_rows_meet_by_keys_of_every_type_in_parts_of_any_size(kind, part_rows):
    keys = KEYS[kind]
    before = pa.table({"k": keys.take(pa.array([5, 0, 1, 3])), "v": [50, 0, 10, 30]})
    after = pa.table({"k": keys.take(pa.array([2, 4, 3, 1, 0])), "v": [20, 40, 33, 10, 0]})
    found = compared(before, after, encode_parts=partial(encode_parts, part_rows=part_rows))
    assert counts(found.rows) == {
        "before": 4,
        "after": 5,
        "added": 2,
        "removed": 1,
        "changed": 1,
        "unchanged": 2,
    }
    assert sorted(change.after["v"] for change in found.rows.added_rows) == [20, 40]
    assert [change.before["v"] for change in found.rows.removed_rows] == [50]
    assert [(change.before, change.after) for change in found.rows.changed_rows] == [
        ({"v": 30}, {"v": 33})
    ]


def test_booleans_and_several_columns_are_keys():
    key = ("s", "b", "n")
    before = pa.table(
        {"v": [1, 2, 3], "s": ["a", "a", "b"], "b": [True, False, True], "n": [1, 9, 0]}
    )
    after = pa.table(
        {"v": [1, 2, 3], "s": ["a", "a", "b"], "b": [True, True, True], "n": [1, 9, 0]}
    )
    found = compared(before, after, key).rows
    assert [(change.key, change.after) for change in found.added_rows] == [
        ({"s": "a", "b": True, "n": 9}, {"v": 2})
    ]
    assert [(change.key, change.before) for change in found.removed_rows] == [
        ({"s": "a", "b": False, "n": 9}, {"v": 2})
    ]
    assert (found.changed, found.unchanged) == (0, 2)


VALUES = {
    "null": (pa.int64(), [None, None, 0, 1], [None, 0, None, 1], [0, 1, 1, 0]),
    "double": (
        pa.float64(),
        [0.0, math.nan, 1.0, None, math.nan],
        [-0.0, NAN_WITH_PAYLOAD, 1.0000000000000002, math.nan, 0.0],
        [1, 0, 1, 1, 1],
    ),
    "float": (pa.float32(), [0.0, math.nan, 1.0], [-0.0, math.nan, 1.0], [1, 0, 0]),
    "text": (pa.large_string(), ["", None, "a"], [None, None, "A"], [1, 0, 1]),
    "list": (
        pa.large_list(pa.float64()),
        [[], None, [0.0], [None], [1.0, 2.0]],
        [None, None, [-0.0], [math.nan], [1.0, 2.0]],
        [1, 0, 1, 1, 0],
    ),
    "longer list": (pa.large_list(pa.int8()), [[1], [1, 2], [3]], [[1, 2], [1], [3]], [1, 1, 0]),
    "struct": (
        pa.struct([("x", pa.float64())]),
        [None, {"x": None}, {"x": math.nan}],
        [{"x": None}, {"x": None}, {"x": math.nan}],
        [1, 0, 0],
    ),
    "nested": (
        pa.large_list(pa.struct([("x", pa.large_list(pa.bool_()))])),
        [[{"x": [True]}], [None]],
        [[{"x": [False]}], [{"x": None}]],
        [1, 1],
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_differ_where_content_hashes_would(name):
    kind, before, after, expected = VALUES[name]
    before, after = pa.array(before, kind), pa.array(after, kind)
    assert differs(before, after).tolist() == [bool(each) for each in expected]
    assert differs(before.slice(1), after.slice(1)).tolist() == [
        bool(each) for each in expected[1:]
    ]
    for place, unlike in enumerate(expected):
        pair = [content_hash(pa.table({"v": array.slice(place, 1)})) for array in (before, after)]
        assert (pair[0] != pair[1]) == bool(unlike)


FLOATS = st.sampled_from([0.0, -0.0, math.nan, math.inf, 1.5, None])
KINDS = {
    "f": pa.float64(),
    "t": pa.large_string(),
    "l": pa.large_list(pa.float32()),
    "d": pa.decimal128(9, 2),
}
ROW = st.fixed_dictionaries(
    {
        "f": FLOATS,
        "t": st.sampled_from(["", "a", None]),
        "l": st.none() | st.lists(FLOATS, max_size=2),
        "d": st.sampled_from([None, Decimal("1.00")]),
    }
)
TABLES = st.dictionaries(
    st.tuples(st.sampled_from(["", "a", "b", "é", "\U00010000"]), st.integers(-2, 3)),
    ROW,
    max_size=25,
)


def table_of(rows):
    keys = {
        "a": pa.array([key[0] for key in rows], pa.large_string()),
        "b": pa.array([key[1] for key in rows], pa.int16()),
    }
    return pa.table(
        keys
        | {
            name: pa.array([row[name] for row in rows.values()], kind)
            for name, kind in KINDS.items()
        }
    )


def bits(value):
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return [bits(each) for each in value] if isinstance(value, list) else value


@given(TABLES, TABLES, st.integers(1, 7), st.integers(1, 4))
def test_rows_are_counted_as_a_dictionary_counts_them(before, after, part_rows, group_rows):
    parts = partial(encode_parts, part_rows=part_rows, group_rows=group_rows)
    found = compared(table_of(before), table_of(after), ("a", "b"), encode_parts=parts)
    differing = {
        key: [name for name in KINDS if bits(before[key][name]) != bits(after[key][name])]
        for key in sorted(before.keys() & after.keys())
    }
    changed = {key: names for key, names in differing.items() if names}
    assert found.identical == (before.keys() == after.keys() and not changed)
    assert counts(found.rows) == {
        "before": len(before),
        "after": len(after),
        "added": len(after.keys() - before.keys()),
        "removed": len(before.keys() - after.keys()),
        "changed": len(changed),
        "unchanged": len(differing) - len(changed),
    }
    assert found.rows.columns == {
        name: sum(name in names for names in changed.values()) for name in KINDS
    }
    shown = [((row.key["a"], row.key["b"]), list(row.before)) for row in found.rows.changed_rows]
    assert shown == list(changed.items())[:10]
    assert [tuple(row.key.values()) for row in found.rows.added_rows] == sorted(
        after.keys() - before.keys()
    )[:10]
    assert [tuple(row.key.values()) for row in found.rows.removed_rows] == sorted(
        before.keys() - after.keys()
    )[:10]


@pytest.mark.parametrize(
    "sides",
    [((0, 1000), (0, 1000)), ((0, 500), (500, 1000)), ((0, 0), (0, 700)), ((0, 1000), (990, 1000))],
)
def test_no_more_than_a_piece_of_each_side_is_held(sides):
    pulled, given_ = [0], 0

    def pieces(start, stop, size):
        for first in range(start, stop, size):
            rows = pa.table({"k": pa.array(range(first, min(stop, first + size)), pa.int64())})
            pulled[0] += rows.num_rows
            yield rows

    for step in merge(pieces(*sides[0], 17), pieces(*sides[1], 5), ["k"]):
        assert pulled[0] - given_ <= 17 + 5
        given_ += step.rows
    assert given_ == pulled[0] == sum(stop - start for start, stop in sides)


def test_ten_examples_are_kept_and_all_are_counted():
    before = pa.table({"k": np.arange(0, 100), "v": np.zeros(100, np.int64)})
    after = pa.table({"k": np.arange(50, 150), "v": np.ones(100, np.int64)})
    found = compared(before, after, encode_parts=partial(encode_parts, part_rows=7))
    assert counts(found.rows) == {
        "before": 100,
        "after": 100,
        "added": 50,
        "removed": 50,
        "changed": 50,
        "unchanged": 0,
    }
    for kind, first in (("added", 100), ("removed", 0), ("changed", 50)):
        assert [row.key["k"] for row in getattr(found.rows, f"{kind}_rows")] == list(
            range(first, first + 10)
        )
        assert f"50 rows {kind}, the first 10" in found.text()


def test_empty_datasets_are_compared():
    none, some = (
        pa.table({"k": pa.array([], pa.int64()), "v": pa.array([], pa.int64())}),
        pa.table({"k": [1, 2], "v": [3, 4]}),
    )
    assert compared(none, none).identical
    assert counts(compared(none, some).rows) == {
        "before": 0,
        "after": 2,
        "added": 2,
        "removed": 0,
        "changed": 0,
        "unchanged": 0,
    }
    assert counts(compared(some, none).rows) == {
        "before": 2,
        "after": 0,
        "added": 0,
        "removed": 2,
        "changed": 0,
        "unchanged": 0,
    }
    empty = compared(none, none.rename_columns(["k", "w"]))
    assert (empty.identical, empty.rows.before, empty.not_compared) == (
        False,
        0,
        {"v": "only in the first", "w": "only in the second"},
    )


def test_columns_that_one_lacks_or_types_otherwise_are_schema_and_not_values():
    before = pa.table({"k": [1, 2], "same": ["a", "b"], "typed": [1, 2], "gone": [1, 1]})
    after = pa.table(
        {"k": [1, 2], "new": [1, 1], "typed": pa.array([1, 2], pa.int32()), "same": ["a", "c"]}
    )
    found = compared(before, after)
    assert [(change.what, change.before, change.after) for change in found.schema] == [
        ("typed", "int64", "int32"),
        ("gone", "int64", "absent"),
        ("new", "absent", "int64"),
        ("order of columns", "k, same, typed", "k, typed, same"),
    ]
    assert found.rows.columns == {"same": 1}
    assert found.not_compared == {
        "typed": "other type",
        "gone": "only in the first",
        "new": "only in the second",
    }
    assert (
        "values not compared: typed (other type), gone (only in the first), new (only in the second)"
        in found.text()
    )


@pytest.mark.parametrize(
    ("after", "key", "reason"),
    [
        (pa.table({"k": [1], "v": [2]}), ("k", "v"), "the keys differ (k; k, v)"),
        (
            pa.table({"k": ["1"], "v": [2]}),
            ("k",),
            "key column k is int64 in the first and utf8 in the second",
        ),
    ],
)
def test_rows_of_other_keys_are_not_compared_and_that_is_said(after, key, reason):
    found = diff(stored(pa.table({"k": [1], "v": [1]})), stored(after, key), lambda _: None)
    assert (found.identical, found.rows) == (False, None)
    assert reason in found.refusal
    assert f"not compared: {reason}" in found.text()
    assert reason in found.card().facts[-1][1]
