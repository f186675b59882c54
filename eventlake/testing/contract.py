"""The contract of ``eventlake.storage.Storage`` as a pytest suite.

Inherit it and provide a fixture ``storage``; the suite tests every sentence of the contract.

class TestMyStorage(StorageContract):
    @pytest.fixture
    def storage(self):
        return MyStorage(...)          # empty
"""

import threading
import time

import pytest

from eventlake.errors import CorruptionError, StorageError
from eventlake.storage import ObjectExistsError, ObjectMissingError, Storage, read_sized


def _paths(storage: Storage, prefix: str = "") -> list[str]:
    return [item.path for item in storage.list(prefix)]


class StorageContract:
    """Tests that every storage must pass."""

    def test_what_is_created_is_read_back(self, storage: Storage) -> None:
        storage.create("log/1.json", b"one")
        assert storage.read("log/1.json") == b"one"
        assert [(item.path, item.size_bytes) for item in storage.list("")] == [("log/1.json", 3)]

    def test_an_object_is_read_with_its_recorded_size_and_refused_if_it_is_longer(
        self, storage: Storage
    ) -> None:
        storage.create("segments/1", b"one")
        assert read_sized(storage, "segments/1", 3) == b"one"
        if hasattr(storage, "read_sized"):
            with pytest.raises(CorruptionError, match="expected 2 bytes, found 3"):
                storage.read_sized("segments/1", 2)
        with pytest.raises(ObjectMissingError):
            read_sized(storage, "segments/2", 3)

    def test_an_empty_object_is_an_object(self, storage: Storage) -> None:
        storage.create("log/1.json", b"")
        assert storage.read("log/1.json") == b""
        assert _paths(storage) == ["log/1.json"]

    def test_create_never_touches_what_is_there(self, storage: Storage) -> None:
        storage.create("a", b"first")
        with pytest.raises(ObjectExistsError) as caught:
            storage.create("a", b"second")
        assert caught.value.facts == {"path": "a"}
        assert storage.read("a") == b"first"
        assert _paths(storage) == ["a"]

    def test_what_is_missing_is_named(self, storage: Storage) -> None:
        for path in ("nothing", "no/folder/here"):
            with pytest.raises(ObjectMissingError) as caught:
                storage.read(path)
            assert caught.value.facts == {"path": path}

    def test_below_a_file_nothing_is_found(self, storage: Storage) -> None:
        storage.create("a", b"")
        with pytest.raises(ObjectMissingError):
            storage.read("a/b")
        assert _paths(storage, "a") == []

    def test_an_empty_storage_lists_nothing(self, storage: Storage) -> None:
        assert _paths(storage) == _paths(storage, "log") == []

    def test_a_listing_holds_what_is_below_the_folder_and_nothing_else(
        self, storage: Storage
    ) -> None:
        for path in ("log/1", "log/2", "log2/1", "lo", "log/sub/3"):
            storage.create(path, b"x")
        assert sorted(_paths(storage, "log")) == ["log/1", "log/2", "log/sub/3"]
        assert sorted(_paths(storage)) == ["lo", "log/1", "log/2", "log/sub/3", "log2/1"]

    def test_a_listing_is_in_path_order(self, storage: Storage) -> None:
        for path in ("b/2", "b/1", "a/1", "c", "a.x", "a/0/1"):
            storage.create(path, b"x")
        assert _paths(storage) == sorted(_paths(storage))

    @pytest.mark.parametrize("folder", ["", "log", "not/there"])
    def test_a_folder_can_be_synced_whether_it_is_there_or_not(
        self, storage: Storage, folder: str
    ) -> None:
        storage.create("log/1", b"x")
        storage.sync(folder)
        assert _paths(storage) == ["log/1"]

    def test_parts_are_read_in_the_order_asked_for_and_one_that_is_not_there_is_an_error(
        self, storage: Storage
    ) -> None:
        storage.create("keys/a", b"0123456789")
        parts = [(3, 5), (9, 10), (4, 4), (0, 10), (3, 5), (4, 6)]
        assert storage.read_ranges("keys/a", parts) == [
            b"34",
            b"9",
            b"",
            b"0123456789",
            b"34",
            b"45",
        ]
        assert storage.read_ranges("keys/a", []) == []
        with pytest.raises(StorageError):
            storage.read_ranges("keys/a", [(0, 1), (8, 12)])
        with pytest.raises(ObjectMissingError):
            storage.read_ranges("keys/b", [(0, 1)])

    def test_what_exists_is_told_without_reading_it(self, storage: Storage) -> None:
        storage.create("log/1", b"x")
        assert [storage.exists(path) for path in ("log/1", "log/2", "nothing/at/all")] == [
            True,
            False,
            False,
        ]

    def test_what_is_replaced_is_whole_and_new(self, storage: Storage) -> None:
        for data in (b"first", b"second", b""):
            storage.replace("hint", data)
            assert storage.read("hint") == data
        assert _paths(storage) == ["hint"]

    def test_what_is_deleted_is_gone_and_deleting_nothing_is_nothing(
        self, storage: Storage
    ) -> None:
        storage.create("segments/a", b"x")
        for _ in range(2):
            storage.delete("segments/a")
            assert not storage.exists("segments/a")
        assert _paths(storage) == []
        storage.create("segments/a", b"again")
        assert storage.read("segments/a") == b"again"

    def test_a_listing_says_when_an_object_was_stored(self, storage: Storage) -> None:
        storage.create("a", b"x")
        (item,) = storage.list("")
        assert abs(item.modified / 1e6 - time.time()) < 600

    def test_a_listing_tells_the_state_of_an_object_or_none(self, storage: Storage) -> None:
        storage.create("a", b"x")
        (item,) = storage.list("")
        assert item.state in {None, storage.state("a")}

    def test_when_an_object_was_stored_is_told_as_in_the_listing_or_not_at_all(
        self, storage: Storage
    ) -> None:
        storage.create("a", b"x")
        (item,) = storage.list("")
        modified = storage.modified("a")
        assert modified is None or abs(modified - item.modified) < 60_000_000
        with pytest.raises(ObjectMissingError):
            storage.modified("b")

    def test_a_turn_ends_and_does_not_keep_others_out_for_ever(self, storage: Storage) -> None:
        storage.create("log/1", b"x")
        with storage.turn("log"), storage.turn("log"):
            storage.create("log/2", b"y")
        with storage.turn("not/there"):
            storage.create("log/3", b"z")
        assert _paths(storage) == ["log/1", "log/2", "log/3"]

    def test_of_many_creators_exactly_one_succeeds_and_its_bytes_stand(
        self, storage: Storage
    ) -> None:
        won: list[tuple[int, int]] = []
        # All threads begin at once, so that they race for every name.
        start = threading.Barrier(8)

        def create(name: int) -> None:
            start.wait()
            for number in range(20):
                try:
                    storage.create(f"log/{number}", b"%d" % name * 1000)
                    won.append((number, name))
                except ObjectExistsError:
                    pass

        threads = [threading.Thread(target=create, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(number for number, _ in won) == list(range(20))
        assert all(storage.read(f"log/{number}") == b"%d" % name * 1000 for number, name in won)
        assert len(_paths(storage)) == 20
