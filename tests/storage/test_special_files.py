"""A lake that somebody else wrote may hold links, pipes and devices: they are never followed, never written, never waited for."""

import os
import shutil
import stat
from datetime import timedelta
from hashlib import sha256

import polars as pl
import pytest

import eventlake as el
from eventlake.core.hashing.canonical import seal, unseal
from eventlake.datasets.verifying.verify import verify_lake
from eventlake.errors import CorruptionError, EventlakeError
from eventlake.storage import LocalStorage, SpecialFileError

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
BY_SUBJECT = el.Projection.sql(
    "p", "SELECT subject, count(*) AS n FROM events GROUP BY subject", key=["subject"]
)

pytestmark = pytest.mark.filterwarnings("ignore:could not read builds")


def event(number):
    return {
        "id": str(number),
        "source": "s",
        "type": "t",
        "subject": f"/x/{number % 3}",
        "data": {"n": number},
    }


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "lake"
    lake = el.create(root, "o")
    lake.register("t", SCHEMA)
    lake.append([event(n) for n in range(6)])
    lake.build(BY_SUBJECT)
    lake.snapshot().table("t").collect()
    return root


@pytest.fixture
def outside(tmp_path):
    """A folder outside the lake; whoever touches it is found out."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("x")
    os.utime(folder / "precious", (0, 0))
    yield folder
    assert [path.name for path in folder.rglob("*")] == ["precious"]
    assert (folder / "precious").read_text() == "x"


def use(root):
    """Whatever can be done with a lake, each by itself; gives the errors."""
    verbs = [
        lambda: el.open(root).append([event(100)]),
        lambda: el.open(root).register("u", SCHEMA),
        lambda: el.open(root).snapshot().scan().collect(),
        lambda: el.open(root).snapshot().sql('SELECT count(*) FROM events, "t"').polars(),
        lambda: el.open(root).snapshot().table("t").collect(),
        lambda: el.open(root).build(BY_SUBJECT, force=True),
        lambda: [dataset.polars() for dataset in el.open(root).datasets()],
        lambda: [
            el.open(root).tag(dataset.manifest_hash, dataset.name)
            for dataset in el.open(root).datasets()[:1]
        ],
        lambda: [
            el.open(root).reproduce(dataset.manifest_hash) for dataset in el.open(root).datasets()
        ],
        lambda: el.open(root).compact(),
        lambda: el.open(root).gc(older_than=timedelta(0), dry_run=False),
        lambda: el.open(root).prune(older_than=timedelta(0), keep_last=0, dry_run=False),
    ]
    errors = []
    for verb in verbs:
        try:
            verb()
        except EventlakeError as error:
            errors.append(error)
    return errors


FOLDERS = ["log", "segments", "keys", "manifests", "schemas", "tables", "recipes", "builds", "tags"]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_a_link_is_neither_read_nor_written_nor_emptied(root, outside, name):
    shutil.rmtree(root / name, ignore_errors=True)
    (root / name).symlink_to(outside)
    errors = use(root)
    report = verify_lake(LocalStorage(root), deep=True)
    assert name in {problem.path for problem in report.problems}
    assert not report.ok
    assert (root / name).readlink() == outside
    if name not in {"keys", "manifests"}:  # a lake this young needs neither
        assert any(
            isinstance(error, SpecialFileError) and "found a symbolic link" in error.message
            for error in errors
        )


@pytest.mark.parametrize("name", ["segments", "tables/t", "builds/p"])
def test_a_folder_moved_out_of_the_lake_and_linked_is_not_read(root, tmp_path, name):
    found = next(
        path
        for path in sorted(root.rglob("*"))
        if path.is_dir() and path.relative_to(root).as_posix().startswith(name[:9])
    )
    moved = tmp_path / "moved"
    found.rename(moved)
    found.symlink_to(moved)
    before = {path: path.stat().st_mtime_ns for path in moved.rglob("*")}
    errors = use(root)
    assert {path: path.stat().st_mtime_ns for path in moved.rglob("*")} == before
    assert any(isinstance(error, SpecialFileError) for error in errors)


@pytest.mark.parametrize("kind", ["link", "pipe", "device", "socket"])
@pytest.mark.parametrize(
    "pattern",
    [
        "lake.json",
        "hint",
        "log/*",
        "segments/*",
        "schemas/*",
        "tables/*/*/*",
        "builds/*/*/*.json",
        "builds/*/*/*/*.parquet",
    ],
)
def test_a_special_file_in_place_of_a_file_is_reported_and_neither_read_nor_waited_for(
    root, tmp_path, pattern, kind
):
    victim = next(root.glob(pattern))
    kept = tmp_path / "kept"
    victim.rename(kept)
    before = kept.read_bytes()
    put(victim, kept, kind)
    with pytest.raises(SpecialFileError, match="expected regular files and folders, found"):
        LocalStorage(root).read(victim.relative_to(root).as_posix())
    report = verify_lake(LocalStorage(root), deep=True)
    assert victim.relative_to(root).as_posix() in " ".join(
        f"{one.path} {one.message}" for one in (*report.problems, *report.notes)
    )
    for error in use(root):
        assert isinstance(error, EventlakeError)
    assert kept.read_bytes() == before


def put(victim, kept, kind):
    if kind == "link":
        victim.symlink_to(kept)
    elif kind == "pipe":
        os.mkfifo(victim)
    elif kind == "device":
        victim.symlink_to("/dev/zero")
    else:
        os.mknod(victim, stat.S_IFSOCK | 0o600)


def test_a_hint_that_is_a_link_is_ignored_and_replaced_and_its_target_kept(root, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    (root / "hint").unlink()
    (root / "hint").symlink_to(secret)
    lake = el.open(root)
    assert lake.watermark == 6
    assert lake.append([event(6)]).stop == 7
    assert secret.read_text() == "s3cret"
    assert not (root / "hint").is_symlink()


def test_the_folder_of_the_lake_may_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert use(tmp_path / "link") == []
    assert el.open(root).verify(deep=True).ok


@pytest.mark.parametrize(
    ("path", "most"),
    [("hint", 1 << 16), ("lake.json", 1 << 16), ("log/00000000000000000000.json", 1 << 26)],
)
def test_a_document_larger_than_any_of_its_kind_is_refused_before_it_is_read(root, path, most):
    with (root / path).open("r+b") as file:
        file.truncate(1 << 40)  # sparse: a terabyte in no memory
    with pytest.raises(
        CorruptionError, match=f"expected at most {most:,} bytes, found 1,099,511,627,776"
    ):
        LocalStorage(root).read(path)
    report = verify_lake(LocalStorage(root))
    assert path in {one.path for one in (*report.problems, *report.notes)}


@pytest.mark.parametrize(
    "pattern",
    [
        "segments/*",
        "schemas/*",
        "keys/*",
        "builds/d/*/*/part-*",
        "builds/d/*/*/spine.parquet",
        "builds/d/*/*/source/*",
    ],
)
def test_a_file_longer_than_what_was_recorded_of_it_is_refused_before_it_is_read(root, pattern):
    lake = el.open(root)
    lake.append([event(n) for n in range(10, 710)])  # so many that their keys are a file
    spine = pl.DataFrame({"subject": ["/x/0"]})
    lake.build(
        el.Projection.sql("d", "SELECT subject, spine_row FROM spine", key=["subject"]), spine=spine
    )
    (path,) = sorted(root.glob(pattern))[:1]
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    errors = use(root)
    report = verify_lake(LocalStorage(root), deep=True)
    assert path.relative_to(root).as_posix() in {one.path for one in report.problems}
    told = [error.message for error in errors] + [problem.message for problem in report.problems]
    assert any("bytes, found 1,099,511,627,776" in one for one in told)


@pytest.mark.parametrize(
    "pattern", ["builds/d/*/*/part-*", "builds/d/*/*/spine.parquet", "builds/d/*/*/source/*"]
)
def test_a_file_of_holes_is_refused_before_it_is_read_though_its_size_is_recorded(root, pattern):
    lake = el.open(root)
    spine = pl.DataFrame({"subject": ["/x/0"]})
    dataset = lake.build(
        el.Projection.sql("d", "SELECT subject, spine_row FROM spine", key=["subject"]), spine=spine
    )
    (path,) = root.glob(pattern)
    (provenance,) = root.glob("builds/d/*/*/provenance.json")
    said = unseal(provenance.read_bytes(), "")
    said["files"][path.relative_to(provenance.parent).as_posix()]["bytes"] = 1 << 40
    provenance.write_bytes(seal(said))
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    name = path.relative_to(root).as_posix()
    message = f"{name} is damaged: expected 1,099,511,627,776 bytes of data, found a file that is nearly all holes"
    for deep in (False, True):
        report = verify_lake(LocalStorage(root), deep=deep)
        assert [(one.path, one.message) for one in report.problems] == [(name, message)]
    with pytest.raises(CorruptionError, match="nearly all holes"):
        el.open(root).dataset(dataset.manifest_hash).polars() if "part" in pattern else el.open(
            root
        ).reproduce(dataset.manifest_hash)


def test_a_large_file_is_read_whatever_holes_it_has_if_a_64th_of_it_is_data(tmp_path):
    """A copy can leave holes for zeros."""
    with (tmp_path / "x").open("wb") as file:
        file.truncate(100 << 20)
        for place in (10, 50):
            file.seek(place << 20)
            file.write(b"x" * (1 << 20))
    assert LocalStorage(tmp_path).read_ranges("x", [((10 << 20) - 1, (10 << 20) + 1)]) == [b"\0x"]
    assert (
        sha256(LocalStorage(tmp_path).read_sized("x", 100 << 20)).hexdigest()
        == sha256((tmp_path / "x").read_bytes()).hexdigest()
    )
    with (tmp_path / "x").open("r+b") as file:
        file.truncate(200 << 20)
    with pytest.raises(CorruptionError, match="nearly all holes"):
        LocalStorage(tmp_path).read_ranges("x", [(0, 1)])


def test_what_is_in_a_lake_without_being_named_is_hashed_in_pieces(root, monkeypatch):
    data = bytes(range(256)) * 10
    named, other = f"segments/{sha256(data).hexdigest()}.parquet", f"segments/{'0' * 64}.parquet"
    for path in (named, other):
        (root / path).write_bytes(data)
    reads = []
    monkeypatch.setattr(
        LocalStorage,
        "read",
        lambda self, path, read=LocalStorage.read: reads.append(path) or read(self, path),
    )
    storage = LocalStorage(root)
    storage.piece_bytes = 1_000
    report = verify_lake(storage)
    assert [problem.path for problem in report.problems] == [other]
    assert named in {note.path for note in report.notes}
    assert {named, other}.isdisjoint(reads)


def test_a_special_file_among_the_schemas_is_a_finding_like_others(root, outside):
    path = f"schemas/{'0' * 64}.json"
    (root / path).symlink_to(outside / "precious")
    report = verify_lake(LocalStorage(root), deep=True)
    assert [problem.path for problem in report.problems] == [path]


def test_folders_nested_without_end_are_an_error_and_no_recursion(tmp_path):
    deep = tmp_path / "lake" / "/".join(["d"] * 900)
    deep.mkdir(parents=True)
    with pytest.raises(EventlakeError, match="expected folders at most 64 deep"):
        list(LocalStorage(tmp_path / "lake").list(""))
