"""A retraction says that an event no longer holds; no schema asks it for a payload."""

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import InvalidEventsError

AMOUNT = {"type": "number", "multipleOf": 0.01}
SCHEMA = {
    "type": "object",
    "properties": {"amount": AMOUNT, "note": {"type": "string"}},
    "required": ["amount"],
}
PAID = {"source": "s", "type": "paid", "subject": "/a"}
RETRACT = PAID | {"corrects": "1", "correction": "retract"}
NOTHING = [{}, {"data": None}, {"data": {}}, {"data": "{}"}, {"data": " { } "}, {"data": "null"}]


@pytest.fixture
def lake():
    made = el.create("memory://", origin="bank.example/retractions")
    made.append(
        [PAID | {"id": "1", "data": {"amount": 1.5}}, PAID | {"id": "0", "data": {"amount": 2}}]
    )
    return made


def rows(lake, **options):
    return (
        lake.snapshot()
        .table("paid", **options)
        .sort("sequence")
        .collect()
        .select("id", "amount")
        .rows()
    )


@pytest.mark.parametrize("registered", ["before", "after"])
@pytest.mark.parametrize("nothing", NOTHING, ids=repr)
def test_a_retraction_without_a_payload_is_taken_read_and_registered_over(
    lake, nothing, registered
):
    if registered == "before":
        lake.register("paid", SCHEMA)
    lake.append([RETRACT | {"id": "2"} | nothing, PAID | {"id": "3", "data": {"amount": 4}}])
    if registered == "after":
        lake.register("paid", SCHEMA)
    assert [(name, None if amount is None else float(amount)) for name, amount in rows(lake)] == [
        *(("1", 1.5), ("0", 2.0), ("2", None), ("3", 4.0)),
    ]
    assert [name for name, _ in rows(lake, corrections="latest")] == ["0", "3"]
    assert lake.snapshot().sql("SELECT sum(amount) AS total FROM latest.paid").polars()[
        "total"
    ].to_list() == [6]
    assert lake.verify(deep=True).ok


def test_a_proposal_does_not_look_at_retractions_without_a_payload(lake):
    lake.append([RETRACT | {"id": "2"}, RETRACT | {"id": "4", "corrects": "0", "data": {}}])
    proposed = lake.infer_schema("paid")
    assert [(field.name, field.required) for field in proposed.schema.fields] == [("amount", True)]


@pytest.mark.parametrize("data", [{"amount": "x"}, {"note": "a"}, [], 5, {"amount": None}])
def test_a_payload_that_a_retraction_has_is_checked(lake, data):
    lake.register("paid", SCHEMA)
    with pytest.raises(InvalidEventsError, match="row 0, field data"):
        lake.append([RETRACT | {"id": "2", "data": data}])


def test_a_retraction_with_a_payload_shows_it(lake):
    lake.register("paid", SCHEMA)
    lake.append([RETRACT | {"id": "2", "data": {"amount": 1.5}}])
    assert [None if amount is None else float(amount) for _, amount in rows(lake)] == [
        1.5,
        2.0,
        1.5,
    ]


@pytest.mark.parametrize(
    "correction", [{}, {"corrects": "1"}, {"corrects": "1", "correction": "replace"}]
)
def test_any_other_event_still_needs_the_required_fields(lake, correction):
    lake.register("paid", SCHEMA)
    with pytest.raises(InvalidEventsError, match="required"):
        lake.append([PAID | {"id": "2"} | correction])


def test_problems_name_the_rows_of_the_batch_beside_retractions(lake):
    lake.register("paid", SCHEMA)
    found = lake.check(
        [
            RETRACT | {"id": "2"},
            PAID | {"id": "3", "data": {}},
            PAID | {"id": "4", "data": {"amount": 1}},
            PAID | {"id": "5"},
        ]
    )
    assert [(problem.row, problem.field) for problem in found] == [
        (1, "data.amount"),
        (3, "data.amount"),
    ]


def test_features_and_upcasts_pass_over_retractions_without_a_payload(lake):
    lake.register("paid", SCHEMA)
    lake.append([RETRACT | {"id": "2"}])
    wider = SCHEMA | {
        "properties": SCHEMA["properties"] | {"cents": {"type": "integer"}},
        "required": ["amount", "cents"],
    }
    lake.register("paid", wider, upcast={"cents": "CAST(amount * 100 AS BIGINT)"})
    lake.append(
        [
            RETRACT | {"id": "6", "corrects": "0"},
            PAID | {"id": "7", "data": {"amount": 3, "cents": 300}},
        ]
    )
    found = lake.snapshot().table("paid").sort("sequence").collect()
    assert found["cents"].to_list() == [150, 200, None, None, 300]
    spine = pl.DataFrame({"subject": ["/a"], "cutoff": ["2100-01-01"]}).with_columns(
        pl.col("cutoff").str.to_datetime(time_unit="us", time_zone="UTC")
    )
    features = el.FeatureSet(
        "f",
        features=[el.sum("paid", "cents").name("total"), el.count("paid").name("n")],
        known="watermark",
    )
    for engine in ("duckdb", "polars"):
        assert lake.build(features, spine=spine, engine=engine, force=True).polars().select(
            "total", "n"
        ).rows() == [(300, 1)]
