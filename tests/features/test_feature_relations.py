"""Entities that are reached through relations held in events."""

import polars as pl
import pytest

import eventlake as el
from eventlake.errors import InvalidInputError
from tests.support.feature_fixtures import SPINE, event, filled, instants


@pytest.fixture
def lake(tmp_path):
    return filled(el.create(tmp_path / "lake", "tests.eventlake/features"))


@pytest.fixture
def owned(lake):
    """Loans that belong to accounts, and accounts to clients; one account changes hands."""
    lake.register("loan", {"type": "object", "properties": {"account": {"type": "integer"}}})
    lake.register(
        "account",
        {
            "type": "object",
            "properties": {"code": {"type": "integer"}, "client": {"type": "string"}},
        },
    )
    lake.append([event(1, "loan", 6, account=5), event(2, "loan", 6, "/loan/2", account=6)])
    lake.append(
        [
            event(1, "account", 7, "/account/5", code=5, client="ann"),
            event(2, "account", 7, "/account/6", code=6, client="ann"),
        ]
    )
    lake.append([event(3, "account", 12, "/account/5", code=5, client="bob")])
    return lake


VIA = [
    el.relation("loan", child="subject", parent="account"),
    el.relation("account", child="code", parent="client"),
]


@pytest.mark.parametrize("known", ["cutoff", "watermark"])
@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_an_entity_is_reached_through_relations_as_they_are_at_the_cutoff(owned, engine, known):
    spine = pl.DataFrame(
        {"client": ["ann", "ann", "ann", "bob", "bob"], "cutoff": instants(7, 8, 13, 12, 13)}
    )
    columns = [
        el.count("payment"),
        el.count("missed"),
        el.last("payment", "amount"),
        el.sum("payment", "amount", window="9d"),
    ]
    built = owned.build(
        el.FeatureSet("clients", via=VIA, features=columns, known=known), spine=spine, engine=engine
    )
    rows = built.polars()
    assert rows["payment_count"].to_list() == [0, 6, 0, 0, 6]
    assert rows["missed_count"].to_list() == [0, 2, 1, 0, 1]
    assert [value and float(value) for value in rows["payment_amount_last"]] == [
        None,
        15.5,
        None,
        None,
        15.5,
    ]
    assert [float(value) for value in rows["payment_amount_sum_9d"]] == [0, 78, 0, 0, 30]
    assert built.explain(1, "missed_count").behind["id"].to_list() == ["missed-0", "missed-1"]
    assert el.check_leakage(built).ok
    assert owned.reproduce(built.manifest_hash).identical


def test_relations_that_do_not_fit_are_refused(owned):
    for via, problem in [
        (VIA[::-1], "which is int64, but the relation before it leads to utf8"),
        ([el.relation("payment", child="subject", parent="amount")], "named by text or an integer"),
        (["loan"], "expected via as relations"),
    ]:
        with pytest.raises(InvalidInputError, match=problem):
            owned.build(
                el.FeatureSet("clients", via=via, features=[el.count("payment")]), spine=SPINE
            )
    with pytest.raises(InvalidInputError, match="a relation as an event type"):
        el.relation("loan", child="", parent="account")
