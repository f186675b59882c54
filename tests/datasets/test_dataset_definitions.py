"""A dataset definition's folder and its lock."""

import tomllib
from dataclasses import replace

import pandera.polars  # noqa: F401 - the definitions below name it
import polars as pl
import pytest

import eventlake as el
from eventlake.cli.application import main
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.datasets.definitions.lock import Lock
from eventlake.errors import (
    InvalidInputError,
    InvalidProjectionError,
    NotFoundError,
    NotIdenticalError,
    SchemaMismatchError,
    UnsupportedFormatError,
)
from tests.support.dataset_fixtures import definition, events, make_lake

TOML = 'name = "counts"\nkey = ["loan"]\n'
SQL = "SELECT subject AS loan, count(*) AS n FROM events GROUP BY subject"
PYTHON = """
import polars as pl

def counts(snapshot):
    return snapshot.scan().group_by(pl.col("subject").alias("loan")).agg(pl.len().cast(pl.Int64).alias("n"))
"""
SCHEMA = """
import pandera.polars as pa

class Counts(pa.DataFrameModel):
    loan: str
    n: int = pa.Field(ge=1)
"""
BOTH = TOML + 'sql = "counts.sql"\npython = "counts.py:counts"\nschema = "schema.py:Counts"\n'


@pytest.fixture
def lake(tmp_path):
    return make_lake(tmp_path / "lake")


@pytest.fixture
def folder(tmp_path):
    return definition(
        tmp_path / "datasets" / "counts",
        BOTH,
        counts__sql=SQL,
        counts__py=PYTHON,
        schema__py=SCHEMA,
    )


def command(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_both_engines_of_a_definition_make_the_same_rows(lake, folder):
    described = el.read_definition(folder)
    by_sql, by_polars = lake.build(described), lake.build(described, engine="polars")
    assert by_sql.manifest.recipe.engine == "duckdb"
    assert by_polars.manifest.recipe.engine == "polars"
    assert by_sql.content_hash == by_polars.content_hash
    assert by_sql.manifest_hash != by_polars.manifest_hash


def test_the_engine_named_in_the_definition_is_the_default(lake, folder):
    (folder / "dataset.toml").write_text(BOTH + 'engine = "polars"\n')
    assert lake.build(el.read_definition(folder)).manifest.recipe.engine == "polars"


def test_a_folder_without_a_definition_is_not_found(tmp_path):
    for path in (tmp_path, tmp_path / "nope"):
        with pytest.raises(NotFoundError, match=r"no dataset\.toml"):
            el.read_definition(path)


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        (TOML + 'sql = "q.sql"\nspline = "x"\n', "unknown settings spline"),
        (TOML + 'sql = "q.sql"\nA = 1\nb = 2\n', "unknown settings A, b"),
        ('key = ["loan"]\nsql = "q.sql"\n', "missing settings name"),
        ('name = "counts"\n', "missing settings key"),
        ("", "missing settings key, name"),
        (TOML + 'key = "twice"', "not TOML"),
        ("what is this", "not TOML"),
        ('name = "counts"\nkey = "loan"\n', "expected key .*found .loan."),
    ],
)
def test_a_definition_that_is_not_usable_is_refused_with_its_file(tmp_path, toml, problem):
    folder = definition(tmp_path / "d", toml, q__sql=SQL)
    with pytest.raises(InvalidProjectionError, match=problem) as caught:
        el.read_definition(folder)
    assert str(folder / "dataset.toml") in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    folder = definition(tmp_path / "d", TOML)
    (folder / "dataset.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(InvalidProjectionError, match="not TOML"):
        el.read_definition(folder)


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ("", "nothing to run"),
        ('engine = "polars"\nsql = "q.sql"', "nothing to run on 'polars'"),
        ('engine = "spark"\nsql = "q.sql"', "nothing to run on 'spark'"),
        ('sql = "nope.sql"', r"nope\.sql, which cannot be read"),
        ('python = "nope.py:f"', r"nope\.py, which cannot be read"),
        ('python = "p.py"', "no ''"),
        ('python = "p.py:nope"', "no 'nope'"),
        ('sql = "q.sql"\nfiles = ["nope.csv"]', r"nope\.csv, which cannot be read"),
        ('sql = "q.sql"\nschema = "nope.py:S"', r"nope\.py, which cannot be read"),
        ('sql = "q.sql"\nspine = "nope.sql"', r"nope\.sql, which cannot be read"),
        ('sql = "q.sql"\nspine = "nope.parquet"', r"nope\.parquet, which cannot be read"),
        ('sql = "q.sql"\nspine = "nope.csv"', r"nope\.csv, which cannot be read"),
        ('sql = "q.sql"\nspine = "q.txt"', r"\.sql, \.parquet or \.csv"),
        ('sql = "q.sql"\nspine = "p.py"', r"\.sql, \.parquet or \.csv"),
        ('sql = "q.sql"\nlevel = "best"', "level"),
        ('sql = "q.sql"\nparameters = {w = 1.5}', "parameter w"),
        (
            'sql = "../q.sql"',
            r"\.\./q\.sql, which cannot be read: expected a file below the folder",
        ),
    ],
)
def test_what_a_definition_names_must_be_there_and_be_usable(lake, tmp_path, extra, problem):
    folder = definition(tmp_path / "datasets" / "d", TOML + extra, q__sql=SQL, p__py=PYTHON)
    (tmp_path / "datasets" / "q.sql").write_text(SQL)
    with pytest.raises(InvalidProjectionError, match=problem):
        lake.build(el.read_definition(folder))
    assert lake.datasets() == []


@pytest.mark.parametrize(
    "extra",
    [
        "files = [5]",
        'files = "x"',
        "parameters = 5",
        "spine = 5",
        "lake = 5",
        "schema = 5",
        "level = 5",
        "engine = 5",
        "python = 5",
    ],
)
def test_a_setting_of_the_wrong_type_is_refused(tmp_path, extra):
    folder = definition(tmp_path / "d", f'{TOML}sql = "q.sql"\n{extra}\n', q__sql=SQL)
    with pytest.raises(InvalidProjectionError, match=f"expected {extra.split()[0]} .*found"):
        el.read_definition(folder)


@pytest.mark.parametrize("text", ["def f(:\n", "import there_is_no_such_module_of_dataset\n"])
def test_python_that_cannot_be_loaded_is_refused_by_file(lake, tmp_path, text):
    folder = definition(tmp_path / "d", TOML + 'python = "bad.py:f"\n', bad__py=text)
    with pytest.raises(InvalidProjectionError, match=r"bad\.py"):
        lake.build(el.read_definition(folder))


def test_rows_that_break_the_definitions_schema_are_refused(lake, folder):
    (folder / "schema.py").write_text(SCHEMA.replace("ge=1", "ge=100"))
    with pytest.raises(SchemaMismatchError, match="column n"):
        lake.build(el.read_definition(folder))
    assert lake.datasets() == []


def test_a_definitions_parameters_can_be_set(lake, tmp_path):
    text = "SELECT sequence AS loan FROM events WHERE sequence >= $first"
    described = el.read_definition(
        definition(tmp_path / "d", TOML + 'sql = "q.sql"\n[parameters]\nfirst = 10\n', q__sql=text)
    )
    assert lake.build(described).polars()["loan"].to_list() == [10, 11]
    assert lake.build(described, parameters={"first": 11}).polars()["loan"].to_list() == [11]


@pytest.mark.parametrize("form", ["sql", "parquet", "csv"])
def test_a_spine_is_a_query_or_a_file(lake, tmp_path, form):
    folder = definition(
        tmp_path / "d",
        f'{TOML}sql = "q.sql"\nspine = "s.{form}"\n',
        q__sql="SELECT loan, spine_row FROM spine",
    )
    rows = pl.DataFrame({"loan": ["/loan/0", "/loan/1"]})
    if form == "sql":
        (folder / "s.sql").write_text(
            "SELECT DISTINCT subject AS loan FROM events WHERE subject <= '/loan/1' ORDER BY loan"
        )
    elif form == "parquet":
        rows.write_parquet(folder / "s.parquet")
    else:
        rows.write_csv(folder / "s.csv")
    dataset = lake.build(el.read_definition(folder))
    assert dataset.polars().rows() == [("/loan/0", 0), ("/loan/1", 1)]
    assert dataset.manifest.recipe.spine.rows == 2


def test_a_spine_query_reads_the_history_that_is_built_and_no_files(lake, tmp_path):
    folder = definition(
        tmp_path / "d", f'{TOML}sql = "q.sql"\nspine = "s.sql"\n', q__sql="SELECT loan FROM spine"
    )
    (folder / "s.sql").write_text("SELECT id AS loan FROM events")
    assert lake.build(el.read_definition(folder), at=3).polars()["loan"].to_list() == [
        "e0",
        "e1",
        "e2",
    ]
    (folder / "s.sql").write_text(f"SELECT content AS loan FROM read_text('{folder}/q.sql')")
    with pytest.raises(InvalidProjectionError, match="its spine"):
        lake.build(el.read_definition(folder))


def test_a_spine_given_by_the_caller_goes_before_the_definitions(lake, tmp_path):
    folder = definition(
        tmp_path / "d",
        f'{TOML}sql = "q.sql"\nspine = "nope.sql"\n',
        q__sql="SELECT loan FROM spine",
    )
    assert lake.build(el.read_definition(folder), spine=pl.DataFrame({"loan": ["x"]})).polars()[
        "loan"
    ].to_list() == ["x"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("../../lake", "lake"),
        ("file:///x/y", None),
        ("file:/x", None),
        ("S3://b/x", None),
        ("memory://", None),
    ],
)
def test_lake_in_a_definition_is_relative_to_its_folder_unless_it_is_a_uri(
    tmp_path, said, expected
):
    folder = definition(tmp_path / "datasets" / "counts", f'{TOML}sql = "q.sql"\nlake = "{said}"\n')
    assert el.read_definition(folder).lake == (str(tmp_path / expected) if expected else said)


# The lock


def test_the_command_writes_a_lock_that_names_the_dataset(lake, folder):
    assert command("build", folder, "--lake", lake.uri) == 0
    (dataset,) = lake.datasets()
    document = tomllib.loads((folder / "dataset.lock").read_text())
    assert document == {
        "format": 1,
        "name": "counts",
        "checkpoint": str(lake.checkpoint),
        "engine": f"duckdb {dataset.manifest.recipe.engine_version}",
        "rows": 5,
        "content_hash": dataset.content_hash,
        "recipe_hash": dataset.recipe_hash,
        "manifest_hash": dataset.manifest_hash,
    }


def test_a_lock_read_back_is_the_lock_that_was_written(lake, folder):
    lock = Lock.of(lake.build(el.read_definition(folder)))
    (folder / "dataset.lock").write_text(lock.text())
    assert Lock.read(folder) == lock


@pytest.mark.parametrize("origin", ['a"b\\c/ü', "日本/loans", "x" * 200])
def test_a_lock_keeps_any_origin(tmp_path, origin):
    lock = Lock(
        "a", Checkpoint(origin, 5, "0" * 64), "duckdb 2.0.0", 3, "1" * 64, "2" * 64, "3" * 64
    )
    (tmp_path / "dataset.lock").write_text(lock.text(), encoding="utf-8")
    assert Lock.read(tmp_path) == lock


def test_no_lock_writes_none_and_locked_leaves_it_alone(lake, folder):
    assert command("build", folder, "--lake", lake.uri, "--no-lock") == 0
    assert not (folder / "dataset.lock").exists()
    assert command("build", folder, "--lake", lake.uri) == 0
    written = (folder / "dataset.lock").read_bytes()
    lake.append(events(8, 12))
    assert command("build", folder, "--lake", lake.uri, "--locked") == 0
    assert (folder / "dataset.lock").read_bytes() == written


def test_locked_rebuilds_what_was_locked_after_the_lake_moved_on(lake, folder):
    dataset = lake.build(el.read_definition(folder))
    (folder / "dataset.lock").write_text(Lock.of(dataset).text())
    lake.append(events(8, 12))
    again = lake.build(el.read_definition(folder), locked=True)
    assert (again.manifest_hash, again.watermark) == (dataset.manifest_hash, 12)
    on_polars = lake.build(el.read_definition(folder), locked=True, engine="polars")
    assert on_polars.content_hash == dataset.content_hash


def test_locked_refuses_rows_that_differ_and_publishes_nothing(lake, folder):
    (folder / "dataset.lock").write_text(Lock.of(lake.build(el.read_definition(folder))).text())
    (folder / "counts.sql").write_text(SQL.replace("count(*)", "count(*) + 1"))
    with pytest.raises(NotIdenticalError, match="not what its lock pins") as caught:
        lake.build(el.read_definition(folder), locked=True)
    assert caught.value.facts["expected"] == Lock.read(folder).content_hash
    assert caught.value.facts["found"] in caught.value.message
    assert len(lake.datasets()) == 1
    assert command("build", folder, "--lake", lake.uri, "--locked") == 1
    assert len(lake.datasets()) == 1


def test_locked_takes_edited_code_that_makes_the_same_rows(lake, folder):
    (folder / "dataset.lock").write_text(Lock.of(lake.build(el.read_definition(folder))).text())
    (folder / "counts.sql").write_text(SQL + " -- a remark")
    assert (
        lake.build(el.read_definition(folder), locked=True).content_hash
        == Lock.read(folder).content_hash
    )


def test_locked_without_a_lock_is_not_found(lake, folder):
    with pytest.raises(NotFoundError, match=r"no dataset\.lock"):
        lake.build(el.read_definition(folder), locked=True)
    assert command("build", folder, "--lake", lake.uri, "--locked") == 1


def test_locked_wants_a_definition_and_no_other_watermark(lake, folder):
    (folder / "dataset.lock").write_text(Lock.of(lake.build(el.read_definition(folder))).text())
    with pytest.raises(InvalidInputError, match="locked"):
        lake.build(el.read_definition(folder), locked=True, at=3)
    with pytest.raises(InvalidInputError, match="locked"):
        lake.build(el.read_definition(folder).projection(), locked=True)


def test_a_lock_of_another_lake_is_refused(lake, folder, tmp_path):
    (folder / "dataset.lock").write_text(Lock.of(lake.build(el.read_definition(folder))).text())
    other = el.create(tmp_path / "other", origin=lake.origin)
    other.append(events(12, 40))
    with pytest.raises(el.EventlakeError, match="another history"):
        other.build(el.read_definition(folder), locked=True)
    shorter = el.create(tmp_path / "shorter", origin=lake.origin)
    with pytest.raises(NotFoundError):
        shorter.build(el.read_definition(folder), locked=True)


def test_an_unproven_dataset_cannot_be_locked(lake, folder):
    (folder / "dataset.toml").write_text(BOTH + 'level = "unproven"\n')
    dataset = lake.build(el.read_definition(folder))
    with pytest.raises(InvalidInputError, match="unproven"):
        Lock.of(dataset)
    before = len(lake.datasets())
    lake.append([{"id": "later", "source": "s", "type": "t", "subject": "/loan/1"}])
    assert command("build", folder, "--lake", lake.uri) == 1
    assert not (folder / "dataset.lock").exists()
    assert len(lake.datasets()) == before
    assert command("build", folder, "--lake", lake.uri, "--no-lock") == 0


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('name = "counts"\n', "", InvalidInputError),
        ("@", " ", InvalidInputError),
        ("content_hash", "content", InvalidInputError),
        ("format = 1", "<<<<<<< HEAD\nformat = 1", InvalidInputError),
        ("format = 1", "format = 99", UnsupportedFormatError),
        ("format = 1\n", "", el.EventlakeError),
        ('checkpoint = "', 'checkpoint = 5 # "', InvalidInputError),
    ],
)
def test_a_damaged_lock_is_refused(lake, folder, old, new, error):
    text = Lock.of(lake.build(el.read_definition(folder))).text()
    assert old in text
    (folder / "dataset.lock").write_text(text.replace(old, new))
    with pytest.raises(error):
        lake.build(el.read_definition(folder), locked=True)
    assert len(lake.datasets()) == 1


@pytest.mark.parametrize("text", ["", "what is this", "\x00", 'format = 1\nname = "counts"\n'])
def test_what_is_no_lock_is_named(lake, folder, text):
    (folder / "dataset.lock").write_text(text)
    with pytest.raises(el.EventlakeError) as caught:
        lake.build(el.read_definition(folder), locked=True)
    assert str(folder / "dataset.lock") in str(caught.value)


def test_a_lock_with_a_damaged_checkpoint_is_named(lake, folder):
    text = Lock.of(lake.build(el.read_definition(folder))).text()
    (folder / "dataset.lock").write_text(text.replace("@", " "))
    with pytest.raises(InvalidInputError) as caught:
        lake.build(el.read_definition(folder), locked=True)
    assert str(folder / "dataset.lock") in str(caught.value)


def test_a_definition_is_read_from_text_too(folder):
    assert el.read_definition(str(folder)).name == el.read_definition(folder).name


def test_two_definitions_with_siblings_of_one_name_keep_them_apart(tmp_path, lake, monkeypatch):
    for name, value in (("one", 1), ("two", 2)):
        place = tmp_path / name
        place.mkdir()
        (place / "common.py").write_text(f"X = {value}\n")
        (place / "p.py").write_text(
            "import polars as pl\nfrom common import X\ndef f(snapshot):\n    return snapshot.scan().select(pl.lit(X).alias('k'))\n"
        )
        (place / "dataset.toml").write_text(
            f'name = "{name}"\nkey = ["k"]\npython = "p.py:f"\nfiles = ["common.py"]\n'
        )
    monkeypatch.chdir(tmp_path)
    made = [lake.build(el.read_definition(name)) for name in ("one", "two", "one")]
    assert [dataset.polars().item() for dataset in made] == [1, 2, 1]
    assert all(lake.reproduce(dataset.manifest_hash, trust=True).identical for dataset in made)


def test_an_undeclared_sibling_is_refused(folder, lake):
    (folder / "common.py").write_text("X = 1\n")
    (folder / "p.py").write_text("from common import X\ndef f(snapshot):\n    return X\n")
    (folder / "dataset.toml").write_text('name = "made"\nkey = ["k"]\npython = "p.py:f"\n')
    with pytest.raises(InvalidProjectionError, match="'common'"):
        lake.build(el.read_definition(folder))


def test_a_lock_of_another_name_is_refused(folder, lake):
    assert command("build", folder, "--lake", lake.uri) == 0
    text = (folder / "dataset.toml").read_text()
    (folder / "dataset.toml").write_text(text.replace('name = "', 'name = "other_', 1))
    with pytest.raises(InvalidInputError, match="other_"):
        lake.build(el.read_definition(folder), locked=True)


def test_a_lock_says_where_equal_rows_come_from_another_recipe(folder, lake):
    dataset = lake.build(el.read_definition(folder))
    lock = Lock.of(dataset)
    assert lock.differences(dataset) == []
    assert "recipe" in replace(lock, recipe_hash="00" * 32).differences(dataset)[0]
    assert "engine" in replace(lock, engine="duckdb 1.0.0").differences(dataset)[0]
    assert replace(lock, engine="polars 1.0.0").differences(dataset) == []


def test_a_python_projection_cannot_run_sql_and_its_errors_are_named(lake):
    def projection(function):
        return el.Projection("made", "python", "p.py:f", {"p.py": ""}, ("k",), function=function)

    with pytest.raises(InvalidProjectionError, match="Polars alone"):
        lake.build(projection(lambda snapshot: snapshot.sql("SELECT 1").polars().lazy()))
    with pytest.raises(
        InvalidProjectionError, match=r"made failed at test_dataset_definitions\.py:\d+: KeyError"
    ):
        lake.build(projection(lambda snapshot: {}["missing"]))


@pytest.mark.parametrize("value", [print, "overdue_loans", None])
def test_what_is_no_projection_is_refused(lake, value):
    with pytest.raises(InvalidInputError, match="expected a projection"):
        lake.build(value)


def test_a_parameter_has_the_type_of_its_default_and_no_taken_name(lake):
    counted = el.Projection.sql("made", "SELECT $n AS k", key=["k"], parameters={"n": 3})
    with pytest.raises(InvalidProjectionError, match="parameter n is int"):
        lake.build(counted, parameters={"n": "7"})
    with pytest.raises(InvalidProjectionError, match="'spine'"):
        el.Projection.sql("made", "SELECT 1 AS k", key=["k"], parameters={"spine": 3})
