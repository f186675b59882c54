"""Spines that are made of events, and labels that look ahead."""

from datetime import UTC, datetime

import polars as pl
import pytest

import eventlake as el
from eventlake.cli import documents
from eventlake.errors import InvalidInputError
from tests.support.feature_fixtures import BEGIN, DAY, SPINE, event, filled


@pytest.fixture
def lake(tmp_path):
    return filled(el.create(tmp_path / "lake", "tests.eventlake/features"))


def test_a_spine_of_events_has_a_row_for_each_with_labels_that_are_null_where_it_is_too_early(lake):
    spine = el.spine.on("payment", carry=["method"], where=el.field("amount") < 14).label(
        "late", el.exists("missed"), horizon="4d"
    )
    spine = spine.label("amounts", el.sum("payment", "amount"), horizon="2d")
    rows = lake.build(el.FeatureSet("risk", features=[el.count("payment")]), spine=spine).polars()
    assert rows["subject"].to_list() == ["/loan/1"] * 4
    assert rows["cutoff"].to_list() == [BEGIN + day * DAY for day in range(4)]
    assert rows["method"].to_list() == ["cash", "card", "cash", "card"]
    assert rows["payment_count"].to_list() == [0, 1, 2, 3]
    # Day 6 is the last that the lake knows: [2, 6) is over and without a miss, [3, 7) is not over.
    assert rows["late"].to_list() == [False, False, False, None]
    assert [float(value) for value in rows["amounts"]] == [
        11.5,
        12.5,
        13.5,
        14.5,
    ]  # the next payment, and not the row's own
    later = el.spine.on(
        "payment", where=el.field("amount") < 14, known_until="2026-03-01T00:00:00Z"
    )
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


@pytest.mark.parametrize(
    "feature",
    [el.count("payment", window="3d"), el.since_last("payment"), el.count("a") / el.count("b")],
)
def test_a_label_has_the_horizon_for_a_window(feature):
    with pytest.raises(InvalidInputError, match="without a window"):
        el.spine.on("payment").label("late", feature, horizon="4d")


@pytest.fixture
def corrected(lake):
    """A payment of day 1 that is told in full weeks later, and one of day 2 that is taken back then."""
    late = {"recorded_at": (BEGIN + 20 * DAY).isoformat()}
    lake.append([event(7, day=1, amount=99.5) | late | {"corrects": "payment-1"}])
    retraction = event(8, day=2) | late | {"corrects": "payment-2", "correction": "retract"}
    lake.append([{name: value for name, value in retraction.items() if name != "data"}])
    return lake


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_a_spine_known_at_the_cutoff_sees_no_later_correction(corrected, engine):
    spine = el.spine.on("payment", carry=["amount"], where=el.field("amount") < 14)
    features = el.FeatureSet("risk", features=[el.count("payment")])
    dataset = corrected.build(features, spine=spine, engine=engine)
    assert [float(value) for value in dataset.polars()["amount"]] == [10.5, 11.5, 12.5, 13.5]
    assert (dataset.provenance["spine_hindsight_rows"], dataset.provenance["spine_late_rows"]) == (
        0,
        0,
    )
    assert el.check_leakage(dataset).ok


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_a_spine_with_hindsight_by_name_is_told_and_its_rows_are_leaks_at_the_cutoff(
    corrected, engine
):
    spine = el.spine.on(
        "payment", carry=["amount"], where=el.field("amount") > 12, known="watermark"
    )
    dataset = corrected.build(
        el.FeatureSet("risk", features=[el.count("payment")]), spine=spine, engine=engine
    )
    assert [float(value) for value in dataset.polars()["amount"]] == [13.5, 14.5, 15.5, 99.5]
    assert dataset.provenance["spine_hindsight_rows"] == 1
    assert (
        "hindsight of the spine",
        "1 row with corrections that were recorded later",
    ) in dataset.card().facts
    report = el.check_leakage(dataset)
    # Row 3 is in the set for its correction alone; the payment of day 2 satisfied the condition as
    # it was known.
    assert report.leaks.rows() == [
        (3, "row", "the row", "no row"),
        (None, "row", "no row", "the row"),
    ]
    assert (
        report.card().title
        == "2 leaks; hindsight, as declared: 1 row of the spine with later corrections"
    )
    assert el.check_leakage(dataset, rows=2).leaks.height == 0


def test_a_leak_report_says_how_much_of_what_rows_see_is_hindsight(corrected):
    dataset = corrected.build(
        el.FeatureSet("risk", features=[el.sum("payment", "amount")], known="watermark"),
        spine=SPINE,
    )
    report = el.check_leakage(dataset)
    assert report.ok
    assert report.hindsight == {
        name: dataset.provenance[name]
        for name in ("hindsight_rows", "hindsight_events", "hindsight_left_out")
    }
    assert (
        report.card().title
        == "no leak; hindsight, as declared: 2 rows with other events than were known at the cutoff"
    )
    assert report.given == ("late",)


def test_no_label_of_a_spine_is_a_feature_of_the_model_of_another(lake):
    spine = el.spine.on("payment", where=el.field("amount").is_in([11.5, 12.5])).label(
        "late", el.exists("missed"), horizon="4d"
    )
    spine = spine.label("misses", el.count("missed"), horizon="3d")
    features = el.FeatureSet("risk", features=[el.count("payment")])
    given = lake.build(features, spine=spine.rows(lake.snapshot().history))
    assert list(given.xy("late")[0].columns) == [
        "misses",
        "payment_count",
    ]  # nothing says what it is
    # The same rows are one dataset; from now on it is known what its columns are.
    declared = lake.build(features, spine=spine)
    assert declared.manifest_hash == given.manifest_hash
    for dataset in (declared, given, lake.dataset(given.manifest_hash)):
        assert dataset.labels() == ("late", "misses")
        assert (
            list(dataset.xy("late")[0].columns)
            == list(dataset.xy("misses")[0].columns)
            == ["payment_count"]
        )
    assert el.check_leakage(declared).labels == ("late", "misses")


@pytest.mark.parametrize(
    ("query", "labels", "given"),
    [
        ("SELECT s.* FROM spine s", ("late", "Misses"), ["amount"]),
        ("SELECT spine_row, LATE, misses, amount FROM spine", ("late", "Misses"), ["amount"]),
        (
            'SELECT spine_row, late AS "LATE", Misses AS mISSES, amount FROM spine',
            ("LATE", "mISSES"),
            ["amount"],
        ),
        ("SELECT spine_row, subject, cutoff, late, amount FROM spine", ("late",), ["amount"]),
    ],
)
def test_labels_of_a_spine_are_labels_of_the_sql_that_selects_them(lake, query, labels, given):
    spine = el.spine.on("payment", carry=["amount"], where=el.field("amount").is_in([11.5, 12.5]))
    spine = spine.label("late", el.exists("missed"), horizon="4d").label(
        "Misses", el.count("missed"), horizon="4d"
    )
    dataset = lake.build(el.Projection.sql("some", query, key=["spine_row"]), spine=spine)
    assert dataset.labels() == labels
    for label in labels:
        assert list(dataset.xy(label)[0].columns) == given
        assert (
            dataset.explain(1, label).behind["id"].to_list()
            == ["missed-0"][: dataset.polars()[label][1]]
        )
        assert (
            dataset.explain(1, label).note
            == "looks at [2026-01-03T00:00:00Z, 2026-01-07T00:00:00Z)"
        )
    assert dataset.explain(1, "amount").behind["id"].to_list() == ["payment-2"]


@pytest.mark.parametrize(
    ("query", "leaks"),
    [
        ("SELECT * FROM spine", set()),
        ("SELECT * FROM spine WHERE late IS NOT NULL AND misses IS NOT NULL", set()),
        ("SELECT spine_row, LATE, amount FROM spine", set()),
        ("SELECT spine_row, late AS y, misses, most FROM spine", {"y"}),
        ("SELECT spine_row, misses + 1 AS more, amount FROM spine", {"more"}),
        ("SELECT spine_row, coalesce(method, 'none') AS method_then FROM spine", {"method_then"}),
        ("SELECT spine_row, 2 * most AS days, amount FROM spine", {"days"}),
        ("SELECT spine_row, amount FROM spine WHERE late", {"amount"}),
    ],
)
def test_what_sql_makes_of_a_label_under_another_name_is_a_leak(lake, query, leaks):
    spine = el.spine.on("payment", carry=["amount"], where=el.field("amount").is_in([11.5, 12.5]))
    spine = spine.label("late", el.exists("missed"), horizon="4d").label(
        "misses", el.count("missed"), horizon="4d"
    )
    spine = spine.label("method", el.last("payment", "method"), horizon="3d").label(
        "most", el.max("payment", "amount"), horizon="3d"
    )
    dataset = lake.build(el.Projection.sql("some", query, key=["spine_row"]), spine=spine)
    assert set(el.check_leakage(dataset).leaks["column"]) == leaks


def test_predictions_and_other_sources_do_not_make_an_unknown_label_known(lake):
    spine = el.spine.on("payment").label("late", el.exists("missed"), horizon="4d")
    features = el.FeatureSet("risk", features=[el.count("payment")])
    dataset = lake.build(features, spine=spine)
    before = dataset.polars()["late"].to_list()
    assert before == [False, False, False, None, None, None]
    lake.record_predictions(
        dataset, dataset.polars().select("spine_row", prediction=pl.lit(0.5)), model="m"
    )
    now = {
        name: value
        for name, value in event(20, subject="/loan/9", amount=1).items()
        if name not in {"time", "recorded_at"}
    }
    lake.append([now | {"source": "another"}])
    assert lake.build(features, spine=spine).polars()["late"].to_list()[:6] == before
    lake.append([now | {"id": "21"}])
    assert lake.build(features, spine=spine).polars()["late"].to_list()[:6] == [
        False,
        False,
        False,
        True,
        True,
        True,
    ]


def test_an_event_is_not_its_own_outcome(lake):
    lake.append(
        [
            event(30, day=7, amount=1),
            event(31, day=7, amount=1),
            event(32, day=20, subject="/loan/9", amount=1),
        ]
    )
    spine = el.spine.on("payment").label("again", el.count("payment"), horizon="2d")
    rows = spine.rows(lake.snapshot().history)
    # Two payments of one instant are no outcome of each other either.
    assert rows["again"].to_list() == [1, 1, 1, 1, 1, 0, 0, 0, None]
    longer = el.spine.on("payment").label("again", el.count("payment"), horizon="3d")
    assert longer.rows(lake.snapshot().history)["again"].to_list() == [2, 2, 2, 2, 1, 2, 0, 0, None]


def test_parts_of_a_subject_name_the_entity_of_a_spine(lake):
    lake.append(
        [
            event(40 + day, day=day, subject=f"/loan/7/payment/{day}", amount=1)
            for day in range(7, 9)
        ]
    )
    spine = el.spine.on("payment", depth=2, where=el.field("amount") < 2).label(
        "again", el.count("payment"), horizon="1d"
    )
    rows = lake.build(
        el.FeatureSet("risk", depth=2, features=[el.count("payment")]), spine=spine
    ).polars()
    assert rows.select("subject", "payment_count").rows() == [("/loan/7", 0), ("/loan/7", 1)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: el.spine.on("payment").label("y", el.count("missed")), "horizon='90d'"),
        (
            lambda: el.spine.on("payment", carry=["amount"]).label(
                "AMOUNT", el.count("missed"), horizon="1d"
            ),
            "of that name already",
        ),
        (lambda: el.spine.on("payment", carry=["amount", "Amount"]), "one of them twice"),
        (lambda: el.spine.on("payment", carry="amount"), r"carry=\['amount'\]"),
        (lambda: el.spine.on("payment", known="then"), "'cutoff', 'watermark'"),
    ],
)
def test_what_a_spine_cannot_be_is_refused_with_what_to_write(make, words):
    with pytest.raises(InvalidInputError, match=words):
        make()


def test_a_label_is_explained_by_the_events_ahead_and_a_carried_column_is_no_feature(corrected):
    spine = el.spine.on("payment", carry=["amount"], where=el.field("amount").is_in([11.5, 12.5]))
    spine = spine.label("again", el.count("payment"), horizon="3d").label(
        "late", el.exists("missed"), horizon="4d"
    )
    dataset = corrected.build(el.FeatureSet("risk", features=[el.count("payment")]), spine=spine)
    # The payment of day 2 was taken back.
    assert dataset.polars()["again"].to_list() == [1, 2]
    assert [dataset.explain(row, "again").behind["id"].to_list() for row in range(2)] == [
        ["payment-3"],
        ["payment-3", "payment-4"],
    ]
    assert (
        dataset.explain(1, "again").note == "looks at [2026-01-03T00:00:00Z, 2026-01-06T00:00:00Z)"
    )
    assert dataset.explain(1, "late").behind["id"].to_list() == []
    assert dataset.explain(1).events["id"].to_list() == ["payment-0", "payment-1"]
    for column in ("amount", "cutoff", "subject"):
        # The event as it was told when the row was made; it was corrected later.
        told = f"{column} is a column of the spine, not a feature; it comes from the event 'payment-2' at sequence 2, which makes the row"
        with pytest.raises(InvalidInputError, match=told):
            dataset.explain(1, column)
    with pytest.raises(
        InvalidInputError, match=r"spine_row is a column of the spine, not a feature\n"
    ):
        dataset.explain(1, "spine_row")
    given = corrected.build(el.FeatureSet("given", features=[el.count("payment")]), spine=SPINE)
    with pytest.raises(
        InvalidInputError,
        match="late is a column of the spine, not a feature; the spine was given as rows",
    ):
        given.explain(0, "late")


def test_a_label_that_is_not_known_yet_is_explained_by_when_it_will_be_known_and_why_it_is_not(
    lake,
):
    chosen = el.field("amount").is_in([13.5, 14.5])
    labels = {"late": el.exists("missed"), "ghosts": el.count("ghost")}
    lake.register("ghost", {"type": "object", "properties": {"n": {"type": "integer"}}})

    def explained(column, **how):
        spine = el.spine.on("payment", where=chosen, **how)
        for name, label in labels.items():
            spine = spine.label(name, label, horizon="4d")
        # Several declarations that make the same rows would be one dataset.
        features = el.FeatureSet(f"until_{len(lake.datasets())}", features=[el.count("payment")])
        return lake.build(features, spine=spine).explain(0, column)

    late = explained("late")
    assert (late.row["late"], late.known, late.behind["id"].to_list()) == (
        None,
        False,
        ["missed-0"],
    )
    assert late.card().title == "late is not known yet; 1 event so far"
    window = "looks at [2026-01-04T00:00:00Z, 2026-01-08T00:00:00Z)"
    known = "and the label is known at 2026-01-08T00:00:00Z"
    assert (
        late.note
        == f"{window}; the sources of missed have reported up to 2026-01-07T00:00:00Z, {known}"
    )
    assert explained("ghosts").note == f"{window}; no event of ghost is recorded, {known}"
    assert (
        explained("late", known_until="2026-01-05T00:00:00Z").note
        == f"{window}; known_until is 2026-01-05T00:00:00Z, {known}"
    )
    told = explained("late", known_until="2026-01-08T00:00:00Z")
    assert (told.row["late"], told.known, told.note) == (True, True, window)
    assert documents.explanation(late)["known"] is False
    assert documents.explanation(late)["note"] == late.note


def test_a_label_whose_own_event_was_moved_is_explained_without_it(lake):
    lake.append(
        [
            event(7, day=3, amount=99.5)
            | {"recorded_at": (BEGIN + 20 * DAY).isoformat(), "corrects": "payment-1"}
        ]
    )
    spine = el.spine.on("payment", where=el.field("amount") == 11.5).label(
        "again", el.count("payment"), horizon="4d"
    )
    dataset = lake.build(el.FeatureSet("risk", features=[el.count("payment")]), spine=spine)
    assert dataset.polars()["again"].to_list() == [3]
    assert dataset.explain(0, "again").behind["id"].to_list() == [
        "payment-2",
        "payment-3",
        "payment-4",
    ]
    monthly = el.spine.month_ends("payment", known_until="2026-02-02T00:00:00Z").label(
        "again", el.count("payment"), horizon="1d"
    )
    built = lake.build(el.FeatureSet("monthly", features=[el.count("payment")]), spine=monthly)
    assert built.explain(0, "again").behind.height == 0


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_ends_of_months_of_an_imported_history_are_built_with_hindsight_as_the_refusal_says(
    tmp_path, engine
):
    """Every event happened before the first was recorded: nothing was known at any end of a month."""
    lake = el.create(tmp_path / "lake", "tests.eventlake/imported")
    lake.register("paid", {"type": "object", "properties": {"n": {"type": "integer"}}})
    days = ["2020-01-05", "2020-02-05", "2020-03-05"]
    lake.append(
        [
            {
                "id": day,
                "source": "core",
                "type": "paid",
                "subject": "/a",
                "time": f"{day}T00:00:00Z",
                "data": {"n": 1},
            }
            for day in days
        ]
    )
    spine = el.spine.month_ends("paid", known_until="2020-03-10T00:00:00Z")
    with pytest.raises(InvalidInputError, match="at none of the 2 ends of months") as refused:
        lake.build(
            el.FeatureSet("f", features=[el.count("paid").name("n")]), spine=spine, engine=engine
        )
    assert "known='watermark'" in refused.value.hint
    features = el.FeatureSet("f", features=[el.count("paid").name("n")], known="watermark")
    dataset = lake.build(features, spine=spine, engine=engine)
    assert dataset.polars()["n"].to_list() == [1, 2]
    assert dataset.provenance["spine_hindsight_rows"] == 2
