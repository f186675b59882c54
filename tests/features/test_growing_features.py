"""Features taken over from an earlier build, and features looked up bucket by bucket, are those of a build from scratch."""

from dataclasses import replace

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.columns.hashing.content import content_hash, normalise
from eventlake.datasets.building.given_spine import given_spine
from eventlake.datasets.building.reuse_features import reuse_rows, stale_rows
from eventlake.errors import InvalidInputError
from eventlake.features.look_up import ENGINES, rows
from eventlake.history.sql.duckdb_views import EntityFilter
from eventlake.projections.computation import Computation, RunOptions
from eventlake.projections.kinds import kind_of, prepare
from eventlake.projections.on_duckdb.by_entity import bucketed, in_bucket
from eventlake.projections.rows import finish
from eventlake.storage import MemoryStorage
from tests.scope import examples
from tests.support.feature_questions import BEGIN, HOUR, SCHEMA, histories, questions, written


def feature_set(question, known):
    chosen, by, depth, via, _ = question
    relations = [el.relation("own", child="subject", parent="owner")] if via else []
    features = [
        make(window=span[0], offset=span[1]).name(f"f{number}")
        for number, (make, span) in enumerate(chosen)
    ]
    return el.FeatureSet("made", by=by, depth=depth, via=relations, known=known, features=features)


def spine_of(features, asked):
    names, hours = zip(*asked, strict=True)
    cutoffs = pl.Series([BEGIN + some * HOUR for some in hours], dtype=pl.Datetime("us", "UTC"))
    return given_spine(
        pl.DataFrame({features.spine_entity: pl.Series(names, dtype=pl.String), "cutoff": cutoffs})
    )


@pytest.mark.parametrize("known", ["cutoff", "watermark"])
@settings(max_examples=examples(12), deadline=None, suppress_health_check=list(HealthCheck))
@given(events=histories(), question=questions(), data=st.data())
def test_what_is_taken_over_is_what_is_looked_up(known, events, question, data):
    lake = el.create(MemoryStorage(), "tests.eventlake/features")
    lake.register("pay", SCHEMA)
    lake.register("own", pa.schema({"owner": pa.string()}))
    for event in events:
        lake.append([written(event)])
    features = feature_set(question, known)
    asked = question[-1]
    first = data.draw(
        st.lists(st.sampled_from(asked), min_size=1, max_size=8), label="the spine of before"
    )
    before = lake.snapshot(
        data.draw(st.integers(0, len(events)), label="the watermark of before")
    ).history
    history = lake.snapshot().history
    projection = replace(
        el.Projection.features(features), runs_on=data.draw(st.sampled_from(ENGINES))
    )
    spines = [spine_of(features, some) for some in (first, asked)]

    def made(at, spine):
        computation = Computation(projection, at, spine)
        looked_up = rows(computation.feature_plan, at, spine, projection.engine)
        return finish(computation, looked_up)

    try:
        old, full = made(before, spines[0]), made(history, spines[1])
    except InvalidInputError:
        return  # a sum that may not fit
    computation = Computation(projection, history, spines[1])
    found, _ = reuse_rows(old, stale_rows(before, computation), computation, most=1.0)
    assert content_hash(found) == content_hash(full)
    chosen = bucketed(kind_of(projection).entities(computation), 3)
    buckets = [
        EntityFilter("", features.spine_entity, in_bucket(chosen, number)) for number in range(3)
    ]
    parts = [normalise(prepare(computation, RunOptions(only=only)).rows()) for only in buckets]
    assert content_hash(finish(computation, pa.concat_tables(parts))) == content_hash(full)
