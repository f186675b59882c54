"""One contract, every storage."""

import threading

import pytest

from eventlake.errors import EventlakeError, InvalidInputError, StorageError
from eventlake.storage import LocalStorage, MemoryStorage, ObjectExistsError, ObjectMissingError, from_uri


@pytest.fixture(params=["memory", "local"])
def storage(request, tmp_path):
    return MemoryStorage() if request.param == "memory" else LocalStorage(tmp_path / "lake")


def paths(storage, prefix=""):
    return [item.path for item in storage.list(prefix)]


def test_what_is_created_is_read_back(storage):
    storage.create("log/1.json", b"one")
    assert storage.read("log/1.json") == b"one"
    assert [(item.path, item.size_bytes) for item in storage.list("")] == [("log/1.json", 3)]


def test_an_empty_object_is_an_object(storage):
    storage.create("log/1.json", b"")
    assert storage.read("log/1.json") == b""
    assert paths(storage) == ["log/1.json"]


def test_create_never_touches_what_is_there(storage):
    storage.create("a", b"first")
    with pytest.raises(ObjectExistsError) as caught:
        storage.create("a", b"second")
    assert caught.value.facts == {"path": "a"}
    assert storage.read("a") == b"first"
    assert paths(storage) == ["a"]


def test_what_is_missing_is_named(storage):
    for path in ("nothing", "no/folder/here"):
        with pytest.raises(ObjectMissingError) as caught:
            storage.read(path)
        assert caught.value.facts == {"path": path}


def test_below_a_file_nothing_is_found(storage):
    storage.create("a", b"")
    with pytest.raises(ObjectMissingError):
        storage.read("a/b")
    assert paths(storage, "a") == []


def test_an_empty_storage_lists_nothing(storage):
    assert paths(storage) == paths(storage, "log") == []


def test_a_listing_holds_what_is_below_the_folder_and_nothing_else(storage):
    for path in ("log/1", "log/2", "log2/1", "lo", "log/sub/3"):
        storage.create(path, b"x")
    assert sorted(paths(storage, "log")) == ["log/1", "log/2", "log/sub/3"]
    assert sorted(paths(storage)) == ["lo", "log/1", "log/2", "log/sub/3", "log2/1"]


def test_a_listing_is_in_path_order(storage):
    for path in ("b/2", "b/1", "a/1", "c", "a.x", "a/0/1"):
        storage.create(path, b"x")
    assert paths(storage) == sorted(paths(storage))


@pytest.mark.parametrize("folder", ["", "log", "not/there"])
def test_a_folder_can_be_synced_whether_it_is_there_or_not(storage, folder):
    storage.create("log/1", b"x")
    storage.sync(folder)
    assert paths(storage) == ["log/1"]


def test_nothing_that_is_stored_can_be_deleted_or_replaced_through_the_port(storage):
    assert {name for name in dir(storage) if not name.startswith("_")} == {"check", "create", "list", "locate", "read", "sync", "uri"}


def test_of_many_creators_exactly_one_succeeds_and_its_bytes_stand(storage):
    won = []
    start = threading.Barrier(8)

    def create(name):
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
    assert len(paths(storage)) == 20


def test_a_local_storage_gives_engines_a_path_and_memory_gives_none(tmp_path):
    local = LocalStorage(tmp_path)
    local.create("a/b", b"x")
    with open(local.locate("a/b"), "rb") as file:  # noqa: PTH123 - engines are given text
        assert file.read() == b"x"
    assert MemoryStorage().locate("a/b") is None


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd"])
def test_a_path_that_leaves_a_local_storage_is_refused(tmp_path, path):
    for call in (LocalStorage(tmp_path).read, LocalStorage(tmp_path).locate, lambda p: LocalStorage(tmp_path).create(p, b"")):
        with pytest.raises(InvalidInputError, match="inside"):
            call(path)


def test_a_local_storage_makes_no_folder_before_it_has_something_to_keep(tmp_path):
    storage = LocalStorage(tmp_path / "new")
    assert paths(storage) == []
    assert list(tmp_path.iterdir()) == []


def test_other_users_cannot_write_what_a_local_storage_keeps(tmp_path):
    LocalStorage(tmp_path / "lake").create("log/1", b"x")
    assert [path.stat().st_mode & 0o022 for path in (tmp_path / "lake").rglob("*")] == [0, 0]


@pytest.mark.parametrize("make", [str, lambda path: path, lambda path: f"file://{path}"], ids=["text", "path", "file uri"])
def test_a_folder_may_be_named_in_several_ways(tmp_path, make):
    assert from_uri(make(tmp_path / "my lake")).uri == str(tmp_path / "my lake")


def test_a_file_uri_may_escape_blanks(tmp_path):
    assert from_uri(f"file://{tmp_path}/my%20lake").uri == f"{tmp_path}/my lake"


def test_memory_and_a_storage_itself_are_uris_too():
    storage = MemoryStorage()
    assert from_uri(storage) is storage
    assert from_uri("memory://").uri == "memory://"


@pytest.mark.parametrize("uri", ["", "s3://bucket/lake", "memory://name", "http://x"])
def test_other_uris_are_refused(uri):
    with pytest.raises(InvalidInputError):
        from_uri(uri)


def test_reading_a_folder_is_a_storage_error_with_its_number(tmp_path):
    (tmp_path / "log").mkdir()
    with pytest.raises(StorageError) as caught:
        LocalStorage(tmp_path).read("log")
    assert caught.value.facts["path"] == "log"
    assert isinstance(caught.value.facts["errno"], int)


def test_a_file_where_a_folder_should_be_is_named_and_not_touched(tmp_path):
    (tmp_path / "log").write_bytes(b"mine")
    with pytest.raises(EventlakeError):
        LocalStorage(tmp_path).create("log/1", b"x")
    assert (tmp_path / "log").read_bytes() == b"mine"
