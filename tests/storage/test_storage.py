"""One contract, every storage."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import eventlake as el
from eventlake.errors import EventlakeError, InvalidInputError, StorageError
from eventlake.storage import (
    LocalStorage,
    MemoryStorage,
    NotDurableError,
    ObjectStorage,
    from_uri,
    local,
)
from eventlake.testing.contract import StorageContract

pytestmark = pytest.mark.every_case


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
    for call in (
        storage.read,
        storage.exists,
        storage.delete,
        lambda p: storage.create(p, b""),
        lambda p: list(storage.list(p)),
    ):
        with pytest.raises(InvalidInputError, match="inside"):
            call(path)
    assert s3.requests == []


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a\0b", "./a"])
def test_a_path_that_leaves_a_local_storage_is_refused(tmp_path, path):
    for call in (
        LocalStorage(tmp_path).read,
        LocalStorage(tmp_path).locate,
        lambda p: LocalStorage(tmp_path).create(p, b""),
    ):
        with pytest.raises(InvalidInputError, match="inside"):
            call(path)


def test_a_local_storage_makes_no_folder_before_it_has_something_to_keep(tmp_path):
    storage = LocalStorage(tmp_path / "new")
    assert paths(storage) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [LocalStorage.create, LocalStorage.replace])
def test_a_folder_that_was_deleted_meanwhile_is_made_again(tmp_path, write):
    storage = LocalStorage(tmp_path / "lake")
    write(storage, "tables/a/1", b"x")
    shutil.rmtree(tmp_path / "lake" / "tables")
    write(storage, "tables/a/2", b"y")
    assert paths(storage) == ["tables/a/2"]


def test_a_folder_that_is_deleted_while_an_object_is_created_does_not_end_all_writing(
    tmp_path, monkeypatch
):
    storage, real = LocalStorage(tmp_path / "lake"), local.claim

    def claim(temporary, target):
        real(temporary, target)
        shutil.rmtree(tmp_path / "lake" / "recipes")

    with monkeypatch.context() as patch:
        patch.setattr(local, "claim", claim)
        with pytest.raises(NotDurableError, match="recipes/a/1"):
            storage.create("recipes/a/1", b"x")
    storage.create("segments/1", b"y")
    storage.create("recipes/a/1", b"z")
    assert paths(storage) == ["recipes/a/1", "segments/1"]


def test_other_users_cannot_write_what_a_local_storage_keeps(tmp_path):
    LocalStorage(tmp_path / "lake").create("log/1", b"x")
    assert [path.stat().st_mode & 0o022 for path in (tmp_path / "lake").rglob("*")] == [0, 0]


@pytest.mark.parametrize(
    "make",
    [str, lambda path: path, lambda path: f"file://{path}"],
    ids=["text", "path", "file uri"],
)
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


# URIs


@pytest.mark.parametrize(
    ("tail", "folder"),
    [
        ("a%23b", "a#b"),
        ("a%3Fb", "a?b"),
        ("a%25b", "a%b"),
        ("a%20b", "a b"),
        ("%C3%BC", "ü"),
        ("ü", "ü"),
        ("a+b", "a+b"),
        ("a;b=c", "a;b=c"),
        ("a&b", "a&b"),
        ("a:b@c", "a:b@c"),
        ("[x]*", "[x]*"),
        ("a\\b", "a\\b"),
        ("a\tb", "a\tb"),
        ("a/./b", "a/./b"),
    ],
)
@pytest.mark.parametrize(
    "start", ["file://", "FILE://", "File://localhost", "file://LOCALHOST", "file:", "FILE:"]
)
def test_a_file_uri_names_exactly_the_folder_that_it_spells(tmp_path, start, tail, folder):
    assert from_uri(f"{start}{tmp_path}/{tail}").uri == str(Path(f"{tmp_path}/{folder}").absolute())


@pytest.mark.parametrize(
    "folder",
    ["run#1", "day?v=1", "a%20b", "a%b", "ü", "a:b", "file", "2026:01", "x://y", "a b", "~x"],
)
def test_a_path_is_taken_as_it_is(tmp_path, monkeypatch, folder):
    assert from_uri(Path(f"{tmp_path}/{folder}")).uri == str(Path(f"{tmp_path}/{folder}"))
    assert from_uri(f"{tmp_path}/{folder}").uri == str(Path(f"{tmp_path}/{folder}"))
    monkeypatch.chdir(tmp_path)
    if not folder.startswith(("~", "x://")):
        assert from_uri(folder).uri == f"{tmp_path}/{folder}"


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "file:///x#1",
            "file:///x?v=1",
            "file:///x#",
            "file:///x?",
            "file:/x#1",
            "file:///x%2Fy",
            "file:///x%00",
            "file:///x%",
            "file:///x%zz",
        ),
        *(
            "file:///x%ff",
            "file:///%ed%a0%80",
            "file://host/x",
            "file://user@localhost/x",
            "file://localhost:80/x",
            "file://x",
            "file://",
            "file:x",
        ),
        *(
            "file:",
            "file://localhost",
            "file:./x",
            "memory:",
            "memory:/",
            "memory:///",
            "memory://x",
            "memory://#x",
            "MEMORY://x",
            "s3:/b/x",
            "s3:b",
        ),
        *(
            "S3:/b",
            "s3://",
            "s3:///x",
            "http:/x",
            "http://x",
            "HTTP://x",
            "s3a://b/x",
            "x://y",
            "s3://b/x#1",
            "s3://b/x?v=1",
            "s3://b/x%2Fy",
        ),
        *(
            "s3://b//x",
            "s3://b/x//y",
            "s3://b/./x",
            "s3://b/x/..",
            "s3://b/x%",
            "s3://b/x%ff",
            "s3://b/a%00",
            "s3://b/a\tb",
            "s3://b:80/x",
        ),
        *(
            "s3://user@b/x",
            "s3://user:pw@b/x",
            "az://user@c/x",
            "gs://u@b/x",
            "abfss://c:pw@a.dfs.core.windows.net/x",
            "abfss://@c/x",
            "a\0b",
            "\ud800",
        ),
        *("file:///\ud800", "s3://b/\ud800", Path("s3://b/x"), Path("memory://")),
    ],
    ids=ascii,
)
def test_a_uri_that_would_name_something_else_is_refused(uri):
    with pytest.raises(InvalidInputError):
        from_uri(uri)


@pytest.mark.parametrize(
    ("uri", "spelled"),
    [
        ("s3://b/x", "s3://b/x"),
        ("S3://b/x/", "s3://b/x"),
        ("s3://Bucket/x y", "s3://Bucket/x y"),
        ("s3://b/a%20b/%C3%BC", "s3://b/a%20b/%C3%BC"),
        ("s3://b/a%23b", "s3://b/a%23b"),
        ("s3://b", "s3://b"),
        ("gs://b/x", "gs://b/x"),
        ("az://c/x", "az://c/x"),
        ("abfss://c@acc.dfs.core.windows.net/x", "abfss://c@acc.dfs.core.windows.net/x"),
    ],
)
def test_the_uri_of_an_object_store_opens_the_same_place_again(monkeypatch, uri, spelled):
    settings = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "GOOGLE_SKIP_SIGNATURE": "true",
    }
    for name, value in (
        settings | {"AZURE_STORAGE_ACCOUNT_NAME": "acc", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"}
    ).items():
        monkeypatch.setenv(name, value)
    made = from_uri(uri)
    assert made.uri == spelled
    again = from_uri(made.uri)
    assert (again.uri, again._reader.prefix) == (spelled, made._reader.prefix)


def test_a_refused_uri_is_not_shown_with_its_credentials():
    for uri in (
        "s3://KEY:SECRET@b/x",
        "s3://KEY:SEC/SECRET%zz@b/x",
        "file://u:SECRET@h/x",
        "az://c/x?sig=SECRET",
        "s3:/KEY:SECRET@b",
        "x://SECRET",
    ):
        with pytest.raises(InvalidInputError) as caught:
            from_uri(uri)
        assert "SECRET" not in f"{caught.value} {caught.value.facts}"


def test_two_lakes_whose_uris_differ_are_two_folders(tmp_path):
    for name in ("run%231", "run%232"):
        el.create(f"file://{tmp_path}/{name}", "o")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run#1", "run#2"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("folder", ["log", "segments"])
def test_permission_denied_is_told_as_that_and_not_as_something_that_is_missing(tmp_path, folder):
    """A folder of another user's, as somebody sees it who may not enter it."""
    lake = tmp_path / "lake"
    el.create(lake, "o").append([{"id": "1", "source": "s", "type": "t"}])
    (lake / folder).chmod(0o700)
    program = (
        "import os, sys, eventlake as el\n"
        "from eventlake.errors import StorageError\n"
        # What is imported later could not be read by the other user.
        "el.create('memory://', 'o').snapshot().scan().collect()\n"
        "for above in sys.argv[3:]: os.chmod(above, 0o755)\n"
        "os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "try: el.open(sys.argv[1]).snapshot().scan().collect()\n"
        "except StorageError as error: print(error.facts['errno'], error.message)\n"
    )
    above = [str(one) for one in tmp_path.parents if "pytest-of-" in str(one)]
    command = [sys.executable, "-c", program, str(lake), folder, str(tmp_path), *above]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("13 "), done.stderr
    assert "Permission denied EACCES" in done.stdout
