"""What the index records of a dataset beside its name: an estimate that saves opening it, and changes no row."""

from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eventlake as el
from eventlake.core import layout
from eventlake.datasets.building import incremental
from eventlake.datasets.store import build_index
from eventlake.datasets.store.base_facts import Costs, Entities, Facts
from eventlake.storage import MemoryStorage
from tests.scope import examples

TOTALS = el.Projection.sql(
    "totals",
    "SELECT subject, count(*) AS n FROM paid GROUP BY subject",
    key=["subject"],
    by="subject",
)
RISK = el.FeatureSet("risk", features=[el.count("paid").name("n")], known="watermark")


def names(first, stop):
    return [f"/c/{number}" for number in range(first, stop)]


def sample(values, kind=None):
    return Entities.of(pa.chunked_array([pa.array(values, kind)]))


def spine(subjects):
    cutoff = pl.lit(datetime(2026, 2, 1, tzinfo=UTC)).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"subject": subjects}).with_columns(cutoff.alias("cutoff"))


def append(lake, name, subjects):
    lake.append(
        [
            {
                "id": f"{name} {subject}",
                "source": "s",
                "type": "paid",
                "subject": subject,
                "time": "2026-01-01T00:00:00Z",
                "data": {"n": 1},
            }
            for subject in subjects
        ]
    )


@pytest.fixture
def lake():
    lake = el.create(MemoryStorage(), "o")
    lake.register("paid", {"type": "object", "properties": {"n": {"type": "integer"}}})
    append(lake, 0, names(0, 300))
    return lake


@pytest.fixture
def read(monkeypatch):
    """The folders of the datasets of which rows were read to start from."""
    found = []
    real = incremental.Archive.rows

    def rows(archive):
        found.append(archive.folder)
        return real(archive)

    monkeypatch.setattr(incremental.Archive, "rows", rows)
    return found


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(0, 1000), st.integers(1, 2000), st.integers(0, 3000), st.integers(1, 2000))
def test_entities_of_which_half_are_known_are_never_taken_for_others(first, many, start, more):
    mine, theirs = range(first, first + many), range(start, start + more)
    common = len(set(mine) & set(theirs))
    apart = sample(list(mine)).is_apart(sample(list(theirs)))
    if 2 * common >= many:
        assert not apart
    if max(many, more) <= 64:
        assert apart == (not common)


@pytest.mark.parametrize("many", [1, 64, 65, 5000])
def test_entities_that_have_none_in_common_are_apart(many):
    one, other = sample(names(0, many)), sample(names(many, 2 * many))
    assert one.is_apart(other)
    assert other.is_apart(one)
    assert not one.is_apart(one)


def test_a_few_entities_are_never_told_from_very_many():
    assert not sample(names(0, 100)).is_apart(sample(names(1000, 30_000)))


def test_a_sample_knows_distinct_entities_of_any_type_and_no_null():
    assert sample(["a", None, "a"]).count == 1
    assert len(sample([7, 8, 7]).least) == 2
    assert sample([], pa.string()) == Entities(0, ())
    assert sample([[1]], pa.list_(pa.int64())) is None
    # Pinned, because entries outlive versions.
    assert sample(["/c/1", "/c/2"]).least == (112_494_307_318_024, 175_943_721_052_221)


@pytest.mark.parametrize(
    ("costs", "scratch"),
    [
        (Costs(), False),
        (Costs(anew=5), False),
        (Costs((99,)), True),
        (Costs((100,)), False),
        # Both ways are tried, and one build from scratch says little.
        (Costs((300,), 50), True),
        (Costs((300, 900), 226), True),
        (Costs((900, 300), 225), False),
        (Costs((300, 99), 1), True),
    ],
)
def test_a_build_from_scratch_is_favoured_if_it_was_quick_or_quicker(costs, scratch):
    assert costs.favour_scratch(quick=100) == scratch


def test_facts_are_read_as_written_and_nothing_is_known_from_other_texts():
    facts = Facts(Entities(3, (1, 2, 3)), Costs((4, 5), 6))
    assert Facts.decode(facts.encode()) == facts
    assert Facts.decode(b"{}") == Facts()
    for other in (
        b"",
        b"junk",
        b"[" * 100_000,
        b'{"costs": {"in_full": [-1]}}',
        b'{"costs": {"in_full": [1, 2, 3]}}',
        b'{"costs": {"anew": 1e400}}',
        b'{"entities": {"count": 1, "least": ["a"]}}',
        b'{"entities": {"count": 1, "least": [' + b"1," * 64 + b"1]}}",
    ):
        assert Facts.decode(other) == Facts()


def test_a_build_of_other_entities_does_not_open_the_earlier_one(lake, read):
    lake.build(RISK, spine=spine(names(0, 200)))
    append(lake, 1, ["/c/0"])
    made = lake.build(RISK, spine=spine(names(200, 300)))
    assert "derived_from" not in made.provenance
    assert read == []
    same = lake.build(RISK, spine=spine(names(10, 210)))
    assert same.provenance["way"].startswith("10 rows anew")


def test_sql_reuses_rows_only_if_that_was_not_slower(lake):
    storage = lake._storage
    first = lake.build(TOTALS)

    def night(number, costs, **options):
        last = build_index.entries(storage, first.manifest.recipe)[0]
        storage.replace(last.path, Facts(costs=costs).encode())
        append(lake, number, ["/c/0"])
        made = lake.build(TOTALS, **options)
        assert made.polars()["n"].max() == 1 + number
        [entry, *_] = build_index.entries(storage, first.manifest.recipe)
        return made.provenance["way"], build_index.facts_of(storage, entry).costs

    way, costs = night(1, Costs((99,)))
    assert way == "in full: that takes no longer than to look for what has changed"
    assert costs.in_full[1:] == (99,)
    assert costs.anew is None
    way, costs = night(2, Costs((50, 60), 40))
    assert way.startswith("in full")
    assert costs.in_full[1:] == (50,)
    assert costs.anew == 40
    way, costs = night(3, Costs((5_000,)))
    assert way == "1 subject anew"
    assert costs.in_full == (5_000,)
    assert costs.anew is not None
    assert night(4, Costs((5_000,) * 2, 6_000))[0].startswith("in full")
    assert night(5, Costs((5_000,) * 2, 6_000), incremental=True)[0] == "1 subject anew"
    assert night(6, Costs((5_000,)), incremental=False)[0] == "in full: from scratch, as asked"
    assert night(7, Costs())[0] == "1 subject anew"


def test_forged_facts_change_no_row(lake):
    first = lake.build(RISK, spine=spine(names(0, 200)))
    storage = lake._storage
    [entry] = build_index.entries(storage, first.manifest.recipe)
    expected = lake.build(RISK, spine=spine(names(0, 210)), force=True).content_hash
    for number, facts in enumerate(
        (Facts(sample(names(900, 1000))), Facts(sample(names(0, 250)), Costs((0,), 1 << 60)))
    ):
        for one in build_index.entries(storage, first.manifest.recipe):
            storage.replace(one.path, facts.encode())
        append(lake, f"more {number}", ["/c/299"])
        assert lake.build(RISK, spine=spine(names(0, 210))).content_hash == expected
    assert layout.base_of(entry.path)
    assert lake.verify().ok
