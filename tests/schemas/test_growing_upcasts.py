"""What an upcast can make of a row is bounded, when it is registered and when a catalogue of a stranger is read."""

import json

import pytest

import eventlake as el
from eventlake.errors import EventlakeError, InvalidInputError
from eventlake.storage import MemoryStorage
from eventlake.tables import expressions
from tests.support import forging
from tests.support.mutants import KINDS

TEXT, TEXTS, WHOLE = (
    {"type": "string"},
    {"type": "array", "items": {"type": "string"}},
    {"type": "integer"},
)
ITEM = {"type": "object", "properties": {"a": TEXT, "p": WHOLE}, "required": ["a"]}
OLD = {
    "type": "object",
    "properties": {
        "name": TEXT,
        "other": TEXT,
        "n": WHOLE,
        "tags": TEXTS,
        "items": {"type": "array", "items": ITEM},
    },
    "required": ["name"],
}
ROW = {"name": "Ada, Eva", "n": 3, "tags": ["q", "r"], "items": [{"a": "b", "p": 2}]}
COUNT, OUTSIDE, LITERAL = (
    "the count must be a literal integer up to 1,000",
    "a lambda reads",
    "must be (a literal|literals)",
)
TOO_MUCH = "it can become more than 64 times the row and 65,536 bytes"
GROWING = {
    "rpad(name, 2000000000, 'x')": COUNT,
    "rpad(name, 10 * 1000 * 1000, 'x')": COUNT,
    "lpad(name, n::INTEGER, 'x')": COUNT,
    "name.rpad(n, 'x')": COUNT,
    "main.rpad(name, 100000, 'x')": COUNT,
    "repeat(name, n)": COUNT,
    "repeat('x', 1000000000)": COUNT,
    "array_to_string(range(n), ',')": COUNT,
    "array_to_string(list_resize(tags, 1000000000, 'x'), '')": COUNT,
    'rpad("count" := 5000, string := name, "character" := \'x\')': "arguments must be positional",
    "repeat(repeat(name, 1000), 1000)": TOO_MUCH,
    " || ".join(["name"] * 65): TOO_MUCH,
    f"replace(replace(name, 'a', '{'b' * 100}'), 'b', '{'a' * 100}')": TOO_MUCH,
    "regexp_replace(name, '(.*)', '" + r"\1" * 200 + "')": TOO_MUCH,
    "array_to_string(json_extract_string(name, [" + ", ".join(["'$'"] * 100) + "]), '')": TOO_MUCH,
    "list_reduce(range(40), lambda a, b: a || a, 'x')": "it can double a value at every step",
    "array_to_string(list_transform(tags, lambda t: t || name), '')": OUTSIDE,
    "array_to_string([name FOR x IN tags], '')": OUTSIDE,
    "array_to_string(list_transform(tags, lambda t: payloads.name), '')": OUTSIDE,
    "array_to_string(list_transform(tags, lambda t: array_to_string(list_transform(tags, lambda u: t), '')), '')": OUTSIDE,
    "replace(name, 'a', other)": LITERAL,
    "array_to_string(tags, name)": LITERAL,
    "array_to_string(list_select(tags, list_transform(tags, lambda t: 1)), '')": LITERAL,
    "printf('%999999999d', n)": "widths must be literal numbers up to 999",
    "printf('%*d', n, n)": "widths must be literal numbers up to 999",
    "format('{:999999999}', n)": "widths must be literal numbers up to 999",
    "format('{:{}}', name, n)": "widths must be literal numbers up to 999",
    "CAST(CAST(NULL AS INTEGER[100000]) AS VARCHAR)": "a list of fixed length",
    "CAST(damerau_levenshtein(name, other) AS VARCHAR)": "its time grows with the product of two lengths",
}
ORDINARY = [
    ("upper(trim(name)) || ' ' || coalesce(other, '-')", TEXT, "ADA, EVA -"),
    ("lpad(CAST(n AS VARCHAR), 10, '0')", TEXT, "0000000003"),
    (
        "replace(replace(replace(replace(name, ' ', ''), '-', ''), ',', '.'), 'A', 'a')",
        TEXT,
        "ada.Eva",
    ),
    (r"regexp_replace(name, '(\w+), (\w+)', '\2 \1')", TEXT, "Eva Ada"),
    ("regexp_replace(name, '[^a-z]', '', 'g')", TEXT, "dava"),
    ("concat_ws(' ', name, other, tags[1])", TEXT, "Ada, Eva q"),
    ("translate(name, 'AE', 'ae')", TEXT, "ada, eva"),
    (
        "CASE WHEN name LIKE 'B%' THEN 'B' WHEN n > 3 THEN 'many' ELSE lower(name) END",
        TEXT,
        "ada, eva",
    ),
    ("list_transform(tags, lambda t: lower(trim(t)) || '!')", TEXTS, ["q!", "r!"]),
    ("[t || CAST(n AS VARCHAR) FOR t IN tags IF t <> 'q']", TEXTS, ["r3"]),
    ("list_transform(string_split(name, ','), lambda t: trim(t))", TEXTS, ["Ada", "Eva"]),
    ("list_transform(items, lambda i: i.a || CAST(i.p * n AS VARCHAR))", TEXTS, ["b6"]),
    ("list_filter(tags, lambda t, place: place > 1)", TEXTS, ["r"]),
    ("list_sum(list_transform(items, lambda i: i.p * n))::BIGINT", WHOLE, 6),
]


def lake():
    made = el.create("memory://", "o")
    made.register("pay", OLD)
    made.append([{"id": "1", "source": "s", "type": "pay", "subject": "/x", "data": ROW}])
    return made


@pytest.mark.parametrize("expression", GROWING)
def test_an_upcast_that_can_make_much_of_a_row_is_refused_before_it_is_planned(
    expression, monkeypatch
):
    monkeypatch.setattr(expressions, "_databases", None)
    with pytest.raises(InvalidInputError, match=GROWING[expression]):
        lake().register(
            "pay", {"type": "object", "properties": {"x": TEXT}}, upcast={"x": expression}
        )


@pytest.mark.parametrize(("expression", "kind", "expected"), ORDINARY)
def test_an_ordinary_upcast_is_taken(expression, kind, expected):
    made = lake()
    made.register("pay", {"type": "object", "properties": {"x": kind}}, upcast={"x": expression})
    assert made.snapshot().table("pay").collect()["x"].to_list() == [expected]


def test_an_upcast_of_a_stranger_that_can_make_much_of_a_row_is_refused_and_verify_lists_it():
    storage = MemoryStorage()
    made = el.create(storage, "o")
    made.register("pay", OLD)
    made.append([{"id": "1", "source": "s", "type": "pay", "subject": "/x", "data": ROW}])
    made.register(
        "pay", {"type": "object", "properties": {"x": TEXT}}, upcast={"x": "rpad(name, 10, 'x')"}
    )
    kind = KINDS["catalogue"]
    text = json.dumps(kind.read(storage)).replace(
        "rpad(name, 10, 'x')", "rpad(name, 2000000000, 'x')"
    )
    kind.install(storage, kind.spell(json.loads(text)))
    with pytest.raises(EventlakeError, match=f"cannot have been registered: .*{COUNT}"):
        el.open(storage).snapshot().table("pay").collect()
    assert any(COUNT in finding.message for finding in el.open(storage).verify(deep=True).problems)
    assert forging.document(storage, "lake.json")["origin"] == "o"
