"""Dicts are read column by column: with the events and the problems of reading them one by one."""

import dataclasses
import enum
import json
import struct
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlake.columns.instants import from_texts, from_values
from eventlake.columns.intake.objects import _attributes, from_objects
from eventlake.columns.intake.payload_text import payload_text
from eventlake.columns.intake.plain_payloads import plain_texts
from eventlake.columns.schema import INSTANT
from eventlake.core.instants import instant_of, micros, parse_instant
from eventlake.core.payload import _BY_TYPE, _scalar, to_json

MANY = 70


class Name(str):
    """Text of a subclass."""

    __slots__ = ()


class Level(enum.IntEnum):
    """An integer by another name."""

    HIGH = 3


class Colour(enum.StrEnum):
    """A text by another name."""

    RED = "r"


class Half(float):
    """A double that shows itself as something else."""

    def __repr__(self):
        return "half"


class Zone(tzinfo):
    """A zone that has no hash and no offset."""

    __hash__ = None

    def utcoffset(self, _):
        return None


class Model(msgspec.Struct):
    """What msgspec writes and the lake refuses."""

    a: int = 1


@dataclasses.dataclass
class Record:
    """As above."""

    a: int = 1


class Pair(NamedTuple):
    """A tuple of a subclass."""

    a: int
    b: int


def nested(levels, inner):
    for _ in range(levels):
        inner = [inner]
    return inner


def circle():
    one = []
    one += [one, one]
    return one


STRANGE = [
    *(float("nan"), float("inf"), -0.0, 1e16, 1e-5, 5e-324, 1e308, Half(0.5), np.float64(0.5)),
    *(2**63, 2**64, -(2**70), 10**400, 10**5000, Level.HIGH, np.int64(3), True),
    *("\ud800", "\x00\x1f\x7f\u2028", Name("n"), Colour.RED, np.str_("x"), b"{}", b"\xff"),
    *(Decimal("1.50"), Decimal("NaN"), Decimal("1E+9999"), date(2026, 1, 2), UUID(int=7)),
    *(datetime(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), datetime(1, 1, 1, tzinfo=Zone())),
    *({1, 2}, {1: 2}, {None: 1}, {True: 1}, {Name("k"): 1}, {b"k": 1}, Pair(1, 2), (1, [2])),
    *(OrderedDict(a=1), MappingProxyType({"a": 1}), Model(), Record(), msgspec.Raw(b"{"), object()),
    *(nested(63, 1), nested(64, 1), nested(65, 1), nested(500, 1), circle(), [], {}, [{}], ()),
    *(np.datetime64("NaT"), np.array([1.5]), np.array(1.5), msgspec.UNSET, range(3)),
]
plain = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        # By their numbers: not every value has a ``repr``.
        st.integers(0, len(STRANGE) - 1).map(lambda number: STRANGE[number]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def told(problems):
    return [str(problem) for problem in problems]


def one_by_one(payloads):
    problems = []
    texts = [
        None if value is None else payload_text(row, value, problems)
        for row, value in enumerate(payloads)
    ]
    return texts, told(problems)


@given(st.lists(plain, max_size=4))
def test_payloads_are_written_together_as_they_are_one_by_one(payloads):
    written = plain_texts(payloads)
    if written is None:
        return
    texts, problems = one_by_one(payloads)
    assert [problem for problem in problems if "surrogates" not in problem] == []
    assert [a for a, b in zip(written, texts, strict=True) if b is not None] == [
        text for text in texts if text is not None
    ]


@pytest.mark.parametrize("number", range(len(STRANGE)))
def test_a_strange_value_is_written_or_refused_as_on_its_own(number):
    for value in (STRANGE[number], {"a": [1, {"b": STRANGE[number]}]}):
        written, (texts, problems) = plain_texts([value]), one_by_one([value])
        assert written is None or written == texts or any("surrogates" in one for one in problems)


def test_usual_payloads_are_written_together():
    usual = [{"a": 1.5, "b": ["ü\n", True, None, {"c": 0.0}], "d": -7}, None, '{"as": "is"}', [1]]
    assert plain_texts(usual) == [
        '{"a":1.5,"b":["ü\\n",true,null,{"c":0.0}],"d":-7}',
        None,
        '{"as": "is"}',
        "[1]",
    ]


def test_every_character_is_escaped_in_one_way():
    text = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    assert plain_texts([[text]]) == [to_json([text])]


@given(st.lists(st.binary(min_size=8, max_size=8).map(lambda bits: struct.unpack("d", bits)[0])))
@example([1e-4, 0.00010000000000000002, 9999999999999998.0, 0.1 + 0.2, -0.0])
def test_doubles_have_one_spelling(values):
    for value in values:
        assert plain_texts([[value]]) in (None, [f"[{value!r}]"])


@given(st.integers(-4, 15), st.floats(1, 9.999999999999999))
def test_doubles_without_an_exponent_are_written_together(exponent, digits):
    value = digits * 10.0**exponent
    assert 1e-4 <= value < 1e16
    assert plain_texts([[value, -value]]) == [f"[{value!r},{-value!r}]"]


@pytest.mark.parametrize("kind", _BY_TYPE)
def test_frequent_types_are_written_as_others_are(kind):
    values = {
        str: ["", "ü\n"],
        bool: [True, False],
        type(None): [None],
        int: [0, -(10**30)],
        float: [1e16, -0.0, 1e-7],
        Decimal: [Decimal("1E+2"), Decimal("-0.00")],
    }[kind]
    for value in values:
        assert to_json(value) == (
            json.dumps(value, ensure_ascii=False) if kind is str else _scalar(value)
        )


NAMES = ("id", "source", "type", "subject", "time", "data", "correlation_id", "correlationid", "x")
times = st.one_of(
    st.none(),
    st.datetimes(timezones=st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")])),
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.sampled_from(
        [
            *("2026-01-31T12:00:00+01:00", "2026-02-30T00:00:00Z", "2026-01-31 12:00:00Z", "now"),
            *("0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "2026-01-01T24:00:00Z", ""),
            *("2026-01-01T00:00:60Z", "2026-01-01T00:00:00", "2026-01-01", "\ud800", Name("x")),
            *(datetime(2026, 1, 1), date(2026, 1, 1), 5, float("nan"), np.datetime64("NaT")),
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
            datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-3))),
            datetime(2026, 1, 1, tzinfo=timezone(timedelta(microseconds=7))),
            datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
            datetime(1, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo")),
            datetime(2026, 1, 1, tzinfo=Zone()),
        ]
    ),
)
events = st.dictionaries(
    st.sampled_from(NAMES), st.one_of(st.text(max_size=3), plain), max_size=5
) | st.fixed_dictionaries({"id": st.text(max_size=3), "time": times, "data": plain})


def read_one_by_one(given):
    """Events that are no dicts have their names looked at, and few instants are read singly."""
    tables, problems = [], []
    for row, event in enumerate(given):
        table, found = from_objects([MappingProxyType(event)])
        tables.append(table)
        problems += [problem.shifted(row) for problem in found]
    return pa.concat_tables(tables, promote_options="permissive"), problems


def by_place(problems):
    return sorted(told(problems))


@given(st.lists(events, min_size=1, max_size=4), st.lists(events, max_size=1))
def test_many_dicts_are_read_as_each_of_them_is(usual, odd):
    batch = [*usual * (MANY // len(usual) + 1), *odd]
    table, problems = from_objects(batch)
    expected, found = read_one_by_one(batch)
    assert by_place(problems) == by_place(found)
    # A table that has no other column has ids, which are null.
    names = sorted({*table.column_names, *expected.column_names} - {"id"})
    assert table.select(names).to_pydict() == expected.select(names).to_pydict()
    ids = [None] * len(batch)
    assert table.to_pydict().get("id", ids) == expected.to_pydict().get("id", ids)


def test_the_dicts_of_a_caller_are_not_changed():
    batch = [{"id": str(n), "source": "s", "type": "t", "data": {"n": n}} for n in range(MANY)]
    before = json.dumps(batch)
    from_objects(batch)
    assert json.dumps(batch) == before


def test_own_names_are_those_that_are_not_translated():
    problems = []
    event = dict.fromkeys(NAMES[:-2], "v")
    assert _attributes(0, event, problems) == event
    assert problems == []


@given(st.lists(times, min_size=1))
def test_instants_are_read_together_as_they_are_one_by_one(values):
    together = from_values(values)
    if together is not None:
        assert together.type == INSTANT
        assert together.cast(pa.int64()).to_pylist() == [
            None if value is None else instant_of(value) for value in values
        ]


@pytest.mark.parametrize("values", [["2026-01-31T12:00:00.5+01:00"], [datetime.now(UTC)]])
def test_usual_instants_are_read_together(values):
    assert from_values([*values, None]) is not None


@given(
    st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,7})?(Z|[+-][0-2][0-9]:[0-6][0-9])\n?",
        fullmatch=True,
    )
)
@example("0000-12-31T23:59:00-00:01")
def test_text_is_an_instant_in_a_column_as_on_its_own(text):
    found = from_texts(pa.array([text]))
    if found is not None:
        assert found.cast(pa.int64()).to_pylist() == [parse_instant(text)]


@pytest.mark.parametrize("ignored", ["", "1"])
def test_zones_are_heeded_whatever_arrow_is_told(monkeypatch, ignored):
    monkeypatch.setenv("PYARROW_IGNORE_TIMEZONE", ignored)
    zones = (UTC, ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=1)))
    moments = [datetime(2026, 10, 25, 2, 30, fold=n % 2, tzinfo=zones[n % 4]) for n in range(MANY)]
    for some in (moments, moments[0::4] * 4, moments[1::4] * 4, moments[2::4] * 4):
        table, problems = from_objects([{"id": "1", "time": moment} for moment in some])
        assert table["time"].cast(pa.int64()).to_pylist() == list(map(micros, some))
        assert problems == []
