"""From a dataset to a model and back: matrices, splits, predictions that are events, and what they were made of."""

import hashlib
import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import eventlake as el
from eventlake.columns.hashing.content import content_hash
from eventlake.errors import InvalidEventsError, InvalidInputError, NotFoundError
from tests.support.feature_fixtures import BEGIN, DAY, FEATURES, event, filled, instants

SPINE = pl.DataFrame(
    {
        "subject": [f"/loan/{number % 7}" for number in range(40)],
        "cutoff": instants(*(5 + number % 9 for number in range(40))),
        "late": [number % 3 == 0 for number in range(40)],
    }
)


@pytest.fixture
def lake(tmp_path):
    return filled(el.create(tmp_path / "lake", "tests.eventlake/features"))


@pytest.fixture
def built(lake):
    return lake.build(FEATURES, spine=SPINE)


def test_a_split_by_entity_keeps_entities_together_and_is_the_same_anywhere(built):
    one = built.split(by="entity", test=0.4)
    assert set(one.train["subject"]).isdisjoint(one.test["subject"])
    assert pl.concat([one.train, one.test]).sort("spine_row").equals(built.polars())
    hashes = {
        name: int(hashlib.sha256(f"eventlake/{name}".encode()).hexdigest()[:15], 16)
        for name in SPINE["subject"].unique()
    }
    assert set(one.test["subject"]) == {
        name for name, value in hashes.items() if value % 10**6 < 400_000
    }
    assert one.rule == {
        "dataset": built.manifest_hash,
        "by": "entity",
        "column": "subject",
        "test_millionths": 400_000,
        "salt": "eventlake",
        "train": content_hash(one.train.to_arrow()),
        "test": content_hash(one.test.to_arrow()),
    }
    assert built.split(by="entity", test=0.4).split_hash == one.split_hash
    assert built.split(by="entity", test=0.4, salt="other").split_hash != one.split_hash


def test_a_split_by_time_keeps_instants_together_and_never_tests_on_the_past(built):
    one = built.split(by="time", test=0.25)
    assert one.train["cutoff"].max() < one.test["cutoff"].min()
    assert 0 < one.test.height <= 10
    since = datetime(2026, 1, 10, tzinfo=UTC)
    assert built.split(by="time", since=since).test["cutoff"].min() == since
    assert built.split(by="time", test=0.01).test.height == 0


def offered(tmp_path, *horizons):
    """An offer a day for ten days, and the dataset with a label of each horizon."""
    lake = el.create(tmp_path / "offers", "tests.eventlake/offers")
    lake.register("offered", {"type": "object", "properties": {"n": {"type": "integer"}}})
    lake.register("accepted", {"type": "object", "properties": {"n": {"type": "integer"}}})
    days = [BEGIN + day * DAY for day in range(10)]
    event = {"source": "s", "type": "offered", "data": {}}
    lake.append(
        [
            event
            | {
                "id": f"{day}",
                "subject": f"/{day}",
                "time": at.isoformat(),
                "recorded_at": at.isoformat(),
            }
            for day, at in enumerate(days)
        ]
    )
    spine = el.spine.on("offered", known_until="2026-03-01T00:00:00Z")
    for horizon in horizons:
        spine = spine.label(f"accepted_{horizon}", el.exists("accepted"), horizon=horizon)
    return lake.build(el.FeatureSet("f", features=[el.count("offered")]), spine=spine)


def days_of(rows):
    return [moment.day - 1 for moment in rows["cutoff"].to_list()]


@pytest.mark.parametrize(
    ("horizons", "how", "train", "left_out", "test"),
    [
        (
            ["3d"],
            {},
            [0, 1, 2, 3, 4, 5],
            [6, 7],
            [8, 9],
        ),  # [5, 8) ends before the test, [6, 9) does not
        (["1d"], {}, [0, 1, 2, 3, 4, 5, 6, 7], [], [8, 9]),
        (["1d", "4d"], {}, [0, 1, 2, 3, 4], [5, 6, 7], [8, 9]),
        (["3d"], {"gap": "0d"}, [0, 1, 2, 3, 4, 5, 6, 7], [], [8, 9]),
        (["3d"], {"gap": timedelta(0)}, [0, 1, 2, 3, 4, 5, 6, 7], [], [8, 9]),
        (["3d"], {"gap": "49h"}, [0, 1, 2, 3, 4, 5], [6, 7], [8, 9]),
        (["3d"], {"gap": "20d"}, [], [0, 1, 2, 3, 4, 5, 6, 7], [8, 9]),
        (["3d"], {"since": "2026-01-05T12:00:00Z"}, [0, 1, 2], [3, 4], [5, 6, 7, 8, 9]),
        (["3d"], {"since": "2027-01-01T00:00:00Z"}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [], []),
        ([], {}, [0, 1, 2, 3, 4, 5, 6, 7], [], [8, 9]),
        ([], {"gap": "3d"}, [0, 1, 2, 3, 4, 5], [6, 7], [8, 9]),
    ],
)
def test_no_training_row_has_a_label_that_looks_into_the_test_period(
    tmp_path, horizons, how, train, left_out, test
):
    one = offered(tmp_path, *horizons).split(by="time", test=0.2, **how)
    assert (days_of(one.train), days_of(one.left_out), days_of(one.test)) == (train, left_out, test)
    assert one.rule.get("left_out", 0) == len(left_out)
    assert ("left out: their labels look into the test period" in one.card().title) == bool(
        left_out
    )


def test_the_gap_of_a_split_is_a_part_of_its_rule_and_of_no_split_by_entity(tmp_path):
    built = offered(tmp_path, "3d")
    one, other = built.split(by="time"), built.split(by="time", gap="0d")
    assert one.rule["gap_us"] == 3 * 86_400_000_000
    assert set(one.rule) - set(other.rule) == {"gap_us", "left_out"}
    assert one.split_hash != other.split_hash
    assert built.split(by="entity").left_out.height == 0
    with pytest.raises(InvalidInputError, match="a gap is between earlier rows and later rows"):
        built.split(by="entity", gap="3d")
    for wrong in (3, "3 days", timedelta(days=-1)):
        with pytest.raises(InvalidInputError, match="expected gap as a whole number"):
            built.split(by="time", gap=wrong)


@pytest.mark.parametrize(
    "how",
    [
        {"by": "row"},
        {"by": "time", "test": 0},
        {"by": "time", "column": "late"},
        {"by": "entity", "column": "x"},
    ],
)
def test_a_split_that_cannot_be_is_refused(built, how):
    with pytest.raises(InvalidInputError):
        built.split(**how)


def test_a_matrix_has_numbers_and_categories_and_nothing_that_names_the_row(built):
    x, y = built.xy("late")
    assert list(x.columns) == list(FEATURES.columns)
    assert y.tolist() == SPINE["late"].to_list()
    assert {str(kind) for kind in x.dtypes} == {"float64", "category"}
    assert (
        list(x["payment_method_last"].cat.categories) == ["card", "cash"]
        or len(x["payment_method_last"].cat.categories) == 1
    )
    assert math.isnan(x["payment_amount_mean"][0])
    assert x["payment_amount_mean"][1] == built.polars()["payment_amount_mean"][1]
    assert "payment_count_2d" not in built.xy("late", drop=["payment_count_2d"])[0].columns
    with pytest.raises(InvalidInputError, match="there is no column later"):
        built.xy("later")
    with pytest.raises(InvalidInputError, match="is null in"):
        built.xy("missed_days_since_last")


def test_a_prediction_is_explained_after_two_retrainings_and_a_compaction(lake, built):
    said = built.polars().select("spine_row", prediction=pl.col("payment_count_30d") / 10)
    receipt = lake.record_predictions(built, said, model=b"the first model")
    assert receipt.stop - receipt.start == 40
    first = lake.snapshot().table("prediction.made").sort("sequence").collect()
    assert first["subject"].to_list() == SPINE["subject"].to_list()
    assert first["dataset"].unique().to_list() == [built.manifest_hash]
    # Recorded again it is the same; another value is refused.
    again = lake.record_predictions(built, said, model=b"the first model")
    assert again.start == again.stop
    with pytest.raises(InvalidEventsError):
        lake.record_predictions(
            built, said.with_columns(prediction=pl.lit(0.5)), model=b"the first model"
        )
    # Outcomes and corrections are ordinary events, two more models are trained, and the lake is
    # compacted.
    for number in (1, 2):
        correction = event(100 + number, day=20 + number, amount=5) | {
            "corrects": f"payment-{number}"
        }
        del correction["recorded_at"]
        lake.append([correction])
        later = lake.build(FEATURES, spine=SPINE.with_columns(pl.col("cutoff") + 30 * DAY))
        frame = later.polars().select("spine_row", prediction=pl.lit(number / 10))
        lake.record_predictions(later, frame, model=f"model {number}")
    lake.compact()
    found = lake.explain_prediction(first["id"][1], "payment_count_30d")
    assert (found.prediction, found.dataset.manifest_hash) == (
        said["prediction"][1],
        built.manifest_hash,
    )
    assert found.row["spine_row"] == 1
    assert found.explanation.behind["id"].to_list() == [f"payment-{number}" for number in range(6)]
    assert found.model == first["model"][1]
    assert f"predicts {said['prediction'][1]}" in found._repr_html_()


@pytest.mark.parametrize(
    "frame",
    [
        {"spine_row": [0]},
        {"prediction": [0.5]},
        {"spine_row": [0, 0], "prediction": [0.5, 0.5]},
        {"spine_row": [99], "prediction": [0.5]},
        {"spine_row": [0], "prediction": [float("nan")]},
        {"spine_row": [0], "prediction": [None]},
        {"spine_row": [0.6], "prediction": [0.5]},
        {"spine_row": ["x"], "prediction": [0.5]},
    ],
    ids=str,
)
def test_a_prediction_needs_a_row_and_a_number(lake, built, frame):
    with pytest.raises(InvalidInputError):
        lake.record_predictions(
            built, pl.DataFrame(frame, schema_overrides={"prediction": pl.Float64}), model="m"
        )
    with pytest.raises(NotFoundError):
        lake.explain_prediction("nothing")


def test_a_model_is_named_by_text_bytes_or_file(lake, built, tmp_path):
    said = built.polars().head(1).select("spine_row", prediction=pl.lit(0.5))
    (tmp_path / "model").write_bytes(b"weights")
    for model in ("a name", b"weights", tmp_path / "model"):
        lake.record_predictions(built, said, model=model)
    models = lake.snapshot().table("prediction.made").collect()["model"].unique().sort().to_list()
    assert models == sorted(["a name", hashlib.sha256(b"weights").hexdigest()])
    with pytest.raises(NotFoundError):
        lake.record_predictions(built, said, model=tmp_path / "none")
    with pytest.raises(InvalidInputError):
        lake.record_predictions(built, said, model="")


def test_a_prediction_of_a_row_that_is_keyed_by_an_instant_is_explained(lake):
    query = "SELECT subject, cutoff, count(p.id) AS n FROM spine s LEFT JOIN payment p USING (subject) GROUP BY subject, cutoff"
    projection = el.Projection.sql("keyed", query, key=["subject", "cutoff"], by="subject")
    made = lake.build(projection, spine=SPINE.unique(["subject", "cutoff"]))
    said = made.polars().head(1).select("subject", "cutoff", prediction=pl.lit(0.5))
    lake.record_predictions(made, said, model="m")
    (name,) = lake.snapshot().table("prediction.made").collect()["id"]
    assert lake.explain_prediction(name).row["cutoff"] == said["cutoff"][0]
