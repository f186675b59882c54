"""JSON numbers of payloads at level exact: read with every digit, or refused with a way that keeps them."""

import json
from decimal import Decimal
from itertools import count

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import InvalidProjectionError

NUMBERS = count()
"""Every function has a source of its own."""
WIDE = [
    "90071992547409.93",
    "883406386745030.3",
    "18446744073709551617",
    "-9223372036854775809",
    "9007199254740993.0",
    "9007199254740993e0",
    "0.1000000000000000055",
    "0.12499999999999999999",
    "123456789012345678.12",
    "1234567890123456.00",
    "9e-25",
]
"""Numbers that are not kept by a double, or by Polars' parser, or of which that is not known."""
NARROW = [
    "0.30",
    "0.1",
    "1e-7",
    "1E+2",
    "-0",
    "-0.0",
    "1.005",
    "9223372036854775807",
    "18446744073709551615",
    "9007199254740993",
    "-1.10",
    "0",
]
READS = [
    "data ->> 'a'",
    "data -> 'a'",
    "json_extract(data, '$.a')",
    "json_extract_string(data, '$.\"a\"')",
    "json_extract_path_text(data, 'a')",
    "json_value(data, '$.a')",
    "data ->> '$.l[0]'",
    "data ->> '$.o.a'",
    "data -> 'o' ->> 'a'",
    "data::JSON ->> '/o/a'",
    "json_extract_string(data, ['$.a'])[1]",
    "(json_extract(data, '$.l[*]')[1])",
    "(data::JSON).a",
    "data ->> lower('A')",
    "coalesce(data, '{}') ->> 'a'",
]
TYPED = [
    "(data -> 'a')::DECIMAL(38, 20)",
    "TRY_CAST(data -> 'a' AS DECIMAL(38, 20))",
    "(data -> 'a')::HUGEINT",
    "json_extract(data, '$.a')::DOUBLE",
    "(data::JSON)::STRUCT(a DECIMAL(18, 2), l DECIMAL(18, 2)[], o STRUCT(a DECIMAL(18, 2)))",
    """from_json(data, '{"a": "VARCHAR"}').a""",
    """from_json(data, '{"a": "DECIMAL(18, 2)"}').a""",
    """json_transform(data, '{"a": "DECIMAL(18, 2)"}').a""",
    """json_transform_strict(data, '{"a": "VARCHAR", "l": ["VARCHAR"], "o": {"a": "VARCHAR"}}').a""",
    "json_contains(data, '0.3')",
    "json_object('x', data -> 'a')",
    "json_array(data::JSON)::VARCHAR",
    "to_json(data::JSON)::VARCHAR",
    "json_quote(data -> 'a')",
    "concat(data, '') ->> 'a'",
    """('{"a":' || subject || '}') ->> 'a'""",
    "(data ->> 'o')::JSON ->> 'a'",
    "list_transform(json_extract(data, '$.l[*]'), lambda x: x ->> '$')",
]


def lake_of(*numbers, other="1"):
    lake = el.create("memory://", "o.example")
    data = [f'{{"a":{one},"l":[{one}],"o":{{"a":{one}}},"z":{other}}}' for one in numbers]
    lake.append(
        [
            {"id": str(n), "source": "s", "type": "t", "subject": "/x", "data": text}
            for n, text in enumerate(data)
        ]
    )
    return lake


def values(lake, query, key="sequence", **options):
    return (
        lake.build(el.Projection.sql("p", query, key=[key]), **options)
        .polars()
        .sort(key)["v"]
        .to_list()
    )


@pytest.mark.parametrize("read", READS)
def test_numbers_that_a_double_keeps_are_read_with_their_value(read):
    found = values(lake_of(*NARROW), f"SELECT sequence, ({read})::VARCHAR AS v FROM events")
    assert [Decimal(one) for one in found] == [Decimal(one) for one in NARROW]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("number", WIDE)
def test_numbers_that_a_double_may_not_keep_are_refused_by_event_and_member(read, number):
    with pytest.raises(InvalidProjectionError, match="declared exact and is not") as caught:
        values(lake_of("1", number), f"SELECT sequence, {read} AS v FROM events")
    assert "event '1' of 's' has" in str(caught.value)
    assert "lake.register('t', lake.infer_schema('t').schema)" in str(caught.value)


@pytest.mark.parametrize("number", WIDE + NARROW)
def test_the_way_that_is_suggested_keeps_every_digit_on_both_engines(number):
    lake = lake_of(number)
    lake.register("t", lake.infer_schema("t").schema)
    (found,) = values(lake, "SELECT sequence, a AS v FROM t")
    assert found == Decimal(number)
    seen = (
        lake.build(python(lambda snapshot: snapshot.table("t").select("sequence", v="a")))
        .polars()["v"]
        .to_list()
    )
    assert seen == [Decimal(number)]


@pytest.mark.parametrize("read", TYPED)
def test_json_that_becomes_another_type_or_is_no_payload_is_refused(read):
    with pytest.raises(InvalidProjectionError, match="declared exact and is not") as caught:
        values(lake_of("1"), f"SELECT sequence, {read} AS v FROM events")
    assert "double" in str(caught.value)


def test_text_becomes_a_decimal_digit_by_digit():
    lake = lake_of(*(json.dumps(one) for one in WIDE))
    found = values(
        lake,
        "SELECT sequence, (data ->> 'a')::DECIMAL(38, 30) AS v FROM events WHERE sequence IN (6, 7, 10)",
    )
    assert found == [Decimal(WIDE[place]) for place in (6, 7, 10)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT 1 AS k, arg_max(data, sequence) ->> 'a' AS v FROM events", "0.2"),
        ("SELECT 1 AS k, last(data ORDER BY sequence) ->> 'a' AS v FROM events", "0.2"),
        (
            "WITH c AS MATERIALIZED (SELECT data -> 'o' AS o, sequence FROM events) SELECT sequence AS k, o ->> 'a' AS v FROM c",
            "0.2",
        ),
        (
            "SELECT b.sequence AS k, b.data ->> 'a' AS v FROM events a JOIN events b USING (subject) WHERE a.sequence = 0",
            "0.2",
        ),
        (
            "SELECT sequence AS k, lag(data) OVER (ORDER BY sequence) ->> 'a' AS v FROM events",
            "0.1",
        ),
        (
            "SELECT sequence AS k, o ->> 'a' AS v FROM (SELECT sequence, unnest([data]) AS o FROM events)",
            "0.2",
        ),
        (
            "SELECT 1 AS k, max(data ->> 'a') AS v FROM (SELECT DISTINCT data FROM events UNION ALL SELECT data FROM events)",
            "0.2",
        ),
        (
            "SELECT s.spine_row AS k, e.data ->> 'a' AS v FROM spine s LEFT JOIN events e ON e.id = s.id",
            "0.2",
        ),
        (
            "SELECT sequence AS k, (SELECT max(data ->> 'a') FROM events b WHERE b.sequence <= a.sequence) AS v FROM events a",
            "0.2",
        ),
    ],
)
def test_a_payload_is_followed_through_the_query(query, expected):
    spine = pl.DataFrame({"id": ["0", "1"]}) if "spine" in query else None
    lake = lake_of("0.1", "0.2")
    assert values(lake, query, "k", spine=spine)[-1] == expected
    wide = lake_of("0.1", WIDE[0])
    with pytest.raises(InvalidProjectionError, match=r"has 90071992547409\.93 at data"):
        values(wide, query, "k", spine=spine)


def test_json_of_the_spine_is_refused():
    spine = pl.DataFrame({"j": [f'{{"a":{WIDE[0]}}}']})
    with pytest.raises(InvalidProjectionError, match="not the data of an event"):
        values(
            lake_of("1"), "SELECT spine_row, j ->> 'a' AS v FROM spine", "spine_row", spine=spine
        )


def test_only_what_is_read_must_be_kept():
    lake = lake_of("0.5", other=WIDE[0])
    assert values(lake, "SELECT sequence, data ->> 'a' AS v FROM events") == ["0.5"]
    with pytest.raises(InvalidProjectionError, match=r"at data\.z"):
        values(lake, "SELECT sequence, data ->> 'a' AS v FROM events WHERE data ->> 'z' = '1'")
    assert values(
        lake,
        "SELECT sequence, json_type(data, '$.z') AS v FROM events WHERE json_exists(data, '$.z')",
    ) == ["DOUBLE"]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("\\u0061", "data ->> 'a'"),
        ("\\u0061", "data ->> '$.a'"),
        ("a\\/b", """json_extract_string(data, '$."a/b"')"""),
        ("a\\/b", "data ->> 'a/b'"),
        ("a\\/b", "data ->> '/a~1b'"),
        ("\\u00e9", """json_extract_string(data, '$."é"')"""),
        ("a.b", """data ->> '$."a.b"'"""),
        ("a.b", "data ->> 'a.b'"),
        ('a\\"b', "data ->> 'a\"b'"),
        ("a*", "data ->> '$.*'"),
    ],
)
def test_a_member_is_found_however_its_name_is_written(name, read):
    lake = el.create("memory://", "o.example")
    lake.append([{"id": "1", "source": "s", "type": "t", "data": f'{{"{name}"\t:\n{WIDE[0]}}}'}])
    with pytest.raises(InvalidProjectionError, match=r"has 90071992547409\.93 at data"):
        values(lake, f"SELECT sequence, {read} AS v FROM events")


MINE = """SELECT sequence, data ->> 'a' AS v FROM events"""
OF_ONE_TYPE = {
    f"{MINE} WHERE type = 'a'": ["0.5"],
    f"{MINE} WHERE 'a' = type AND data ->> 'a' > '0'": ["0.5"],
    f"{MINE} WHERE type IN ('a', 'c')": ["0.5", "1.5"],
    f"{MINE} WHERE type = 'a' OR type = 'c'": ["0.5", "1.5"],
    "WITH x AS (SELECT * FROM events WHERE type = 'a') SELECT sequence, data -> 'o' ->> 'a' AS v FROM x": [
        "0.5"
    ],
    "SELECT sequence, CASE WHEN type = 'a' AND id = '0' THEN data ->> 'a' ELSE '' END AS v FROM events": [
        "0.5",
        "",
        "",
    ],
    "SELECT sequence, CASE type WHEN 'c' THEN data ->> 'a' END AS v FROM events": [
        None,
        None,
        "1.5",
    ],
    "SELECT 1 AS sequence, max(data ->> 'a') FILTER (WHERE type = 'a') AS v FROM events": ["0.5"],
    "SELECT sequence, max(data ->> 'a') FILTER (WHERE type = 'c') OVER (ORDER BY sequence) AS v FROM events": [
        None,
        None,
        "1.5",
    ],
    "SELECT e.sequence, e.data ->> 'a' AS v FROM events f JOIN events e ON e.type = 'a' AND f.type = 'b'": [
        "0.5"
    ],
    "SELECT f.sequence, e.data ->> 'a' AS v FROM events f LEFT JOIN events e ON e.type = 'a' AND f.type = 'b'": [
        None,
        "0.5",
        None,
    ],
    "SELECT sequence, (SELECT max(data ->> 'a') FROM events e WHERE e.id = f.id AND e.type = 'a') AS v FROM events f": [
        "0.5",
        None,
        None,
    ],
}
OF_OTHERS = [
    f"{MINE} WHERE type <> 'a'",
    f"{MINE} WHERE type = 'a' OR id = '1'",
    f"{MINE} WHERE type = 'b'",
    f"{MINE} WHERE type IN ('a', 'b')",
    "SELECT sequence, CASE WHEN type = 'a' THEN '' ELSE data ->> 'a' END AS v FROM events",
    "SELECT sequence, CASE WHEN NOT type = 'a' THEN data ->> 'a' END AS v FROM events",
    "SELECT sequence, d ->> 'a' AS v FROM (SELECT sequence, type, lag(data) OVER (ORDER BY sequence) AS d FROM events) WHERE type = 'c'",
    "SELECT 1 AS sequence, d ->> 'a' AS v FROM (SELECT max(type) AS type, last(data ORDER BY id = '1') AS d FROM events) WHERE type = 'c'",
    "SELECT f.sequence, e.data ->> 'a' AS v FROM events f LEFT JOIN events e ON e.id = '1' WHERE f.type = 'a'",
    "SELECT sequence, max(data ->> 'a') OVER () AS v FROM events WHERE type = 'a' OR type = 'b'",
]


@pytest.fixture(scope="module")
def of_types():
    lake = el.create("memory://", "o.example")
    numbers = {"a": "0.5", "b": WIDE[0], "c": "1.5"}
    lake.append(
        {
            "id": str(place),
            "source": "s",
            "type": kind,
            "subject": "/x",
            "data": f'{{"a":{one},"o":{{"a":{one}}}}}',
        }
        for place, (kind, one) in enumerate(numbers.items())
    )
    return lake


@pytest.mark.parametrize("query", OF_ONE_TYPE)
def test_numbers_of_events_of_other_types_do_not_matter(of_types, query):
    assert values(of_types, query) == OF_ONE_TYPE[query]


@pytest.mark.parametrize("query", OF_OTHERS)
def test_numbers_of_every_type_that_may_be_read_matter(of_types, query):
    with pytest.raises(InvalidProjectionError, match="declared exact and is not"):
        values(of_types, query)


def test_polars_looks_at_the_numbers_of_the_types_that_are_read(of_types):
    read, kind = pl.col("data").str.json_path_match("$.a"), pl.col("type")
    for condition, expected in (
        (kind == "a", ["0.5"]),
        (kind.is_in(["a", "c"]), ["0.5", "1.5"]),
        ((kind == "c") & (read > "0"), ["1.5"]),
    ):
        found = of_types.build(
            python(
                lambda snapshot, one=condition: (
                    snapshot.scan().filter(one).select("sequence", v=read)
                )
            )
        )
        assert found.polars().sort("sequence")["v"].to_list() == expected
    chosen = of_types.build(
        python(
            lambda snapshot: snapshot.scan().select("sequence", v=pl.when(kind == "a").then(read))
        )
    )
    assert chosen.polars().sort("sequence")["v"].to_list() == ["0.5", None, None]
    for condition in (kind != "a", (kind == "a") | (pl.col("id") == "1"), kind.is_in(["a", "b"])):
        with pytest.raises(InvalidProjectionError, match=r"has 90071992547409\.93 at data"):
            of_types.build(
                python(
                    lambda snapshot, one=condition: (
                        snapshot.scan().filter(one).select("sequence", v=read)
                    )
                )
            )


@pytest.mark.parametrize(
    "handed",
    [
        f"""lag(data, 1, '{{"a":{WIDE[0]}}}') OVER (ORDER BY sequence)""",
        f"""list_value(data, '{{"a":{WIDE[0]}}}')[2]""",
        f"""coalesce(data, '{{"a":{WIDE[0]}}}')""",
    ],
)
def test_json_that_stands_in_the_query_is_no_payload(handed):
    with pytest.raises(InvalidProjectionError, match="not the data of an event"):
        values(
            lake_of("1"),
            f"SELECT sequence, d ->> 'a' AS v FROM (SELECT sequence, {handed} AS d FROM events)",
        )


def test_events_beyond_the_watermark_are_not_looked_at():
    lake = lake_of("0.5")
    lake.append([{"id": "later", "source": "s", "type": "t", "data": f'{{"a":{WIDE[0]}}}'}])
    assert values(lake, "SELECT sequence, data ->> 'a' AS v FROM events", at=1) == ["0.5"]


def python(function, level="exact"):
    return el.Projection(
        "p",
        "python",
        "f.py:run",
        {"f.py": str(next(NUMBERS))},
        ("sequence",),
        level,
        function=function,
    )


def decoded(dtype):
    return pl.col("data").str.json_decode(pl.Struct({"a": dtype})).struct.field("a")


POLARS = [
    pl.col("data").str.json_path_match("$.a"),
    pl.col("data").str.json_path_match("$.o.a"),
    pl.col("data").str.json_path_match("$['a']"),
    decoded(pl.String),
    pl.col("data")
    .str.json_decode(pl.Struct({"l": pl.List(pl.String)}))
    .struct.field("l")
    .list.get(0),
]


@pytest.mark.parametrize("expression", POLARS, ids=range(len(POLARS)))
def test_polars_reads_numbers_that_a_float_keeps_with_their_value(expression):
    found = (
        lake_of(*NARROW)
        .build(python(lambda snapshot: snapshot.scan().select("sequence", v=expression)))
        .polars()["v"]
    )
    assert [Decimal(one) for one in found] == [Decimal(one) for one in NARROW]


@pytest.mark.parametrize("expression", POLARS, ids=range(len(POLARS)))
@pytest.mark.parametrize("number", WIDE)
def test_polars_refuses_numbers_that_a_float_may_not_keep(expression, number):
    with pytest.raises(InvalidProjectionError, match=r"event '1' of 's' has"):
        lake_of("1", number).build(
            python(lambda snapshot: snapshot.scan().select("sequence", v=expression))
        )


@pytest.mark.parametrize(
    "dtype",
    [pl.Decimal(18, 2), pl.Int64, pl.Int128, pl.UInt64, pl.Date, pl.List(pl.Decimal(18, 2))],
)
def test_polars_decodes_json_to_no_exact_number(dtype):
    with pytest.raises(
        InvalidProjectionError, match=r"str\.json_decode\(\): it reads JSON numbers as floats"
    ):
        lake_of("1").build(
            python(lambda snapshot: snapshot.scan().select("sequence", v=decoded(dtype)))
        )


def test_polars_reads_no_json_that_is_not_an_events():
    def made(snapshot):
        return snapshot.scan().select(
            "sequence", v=(pl.col("data") + "").str.json_path_match("$.a")
        )

    with pytest.raises(InvalidProjectionError, match="not the data of an event"):
        lake_of("1").build(python(made))


def test_other_levels_read_what_the_engine_reads():
    query = "SELECT sequence, data ->> 'a' AS v FROM events"
    fixed = lake_of(WIDE[0]).build(el.Projection.sql("p", query, key=["sequence"], level="fixed"))
    assert fixed.polars()["v"].to_list() == ["90071992547409.94"]


def test_what_was_found_of_a_segment_is_remembered_and_a_new_segment_or_path_is_looked_at():
    lake = el.create("memory://", "bank.example/remembered")

    def append(number, data):
        lake.append(
            [{"id": number, "source": "s", "type": "t", "subject": "/x", "data": json.loads(data)}]
        )

    def total(member):
        query = f"SELECT subject, sum((data ->> '{member}')::DECIMAL(38, 8))::DECIMAL(38, 8) AS s FROM events GROUP BY subject"
        return (
            lake.build(el.Projection.sql("total", query, key=["subject"])).polars()["s"].to_list()
        )

    append("1", '{"a": 0.5}')
    assert total("a") == [Decimal("0.5")]
    assert total("a") == [Decimal("0.5")]
    lake.append(
        b'{"id": "2", "source": "s", "type": "t", "subject": "/x", "data": {"a": 0.25, "b": 1234567890.123456789}}\n'
    )
    assert total("a") == [Decimal("0.75")]
    with pytest.raises(InvalidProjectionError, match=r"1234567890\.123456789 at data\.b"):
        total("b")
    lake.append(
        b'{"id": "3", "source": "s", "type": "t", "subject": "/x", "data": {"a": 0.1000000000000000055}}\n'
    )
    with pytest.raises(InvalidProjectionError, match="event '3' of 's'"):
        total("a")


MADE = {
    "(data -> 'a')::DECIMAL(38, 20)": Decimal("90071992547409.93"),
    "TRY_CAST(data -> 'o' -> 'a' AS DECIMAL(38, 2))": Decimal("90071992547409.93"),
    "json_extract(data, '$.o.a')::DECIMAL(18, 2)": Decimal("90071992547409.93"),
    "(data -> 'l')::DECIMAL(18, 2)[]": [Decimal("90071992547409.93"), None, Decimal("1.50")],
    "(data -> 'missing')::DECIMAL(18, 2)[]": None,
    "(data::JSON)::STRUCT(a DECIMAL(18, 2), o STRUCT(a DECIMAL(18, 2), t VARCHAR))": {
        "a": Decimal("90071992547409.93"),
        "o": {"a": Decimal("90071992547409.93"), "t": "it's"},
    },
    """from_json(data, '{"a": "DECIMAL(18, 2)", "l": ["DECIMAL(18, 2)"], "m": {"x": "INTEGER"}}')""": {
        "a": Decimal("90071992547409.93"),
        "l": [Decimal("90071992547409.93"), None, Decimal("1.50")],
        "m": None,
    },
    """json_transform(data, '{"n": "INTEGER", "t": "INTEGER"}')""": {"n": 7, "t": None},
    """json_transform_strict(data -> 'o', '{"a": "DECIMAL(18, 2)", "t": "VARCHAR"}').a""": Decimal(
        "90071992547409.93"
    ),
}


@pytest.mark.parametrize("expression", MADE)
def test_what_is_advised_for_json_of_other_types_keeps_every_digit(expression):
    """Digits as text, so that the payloads allow it; what is suggested is put in its place, word by word."""
    lake = el.create("memory://", "o.example")
    data = """{"a":"90071992547409.93","l":["90071992547409.93",null,"1.5"],"o":{"a":"90071992547409.93","t":"it's"},"n":7,"t":"x"}"""
    lake.append([{"id": "0", "source": "s", "type": "t", "data": data}])
    with pytest.raises(InvalidProjectionError, match="declared exact and is not") as caught:
        values(lake, f"SELECT sequence, {expression} AS v FROM events")
    (said,) = [
        line.strip().removeprefix("write ")
        for line in caught.value.message.splitlines()
        if "      write " in line
    ]
    if expression.endswith(".a"):
        said = f"({said}).a"
    assert values(lake, f"SELECT sequence, {said} AS v FROM events") == [MADE[expression]]


def test_rows_of_the_members_of_a_document_are_made_as_advised():
    lake = lake_of("0.5")
    with pytest.raises(
        InvalidProjectionError, match=r"write unnest\(json_keys\(data\)\) AS key, and data ->> key"
    ):
        values(lake, "SELECT sequence, j.key AS v FROM events, json_each(data) AS j")
    query = "SELECT sequence, key, data ->> key AS v FROM (SELECT sequence, data, unnest(json_keys(data)) AS key FROM events)"
    found = lake.build(el.Projection.sql("p", query, key=["sequence", "key"])).polars().sort("key")
    assert dict(zip(found["key"], found["v"], strict=True)) == {
        "a": "0.5",
        "l": "[0.5]",
        "o": '{"a":0.5}',
        "z": "1",
    }
    listed = "SELECT sequence, v FROM (SELECT sequence, unnest(data ->> '$.l[*]') AS v FROM events)"
    assert values(lake, listed) == ["0.5"]
