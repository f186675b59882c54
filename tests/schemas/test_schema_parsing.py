"""Reading whole columns and reading one payload after the other are one rule."""

import dataclasses
import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventlake.columns.intake.json_scan import scan_one
from eventlake.schemas import parse_row
from eventlake.schemas.evolution import obstacles
from eventlake.schemas.json_schema import from_json_schema, to_json_schema
from eventlake.schemas.parse import _row_by_row, parse
from eventlake.schemas.parse import problems as problems_of
from eventlake.schemas.schema import Field, FieldType
from tests.support.typed_json import LIMITED, spelled, structs


@st.composite
def cases(draw):
    schema = draw(structs(2))
    wild = draw(st.booleans())
    payload = st.one_of(spelled(schema, wild), st.none() if wild else st.nothing()).filter(
        lambda text: text is None or scan_one(text.encode()) is None
    )
    rows = draw(st.lists(payload, min_size=1, max_size=5))
    return schema, rows


def same(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and type(one) is type(other)


digits = st.text("0123456789", min_size=1, max_size=45)


@st.composite
def numerals(draw):
    """A number in JSON, with many digits, or with a point or an exponent far from them."""
    whole = draw(digits).lstrip("0") or "0"
    fraction = draw(st.one_of(st.just(""), digits.map(lambda text: f".{text}")))
    exponent = draw(st.one_of(st.just(""), st.integers(-120, 120).map(lambda n: f"e{n}")))
    return draw(st.sampled_from(["", "-"])) + whole + fraction + exponent


@st.composite
def decimals(draw):
    precision = draw(st.integers(1, 38))
    return FieldType("decimal", precision, draw(st.integers(0, precision)))


@given(
    st.one_of(decimals(), st.sampled_from([FieldType("int64"), FieldType("float64")])),
    numerals(),
    st.booleans(),
)
@example(FieldType("decimal", 37, 37), "4016", False)
@example(FieldType("decimal", 38, 38), "9223372036854775808", True)
@example(FieldType("decimal", 19, 5), "-51e-44", False)
@example(FieldType("decimal", 38, 0), "0.00000000000000000000000000000000000001e-38", True)
def test_a_number_is_read_in_a_column_as_on_its_own(kind, number, quoted):
    schema = FieldType("struct", fields=(Field("a", kind),))
    rows = pa.array(['{"a":"%s"}' % number if quoted else '{"a":%s}' % number])  # noqa: UP031 - braces
    if scan_one(rows[0].as_py().encode()) is not None:
        return
    fast = parse(pa.chunked_array([rows]), schema)
    table, broken = _row_by_row(rows, schema, stored=False)
    assert [str(problem) for problem in fast.problems] == [str(problem) for problem in broken]
    if not broken:
        assert same(fast.table.to_pylist(), table.to_pylist())


@given(cases())
def test_columns_and_payloads_are_read_by_one_rule(case):
    schema, rows = case
    fast = parse(pa.chunked_array([pa.array(rows, pa.string())]), schema)
    table, broken = _row_by_row(pa.array(rows, pa.string()), schema, stored=False)
    assert [str(problem) for problem in fast.problems] == [str(problem) for problem in broken]
    if not broken:
        assert fast.table.schema == table.schema
        assert same(fast.table.to_pylist(), table.to_pylist())


@given(st.lists(st.tuples(cases(), st.sampled_from([1, 5, 30])), max_size=4))
def test_columns_are_checked_side_by_side_as_each_of_them_is(given_columns):
    columns = [
        (pa.chunked_array([pa.array(rows * times, pa.string())]), schema)
        for (schema, rows), times in given_columns
    ]
    found = [[str(one) for one in some] for some in problems_of(columns)]
    assert found == [
        [str(one) for one in parse(payloads, schema).problems] for payloads, schema in columns
    ]


@given(cases(), st.lists(st.integers(0, 60), max_size=6), st.sampled_from([1, 3, 10_000]))
def test_payloads_are_read_the_same_in_any_number_of_chunks(case, cuts, times):
    schema, rows = case
    column = pa.array(rows * min(times, 10_000 // max(len(rows), 1) + 1), pa.string())
    bounds = sorted({0, *(cut for cut in cuts if cut < len(column)), len(column)})
    chunks = [column.slice(a, b - a) for a, b in zip(bounds, bounds[1:], strict=False)]
    whole, apart = (
        parse(pa.chunked_array(some, pa.string()), schema) for some in ([column], chunks)
    )
    assert whole.problems == apart.problems
    assert whole.table.num_rows == apart.table.num_rows == len(column)
    if not whole.problems:
        assert whole.table.equals(apart.table)


@given(structs(2))
def test_a_schema_survives_json_schema(schema):
    assert from_json_schema("t", to_json_schema(schema)).payload == schema


SHAPES = {"kind", "precision", "scale", "item", "fields", "closed"}
"""Members of a type that say what it is; all others limit its values."""


def test_whatever_limits_values_is_drawn_and_narrows_a_type():
    limits = {one.name: one.default for one in dataclasses.fields(FieldType)}
    limits = {name: limits[name] for name in limits.keys() - SHAPES}
    drawn = set()
    for limited in LIMITED:
        plain = dataclasses.replace(limited, **limits)
        for name, default in limits.items():
            if getattr(limited, name) != default:
                narrow = dataclasses.replace(plain, **{name: getattr(limited, name)})
                assert list(obstacles(narrow, plain)) == []
                assert list(obstacles(plain, narrow)) != []
                drawn.add(name)
    assert drawn == limits.keys()


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (FieldType("decimal", 18, 2), "100.00", Decimal("100.00")),
        (
            FieldType("decimal", 38, 10),
            "1234567890123456789012345678.0123456789",
            Decimal("1234567890123456789012345678.0123456789"),
        ),
        (FieldType("decimal", 18, 2), '"120.50"', Decimal("120.50")),
        (FieldType("int64"), "9007199254740993", 9007199254740993),
        (FieldType("decimal", 20, 0), "9007199254740993", Decimal(9007199254740993)),
        (FieldType("decimal", 3, 3), "0.1", Decimal("0.100")),
    ],
)
def test_no_number_passes_through_a_double(kind, text, value):
    schema = FieldType("struct", fields=(Field("a", kind, required=True),))
    parsed = parse(pa.chunked_array([['{"a":%s}' % text] * 3]), schema)  # noqa: UP031 - braces
    assert parsed.problems == []
    assert parsed.table["a"].to_pylist() == [value] * 3


@pytest.mark.parametrize("number", ["1e-9999999999999999999", "-0.0E+9999999999999999999"])
@pytest.mark.parametrize("rows", [1, 100])
def test_an_exponent_that_no_decimal_has_is_read_alone_as_among_others(number, rows):
    schema = FieldType("struct", fields=(Field("a", FieldType("float64")),))
    column = pa.chunked_array([['{"a":%s,"other":%s}' % (number, number)] * rows])  # noqa: UP031 - braces
    assert parse(column, schema).table["a"].to_pylist() == [0.0] * rows
    assert problems_of([(column, schema)]) == [[]]


@pytest.mark.parametrize("number", ["1e-9999999999999999999", '"1e9999999999999999999"'])
def test_an_exponent_that_no_decimal_has_is_named_by_its_path(number):
    schema = FieldType("struct", fields=(Field("a", FieldType("decimal", 38, 19)),))
    (problem,) = parse(pa.chunked_array([['{"a":%s}' % number]]), schema).problems  # noqa: UP031 - braces
    assert (problem.field, "no digit lost" in problem.message) == ("data.a", True)
    zero = parse(pa.chunked_array([['{"a":"0e9999999999999999999"}']]), schema)
    assert (zero.problems, zero.table["a"].to_pylist()) == ([], [Decimal(0)])


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (FieldType("decimal", 18, 2), "1.005"),
        (FieldType("decimal", 4, 2), "100.00"),
        (FieldType("decimal", 18, 2), "99999999999999999"),
        (FieldType("int64"), "9223372036854775808"),
        (FieldType("int64"), "1.0"),
        (FieldType("int64"), "1e3"),
        (FieldType("int64"), '"1"'),
        (FieldType("bool"), "1"),
        (FieldType("utf8"), "1"),
        (FieldType("date"), '"2023-02-29"'),
        (FieldType("timestamp"), '"2024-01-01T00:00:00"'),
        (FieldType("timestamp"), '"2024-01-01T00:00:00.1234567Z"'),
        (FieldType("int64", minimum="0"), "-1"),
    ],
)
def test_overflow_lost_digits_and_other_types_are_named_by_row_and_path(kind, text):
    schema = FieldType("struct", fields=(Field("a", kind),))
    (problem,) = parse(pa.chunked_array([["{}", '{"a":%s}' % text]]), schema).problems  # noqa: UP031 - braces
    assert (problem.row, problem.field) == (1, "data.a")


def test_what_is_wrong_far_down_a_large_column_is_named_by_its_row():
    schema = FieldType("struct", fields=(Field("a", FieldType("int64"), required=True),))
    rows = ['{"a":%d}' % row for row in range(100_000)]  # noqa: UP031 - braces
    rows[77_777], rows[3] = '{"a":null}', '{"b":1}'
    parsed = parse(pa.chunked_array([rows[:50_000], rows[50_000:]]), schema)
    assert [(problem.row, problem.field) for problem in parsed.problems] == [
        (3, "data.a"),
        (77_777, "data.a"),
    ]
    assert parsed.table.num_rows == 100_000
    assert parsed.table["a"][99_999].as_py() == 99_999


@pytest.mark.parametrize(
    "kind",
    [
        FieldType("decimal", 30, 0),
        FieldType("decimal", 38, 2),
        FieldType("decimal", 30, 0, maximum="9" * 30),
    ],
)
def test_decimals_of_more_than_28_digits_are_read_by_either_way(kind):
    digits = kind.precision - kind.scale
    schema = FieldType("struct", fields=(Field("a", kind),))
    for text in ("9" * digits, "-" + "9" * digits, "9" * (digits - 2) + "50"):
        payloads = pa.array([f'{{"a":{text}}}'])
        for table, problems in (
            _row_by_row(payloads, schema, stored=False),
            (parse(pa.chunked_array([payloads]), schema).table, []),
        ):
            assert problems == []
            assert table.column("a").to_pylist() == [Decimal(text)]
    for text in ("1" + "0" * digits, "9" * digits + "9"):
        assert parse(pa.chunked_array([pa.array([f'{{"a":{text}}}'])]), schema).problems


def test_every_nested_problem_has_its_path():
    item = FieldType("struct", fields=(Field("q", FieldType("int64"), required=True),), closed=True)
    schema = FieldType("struct", fields=(Field("lines", FieldType("list", item=item)),))
    payload = '{"lines": [{"q": 1}, {"q": "x"}, {}, null, {"q": 2, "r": 3}]}'
    assert [path for path, _, _ in parse_row.problems(payload, schema)] == [
        "data.lines[3]",
        "data.lines[1].q",
        "data.lines[2].q",
        "data.lines[4].r",
    ]
