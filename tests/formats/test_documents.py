"""Pinned bytes: Python values as JSON, canonical extensions, log entries."""

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from uuid import UUID

import pytest

import eventlake as el
from eventlake.core.documents.commit import Commit, commit_hash
from eventlake.core.documents.manifest import KeyFile, Recent, Tier
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.canonical import canonical_json, seal, unseal
from eventlake.core.payload import to_json
from eventlake.storage import MemoryStorage
from tests.support import naive

pytestmark = pytest.mark.every_case


class Level(IntEnum):
    """An int with a name."""

    HIGH = 3


class Colour(StrEnum):
    """A str with a name."""

    RED = "red"


PYTHON_VALUES = [
    (None, "null"),
    (True, "true"),
    (False, "false"),
    (0, "0"),
    (-7, "-7"),
    (10**30, "1000000000000000000000000000000"),
    (Level.HIGH, "3"),
    (Colour.RED, '"red"'),
    (0.1, "0.1"),
    (100.0, "100.0"),
    (-0.0, "-0.0"),
    (1e16, "1e+16"),
    (1e-7, "1e-07"),
    (5e-324, "5e-324"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (Decimal("100.00"), "100.00"),
    (Decimal("1E+3"), "1000"),
    (Decimal("1E-7"), "0.0000001"),
    (Decimal("-0.00"), "-0.00"),
    (Decimal("12345678901234567890.123456789"), "12345678901234567890.123456789"),
    ("", '""'),
    ('a"b\\c/d', '"a\\"b\\\\c/d"'),
    ("\b\f\n\r\t\x00\x1f", '"\\b\\f\\n\\r\\t\\u0000\\u001f"'),
    ("é€🦆\u2028\x7f", '"é€🦆\u2028\x7f"'),
    (datetime(2026, 1, 31, 12, tzinfo=UTC), '"2026-01-31T12:00:00Z"'),
    (datetime(2026, 1, 31, 12, 0, 0, 1000, tzinfo=UTC), '"2026-01-31T12:00:00.001000Z"'),
    (
        datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        '"2026-01-31T06:30:00Z"',
    ),
    (datetime(1, 1, 1, tzinfo=UTC), '"0001-01-01T00:00:00Z"'),
    (date(2026, 1, 31), '"2026-01-31"'),
    (UUID("{12345678-1234-5678-1234-567812345678}"), '"12345678-1234-5678-1234-567812345678"'),
    ([], "[]"),
    ({}, "{}"),
    ((1, [2, (3,)]), "[1,[2,[3]]]"),
    ({"b": 1, "a": {"é": None, "": [True]}}, '{"b":1,"a":{"é":null,"":[true]}}'),
]


@pytest.mark.parametrize(
    ("value", "text"),
    PYTHON_VALUES,
    ids=[f"{n} {type(value).__name__}" for n, (value, _) in enumerate(PYTHON_VALUES)],
)
def test_python_values_have_one_spelling_for_ever(value, text):
    assert to_json(value) == text


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        {1: 2},
        {"a": {None: 1}},
        {1, 2},
        b"{}",
        object(),
        datetime(2026, 1, 1),
        timedelta(1),
        1j,
    ],
    ids=lambda value: f"{type(value).__name__} {str(value)[:12]}",
)
def test_python_values_without_a_json_form_are_refused(value):
    with pytest.raises((ValueError, TypeError)):
        to_json([value])


def test_a_list_that_holds_itself_is_refused_for_its_depth():
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="deeper than 64"):
        to_json(loop)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"b": 1, "a": "x"}, '{"a":"x","b":1}'),
        ('{ "b" : [1, {"d":2,"c":null}],\t"a":true }', '{"a":true,"b":[1,{"c":null,"d":2}]}'),
        ('{"é":"\\u00e9\\u0001\\/","z":-0}', '{"z":0,"é":"é\\u0001/"}'),
        ({"n": 10**25}, '{"n":10000000000000000000000000}'),
        ('{"\U0001f986":1,"\uff5e":2}', '{"\uff5e":2,"\U0001f986":1}'),
        ({}, None),
        ("{}", None),
        (None, None),
    ],
)
def test_extensions_are_kept_in_canonical_json(given, kept):
    lake = el.create("memory://", "o")
    lake.append([{"id": "1", "source": "s", "type": "t", "extensions": given}])
    assert lake.snapshot().scan(columns=["extensions"]).collect().item() == kept


def test_extensions_given_by_name_stand_among_the_others():
    lake = el.create("memory://", "o")
    lake.append(
        [{"id": "1", "source": "s", "type": "t", "zone": 3, "extensions": {"b": 1}, "area": "x"}]
    )
    assert (
        lake.snapshot().scan(columns=["extensions"]).collect().item()
        == '{"area":"x","b":1,"zone":3}'
    )


SEGMENT = Segment(
    sha256="ab" * 32,
    size_bytes=1234,
    start=2,
    stop=4,
    columns=("id", "source", "type", "time"),
    nodes=("dbbd68c325614a73dacb4e7a87a2b7b4ae9724b489e5629ee83151fe8f0eafd7",),
    types=(("a", 1), ("ü", 1)),
    time=(-5, 7),
    undated=1,
    recorded=None,
)
TIER = Tier(0, 1, "12" * 32, 345, KeyFile("34" * 32, 678, 9, 10, 0, 2))
COMMIT = Commit(
    version=1,
    origin="bank.example/loans",
    prev="cd" * 32,
    commit_id="00000000-0000-4000-8000-000000000000",
    kind="append",
    recorded_at=1_767_225_600_000_000,
    start=2,
    stop=4,
    root="33376a3bd63e9993708a84ddfe6c28ae58b83505dd1fed711bd924ec5a6239f0",
    frontier=("33376a3bd63e9993708a84ddfe6c28ae58b83505dd1fed711bd924ec5a6239f0",),
    segments=(SEGMENT,),
    fence=0,
    tiers=(TIER,),
    recent=Recent(1, (7).to_bytes(8, "little"), b"", (replace(TIER.keys, start=1),)),
)
COMMIT_BYTES = (
    '{"checksum":"7cd364a7c73919bb4b7ec1aa01ece1049e5f6d0a517c005e941660f174ef510c","commit_id":"00000000-0000-4000-8000-00'
    '0000000000","fence":0,"format":1,"frontier":["33376a3bd63e9993708a84ddfe6c28ae58b83505dd1fed711bd924ec5a6239f0"],"kind":"append"'
    ',"origin":"bank.example/loans","prev":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","recent":{"fi'
    'les":[{"bytes":678,"heads":10,"ids":9,"sha256":"3434343434343434343434343434343434343434343434343434343434343434","shi'
    'ft":2,"start":1}],"heads":"","ids":"BwAAAAAAAAA=","start":1},"recorded_at":1767225600000000,"root":"33376a3bd63e999370'
    '8a84ddfe6c28ae58b83505dd1fed711bd924ec5a6239f0","schemas":null,"segments":[{"bytes":1234,"columns":["id","source","type","time"],"ran'
    'ge":["dbbd68c325614a73dacb4e7a87a2b7b4ae9724b489e5629ee83151fe8f0eafd7"],"recorded_at":null,"sha256":"abababababababab'
    'abababababababababababababababababababababababab","start":2,"stop":4,"time":[-5,7],"types":{"a":1,"ü":1},"undated":1}]'
    ',"start":2,"stop":4,"tiers":[{"keys":{"bytes":678,"heads":10,"ids":9,"sha256":"343434343434343434343434343434343434343'
    '4343434343434343434343434","shift":2,"start":0},"rows":{"bytes":345,"sha256":"1212121212121212121212121212121212121212'
    '121212121212121212121212"},"start":0,"stop":1}],"version":1}'
).encode()


def test_a_commit_is_written_in_these_bytes_and_read_back():
    assert COMMIT.encode() == COMMIT_BYTES
    assert Commit.decode(COMMIT_BYTES, "log/1") == COMMIT
    assert (
        commit_hash(COMMIT_BYTES)
        == "0c931a736e87d950d0acad7c02101989d8e734807a45bf26eff56228644148b8"
    )


def test_the_checksum_of_a_commit_is_that_of_the_naive_canonical_json():
    document = unseal(COMMIT_BYTES, "log/1")
    assert naive.sealed(document) == COMMIT_BYTES == seal(document)


def test_lake_json_is_written_in_canonical_json_with_its_checksum(monkeypatch):
    monkeypatch.setattr("eventlake.lake._now", lambda: 1_767_225_600_000_000)
    storage = MemoryStorage()
    el.create(storage, "bank.example/loans")
    assert storage.read("lake.json") == naive.sealed(
        {
            "created": 1_767_225_600_000_000,
            "format": 1,
            "origin": "bank.example/loans",
            "strict": False,
        }
    )
    assert storage.read("lake.json") == (
        b'{"checksum":"11c81f7ffbf08c8c2dbd464c440087f39a8851aad2fe04ce6361cea179cba76f","created":1767225600000000,"format":1,"origin":"bank.example/loans","strict":false}'
    )


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": [1, "é", None, True, {"\x00": -1}], "\U0001f986": 1, "\uff5e": 2},
        {"z": {"b": 0, "a": 0}},
        {"a": '"\\\x1f\x7f/'},
    ],
)
def test_canonical_json_is_the_naive_one(value):
    assert canonical_json(value) == naive.canonical(value)


@pytest.mark.parametrize("value", [1.0, {"a": [0.5]}, {1: 2}, {"a": {None: 1}}], ids=repr)
def test_canonical_json_has_no_floats_and_no_other_keys_than_text(value):
    with pytest.raises(TypeError):
        canonical_json(value)
