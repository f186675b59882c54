"""What a build reads of earlier builds: an index, and at most two datasets; the index is never believed."""

import shutil
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.datasets.building import incremental
from eventlake.datasets.store import build_index
from eventlake.storage import MemoryStorage
from tests.support.counting import Counted

TOTALS = el.Projection.sql(
    "totals",
    "SELECT subject, count(*) AS n FROM paid GROUP BY subject",
    key=["subject"],
    by="subject",
)
OTHER = el.Projection.sql(
    "totals",
    "SELECT subject, count(*) + 1 AS n FROM paid GROUP BY subject",
    key=["subject"],
    by="subject",
)
RISK = el.FeatureSet("risk", features=[el.count("paid").name("n")], known="watermark")
START = datetime(2026, 1, 1, tzinfo=UTC)


def append(lake, number, subjects="abcd"):
    lake.append(
        [
            {
                "id": f"{number} {one}",
                "source": "s",
                "type": "paid",
                "subject": one,
                "time": (START + timedelta(days=number)).isoformat(),
                "data": {"n": 1},
            }
            for one in subjects
        ]
    )


def night(lake, number, subjects="abcd", projection=TOTALS):
    append(lake, number, subjects)
    return lake.build(projection, incremental=True)


def spine(*days, subjects="abcd"):
    cutoffs = [START + timedelta(days=day) for day in days for _ in subjects]
    return pl.DataFrame({"subject": list(subjects) * len(days), "cutoff": cutoffs}).cast(
        {"cutoff": pl.Datetime("us", "UTC")}
    )


def created(storage):
    lake = el.create(storage, "o")
    lake.register("paid", {"type": "object", "properties": {"n": {"type": "integer"}}})
    return lake


def of_builds(requests):
    """How many of the requests were made for datasets, or the index of them."""
    folders = (layout.BUILDS, layout.RECIPES)
    return sum(many for path, many in requests.items() if path.startswith(folders))


def index_of(storage):
    return [item.path for item in storage.list(layout.RECIPES)]


@pytest.fixture
def lake():
    lake = created(Counted(MemoryStorage()))
    for number in range(6):
        night(lake, number)
    return lake


@pytest.fixture
def opened(monkeypatch):
    """The datasets of which rows were read to start from."""
    found = []
    real = incremental.Archive.rows

    def rows(archive):
        found.append(archive.manifest.recipe.checkpoint.watermark)
        return real(archive)

    monkeypatch.setattr(incremental.Archive, "rows", rows)
    return found


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("everything changed", marks=pytest.mark.thorough),
        pytest.param("one entity changed", marks=pytest.mark.thorough),
        "features",
    ],
)
def test_a_later_night_reads_and_lists_of_builds_what_an_early_one_does(what):
    storage = Counted(MemoryStorage())
    lake = created(storage)
    append(lake, 1000)
    seen = []
    for number in range(24):
        append(lake, number, "a" if what == "one entity changed" else "abcd")
        storage.clear()
        if what == "features":
            lake.build(RISK, spine=spine(number))
        else:
            lake.build(TOTALS, incremental=True)
        seen.append((of_builds(storage.reads), of_builds(storage.listed)))
    assert len(set(seen[3:])) == 1
    assert seen[-1][0] <= 6


def test_the_listing_of_a_series_is_bounded(lake):
    storage = lake._storage
    built = [night(lake, number) for number in range(6, 12)]
    for one in built:
        build_index.add(storage, one.manifest, None, most=3)
    kept = build_index.entries(storage, built[0].manifest.recipe)
    assert [entry.watermark for entry in kept] == [48, 44, 40]
    # A build over an older history is an entry too, for the next one over a history like it.
    old = lake.datasets()[0]
    build_index.add(storage, old.manifest, None, most=3)
    kept = build_index.entries(storage, built[0].manifest.recipe)
    assert [entry.watermark for entry in kept] == [48, 44, 4]


def test_no_rows_are_read_if_too_much_has_changed(lake, opened):
    assert night(lake, 6).polars()["n"].to_list() == [7, 7, 7, 7]
    assert opened == []


@pytest.mark.parametrize(("nights", "way"), [(24, "1 subject anew"), (25, "in full")])
def test_what_is_new_is_searched_only_if_it_is_at_most_half_of_the_events(lake, nights, way):
    for number in range(100, 100 + nights):
        append(lake, number, "a")
    made = lake.build(TOTALS, incremental=True)
    assert made.provenance["way"].startswith(way)
    assert made.polars()["n"].to_list() == [6 + nights, 6, 6, 6]


def test_the_rows_of_at_most_two_earlier_builds_are_read(opened):
    lake = created(Counted(MemoryStorage()))
    append(lake, 0)
    query = (
        "SELECT spine_row, count(paid.id) AS n FROM spine "
        "LEFT JOIN paid ON paid.subject = spine.subject GROUP BY spine_row"
    )
    counts = el.Projection.sql("counts", query, key=["spine_row"], by="subject")
    for day in range(4):
        append(lake, day + 1, "a")
        made = lake.build(counts, spine=spine(day), incremental=True)
        assert made.polars()["n"].to_list() == [day + 2, 1, 1, 1]
        opened.clear()
    lake.build(counts, spine=spine(9), incremental=True)
    assert opened == [8, 7]


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
    storage.replace(path, b"{}")
    made = night(lake, 8, subjects="a")
    assert made.provenance["derived_from"] == before.manifest_hash
    assert made.polars()["n"].to_list() == [9, 6, 6, 6]


def test_a_build_of_another_recipe_is_no_base(lake):
    assert "derived_from" not in lake.build(OTHER, incremental=True).provenance


# Spines of other cutoffs


def test_a_spine_of_new_cutoffs_opens_no_earlier_build(lake, opened):
    storage = lake._storage
    for day in range(8, 11):
        lake.build(RISK, spine=spine(day))
    storage.clear()
    made = lake.build(RISK, spine=spine(11))
    assert opened == []
    assert not [path for path in storage.reads if path.endswith(layout.MANIFEST)]
    assert made.polars()["n"].to_list() == [6] * 4


def test_a_spine_that_grows_by_a_day_starts_from_the_last_one(lake):
    first = lake.build(RISK, spine=spine(8, 9, 10))
    made = lake.build(RISK, spine=spine(8, 9, 10, 11))
    assert made.provenance["derived_from"] == first.manifest_hash
    assert made.provenance["way"].startswith("4 rows anew")


@pytest.mark.parametrize("promised", [None, "all of time"])
def test_an_entry_of_other_cutoffs_than_its_datasets_is_tried_once_and_corrected(
    lake, opened, promised
):
    storage = lake._storage
    first = lake.build(RISK, spine=spine(8))
    [entry] = build_index.entries(storage, first.manifest.recipe)
    storage.delete(entry.path)
    cutoffs = None if promised is None else (-(1 << 62), 1 << 62)
    build_index.add(storage, first.manifest, cutoffs)
    lake.build(RISK, spine=spine(9))
    assert len(opened) == 1
    corrected = build_index.entries(storage, first.manifest.recipe)
    assert entry in corrected
    assert len(corrected) == 2


# An index that is lost, stale or forged


def test_a_lost_index_is_restored_by_the_next_build_which_uses_it(lake):
    storage = lake._storage
    last = night(lake, 6)
    before = set(index_of(storage))
    for path in before:
        storage.delete(path)
    assert not lake.build(TOTALS).computed
    assert {path for path in before if not path.endswith(".base")} <= set(index_of(storage))
    made = night(lake, 7, subjects="a")
    assert made.provenance["derived_from"] == last.manifest_hash
    storage.clear()
    night(lake, 8, subjects="a")
    assert len([path for path in storage.reads if path.endswith(layout.MANIFEST)]) == 1


def test_a_process_that_lives_on_after_the_index_was_deleted_notes_its_builds_in_a_new_one(
    tmp_path,
):
    lake = created(tmp_path / "lake")
    for number in range(4):
        night(lake, number)
    shutil.rmtree(tmp_path / "lake" / layout.RECIPES)
    # Its first build restores what is missing.
    first = night(lake, 4, subjects="a")
    second = night(lake, 5, subjects="a")
    assert second.provenance["derived_from"] == first.manifest_hash
    assert second.polars()["n"].to_list() == [6, 4, 4, 4]


def test_lost_entries_cost_one_build_from_scratch(lake):
    storage = lake._storage
    for path in [path for path in index_of(storage) if path.endswith(".base")]:
        storage.delete(path)
    first = night(lake, 6, subjects="a")
    assert first.provenance["way"].startswith("in full")
    second = night(lake, 7, subjects="a")
    assert second.provenance["derived_from"] == first.manifest_hash
    assert second.polars()["n"].to_list() == [8, 6, 6, 6]


def test_a_note_of_a_dataset_that_is_gone_has_the_name_indexed_again(lake):
    storage = lake._storage
    made = lake.build(TOTALS, incremental=True)
    storage.delete(layout.made_path(made.recipe_hash, made.manifest_hash))
    storage.create(layout.made_path(made.recipe_hash, "0" * 64), b"{}")
    assert not lake.build(TOTALS).computed
    assert storage.exists(layout.made_path(made.recipe_hash, made.manifest_hash))


@pytest.mark.parametrize("trust", ["own", "lake"])
def test_forged_entries_change_no_row(lake, trust):
    storage = lake._storage
    other = lake.build(OTHER, incremental=True)
    series = lake.datasets()[0].manifest.recipe.series_hash
    for watermark in range(25):
        # Datasets of another series, at other watermarks than theirs, and such as do not exist.
        for manifest_hash in (other.manifest_hash, f"{watermark:064x}"):
            storage.replace(layout.base_path(series, watermark, manifest_hash, None), b"junk")
    forged = el.open(storage, trust=trust)
    made = night(forged, 6, subjects="a")
    assert made.polars()["n"].to_list() == [7, 6, 6, 6]
    assert made.content_hash == forged.build(TOTALS, force=True).content_hash
    assert forged.verify().ok


@pytest.mark.parametrize("promised", [(-(1 << 63), 1 << 63), (9, 3), ((1 << 63) - 1,) * 2])
def test_forged_cutoffs_change_no_row(lake, promised):
    storage = lake._storage
    first = lake.build(RISK, spine=spine(8, 9, 10))
    [entry] = build_index.entries(storage, first.manifest.recipe)
    storage.delete(entry.path)
    series, watermark = first.manifest.recipe.series_hash, entry.watermark
    storage.replace(layout.base_path(series, watermark, first.manifest_hash, promised), b"")
    made = lake.build(RISK, spine=spine(8, 9, 10, 11))
    assert made.polars()["n"].to_list() == [6] * 16


def test_removing_and_pruning_leave_no_entry_and_no_manifest_to_read(lake, opened):
    storage = lake._storage
    last = night(lake, 6, subjects="a")
    lake.prune(older_than=timedelta(0), keep_last=1, dry_run=False)
    assert [one.manifest_hash for one in build_index.entries(storage, last.manifest.recipe)] == [
        last.manifest_hash
    ]
    lake.remove_dataset(last.manifest_hash)
    assert build_index.entries(storage, last.manifest.recipe) == []
    storage.clear()
    opened.clear()
    assert night(lake, 7, subjects="a").polars()["n"].to_list() == [8, 6, 6, 6]
    assert opened == []
    assert not [path for path in storage.reads if path.endswith(layout.MANIFEST)]


def test_builders_of_different_histories_keep_each_others_entries(lake):
    storage = lake._storage
    recipe = lake.datasets()[0].manifest.recipe
    before = build_index.entries(storage, recipe)
    el.open(storage).build(TOTALS, at=7)
    el.open(storage).build(TOTALS, at=9)
    assert {one.watermark for one in build_index.entries(storage, recipe)} == {
        *(one.watermark for one in before),
        7,
        9,
    }
