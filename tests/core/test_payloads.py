"""Payload text: accepted or refused as a second parser says, and never changed."""

import json
import math
import tempfile

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.columns.intake.json_scan import deeper_than, payload_problems, scan_one
from eventlake.core.payload import to_json
from eventlake.errors import InvalidEventsError
from eventlake.testing.strategies import PAYLOADS
from tests.scope import examples
from tests.support import naive
from tests.support.events import as_ndjson

FRAGMENTS = st.sampled_from(
    [
        *'{}[],:"\\ \t\n\r0123456789eE+-.',
        "\x00",
        "\x1f",
        "\x7f",
        "\ufeff",
        "NaN",
        "Infinity",
        "null",
        "é",
        "//",
    ]
)
PYTHON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda items: (
        st.lists(items, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=3), items, max_size=3
        )
    ),
    max_leaves=8,
)


@st.composite
def nearly_payloads(draw):
    text = draw(PAYLOADS)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(FRAGMENTS) + text[at + draw(st.integers(0, 2)) :]
    return text


def accepted(text):
    return not list(payload_problems(pl.Series([text], dtype=pl.String)))


@settings(max_examples=examples(300))
@given(nearly_payloads())
@example('{"a":1,"\\u0061":2}')
@example('{"a":{"b":1,"b":1}}')
@example("1" + "0" * 307)
@example("1" + "0" * 309)
@example("-1e999")
@example('"\\ud834\\udd1e"')
@example('"\\udd1e\\ud834"')
@example("[" * 64 + "]" * 64)
@example("[" * 65 + "]" * 65)
@example('["[[[[", "' + "{" * 100 + '"]')
@example('{"\\ud800":1}')
@example("1e-999")
@example("")
@example(" ")
def test_a_text_is_a_payload_where_the_second_parser_takes_it(text):
    assert accepted(text) == naive.is_payload(text)
    assert (scan_one(text.encode()) is None) == naive.is_payload(text)


@pytest.mark.parametrize(
    "text", ["1" + "0" * 250 + "e99", "[-" + "9" * 299 + "E10]", "1" * 215 + ".5e+95"]
)
def test_a_number_beyond_a_double_is_refused_however_its_digits_and_exponent_share_the_size(text):
    assert not naive.is_payload(text)
    assert not accepted(text)


@given(st.text('[]{}"\\a', max_size=40), st.integers(0, 5))
def test_depth_counts_brackets_outside_strings_only(text, limit):
    depth = deepest = 0
    inside = False
    characters = iter(text)
    for character in characters:
        if inside:
            if character == "\\":
                next(characters, None)
            inside = character != '"'
        elif character == '"':
            inside = True
        else:
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(character, 0)
            deepest = max(deepest, depth)
    assert deeper_than(text.encode(), limit) == (deepest > limit)


@settings(max_examples=examples(20))
@given(st.lists(PAYLOADS.filter(lambda text: text != "null"), min_size=1, max_size=6))
def test_accepted_payloads_are_read_back_byte_for_byte_whatever_brought_them(texts):
    model = [
        {"id": str(n), "source": "s", "type": "t", "data": text} for n, text in enumerate(texts)
    ]
    with tempfile.TemporaryDirectory() as folder:
        for batch in (
            model,
            [e | {"data": e["data"].encode()} for e in model],
            as_ndjson(model, folder),
            pa.Table.from_pylist(model),
        ):
            snapshot = lake_with(batch).snapshot()
            assert snapshot.scan(columns=["data"]).collect()["data"].to_list() == texts
            assert (
                snapshot.sql("select data from events order by sequence").polars()["data"].to_list()
                == texts
            )


def lake_with(batch):
    lake = el.create("memory://", "o")
    lake.append(batch)
    return lake


@given(PYTHON_VALUES)
def test_python_values_are_serialised_to_json_that_means_the_same(value):
    text = to_json(value)
    assert json.loads(text) == value
    if not isinstance(value, str | None):
        assert lake_with(
            [{"id": "1", "source": "s", "type": "t", "data": value}]
        ).snapshot().scan().collect()["data"].to_list() == [text]


@given(st.floats())
def test_floats_are_kept_to_the_last_bit_or_refused(value):
    if math.isfinite(value):
        assert math.copysign(1, json.loads(to_json(value))) == math.copysign(1, value)
        assert json.loads(to_json(value)) == value
    else:
        with pytest.raises(ValueError, match="JSON has no"):
            to_json(value)


@given(nearly_payloads())
def test_a_refused_payload_leaves_the_lake_empty_and_an_accepted_one_is_kept_as_given(text):
    lake = el.create("memory://", "o")
    try:
        lake.append([{"id": "1", "source": "s", "type": "t", "data": text}])
    except InvalidEventsError as error:
        assert [(problem.row, problem.field) for problem in error.problems] == [(0, "data")]
        assert lake.watermark == 0
    else:
        assert naive.is_payload(text)
        assert lake.snapshot().scan().collect()["data"].to_list() == [text]
