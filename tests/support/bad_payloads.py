"""Payloads that are not valid JSON, and what is said about each."""

import json
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from eventlake.core.attributes import MAX_PAYLOAD_BYTES

JSON = "expected JSON"


def event(name="b", **more):
    return {"id": name, "source": "s", "type": "t"} | more


def between(*bad):
    """Bad events from row 1 on, a good one before and after."""
    return [event("a"), *bad, event("z")]


def arrow(rows=3, **columns):
    """An Arrow table of good events with other or further columns; None takes one away."""
    table = {
        "id": [f"e{n}" for n in range(rows)],
        "source": ["s"] * rows,
        "type": ["t"] * rows,
    } | columns
    return pa.table({name: column for name, column in table.items() if column is not None})


def middle(value, kind):
    """A column of three rows that is null but in row 1."""
    return pa.array([None, value, None], kind)


def view(*values):
    """A string column with bytes that may be no UTF-8."""
    return pa.array(values, pa.binary()).view(pa.string())


def case(name, events, *places, says=""):
    return pytest.param(events, set(places), says, id=name)


def row1(name, field, says="", **changes):
    return case(name, between(event(**changes)), (1, field), says=says)


def payload(name, data, says=JSON):
    return row1(f"payload: {name}", "data", says, data=data)


PAYLOADS = [
    payload("no JSON", "hello"),
    payload("empty", ""),
    payload("blanks", " \n"),
    payload("cut off", '{"a":'),
    payload("NaN", "[NaN]"),
    payload("Infinity", "[Infinity]"),
    payload("-Infinity", '{"a":-Infinity}'),
    payload("nan in lower case", "nan"),
    payload("1e999", "1e999", "beyond what a double"),
    payload("-1e999", '{"a":[-1e999]}', "beyond what a double"),
    payload("1E+999", "1E+999", "beyond what a double"),
    payload("an integer of 400 digits", "9" * 400, "beyond what a double"),
    payload("an integer of a million digits", "9" * (1 << 20)),
    payload("a duplicate key", '{"a":1,"a":2}', "uplicate key"),
    payload("a duplicate key further in", '[{"x":{"a":1,"b":2,"a":1}}]', "uplicate key"),
    payload("a duplicate key by an escape", '{"a":1,"\\u0061":2}', "uplicate key"),
    payload("an empty duplicate key", '{"":1,"":1}', "uplicate key"),
    payload("an escaped lone surrogate", '"\\ud800"'),
    payload("an escaped low surrogate", '{"a":"\\udc00\\ud800"}'),
    payload("an escaped lone surrogate in a key", '{"\\ud800":1}'),
    payload("a raw lone surrogate", '"\ud800"', "surrogates"),
    payload("a raw lone surrogate in a Python value", {"a": "\udc00"}, "surrogates"),
    payload("a byte order mark", "\ufeff{}"),
    payload("a byte order mark in bytes", b"\xef\xbb\xbf{}"),
    payload("UTF-16", '{"a":1}'.encode("utf-16"), "UTF-8"),
    payload("no UTF-8", b'"\xff"', "UTF-8"),
    payload("overlong UTF-8", b'"\xc0\x80"', "UTF-8"),
    payload("a surrogate in UTF-8", b'"\xed\xa0\x80"', "UTF-8"),
    payload("nested 65 deep", "[" * 65 + "]" * 65, "64 levels"),
    payload("objects nested 65 deep", '{"a":' * 65 + "1" + "}" * 65, "64 levels"),
    payload("nested 100,000 deep", "[" * 100_000, "64 levels"),
    payload("a Python value nested 66 deep", json.loads("[" * 66 + "]" * 66), ""),
    payload("one byte too large", '"' + "x" * (MAX_PAYLOAD_BYTES - 1) + '"', "1,048,576 bytes"),
    payload(
        "too large in UTF-8 alone", '"' + "é" * (MAX_PAYLOAD_BYTES // 2) + '"', "1,048,576 bytes"
    ),
    payload("too large and no JSON", "x" * (MAX_PAYLOAD_BYTES + 1), "1,048,576 bytes"),
    payload("a trailing comma", '{"a":1,}'),
    payload("a trailing comma in a list", "[1,]"),
    payload("two values", "{} {}"),
    payload("two lines of NDJSON", "{}\n{}"),
    payload("a raw line break in a string", '"a\nb"'),
    payload("a raw tab in a string", '"a\tb"'),
    payload("a raw NUL in a string", '"a\x00b"'),
    payload("a NUL after it", "{}\x00"),
    payload("a no-break space", "{}\u00a0"),
    payload("a comment", "{} // x"),
    payload("single quotes", "{'a':1}"),
    payload("a bare key", "{a:1}"),
    payload("a leading zero", "01"),
    payload("a plus sign", "+1"),
    payload("no digit after the point", "1."),
    payload("no digit before the point", ".5"),
    payload("a hexadecimal number", "0x1"),
    payload("capital True", "True"),
    payload("an unknown escape", '"\\x41"'),
    payload("a Python NaN", {"a": float("nan")}),
    payload("a Python infinity", [float("-inf")]),
    payload("a decimal NaN", Decimal("NaN")),
    payload("a decimal beyond a double", Decimal("1E+400")),
    payload("a Python integer of 400 digits", 10**400),
    payload("a set", {1, 2}),
    payload("bytes inside a Python value", {"a": b"x"}),
    payload("a key that is no text", {1: 2}),
    payload("a naive datetime inside a Python value", {"a": datetime(2026, 1, 1)}),
    case(
        "payload: no UTF-8 in a binary column",
        arrow(data=middle(b'"\xff"', pa.binary())),
        (1, "data"),
        says="UTF-8",
    ),
    case(
        "payload: no UTF-8 in a text column",
        arrow(data=view(b"1", b'"\xff"', None)),
        (1, "data"),
        says="UTF-8",
    ),
    case(
        "payload: no JSON in a binary column",
        arrow(data=middle(b"x", pa.large_binary())),
        (1, "data"),
        says=JSON,
    ),
    case(
        "payload: duplicate keys in a text column",
        arrow(data=middle('{"a":1,"a":1}', pa.large_string())),
        (1, "data"),
        says="uplicate",
    ),
]
