"""What a schema says is kept or refused by name: every keyword of JSON Schema, every pyarrow and Polars type, every option of pandera."""

import enum
import inspect
from datetime import date
from decimal import Decimal

import pandera
import pandera.pandas as pandas_schemas
import pandera.polars as pp
import polars as pl
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.errors import InvalidInputError

TEXT, INTEGER = {"type": "string"}, {"type": "integer"}


@pytest.fixture
def lake():
    return el.create("memory://", origin="bank.example/constraints")


def refuses(lake, value):
    """Whether the registered type ``t`` refuses a payload whose field ``x`` is ``value``."""
    return bool(
        lake.check(
            [
                {
                    "id": "1",
                    "source": "s",
                    "type": "t",
                    "data": value if isinstance(value, dict) else {"x": value},
                }
            ]
        )
    )


def of(**keywords):
    return {"type": "object", "properties": {"x": keywords}}


# JSON Schema, draft 2020-12: core, applicator, unevaluated, validation, format, content, meta-data

NOTES = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://bank.example/x",
    "$comment": "x",
    "title": "x",
    "description": "x",
    "default": 1,
    "deprecated": True,
    "readOnly": True,
    "writeOnly": False,
    "examples": [1],
}
REFUSED = {
    "$ref": "#",
    "$anchor": "a",
    "$dynamicRef": "#a",
    "$dynamicAnchor": "a",
    "$vocabulary": {},
    "$defs": {},
    "prefixItems": [],
    "contains": {},
    "minContains": 1,
    "maxContains": 1,
    "patternProperties": {},
    "propertyNames": {},
    "dependentSchemas": {},
    "dependentRequired": {},
    "if": {},
    "then": {},
    "else": {},
    "allOf": [],
    "anyOf": [],
    "oneOf": [],
    "not": {},
    "unevaluatedItems": False,
    "unevaluatedProperties": False,
    "exclusiveMinimum": 1,
    "exclusiveMaximum": 1,
    "maxLength": 1,
    "minLength": 1,
    "pattern": "a",
    "maxItems": 1,
    "minItems": 1,
    "uniqueItems": True,
    "maxProperties": 1,
    "minProperties": 1,
    "contentEncoding": "base64",
    "contentMediaType": "application/json",
    "contentSchema": {},
    "x-mine": 1,
    "requried": ["x"],
}
KEPT = {
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "minimum",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "format",
}
"""Each has its rows below."""
DRAFT_2020_12 = {*NOTES, *REFUSED, *KEPT} - {"x-mine", "requried"}
BASES = {
    "object": {"type": "object", "properties": {"a": TEXT}},
    "array": {"type": "array", "items": TEXT},
    "string": TEXT,
    "number": {"type": "number", "multipleOf": 0.01},
    "integer": INTEGER,
    "boolean": {"type": "boolean"},
}


def test_the_tables_below_know_every_keyword_of_the_draft():
    assert len(DRAFT_2020_12) == 57
    assert {"x-mine", "requried"} < set(REFUSED)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("keyword", [*REFUSED, "definitions", "dependencies"])
def test_a_keyword_that_is_not_kept_is_refused_by_name_beside_every_type(lake, keyword, base):
    with pytest.raises(
        InvalidInputError, match=f"field x: keyword '{keyword.replace('$', '[$]')}'"
    ):
        lake.register("t", of(**BASES[base], **{keyword: REFUSED.get(keyword, {})}))
    if base == "object":
        with pytest.raises(
            InvalidInputError, match=f"payload.: keyword '{keyword.replace('$', '[$]')}'"
        ):
            lake.register("t", of(**TEXT) | {keyword: REFUSED.get(keyword, {})})


@pytest.mark.parametrize("base", BASES)
def test_notes_change_nothing(lake, base):
    plain = lake.register("t", of(**BASES[base]))
    assert lake.register("t", of(**BASES[base], **NOTES) | NOTES).schema == plain.schema


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (of(type="string", enum=["a", "b"]), ["a", "b", None], ["c", 1]),
        (of(type="string", const="a"), ["a"], ["b"]),
        (of(type="string", enum=["a", "b"], const="b"), ["b"], ["a"]),
        (of(type=["string", "null"], enum=["a", None]), ["a", None], ["b"]),
        (of(type="string", format="date"), ["2026-01-31"], ["2026-1-31", "x"]),
        (of(type="string", format="date-time"), ["2026-01-31T00:00:00Z"], ["2026-01-31"]),
        (of(type="integer", minimum=1, maximum=3), [1, 3], [0, 4]),
        (of(type="integer", minimum=1.5), [2], [1]),
        (of(type="integer", multipleOf=1), [2], [1.5]),
        (of(type="integer", multipleOf=1.0), [2], [1.5]),
        (of(type="number", multipleOf=0.01, minimum=-1.25), [-1.25], [-1.26, 0.001]),
        (of(type="number", multipleOf=0.01, **{"x-precision": 4}), [99.99], [100]),
        (
            of(type="array", items={"type": "string", "enum": ["a"]}),
            [["a"], []],
            [["b"], [None], "a"],
        ),
        (of(type="boolean"), [True], [1, "true"]),
        (of(**TEXT) | {"required": ["x"]}, ["a"], [None, {}]),
        (of(**TEXT) | {"additionalProperties": False}, ["a", {}], [{"y": 1}]),
        (
            of(type="object", properties={"a": TEXT}, required=["a"], additionalProperties=False),
            [{"x": {"a": "b"}}],
            [{"x": {}}],
        ),
    ],
)
def test_a_keyword_that_is_kept_refuses_what_it_excludes(lake, schema, good, bad):
    lake.register("t", schema)
    assert [value for value in good if refuses(lake, value)] == []
    assert [value for value in bad if not refuses(lake, value)] == []


@pytest.mark.parametrize(
    "schema",
    [
        of(type="string", enum=[]),
        of(type="string", enum=["a"], const="b"),
        of(type="string", enum=["a", None]),
        of(type="string", enum=["a", 1]),
        of(type="string", enum="ab"),
        of(type="string", const=None),
        of(type="string", format="uuid"),
        of(type="string", format=None),
        of(type="string", format=["date"]),
        of(type="string", format="date", enum=["2026-01-01"]),
        of(type="integer", enum=[1]),
        of(type="boolean", const=True),
        of(type="integer", multipleOf=2),
        of(type="integer", multipleOf=True),
        of(type="integer", multipleOf=None),
        of(type="number", multipleOf=None),
        of(type="number", multipleOf=10),
        of(type="number", minimum=1),
        of(type="number", minimum=0),
        of(type="integer", minimum="1"),
        of(type="integer", minimum=float("nan")),
        of(type="integer", minimum=None),
        of(type="integer", minimum=True),
        of(type="array"),
        of(type="array", items=[TEXT]),
        of(type="array", items=True),
        of(type="array", items={"type": ["string", "null"]}),
        of(type="null"),
        of(type=["null"]),
        of(type=["string", "integer"]),
        of(type=[{}]),
        of(type={}),
        of(enum=["a"]),
        of(),
        {"type": "object", "properties": {"x": True}},
        {"type": "object", "properties": {5: TEXT}},
        {"type": "object", "properties": []},
        of(**TEXT) | {"required": ["y"]},
        of(**TEXT) | {"required": "x"},
        of(**TEXT) | {"required": [{}]},
        of(**TEXT) | {"required": True},
        of(**TEXT) | {"additionalProperties": TEXT},
        of(**TEXT) | {5: 6, "a": 7},
        of(type=["string", "null"]) | {"required": ["x"]},
    ],
    ids=repr,
)
def test_what_cannot_be_kept_is_refused(lake, schema):
    with pytest.raises(InvalidInputError, match="schema of t, field"):
        lake.register("t", schema)


def test_a_schema_that_is_nested_without_end_is_refused(lake):
    deep = TEXT
    for _ in range(5_000):
        deep = of(**deep)
    with pytest.raises(InvalidInputError, match="levels deep"):
        lake.register("t", deep)


# pyarrow

ARROW_KEPT = {
    pa.bool_(): ([True], [1]),
    pa.int8(): ([-128, 127], [-129, 128]),
    pa.int16(): ([-32768, 32767], [-32769, 32768]),
    pa.int32(): ([-(2**31), 2**31 - 1], [-(2**31) - 1, 2**31]),
    pa.int64(): ([-(2**63), 2**63 - 1], [-(2**63) - 1, 2**63]),
    pa.uint8(): ([0, 255], [-1, 256]),
    pa.uint16(): ([0, 65535], [-1, 65536]),
    pa.uint32(): ([0, 2**32 - 1], [-1, 2**32]),
    pa.float64(): ([0.5, 1], ["1"]),
    pa.string(): (["a"], [1]),
    pa.large_string(): (["a"], [1]),
    pa.string_view(): (["a"], [1]),
    pa.date32(): (["2026-01-31"], ["2026-01-31T00:00:00Z", "x"]),
    pa.timestamp("us", "UTC"): (
        ["2026-01-31T00:00:00.000001Z"],
        ["2026-01-31T00:00:00.0000001Z", "2026-01-31T00:00:00"],
    ),
    pa.decimal32(5, 2): ([Decimal("999.99")], [Decimal(1000), Decimal("0.001")]),
    pa.decimal64(5, 2): ([Decimal("999.99")], [Decimal(1000), Decimal("0.001")]),
    pa.decimal128(5, 2): ([Decimal("999.99")], [Decimal(1000), Decimal("0.001")]),
    pa.decimal256(5, 2): ([Decimal("999.99")], [Decimal(1000), Decimal("0.001")]),
    pa.dictionary(pa.int8(), pa.string()): (["a"], [1]),
    pa.dictionary(pa.int8(), pa.uint8()): ([255], [256]),
    pa.list_(pa.uint8()): ([[255], []], [[256], [None]]),
    pa.large_list(pa.int8()): ([[1]], [[128]]),
    pa.struct([pa.field("a", pa.uint8(), nullable=False)]): (
        [{"x": {"a": 1}}],
        [{"x": {"a": 256}}, {"x": {}}],
    ),
}
ARROW_REFUSED = [
    *(
        pa.null(),
        pa.uint64(),
        pa.float16(),
        pa.float32(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.binary(4),
    ),
    *(
        pa.date64(),
        pa.time32("s"),
        pa.time32("ms"),
        pa.time64("us"),
        pa.time64("ns"),
        pa.duration("us"),
        pa.month_day_nano_interval(),
    ),
    *(
        pa.timestamp("s", "UTC"),
        pa.timestamp("ms", "UTC"),
        pa.timestamp("ns", "UTC"),
        pa.timestamp("us"),
        pa.timestamp("us", "Europe/Prague"),
    ),
    *(
        pa.decimal256(50, 2),
        pa.decimal128(5, -2),
        pa.list_(pa.int8(), 2),
        pa.list_view(pa.int8()),
        pa.large_list_view(pa.int8()),
    ),
    *(
        pa.map_(pa.string(), pa.int8()),
        pa.union([pa.field("a", pa.int8())], "dense"),
        pa.union([pa.field("a", pa.int8())], "sparse"),
    ),
    *(
        pa.run_end_encoded(pa.int32(), pa.int8()),
        pa.struct([]),
        pa.uuid(),
        pa.json_(),
        pa.bool8(),
        pa.opaque(pa.int8(), "a", "b"),
    ),
]


def test_the_tables_know_every_type_of_pyarrow():
    known = {
        kind.id
        for kind in [*ARROW_KEPT, *ARROW_REFUSED]
        if not isinstance(kind, pa.BaseExtensionType)
    }
    named = {getattr(pa.lib, name) for name in dir(pa.lib) if name.startswith("Type_")}
    intervals = (
        {pa.lib.Type_INTERVAL_MONTHS, pa.lib.Type_INTERVAL_DAY_TIME}
        if hasattr(pa.lib, "Type_INTERVAL_MONTHS")
        else set()
    )
    assert (
        named
        - known
        - intervals
        - {getattr(pa.lib, "Type_NA", 0), getattr(pa.lib, "Type_EXTENSION", 31)}
        == set()
    )


@pytest.mark.parametrize("kind", ARROW_KEPT, ids=str)
def test_an_arrow_type_refuses_what_it_cannot_hold(lake, kind):
    good, bad = ARROW_KEPT[kind]
    lake.register("t", pa.schema([("x", kind)]))
    assert [value for value in [*good, None] if refuses(lake, value)] == []
    assert [value for value in bad if not refuses(lake, value)] == []


@pytest.mark.parametrize("kind", ARROW_REFUSED, ids=str)
def test_an_arrow_type_that_cannot_be_kept_is_refused_by_name(lake, kind):
    with pytest.raises(InvalidInputError, match="schema of t, field x"):
        lake.register("t", pa.schema([("x", kind)]))


def test_a_column_that_is_not_nullable_is_required(lake):
    lake.register("t", pa.schema([pa.field("x", pa.uint8(), nullable=False)]))
    assert [refuses(lake, value) for value in (1, None, {}, 256)] == [False, True, True, True]


# Polars types, through pandera


POLARS_KEPT = {
    pl.Enum(["a", "b"]): (["a"], ["c"]),
    pl.List(pl.Enum(["a"])): ([["a"]], [["b"]]),
    pl.Struct({"e": pl.Enum(["a"]), "n": pl.UInt8}): (
        [{"x": {"e": "a", "n": 255}}],
        [{"x": {"e": "b"}}, {"x": {"n": 256}}],
    ),
    pl.Categorical: (["a"], [1]),
    pl.String: (["a"], [1]),
    pl.Boolean: ([True], [1]),
    pl.Int8: ([127], [128]),
    pl.Int16: ([32767], [32768]),
    pl.Int32: ([2**31 - 1], [2**31]),
    pl.Int64: ([2**63 - 1], [2**63]),
    pl.UInt8: ([255], [-1, 256]),
    pl.UInt16: ([65535], [-1, 65536]),
    pl.UInt32: ([2**32 - 1], [-1, 2**32]),
    pl.Float64: ([0.5], ["1"]),
    pl.Decimal(5, 2): ([Decimal("999.99")], [1000, Decimal("0.001")]),
    pl.Date: (["2026-01-31"], ["x"]),
    pl.Datetime("us", "UTC"): (["2026-01-31T00:00:00Z"], ["2026-01-31"]),
}
POLARS_REFUSED = [
    *(pl.UInt64, pl.Float32, pl.Binary, pl.Time, pl.Duration, pl.Object, pl.Null),
    *(
        pl.Datetime,
        pl.Datetime("ms", "UTC"),
        pl.Datetime("ns", "UTC"),
        pl.Datetime("us", "Europe/Prague"),
        pl.Array(pl.Int8, 2),
        pl.Enum([]),
    ),
    *(pl.List(pl.UInt64), pl.Struct({"a": pl.Int128})),
]


ABSTRACT = {"DataType", "TemporalType", "IntegerType", "FloatType", "BaseExtension", "Extension"}
NOT_PANDERAS = {"Map", "Int128", "UInt128", "Float16", "Unknown"}
"""Types that no column of pandera can have."""


def test_the_tables_know_every_type_of_polars():
    known = {kind.base_type().__name__ for kind in [*POLARS_KEPT, *POLARS_REFUSED]}
    named = {
        kind.__name__
        for _, kind in inspect.getmembers(pl.datatypes, inspect.isclass)
        if issubclass(kind, pl.DataType)
    }
    assert named - ABSTRACT - NOT_PANDERAS == known


@pytest.mark.parametrize("kind", POLARS_KEPT, ids=str)
def test_a_polars_type_refuses_what_it_cannot_hold(lake, kind):
    good, bad = POLARS_KEPT[kind]
    lake.register("t", pp.DataFrameSchema({"x": pp.Column(kind)}))
    assert [value for value in good if refuses(lake, value)] == []
    assert [value for value in [*bad, None] if not refuses(lake, value)] == []


@pytest.mark.parametrize("kind", POLARS_REFUSED, ids=str)
def test_a_polars_type_that_cannot_be_kept_is_refused_by_name(lake, kind):
    with pytest.raises(InvalidInputError, match="schema of t, field x"):
        lake.register("t", pp.DataFrameSchema({"x": pp.Column(kind)}))


# pandera

CHECK = pp.Check(lambda data: data.lazyframe.select(pl.col("x") > 5))
COLUMN = {
    "checks": ([pp.Check.ge(1)], "kept"),
    "nullable": (True, "kept"),
    "required": (False, "refused"),
    "unique": (True, "refused"),
    "coerce": (True, "refused"),
    "regex": (True, "refused"),
    "default": (1, "refused"),
    "drop_invalid_rows": (True, "refused"),
    "name": ("x", "note"),
    "title": ("a", "note"),
    "description": ("a", "note"),
    "metadata": ({"a": 1}, "note"),
}
FRAME = {
    "checks": (CHECK, "refused"),
    "parsers": (pandera.Parser(lambda data: data), "refused"),
    "index": ("x", "refused"),
    "dtype": (int, "refused"),
    "coerce": (True, "refused"),
    "strict": (True, "kept"),
    "ordered": (True, "refused"),
    "unique": (["x"], "refused"),
    "add_missing_columns": (True, "refused"),
    "on_missing_columns": ("warn", "refused"),
    "drop_invalid_rows": (True, "refused"),
    "unique_column_names": (True, "note"),
    "report_duplicates": ("exclude_first", "note"),
    "name": ("a", "note"),
    "title": ("a", "note"),
    "description": ("a", "note"),
    "metadata": ({"a": 1}, "note"),
}


def test_the_tables_know_every_option_of_pandera():
    assert set(inspect.signature(pp.Column.__init__).parameters) - {
        "self",
        "dtype",
        "column_kwargs",
    } == set(COLUMN)
    assert set(inspect.signature(pp.DataFrameSchema.__init__).parameters) - {
        "self",
        "columns",
    } == set(FRAME)


def frame_of(scope, option, value):
    if scope == "frame":
        return pp.DataFrameSchema({"x": pp.Column(int)}, **{option: value})
    return pp.DataFrameSchema({"x": pp.Column(int, **{option: value})})


@pytest.mark.parametrize(
    ("scope", "option"),
    [*(("column", one) for one in COLUMN), *(("frame", one) for one in FRAME)],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*will have no effect on validation")
def test_an_option_of_pandera_is_kept_refused_by_name_or_a_note(lake, scope, option):
    value, expected = (COLUMN if scope == "column" else FRAME)[option]
    schema = frame_of(scope, option, value)
    if expected == "refused":
        with pytest.raises(InvalidInputError, match=f"{option}="):
            lake.register("t", schema)
        return
    lake.register("t", schema)
    plain = lake.register("plain", pp.DataFrameSchema({"x": pp.Column(int)})).schema.payload
    assert (lake.snapshot().history.catalogue.version("t").schema.payload == plain) == (
        expected == "note"
    )


@pytest.mark.parametrize(
    "index",
    [pandas_schemas.Index(int), pandas_schemas.MultiIndex([pandas_schemas.Index(int, name="a")])],
)
def test_an_index_of_pandera_is_refused_by_name(lake, index):
    with pytest.raises(InvalidInputError, match="index="):
        lake.register(
            "t", pandas_schemas.DataFrameSchema({"x": pandas_schemas.Column(int)}, index=index)
        )


def test_strict_is_closed_nullable_and_not_required_are_optional_and_a_filter_is_refused(lake):
    lake.register(
        "t", pp.DataFrameSchema({"x": pp.Column(int, nullable=True, required=False)}, strict=True)
    )
    assert [refuses(lake, value) for value in (1, None, {}, {"y": 1})] == [
        False,
        False,
        False,
        True,
    ]
    with pytest.raises(InvalidInputError, match="strict='filter'"):
        lake.register("u", pp.DataFrameSchema({"x": pp.Column(int)}, strict="filter"))


@pytest.mark.parametrize(
    ("kind", "checks", "good", "bad"),
    [
        (int, [pp.Check.ge(5), pp.Check.ge(1)], [5], [4, 2]),
        (int, [pp.Check.ge(1), pp.Check.ge(5)], [5], [4, 2]),
        (int, [pp.Check.le(5), pp.Check.le(9)], [5], [6]),
        (int, [pp.Check.ge(5), pp.Check.le(9), pp.Check.ge(7)], [7, 9], [6, 10]),
        (pl.UInt8, [pp.Check.ge(-5)], [0], [-1]),
        (pl.UInt8, [pp.Check.le(300)], [255], [256]),
        (pl.Decimal(5, 2), [pp.Check.ge(Decimal("1.25"))], [Decimal("1.25")], [Decimal("1.24")]),
        (pl.Decimal(5, 2), [pp.Check.ge(0.1)], [Decimal("0.10")], [Decimal("0.09")]),
        (str, [pp.Check.isin(["a", "b"]), pp.Check.isin(["b", "c"])], ["b"], ["a", "c"]),
        (pl.Enum(["a", "b"]), [pp.Check.isin(["b", "c"])], ["b"], ["a", "c"]),
    ],
)
def test_several_checks_hold_together(lake, kind, checks, good, bad):
    lake.register("t", pp.DataFrameSchema({"x": pp.Column(kind, checks)}))
    assert [value for value in good if refuses(lake, value)] == []
    assert [value for value in bad if not refuses(lake, value)] == []


BUILTIN = {
    "equal_to": pp.Check.eq(1),
    "not_equal_to": pp.Check.ne(1),
    "greater_than": pp.Check.gt(1),
    "less_than": pp.Check.lt(1),
    "in_range": pp.Check.in_range(1, 2),
    "notin": pp.Check.notin([1]),
    "isin": pp.Check.isin([1]),
    "str_matches": pp.Check.str_matches("a"),
    "str_contains": pp.Check.str_contains("a"),
    "str_startswith": pp.Check.str_startswith("a"),
    "str_endswith": pp.Check.str_endswith("a"),
    "str_length": pp.Check.str_length(1, 2),
    "unique_values_eq": pp.Check.unique_values_eq([1]),
}


@pytest.mark.parametrize("name", BUILTIN)
@pytest.mark.parametrize("kind", [int, float, pl.Decimal(5, 2)], ids=str)
def test_a_check_that_is_not_kept_is_refused_by_name(lake, name, kind):
    with pytest.raises(InvalidInputError, match=f"check '{name}' of a"):
        lake.register("t", pp.DataFrameSchema({"x": pp.Column(kind, BUILTIN[name])}))


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        (pp.Column(float, pp.Check.ge(1)), "greater_than_or_equal_to"),
        (pp.Column(str, pp.Check.ge("a")), "greater_than_or_equal_to"),
        (pp.Column(pl.Date, pp.Check.ge(date(2026, 1, 1))), "greater_than_or_equal_to"),
        (pp.Column(pl.Decimal(5, 2), pp.Check.ge(float("nan"))), "needs a number"),
        (pp.Column(int, pp.Check.le(float("inf"))), "needs a number"),
        (pp.Column(int, pp.Check.ge(True)), "needs a number"),
        (pp.Column(str, pp.Check.isin([])), "no value"),
        (pp.Column(str, pp.Check.isin(["a", 1])), "isin"),
        (pp.Column(str, [pp.Check.isin(["a"]), pp.Check.isin(["b"])]), "no value"),
        (pp.Column(int, pp.Check(lambda _: True)), "custom check"),
        (
            pp.Column(
                str, pp.Check(lambda _: True, name="isin", statistics={"allowed_values": ["a"]})
            ),
            "custom check",
        ),
        (pp.Column(int, pp.Check.ge(1, raise_warning=True)), "raise_warning=True"),
        (pp.Column(int, pp.Check.ge(1, ignore_na=False), nullable=True), "ignore_na=False"),
        (pp.Column(None), "expected a type"),
    ],
)
def test_a_check_or_column_that_cannot_be_kept_is_refused(lake, column, problem):
    with pytest.raises(InvalidInputError, match=problem):
        lake.register("t", pp.DataFrameSchema({"x": column}))


class Colour(enum.StrEnum):
    RED = "red"


def test_a_model_is_read_as_its_schema_is(lake):
    class Model(pp.DataFrameModel):
        x: int = pp.Field(ge=1, le=5, alias="n")
        y: pl.Enum = pp.Field(dtype_kwargs={"categories": ["a"]}, nullable=True)

        class Config:
            strict = True

    lake.register("t", Model)
    assert [
        refuses(lake, value)
        for value in ({"n": 1, "y": "a"}, {"n": 0}, {"n": 6}, {"n": 1, "y": "b"}, {"n": 1, "z": 1})
    ] == [
        *(False, True, True, True, True),
    ]

    class Checked(pp.DataFrameModel):
        x: int

        @pp.dataframe_check
        def rule(cls, data):  # noqa: N805 - pandera's way
            return data.lazyframe.select(pl.col("x") > 5)

    with pytest.raises(InvalidInputError, match="checks="):
        lake.register("u", Checked)


@pytest.mark.parametrize(
    "given",
    [
        pl.DataFrame({"x": [1]}),
        pa.table({"x": [1]}),
        "x",
        5,
        None,
        [TEXT],
        pl.Schema({"x": pl.Int8}),
    ],
    ids=repr,
)
def test_what_is_no_schema_is_refused(lake, given):
    with pytest.raises(InvalidInputError, match=r"expected (a|one) "):
        lake.register("t", given)
