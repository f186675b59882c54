"""Commands and workers take no more memory than the machine has, whatever a query makes of short text."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import eventlake as el
from eventlake import memory
from eventlake.cli import main
from eventlake.database import Resources, open_database
from eventlake.errors import InvalidInputError

DOUBLED = """
WITH a AS (SELECT subject, max(repeat(subject, 1000000)) AS t FROM events GROUP BY subject),
b AS (SELECT subject, t || t || t || t AS t FROM a), c AS (SELECT subject, t || t || t || t AS t FROM b),
d AS (SELECT subject, t || t || t || t AS t FROM c), e AS (SELECT subject, t || t || t || t AS t FROM d)
SELECT subject, length(t) AS n FROM {last}
"""
"""Each step makes text four times as long: 1 GB for each of five subjects at the end."""
linux = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="only Linux counts all private memory"
)


@pytest.fixture
def lake(tmp_path):
    lake = el.create(tmp_path / "lake", "o")
    lake.append(
        [
            {"id": str(n), "source": "s", "type": "t", "subject": f"/x/{n % 5}", "data": {}}
            for n in range(10)
        ]
    )
    return lake


def run(folder, last, limit):
    (folder / "dataset.toml").write_text('name = "long"\nsql = "q.sql"\nkey = ["subject"]\n')
    (folder / "q.sql").write_text(DOUBLED.format(last=last))
    environment = {**os.environ, "EVENTLAKE_MEMORY": limit}
    lake = str(folder.parent / "lake")
    command = [
        sys.executable,
        "-c",
        "from eventlake.cli import main; main()",
        "build",
        str(folder),
        "--lake",
        lake,
    ]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@linux
def test_a_command_whose_query_makes_very_long_text_ends_with_a_named_error(lake, tmp_path):
    definition = tmp_path / "long"
    definition.mkdir()
    done = run(definition, "e", "3GB")
    assert done.returncode in {1, 3}, (done.returncode, done.stderr)
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr
    assert re.search("memory", done.stderr, re.IGNORECASE)
    assert lake.datasets() == []


@linux
def test_a_command_that_needs_less_than_the_bound_is_run(lake, tmp_path):
    definition = tmp_path / "long"
    definition.mkdir()
    done = run(definition, "a", "3GB")
    assert done.returncode == 0, done.stderr
    assert lake.dataset("long").polars()["n"].to_list() == [4_000_000] * 5


def test_a_bound_that_is_no_size_is_refused_by_its_variable(tmp_path):
    definition = tmp_path / "long"
    definition.mkdir()
    el.create(tmp_path / "lake", "o")
    done = run(definition, "a", "much")
    assert done.returncode == 1
    assert (
        "expected a size such as '8GB' or '500MB' in EVENTLAKE_MEMORY, found 'much'" in done.stderr
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("500MB", 500_000_000), ("8GB", 8_000_000_000), ("1TB", 10**12)]
)
def test_a_bound_is_a_number_of_units(monkeypatch, text, expected):
    monkeypatch.setenv("EVENTLAKE_MEMORY", text)
    assert memory.limit_bytes() == expected


@pytest.mark.parametrize(
    "text", ["0GB", "-1GB", "8", "8gb", "8 GB", "8GiB", "1e3GB", "9999999GB", "٣GB"]
)
def test_what_is_no_bound_is_refused(monkeypatch, text):
    monkeypatch.setenv("EVENTLAKE_MEMORY", text)
    with pytest.raises(InvalidInputError, match="expected a size such as"):
        memory.limit_bytes()


def test_without_the_variable_the_bound_is_what_the_machine_has(monkeypatch):
    monkeypatch.delenv("EVENTLAKE_MEMORY", raising=False)
    assert memory.limit_bytes() == max(memory.machine_bytes(), 4 << 30)


@pytest.mark.parametrize(
    ("text", "expected"), [("1GB", "476.8 MiB"), ("8GB", "3.7 GiB"), ("1MB", "64.0 MiB")]
)
def test_a_database_spills_beyond_half_of_the_bound(monkeypatch, text, expected):
    monkeypatch.setenv("EVENTLAKE_MEMORY", text)
    with open_database() as connection:
        assert setting(connection) == expected
    # What a recipe states is used as it is.
    with open_database(resources=Resources(memory="3GB")) as connection:
        assert setting(connection) == "2.7 GiB"


def test_without_the_variable_a_database_has_its_engine_s_own_bound(monkeypatch):
    monkeypatch.delenv("EVENTLAKE_MEMORY", raising=False)
    assert memory.engine_bytes() is None
    assert "memory_limit" not in Resources().config()


def setting(connection):
    return connection.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]


def test_memory_that_the_system_refuses_is_a_named_error(lake, capsys, monkeypatch):
    def refuse(*_, **__):
        raise MemoryError

    monkeypatch.setattr(el, "open", refuse)
    with pytest.raises(SystemExit) as ended:
        main(["show", lake.uri])
    assert ended.value.code == 3
    assert "the command needs more memory than the" in " ".join(capsys.readouterr().err.split())
