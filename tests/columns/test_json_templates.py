"""Templates may leave a payload undecided; what they prove must be what the exact parser accepts."""

import json
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlake.columns.intake import json_templates
from eventlake.columns.intake.json_scan import payload_problems, scan_one
from eventlake.columns.intake.json_templates import proven
from tests.scope import examples, scaled

ROWS = 4_000
FRAGMENTS = [
    *(
        '"',
        "\\",
        "\\u0041",
        "\\ud800",
        "\\n",
        "\n",
        "\t",
        "\x00",
        "\x7f",
        " ",
        "  ",
        "{",
        "}",
        "[",
        "]",
        "[]",
        "{}",
        ",",
        ":",
        ",,",
    ),
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
    lambda draw: {
        "kind": "flat",
        "a": draw.randrange(10**6),
        "b": draw.random(),
        "c": "text é \n",
        "d": None,
        "e": True,
    },
    lambda draw: {
        "kind": "nested",
        "nested": {"a": draw.randrange(9), "b": {"c": "x" * draw.randrange(9)}},
        "z": -1.5e-7,
    },
    lambda draw: {
        "kind": "listed",
        "list": [draw.randrange(99) for _ in range(draw.randrange(4))],
        "a.b*(": [],
        "": 0,
    },
    lambda draw: {"kind": "objects", "list": [{"a": 1}] * draw.randrange(3)},
    lambda draw: {
        "kind": "lines",
        "lines": [
            {"n": 1, "tags": [{"k": "é"}] * draw.randrange(3)},
            {"n": None, "x": [[], [1, [2]]]},
        ][: draw.randrange(3)],
    },
    lambda draw: {
        "kind": "map",
        "at": [[draw.random(), [draw.random()] * draw.randrange(3)]],
        "schlüssel \U0001f600": {"": [{}, {"a": True}]},
    },
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
        text = (
            text[:at]
            + draw.choice(["", draw.choice(FRAGMENTS)])
            + text[at + draw.choice([0, 0, 1, 3]) :]
        )
    return text


@pytest.mark.parametrize("seed", range(scaled(6, 1)))
def test_what_a_template_proves_is_what_the_exact_parser_accepts(seed):
    draw = random.Random(seed)
    texts = [payload(draw) for _ in range(ROWS)] + [mutated(draw) for _ in range(ROWS)]
    draw.shuffle(texts)
    wrong = [
        text
        for text, sure in zip(texts, proven(pl.Series(texts)), strict=True)
        if sure and scan_one(text.encode()) is not None
    ]
    assert wrong == []


@pytest.mark.parametrize("seed", range(scaled(3, 1)))
def test_a_column_has_the_problems_of_its_rows(seed):
    draw = random.Random(100 + seed)
    texts = [None if draw.random() < 0.05 else payload(draw) for _ in range(ROWS)] + [
        mutated(draw) for _ in range(300)
    ]
    draw.shuffle(texts)
    expected = {
        row
        for row, text in enumerate(texts)
        if text is not None and scan_one(text.encode()) is not None
    }
    found = [problem.row for problem in payload_problems(pl.Series(texts))]
    assert expected
    assert sorted(found) == sorted(expected)


def test_plain_payloads_are_proven_and_duplicate_keys_are_not():
    texts = ['{"a":1,"b":"x"}'] * ROWS + [
        '{"a":1,"a":2}',
        '{"a":1,"b":"x","b":"y"}',
        '{"b":"x","a":1}',
    ]
    sure = proven(pl.Series(texts))
    assert sure[:ROWS].all()
    assert not sure[ROWS:].any()


def test_a_batch_of_known_shapes_needs_no_expression_of_its_own(monkeypatch):
    assert proven(pl.Series([f'{{"a":{number},"b":[true]}}' for number in range(ROWS)])).all()
    monkeypatch.setattr(json_templates, "_pattern", lambda sample: pytest.fail(str(sample)))
    later = [f'{{"a":"{number}","b":[]}}' for number in range(ROWS)]
    assert proven(pl.Series(later)).all()
    monkeypatch.undo()
    wrong = [*later, '{"a":1,"a":1}', '{"a":1,"b":[1,]}']
    assert [problem.row for problem in payload_problems(pl.Series(wrong))] == [ROWS, ROWS + 1]


def test_a_payload_over_the_size_limit_is_refused_even_where_its_shape_is_proven():
    texts = ['{"a":"x"}'] * ROWS + ['{"a":"' + "x" * (1 << 20) + '"}']
    assert [problem.row for problem in payload_problems(pl.Series(texts))] == [ROWS]


_TEXTS = st.text(max_size=6) | st.sampled_from(
    ['"', "\\", "a:1", ",", "{", "}]", "\x00", "\x1f", "\x7f", "é", "\U0001f600", "[\n]"]
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS
)
_KEYS = st.sampled_from(["a", "b", "n", "id", "é", "a:1", "", "\U0001f600", 'a"', "a\\", "\n"])
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)
_PIECES = st.sampled_from(
    [
        *FRAGMENTS,
        "\\ud83d\\ude00",
        "\\ude00",
        "\\uD83D",
        "\\u0000",
        "\\u00e9",
        "[{",
        "}]",
        "],[",
        "1",
        '"":',
        "\x01",
        "[\n]",
    ]
)
_CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 3), _PIECES | st.just("") | st.none()),
    min_size=1,
    max_size=3,
)


def changed(text, changes):
    """Characters deleted, replaced by a piece, or (None) doubled, at places given as shares of the length."""
    for share, length, piece in changes:
        at = int(share * len(text))
        text = (
            text[:at]
            + (text[at : at + length] * 2 if piece is None else piece)
            + text[at + length :]
        )
    return text


@settings(max_examples=examples(60))
@given(
    st.lists(_VALUES, min_size=1, max_size=4),
    st.sampled_from(STYLES),
    st.lists(_CHANGES, min_size=20, max_size=40),
)
def test_a_changed_payload_is_proven_only_if_it_is_one(values, style, changes):
    good = [json.dumps(value, **style) for value in values]
    bad = [changed(good[number % len(good)], change) for number, change in enumerate(changes)]
    texts = good * (ROWS // len(good) + 1) + bad
    sure = proven(pl.Series(texts))
    assert [
        text
        for text in {text for text, proof in zip(texts, sure, strict=True) if proof}
        if scan_one(text.encode()) is not None
    ] == []


def test_lists_of_objects_and_lists_of_lists_are_proven():
    lines = [
        json.dumps(
            {
                "lines": [
                    {"n": n, "at": [[1.5, n], [2, 3]], "grüße": "ü\U0001f600"}
                    for n in range(row % 5)
                ]
            }
        )
        for row in range(ROWS)
    ]
    assert proven(pl.Series(lines)).all()


ATTACKS = [
    *(
        '{"l":[{"a":1,"a":2}]}',
        '{"l":[{"a":1},{"a":1,"a":1}]}',
        '{"l":[{"a":1},]}',
        '{"l":[,{"a":1}]}',
        '{"l":[{"a":1}{"a":1}]}',
    ),
    *(
        '{"l":[{"a":1}]}}',
        '{"l":[{"a":1}]',
        '{"l":[[{"a":1}]}',
        '{"l":[{"a":1}],"l":[]}',
        '{"l":[{"a":01}]}',
        '{"l":[{"a":-}]}',
        '{"l":[{"a":1.}]}',
    ),
    *(
        '{"l":[{"a":.5}]}',
        '{"l":[{"a":1e}]}',
        '{"l":[{"a":1e999}]}',
        '{"l":[{"a":NaN}]}',
        '{"l":[{"a":-Infinity}]}',
        '{"l":[{"a":truee}]}',
    ),
    *(
        '{"l":[{"a":\\null}]}',
        '{"l":[{"a":--0}]}',
        '{"l":[{"a":true e 5}]}',
        '{"l":[{"a":"\\ud800"}]}',
        '{"l":[{"a":"\\udc00\\ud800"}]}',
    ),
    *(
        '{"l":[{"a":"\\ud83d\\u0041"}]}',
        '{"l":[{"a":"\\x41"}]}',
        '{"l":[{"a":"\\u00g0"}]}',
        '{"l":[{"a":"\x01"}]}',
        '{"l":[{"a":"\n"}]}',
    ),
    *(
        '{"l":[{"a":"x"y"}]}',
        '{"l":[{"a":"x\\"}]}',
        '\ufeff{"l":[{"a":1}]}',
        '{"l":[{"a":1}]}\n{}',
        '{"l":[{"a":1}]}\x00',
        '{"l":[{a:1}]}',
        "{'l':[]}",
    ),
    *(
        '{"l":[{"a":' + "9" * 400 + "}]}",
        '{"l":[{"a":1}]} x',
        '{"l":[{"a" "b":1}]}',
        '{"l":[{"a":1:2}]}',
        '{"l":[{"a":1;"b":2}]}',
    ),
]


def test_attacks_on_lists_of_objects_are_not_proven():
    good = [
        '{"l":[{"a":1}]}',
        '{"l":[{"a":"x"},{"a":null,"b":[[1]]}]}',
        '{"l":[]}',
        '{"l":[{"a":1e5},{"a":-0.5}]}',
    ]
    assert all(scan_one(text.encode()) for text in ATTACKS)
    sure = proven(pl.Series(good * (ROWS // 2) + ATTACKS))
    assert sure[: -len(ATTACKS)].all()
    assert not sure[-len(ATTACKS) :].any()


@pytest.mark.parametrize(("levels", "sound"), [(64, True), (65, False)])
@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]")])
def test_a_whole_batch_deeper_than_the_limit_is_refused(levels, sound, opening, closing):
    texts = [opening * levels + "1" + closing * levels] * ROWS
    assert any(payload_problems(pl.Series(texts))) is not sound


def test_shapes_without_end_are_left_to_the_exact_parser():
    maps = [json.dumps({f"id{row}": {"a": 1}}) for row in range(ROWS)]
    towers = ["[" * 40 + "1" + "]" * 40] * ROWS
    surrogates = ['{"\\ud800":1}'] * ROWS
    for texts in (maps, towers, surrogates):
        assert not proven(pl.Series(texts)).any()


def test_long_numbers_are_found_in_rows_that_no_template_proves():
    texts = [
        *(json.dumps({f"k{row}": 1}) for row in range(ROWS)),
        '{"a":1e400}',
        '{"a":1e-400}',
        '{"a":' + "9" * 400 + "}",
        '{"a":0.' + "9" * 400 + "}",
    ]
    assert [problem.row for problem in payload_problems(pl.Series(texts))] == [ROWS, ROWS + 2]
