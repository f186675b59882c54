"""Declared features are what a plain loop over all events says, on both engines: with ties, late events, corrections, large numbers."""

from decimal import Decimal, localcontext
from itertools import product
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings

import eventlake as el
from eventlake.columns.hashing.content import content_hash
from eventlake.datasets.building.given_spine import given_spine
from eventlake.errors import InvalidInputError
from eventlake.features.aggregates.table import AGGREGATES
from eventlake.features.look_up import ENGINES, LookUp, hindsight, rows
from eventlake.features.on_polars import parts as polars_parts
from eventlake.features.planned.asked import Asked
from eventlake.features.planned.limits import LookUpLimits
from eventlake.features.planned.plan import compiled
from eventlake.features.planned.sources import sources, with_delays
from eventlake.storage import MemoryStorage
from tests.scope import examples
from tests.support.feature_questions import (
    BEGIN,
    HOUR,
    ORACLE,
    SCHEMA,
    field_of,
    histories,
    questions,
    written,
)

FEATURES_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "features.md"


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


def test_every_aggregate_has_a_function_an_oracle_and_documentation():
    judged = {one.kind for make in ORACLE for one in make(window="2h").aggregates()}
    # A rate has no value without a window: tests/features/test_features.py has its oracle.
    assert judged | {"rate"} == set(AGGREGATES)
    table = FEATURES_PAGE.read_text(encoding="utf-8").partition("## Functions")[2]
    for name in AGGREGATES:
        assert callable(getattr(el, name))
        assert f"`{name}(type" in table.partition("## Arguments")[0]


def tables(features, lake, spine):
    """The rows on both engines, on DuckDB as if there were few pairs of rows and events and as if there were many; or how each refused."""
    history = lake.snapshot().history
    plan, found = compiled(features, history.catalogue), []
    for engine, few in [("duckdb", 20), ("duckdb", -1), ("polars", 20)]:
        limits = LookUpLimits(few_pairs=few, joined_pairs=7)
        try:
            found.append(rows(plan, history, given_spine(spine), engine, limits))
        except InvalidInputError as error:
            found.append(error)
    return found


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
        numbered, expected = given_spine(spine), looked_back(plan, events, asked, by, depth, via)
        assert hindsight(plan, history, numbered) == expected
        assert hindsight(plan, history, numbered, LookUpLimits(piece_rows=3)) == expected
        assert plan.finds_hindsight is not via
        # Groups of entities; pieces in the order of the spine; all rows at once.
        sizes = (3, len(events) + 1, 10**6)
        for engine, few, piece_rows in product(ENGINES, (20, -1), sizes) if not via else ():
            limits = LookUpLimits(few_pairs=few, piece_rows=piece_rows)
            look_up = LookUp(plan, history, numbered, engine, limits)
            assert content_hash(look_up.rows()) == content_hash(one)
            assert look_up.hindsight() == expected


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
                if any(holds(stream, event) for stream in plan.parts_by_stream())
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
    asked = Asked.of(plan, given_spine(spine))
    by_type = with_delays(plan, sources(plan, history))
    with polars_parts.opened(plan, by_type, asked.entities) as engine:
        parts = engine.parts(asked)
    found = [
        {part: values_of(pl.Series(parts[part])) for part in wanted}
        for wanted in plan.parts_by_stream().values()
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
