"""Every kind of damage is found, by name."""

import os
import shutil

import pytest

import eventlake as el
from eventlake.core import layout
from eventlake.core.hashing.canonical import seal, sha256_hex, unseal
from eventlake.errors import (
    AlreadyExistsError,
    CorruptionError,
    EventlakeError,
    InvalidInputError,
    NotFoundError,
    UnsupportedFormatError,
)
from eventlake.history.verifying.verify import verify
from eventlake.log.chain import checked_read
from eventlake.storage import MemoryStorage
from tests.scope import scaled


def event(name, **more):
    return {"id": name, "source": "s", "type": "t"} | more


def fill(lake):
    """Three commits: plain, copied history, plain again."""
    stamps = ["2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"]
    lake.append(
        [event(f"a{n}", recorded_at=stamp, data={"n": n}) for n, stamp in enumerate(stamps)]
    )
    lake.append([event("b", subject="x"), event("c", time="2026-01-31T12:00:00Z")])
    lake.append([event("d")])
    return lake


@pytest.fixture
def storage():
    storage = MemoryStorage()
    fill(el.create(storage, "o"))
    return storage


def names(report):
    return {finding.path for finding in report.problems}


ORIGINAL = MemoryStorage()
fill(el.create(ORIGINAL, "o"))
FILES = [item.path for item in ORIGINAL.list("")]
KINDS = {
    path: path.split("/")[0] + (f" {n}" if "/" in path else "") for n, path in enumerate(FILES)
}


def test_the_lake_that_is_damaged_here_has_every_kind_of_file():
    assert sorted(path.split("/")[0] for path in FILES) == [
        "hint",
        "lake.json",
        *["log"] * 3,
        *["segments"] * 3,
    ]
    report = verify(ORIGINAL, deep=True)[0]
    assert (report.ok, report.notes, report.commits, report.segments) == (True, (), 3, 3)
    assert report.checkpoint == el.open(ORIGINAL).checkpoint


@pytest.mark.parametrize("number", range(len(FILES)), ids=lambda n: KINDS[FILES[n]])
def test_one_flipped_bit_in_any_byte_of_any_file_is_found_and_the_file_named(number):
    path = FILES[number]
    storage = MemoryStorage()
    storage._objects = dict(ORIGINAL._objects)
    whole = ORIGINAL.read(path)
    missed = []
    for place in range(0, len(whole), scaled(1, 11)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        storage._objects[path] = bytes(damaged)
        if path not in names(verify(storage)[0]):
            missed.append(place)
    assert missed == []


@pytest.mark.parametrize("path", [path for path in FILES if path.startswith("l")], ids=KINDS.get)
def test_a_lake_with_one_flipped_bit_in_its_log_is_not_read(path):
    storage = MemoryStorage()
    storage._objects = dict(ORIGINAL._objects)
    whole = ORIGINAL.read(path)
    for place in range(0, len(whole), scaled(1, 11)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place + 3) % 8
        storage._objects[path] = bytes(damaged)
        with pytest.raises(CorruptionError) as caught:
            el.open(storage).snapshot()
        assert path in caught.value.message


@pytest.mark.parametrize("path", FILES, ids=KINDS.get)
@pytest.mark.parametrize(
    "change", ["cut short", "emptied", "longer", "missing", "replaced by another of its kind"]
)
def test_a_changed_file_is_found_and_named(path, change):
    storage = MemoryStorage()
    storage._objects = dict(ORIGINAL._objects)
    whole = ORIGINAL.read(path)
    del storage._objects[path]
    others = [
        other for other in FILES if other != path and other.split("/")[0] == path.split("/")[0]
    ]
    if change != "missing":
        other = ORIGINAL.read(others[0]) if others else b"{}"
        storage.create(
            path,
            {"cut short": whole[:-1], "emptied": b"", "longer": whole + b"\n"}.get(change, other),
        )
    report = verify(storage)[0]
    if change == "missing" and path == layout.HINT:
        assert (report.ok, report.notes) == (True, ())  # it is advice only
    elif change == "missing" and path == layout.commit_path(2):
        assert names(report) == {
            layout.HINT
        }  # without the hint it would take a checkpoint, see below
        assert [note.path.split("/")[0] for note in report.notes] == ["segments"]
    else:
        assert path in names(report)


def test_a_missing_commit_in_the_middle_is_named_and_the_lake_not_read(storage):
    del storage._objects[layout.commit_path(1)]
    assert layout.commit_path(1) in names(verify(storage)[0])
    with pytest.raises(CorruptionError, match="missing") as caught:
        el.open(storage).snapshot()
    assert caught.value.facts["path"] == layout.commit_path(1)


def test_a_lost_newest_commit_is_noticed_against_a_checkpoint_kept_elsewhere(storage):
    checkpoint = el.open(storage).checkpoint
    del storage._objects[layout.commit_path(2)]
    with pytest.raises(CorruptionError, match="newest commits are lost"):
        el.open(storage)
    assert names(verify(storage)[0]) == {layout.HINT}
    del storage._objects[layout.HINT]
    lake = el.open(storage)
    assert lake.verify().ok
    for against in (checkpoint, str(checkpoint)):
        report = lake.verify(against=against)
        assert not report.ok
        assert "its end is missing" in report.problems[0].message


def test_another_history_of_the_same_length_is_noticed_against_a_checkpoint(storage):
    checkpoint = el.open(storage).checkpoint
    other = el.create("memory://", "o")
    other.append([event(f"other {n}") for n in range(checkpoint.watermark)])
    assert other.verify(deep=True).ok
    assert "another history" in other.verify(against=checkpoint).problems[0].message


def test_a_lake_extends_its_older_checkpoints_and_no_other_lakes(storage):
    lake = el.open(storage)
    checkpoints = [lake.snapshot(n).checkpoint for n in range(lake.watermark + 1)]
    assert all(lake.verify(against=checkpoint).ok for checkpoint in checkpoints)
    stranger = el.Checkpoint("stranger", 0, checkpoints[0].root)
    assert not lake.verify(against=stranger).ok


@pytest.mark.parametrize(
    "path",
    [
        "notes.txt",
        "log/notes.txt",
        "log/7.json",
        f"segments/{'ab' * 32}.parquet",
        "segments/x",
        "lake.json.bak",
    ],
)
def test_an_extra_file_is_named(storage, path):
    storage.create(path, b"mine")
    assert names(verify(storage)[0]) == {path}


def test_left_overs_of_interrupted_appends_are_notes_and_no_problems(storage):
    data = b"a segment that no commit names"
    path = layout.segment_path(sha256_hex(data))
    storage.create(path, data)
    storage.create("segments/.tmp-1-ab", b"half")
    storage.create("log/.tmp-1-ab", b"")
    report = verify(storage, deep=True)[0]
    assert report.ok
    assert {note.path for note in report.notes} == {path, "segments/.tmp-1-ab", "log/.tmp-1-ab"}


def test_one_damaged_file_does_not_hide_another(storage):
    files = {item.path for item in storage.list("")}
    for path in files:
        storage._objects[path] = storage._objects[path][:-2]
    assert names(verify(storage)[0]) == files


def rewrite(storage, number, changes):
    """Commit ``number`` with other values under a checksum that is right again."""
    path = layout.commit_path(number)
    document = unseal(storage.read(path), path)
    storage._objects[path] = seal({**document, **changes})


@pytest.mark.parametrize(
    ("number", "changes", "blamed"),
    [
        (0, {"commit_id": "another"}, 1),
        (1, {"prev": "ab" * 32}, 1),
        (1, {"recorded_at": 0}, 1),
        (1, {"version": 7}, 1),
        (1, {"origin": "another"}, 1),
        (2, {"origin": "another"}, 2),
        (2, {"prev": None}, 2),
    ],
    ids=str,
)
def test_an_edited_commit_breaks_the_chain_though_its_checksum_is_right(
    storage, number, changes, blamed
):
    rewrite(storage, number, changes)
    assert layout.commit_path(blamed) in names(verify(storage)[0])
    with pytest.raises(CorruptionError):
        el.open(storage).snapshot()


def forged(storage, **changes):
    """The newest commit with another description of its segment."""
    path = layout.commit_path(2)
    document = unseal(storage.read(path), path)
    storage._objects[path] = seal({**document, "segments": [document["segments"][0] | changes]})


@pytest.mark.parametrize(
    "changes",
    [
        {"types": {"u": 1}},
        {"time": [0, 0], "undated": 0},
        {"columns": ["id", "source", "type", "data"]},
    ],
    ids=str,
)
def test_a_commit_that_describes_its_segment_wrongly_is_found_by_a_deep_verification(
    storage, changes
):
    forged(storage, **changes)
    report = verify(storage, deep=True)[0]
    assert names(report) == {
        item.path
        for item in storage.list("segments")
        if item.path.split("/")[1][:64] in str(newest(storage))
    }


def newest(storage):
    return unseal(storage.read(layout.commit_path(2)), "x")["segments"]


@pytest.mark.parametrize(
    "changes", [{"bytes": 1}, {"sha256": "ab" * 32}, {"range": ["ab" * 32]}], ids=str
)
def test_a_commit_with_wrong_hashes_or_sizes_is_found_without_looking_deeper(storage, changes):
    forged(storage, **changes)
    assert not verify(storage)[0].ok


def test_events_that_are_not_those_of_the_commits_leaves_are_found_by_a_deep_verification(storage):
    """A segment whose file hash was forged into the commit with it: only the leaves still tell."""
    other = el.create(elsewhere := MemoryStorage(), "o")
    other.append([event("forged")])
    document = unseal(elsewhere.read(layout.commit_path(0)), "x")["segments"][0]
    path = layout.segment_path(document["sha256"])
    storage.create(path, elsewhere.read(path))
    forged(storage, sha256=document["sha256"], bytes=document["bytes"])
    assert verify(storage)[0].ok
    report = verify(storage, deep=True)[0]
    assert names(report) == {path, layout.commit_path(2)}
    assert any("leaves" in finding.message for finding in report.problems)
    assert any("keys" in finding.message for finding in report.problems)


def test_an_id_that_stands_twice_in_the_lake_is_found_by_a_deep_verification(storage, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("eventlake.log.appending.append.find_known", lambda *_: [])
        el.open(storage).append([event("b", data='"again"')])
    report = verify(storage, deep=True)[0]
    assert any("twice" in finding.message for finding in report.problems)


def test_an_id_that_stands_twice_in_one_segment_is_found_by_a_deep_verification(monkeypatch):
    monkeypatch.setattr("eventlake.log.appending.read_events.rule_problems", lambda batch: [])
    lake = el.create("memory://", "o")
    lake.append([event("a"), event("a", data=1)])
    report = lake.verify(deep=True)
    assert any("twice" in finding.message for finding in report.problems)


def test_a_copied_history_that_goes_behind_the_commit_before_it_is_found(monkeypatch):
    lake = el.create("memory://", "o")
    lake.append([event("a", recorded_at="2021-01-01T00:00:00Z")])
    monkeypatch.setattr("eventlake.log.appending.append._clock_problems", lambda *_: [])
    lake.append(
        [
            event("b", recorded_at="2020-01-01T00:00:00Z"),
            event("c", recorded_at="2022-01-01T00:00:00Z"),
        ]
    )
    assert not lake.verify(deep=True).ok


def test_a_stray_commit_with_a_huge_number_does_not_keep_verify_busy_for_ever(storage):
    class Patient(MemoryStorage):
        """Memory that stops whoever reads too often."""

        reads = 0

        def read(self, path):
            """As ``MemoryStorage``, a thousand times."""
            self.reads += 1
            assert self.reads < 1_000
            return super().read(path)

    patient = Patient()
    patient._objects = storage._objects
    patient.create(layout.commit_path(10**12), b"{}")
    assert layout.commit_path(10**12) in names(verify(patient)[0])


def test_a_segment_that_cannot_be_read_is_a_finding_and_the_rest_is_verify(tmp_path):
    lake = fill(el.create(tmp_path / "lake", "o"))
    segment = tmp_path / "lake" / layout.segment_path(lake.log()[0].commit.segments[0].sha256)
    segment.unlink()
    segment.mkdir()
    (tmp_path / "lake" / "log" / "00000000000000000002.json").write_bytes(b"{}")
    report = lake.verify()
    assert layout.commit_path(2) in names(report)
    assert any("segments/" in name for name in names(report))


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def folder(tmp_path):
    fill(el.create(tmp_path / "lake", "o"))
    return tmp_path / "lake"


NEWER = seal({"created": 0, "format": 7, "origin": "o"})


@pytest.mark.parametrize(
    ("path", "content", "error"),
    [
        ("lake.json", b"", CorruptionError),
        ("lake.json", b"{}", CorruptionError),
        ("lake.json", b'{"name": "not a lake"}', CorruptionError),
        ("lake.json", None, NotFoundError),
        ("lake.json", NEWER, UnsupportedFormatError),
        ("log/00000000000000000000.json", b"", CorruptionError),
        ("log/00000000000000000001.json", b"{", CorruptionError),
        ("log/00000000000000000001.json", None, CorruptionError),
        ("log/00000000000000000002.json", b"\x00" * 4096, CorruptionError),
        ("log/00000000000000000002.json", NEWER, UnsupportedFormatError),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_damaged_or_newer_lake_is_not_read_and_nothing_is_written(folder, path, content, error):
    if content is None:
        (folder / path).unlink()
    else:
        (folder / path).write_bytes(content)
    before = contents(folder)
    with pytest.raises(error) as caught:
        el.open(folder).snapshot()
    assert isinstance(caught.value, EventlakeError)
    assert caught.value.hint
    assert path in str(caught.value)
    assert contents(folder) == before


def test_a_lake_json_without_an_origin_is_damaged(tmp_path):
    (tmp_path / "lake.json").write_bytes(seal({"created": 0, "format": 1}))
    with pytest.raises(CorruptionError):
        el.open(tmp_path)


def test_an_open_lake_notices_that_a_new_commit_is_damaged(folder):
    lake = el.open(folder)
    (folder / layout.commit_path(3)).write_bytes(b"{}")
    for call in (
        lake.log,
        lake.snapshot,
        lambda: lake.append([event("x")]),
        lambda: lake.watermark,
    ):
        with pytest.raises(CorruptionError, match="00000000000000000003"):
            call()
    assert (folder / layout.commit_path(3)).read_bytes() == b"{}"


def test_a_folder_that_is_no_lake_is_not_opened_and_stays_as_it_is(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "mine.txt"):
        with pytest.raises(NotFoundError, match="no lake"):
            el.open(path)
    assert contents(tmp_path) == {(tmp_path / "mine.txt").relative_to(tmp_path): b"mine"}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_lake_is_made_once_and_never_overwritten(folder):
    before = contents(folder)
    with pytest.raises(AlreadyExistsError, match="already"):
        el.create(folder, "another")
    assert contents(folder) == before
    assert el.open(folder).origin == "o"


def test_a_folder_with_other_files_is_not_made_a_lake(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "draft.txt").write_text("mine")
    with pytest.raises(AlreadyExistsError, match=r"not empty.*draft\.txt"):
        el.create(tmp_path, "o")
    assert list(contents(tmp_path).values()) == [b"mine"]


def test_a_lake_whose_lake_json_is_lost_is_not_made_anew_over_its_log(folder):
    (folder / "lake.json").unlink()
    with pytest.raises(AlreadyExistsError, match="not empty"):
        el.create(folder, "o")
    assert not (folder / "lake.json").exists()


def test_a_file_is_not_made_a_lake(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(EventlakeError):
        el.create(tmp_path / "file", "o")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_an_empty_folder_becomes_a_lake(tmp_path):
    assert el.create(tmp_path, "o").watermark == 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["lake.json", "reserve"]


def test_an_interrupted_create_can_be_repeated(tmp_path):
    (tmp_path / ".tmp-17-0123456789ab").write_bytes(b'{"che')
    assert el.create(tmp_path, "o").watermark == 0


def test_a_moved_and_a_copied_lake_are_the_same_lake(folder, tmp_path):
    checkpoint = el.open(folder).checkpoint
    shutil.copytree(folder, tmp_path / "copy")
    shutil.move(folder, tmp_path / "moved")
    for place in ("copy", "moved"):
        lake = el.open(tmp_path / place)
        assert lake.checkpoint == checkpoint
        assert lake.verify(deep=True, against=checkpoint).ok


def damage_segment(folder, change):
    segment = folder / layout.segment_path(el.open(folder).log()[0].commit.segments[0].sha256)
    data = segment.read_bytes()
    segment.unlink()
    if change != "missing":
        segment.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("change", ["missing", "cut short"])
def test_a_damaged_segment_is_named_where_its_bytes_are_checked(folder, change):
    lake = el.open(folder)
    damage_segment(folder, change)
    with pytest.raises((CorruptionError, NotFoundError), match="segments/"):
        lake.snapshot().history.check()
    inside = next(n for n in range(lake.watermark) if lake.log()[0].commit.stop > n > 0)
    with pytest.raises((CorruptionError, NotFoundError), match="segments/"):
        lake.snapshot(inside)


checked = checked_read.checked_bytes


def test_a_segment_that_this_process_has_hashed_is_hashed_again_once_it_was_written_to(
    folder, monkeypatch
):
    lake = el.open(folder)
    projection = el.Projection.sql("all", "SELECT sequence, id FROM events", key=["sequence"])
    lake.build(projection)
    hashed = []
    monkeypatch.setattr(
        checked_read,
        "checked_bytes",
        lambda storage, segment: hashed.append(segment) or checked(storage, segment),
    )
    lake.build(projection, force=True)
    assert hashed == []
    path = folder / layout.segment_path(lake.log()[0].commit.segments[0].sha256)
    data, times = bytearray(path.read_bytes()), path.stat()
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(CorruptionError, match="does not match its commit"):
        lake.build(projection, force=True)
    assert len(hashed) == 1


@pytest.mark.parametrize("change", ["missing", "cut short"])
def test_sql_over_a_damaged_segment_is_no_mistake_in_the_query(folder, change):
    lake = el.open(folder)
    damage_segment(folder, change)
    with pytest.raises(EventlakeError) as caught:
        lake.snapshot().sql("select * from events")
    assert not isinstance(caught.value, InvalidInputError)


def test_an_append_that_must_read_a_damaged_segment_says_so_and_commits_nothing(folder):
    known = el.open(folder).snapshot().scan().collect().select("source", "id", "type").to_dicts()
    damage_segment(folder, "cut short")
    lake = el.open(folder)
    with pytest.raises(CorruptionError):
        lake.append(known)
    assert lake.watermark == 5
    assert lake.append([event("x")]).stop == 6


def test_an_orphaned_segment_is_neither_taken_over_nor_touched(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    lake.append([event("a")])
    segment = next((tmp_path / "lake" / "segments").iterdir())
    shutil.rmtree(tmp_path / "lake" / "log")
    (tmp_path / "lake" / "hint").unlink()
    segment.write_bytes(b"torn")
    assert el.open(tmp_path / "lake").append([event("a")]).stop == 1
    assert segment.read_bytes() == b"torn"
    assert names(el.open(tmp_path / "lake").verify(deep=True)) == {f"segments/{segment.name}"}
