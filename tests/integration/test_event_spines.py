"""Spines that are made of events, and labels that look ahead."""

from datetime import UTC, datetime

import pytest

import eventlake as el
from eventlake.errors import InvalidInputError
from tests.feature_fixtures import BEGIN, DAY, event, filled


@pytest.fixture
def lake(tmp_path):
    return filled(el.create(tmp_path / "lake", "tests.eventlake/features"))


def test_a_spine_of_events_has_a_row_for_each_with_labels_that_are_null_where_it_is_too_early(lake):
    spine = el.spine.on("payment", carry=["method"], where=el.field("amount") < 14).label("late", el.exists("missed"), horizon="4d")
    spine = spine.label("amounts", el.sum("payment", "amount"), horizon="1d")
    rows = lake.build(el.FeatureSet("risk", features=[el.count("payment")]), spine=spine).polars()
    assert rows["subject"].to_list() == ["/loan/1"] * 4
    assert rows["cutoff"].to_list() == [BEGIN + day * DAY for day in range(4)]
    assert rows["method"].to_list() == ["cash", "card", "cash", "card"]
    assert rows["payment_count"].to_list() == [0, 1, 2, 3]
    # Day 6 is the last that the lake knows: [2, 6) is over and without a miss, [3, 7) is not over.
    assert rows["late"].to_list() == [False, False, False, None]
    assert [float(value) for value in rows["amounts"]] == [10.5, 11.5, 12.5, 13.5]
    later = el.spine.on("payment", where=el.field("amount") < 14, known_until="2026-03-01T00:00:00Z")
    rows = later.label("late", el.exists("missed"), horizon="4d").rows(lake.snapshot().history)
    assert rows["late"].to_list() == [False, False, False, True]


def test_month_ends_run_from_the_first_event_to_what_the_lake_knows(lake):
    lake.append([event(21, day=40, subject="/loan/3", amount=1), event(20, day=70, amount=1)])
    rows = el.spine.month_ends("payment").rows(lake.snapshot().history)
    months = [datetime(2026, month, 1, tzinfo=UTC) for month in (2, 3)]
    assert rows.rows() == [("/loan/1", months[0]), ("/loan/1", months[1]), ("/loan/3", months[1])]


def test_spines_whose_columns_would_clash_are_refused(lake):
    spine = el.spine.on("payment", carry=["method"])
    for name in ("subject", "cutoff", "method"):
        with pytest.raises(InvalidInputError, match="has a column of that name already"):
            spine.label(name, el.exists("missed"), horizon="4d")
    with pytest.raises(InvalidInputError, match="one of them twice"):
        el.spine.on("payment", carry=["method", "method"]).rows(lake.snapshot().history)
    with pytest.raises(InvalidInputError, match="known_until"):
        el.spine.month_ends("payment", known_until="soon").rows(lake.snapshot().history)


@pytest.mark.parametrize("feature", [el.count("payment", window="3d"), el.since_last("payment"), el.count("a") / el.count("b")])
def test_a_label_has_the_horizon_for_a_window(feature):
    with pytest.raises(InvalidInputError, match="without a window"):
        el.spine.on("payment").label("late", feature, horizon="4d")
