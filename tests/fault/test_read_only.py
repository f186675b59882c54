"""A store that may only be read: what is there already is not written again, and everything that only reads works."""

import errno
import os

import pytest

import eventlake as el
from eventlake.datasets.definitions.lock import Lock
from eventlake.errors import StorageError
from eventlake.storage import LocalStorage, NotStoredError, ObjectExistsError, beneath, from_uri
from eventlake.testing.s3 import s3_server
from tests.support.dataset_fixtures import TOTALS, definition, event, make_lake

TOML = 'name = "counts"\nsql = "q.sql"\nkey = ["k"]\n'
SQL = "SELECT subject AS k, count(*) AS n FROM events GROUP BY subject"


@pytest.fixture
def refuse(monkeypatch):
    """Lets the disk refuse every new file with an error number."""

    def refuse(number):
        def create(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(beneath, "create", create)

    return refuse


@pytest.mark.parametrize(
    "number",
    [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT],
    ids=errno.errorcode.get,
)
def test_an_object_that_is_there_is_told_as_there_by_a_disk_that_takes_no_new_file(
    tmp_path, refuse, number
):
    storage = LocalStorage(tmp_path)
    storage.create("tags/a", b"x")
    refuse(number)
    with pytest.raises(ObjectExistsError):
        storage.create("tags/a", b"y")
    with pytest.raises(NotStoredError):
        storage.create("tags/b", b"y")
    assert (storage.read("tags/a"), [item.path for item in storage.list("")]) == (b"x", ["tags/a"])


def test_an_object_that_is_there_is_told_as_there_by_a_store_that_may_only_be_read(monkeypatch):
    with s3_server() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        storage = from_uri("s3://bucket/lake")
        storage.create("a", b"x")
        server.fault = lambda method, key: "deny" if method == "PUT" else None
        with pytest.raises(ObjectExistsError):
            storage.create("a", b"y")
        with pytest.raises(StorageError):
            storage.create("b", b"y")
        assert storage.read("a") == b"x"


@pytest.mark.parametrize(
    "number", [errno.EROFS, errno.EACCES, errno.ENOSPC], ids=errno.errorcode.get
)
def test_what_is_stored_is_found_locked_forced_tagged_and_reproduced_without_a_new_file(
    tmp_path, refuse, number
):
    folder = definition(tmp_path / "d", TOML, q__sql=SQL)
    lake = make_lake(tmp_path / "lake")
    dataset = lake.build(el.read_definition(folder))
    Lock.of(dataset).write(folder)
    dataset.keep_for_lock()
    lake.tag(dataset.manifest_hash, "mine")
    refuse(number)
    read = el.open(tmp_path / "lake")
    for options in ({"locked": True}, {"locked": True, "force": True}, {"force": True}, {}):
        found = read.build(el.read_definition(folder), **options)
        found.keep_for_lock()
        assert found.manifest_hash == dataset.manifest_hash
    read.tag(dataset.manifest_hash, "mine")
    assert read.reproduce("mine").identical
    assert read.verify(deep=True).ok
    with pytest.raises(StorageError):
        read.build(TOTALS)
    with pytest.raises(StorageError):
        read.append([event(99)])
