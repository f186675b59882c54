"""A lake in an object store whose answers get lost, whose connections drop, and whose writers race."""

import sys
import threading

import pytest

import eventlake as el
from eventlake.errors import CommitUnknownError, MissingDependencyError, NotFoundError, StorageError
from eventlake.storage import ObjectStorage
from tests.support.limits import limited

URI = "s3://bucket/lakes/one"


def events(name, count=1):
    return [
        {"id": f"{name} {n}", "source": "s", "type": "t", "data": {"n": n}} for n in range(count)
    ]


def once(fault, wanted):
    """The first PUT whose key holds ``wanted`` meets the fault."""
    met = []

    def decide(method, key):
        if method == "PUT" and wanted in key and not met:
            met.append(key)
            return fault
        return None

    return decide, met


@pytest.fixture
def lake(s3):
    lake = el.create(URI, "o")
    lake.append(events("first"))
    return lake


@pytest.mark.parametrize("fault", ["refuse", "lose", "drop"])
@pytest.mark.parametrize("what", ["/segments/", "/log/"])
def test_a_lost_answer_ends_in_exactly_one_commit(s3, lake, what, fault):
    s3.fault, met = once(fault, what)
    receipt = lake.append(events("new", 3))
    assert met
    assert (receipt.start, receipt.stop) == (1, 4)
    assert len(el.open(URI).log()) == 2
    assert lake.verify(deep=True).ok


@pytest.mark.parametrize("fault", ["refuse", "lose"])
def test_a_store_that_stays_silent_is_unknown_and_resolved_later(s3, lake, fault):
    lake = limited(lake, patience_seconds=0.2)
    s3.fault = lambda method, key: (
        (fault if method == "PUT" else "refuse") if "/log/00000000000000000001" in key else None
    )
    lake._chain.refresh = lambda: None
    with pytest.raises(CommitUnknownError) as caught:
        lake.append(events("new", 3))
    del lake._chain.refresh
    s3.fault = lambda method, key: None
    settled = lake.resolve(caught.value.facts["commit_id"])
    assert (settled is None) == (fault == "refuse")
    assert el.open(URI).watermark == (1 if fault == "refuse" else 4)
    assert lake.verify(deep=True).ok


def test_writers_that_race_share_no_sequence_and_lose_nothing(s3):
    el.create(URI, "o")
    failures = []

    def write(name):
        try:
            mine = el.open(URI)
            for batch in range(8):
                mine.append(events(f"{name} {batch}", 2))
        except Exception as error:  # noqa: BLE001 - a thread has nobody else to tell
            failures.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    lake = el.open(URI)
    frame = lake.snapshot().scan().collect()
    assert frame["sequence"].to_list() == list(range(48))
    assert frame["id"].n_unique() == 48
    assert lake.verify(deep=True).ok


def test_a_dataset_is_built_and_reproduced_in_an_object_store(lake):
    lake.append(events("more", 5))
    query = "SELECT type, count(*) AS events, max(sequence) AS last FROM events GROUP BY type"
    dataset = lake.build(el.Projection.sql("counts", query, key=["type"]))
    assert dataset.polars().rows() == [("t", 6, 5)]
    assert lake.reproduce(dataset.manifest_hash).identical
    assert lake.dataset(dataset.manifest_hash).polars().equals(dataset.polars())
    assert el.open(URI).verify(deep=True).datasets == 1


def test_a_flipped_byte_in_an_object_store_is_found(s3, lake):
    key = next(key for key in s3.objects if "/segments/" in key)
    s3.objects[key] = s3.objects[key][:-1] + bytes([s3.objects[key][-1] ^ 1])
    report = lake.verify()
    assert [problem.path for problem in report.problems] == [key.removeprefix("bucket/lakes/one/")]


def test_lakes_in_one_bucket_do_not_see_each_other(s3, lake):
    other = el.create("s3://bucket/lakes/on", "other")
    assert other.watermark == 0
    assert other.verify().ok
    with pytest.raises(NotFoundError):
        el.open("s3://bucket/lakes")


def test_an_unreachable_store_is_a_storage_error_without_secrets(monkeypatch, s3):
    s3.fault = lambda method, key: "refuse"
    with pytest.raises(StorageError) as caught:
        ObjectStorage("s3://bucket/lake").create("x", b"1")
    assert "secret" not in str(caught.value)


def test_without_obstore_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingDependencyError, match="obstore") as caught:
        el.open(URI)
    assert "eventlake[objects]" in caught.value.hint
