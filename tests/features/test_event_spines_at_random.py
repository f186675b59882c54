"""Spines of events are what an observer wrote down while events came in, and labels what a plain loop counts."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.errors import InvalidInputError
from eventlake.storage import MemoryStorage
from tests.scope import examples

BEGIN = datetime(2026, 1, 28, tzinfo=UTC)
DAY, MOMENT = timedelta(days=1), timedelta(microseconds=1)
SCHEMA = pa.schema({"n": pa.int64()})
HORIZON = 4


@st.composite
def histories(draw):
    """Events of two sources, told early, in time and late; some correct earlier ones and move them, or take them back."""
    events, recorded = [], 0
    for number in range(draw(st.integers(0, 14))):
        recorded += draw(st.sampled_from([0, 0, 1, 2]))
        kind = draw(st.sampled_from(["buy", "buy", "buy", "tick"]))
        event = {
            "id": str(number),
            "source": draw(st.sampled_from(["s", "s", "t"])),
            "type": kind,
            "subject": draw(st.sampled_from(["/a", "/b"])),
            "time": BEGIN + (recorded + draw(st.sampled_from([0, 0, 0, -1, -3, 2]))) * DAY,
            "recorded_at": BEGIN + recorded * DAY,
            "data": {"n": draw(st.integers(0, 3))},
        }
        earlier = [old for old in events if old["type"] == kind]
        if earlier and draw(st.booleans()):
            old = draw(st.sampled_from(earlier))
            event |= {name: old[name] for name in ("subject", "source")}
            event |= {
                "corrects": old["id"],
                "correction": draw(st.sampled_from(["replace", "replace", "retract"])),
            }
            if event["correction"] == "retract":
                del event["data"]
        event["family"] = next(
            (old["family"] for old in events if old["id"] == event.get("corrects")), event["id"]
        )
        events.append(event)
    return events


def filled(events):
    lake = el.create(MemoryStorage(), "tests.eventlake/spines")
    for kind in ("buy", "tick", "never"):
        lake.register(kind, SCHEMA)
    if events:
        said = (
            {name: value for name, value in event.items() if name != "family"} for event in events
        )
        lake.append(
            [
                one | {name: one[name].isoformat() for name in ("time", "recorded_at")}
                for one in said
            ]
        )
    return lake


def speaking(events, before=None):
    """What speaks for each family to whoever has heard what was recorded before an instant, or everything."""
    newest = {
        event["family"]: event
        for event in events
        if before is None or event["recorded_at"] < before
    }
    return [event for event in newest.values() if event.get("correction") != "retract"]


def observed(events):
    """The first that an observer, who looks at every instant at which something changes, hears of each event that has happened."""
    looks = sorted(
        {event["time"] for event in events} | {event["recorded_at"] + MOMENT for event in events}
    )
    first = {}
    for look in looks:
        for event in speaking(events, look):
            if event["time"] <= look:
                first.setdefault(event["family"], event)
    return list(first.values())


def rows_of(events, kind):
    chosen = sorted(
        (event for event in events if event["type"] == kind), key=lambda event: int(event["id"])
    )
    return [(event["subject"], event["time"], event["data"]["n"]) for event in chosen]


def heard(events, kind):
    sources = {event["source"] for event in events if event["type"] == kind}
    return max(
        (
            min(
                max(e[clock] for e in events if e["source"] == s)
                for clock in ("time", "recorded_at")
            )
            for s in sources
        ),
        default=None,
    )


def label(events, row, kind, *, own):
    end = row["time"] + HORIZON * DAY
    if heard(events, kind) is None or end > heard(events, kind):
        return None
    ahead = [
        e
        for e in speaking(events)
        if e["type"] == kind and e["subject"] == row["subject"] and e["family"] != row["family"]
    ]
    return sum(
        1
        for e in ahead
        if (row["time"] < e["time"] if own else row["time"] <= e["time"]) and e["time"] < end
    )


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_rows_of_events_are_what_was_said_when_the_event_became_known(events):
    lake = filled(events)
    history = lake.snapshot().history
    spine = el.spine.on("buy", carry=["n"])
    assert spine.rows(history).rows() == rows_of(observed(events), "buy")
    assert spine.rows(history, "watermark").rows() == rows_of(speaking(events), "buy")
    chosen = el.spine.on("buy", carry=["n"], where=el.field("n") > 1).rows(history).rows()
    assert chosen == [row for row in rows_of(observed(events), "buy") if row[2] > 1]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(histories(), st.sampled_from(["cutoff", "watermark"]))
def test_labels_count_what_happens_after_the_row_and_never_its_own_event(events, known):
    spine = el.spine.on("buy", known=known)
    for name, kind in (("again", "buy"), ("ticks", "tick"), ("nevers", "never")):
        spine = spine.label(name, el.count(kind), horizon=f"{HORIZON}d")
    found = spine.rows(filled(events).snapshot().history).select("again", "ticks", "nevers").rows()
    told = observed(events) if known == "cutoff" else speaking(events)
    rows = sorted(
        (event for event in told if event["type"] == "buy"), key=lambda event: int(event["id"])
    )
    assert found == [
        (label(events, row, "buy", own=True), label(events, row, "tick", own=False), None)
        for row in rows
    ]


ASKED = {
    "sum": (lambda kind: el.sum(kind, "n"), sum),
    "mean": (
        lambda kind: el.mean(kind, "n"),
        lambda values: float(Fraction(sum(values), len(values))) if values else None,
    ),
    "most": (lambda kind: el.max(kind, "n"), lambda values: max(values, default=None)),
    "first": (lambda kind: el.first(kind, "n"), lambda values: values[0] if values else None),
    "last": (lambda kind: el.last(kind, "n"), lambda values: values[-1] if values else None),
    "some": (el.exists, bool),
    "different": (lambda kind: el.distinct(kind, "n"), lambda values: len(set(values))),
    "large": (
        lambda kind: el.count(kind, where=el.field("n") > 1),
        lambda values: len([value for value in values if value > 1]),
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    histories(),
    st.sampled_from(["cutoff", "watermark"]),
    st.sampled_from(["buy", "tick"]),
    st.booleans(),
)
def test_datasets_over_a_spine_of_events_are_what_a_loop_says_on_both_engines(
    events, known, kind, until
):
    end = BEGIN + 9 * DAY if until else heard(events, kind)
    spine = el.spine.on(
        "buy", carry=["n"], where=el.field("n") > 0, known_until=end if until else None
    )
    for name, (make, _) in ASKED.items():
        spine = spine.label(name, make(kind), horizon=f"{HORIZON}d")
    window = el.FeatureSet(
        "f", known=known, features=[el.sum("tick", "n", window="3d", offset="1d").name("seen")]
    )
    told = observed(events) if known == "cutoff" else speaking(events)
    chosen = sorted(
        (event for event in told if event["type"] == "buy" and event["data"]["n"] > 0),
        key=lambda event: int(event["id"]),
    )
    expected = []
    for row in chosen:
        cutoff = row["time"]
        labels = [None] * len(ASKED)
        if end is not None and cutoff + HORIZON * DAY <= end:
            begun = [
                event
                for event in speaking(events)
                if event["time"] > cutoff or (event["time"] == cutoff and kind != "buy")
            ]
            ahead = [
                event
                for event in begun
                if event["time"] < cutoff + HORIZON * DAY and event["family"] != row["family"]
            ]
            labels = [count(values_of(ahead, kind, row)) for _, count in ASKED.values()]
        then = speaking(events, cutoff if known == "cutoff" else None)
        seen = sum(
            values_of(
                [event for event in then if cutoff - 4 * DAY <= event["time"] < cutoff - DAY],
                "tick",
                row,
            )
        )
        expected.append((row["subject"], cutoff, row["data"]["n"], *labels, seen))
    lake = filled(events)
    for engine in ("duckdb", "polars"):
        try:
            rows = (
                lake.build(window, spine=spine, engine=engine, force=True)
                .polars()
                .drop("spine_row")
                .rows()
            )
        except InvalidInputError as error:
            assert known == "cutoff" and "nothing was known" in str(error), error  # noqa: PT018 - no cutoff after the first recording
            assert all(
                cutoff <= min(event["recorded_at"] for event in events)
                for _, cutoff, *_ in expected
            )
        else:
            assert rows == expected


def values_of(events, kind, row):
    """The numbers of events of the row's entity, in the order of time."""
    mine = [
        event for event in events if event["type"] == kind and event["subject"] == row["subject"]
    ]
    return [
        event["data"]["n"]
        for event in sorted(mine, key=lambda event: (event["time"], int(event["id"])))
    ]


@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_ends_of_months_are_those_at_which_an_event_was_known(events):
    end, months = (
        heard(events, "buy"),
        [datetime(2026, month, 1, tzinfo=UTC) for month in (2, 3, 4)],
    )
    until = "2026-04-02T00:00:00Z" if end is None else None
    wanted = {
        known: [
            (subject, month)
            for subject in ("/a", "/b")
            for month in months
            if end is not None and month <= end
            for said in [speaking(events, month if known == "cutoff" else None)]
            if any(
                e["type"] == "buy" and e["subject"] == subject and e["time"] < month for e in said
            )
        ]
        for known in ("cutoff", "watermark")
    }
    history = filled(events).snapshot().history
    made = el.spine.month_ends("buy", known_until=until)
    assert made.rows(history, "watermark").rows() == wanted["watermark"]
    if wanted["cutoff"]:
        assert made.rows(history).rows() == wanted["cutoff"]


@settings(max_examples=examples(25), deadline=None, suppress_health_check=list(HealthCheck))
@given(histories())
def test_a_spine_that_is_known_at_the_cutoff_has_no_leak_and_one_with_hindsight_has_those_that_it_says(
    events,
):
    lake, features = (
        filled(events),
        el.FeatureSet("f", known="watermark", features=[el.count("buy")]),
    )
    dataset = lake.build(features, spine=el.spine.on("buy", carry=["n"], known="cutoff"))
    assert not {"row", "n"} & set(el.check_leakage(dataset, known="cutoff").leaks["column"])
    seen = lake.build(features, spine=el.spine.on("buy", carry=["n"]))
    one, other = rows_of(observed(events), "buy"), rows_of(speaking(events), "buy")
    more = sum(max(other.count(row) - one.count(row), 0) for row in set(other))
    assert seen.provenance["spine_hindsight_rows"] == more
    leaks = el.check_leakage(seen, known="cutoff").leaks.filter(
        pl.col("column").is_in(["row", "n"])
    )
    assert (leaks.height > 0) == (sorted(one) != sorted(other))
