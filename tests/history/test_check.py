"""Segments are hashed once; afterwards, what changed is found by one listing of them all."""

import pytest

import eventlake as el
from eventlake.errors import CorruptionError
from eventlake.storage import LocalStorage, MemoryStorage
from tests.support.counting import Counted

COUNTED = el.Projection.sql(
    "counted", "SELECT subject, count(*) AS n FROM paid GROUP BY subject", key=["subject"]
)


class Stateless(LocalStorage):
    """Its listings tell no states, as those of a storage by others may not."""

    def list(self, prefix):
        for item in super().list(prefix):
            yield type(item)(item.path, item.size_bytes, item.modified)


def append(lake, number):
    event = {"id": str(number), "source": "s", "type": "paid", "subject": "a", "data": {"n": 1}}
    return lake.append([event])


def made(storage, nights):
    lake = el.create(storage, "o")
    lake.register("paid", {"type": "object", "properties": {"n": {"type": "integer"}}})
    for number in range(nights):
        append(lake, number)
    return lake


def test_a_build_over_many_segments_lists_them_instead_of_asking_for_each(tmp_path):
    storage = Counted(LocalStorage(tmp_path / "lake"))
    lake = made(storage, 20)
    lake.build(COUNTED)
    append(lake, 20)
    storage.clear()
    assert lake.build(COUNTED).polars()["n"].to_list() == [21]
    assert sum(many for path, many in storage.states.items() if path.startswith("segments/")) <= 2
    assert storage.listed["segments"] == 1
    # Few of many segments are asked for one by one.
    storage.clear()
    lake.build(COUNTED, at=9)
    assert storage.listed["segments"] == 0


@pytest.mark.parametrize("kind", [LocalStorage, Stateless])
@pytest.mark.parametrize("nights", [3, 20])
def test_a_segment_that_was_changed_between_two_builds_is_noticed(tmp_path, kind, nights):
    lake = made(kind(tmp_path / "lake"), nights)
    lake.build(COUNTED)
    append(lake, nights)
    path = sorted((tmp_path / "lake" / "segments").iterdir())[1]
    data = path.read_bytes()
    path.write_bytes(data[:9] + bytes([data[9] ^ 1]) + data[10:])
    with pytest.raises(CorruptionError, match="does not match its commit"):
        lake.build(COUNTED)


def test_a_segment_that_is_missing_from_the_listing_is_noticed():
    storage = MemoryStorage()
    lake = made(storage, 20)
    lake.build(COUNTED)
    append(lake, 20)
    storage.delete(next(item.path for item in storage.list("segments")))
    with pytest.raises(CorruptionError, match="is missing"):
        lake.build(COUNTED)
