"""First mistakes in a declaration of features are told by what to write, and entities that match nothing are warned of."""

import warnings
from datetime import timedelta

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import InvalidInputError, InvalidProjectionError, NotFoundError
from tests.support.feature_fixtures import SPINE, event, filled, instants


@pytest.fixture
def lake(tmp_path):
    return filled(el.create(tmp_path / "lake", "tests.eventlake/features"))


def built(lake, *features, spine=SPINE, **more):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        dataset = lake.build(el.FeatureSet("risk", features=list(features)), spine=spine, **more)
    return dataset.polars(), [str(one.message) for one in told]


@pytest.mark.parametrize(
    ("given", "column"),
    [
        (timedelta(days=2), "payment_count_2d"),
        (timedelta(hours=48), "payment_count_2d"),
        ("48h", "payment_count_48h"),
    ],
)
def test_a_window_may_be_a_timedelta_and_counts_what_its_text_counts(lake, given, column):
    rows, _ = built(lake, el.count("payment", window=given))
    assert rows[column].to_list() == [2, 0, 0]


def test_a_week_has_seven_days(lake):
    rows, _ = built(lake, el.count("payment", window=["1w", "7d"]))
    assert rows["payment_count_1w"].to_list() == rows["payment_count_7d"].to_list() == [4, 0, 4]


def test_a_timedelta_makes_the_feature_that_its_text_makes():
    assert el.count("payment", window=timedelta(days=90)) == el.count("payment", window="90d")
    assert el.count("payment", window="1d", offset=timedelta(minutes=90)) == el.count(
        "payment", window="1d", offset="90m"
    )


@pytest.mark.parametrize(
    ("window", "hint"),
    [
        (7, "window='7d' for days"),
        ("7 days", "write window='7d'"),
        ("2 weeks", "write window='2w'"),
        ("30min", "write window='30m'"),
        ("1mo", "write 30d or 365d"),
        (timedelta(microseconds=1), "found datetime.timedelta(microseconds=1)"),
        (timedelta(days=-1), "found datetime.timedelta(days=-1)"),
    ],
)
def test_a_window_that_is_no_length_is_refused_with_one(window, hint):
    with pytest.raises(InvalidInputError) as refused:
        el.count("payment", window=window)
    assert hint in str(refused.value)


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        (lambda event: True, "where=el.field('amount') > 100"),
        (pl.col("amount") > 1, "expressions of other libraries"),
        ({"method": ["card", "cash"]}, "where=el.field('method').is_in(['card', 'cash'])"),
    ],
)
def test_a_where_that_is_no_condition_is_refused_with_one(where, hint):
    with pytest.raises(InvalidInputError) as refused:
        el.count("payment", where=where)
    assert hint in str(refused.value)


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: el.count("payment", "7d"), "write el.count('payment', window='7d')"),
        (lambda: el.sum("payment"), "write el.sum('payment', 'amount', window='90d')"),
        (lambda: el.rate("payment"), "window"),
        (lambda: el.quantile("payment", "amount"), "write el.quantile('payment', 'amount', 0.9"),
        (lambda: el.quantile("payment", "amount", 95), "write 0.95 for 95 percent"),
        (lambda: el.quantile("payment", "amount", "half"), "found 'half'"),
        (lambda: el.quantile("payment", "amount", 0.0005), "in thousandths"),
        (
            lambda: el.count("payment").name("Number of payments"),
            "write .name('number_of_payments')",
        ),
        (
            lambda: el.FeatureSet("Case Features", features=[el.count("payment")]),
            "write FeatureSet('case_features', …)",
        ),
        (lambda: el.FeatureSet("risk", features=[]), "write features="),
    ],
)
def test_a_call_that_does_not_fit_is_refused_with_one_that_does(call, hint):
    with pytest.raises((InvalidInputError, InvalidProjectionError)) as refused:
        call()
    assert hint in str(refused.value)


def test_aggregates_of_other_libraries_are_told_what_they_are_called_here():
    with pytest.raises(AttributeError, match=r"write el\.distinct\(type, field\)"):
        el.nunique("payment", "method")
    with pytest.raises(AttributeError, match=r"write el\.quantile\(type, field, 0\.95\)"):
        el.percentile("payment", "amount")
    with pytest.raises(AttributeError, match=r"did you mean el\.count\?"):
        el.coun("payment")
    assert not hasattr(el, "_ipython_display_")


def test_a_spine_that_lacks_a_column_is_told_which_one_fits(lake):
    for renamed, hint in (
        ({"cutoff": "ts"}, "cutoff='ts'"),
        ({"subject": "loan"}, "spine_by='loan'"),
    ):
        with pytest.raises(InvalidInputError) as refused:
            built(lake, el.count("payment"), spine=SPINE.rename(renamed))
        assert hint in str(refused.value)


def test_a_hint_for_a_cutoff_without_a_zone_makes_the_spine_that_was_meant(lake):
    naive = SPINE.with_columns(pl.col("cutoff").dt.replace_time_zone(None))
    with pytest.raises(
        InvalidInputError, match=r"pl\.col\('cutoff'\)\.dt\.replace_time_zone\('UTC'\)"
    ):
        built(lake, el.count("payment"), spine=naive)
    rows, _ = built(
        lake,
        el.count("payment"),
        spine=naive.with_columns(pl.col("cutoff").dt.replace_time_zone("UTC")),
    )
    assert rows["payment_count"].to_list() == [4, 0, 6]


def test_names_that_are_almost_right_are_told_the_right_ones(lake):
    with pytest.raises(InvalidProjectionError, match="did you mean 'amount'"):
        built(lake, el.sum("payment", "amuont"))
    with pytest.raises(NotFoundError, match="did you mean 'payment'"):
        built(lake, el.count("payments"))


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_entities_that_no_event_has_are_warned_of_with_both_spellings(lake, engine):
    spine = pl.DataFrame({"subject": ["loan/1", "1"], "cutoff": instants(9, 9)})
    rows, told = built(lake, el.count("payment"), el.exists("missed"), spine=spine, engine=engine)
    assert rows["payment_count"].to_list() == [0, 0]
    assert len(told) == 2
    assert (
        'no entity of the spine has an event of payment: the spine names "loan/1", "1", events name "/loan/1"'
        in " ".join(told)
    )
    assert 'events name "/loan/1", "/loan/2"' in " ".join(told)
    _, again = built(lake, el.count("payment"), el.exists("missed"), spine=spine, engine=engine)
    assert again == told  # a dataset that is found again warns as well


def test_entities_with_events_outside_of_the_window_are_not_warned_of(lake):
    spine = pl.DataFrame({"subject": ["/loan/1"], "cutoff": instants(30)})
    rows, told = built(lake, el.count("payment", window="1d"), spine=spine)
    assert rows["payment_count_1d"].to_list() == [0]
    assert told == []


def test_entities_by_an_attribute_of_events_are_compared_as_well(lake):
    features = el.FeatureSet("risk", by="correlation_id", features=[el.count("payment")])
    lake.append([event(30, day=7, amount=1) | {"correlation_id": "c-1"}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = lake.build(
            features,
            spine=pl.DataFrame({"correlation_id": ["c-1", "C-2"], "cutoff": instants(9, 9)}),
        )
    assert found.polars()["payment_count"].to_list() == [1, 0]
    with pytest.warns(UserWarning, match='the spine names "C-1", events name "c-1"'):
        lake.build(features, spine=pl.DataFrame({"correlation_id": ["C-1"], "cutoff": instants(9)}))


SPELLINGS = [
    (
        "/loan/1 ",
        "by blanks around the name of the spine",
        "pl.col('subject').str.strip_chars()",
        lambda name: name.str.strip_chars(),
    ),
    (
        "/LOAN/1",
        "by case",
        "pl.col('subject').str.to_lowercase()",
        lambda name: name.str.to_lowercase(),
    ),
    (
        "1",
        "by what precedes the last slash",
        "'/loan/' + pl.col('subject')",
        lambda name: ("/loan/" + name).alias("subject"),
    ),
    (
        "1.0",
        "by '.0', as a column of floats was made text",
        "give the column as text or whole numbers",
        None,
    ),
    ("01", "by zeros in front", "read the column as text, not as a number", None),
]


@pytest.mark.parametrize(("named", "difference", "hint", "mended"), SPELLINGS)
def test_entities_that_are_almost_alike_are_told_how_they_differ_and_what_makes_them_alike(
    lake, named, difference, hint, mended
):
    spine = pl.DataFrame({"subject": [named], "cutoff": instants(9)})
    rows, told = built(lake, el.count("payment"), spine=spine)
    assert rows["payment_count"].to_list() == [0]
    assert f'"{named}" and "/loan/1" differ {difference}: ' in told[0]
    assert hint in told[0]
    if mended is not None:
        rows, told = built(
            lake, el.count("payment"), spine=spine.with_columns(mended(pl.col("subject")))
        )
        assert (rows["payment_count"].to_list(), told) == ([6], [])


def test_a_warning_points_at_the_line_that_built(lake):
    with pytest.warns(UserWarning, match="no entity of the spine has an event of payment") as told:
        lake.build(
            el.FeatureSet("risk", features=[el.count("payment")]),
            spine=pl.DataFrame({"subject": ["nobody"], "cutoff": instants(9)}),
        )
    assert [one.filename for one in told] == [__file__]


TYPES = {
    "amount": {"type": "number", "multipleOf": 0.01},
    "weight": {"type": "number"},
    "open": {"type": "boolean"},
    "name": {"type": "string"},
    "parts": {"type": "array", "items": {"type": "integer"}},
    "at": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.mark.parametrize(
    ("feature", "hint"),
    [
        (
            el.sum("pay", "weight"),
            "a sum of floats depends on their order: declare the field as a decimal, with "
            "multipleOf, in a new version of its schema.",
        ),
        (
            el.mean("pay", "open"),
            "count('pay', where={'open': True}) counts how often it is true.",
        ),
        (
            el.sum("pay", "name"),
            "distinct, last, first, lag, min and max take utf8; "
            "count('pay', where=…) counts events with some value.",
        ),
        (
            el.last("pay", "at"),
            "name a field inside of it by its path, or give the payload a field that holds one "
            "value.",
        ),
        (
            el.distinct("pay", "parts"),
            "name a field inside of it by its path, or give the payload a field that holds one "
            "value.",
        ),
    ],
    ids=["float", "bool", "text", "object", "list"],
)
def test_an_aggregate_of_a_field_of_another_type_is_refused_with_what_takes_it(feature, hint):
    lake = el.create("memory://", "tests.eventlake/types")
    lake.register("pay", {"type": "object", "properties": TYPES})
    lake.append([event(0, "pay", amount=1)])
    with pytest.raises(InvalidProjectionError, match="the field is") as refused:
        lake.build(el.FeatureSet("risk", features=[feature]), spine=SPINE)
    assert refused.value.hint == hint


@pytest.mark.parametrize("name", ["time", "recorded_at"])
def test_the_instant_of_an_event_is_no_field_and_its_age_is_named(lake, name):
    with pytest.raises(InvalidProjectionError, match=f"payment has no field {name}") as refused:
        built(lake, el.last("payment", name))
    assert refused.value.hint == (
        "since_last('payment') and since_first('payment') have the age of events; it has amount, "
        "method, weight; subject, source, id, sequence and datacontenttype, dataschema, "
        "correlation_id, causation_id, traceparent, extensions, corrects, correction are the "
        "event's own."
    )
