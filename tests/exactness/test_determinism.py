"""The matrix of docs/reference/determinism.md over a smaller history.

One content hash for every exact projection, and a refusal for everything that varies.
"""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import determinism
from tests.support.determinism import EXACT, REFUSED_POLARS, REFUSED_SQL

EVENTS = 1_200


@pytest.fixture(scope="module")
def lakes(tmp_path_factory):
    found = determinism.lakes(tmp_path_factory.mktemp("layouts"), EVENTS)
    found["compacted"].gc(older_than=timedelta(0), dry_run=False)
    assert [len(lake.snapshot().history.stretches) for lake in found.values()] == [1, 100, 1]
    assert len({lake.checkpoint.root for lake in found.values()}) == 1
    return found


@pytest.mark.parametrize("name", EXACT)
def test_an_exact_projection_has_one_content_hash_whatever_threads_memory_order_and_layout(
    lakes, name
):
    engines = ["duckdb", "polars"] if EXACT[name].polars else ["duckdb"]
    found = {
        one
        for lake in lakes.values()
        for engine in engines
        for one in determinism.hashes(lake, name, engine, everything=False)
    }
    assert len(found) == 1
    history = lakes["compacted"].snapshot().history
    assert determinism.rows(determinism.projection(name, "duckdb"), history).num_rows > 0


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", ["sums and counts per subject", "as-of join on (time, sequence)", "over all subjects"]
)
def test_workers_and_an_earlier_build_make_the_same(lakes, name):
    expected = set(determinism.hashes(lakes["one segment"], name, "duckdb", everything=False))
    assert set(determinism.shared(lakes["100 segments"], name, EVENTS // 2, (1, 2))) == expected


@pytest.mark.parametrize("what", REFUSED_SQL)
def test_sql_that_varies_is_refused(lakes, what):
    assert determinism.refusal(lakes["one segment"], "duckdb", REFUSED_SQL[what])


@pytest.mark.parametrize("what", REFUSED_POLARS)
def test_polars_that_varies_is_refused(lakes, what):
    assert determinism.refusal(lakes["one segment"], "polars", REFUSED_POLARS[what])


def test_the_page_is_of_this_matrix():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "determinism.md").read_text(
        encoding="utf-8"
    )
    assert [
        line.split(" | ")[0].removeprefix("| ")
        for line in page.splitlines()
        if line.startswith("| ") and "| what |" not in line
    ] == [
        "projection",
        *EXACT,
        *REFUSED_SQL,
        *REFUSED_POLARS,
    ]
