"""Forged logs in which every checksum and hash holds: what a commit may change of the one before."""

import pytest

import eventlake as el
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import CorruptionError
from eventlake.history.verifying.verify import verify
from eventlake.schemas.catalogue import Catalogue
from eventlake.storage import MemoryStorage
from tests.support.forging import SCHEMA, TYPE, document, forge_commit, payments, put

NEWEST = 4


@pytest.fixture
def storage():
    """Commit 0 registers, 1 to 3 are appended by a producer, 4 by nobody."""
    lake = el.create(storage := MemoryStorage(), "adv.example/x")
    lake.register(TYPE, SCHEMA)
    for number in range(3):
        lake.append(
            payments(range(number * 10, number * 10 + 10)), producer="bank", position=7 + number
        )
    lake.append(payments(range(30, 40)))
    return storage


def log_path(version):
    return f"log/{version:020d}.json"


def blamed(storage, *, deep=True):
    return {finding.path for finding in verify(storage, deep=deep)[0].problems}


def forge_catalogue(storage, version, change):
    """Gives commit ``version`` and those after it a changed catalogue."""
    old = document(storage, log_path(version))["schemas"]
    data = change(Catalogue.decode(storage.read(f"schemas/{old}.json"), "x")).encode()
    sha256 = sha256_hex(data)
    put(storage, f"schemas/{sha256}.json", data)
    for later in range(version, NEWEST + 1):
        forge_commit(storage, later, lambda commit: commit.update(schemas=sha256))
    return f"schemas/{sha256}.json"


def test_the_log_is_whole_before_it_is_forged(storage):
    assert blamed(storage) == set()


@pytest.mark.parametrize("schemas", [None, "0" * 64])
@pytest.mark.parametrize("version", [2, NEWEST])
def test_an_append_that_changes_the_schemas_is_refused(storage, version, schemas):
    forge_commit(storage, version, lambda commit: commit.update(schemas=schemas))
    assert log_path(version) in blamed(storage, deep=False)


def test_a_log_whose_append_drops_the_schemas_is_not_read(storage):
    forge_commit(storage, 3, lambda commit: commit.update(schemas=None))
    with pytest.raises(CorruptionError, match="expected schemas"):
        el.open(storage).snapshot().events().collect()


def test_a_schema_commit_without_schemas_is_damaged(storage):
    forge_commit(storage, 0, lambda commit: commit.update(schemas=None))
    assert log_path(0) in blamed(storage)


def test_schemas_registered_beyond_their_commit_are_refused(storage):
    path = forge_catalogue(
        storage, 0, lambda found: Catalogue().with_schema(found.newest(TYPE).schema, 1 << 40)
    )
    assert path in blamed(storage, deep=False)
    with pytest.raises(
        CorruptionError,
        match=rf"expected schemas of '{TYPE}' from 40 or before, found one since {1 << 40}",
    ):
        el.open(storage).schemas()


def test_schemas_registered_inside_the_history_but_after_their_commit_are_blamed(storage):
    assert forge_catalogue(
        storage, 0, lambda found: Catalogue().with_schema(found.newest(TYPE).schema, 5)
    ) in blamed(storage)


def test_a_catalogue_that_drops_a_type_is_blamed():
    lake = el.create(storage := MemoryStorage(), "adv.example/x")
    lake.register(TYPE, SCHEMA)
    lake.append(payments(range(3)))
    second = lake.register("loan.closed", SCHEMA)
    data = Catalogue().with_schema(second.schema, 3).encode()
    put(storage, f"schemas/{sha256_hex(data)}.json", data)
    forge_commit(storage, 2, lambda commit: commit.update(schemas=sha256_hex(data)))
    assert f"schemas/{sha256_hex(data)}.json" in blamed(storage)


def test_a_schema_commit_that_names_earlier_schemas_again_is_blamed():
    lake = el.create(storage := MemoryStorage(), "adv.example/x")
    lake.register(TYPE, SCHEMA)
    lake.register("loan.closed", SCHEMA)
    lake.register("loan.opened", SCHEMA)
    first = document(storage, log_path(0))["schemas"]
    forge_commit(storage, 2, lambda commit: commit.update(schemas=first))
    assert f"schemas/{first}.json" in blamed(storage)


def test_a_delivery_that_is_given_twice_in_one_commit_is_refused(storage):
    forge_commit(storage, 2, lambda commit: commit.update(deliveries=commit["deliveries"] * 2))
    assert log_path(2) in blamed(storage, deep=False)


@pytest.mark.parametrize(
    "deliveries",
    [
        [("bank", 8, 10, 16), ("other", 1, 15, 20)],
        [("bank", 8, 15, 20), ("other", 1, 10, 15)],
        [("bank", 8, 10, 15), ("bank", 8, 15, 20)],
        [("bank", 8, 10, 15), ("bank", 10, 15, 20)],
        [("bank", 9, 10, 15), ("bank", 8, 15, 20)],
    ],
    ids=["overlapping", "out of order", "the same position", "a gap", "a step back"],
)
def test_deliveries_that_no_append_makes_are_refused(storage, deliveries):
    names = ("name", "position", "start", "stop")
    forge_commit(
        storage,
        2,
        lambda commit: commit.update(
            deliveries=[dict(zip(names, one, strict=True)) for one in deliveries]
        ),
    )
    assert log_path(2) in blamed(storage, deep=False)


@pytest.mark.parametrize(
    "position", [7, 8, 10], ids=["delivered before", "delivered just before", "a gap"]
)
def test_a_position_that_is_not_the_producers_next_one_is_blamed(storage, position):
    forge_commit(storage, 3, lambda commit: commit["deliveries"][0].update(position=position))
    found = [one for one in verify(storage)[0].problems if one.path == log_path(3)]
    assert f"expected position 9 of bank, found {position}" in [one.message for one in found]


def test_several_deliveries_of_one_producer_in_one_commit_are_in_order():
    lake = el.create(storage := MemoryStorage(), "adv.example/x")
    lake.append(payments(range(10)), producer="bank", position=0)
    parts = [
        {"name": "bank", "position": 0, "start": 0, "stop": 4},
        {"name": "bank", "position": 1, "start": 4, "stop": 10},
    ]
    forge_commit(storage, 0, lambda commit: commit.update(deliveries=parts))
    assert verify(storage)[0].problems == ()
