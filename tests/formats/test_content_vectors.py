"""The content hash of fixed tables, as literals. A change here breaks every dataset that was ever built."""

import math
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from eventlake.columns.hashing.content import content_hash
from tests.support import naive_content

pytestmark = pytest.mark.every_case

MOMENT = datetime(2026, 2, 28, 23, 59, 59, 999_999)
NESTED = pa.struct([("a", pa.int32()), ("b", pa.list_(pa.struct([("c", pa.string())])))])


def nan(bits):
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


TABLES = {
    "no rows and no columns": pa.table({}),
    "no rows": pa.table({"a": pa.array([], pa.int64())}),
    "int64": pa.table({"a": pa.array([1, -(2**63), 2**63 - 1, None], pa.int64())}),
    "int32": pa.table({"a": pa.array([1, -(2**31), 2**31 - 1, None], pa.int32())}),
    "int16": pa.table({"a": pa.array([1, -(2**15), 2**15 - 1, None], pa.int16())}),
    "int8": pa.table({"a": pa.array([1, -128, 127, None], pa.int8())}),
    "uint64": pa.table({"a": pa.array([1, 0, 2**64 - 1, None], pa.uint64())}),
    "uint32": pa.table({"a": pa.array([1, 0, 2**32 - 1, None], pa.uint32())}),
    "uint16": pa.table({"a": pa.array([1, 0, 2**16 - 1, None], pa.uint16())}),
    "uint8": pa.table({"a": pa.array([1, 0, 255, None], pa.uint8())}),
    "float64": pa.table(
        {"a": pa.array([0.1, -0.0, 0.0, math.inf, -math.inf, 5e-324, None, math.nan], pa.float64())}
    ),
    "float32": pa.table(
        {
            "a": pa.array(
                [0.5, -0.0, 0.0, math.inf, -math.inf, 2.0**-149, None, math.nan], pa.float32()
            )
        }
    ),
    "bool": pa.table({"a": pa.array([True, False, None])}),
    "decimal": pa.table(
        {
            "a": pa.array(
                [Decimal("1.50"), Decimal("-0.01"), None, Decimal(10) ** 20], pa.decimal128(38, 2)
            )
        }
    ),
    "utf8": pa.table({"a": pa.array(["", "a", "grüß", "\x00", None, "日本"])}),
    "binary": pa.table({"a": pa.array([b"", b"\xff\x00", None], pa.binary())}),
    "date": pa.table({"a": pa.array([date(1970, 1, 1), date(1, 1, 1), date(9999, 12, 31), None])}),
    "time": pa.table({"a": pa.array([time(0), time(23, 59, 59, 999_999), None], pa.time64("us"))}),
    "duration": pa.table(
        {"a": pa.array([timedelta(0), timedelta(days=-1, microseconds=1), None], pa.duration("us"))}
    ),
    "timestamp": pa.table({"a": pa.array([MOMENT, datetime(1, 1, 1), None], pa.timestamp("us"))}),
    "timestamp UTC": pa.table(
        {"a": pa.array([MOMENT.replace(tzinfo=UTC), None], pa.timestamp("us", "UTC"))}
    ),
    "list": pa.table({"a": pa.array([[1, None], [], None, [3]], pa.list_(pa.int64()))}),
    "list of list": pa.table(
        {"a": pa.array([[["x"], None, []], None, []], pa.list_(pa.list_(pa.string())))}
    ),
    "struct": pa.table(
        {
            "a": pa.array(
                [{"x": 1, "y": "p"}, None, {"x": None, "y": None}],
                pa.struct([("x", pa.int8()), ("y", pa.string())]),
            )
        }
    ),
    "nested": pa.table(
        {
            "a": pa.array(
                [
                    {"a": 1, "b": [{"c": "z"}, None]},
                    {"a": None, "b": None},
                    None,
                    {"a": 2, "b": []},
                ],
                NESTED,
            )
        }
    ),
    "two columns": pa.table({"k": pa.array([1, 2], pa.int64()), "": pa.array(["é", None])}),
}

HASHES = {
    "no rows and no columns": "feef8593ed3d1aea62c3124df125f1ba9f91165388cfe9b0401b1ff0600749c5",
    "no rows": "7151a73a792b206384a6a34ce2a85c3e3bfee16af09e629bd61e917b2c111ccb",
    "int64": "e3437f28b95192f39fceaff73b342dfb22f6f0280c64ec3bfefffe4e66003506",
    "int32": "a5aeda425f3b5ebc67f4c11f57a63773dc39432d9af4ae2115ca3c8ce898e1ba",
    "int16": "0f31eb735d3b8cd54afca6be86191369c36e1d0ee7f2aceec59c5b92c8f31eb0",
    "int8": "8f3efa458e765716c75b5cca5bfa8553b3c0d2c4741ae507fb109640815f94f4",
    "uint64": "8b13dc32ef0fe250533e82651f83c13cb97d796e017006debe90c5f52016d4c2",
    "uint32": "0a799d2c36c8e5426c5110b224339572fb5edf9896032a2e39440f2c0309650d",
    "uint16": "c1d145166c2ddcd9a1b4c8703fe6810bf38049b88a5da9e6b5f726404fe3ac28",
    "uint8": "0634fc3e23c137de7b182a3dcc0a16ec817443766ce0b77e4fb48a3fc52f22f0",
    "float64": "ee3c77b8aa4745db793fa90e8bf5a5a468c794ae68a7a8d4b4904266fefbf316",
    "float32": "d6ce71620ad48b77398c6596138476f017f41e30282e0a2ba5bc0e1ea94a7dda",
    "bool": "b48f9df21712a481300e0e8892f8f9d5118b061cc378020f63c092207c0b996f",
    "decimal": "c7509e95764129c9ef59434bd548bf1a98c94e063d64bcdd8cbdb8c6994add4b",
    "utf8": "931c1ec4abbe17b38fc15f59d02c40e525225dd46c979956cc2cb59c512c2a33",
    "binary": "cf734426911e1d8cce1914a514213060e7185d9b1a0980ed4a3ab4fc3a9086cd",
    "date": "f77991c2f0bae62add9741ca872b2cdc53fa74367a77abbe7ee8b029fc974f10",
    "time": "facddb549c1355478564dca96a43879a1565b3a4de9118125602369f41d88dc8",
    "duration": "9cc2cb36d0ecadb8c11e34be462fc7ff7b3655301d36d751a9751fe7e6e657f2",
    "timestamp": "9a3a8244c388b670d9f3fed6b781c16cb240e62511bee658cb81a68128bee037",
    "timestamp UTC": "ac8f1927302c6bf6ca2d1c83360d5d199d89c6968a5c2c4b7613cbef52a24330",
    "list": "6f1d02464eed9a853f8282a93e2a69319efe212f00fcb8688adce9a6ea0a177c",
    "list of list": "4d2070d12929216ad94e9d2b77e27007e2272cd91213743687347c0441f27e96",
    "struct": "87a5f4a6a14bf14990caea70d84032c40c869d7c40af9a4d55560084f07f1930",
    "nested": "daefcba6a45558c75c21e9e292ea4943d247f27f395373c9cfbcf0b931798a7c",
    "two columns": "bb6cacfc8313205b74687e963d53e145d2477502d57baeb7c3bcaa906451a8d0",
}


@pytest.mark.parametrize("name", TABLES)
def test_content_hash_of_a_fixed_table_never_changes(name):
    assert content_hash(TABLES[name]) == HASHES[name]


@pytest.mark.parametrize("name", TABLES)
def test_the_naive_definition_gives_the_same_literal(name):
    assert naive_content.content_hash(TABLES[name]) == HASHES[name]


def test_every_fixed_table_has_its_own_hash():
    assert len(set(HASHES.values())) == len(TABLES) == len(HASHES)


@pytest.mark.parametrize(
    "bits",
    [
        0x7FF8000000000000,
        0xFFF8000000000000,
        0x7FF8000000000001,
        0x7FF0000000000001,
        0xFFFFFFFFFFFFFFFF,
    ],
)
def test_every_nan_is_the_one_nan(bits):
    buffer = pa.py_buffer(struct.pack("<Q", bits))
    payload = pa.Array.from_buffers(pa.float64(), 1, [None, buffer])
    assert content_hash(pa.table({"a": payload})) == naive_content.content_hash(
        pa.table({"a": pa.array([math.nan])})
    )


@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFC00000, 0x7FC00001, 0x7F800001])
def test_every_32_bit_nan_is_the_one_nan(bits):
    payload = pa.Array.from_buffers(pa.float32(), 1, [None, pa.py_buffer(struct.pack("<I", bits))])
    assert content_hash(pa.table({"a": payload})) == naive_content.content_hash(
        pa.table({"a": pa.array([math.nan], pa.float32())})
    )


def test_bytes_under_a_null_do_not_count():
    values = pa.py_buffer(struct.pack("<qq", 7, 99))
    hidden = pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), values])
    assert hidden.to_pylist() == [7, None]
    assert content_hash(pa.table({"a": hidden})) == content_hash(
        pa.table({"a": pa.array([7, None], pa.int64())})
    )


def test_list_items_under_a_null_do_not_count():
    offsets, items = pa.array([0, 1, 3], pa.int32()), pa.array([7, 8, 9], pa.int64())
    hidden = pa.ListArray.from_arrays(offsets, items, mask=pa.array([False, True]))
    assert content_hash(pa.table({"a": hidden})) == content_hash(
        pa.table({"a": pa.array([[7], None], pa.list_(pa.int64()))})
    )


def test_struct_fields_under_a_null_do_not_count():
    hidden = pa.StructArray.from_arrays([pa.array([1, 2])], ["x"], mask=pa.array([False, True]))
    expected = pa.array([{"x": 1}, None], pa.struct([("x", pa.int64())]))
    assert content_hash(pa.table({"a": hidden})) == content_hash(pa.table({"a": expected}))
