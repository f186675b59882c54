"""Datasets that somebody else stored as made by a recipe: every hash in them is right, and the rows are not what the recipe makes."""

import shutil
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake as el
from eventlake.columns.parquet import frames
from eventlake.core import layout
from eventlake.core.hashing.canonical import seal, sha256_hex, unseal
from eventlake.errors import CorruptionError
from tests.support.forging_on_disk import forge_dataset, payment

COUNT = el.Projection.sql(
    "count",
    "SELECT subject, count(*) AS n FROM events GROUP BY subject",
    key=["subject"],
    by="subject",
)
TRUTH = [(f"/loan/{number}", 4) for number in range(7)]


@pytest.fixture
def root(tmp_path):
    """28 payments on seven loans, and the dataset of how many each has."""
    lake = el.create(tmp_path / "lake", origin="bank.example/loans")
    lake.append([payment(number) for number in range(28)])
    assert lake.build(COUNT).polars().rows() == TRUTH
    return tmp_path / "lake"


def more(table):
    at = table.schema.get_field_index("n")
    return table.set_column(
        at,
        table.schema.field(at),
        pa.array([value + 100 for value in table.column("n").to_pylist()], pa.int64()),
    )


@pytest.mark.parametrize("whose", ["a stranger's", "one's own"])
def test_a_forged_dataset_is_not_what_its_recipe_made(root, stranger, whose, caplog):
    forged = forge_dataset(root, "count", more)
    if whose == "a stranger's":
        stranger()
    dataset = el.open(root).build(COUNT)
    assert dataset.polars().rows() == TRUTH
    assert dataset.manifest_hash != forged
    assert "made other rows than it makes here" in caplog.text


@pytest.mark.parametrize("whose", ["a stranger's", "one's own"])
def test_a_forged_dataset_is_not_what_an_incremental_build_begins_from(root, stranger, whose):
    forge_dataset(root, "count", more)
    if whose == "a stranger's":
        stranger()
    lake = el.open(root)
    lake.append([payment(100, "/loan/0")])
    dataset = lake.build(COUNT, incremental=True)
    assert dataset.polars().rows() == [("/loan/0", 5), *TRUTH[1:]]
    assert "derived_from" not in dataset.provenance


def test_ones_own_dataset_is_found_and_begun_from(root):
    lake = el.open(root)
    first = lake.build(COUNT)
    assert len(list(root.glob("builds/count/*/*/part-*.parquet"))) == 1
    lake.append([payment(100, "/loan/0")])
    second = lake.build(COUNT, incremental=True)
    assert second.polars().rows() == [("/loan/0", 5), *TRUTH[1:]]
    assert second.provenance["derived_from"] == first.manifest_hash


def test_a_sound_dataset_of_another_user_is_made_again_once(root, stranger, monkeypatch):
    before = el.open(root).build(COUNT).manifest_hash
    stranger()
    assert el.open(root).build(COUNT).manifest_hash == before
    assert len(list(root.glob("builds/count/*/*/part-*.parquet"))) == 1
    monkeypatch.setattr(
        "eventlake.datasets.building.build.compute", lambda *_: pytest.fail("made again")
    )
    assert el.open(root).build(COUNT).polars().rows() == TRUTH


def test_a_dataset_that_was_reproduced_is_believed(root, stranger, monkeypatch):
    manifest_hash = el.open(root).build(COUNT).manifest_hash
    stranger()
    assert el.open(root).reproduce(manifest_hash).identical
    monkeypatch.setattr(
        "eventlake.datasets.building.build.compute", lambda *_: pytest.fail("made again")
    )
    assert el.open(root).build(COUNT).polars().rows() == TRUTH


def test_rows_that_do_not_hash_to_a_sound_manifest_are_stored_again(root, stranger):
    """The manifest is right; the part and the provenance that lists it are not."""
    (part,) = root.glob("builds/count/*/*/part-*.parquet")
    data = frames.encode(more(pq.read_table(part)))
    provenance = part.parent / "provenance.json"
    said = unseal(provenance.read_bytes(), "")
    said["files"][part.name] = {"bytes": len(data), "sha256": sha256_hex(data)}
    provenance.write_bytes(seal(said))
    part.write_bytes(data)
    stranger()
    assert el.open(root).build(COUNT).polars().rows() == TRUTH
    assert len(list(root.glob("builds/count/*/*/part-*.parquet"))) == 2


def test_with_trust_in_the_lake_what_a_recipe_made_is_believed(root, stranger):
    forged = forge_dataset(root, "count", more)
    stranger()
    dataset = el.open(root, trust="lake").build(COUNT)
    assert dataset.manifest_hash == forged
    assert dataset.polars()["n"].to_list() == [104] * 7


@pytest.mark.parametrize("workers", [1, 2])
def test_buckets_that_somebody_else_left_are_not_taken_over(root, tmp_path, workers):
    """The work of a build by buckets is named by what can be known; whoever knows it can store rows there beforehand."""
    lake = el.open(root)
    lake.append([payment(200, "/loan/0")])
    named = []
    real = layout.bucket_path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "bucket_path", lambda *said: named.append(said) or real(*said))
        lake.build(COUNT, buckets=2, incremental=False)
    for path in root.glob("builds/*"):
        for one in path.iterdir():
            one.rename(tmp_path / one.name)
    recipe, work = named[0][0], named[0][1]
    for path in (root / "recipes" / recipe).iterdir():
        path.unlink()
    for bucket in range(2):
        rows = pa.table({"subject": pa.array(["/forged"]), "n": pa.array([1], pa.int64())})
        data = frames.encode(rows)
        (root / real(recipe, work, bucket, sha256_hex(data))).write_bytes(data)
    dataset = el.open(root).build(COUNT, buckets=2, workers=workers, incremental=False)
    assert dataset.polars().rows() == [("/loan/0", 5), *TRUTH[1:]]


def test_a_bucket_that_a_build_does_not_have_is_left_out_even_with_trust_in_the_lake(root):
    shutil.rmtree(root / "builds")
    named = []
    real = layout.bucket_path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "bucket_path", lambda *said: named.append(said) or real(*said))
        el.open(root).build(COUNT, buckets=2, incremental=False)
    recipe, work = named[0][0], named[0][1]
    data = frames.encode(
        pa.table({"subject": pa.array(["/forged"]), "n": pa.array([1], pa.int64())})
    )
    shutil.rmtree(root / "builds")
    (root / real(recipe, work, 2, sha256_hex(data))).write_bytes(data)
    dataset = el.open(root, trust="lake").build(COUNT, buckets=2, incremental=False)
    assert dataset.polars().rows() == TRUTH


def test_a_spine_that_somebody_else_left_for_the_workers_is_not_used(root, tmp_path):
    spine = pl.DataFrame({"loan": ["/loan/0", "/loan/1"]})
    joined = el.Projection.sql(
        "joined",
        "SELECT spine.loan, count(*) AS n FROM spine JOIN events ON events.subject = spine.loan GROUP BY spine.loan",
        key=["loan"],
        by="subject",
        spine_by="loan",
    )
    lake = el.open(root)
    named = []
    real = layout.spine_path
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "spine_path", lambda *said: named.append(real(*said)) or real(*said))
        expected = lake.build(joined, spine=spine, buckets=2).polars().rows()
    (folder,) = (root / "builds" / "joined").iterdir()
    folder.rename(tmp_path / "elsewhere")
    for path in (root / named[0]).parent.iterdir():
        path.unlink()
    other = pa.table({"spine_row": pa.array([0], pa.int64()), "loan": ["/loan/6"]})
    (root / named[0]).write_bytes(frames.encode(other))
    assert el.open(root).build(joined, spine=spine, buckets=2).polars().rows() == expected


def test_a_dataset_is_explained_with_the_trust_of_its_lake(root, stranger, monkeypatch):
    stranger()
    monkeypatch.setattr(
        "eventlake.log.chain.checked_read.wrong_claims", lambda *_: pytest.fail("checked")
    )
    dataset = el.open(root, trust="lake").dataset("count")
    assert dataset.explain("/loan/3").behind["id"].to_list() == ["p3", "p10", "p17", "p24"]


def late(day):
    """A row for each loan, at the end of a day in January."""
    cutoff = datetime(2026, 1, day, 23, tzinfo=UTC)
    return pl.DataFrame(
        {"subject": [f"/loan/{number}" for number in range(7)], "cutoff": [cutoff] * 7}
    )


BEFORE = el.Projection.sql(
    "before",
    """SELECT s.spine_row, s.subject, count(e.id) AS n FROM spine s LEFT JOIN events e ON e.subject = s.subject AND e.time < s.cutoff
    GROUP BY s.spine_row, s.subject""",
    key=["spine_row"],
    by="subject",
)


@pytest.mark.parametrize("trust", ["own", "lake"])
def test_a_forged_spine_is_not_what_an_incremental_build_begins_from(root, trust):
    assert el.open(root).build(BEFORE, spine=late(7)).polars()["n"].to_list() == [1] * 7
    (path,) = root.glob("builds/before/*/*/spine.parquet")
    spine = frames.decode(path.read_bytes(), "spine")
    at = spine.schema.get_field_index("cutoff")
    forged = pa.array([datetime(2026, 1, 21, 23, tzinfo=UTC)] * 7, spine.schema.field(at).type)
    path.write_bytes(frames.encode(spine.set_column(at, spine.schema.field(at), forged)))
    lake = el.open(root, trust=trust)
    built = lake.build(BEFORE, spine=late(21), incremental=True)
    assert built.polars()["n"].to_list() == [3] * 7
    assert "derived_from" not in built.provenance
    with pytest.raises(CorruptionError, match=r"the archived spine of builds/before/.* hashes to"):
        lake.reproduce(lake.build(BEFORE, spine=late(7)).manifest_hash)
