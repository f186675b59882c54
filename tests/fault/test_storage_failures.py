"""The storage fails at every step of an append: the batch is in whole or not at all, and the error says which."""

import errno
import os

import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.errors import CommitUnknownError, EventlakeError, InvalidEventsError, StorageError
from eventlake.storage import MemoryStorage, beneath, durable, exclusive, local
from tests.support.limits import limited

BATCH = [{"id": f"new {n}", "source": "s", "type": "t", "data": {"n": n}} for n in range(3)]
FIRST = [{"id": "first", "source": "s", "type": "t"}]


class Failing(MemoryStorage):
    """Memory that counts the calls of one kind since ``arm`` and fails at the n-th, before or after it takes effect."""

    def __init__(self):
        super().__init__()
        self.countdown = None

    def arm(self, verb, number, when, code):
        """From now on the ``number``-th call of ``verb`` fails."""
        self.verb, self.countdown, self.when, self.code = verb, number, when, code
        self.paths = []

    def _around(self, verb, path, call):
        if self.countdown is None or verb != self.verb:
            return call()
        self.paths.append(path)
        self.countdown -= 1
        if self.countdown != -1:
            return call()
        if self.when == "after":
            call()
        message = f"could not {verb} {path}: {errno.errorcode[self.code]}"
        raise StorageError(message, path=path, errno=self.code)

    def create(self, path, data):
        """As ``MemoryStorage``, or a failure."""
        return self._around("create", path, lambda: super(Failing, self).create(path, data))

    def read(self, path):
        """As ``MemoryStorage``, or a failure."""
        return self._around("read", path, lambda: super(Failing, self).read(path))


@pytest.fixture
def storage():
    storage = Failing()
    el.create(storage, "o").append(FIRST)
    return storage


def assert_whole_or_absent(storage, error, kept):
    """The lake holds the batch whole or not at all, as ``kept`` says, is sound, and takes the batch once in the end."""
    lake = el.open(storage)
    assert lake.watermark == len(FIRST) + len(BATCH) * kept
    assert lake.verify(deep=True).ok
    if isinstance(error, CommitUnknownError):
        stands = [
            entry.commit.commit_id
            for entry in lake.log()
            if entry.commit.version == error.facts["version"]
        ]
        assert (stands == [error.facts["commit_id"]]) == kept
    if kept:
        with pytest.raises(InvalidEventsError, match="in the lake already"):
            lake.append(BATCH)
    else:
        lake.append(BATCH)
    assert lake.snapshot().scan().collect()["id"].to_list() == ["first", "new 0", "new 1", "new 2"]
    assert lake.verify(deep=True).ok


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_segment_that_cannot_be_stored_is_a_storage_error_and_nothing_is_appended(
    storage, when, code
):
    lake = limited(el.open(storage), segment_tries=1)
    storage.arm("create", 0, when, code)
    with pytest.raises(StorageError) as caught:
        lake.append(BATCH)
    assert layout.segment_sha256(caught.value.facts["path"])
    storage.countdown = None
    assert_whole_or_absent(storage, caught.value, kept=False)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_segment_that_was_not_answered_is_sent_again(storage, when):
    lake = el.open(storage)
    storage.arm("create", 0, when, errno.EIO)
    assert lake.append(BATCH).stop == 4
    storage.countdown = None
    assert_whole_or_absent(storage, None, kept=True)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_whose_answer_was_lost_is_published_exactly_once(storage, when, code):
    lake = el.open(storage)
    storage.arm("create", 1, when, code)
    receipt = lake.append(BATCH)
    assert (receipt.start, receipt.stop) == (1, 4)
    storage.countdown = None
    assert_whole_or_absent(storage, None, kept=True)


def test_an_append_creates_a_segment_and_a_commit_and_nothing_else(storage):
    lake = el.open(storage)
    storage.arm("create", 99, "before", errno.EIO)
    lake.append(BATCH)
    assert [path.split("/")[0] for path in storage.paths] == ["segments", "log"]


class Cut(MemoryStorage):
    """Memory whose reads fail from the n-th on, or from the moment at which a commit was created."""

    reads_left = None
    after_commit = False

    def create(self, path, data):
        """As ``MemoryStorage``."""
        super().create(path, data)
        if self.after_commit and layout.commit_version(path) is not None:
            self.reads_left = 0

    def read(self, path):
        """As ``MemoryStorage``, while there are reads left."""
        if self.reads_left is not None:
            self.reads_left -= 1
            if self.reads_left < 0:
                message = f"could not read {path}: EIO"
                raise StorageError(message, path=path, errno=errno.EIO)
        return super().read(path)

    def heal(self):
        """Reads succeed again."""
        self.reads_left, self.after_commit = None, False


@pytest.mark.parametrize("reads", range(2))
def test_a_read_that_fails_before_the_commit_is_a_storage_error_and_nothing_is_appended(reads):
    storage = Cut()
    el.create(storage, "o").append(FIRST)
    lake = el.open(storage)
    storage.reads_left = reads
    with pytest.raises(StorageError):
        lake.append(BATCH)
    storage.heal()
    assert_whole_or_absent(storage, None, kept=False)


def test_a_read_that_fails_after_the_commit_does_not_deny_the_commit():
    storage = Cut()
    el.create(storage, "o").append(FIRST)
    lake = el.open(storage)
    storage.after_commit = True
    error = None
    try:
        lake.append(BATCH)
    except CommitUnknownError as unknown:
        error = unknown
    storage.heal()
    assert_whole_or_absent(storage, error, kept=True)


def test_a_commit_taken_by_another_whose_bytes_cannot_be_read_back_is_not_called_lost(storage):
    """The store says *exists*, as it does after a lost answer to our own try, and then cannot be read: the fate is unknown."""
    lake = el.open(storage)
    el.open(storage).append([{"id": "rival", "source": "s", "type": "t"}])
    storage.arm("read", 0, "before", errno.EIO)
    with pytest.raises(EventlakeError):
        lake.append(BATCH)
    storage.countdown = None
    assert el.open(storage).watermark == 2
    assert el.open(storage).verify(deep=True).ok


@pytest.mark.parametrize("code", [errno.EIO], ids=errno.errorcode.get)
def test_a_failing_append_can_be_repeated_on_the_same_lake_object(storage, code):
    lake = limited(el.open(storage), segment_tries=1)
    for number, when in ((0, "before"), (0, "after")):
        storage.arm("create", number, when, code)
        with pytest.raises(EventlakeError):
            lake.append(BATCH)
    storage.countdown = None
    assert lake.append(BATCH).stop == 4
    # The attempt that was stored all the same is not taken over: garbage collection may be about to
    # delete it.
    assert [note.path.split("/")[0] for note in lake.verify(deep=True).notes] == ["segments"]


class Disk:
    """Lets the n-th call of one system call fail, in the modules that make it for an append."""

    def __init__(self, monkeypatch, name, number, code):
        self.calls = 0
        real = getattr(os, name)

        def failing(*args, **options):
            self.calls += 1
            if self.calls == number + 1:
                raise OSError(code, os.strerror(code))
            return real(*args, **options)

        self.fake = type(
            "FakeOs",
            (),
            {"__getattr__": lambda _, other: failing if other == name else getattr(os, other)},
        )()
        for module in {"link": [exclusive], "open": [beneath]}.get(name, [local, durable]):
            monkeypatch.setattr(module, "os", self.fake)


SILENT = {6, 11}
SYSTEM_CALLS = {"open": 16, "write": 2, "fsync": 6, "link": 2, "close": 3}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize(
    ("name", "number"), [(name, n) for name, count in SYSTEM_CALLS.items() for n in range(count)]
)
def test_a_failing_system_call_leaves_the_batch_whole_or_absent(
    tmp_path, monkeypatch, name, number, code
):
    el.create(tmp_path / "lake", "o").append(FIRST)
    lake = el.open(tmp_path / "lake")
    with monkeypatch.context() as patch:
        disk = Disk(patch, name, number, code)
        try:
            lake.append(BATCH)
        except CommitUnknownError as error:
            outcome = error
        except StorageError as error:
            outcome = error
            assert error.facts["errno"] == code
            assert "create" in error.message or (
                name == "open" and ("read" in error.message or "look for" in error.message)
            )
        else:
            outcome = None
    # Asking for a turn, and for the state of a segment, may fail without a word between the segment
    # and the commit.
    asking = name == "open" and number in SILENT
    assert (outcome is not None) == (disk.calls > number and not asking)
    again = el.open(tmp_path / "lake")
    kept = again.watermark == len(FIRST) + len(BATCH)
    assert disk.calls > number, "the call was never made"
    assert kept or again.watermark == len(FIRST)
    if outcome is None:
        assert kept
    elif isinstance(outcome, CommitUnknownError):
        stands = [entry.commit.commit_id for entry in again.log()][1:]
        assert (stands == [outcome.facts["commit_id"]]) == kept
    else:
        assert not kept
    assert again.verify(deep=True).ok
    if not kept:
        again.append(BATCH)
    assert again.snapshot().scan().collect()["id"].to_list() == ["first", "new 0", "new 1", "new 2"]
    assert again.verify(deep=True).ok


def test_a_full_disk_is_named_and_the_hint_says_what_to_do(tmp_path, monkeypatch):
    lake = el.create(tmp_path / "lake", "o")
    with monkeypatch.context() as patch:
        Disk(patch, "write", 0, errno.ENOSPC)
        with pytest.raises(StorageError, match="ENOSPC") as caught:
            lake.append(BATCH)
    assert "free some space" in caught.value.hint
    assert list((tmp_path / "lake").rglob(".tmp-*")) == []


@pytest.mark.parametrize("name", ["open", "write", "fsync", "link"])
def test_a_create_that_fails_on_the_disk_is_a_storage_error_and_no_half_lake_is_opened(
    tmp_path, monkeypatch, name
):
    with monkeypatch.context() as patch:
        Disk(patch, name, 0, errno.EIO)
        with pytest.raises(StorageError):
            el.create(tmp_path / "lake", "o")
    assert not (tmp_path / "lake" / "lake.json").exists()
    assert el.create(tmp_path / "lake", "o").append(BATCH).stop == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_storage_error(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    (tmp_path / "lake").chmod(0o500)
    try:
        with pytest.raises(StorageError, match="EACCES"):
            lake.append(BATCH)
    finally:
        (tmp_path / "lake").chmod(0o700)
