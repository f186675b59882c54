"""``verify`` finds every flipped byte, every missing and every extra file of a published dataset."""

import json
import shutil

import polars as pl
import pytest

import eventlake as el
from eventlake.columns.hashing.content import content_hash
from eventlake.datasets.verifying.verify import verify_lake
from eventlake.storage import LocalStorage, MemoryStorage
from tests.scope import scaled
from tests.support.dataset_fixtures import attempt, events, make_lake, sql

PROJECTION = sql(
    "SELECT spine_row AS k, loan, count(events.id) AS n FROM spine LEFT JOIN events ON subject = loan GROUP BY ALL"
)
SPINE = pl.DataFrame({"loan": ["/loan/1", "/loan/2", "/loan/3"]})


class Overlaid(MemoryStorage):
    """A copy of a storage in which single files can be replaced or taken away."""

    def __init__(self, objects):
        super().__init__()
        self._objects = dict(objects)

    def put(self, path, data):
        if data is None:
            self._objects.pop(path, None)
        else:
            self._objects[path] = data


@pytest.fixture(scope="module")
def published():
    """The objects of a lake with one dataset, and the paths of the dataset's files."""
    storage = MemoryStorage()
    dataset = make_lake(storage, [(0, 6)]).build(PROJECTION, spine=SPINE)
    objects = {item.path: storage.read(item.path) for item in storage.list("")}
    return objects, sorted(path for path in objects if path.startswith(dataset.path))


def name_of(path):
    """A file's name in its attempt's folder, or in the dataset's."""
    return path.split("/", 3)[3].partition("/")[2] or path.split("/", 3)[3]


def verified(objects, path, data, *, deep=False):
    storage = Overlaid(objects)
    storage.put(path, data)
    lake = el.open(storage)
    return lake.verify(deep=deep)


def test_the_dataset_as_published_has_no_problem(published):
    objects, files = published
    report = verified(objects, "", None, deep=True)
    assert (report.ok, report.datasets, report.notes) == (True, 1, ())
    assert [name_of(path)[:10] for path in files] == [
        "part-00000",
        "provenance",
        "source/que",
        "spine.parq",
        "manifest.j",
    ]


@pytest.mark.parametrize("index", range(5))
def test_every_flipped_byte_is_found_and_its_file_named(published, index):
    objects, files = published
    path = files[index]
    data = objects[path]
    step = scaled(1 if len(data) < 1200 else 3, 23)
    for position in range(0, len(data), step):
        flipped = (
            data[:position] + bytes([data[position] ^ (1 << position % 8)]) + data[position + 1 :]
        )
        report = verified(objects, path, flipped)
        assert not report.ok, position
        assert path in {problem.path for problem in report.problems}, position


@pytest.mark.parametrize("index", range(5))
def test_a_truncated_emptied_or_foreign_file_is_found(published, index):
    objects, files = published
    path = files[index]
    for data in (
        b"",
        objects[path][:-1],
        objects[path] + b"\n",
        b'{"format":0}',
        b'{"format":0,"output":5,"recipe":[]}',
        b"\xff\xfe",
    ):
        report = verified(objects, path, data)
        assert not report.ok, data
        assert any(problem.path == path for problem in report.problems), data


@pytest.mark.parametrize("data", [b"null", b"[]", b"5", b'"x"'])
def test_a_manifest_that_is_no_object_is_found(published, data):
    objects, files = published
    report = verified(objects, files[-1], data)
    assert [problem.path for problem in report.problems] == [files[-1]]


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_a_missing_file_is_found_and_named(published, index):
    objects, files = published
    report = verified(objects, files[index], None)
    assert [problem.path for problem in report.problems] == [files[index]]


def test_a_dataset_whose_manifest_is_gone_is_found(published):
    objects, files = published
    report = verified(objects, files[-1], None)
    assert [(problem.path, problem.message.split(";")[0]) for problem in report.problems] == [
        (files[-1], "missing")
    ]
    assert report.datasets == 0


@pytest.mark.parametrize(
    "name",
    ["extra.txt", "part-00001-0123456789ab.parquet", "source/other.sql", "notes/x", "part-x"],
)
@pytest.mark.parametrize("beside", [0, -1], ids=["the rows", "the manifest"])
def test_an_extra_file_in_a_dataset_is_found(published, name, beside):
    objects, files = published
    path = f"{files[beside].rpartition('/')[0]}/{name}"
    report = verified(objects, path, b"stranger")
    assert [problem.path for problem in report.problems] == [path]


@pytest.mark.parametrize(
    "path",
    [
        "builds/x",
        "builds/made/x",
        "builds/made/0123456789AB/manifest.json",
        "builds/Made/0123456789ab/manifest.json",
    ],
)
def test_an_extra_file_below_builds_is_found(published, path):
    report = verified(published[0], path, b"stranger")
    assert [problem.path for problem in report.problems] == [path]


def test_a_dataset_moved_to_another_hash_is_found(published):
    objects, files = published
    moved = {path.replace(files[0].split("/")[2], "0" * 12): data for path, data in objects.items()}
    report = el.open(Overlaid(moved)).verify()
    assert [problem.path for problem in report.problems] == [
        f"builds/made/{'0' * 12}/manifest.json"
    ]


def test_a_dataset_moved_to_another_name_is_found(published):
    objects, _ = published
    moved = {path.replace("builds/made/", "builds/other/"): data for path, data in objects.items()}
    assert not el.open(Overlaid(moved)).verify().ok


@pytest.mark.parametrize("character", [b"e", b"."])
def test_a_number_that_became_a_float_is_found(character):
    storage = MemoryStorage()
    lake = make_lake(storage)
    dataset = lake.build(sql("SELECT unnest(range(111)) AS k"))
    objects = {item.path: storage.read(item.path) for item in storage.list("")}
    path = f"{dataset.path}/manifest.json"
    changed = objects[path].replace(b'"rows":111', b'"rows":1' + character + b"1")
    assert changed != objects[path]
    report = verified(objects, path, changed)
    assert [problem.path for problem in report.problems] == [path]


def test_deep_verification_hashes_rows_again(published):
    objects, _ = published
    report = verified(objects, "", None, deep=True)
    assert report.deep
    assert report.ok


def test_a_dataset_of_another_history_is_found(published):
    objects, files = published
    other = MemoryStorage()
    el.create(other, origin="tests.eventlake/loans").append(events(6, 50))
    mixed = {item.path: other.read(item.path) for item in other.list("")} | {
        path: objects[path] for path in files
    }
    report = el.open(Overlaid(mixed)).verify()
    assert [problem.path for problem in report.problems] == [files[-1]]
    assert "another history" in report.problems[0].message


def test_one_damaged_dataset_does_not_hide_another(tmp_path):
    lake = make_lake(tmp_path / "lake")
    paths = [attempt(lake.build(sql("SELECT 1 AS k", name=name))) for name in ("a", "b", "c")]
    for path in (paths[0], paths[2]):
        shutil.rmtree(path / "source")
    report = lake.verify(deep=True)
    assert [problem.path.split("/")[1] for problem in report.problems] == ["a", "c"]
    assert report.datasets == 3


def test_provenance_of_another_dataset_is_found(tmp_path):
    lake = make_lake(tmp_path / "lake")
    one, other = (attempt(lake.build(sql(f"SELECT {n} AS k", name="made"))) for n in (1, 2))
    (one / "provenance.json").chmod(0o640)
    shutil.copy(other / "provenance.json", one / "provenance.json")
    report = lake.verify()
    assert any("belongs to another manifest" in problem.message for problem in report.problems)


def test_provenance_tells_where_and_with_what_a_dataset_was_built(tmp_path):
    lake = make_lake(tmp_path / "lake")
    dataset = lake.build(PROJECTION, spine=SPINE)
    document = json.loads((attempt(dataset) / "provenance.json").read_bytes())
    assert set(document["versions"]) >= {
        "duckdb",
        "polars",
        "pyarrow",
        "eventlake",
        "pandera",
        "numpy",
    }
    assert document["commit_hash"] == lake.log()[-1].commit_hash
    assert {name[:10] for name in document["files"]} == {"part-00000", "spine.parq", "source/que"}
    assert (
        content_hash(pl.read_parquet(attempt(dataset) / "part-*.parquet").to_arrow())
        == dataset.content_hash
    )


def test_tags_are_read_twice_however_many_folders_have_no_manifest(tmp_path, monkeypatch):
    """Once as tags, once to tell what was published; half a megabyte of both took minutes."""
    lake = el.create(tmp_path / "lake", "o")
    lake.append([{"id": "1", "source": "s", "type": "t", "subject": "/a"}])
    dataset = lake.build(el.Projection.sql("d", "SELECT subject FROM events", key=["subject"]))
    for number in range(5):
        lake.tag(dataset.manifest_hash, f"tag-{number}")
    for number in range(20):
        folder = tmp_path / "lake" / "builds" / "d" / f"{number:012x}" / "0123456789abcdef"
        folder.mkdir(parents=True)
        (folder / "provenance.json").write_bytes(b"what somebody put here")
    read, real = [], LocalStorage.read
    monkeypatch.setattr(
        LocalStorage, "read", lambda self, path: read.append(path) or real(self, path)
    )
    report = verify_lake(LocalStorage(tmp_path / "lake"))
    assert len(report.notes) + len(report.problems) >= 20
    assert sum(path.startswith("tags/") for path in read) == 10
