"""Whether a row saw what was not there yet: made again from a history that ends at its cutoff."""

from dataclasses import replace

import pyarrow.compute as pc
import pytest

import eventlake as el
from eventlake.errors import InvalidInputError
from eventlake.features.aggregates.table import AGGREGATES
from tests.support.feature_fixtures import BEGIN, DAY, FEATURES, SPINE, event, filled, instants


@pytest.fixture
def lake(tmp_path):
    return filled(el.create(tmp_path / "lake", "tests.eventlake/features"))


@pytest.fixture
def revised(lake):
    """A payment that was told late, and one that was corrected after some of the cutoffs."""
    for number, late in ((7, {}), (8, {"corrects": "payment-2"})):
        lake.append(
            [
                event(number, day=1, amount=99.5)
                | {"recorded_at": (BEGIN + 8 * DAY).isoformat()}
                | late
            ]
        )
    return lake


@pytest.mark.parametrize("known", ["cutoff", "watermark"])
@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_declared_features_saw_nothing_that_was_not_there_yet(revised, known, engine):
    built = revised.build(
        el.FeatureSet("risk", features=FEATURES.features, known=known), spine=SPINE, engine=engine
    )
    report = el.check_leakage(built)
    assert report.ok, report.leaks
    assert (report.checked, report.known) == (3, known)


def test_hindsight_is_a_leak_to_whoever_asks_what_was_known(revised):
    built = revised.build(
        el.FeatureSet("risk", features=FEATURES.features, known="watermark"), spine=SPINE
    )
    report = el.check_leakage(built, known="cutoff")
    found = {
        (row["spine_row"], row["column"]): (row["stored"], row["rebuilt"])
        for row in report.leaks.iter_rows(named=True)
    }
    assert found[0, "payment_amount_mean"] == ("46.9", "12.0")
    assert {row for row, _ in found} == {0}


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_a_leak_in_what_an_engine_returns_is_seen(lake, engine, monkeypatch):
    plain = AGGREGATES["count"]
    wrong = replace(plain, finish=lambda found, terms: pc.add(plain.finish(found, terms), 1))
    monkeypatch.setitem(AGGREGATES, "count", wrong)
    built = lake.build(FEATURES, spine=SPINE, engine=engine)
    monkeypatch.undo()
    report = el.check_leakage(built)
    assert not report.ok
    assert set(report.leaks["column"]) == {
        "payment_count_2d",
        "payment_count_30d",
        "by_card",
        "each",
    }
    assert report.leaks.height == 12
    assert "12 leaks" in report._repr_html_()


LEAKY = """
    SELECT s.spine_row, count(p.id) AS payments, max(p.amount) AS most
    FROM spine s LEFT JOIN {table} p ON p.subject = s.subject AND p.time {sign} s.cutoff {known} GROUP BY s.spine_row
"""


@pytest.mark.parametrize("table", ["payment", 'latest."payment"'])
def test_a_leak_in_sql_is_seen_and_rows_that_saw_nothing_are_left_alone(revised, table):
    sound = LEAKY.format(table=table, sign="<", known="AND p.recorded_at < s.cutoff")
    leaks = {
        "inclusive": LEAKY.format(table=table, sign="<=", known="AND p.recorded_at <= s.cutoff"),
        "hindsight": LEAKY.format(table=table, sign="<", known=""),
    }
    spine = SPINE.with_columns(cutoff=instants(4, 9, 3))
    if table == "payment":
        assert el.check_leakage(
            revised.build(el.Projection.sql("sound", sound, key=["spine_row"]), spine=spine)
        ).ok
    for name, query in leaks.items():
        report = el.check_leakage(
            revised.build(el.Projection.sql(name, query, key=["spine_row"]), spine=spine)
        )
        assert set(report.leaks["spine_row"]) == {0, 2}, name
    assert el.check_leakage(
        revised.build(el.Projection.sql("h", leaks["hindsight"], key=["spine_row"]), spine=spine),
        known="watermark",
    ).ok


def test_a_row_that_only_the_future_makes_is_a_leak(revised):
    query = "SELECT s.spine_row, p.amount AS next FROM spine s JOIN payment p ON p.subject = s.subject AND p.time > s.cutoff"
    built = revised.build(
        el.Projection.sql("next", f"{query} AND p.id = 'payment-5'", key=["spine_row"]), spine=SPINE
    )
    assert built.polars().height == 1
    report = el.check_leakage(built)
    assert report.leaks.select("stored", "rebuilt").rows() == [("15.50", "no row")]


def test_a_leak_is_not_told_where_a_row_is_of_several_rows_of_the_spine(revised):
    query = "SELECT s.subject, count(p.id) AS n FROM spine s LEFT JOIN payment p ON p.subject = s.subject GROUP BY s.subject"
    with pytest.raises(InvalidInputError, match="do not identify rows of the spine"):
        el.check_leakage(
            revised.build(el.Projection.sql("mixed", query, key=["subject"]), spine=SPINE)
        )


def test_both_tables_of_a_type_may_be_read_where_leaks_are_looked_for(revised):
    query = """SELECT s.spine_row,
        (SELECT count(*) FROM payment p WHERE p.subject = s.subject AND p.time < s.cutoff AND p.recorded_at < s.cutoff) AS said,
        (SELECT count(*) FROM latest.payment p WHERE p.subject = s.subject AND p.time < s.cutoff) AS "column" FROM spine s"""
    report = el.check_leakage(
        revised.build(el.Projection.sql("both", query, key=["spine_row"]), spine=SPINE)
    )
    assert set(report.leaks["column"]) <= {"column"}


def test_a_leak_cannot_be_looked_for_without_cutoffs(lake):
    query = "SELECT subject, count(*) AS n FROM payment GROUP BY subject"
    with pytest.raises(InvalidInputError, match="has no spine"):
        el.check_leakage(lake.build(el.Projection.sql("plain", query, key=["subject"])))
    with pytest.raises(InvalidInputError, match="expected cutoff as a column"):
        el.check_leakage(lake.build(FEATURES, spine=SPINE), cutoff="late")
