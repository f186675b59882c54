"""Templates may leave a payload undecided; what they prove must be what the exact parser accepts."""

import json
import random

import polars as pl
import pytest

from eventlake.columns.json_scan import payload_problems, scan_one
from eventlake.columns.json_templates import proven

ROWS = 4_000
FRAGMENTS = [
    *('"', "\\", "\\u0041", "\\ud800", "\\n", "\n", "\t", "\x00", "\x7f", " ", "  ", "{", "}", "[", "]", "[]", "{}", ",", ":", ",,"),
    *(
        "NaN",
        "Infinity",
        "-",
        "+",
        "0",
        "00",
        "1e5",
        "1e400",
        "1e999",
        "9" * 25,
        "9" * 400,
        ".",
        "e",
        "E+",
        "true",
        "nul",
        "é",
        "\ufeff",
        "\u2028",
    ),
    *('"a":1,', ',"a":1', '"kind":"x",', '"nested":{"a":1,"a":2}'),
]
SHAPES = [
    lambda draw: {"kind": "flat", "a": draw.randrange(10**6), "b": draw.random(), "c": "text é \n", "d": None, "e": True},
    lambda draw: {"kind": "nested", "nested": {"a": draw.randrange(9), "b": {"c": "x" * draw.randrange(9)}}, "z": -1.5e-7},
    lambda draw: {"kind": "listed", "list": [draw.randrange(99) for _ in range(draw.randrange(4))], "a.b*(": [], "": 0},
    lambda draw: {"kind": "objects", "list": [{"a": 1}] * draw.randrange(3)},
    lambda draw: [draw.randrange(9), "a"],
    lambda draw: draw.randrange(10**6),
]
STYLES = [{"separators": (",", ":")}, {}, {"ensure_ascii": False}]


def payload(draw):
    return json.dumps(draw.choice(SHAPES)(draw), **draw.choice(STYLES))


def mutated(draw):
    text = payload(draw)
    for _ in range(draw.randint(1, 2)):
        at = draw.randrange(len(text) + 1)
        text = text[:at] + draw.choice(["", draw.choice(FRAGMENTS)]) + text[at + draw.choice([0, 0, 1, 3]) :]
    return text


@pytest.mark.parametrize("seed", range(6))
def test_what_a_template_proves_is_what_the_exact_parser_accepts(seed):
    draw = random.Random(seed)
    texts = [payload(draw) for _ in range(ROWS)] + [mutated(draw) for _ in range(ROWS)]
    draw.shuffle(texts)
    wrong = [text for text, sure in zip(texts, proven(pl.Series(texts)), strict=True) if sure and scan_one(text.encode()) is not None]
    assert wrong == []


@pytest.mark.parametrize("seed", range(3))
def test_a_column_has_the_problems_of_its_rows(seed):
    draw = random.Random(100 + seed)
    texts = [None if draw.random() < 0.05 else payload(draw) for _ in range(ROWS)] + [mutated(draw) for _ in range(300)]
    draw.shuffle(texts)
    expected = {row for row, text in enumerate(texts) if text is not None and scan_one(text.encode()) is not None}
    found = [problem.row for problem in payload_problems(pl.Series(texts))]
    assert expected
    assert sorted(found) == sorted(expected)


def test_plain_payloads_are_proven_and_duplicate_keys_are_not():
    texts = ['{"a":1,"b":"x"}'] * ROWS + ['{"a":1,"a":2}', '{"a":1,"b":"x","b":"y"}', '{"b":"x","a":1}']
    sure = proven(pl.Series(texts))
    assert sure[:ROWS].all()
    assert not sure[ROWS:].any()


def test_a_payload_over_the_size_limit_is_refused_even_where_its_shape_is_proven():
    texts = ['{"a":"x"}'] * ROWS + ['{"a":"' + "x" * (1 << 20) + '"}']
    assert [problem.row for problem in payload_problems(pl.Series(texts))] == [ROWS]
