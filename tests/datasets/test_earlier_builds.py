"""What a build reads of earlier builds of its name: each manifest once, and at most two as a base."""

from collections import Counter

import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.datasets.building import incremental
from eventlake.storage import MemoryStorage

TOTALS = el.Projection.sql(
    "totals",
    "SELECT subject, count(*) AS n FROM paid GROUP BY subject",
    key=["subject"],
    by="subject",
)


class Counted(MemoryStorage):
    """Counts the reads of each path."""

    def __init__(self):
        super().__init__()
        self.reads = Counter()

    def read(self, path):
        self.reads[path] += 1
        return super().read(path)


def night(lake, number, subjects="abcd"):
    lake.append(
        [
            {
                "id": f"{number} {one}",
                "source": "s",
                "type": "paid",
                "subject": one,
                "data": {"n": 1},
            }
            for one in subjects
        ]
    )
    return lake.build(TOTALS)


@pytest.fixture
def lake():
    lake = el.create(Counted(), "o")
    lake.register("paid", {"type": "object", "properties": {"n": {"type": "integer"}}})
    for number in range(6):
        night(lake, number)
    return lake


def test_each_manifest_is_read_once_and_two_bases_are_tried(lake, monkeypatch):
    tried = []
    real = incremental._by_entity
    monkeypatch.setattr(
        incremental, "_by_entity", lambda base, *rest: (tried.append(base), real(base, *rest))[1]
    )
    storage = lake._storage
    storage.reads.clear()
    assert night(lake, 6).polars()["n"].to_list() == [7, 7, 7, 7]
    manifests = {path: n for path, n in storage.reads.items() if path.endswith(layout.MANIFEST)}
    # The newest is the one that was just published.
    assert sorted(manifests.values())[:6] == [1] * 6
    assert [base.manifest.recipe.checkpoint.watermark for base in tried] == [24, 20]


def test_the_longest_earlier_build_is_the_base(lake):
    last = night(lake, 6)
    made = night(lake, 7, subjects="a")
    assert made.provenance["derived_from"] == last.manifest_hash
    assert made.polars()["n"].to_list() == [8, 7, 7, 7]


def test_a_damaged_build_is_no_base_and_the_one_before_it_is(lake):
    before = night(lake, 6, subjects="a")
    damaged = night(lake, 7, subjects="a")
    storage = lake._storage
    path = f"{layout.build_path('totals', damaged.manifest_hash)}/{layout.MANIFEST}"
    storage._objects[path] = b"{}"
    made = night(lake, 8, subjects="a")
    assert made.provenance["derived_from"] == before.manifest_hash
    assert made.polars()["n"].to_list() == [9, 6, 6, 6]


def test_a_build_of_another_recipe_is_no_base(lake):
    other = el.Projection.sql(
        "totals",
        "SELECT subject, count(*) + 1 AS n FROM paid GROUP BY subject",
        key=["subject"],
        by="subject",
    )
    assert "derived_from" not in lake.build(other).provenance
