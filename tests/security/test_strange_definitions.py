"""A dataset definition that somebody else wrote reads and writes nothing outside of its folder."""

import os
import threading

import pytest

import eventlake as el
from eventlake.cli.application import main
from eventlake.errors import InvalidProjectionError, StorageError
from tests.support.dataset_fixtures import definition, make_lake

TOML = 'name = "d"\nkey = ["subject"]\n'
COUNTS = "SELECT subject, count(*) AS n FROM events GROUP BY subject"
SPINE = "SELECT subject, spine_row FROM spine"
PRIVATE = "SELECT 'secret' AS subject, 1 AS n"


@pytest.fixture
def lake(tmp_path):
    return make_lake(tmp_path / "lake")


@pytest.fixture
def outside(tmp_path):
    """Files that a definition must not reach."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.sql").write_text(PRIVATE)
    (folder / "secret.csv").write_text("subject\nsecret\n")
    return folder


@pytest.mark.parametrize(
    "setting",
    [
        'sql = "{}/secret.sql"',
        'sql = "q.sql"\nfiles = ["{}/secret.sql"]',
        'sql = "s.sql"\nspine = "{}/secret.csv"',
    ],
)
@pytest.mark.parametrize("way", ["absolute", "..", "a linked folder"])
def test_a_definition_names_no_file_outside_of_its_folder(lake, tmp_path, outside, setting, way):
    prefix = {"absolute": str(outside), "..": "../outside", "a linked folder": "linked"}[way]
    folder = definition(tmp_path / "d", TOML + setting.format(prefix), q__sql=COUNTS, s__sql=SPINE)
    (folder / "linked").symlink_to(outside)
    with pytest.raises(InvalidProjectionError, match="which cannot be read") as caught:
        lake.build(el.read_definition(folder))
    assert f"a regular file below {folder}" in caught.value.hint
    assert lake.datasets() == []


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ('sql = "x.sql"', "x.sql"),
        ('sql = "q.sql"\nfiles = ["x.txt"]', "x.txt"),
        ('sql = "q.sql"\nschema = "x.py:S"', "x.py"),
        ('sql = "s.sql"\nspine = "x.sql"', "x.sql"),
        ('sql = "s.sql"\nspine = "x.csv"', "x.csv"),
        ('sql = "s.sql"\nspine = "x.parquet"', "x.parquet"),
    ],
)
@pytest.mark.parametrize("found", ["a symbolic link", "a pipe"])
def test_a_file_of_a_definition_is_a_regular_file(lake, tmp_path, outside, setting, name, found):
    folder = definition(tmp_path / "d", TOML + setting, q__sql=COUNTS, s__sql=SPINE)
    if found == "a pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to(outside / ("secret.csv" if name == "x.csv" else "secret.sql"))
    problems = []

    def build():
        with pytest.raises(InvalidProjectionError) as caught:
            lake.build(el.read_definition(folder))
        problems.append(caught.value.message)

    thread = threading.Thread(target=build, daemon=True)
    thread.start()
    thread.join(60)
    assert problems == [f"{folder}/dataset.toml names {name}, which cannot be read: found {found}"]


@pytest.mark.parametrize("name", ["dataset.toml", "dataset.lock"])
@pytest.mark.parametrize("found", ["a symbolic link", "a pipe"])
def test_a_definition_and_its_lock_are_read_from_regular_files(
    lake, tmp_path, outside, name, found
):
    folder = definition(tmp_path / "d", f'{TOML}sql = "q.sql"', q__sql=COUNTS)
    (folder / name).unlink(missing_ok=True)
    if found == "a pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).symlink_to(outside / "secret.sql")
    with pytest.raises(StorageError, match=rf"{name} cannot be read: found {found}"):
        lake.build(el.read_definition(folder), locked=True)


def test_a_lock_that_is_a_link_is_not_written_through(lake, tmp_path, outside, capsys):
    folder = definition(tmp_path / "d", f'{TOML}sql = "q.sql"', q__sql=COUNTS)
    (folder / "dataset.lock").symlink_to(outside / "secret.sql")
    with pytest.raises(SystemExit) as ended:
        main(["build", str(folder), "--lake", str(tmp_path / "lake"), "--no-check"])
    assert ended.value.code == 3
    assert "dataset.lock cannot be written: found a symbolic link" in capsys.readouterr().err
    assert (outside / "secret.sql").read_text() == PRIVATE
    assert sorted(path.name for path in outside.iterdir()) == ["secret.csv", "secret.sql"]


@pytest.mark.parametrize(
    ("setting", "name", "problem"),
    [
        ('sql = "q.sql"\nfiles = ["x.txt"]', "x.txt", "expected at most 16,777,216 bytes"),
        (
            'sql = "s.sql"\nspine = "x.csv"',
            "x.csv",
            r"expected the spine as a \.csv or \.parquet file, found .*x\.csv, which is text in",
        ),
    ],
)
def test_a_sparse_file_of_a_terabyte_is_refused_before_it_is_read(
    lake, tmp_path, setting, name, problem
):
    folder = definition(tmp_path / "d", TOML + setting, q__sql=COUNTS, s__sql=SPINE)
    with (folder / name).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InvalidProjectionError, match=problem):
        lake.build(el.read_definition(folder))


def test_files_in_folders_of_a_definition_are_read_and_their_lines_end_alike_on_every_system(
    lake, tmp_path
):
    folder = definition(tmp_path / "d", f'{TOML}sql = "sub/q.sql"\nfiles = ["sub/note.txt"]')
    (folder / "sub").mkdir()
    (folder / "sub" / "q.sql").write_bytes(COUNTS.replace(" FROM", "\r\nFROM").encode())
    (folder / "sub" / "note.txt").write_bytes(b"a\rb\r\nc\n")
    projection = el.read_definition(folder).projection()
    assert projection.sources == {
        "sub/q.sql": COUNTS.replace(" FROM", "\nFROM"),
        "sub/note.txt": "a\nb\nc\n",
    }
    assert lake.build(projection).manifest.rows == 5
