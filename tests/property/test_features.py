"""Declared features are what a plain loop over all events says, on both engines: with ties, late events, corrections, large numbers."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.columns.hashing.content import content_hash
from eventlake.datasets.building.given_spine import given_spine
from eventlake.errors import InvalidInputError
from eventlake.features.aggregates.table import AGGREGATES
from eventlake.features.look_up import hindsight, rows
from eventlake.features.on_duckdb import parts as duckdb_parts
from eventlake.features.on_polars import parts as polars_parts
from eventlake.features.planned.plan import compiled
from eventlake.features.planned.sources import sources, with_delays
from eventlake.storage import MemoryStorage
from tests.scope import examples

FEATURES_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "features.md"
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


def standing(events, cutoff, known):
    """What stands at a cutoff: the newest member of each family that was known by then, unless it retracts."""
    newest = {}
    for event in events:
        if known == "watermark" or event["recorded_at"] < cutoff:
            event["family"] = next(
                (old["family"] for old in events if old["id"] == event.get("corrects")), event["id"]
            )
            newest[event["family"]] = event
    return [event for event in newest.values() if event.get("correction") != "retract"]


def inside(events, cutoff, span):
    """Those in a window, by time, then as they were appended."""
    length, offset = (None if text is None else int(text[:-1]) * HOUR for text in span)
    end = cutoff - (offset or 0 * HOUR)
    chosen = [
        event
        for event in events
        if event["time"] < end and (length is None or event["time"] >= end - length)
    ]
    return sorted(chosen, key=lambda event: (event["time"], int(event["id"])))


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


def test_every_aggregate_has_a_function_an_oracle_and_documentation():
    judged = {one.kind for make in ORACLE for one in make(window="2h").aggregates()}
    # A rate has no value without a window: tests/integration/test_features.py has its oracle.
    assert judged | {"rate"} == set(AGGREGATES)
    table = FEATURES_PAGE.read_text(encoding="utf-8").partition("## Functions")[2]
    for name in AGGREGATES:
        assert callable(getattr(el, name))
        assert f"`{name}(type" in table.partition("## Arguments")[0]


def added(numbers):
    with localcontext(prec=80):
        return sum(numbers, Decimal(0))


def mean(numbers):
    return float(sum(map(Fraction, numbers)) / len(numbers)) if numbers else None


def tables(features, lake, spine):
    """The rows on both engines, on DuckDB as if there were few pairs of rows and events and as if there were many; or how each refused."""
    history = lake.snapshot().history
    plan, found = compiled(features, history.catalogue), []
    for engine, few in [("duckdb", 20), ("duckdb", -1), ("polars", 20)]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(duckdb_parts, "_FEW_PAIRS", few)
            patch.setattr(duckdb_parts, "_MOST_PAIRS", 7)
            patch.setattr(polars_parts, "_MOST_PAIRS", 7)
            try:
                found.append(rows(plan, history, given_spine(spine), engine))
            except InvalidInputError as error:
                found.append(error)
    return found


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


@pytest.mark.parametrize("known", ["cutoff", "watermark"])
@settings(max_examples=examples(18), deadline=None, suppress_health_check=list(HealthCheck))
@given(events=histories(), question=questions())
def test_features_are_what_a_loop_over_all_events_says(known, events, question):
    chosen, by, depth, via, asked = question
    lake = el.create(MemoryStorage(), "tests.eventlake/features")
    lake.register("pay", SCHEMA)
    lake.register(
        "own", pa.schema({"child": pa.string(), "what": pa.struct({"owner": pa.string()})})
    )
    for event in events:
        lake.append([written(event)])
    features = el.FeatureSet(
        "made",
        by=by,
        depth=depth,
        via=[
            el.relation("own", child="subject" if by == "subject" else "child", parent="what.owner")
        ]
        if via
        else [],
        known=known,
        features=[
            make(window=span[0], offset=span[1]).name(f"f{number}")
            for number, (make, span) in enumerate(chosen)
        ],
    )
    assert el.FeatureSet.from_text("made", features.text()).text() == features.text()
    cutoffs = pl.Series(
        [BEGIN + hours * HOUR for _, hours in asked], dtype=pl.Datetime("us", "UTC")
    )
    spine = pl.DataFrame(
        {
            "what.owner" if via else by: pl.Series([name for name, _ in asked], dtype=pl.String),
            "cutoff": cutoffs,
        }
    )
    one, *others = tables(features, lake, spine)
    if isinstance(one, InvalidInputError):
        assert [str(one)] * 2 == [str(other) for other in others]
        return
    assert [content_hash(one)] * 2 == [content_hash(other) for other in others]
    assert printed(features, lake, spine) == parts_of(features, lake, spine)
    found = pl.DataFrame(one)
    for row, (name, hours) in enumerate(asked):
        cutoff = BEGIN + hours * HOUR
        mine = payments_of(name, events, cutoff, known, by, depth, via)
        for number, (make, span) in enumerate(chosen):
            expected = ORACLE[make](inside(mine, cutoff, span), cutoff)
            assert found[row, f"f{number}"] == expected, (
                make(window=span[0], offset=span[1]).column,
                row,
            )
    if known == "watermark":
        history = lake.snapshot().history
        plan = compiled(features, history.catalogue)
        assert hindsight(plan, history, given_spine(spine)) == looked_back(
            plan, events, asked, by, depth, via
        )


def payments_of(name, events, cutoff, known, by, depth, via):
    """The payments of an entity that stand at a cutoff, whenever they happened."""
    there = standing(events, cutoff, known)
    owners = owned(there, cutoff, by) if via else None
    return [
        event
        for event in there
        if event["type"] == "pay" and name is not None and entity(event, by, depth, owners) == name
    ]


def looked_back(plan, events, asked, by, depth, via):
    """How many rows see other events than were known at their cutoff, how many events are seen too early, and how many left out."""
    rows, early, left_out = 0, set(), set()
    for name, hours in asked:
        cutoff, seen = BEGIN + hours * HOUR, {}
        for known in ("watermark", "cutoff"):
            mine = payments_of(name, events, cutoff, known, by, depth, via)
            some = [
                event
                for event in inside(mine, cutoff, (None, None))
                if any(holds(stream, event) for stream in plan.wanted())
            ]
            seen[known] = {event["id"] for event in some}
        rows += seen["watermark"] != seen["cutoff"]
        early |= seen["watermark"] - seen["cutoff"]
        left_out |= seen["cutoff"] - seen["watermark"]
    return {
        "hindsight_rows": rows,
        "hindsight_events": len(early),
        "hindsight_left_out": len(left_out),
    }


def holds(stream, event):
    if stream.where is None:
        return True
    if stream.where.field == "in.deep.what":
        return field_of(event, "in.deep.what") == "b"
    if stream.where.sign == "not":
        return field_of(event, "what") == "b"
    return (field_of(event, "amount") or 0) > 0


def printed(features, lake, spine):
    """The parts as the printed program finds them, and as the printed SQL does, by stream."""
    snapshot, found = lake.snapshot(), []
    asked = pl.DataFrame(given_spine(spine))
    there = {"snapshot": snapshot, "features": features, "spine": asked}
    head, *programs = features.plan("polars", snapshot).split("\n\n# p0")
    exec(head, there)  # noqa: S102 - what is printed is to be run
    for program in programs:
        exec(program[program.index("\n") :], there)  # noqa: S102
        found.append(
            [values_of(column) for column in there["found"].sort("spine_row").iter_columns()][1:]
        )
    tables = {"spine": asked} | (
        {"eventlake belongs": features.belongs(snapshot)} if features.via else {}
    )
    queries = features.plan("duckdb", snapshot).split(";\n")[:-1]
    selected = [snapshot.sql(query, **tables).polars() for query in queries]
    return found, [[values_of(column) for column in table.iter_columns()][1:] for table in selected]


def parts_of(features, lake, spine):
    """The same as an engine finds them."""
    history = lake.snapshot().history
    plan = compiled(features, history.catalogue)
    parts = polars_parts.parts(plan, with_delays(plan, sources(plan, history)), given_spine(spine))
    found = [
        {part: values_of(pl.Series(parts[part])) for part in wanted}
        for wanted in plan.wanted().values()
    ]
    as_sql = [[in_units(plan, part, parts[part]) for part in stream] for stream in found]
    return [list(stream.values()) for stream in found], as_sql


def in_units(plan, part, values):
    """SQL gives sums of decimals with their places."""
    places = plan.columns["pay"][part.column].scale if part.kind.name == "sum" else 0
    with localcontext(prec=80):
        return values_of(
            pl.Series([value.scaleb(-places) for value in values.to_pylist()])
            if places
            else pl.Series(values)
        )


def values_of(column):
    return [
        int(value) if isinstance(value, Decimal) and value == int(value) else value
        for value in column.to_list()
    ]


def owned(there, cutoff, by):
    """Whose each subject is at a cutoff: what the last event before it says."""
    said = [event for event in there if event["type"] == "own" and event["time"] < cutoff]
    ordered = sorted(said, key=lambda event: (event["time"], int(event["id"])))
    children = [
        (event["subject"] if by == "subject" else field_of(event, "child"), event)
        for event in ordered
    ]
    return {child: field_of(event, "what.owner") for child, event in children if child is not None}


def entity(event, by, depth, owners):
    if owners is not None:
        return owners.get(event["subject"] if by == "subject" else field_of(event, by))
    if by != "subject":
        return field_of(event, by)
    parts = event["subject"].split("/")
    return event["subject"] if depth is None else "/".join(parts[: depth + 1])
