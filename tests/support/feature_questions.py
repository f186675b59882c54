"""Histories and declared features, drawn at random."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product

import pyarrow as pa
from hypothesis import strategies as st

import eventlake as el

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


HOUR = timedelta(hours=1)


SCHEMA = pa.schema(
    {
        "amount": pa.decimal128(18, 2),
        "n": pa.int64(),
        "wide": pa.decimal128(38, 4),
        "what": pa.string(),
        "account": pa.string(),
        "in": pa.struct(
            {"n": pa.int64(), "deep": pa.struct({"what": pa.string(), "account": pa.string()})}
        ),
    }
)


SPANS = [(None, None), ("2h", None), ("9h", None), ("3h", "2h"), (None, "2h")]


NAMES = ["/loan/1", "/loan/1/payment/2", "/loan/2", "/client/é"]


NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([2**63 - 1, -(2**63), 10**9]))


AMOUNTS = st.one_of(st.integers(-300, 300), st.sampled_from([10**17, -(10**17)])).map(
    lambda cents: Decimal(cents) / 100
)


WIDE = st.one_of(st.integers(-5, 5), st.sampled_from([10**37, -(10**37)])).map(
    lambda units: Decimal(units).scaleb(-4)
)


DEEP = st.fixed_dictionaries(
    {}, optional={"what": st.sampled_from(["a", "b", "ž"]), "account": st.sampled_from(["A", "B"])}
)


@st.composite
def histories(draw):
    """Events with their own instants and those of their recording, some of which correct earlier ones."""
    events, recorded = [], 0
    for number in range(draw(st.integers(0, 24))):
        recorded += draw(st.sampled_from([0, 0, 1, 3]))
        kind = draw(st.sampled_from(["pay", "pay", "pay", "own"]))
        event = {
            "id": str(number),
            "source": "s",
            "type": kind,
            "subject": draw(st.sampled_from(NAMES)),
            "time": BEGIN + (recorded - draw(st.sampled_from([0, 0, 0, 1, 2, 12]))) * HOUR,
            "recorded_at": BEGIN + recorded * HOUR,
            "data": {
                key: value
                for key, value in {
                    "amount": draw(st.none() | AMOUNTS),
                    "n": draw(st.none() | NUMBERS),
                    "wide": draw(st.none() | WIDE),
                    "what": draw(st.sampled_from([None, "a", "b", "ž"])),
                    "account": draw(st.sampled_from([None, "A", "B"])),
                    "in": draw(
                        st.none() | st.fixed_dictionaries({}, optional={"n": NUMBERS, "deep": DEEP})
                    ),
                }.items()
                if value is not None
            },
        }
        if kind == "own":
            owner = draw(st.sampled_from([None, "X", "X", "Y"]))
            child = draw(st.sampled_from(["A", "B", None]))
            event["data"] = {"what": {} if owner is None else {"owner": owner}} | (
                {} if child is None else {"child": child}
            )
        earlier = [old for old in events if old["type"] == kind]
        if earlier and draw(st.integers(0, 3)) == 0:
            old = draw(st.sampled_from(earlier))
            event |= {
                "corrects": old["id"],
                "subject": old["subject"],
                "correction": draw(st.sampled_from(["replace", "retract"])),
            }
            if event["correction"] == "retract":
                del event["data"]
        events.append(event)
    return events


def written(event):
    """The event as it is appended: a decimal is text that holds one."""
    data = {
        key: str(value) if isinstance(value, Decimal) else value
        for key, value in event.get("data", {}).items()
    }
    return {
        **event,
        "time": event["time"].isoformat(),
        "recorded_at": event["recorded_at"].isoformat(),
    } | ({"data": data} if data else {})


def of(events, name):
    return [field_of(event, name) for event in events]


def field_of(event, name):
    found = event.get("data")
    for part in name.split("."):
        found = None if found is None else found.get(part)
    return found


def values(events, name):
    return [value for value in of(events, name) if value is not None]


def deviation(numbers):
    if len(numbers) < 2:
        return None
    mean = Fraction(sum(map(Fraction, numbers)), len(numbers))
    return math.sqrt(sum((Fraction(number) - mean) ** 2 for number in numbers) / (len(numbers) - 1))


def quantile(numbers, share):
    """The smallest value of which at least this share of the values is no greater."""
    least = Fraction(share) * len(numbers)
    return min((n for n in numbers if sum(o <= n for o in numbers) >= least), default=None)


def place(found, number):
    return found[number] if -len(found) <= number < len(found) else None


def less(one, other):
    return None if one is None or other is None else one - other


def since(events, cutoff, number, unit):
    return (cutoff - events[number]["time"]) / unit if events else None


# What each feature is, of the events in its window. The ten lines that all of the engines' code is
# held to.
ORACLE = {
    lambda **k: el.count("pay", **k): lambda e, c: len(e),
    lambda **k: el.exists("pay", **k): lambda e, c: bool(e),
    lambda **k: el.sum("pay", "amount", **k): lambda e, c: sum(values(e, "amount"), Decimal(0)),
    lambda **k: el.sum("pay", "n", **k): lambda e, c: sum(values(e, "n")),
    lambda **k: el.sum("pay", "wide", **k): lambda e, c: added(values(e, "wide")),
    lambda **k: el.mean("pay", "amount", **k): lambda e, c: mean(values(e, "amount")),
    lambda **k: el.mean("pay", "n", **k): lambda e, c: mean(values(e, "n")),
    lambda **k: el.std("pay", "n", **k): lambda e, c: deviation(values(e, "n")),
    lambda **k: el.std("pay", "amount", **k): lambda e, c: deviation(values(e, "amount")),
    lambda **k: el.min("pay", "amount", **k): lambda e, c: min(values(e, "amount"), default=None),
    lambda **k: el.max("pay", "what", **k): lambda e, c: max(values(e, "what"), default=None),
    lambda **k: el.distinct("pay", "what", **k): lambda e, c: len(set(values(e, "what"))),
    lambda **k: el.median("pay", "amount", **k): lambda e, c: quantile(values(e, "amount"), "0.5"),
    lambda **k: el.quantile("pay", "n", 0.9, **k): lambda e, c: quantile(values(e, "n"), "0.9"),
    lambda **k: el.quantile("pay", "wide", "0", **k): lambda e, c: quantile(values(e, "wide"), "0"),
    lambda **k: el.quantile("pay", "in.n", 0.333, **k): lambda e, c: quantile(
        values(e, "in.n"), "0.333"
    ),
    lambda **k: el.last("pay", "n", **k): lambda e, c: place(of(e, "n"), -1),
    lambda **k: el.sum("pay", "in.n", **k): lambda e, c: sum(values(e, "in.n")),
    lambda **k: el.last("pay", "in.deep.what", **k): lambda e, c: place(of(e, "in.deep.what"), -1),
    lambda **k: el.distinct("pay", "in.deep.what", **k): lambda e, c: len(
        set(values(e, "in.deep.what"))
    ),
    lambda **k: el.count("pay", where=el.field("in.deep.what") == "b", **k).name(
        "deep"
    ): lambda e, c: of(e, "in.deep.what").count("b"),
    lambda **k: el.first("pay", "what", **k): lambda e, c: place(of(e, "what"), 0),
    lambda **k: el.lag("pay", "amount", 2, **k): lambda e, c: place(of(e, "amount"), -3),
    lambda **k: el.delta("pay", "amount", **k): lambda e, c: less(
        place(of(e, "amount"), -1), place(of(e, "amount"), -2)
    ),
    lambda **k: el.since_last("pay", **k): lambda e, c: since(e, c, -1, 24 * HOUR),
    lambda **k: el.since_first("pay", unit="h", **k): lambda e, c: since(e, c, 0, HOUR),
    lambda **k: el.count("pay", where=el.field("amount") > 0, **k).name("positive"): lambda e, c: (
        len([v for v in values(e, "amount") if v > 0])
    ),
    lambda **k: el.count("pay", where=~el.field("what").is_in(["a", "ž"]), **k).name(
        "others"
    ): lambda e, c: of(e, "what").count("b"),
    lambda **k: (el.sum("pay", "amount", **k) / el.count("pay", **k)).name("each"): lambda e, c: (
        float(Fraction(sum(values(e, "amount"), Decimal(0))) / len(e)) if e else None
    ),
}


def added(numbers):
    with localcontext(prec=80):
        return sum(numbers, Decimal(0))


def mean(numbers):
    return float(sum(map(Fraction, numbers)) / len(numbers)) if numbers else None


WHO = [("subject", None), ("subject", 2), ("account", None), ("in.deep.account", None)]


@st.composite
def questions(draw):
    """Features of some windows, the entity's name, and a spine."""
    chosen = draw(
        st.lists(st.sampled_from(list(product(ORACLE, SPANS))), min_size=1, max_size=8, unique=True)
    )
    by, depth, via = draw(
        st.sampled_from(
            [
                *((*one, False) for one in WHO),
                ("subject", None, True),
                ("in.deep.account", None, True),
            ]
        )
    )
    entities = (
        ["X", "Y", "Z"]
        if via
        else [*NAMES, "/loan/9", None]
        if by == "subject"
        else ["A", "B", "C", None]
    )
    hours = st.integers(-2, 40)
    spine = draw(st.lists(st.tuples(st.sampled_from(entities), hours), min_size=1, max_size=8))
    return chosen, by, depth, via, spine
