"""What verbs about many datasets read: each document at most once, whatever there are of tags."""

from datetime import timedelta

import pytest

import eventlake as el
from eventlake.cli import documents
from eventlake.core import layout
from eventlake.datasets.store import removal
from eventlake.errors import InvalidInputError, NotFoundError
from eventlake.storage import MemoryStorage
from tests.support.counting import Counted

NOW = timedelta(0)
NIGHTS = 12


def totals(name="totals"):
    query = "SELECT subject, count(*) AS n FROM events GROUP BY subject"
    return el.Projection.sql(name, query, key=["subject"], by="subject")


@pytest.fixture
def lake():
    """Twelve datasets of one name, six of which have two tags each, and one of another name."""
    lake = el.create(Counted(MemoryStorage()), "o")
    for number in range(NIGHTS):
        lake.append(
            [{"id": str(number), "source": "s", "type": "paid", "subject": "a", "data": {}}]
        )
        dataset = lake.build(totals())
        if number % 2:
            lake.tag(dataset.manifest_hash, f"night-{number}")
            lake.tag(dataset.manifest_hash, f"also-{number}")
    lake.build(totals("others"))
    lake._storage.clear()
    return lake


def reads(lake, name):
    return {path: n for path, n in lake._storage.reads.items() if path.endswith(f"/{name}")}


def test_a_tag_and_a_whole_hash_find_their_dataset_without_a_listing_of_all(lake):
    [dataset] = [one for one in lake.datasets() if one.name == "others"]
    lake._storage.clear()
    assert lake.dataset(dataset.manifest_hash).manifest == dataset.manifest
    lake.tag(dataset.manifest_hash, "now")
    assert lake.dataset("now").manifest == dataset.manifest
    lake.untag("now")
    assert lake._storage.listed[layout.BUILDS] == 0
    assert lake._storage.listed[layout.TAGS] == 0


def test_a_whole_hash_finds_its_dataset_without_the_index(lake):
    [dataset] = [one for one in lake.datasets() if one.name == "others"]
    for item in list(lake._storage.list(layout.RECIPES)):
        lake._storage.delete(item.path)
    assert lake.dataset(dataset.manifest_hash).manifest == dataset.manifest
    with pytest.raises(NotFoundError, match="no dataset with a hash"):
        lake.dataset("0" * 64)


@pytest.mark.parametrize("name", ["nobody", "a/b", "", None, "x" * 101])
def test_a_tag_that_is_not_there_cannot_be_deleted(lake, name):
    with pytest.raises((NotFoundError, InvalidInputError)):
        lake.untag(name)


def test_the_tags_of_a_dataset_are_shown_in_order_and_locks_last(lake):
    first, second = lake.datasets()[:2]
    tags = {
        "b": first.manifest_hash,
        f"lock-{first.manifest_hash}": first.manifest_hash,
        "a": first.manifest_hash,
        "z": second.manifest_hash,
    }
    found = documents.tags_by_dataset(tags)
    assert found == {first.manifest_hash: ["a", "b", "locked"], second.manifest_hash: ["z"]}
    assert documents.dataset(first, found)["tags"] == ["a", "b", "locked"]
    assert documents.dataset(lake.datasets()[-1], found)["tags"] == []


def test_pruning_reads_each_document_once_and_of_pruned_datasets_the_manifest_alone(lake):
    storage = lake._storage
    listed = lake.prune(older_than=NOW)
    assert len(listed.files) == NIGHTS // 2
    assert set(reads(lake, layout.MANIFEST).values()) == {1}
    assert len(reads(lake, layout.PROVENANCE)) == NIGHTS // 2
    assert set(storage.reads.values()) == {1}
    assert lake.prune(older_than=NOW, dry_run=False).files == listed.files
    storage.clear()
    assert lake.prune(older_than=NOW).files == ()
    assert set(reads(lake, layout.MANIFEST).values()) == {1}
    assert reads(lake, layout.PROVENANCE) == {}


def test_pruning_asks_for_tags_as_often_with_many_datasets_as_with_few(lake):
    storage = lake._storage
    lake.prune(older_than=NOW, dry_run=False)
    tags = {path: n for path, n in storage.reads.items() if path.startswith(f"{layout.TAGS}/")}
    # Before and after the listing.
    assert set(tags.values()) == {2}
    storage.clear()
    lake.prune(older_than=NOW, datasets=True, keep_last=0, dry_run=False)
    tags = {path: n for path, n in storage.reads.items() if path.startswith(f"{layout.TAGS}/")}
    assert set(tags.values()) == {3}
    assert len(lake.datasets()) == NIGHTS // 2


@pytest.mark.parametrize("at_once", [1, 5, 64])
def test_a_dataset_that_is_tagged_while_it_is_marked_stays(lake, monkeypatch, at_once):
    chosen = lake.datasets("")[0]
    real = removal._mark

    def mark(archive):
        marks = real(archive)
        if archive.manifest.manifest_hash == chosen.manifest_hash:
            lake._storage.create(
                layout.tag_path("kept"), lake._storage.read(layout.tag_path("night-1"))
            )
            held[chosen.manifest_hash] = ["the tag kept"]
        return marks

    held = {}
    monkeypatch.setattr(removal, "_mark", mark)
    archives = [one._archive for one in lake.datasets()]
    list(removal.remove_free(archives, lambda: dict(held), "for a test", at_once))
    assert [one.manifest_hash for one in lake.datasets()] == [chosen.manifest_hash]
    assert chosen._archive.is_whole()


@pytest.mark.parametrize("keep_last", range(5))
def test_of_datasets_of_one_watermark_those_built_last_are_kept(keep_last):
    lake = el.create(MemoryStorage(), "o")
    lake.append([{"id": "1", "source": "s", "type": "paid", "subject": "a", "data": {}}])
    built = [
        lake.build(
            el.Projection.sql("n", f"SELECT {number} AS k, count(*) AS n FROM events", key=["k"])
        )
        for number in range(4)
    ]
    pruned = lake.prune(older_than=NOW, keep_last=keep_last)
    found = {file.path.split("/")[2] for file in pruned.files}
    expected = built[: max(4 - keep_last, 0)]
    assert found == {one.manifest_hash[: layout.SHORT_HASH] for one in expected}


def test_collecting_reads_no_provenance_of_a_finished_attempt(lake):
    lake.gc(older_than=NOW)
    assert reads(lake, layout.PROVENANCE) == {}


def test_datasets_of_one_checkpoint_look_it_up_once(lake, monkeypatch):
    from eventlake.datasets.verifying import verify  # noqa: PLC0415

    found, real = [], verify.at_checkpoint
    monkeypatch.setattr(verify, "at_checkpoint", lambda *a: (found.append(a[1]), real(*a))[1])
    assert lake.verify().ok
    assert len(found) == len(set(found)) == NIGHTS
