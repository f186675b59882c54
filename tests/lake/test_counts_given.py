"""Counts and lengths of time that a caller gives: within bounds, or refused by the name of the argument."""

import inspect
import typing
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

import eventlake as el
from eventlake.arguments import argument_types
from eventlake.errors import EventlakeError
from eventlake.history.snapshot import Snapshot

NAN, INF = float("nan"), float("inf")
NO_COUNT = (-1, True, False, 1.5, 1.0, NAN, INF, "3", [1])
NO_SECONDS = (-1, -0.5, True, False, NAN, INF, 2**70, "3", [1])


@pytest.fixture(scope="module")
def lake():
    made = el.create("memory://", origin="bank.example/counts")
    made.register("t", {"type": "object", "properties": {"a": {"type": "integer"}}})
    made.append(
        [
            {
                "id": str(n),
                "source": "s",
                "type": "t",
                "subject": f"/{n}",
                "time": "2026-01-01T00:00:00Z",
            }
            for n in range(4)
        ]
    )
    return made


@pytest.fixture(scope="module")
def dataset(lake):
    spine = pl.DataFrame(
        {"subject": [f"/{n}" for n in range(4)], "cutoff": [datetime(2026, 2, 1, tzinfo=UTC)] * 4}
    )
    return lake.build(
        el.FeatureSet("d", features=[el.count("t").name("n")], known="watermark"), spine=spine
    )


def again(lake, **options):
    return lake.build(
        el.Projection.sql(
            "p", "SELECT subject, count(*) AS n FROM t GROUP BY subject", key=["subject"]
        ),
        **options,
    )


GIVEN = {
    "check_leakage rows": (
        lambda _, dataset, value: el.check_leakage(dataset, rows=value),
        (*NO_COUNT, 0),
    ),
    "build workers": (lambda lake, _, value: again(lake, workers=value), (*NO_COUNT, 0, 2**70)),
    "build buckets": (lambda lake, _, value: again(lake, buckets=value), (*NO_COUNT, 0, 2**70)),
    "follow after": (lambda lake, _, value: next(lake.follow(after=value)), NO_COUNT),
    "follow poll_seconds": (
        lambda lake, _, value: next(lake.follow(poll_seconds=value)),
        (*NO_SECONDS, 0),
    ),
    "follow timeout_seconds": (
        lambda lake, _, value: next(lake.follow(timeout_seconds=value)),
        NO_SECONDS,
    ),
    "writer max_delay": (lambda lake, _, value: lake.writer(max_delay=value), NO_SECONDS),
    "writer max_events": (lambda lake, _, value: lake.writer(max_events=value), (*NO_COUNT, 0)),
    "writer max_pending": (lambda lake, _, value: lake.writer(max_pending=value), (*NO_COUNT, 0)),
    "compact target_bytes": (
        lambda lake, _, value: lake.compact(target_bytes=value),
        (*NO_COUNT, 0),
    ),
    "prune keep_last": (
        lambda lake, _, value: lake.prune(older_than=timedelta(0), keep_last=value),
        NO_COUNT,
    ),
    "append position": (
        lambda lake, _, value: lake.append([], producer="p", position=value),
        NO_COUNT,
    ),
    "accept_clock version": (
        lambda lake, _, value: lake.accept_clock(value),
        (True, False, 1.5, 1.0, NAN, "3", [1]),
    ),
    "schema version": (lambda lake, _, value: lake.schema("t", value), (*NO_COUNT, 0)),
    "table version": (
        lambda lake, _, value: lake.snapshot().table("t", version=value),
        (*NO_COUNT, 0),
    ),
    "event sequence": (lambda lake, _, value: lake.snapshot().event(value), NO_COUNT),
    "prove_inclusion sequence": (lambda lake, _, value: lake.prove_inclusion(value), NO_COUNT),
    "at_watermark watermark": (lambda _, __, value: el.at_watermark(value), NO_COUNT),
    "split test": (
        lambda _, dataset, value: dataset.split(by="entity", test=value),
        (*NO_COUNT, 0),
    ),
    "lag n": (lambda _, __, value: el.lag("t", "a", n=value), NO_COUNT),
    "FeatureSet depth": (
        lambda _, __, value: el.FeatureSet("f", features=[el.count("t")], depth=value),
        (*NO_COUNT, 0),
    ),
    "on depth": (
        lambda lake, _, value: el.spine.on("t", depth=value).rows(lake.snapshot().history),
        (*NO_COUNT, 0),
    ),
    "month_ends depth": (
        lambda lake, _, value: el.spine.month_ends("t", depth=value).rows(lake.snapshot().history),
        (*NO_COUNT, 0),
    ),
}


@pytest.mark.parametrize(
    ("what", "value"), [(what, value) for what, (_, values) in GIVEN.items() for value in values]
)
def test_a_count_out_of_bounds_is_refused_by_the_name_of_its_argument(lake, dataset, what, value):
    with pytest.raises(EventlakeError, match=f"expected .*{what.split()[1]}.*found "):
        GIVEN[what][0](lake, dataset, value)


def test_every_argument_that_is_a_number_is_among_those():
    owners = (el.Lake, el.Dataset, Snapshot, el.FeatureSet, el.spine, el)
    found = set()
    for owner in owners:
        for name in dir(owner):
            function = inspect.getattr_static(owner, name)
            function = (
                owner.__init__
                if name == "__init__"
                else getattr(owner, name)
                if isinstance(function, classmethod)
                else function
            )
            called = owner.__name__ if name == "__init__" else name
            if (name.startswith("_") and name != "__init__") or not inspect.isroutine(function):
                continue
            if (
                owner is not el
                and not isinstance(owner, type)
                and function.__module__ != owner.__name__
            ):
                continue
            for argument, hint in argument_types(function).items():
                kinds = typing.get_args(hint) or (hint,)
                if (
                    argument != "return"
                    and (int in kinds or float in kinds)
                    and all(kind in {int, float, type(None)} for kind in kinds)
                ):
                    found.add(f"{called} {argument}")
    assert found <= GIVEN.keys()
    assert {
        "check_leakage rows",
        "follow after",
        "build workers",
        "lag n",
        "event sequence",
    } <= found


def test_counts_of_numpy_are_counts(lake, dataset):
    assert el.check_leakage(dataset, rows=np.int64(2)).checked == 2
    assert next(lake.follow(after=np.int32(1), timeout_seconds=np.float64(0.5))).height == 3


@pytest.mark.parametrize(("rows", "checked"), [(1, 1), (3, 3), (4, 4), (9, 4), (None, 4)])
def test_as_many_rows_are_checked_as_were_asked_for(dataset, rows, checked):
    assert el.check_leakage(dataset, rows=rows).checked == checked


def test_the_next_position_is_asked_of_a_producer_by_its_name(lake):
    for nobody in (3, None, "", True):
        with pytest.raises(EventlakeError, match=r"expected (a )?producer"):
            lake.next_position(nobody)
