"""A full disk is freed by the verbs that free it, from whatever garbage there is, and a crash on the way costs nothing."""

import shutil
import time
from datetime import timedelta

import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.errors import CommitUnknownError, EventlakeError, StorageError
from eventlake.log.maintaining import reserve
from eventlake.storage import LocalStorage, StorageFullError
from eventlake.testing.invariants import assert_sound
from tests.fault.small_disk import BLOCK, SmallDisk
from tests.support.dataset_fixtures import Hooked, sql
from tests.support.limits import limited

NO_AGE = timedelta(0)
COUNTS = sql("SELECT subject AS k, count(*) AS n FROM events GROUP BY subject", name="counts")


def batch(name, rows=40):
    return [
        {
            "id": f"{name}-{row}",
            "source": "s",
            "type": "t",
            "subject": f"/{row}",
            "data": {"hash": f"{name} {row}" * 9},
        }
        for row in range(rows)
    ]


def appended(lake, names):
    return [
        (lake.append(events), [event["id"] for event in events]) for events in map(batch, names)
    ]


def compacted(lake, disk):
    lake.compact()


def unnamed(lake, disk):
    """What an append leaves whose commit found no room."""
    with pytest.raises(StorageFullError):
        el.open(Refusing(disk, "log/")).append(batch("never"))


def unfinished(lake, disk):
    """What a build leaves that was killed before its provenance."""
    with pytest.raises(KeyboardInterrupt):
        el.open(Hooked(disk, before=_killed)).build(COUNTS)


def _killed(path, data):
    if path.endswith("/provenance.json"):
        raise KeyboardInterrupt


class Refusing(Hooked):
    """No room below a folder."""

    def __init__(self, inner, folder):
        def before(path, data):
            if path.startswith(folder):
                raise StorageFullError(path)

        super().__init__(inner, before=before)


def full(tmp_path, garbage, *, reserve=True, free=0):
    """A lake with garbage of one kind on a disk without room; what was acknowledged."""
    disk = SmallDisk(tmp_path / "lake")
    lake = el.create(disk, "o")
    known = appended(lake, ["a", "b", "c"])
    garbage(lake, disk)
    if not reserve:
        disk.delete(layout.RESERVE)
    time.sleep(0.02)
    disk.fill(free)
    with pytest.raises(StorageFullError):
        lake.append(batch("too much"))
    return disk, known


@pytest.mark.parametrize(
    ("garbage", "reserve"),
    [(compacted, True), (unnamed, True), (unfinished, True), (compacted, False), (unnamed, False)],
    ids=lambda one: getattr(one, "__name__", "with a reserve" if one else "an old lake"),
)
def test_a_full_disk_is_freed_by_gc_whatever_the_garbage_is(tmp_path, garbage, reserve):
    disk, known = full(tmp_path, garbage, reserve=reserve)
    listed = {file.path for file in el.open(disk).gc(older_than=NO_AGE).files}
    done = el.open(disk).gc(older_than=NO_AGE, dry_run=False)
    assert listed
    assert {file.path for file in done.files} == listed
    assert not any(disk.exists(path) for path in listed)
    assert_sound(el.open(disk), known)
    disk.fill(100)
    assert_sound(el.open(disk), known + appended(el.open(disk), ["later"]))


def test_compacted_segments_are_freed_without_a_byte_of_room_for_a_fence(tmp_path, monkeypatch):
    disk, known = full(tmp_path, compacted, reserve=False)
    deleted = []
    monkeypatch.setattr(
        SmallDisk,
        "create",
        lambda self, path, data: (
            _no_room(path) if not deleted else LocalStorage.create(self, path, data)
        ),
    )
    real = SmallDisk.delete
    monkeypatch.setattr(
        SmallDisk,
        "delete",
        lambda self, path: (
            path.startswith("segments/") and deleted.append(path),
            real(self, path),
        ),
    )
    assert len(el.open(disk).gc(older_than=NO_AGE, dry_run=False).files) == 3
    assert_sound(el.open(disk), known)


def _no_room(path):
    raise StorageFullError(path)


def test_what_may_yet_be_named_is_not_deleted_before_a_fence(tmp_path):
    disk, known = full(tmp_path, unnamed)
    storage = Refusing(disk, "log/")
    (left,) = {file.path for file in el.open(disk).gc(older_than=NO_AGE).files}
    with pytest.raises(StorageFullError):
        el.open(storage).gc(older_than=NO_AGE, dry_run=False)
    assert disk.exists(left)
    assert_sound(el.open(disk), known)


def test_a_young_segment_is_kept_even_on_a_full_disk(tmp_path):
    disk, known = full(tmp_path, compacted)
    assert el.open(disk).gc(dry_run=False).files == ()
    assert len(list(disk.list("segments"))) == 4
    assert_sound(el.open(disk), known)


@pytest.mark.parametrize("reserve", [True, False], ids=["reserve", "an old lake without one"])
def test_a_full_disk_is_freed_by_prune_alone(tmp_path, reserve):
    def built(lake, disk):
        lake.build(COUNTS, at=40)
        lake.build(COUNTS)

    disk, known = full(tmp_path, built, reserve=reserve)
    old = el.open(disk).datasets()[0]
    done = el.open(disk).prune(older_than=NO_AGE, dry_run=False)
    assert [file.path.split("/")[2] for file in done.files] == [old.manifest_hash[:12]]
    report = el.open(disk).verify(deep=True)
    assert (report.problems, report.notes) == ((), ())
    assert_sound(el.open(disk), known)
    disk.fill(100)
    assert el.open(disk).reproduce(old.manifest_hash).identical


@pytest.mark.parametrize("verb", ["create", "delete", "list", "sync", "read"])
@pytest.mark.parametrize("garbage", [compacted, unnamed, unfinished], ids=lambda one: one.__name__)
def test_a_crash_while_a_full_disk_is_freed_loses_nothing_and_the_next_collection_ends_it(
    tmp_path, garbage, verb
):
    class Crash(BaseException):
        pass

    class Crashing(SmallDisk):
        left = None

        def _count(self, called):
            if called == verb and self.left is not None:
                self.left -= 1
                if self.left < 0:
                    raise Crash

        def create(self, path, data):
            self._count("create")
            super().create(path, data)

        def delete(self, path):
            self._count("delete")
            super().delete(path)

        def list(self, prefix):
            self._count("list")
            return super().list(prefix)

        def sync(self, folder):
            self._count("sync")
            super().sync(folder)

        def read(self, path):
            self._count("read")
            return super().read(path)

    _, known = full(tmp_path / "begin", garbage)
    for number in range(100):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "begin", folder)
        crashing = Crashing(folder / "lake")
        crashing.fill(0)
        lake = el.open(crashing)
        crashing.left = number
        try:
            lake.gc(older_than=NO_AGE, dry_run=False)
        except Crash:
            crashed = True
        else:
            crashed = False
        crashing.left = None
        assert_sound(el.open(crashing), known)
        el.open(crashing).gc(older_than=NO_AGE, dry_run=False)
        assert el.open(crashing).gc(older_than=NO_AGE).files == ()
        assert_sound(el.open(crashing), known)
        shutil.rmtree(folder)
        if not crashed:
            break
    assert not crashed
    assert number or verb in {"sync", "delete"}


def test_the_reserve_comes_back_when_there_is_room(tmp_path):
    disk, known = full(tmp_path, compacted)
    el.open(disk).gc(older_than=NO_AGE, dry_run=False)
    disk.fill(reserve.RESERVE_BYTES // BLOCK + 10)
    el.open(disk).gc(older_than=NO_AGE, dry_run=False)
    assert len(disk.read(layout.RESERVE)) == reserve.RESERVE_BYTES
    report = el.open(disk).verify(deep=True)
    assert (report.problems, report.notes) == ((), ())
    assert_sound(el.open(disk), known)


def test_a_lake_that_is_no_files_has_no_reserve():
    lake = el.create("memory://", "o")
    lake.gc(dry_run=False)
    assert not lake._storage.exists(layout.RESERVE)


def test_a_build_that_finds_no_room_leaves_nothing(tmp_path):
    disk = SmallDisk(tmp_path / "lake")
    lake = el.create(disk, "o")
    appended(lake, ["a"])
    disk.fill(3)
    with pytest.raises(StorageFullError):
        lake.build(COUNTS)
    assert [item.path for item in disk.list(layout.BUILDS)] == []


def test_a_store_that_fails_for_another_reason_gives_nothing_up(tmp_path):
    disk, _ = full(tmp_path, compacted)

    def broken(path, data):
        if path.startswith("log/"):
            raise StorageError(path)

    lake = limited(el.open(Hooked(disk, before=broken)), patience_seconds=0.01)
    with pytest.raises((CommitUnknownError, EventlakeError)):
        lake.gc(older_than=NO_AGE, dry_run=False)
    assert disk.exists(layout.RESERVE)
    assert len(list(disk.list("segments"))) == 4
