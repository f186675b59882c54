"""Types of payloads, and JSON texts that fit them or do not."""

import json
from decimal import Context, Decimal

from hypothesis import strategies as st

from eventlake.schemas.schema import Field, FieldType

WIDE = Context(prec=60)


NAMES = ["a", "b", "amount", "ü", "data x", "Z"]


LIMITED = [
    FieldType("utf8", values=("x", "y")),
    FieldType("int64", minimum="-5", maximum="100"),
    FieldType("decimal", 10, 2, minimum="0"),
]
"""Types that do not hold every value of their kind."""


def kinds(depth=2):
    scalar = st.one_of(
        st.sampled_from(
            [FieldType(kind) for kind in ("bool", "int64", "float64", "utf8", "date", "timestamp")]
        ),
        st.integers(1, 38).flatmap(
            lambda p: st.builds(FieldType, st.just("decimal"), st.just(p), st.integers(0, p))
        ),
        st.sampled_from(LIMITED),
    )
    if not depth:
        return scalar
    return st.one_of(
        scalar,
        scalar,
        st.builds(lambda item: FieldType("list", item=item), kinds(depth - 1)),
        structs(depth - 1),
    )


def structs(depth):
    fields = st.lists(
        st.sampled_from(NAMES), min_size=1, max_size=4, unique_by=str.casefold
    ).flatmap(
        lambda names: st.tuples(
            *(st.builds(Field, st.just(name), kinds(depth), st.booleans()) for name in names)
        )
    )
    return st.builds(
        lambda fields, closed: FieldType("struct", fields=fields, closed=closed),
        fields,
        st.booleans(),
    )


NUMBERS = st.one_of(
    st.sampled_from(
        [
            "0",
            "-0",
            "1.0",
            "1e2",
            "1E-2",
            "-1.50",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "0.1",
        ]
    ),
    st.sampled_from(
        [
            "99999999999999999999999999999999999999",
            "1e37",
            "1e38",
            "123.456",
            "1e-400",
            "100.000",
            "-0.0",
            "3e299",
        ]
    ),
    st.integers(-(10**40), 10**40).map(str),
    st.decimals(
        allow_nan=False, allow_infinity=False, places=3, min_value=-(10**20), max_value=10**20
    ).map(lambda d: f"{d:f}"),
)


TEXTS = st.one_of(
    st.sampled_from(
        [
            "2024-02-29",
            "2023-02-29",
            "0001-01-01",
            "0000-01-01",
            "2024-1-1",
            "9999-12-31",
            "2024-01-01T00:00:00Z",
        ]
    ),
    st.sampled_from(
        [
            "2024-01-01t00:00:00z",
            "2024-01-01T00:00:00.123456+02:00",
            "2024-01-01T00:00:00.1234567Z",
            "2024-01-01T24:00:00Z",
        ]
    ),
    st.sampled_from(
        [
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2024-01-01 00:00:00Z",
            "2024-01-01T00:00:00",
        ]
    ),
    st.sampled_from(
        [
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00+24:00",
            "1.50",
            "+1",
            ".5",
            "1.",
            "1e2",
            " 1",
            "",
            "x",
            "y",
            "nan",
            "\u0661",
        ]
    ),
    st.text(max_size=4),
)


ANY = st.one_of(
    NUMBERS,
    TEXTS.map(json.dumps),
    st.sampled_from(["true", "false", "null", "[]", "{}", "[1]", '{"a":1}', "[null]"]),
)


def spelled(kind, wild):
    """A JSON text; one that fits, unless it is wild."""
    odd = ANY if wild else st.nothing()
    if kind.kind == "struct":
        members = [
            st.tuples(st.just(field.name), spelled(field.type, wild)) for field in kind.fields
        ]
        chosen = st.permutations(range(len(members)))
        if wild:
            chosen = st.lists(st.sampled_from(range(len(members))), unique=True)
        stranger = st.booleans().flatmap(
            lambda yes: ANY.map(lambda v: [("stranger", v)]) if yes and wild else st.just([])
        )
        body = st.tuples(st.tuples(*members), chosen, stranger).map(
            lambda made: (
                "{"
                + ",".join(
                    f"{json.dumps(n)}:{v}" for n, v in [*(made[0][i] for i in made[1]), *made[2]]
                )
                + "}"
            )
        )
        return st.one_of(body, body, body, odd)
    if kind.item is not None:
        return st.one_of(
            st.lists(spelled(kind.item, wild), max_size=3).map(
                lambda items: "[" + ",".join(items) + "]"
            ),
            odd,
        )
    largest = 10**kind.precision - 1
    fitting = {
        "bool": st.sampled_from(["true", "false"]),
        "int64": st.integers(
            -5 if kind.minimum else -(2**63), 100 if kind.maximum else 2**63 - 1
        ).map(str),
        "float64": st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
        "utf8": st.sampled_from(['"x"', '"y"'])
        if kind.values
        else st.text(max_size=5).map(json.dumps),
        "date": st.dates().map(lambda d: json.dumps(d.isoformat())),
        "timestamp": st.datetimes().map(lambda d: json.dumps(d.isoformat() + "Z")),
        "decimal": st.integers(0 if kind.minimum else -largest, largest).map(
            lambda n: f"{Decimal(n).scaleb(-kind.scale, WIDE):f}"
        ),
    }[kind.kind]
    return st.one_of(fitting, fitting, fitting, odd, st.just("null") if wild else st.nothing())
