"""A few entities among very many events are looked up at once, and by reading little of the others."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest

import eventlake as el
from eventlake.datasets.building.given_spine import given_spine
from eventlake.features import few_entities
from eventlake.features.look_up import ENGINES, LookUp
from eventlake.features.on_duckdb import parts as duckdb_parts
from eventlake.features.on_polars import parts as polars_parts
from eventlake.features.planned.limits import LookUpLimits
from eventlake.features.planned.sources import sources
from eventlake.projections.computation import Computation
from eventlake.storage import MemoryStorage

START = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = el.FeatureSet(
    "risk",
    features=[el.count("pay").name("n"), el.sum("pay", "n").name("total")],
    known="watermark",
)
ENTITIES, COMMITS = 100, 8


@pytest.fixture(scope="module")
def history():
    lake = el.create(MemoryStorage(), "o")
    lake.register("pay", {"type": "object", "properties": {"n": {"type": "integer"}}})
    for commit in range(COMMITS):
        lake.append(
            [
                {
                    "id": f"{commit} {one}",
                    "source": "s",
                    "type": "pay",
                    "subject": f"/c/{one}",
                    "time": (START + timedelta(hours=commit)).isoformat(),
                    "data": {"n": one},
                }
                for one in range(ENTITIES)
            ]
        )
        # Each a range of its own, or merged with the one before.
        lake.snapshot().table("pay").collect()
    return lake.snapshot().history


def computed(history, names):
    spine = pl.DataFrame({"subject": names}).with_columns(
        pl.lit(START + timedelta(days=1)).cast(pl.Datetime("us", "UTC")).alias("cutoff")
    )
    return Computation(el.Projection.features(FEATURES), history, given_spine(spine))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("many", "pieces"), [(3, 1), (ENTITIES, 9)])
def test_few_entities_are_one_piece(history, engine, many, pieces, monkeypatch):
    of_engine = {"duckdb": duckdb_parts.DuckDB, "polars": polars_parts.Polars}[engine]
    found, plain = [], of_engine.parts
    monkeypatch.setattr(
        of_engine,
        "parts",
        lambda self, asked, early: found.append(len(asked)) or plain(self, asked, early),
    )
    computation = computed(history, [f"/c/{one}" for one in range(many)])
    rows = LookUp(
        computation.feature_plan,
        history,
        computation.spine,
        engine,
        LookUpLimits(piece_rows=100),
    ).rows()
    assert len(found) == pieces
    assert rows.column("n").to_pylist() == [COMMITS] * many
    assert rows.column("total").to_pylist() == [COMMITS * one for one in range(many)]


@pytest.mark.parametrize("names", [["/c/0"], ["/c/0", "/c/7", "/none"], ["/none"], []])
@pytest.mark.parametrize("most_parts", [0, 100])
def test_events_of_few_are_estimated_and_not_too_low(history, names, most_parts):
    plan = computed(history, ["/c/1"]).feature_plan
    every = {"pay": ENTITIES * COMMITS}
    by_type = sources(plan, history)
    true = COMMITS * len({"/c/0", "/c/7"} & set(names))
    asked = pa.array(names, pa.string())
    found = few_entities.estimate(plan, by_type, asked, every, most_parts)
    assert true <= found <= 2 * true
    all_names = pa.array([f"/c/{one}" for one in range(ENTITIES)])
    assert few_entities.estimate(plan, by_type, all_names, every, most_parts) == every["pay"]
    too_many = pa.array([str(one) for one in range(5_001)])
    assert few_entities.estimate(plan, by_type, too_many, every, most_parts) == every["pay"]
