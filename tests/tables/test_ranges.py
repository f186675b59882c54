"""Which ranges of an event table are looked for, and where."""

import pytest

import eventlake as el
from eventlake.caches import CACHES
from eventlake.storage import MemoryStorage
from eventlake.tables import stored_table
from tests.support.counting import Counted


def made(storage):
    lake = el.create(storage, "o")
    lake.register("pay", {"type": "object", "properties": {"amount": {"type": "integer"}}})
    return lake


def event(name, amount=1):
    return {
        "id": str(name),
        "source": "s",
        "type": "pay",
        "subject": "a",
        "data": {"amount": amount},
    }


def rows_of(snapshot):
    return snapshot.table("pay").sort("sequence").collect()


def test_the_folder_of_a_table_is_listed_again_only_if_a_range_is_missing():
    storage = Counted(MemoryStorage())
    lake = made(storage)

    def listings():
        found = sum(many for path, many in storage.listed.items() if path.startswith("tables/"))
        storage.clear()
        return found

    for number in range(3):
        lake.append([event(f"{number} {n}", n) for n in range(10)])
        rows_of(lake.snapshot())
    listings()
    assert rows_of(lake.snapshot()).height == 30
    assert rows_of(lake.snapshot(at=17)).height == 17
    assert rows_of(el.open(storage).snapshot()).height == 30
    assert listings() == 0
    lake.append([event("more", 1)])
    assert rows_of(lake.snapshot()).height == 31
    assert listings() == 1
    for item in list(storage.list("tables")):
        storage.delete(item.path)
    listings()
    assert rows_of(lake.snapshot()).height == 31
    assert listings() > 0
    assert list(storage.list("tables"))


def test_ranges_that_another_process_stored_are_found():
    storage = MemoryStorage()
    lake = made(storage)
    lake.append([event(1)])
    rows_of(lake.snapshot())
    lake.append([event(2)])
    known = stored_table._chosen_ranges
    mine = {key: known.get(key) for key in list(known._values)}
    rows_of(lake.snapshot())
    stored = [item.path for item in storage.list("tables")]
    # As if this process had not stored the second range.
    for key, ranges in mine.items():
        known.put(key, ranges)
    assert rows_of(lake.snapshot()).height == 2
    assert [item.path for item in storage.list("tables")] == stored


def test_the_parts_that_may_hold_later_events_are_told_by_their_ranges():
    lake = made(MemoryStorage())
    for sizes in (40, 10, 3):
        lake.append([event(f"{sizes} {n}", n) for n in range(sizes)])
        table = lake.snapshot().history.table("pay")
    assert len(table.parts) == 3
    assert [len(table.since(first).parts) for first in (0, 39, 40, 49, 50, 52, 53)] == [
        3,
        3,
        2,
        2,
        1,
        1,
        0,
    ]


@pytest.mark.parametrize("digits", [21, 5_000])
def test_a_name_with_more_rows_than_a_lake_can_hold_is_no_table_and_verify_finds_it(digits):
    storage = MemoryStorage()
    lake = made(storage)
    lake.append([event("a", 7)])
    rows_of(lake.snapshot())
    [stored] = [item.path for item in storage.list("tables")]
    # The name of an object in a store has no limit that a lake could rely on.
    parts = stored.split("-")
    forged = "-".join([*parts[:-3], "9" * digits, *parts[-2:]])
    storage.create(forged, storage.read(stored))
    storage.delete(stored)
    CACHES.clear()
    assert rows_of(el.open(storage).snapshot())["amount"].to_list() == [7]
    assert [problem.path for problem in el.open(storage).verify().problems] == [forged]
