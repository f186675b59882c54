"""One contract, every storage."""

import shutil

import pytest

from eventlake.errors import EventlakeError, InvalidInputError, StorageError
from eventlake.storage import LocalStorage, MemoryStorage, ObjectStorage, from_uri
from eventlake.testing.contract import StorageContract


def paths(storage, prefix=""):
    return [item.path for item in storage.list(prefix)]


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self):
        return MemoryStorage()


class TestLocal(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path):
        return LocalStorage(tmp_path / "lake")


class TestObjects(StorageContract):
    @pytest.fixture
    def storage(self, s3):
        return ObjectStorage("s3://bucket/lakes/one")


def test_a_local_storage_gives_engines_a_path_and_memory_gives_none(tmp_path):
    local = LocalStorage(tmp_path)
    local.create("a/b", b"x")
    with open(local.locate("a/b"), "rb") as file:  # noqa: PTH123 - engines are given text
        assert file.read() == b"x"
    assert MemoryStorage().locate("a/b") is None


@pytest.mark.parametrize("path", ["../x", "a/../b", "/x", "a/./b", "a//b", "a\0b"])
def test_a_path_that_leaves_an_object_storage_is_refused_and_not_asked_for(s3, path):
    storage = ObjectStorage("s3://bucket/lakes/one")
    for call in (storage.read, storage.exists, storage.delete, lambda p: storage.create(p, b""), lambda p: list(storage.list(p))):
        with pytest.raises(InvalidInputError, match="inside"):
            call(path)
    assert s3.requests == []


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a\0b", "./a"])
def test_a_path_that_leaves_a_local_storage_is_refused(tmp_path, path):
    for call in (LocalStorage(tmp_path).read, LocalStorage(tmp_path).locate, lambda p: LocalStorage(tmp_path).create(p, b"")):
        with pytest.raises(InvalidInputError, match="inside"):
            call(path)


def test_a_local_storage_makes_no_folder_before_it_has_something_to_keep(tmp_path):
    storage = LocalStorage(tmp_path / "new")
    assert paths(storage) == []
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_deleted_meanwhile_is_made_again(tmp_path):
    storage = LocalStorage(tmp_path / "lake")
    storage.create("tables/a/1", b"x")
    shutil.rmtree(tmp_path / "lake" / "tables")
    storage.create("tables/a/2", b"y")
    assert paths(storage) == ["tables/a/2"]


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


@pytest.mark.parametrize("uri", ["", "ftp://bucket/lake", "memory://name", "http://x"])
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
