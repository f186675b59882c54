import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import eventlake
from eventlake.core.sql import integer
from eventlake.database import Resources, check_select, open_database, openable, parquet
from eventlake.database.queries import TABLE_FUNCTIONS
from eventlake.errors import InvalidInputError

pytestmark = pytest.mark.every_case

PACKAGE = Path(eventlake.__file__).parent
NAMES = (
    *(
        "a[b]c",
        "st*r",
        "**",
        "qu?stion",
        "a?b=c&d",
        "[!a]",
        "]x[",
        "it's",
        'quo"te',
        "{a,b}",
        "sp ace",
        "new\nline",
        "tab\t",
        "back\\slash",
    ),
    *(
        "back\\*star",
        "semi;colon",
        "hash#tag",
        "~",
        "$HOME",
        "per%20cent",
        "ünï\u202e",
        "year=2026",
        "v=7",
        "s3:",
        "-- comment",
        "x" * 200,
    ),
)


def allowed_outside_the_door(tree):
    """What a module takes from duckdb beside types: calls of its functions, and how often it imports names out of it."""
    attributes = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "duckdb"
    ]
    imported = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "duckdb"
        for alias in node.names
    ]
    renamed = [
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.split(".")[0] == "duckdb" and alias.asname
    ]
    types = {
        "DuckDBPyConnection",
        "DuckDBPyRelation",
        "StatementType",
        "__version__",
        *(
            name
            for name in dir(duckdb)
            if isinstance(getattr(duckdb, name), type)
            and issubclass(getattr(duckdb, name), Exception)
        ),
    }
    return [*(name for name in attributes if name not in types), *imported, *renamed]


def test_one_module_alone_opens_databases():
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in PACKAGE.rglob("*.py")
        if (names := allowed_outside_the_door(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == {"database/connection.py": ["connect"]}


@pytest.mark.parametrize(
    "planted",
    [
        "import duckdb\nduckdb.connect()",
        "import duckdb\nduckdb.sql('x')",
        "from duckdb import connect",
        "import duckdb as d",
        "import duckdb\nduckdb.default_connection",
    ],
)
def test_a_second_module_that_opens_one_would_be_found(planted):
    assert allowed_outside_the_door(ast.parse(planted))


READS = re.compile(
    r"\b(read_(parquet|csv|json|ndjson|text|blob)\w*|parquet_scan|parquet_\w+|glob|sniff_csv)\("
)
PATTERNED = frozenset(
    {
        "scan_csv",
        "scan_ipc",
        "scan_ndjson",
        "scan_parquet",
        "read_csv",
        "read_ipc",
        "read_ndjson",
        "read_parquet",
    }
)
WHOLE_FOLDERS = frozenset({"dataset", "ParquetDataset", "read_table"})


def readers_in(text):
    """What reads files in a module: functions of SQL, and readers of Polars and pyarrow that take a path for more than one file."""
    tree = ast.parse(text)
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documented
    ]
    found = [match[1] for one in texts for match in READS.finditer(one)]
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            plain = {
                one.arg
                for one in node.keywords
                if isinstance(one.value, ast.Constant) and one.value.value is False
            }
            library, name = node.func.value.id, node.func.attr
            if library == "pl" and name in PATTERNED and not {"glob", "hive_partitioning"} <= plain:
                found.append(f"pl.{name}")
            if library in {"pq", "ds", "pads"} and name in WHOLE_FOLDERS:
                found.append(f"{library}.{name}")
    return found


def test_files_are_read_by_exact_names_in_known_places_alone():
    found = {
        str(path.relative_to(PACKAGE)): names
        for path in PACKAGE.rglob("*.py")
        if (names := readers_in(path.read_text(encoding="utf-8")))
    }
    # Hints for people, as text: the module imports none of these libraries.
    hints = (PACKAGE / "storage" / "foreign.py").read_text(encoding="utf-8")
    assert found.pop("storage/foreign.py")
    assert not re.search(r"^\s*(import|from) (duckdb|polars|pyarrow|pandas)", hints, re.MULTILINE)
    # The last is a query that is taken apart and never run.
    expected = {
        "database/files.py": ["read_parquet"],
        "importing/csv_table.py": ["read_csv"],
        "importing/sql.py": ["parquet_schema"],
    }
    assert found == expected


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ('f"SELECT * FROM read_parquet({path})"', ["read_parquet"]),
        ('x = "FROM read_json_auto(?)"', ["read_json_auto"]),
        ("pl.scan_parquet(path)", ["pl.scan_parquet"]),
        ("pl.scan_parquet(path, glob=False)", ["pl.scan_parquet"]),
        ("pl.scan_parquet(path, glob=False, hive_partitioning=False)", []),
        ("pq.read_table(path)", ["pq.read_table"]),
    ],
)
def test_another_reader_would_be_found(planted, found):
    assert readers_in(planted) == found


@pytest.mark.parametrize(
    "text",
    [
        *(
            "SELECT * FROM read_text('{file}')",
            "SELECT * FROM '{file}'",
            "SELECT * FROM glob('/*')",
            "SELECT * FROM read_csv('{file}')",
        ),
        *(
            "COPY (SELECT 1) TO '{file}'",
            "ATTACH '{file}'",
            "EXPORT DATABASE '{file}'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "LOAD '{file}'",
        ),
        *(
            "SET threads = 2",
            "PRAGMA threads = 2",
            "RESET threads",
            "SET allowed_paths = ['{file}']",
            "SET enable_external_access = true",
        ),
        *(
            "PRAGMA enable_profiling = 'json'",
            "CREATE PERSISTENT SECRET s (TYPE http)",
            "CREATE EXTENSION REPOSITORY x",
            "SELECT * FROM secret",
        ),
        *(
            "CALL enable_logging('all')",
            "SELECT * FROM enable_logging('QueryLog', storage = 'file', storage_path = '{file}')",
        ),
        "WITH x AS (COPY (SELECT 1) TO '{file}') SELECT * FROM x",
    ],
)
def test_a_database_that_was_opened_reaches_nothing_that_was_not_named(tmp_path, text):
    secret = pa.table({"x": [1]})  # a Python variable of that name is no table
    file = tmp_path / "file.txt"
    file.write_text("before")
    with open_database() as database, pytest.raises(duckdb.Error):
        database.execute(text.format(file=file)).fetchall()
    assert (file.read_text(), [one.name for one in tmp_path.iterdir()], secret.num_rows) == (
        "before",
        ["file.txt"],
        1,
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "found nothing"),
        ("SELECT 1; SELECT 2", "found SELECT, SELECT"),
        ("COPY (SELECT 1) TO 'x'", "found COPY"),
        ("ATTACH 'x'", "found ATTACH"),
        ("SET threads = 2", "found SET"),
        ("WITH x AS (COPY (SELECT 1) TO 'x') SELECT 1", "found COPY in it"),
        ("SELECT (WITH x AS (COPY (SELECT 1) TO 'x') SELECT 1)", "found COPY in it"),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING *) FROM x", "found INSERT in it"),
        (
            "WITH x AS (DELETE FROM t RETURNING *), y AS (UPDATE t SET a = 1 RETURNING *) FROM x",
            "found DELETE, UPDATE in it",
        ),
        ("FROM query('WITH x AS (COPY (SELECT 1) TO ''x'') SELECT 1')", "found COPY in it"),
        ("FROM query('FROM query(''COPY t TO ''''x'''''')')", "found COPY"),
        ("FROM query('SELECT ' || '1')", "runs SQL from a text"),
        ("FROM system.main.QUERY('SELECT ' || '1')", "runs SQL from a text"),
        (
            "FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
            "runs SQL from a text",
        ),
        (
            "FROM destroy_external_resource('json_execute_serialized_sql', json_serialize_sql('SELECT 1'))",
            "found destroy_external_resource",
        ),
        (
            "SELECT (SELECT 1 FROM system.main.\"Destroy_External_Resource\"('query', 'SELECT 1'))",
            "found destroy_external_resource",
        ),
        (
            "FROM register_external_resource_type('x', kind := 'k', create_function := 'query')",
            "found register_external_resource_type",
        ),
        ("FROM t, LATERAL (FROM truncate_duckdb_logs())", "found truncate_duckdb_logs"),
        (
            "WITH x AS (FROM checkpoint()) FROM x UNION ALL FROM enable_logging('all')",
            "found checkpoint, enable_logging",
        ),
        ("FROM query('FROM create_external_resource(''x'')')", "found create_external_resource"),
        ("SELECT '\ud800'", "in UTF-8"),
        ("SELECT sleep_ms(1)", "found sleep_ms"),
        ('SELECT [x FOR x IN [system.main."Sleep_Ms"(1)]]', "found sleep_ms"),
        ("SELECT pg_sleep(1)", "found pg_sleep"),
        ("SELECT 'HOME'.getenv()", "found getenv"),
        ("FROM events ORDER BY write_log('x')", "found write_log"),
        ("SELECT current_setting('secret_directory')", "found current_setting"),
        ("SELECT current_setting('time' || 'zone')", "found current_setting"),
        ("FROM query('SELECT sleep_ms(1)')", "found sleep_ms"),
        *(
            (f"FROM {name}('x')", f"found {name}")
            for name in (
                "glob",
                "read_text",
                "read_blob",
                "duckdb_settings",
                "duckdb_extensions",
                "duckdb_variables",
            )
        ),
    ],
)
def test_what_does_more_than_read_is_no_query(text, found):
    with pytest.raises(InvalidInputError, match=found):
        check_select(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "SELECT 1",
            "FROM query('SELECT 1')",
            "VALUES (1)",
            "SELECT 1 UNION ALL SELECT 2",
            "WITH a AS MATERIALIZED (SELECT 1) FROM a",
        ),
        *(
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) FROM r",
            "PIVOT t ON b IN ('a') USING sum(a)",
        ),
        "SELECT current_setting('TimeZone'), 'sleep_ms', \"function_name\" FROM t",
        """SELECT 'COPY_QUERY_NODE', '"type":"COPY_QUERY_NODE"', 'query' AS "query_NODE" """,
    ],
)
def test_what_only_reads_is_a_query(text):
    assert check_select(text) == text


@pytest.mark.parametrize(
    "given",
    [
        {"threads": 0},
        {"threads": 10_000},
        {"threads": "1"},
        {"threads": True},
        {"memory": "4TB"},
        {"memory": "2000GB"},
        {"memory": "80%"},
        {"memory": 4},
    ],
)
def test_what_a_database_may_use_is_bounded(given):
    with pytest.raises(InvalidInputError, match="expected"):
        Resources(**given)


def test_no_setting_of_a_database_shows_a_path_but_of_its_own_temporary_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    with open_database() as database:
        shown = database.execute(
            "SELECT name, value FROM pg_catalog.pg_settings JOIN duckdb_settings() USING (name)"
        ).fetchall()
        temporary = database.execute("SELECT current_setting('temp_directory')").fetchall()[0][0]
    paths = {
        name: value
        for name, value in shown
        if "/" in str(value).replace(f"{temporary}/", "").replace(temporary, "")
    }
    assert paths == {
        "duckdb_api": paths["duckdb_api"],
        "home_directory": "/nowhere",
        "secret_directory": "/nowhere/.duckdb/stored_secrets",
    }


def test_what_a_database_may_use_is_what_it_uses():
    with open_database(resources=Resources(threads=3, memory="200MB", ordered=False)) as database:
        names = "SELECT value FROM duckdb_settings() WHERE name IN ('memory_limit', 'preserve_insertion_order', 'threads') ORDER BY name"
        assert database.execute(names).fetchall() == [("190.7 MiB",), ("false",), ("3",)]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_read_whatever_its_path_holds_and_none_beside_it(tmp_path, name):
    """The folder's own name, and others that it would match as a pattern, or give columns by."""
    for folder, value in (
        (name, "mine"),
        ("abc", "other"),
        ("star", "other"),
        ("quxstion", "other"),
        ("a", "other"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        pq.write_table(pa.table({"v": [value], "year": [1999]}), tmp_path / folder / "part.parquet")
    file = tmp_path / name / "part.parquet"
    with open_database([file]) as database:
        assert database.sql(f"SELECT * FROM {parquet([file])}").fetchall() == [("mine", 1999)]
        with pytest.raises(duckdb.Error):
            database.sql(f"SELECT * FROM {parquet([tmp_path / 'abc' / 'part.parquet'])}").fetchall()


def test_a_file_whose_name_is_no_text_is_read(tmp_path):
    file = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.parquet")
    pq.write_table(pa.table({"v": [1]}), tmp_path / "plain.parquet")
    (tmp_path / "plain.parquet").rename(file)
    with open_database([file]) as database:
        assert database.sql(f"SELECT * FROM {parquet([file])}").fetchall() == [(1,)]


def test_files_of_other_columns_are_no_table_unless_that_is_asked_for(tmp_path):
    pq.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "one.parquet")
    pq.write_table(pa.table({"a": [3]}), tmp_path / "two.parquet")
    files = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    with open_database(files) as database:
        assert database.sql(
            f"SELECT a, b FROM {parquet(files, by_name=True)} ORDER BY a"
        ).fetchall() == [(1, 2), (3, None)]
        with pytest.raises(duckdb.Error, match="schema mismatch"):
            database.sql(f"SELECT a, b FROM {parquet(files)}").fetchall()


def test_temporary_files_are_private_and_end_with_the_process(tmp_path):
    text = """import os
from eventlake.database import open_database, openable
open_database()
link = openable('/a[1]/b')
folder = os.path.dirname(link)
print(folder, oct(os.stat(folder).st_mode)[-3:], os.path.islink(link))"""
    run = subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    folder, mode, linked = run.stdout.split()
    assert (str(Path(folder).parent), mode, linked) == (str(tmp_path), "700", "True")
    assert [one.name for one in tmp_path.iterdir()] == []


def test_a_folder_for_temporary_files_that_was_taken_away_is_made_again(tmp_path):
    pq.write_table(pa.table({"v": [1]}), tmp_path / "a[1].parquet")
    for _ in range(2):
        with open_database([tmp_path / "a[1].parquet"]) as database:
            assert database.sql(
                f"SELECT * FROM {parquet([tmp_path / 'a[1].parquet'])}"
            ).fetchall() == [(1,)]
        shutil.rmtree(Path(openable(tmp_path / "a[1].parquet")).parent)


def test_without_a_folder_for_temporary_files_databases_open_and_nothing_spills(tmp_path):
    text = """import tempfile
tempfile.tempdir = '/nowhere'
from eventlake.database import open_database
print(open_database().sql('SELECT 42').fetchall())"""
    run = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (run.stdout.strip(), [one.name for one in tmp_path.iterdir()]) == ("[(42,)]", [])


def test_plain_paths_are_opened_as_they_are(tmp_path):
    assert openable(tmp_path / "year=2026" / "it's") == f"{tmp_path}/year=2026/it's"


@pytest.mark.parametrize("value", [1.0, "1", True, None, 1 << 63, -(1 << 63) - 1])
def test_what_is_no_integer_of_64_bits_is_no_sql(value):
    with pytest.raises(InvalidInputError, match="whole number of 64 bits"):
        integer(value)


def test_integers_are_their_digits():
    assert [integer(one) for one in (0, -5, (1 << 63) - 1, -(1 << 63))] == [
        "0",
        "-5",
        "9223372036854775807",
        "-9223372036854775808",
    ]


REFUSED = """
duckdb_databases duckdb_extensions duckdb_settings duckdb_variables glob read_blob read_text
add_grammar_extension arrow_scan arrow_scan_dumb checkpoint create_external_resource deregister_external_resource
destroy_external_resource disable_logging disable_profiling duckdb_approx_database_count duckdb_available_metrics
duckdb_connection_count duckdb_coordinate_systems duckdb_dialects duckdb_eviction_queues duckdb_extension_repositories
duckdb_external_file_cache duckdb_external_resource_types duckdb_external_resources duckdb_grammar_extensions
duckdb_live_query_metrics duckdb_log_contexts duckdb_logs duckdb_logs_parsed duckdb_prepared_statements duckdb_profiling_settings
duckdb_secret_type_parameters duckdb_secret_types duckdb_secrets duckdb_table_sample duckdb_temporary_files duckdb_triggers
enable_logging enable_profiling force_checkpoint json_execute_serialized_sql pandas_scan pragma_storage_info python_arrow_scan
python_map_function read_duckdb read_single_csv_file read_single_json_file read_single_parquet_file register_external_resource
register_external_resource_type remove_grammar_extension seq_scan test_all_types test_vector_types truncate_duckdb_logs
which_secret
"""


def test_every_function_of_duckdb_that_gives_rows_was_judged():
    with open_database() as database:
        rows = database.execute(
            "SELECT function_name FROM duckdb_functions() WHERE function_type IN ('table', 'table_macro')"
        ).fetchall()
    refused = {name for (name,) in rows} - TABLE_FUNCTIONS
    assert refused == frozenset(REFUSED.split())


DOUBLING = {
    "copies of a WITH query": lambda levels: (
        "WITH a0 AS (SELECT 1 AS x), "
        + ", ".join(
            f"a{n} AS NOT MATERIALIZED (SELECT * FROM a{n - 1} UNION ALL SELECT * FROM a{n - 1})"
            for n in range(1, levels)
        )
        + f" SELECT count(*) FROM a{levels - 1}"
    ),
    "names in a select list": lambda levels: (
        "SELECT 1 AS a0, "
        + ", ".join(f"a{n - 1} + a{n - 1} AS a{n}" for n in range(1, levels))
        + " FROM events"
    ),
    "names in a subquery, in other letters": lambda levels: (
        "SELECT * FROM (SELECT sequence AS a0, "
        + ", ".join(f"A{n - 1} * a{n - 1} AS a{n}" for n in range(1, levels))
        + " FROM events)"
    ),
}


@pytest.mark.parametrize("name", DOUBLING)
def test_a_query_that_doubles_with_every_line_is_refused_before_it_is_planned(name):
    query = DOUBLING[name]
    with pytest.raises(InvalidInputError, match="stays small when it is planned"):
        check_select(query(40))
    assert check_select(query(8)) == query(8)


@pytest.mark.parametrize(("levels", "uses"), [(3, 400), (4, 100), (6, 20), (13, 6)])
def test_a_query_that_repeats_few_names_often_is_refused_before_it_is_planned(levels, uses):
    names = (" + ".join([f"a{n - 1}"] * uses) + f" AS a{n}" for n in range(1, levels))
    with pytest.raises(InvalidInputError, match="stays small when it is planned"):
        check_select("SELECT 1 AS a0, " + ", ".join(names) + " FROM events")


def test_a_long_sum_beside_other_names_stays_as_it_is():
    query = "SELECT " + " + ".join(f"c{n}" for n in range(900)) + " AS total, a AS x, b AS y FROM t"
    assert check_select(query) == query


def test_long_queries_that_repeat_names_stay_as_they_are():
    chain = (
        "WITH a0 AS (SELECT 1 AS x), "
        + ", ".join(f"a{n} AS (SELECT x + 1 AS x FROM a{n - 1})" for n in range(1, 60))
        + " SELECT x FROM a59"
    )
    wide = (
        "SELECT "
        + ", ".join(f"sum(amount) FILTER (kind = {n}) AS k{n}" for n in range(300))
        + ", k1 + k2 AS both FROM events"
    )
    assert [check_select(chain), check_select(wide)] == [chain, wide]
