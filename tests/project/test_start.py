"""What is imported before it is used: commands and imports start without the engines."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import eventlake as el

HEAVY = ["pyarrow", "numpy", "polars", "duckdb", "pandera", "pandas", "rich", "msgspec"]
ENGINES = ["polars", "duckdb", "pandera", "pandas"]


def loaded(code, *arguments):
    """The modules that a new process has loaded after ``code``."""
    text = (
        f"import sys\n{code}\nsys.stderr.write('\\n' + __import__('json').dumps(list(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def command(*arguments):
    return f"""
from eventlake.cli import main
try:
    main({list(arguments)!r})
except SystemExit as end:
    assert not end.code, end.code
"""


@pytest.fixture
def lake(tmp_path):
    made = el.create(str(tmp_path / "lake"), origin="bank.example/loans")
    made.append([{"id": "1", "source": "s", "type": "loan.granted", "data": {"amount": 1}}])
    return made


def test_the_package_loads_no_library_before_a_name_is_used():
    assert not loaded("import eventlake") & set(HEAVY)


def test_a_name_is_found_before_it_was_used():
    code = "import eventlake\nassert 'Lake' in dir(eventlake)\nfrom eventlake import *\nassert Lake"
    assert "eventlake.lake" in loaded(code)


def test_a_name_that_is_a_module_is_found_before_it_was_used():
    code = "import eventlake as el\nassert el.spine.on('loan.granted')"
    assert "eventlake.features.spines.spine" in loaded(code)


@pytest.mark.thorough
@pytest.mark.parametrize("name", el.__all__)
def test_every_public_name_is_found_first(name):
    assert loaded(f"from eventlake import {name}")


def test_help_loads_no_library_but_that_of_the_command_line():
    assert not loaded(command("build", "--help")) & {*HEAVY} - {"rich"}


@pytest.mark.parametrize("verb", ["show", "log"])
def test_a_command_that_needs_no_engine_loads_none(lake, verb):
    assert not loaded(command(verb, lake.uri.removeprefix("file://"))) & set(ENGINES)


def test_every_public_name_is_imported_from_the_module_that_editors_read():
    tree = ast.parse(Path(el.__file__).read_text())
    [block] = [one for one in tree.body if isinstance(one, ast.If)]
    read = {
        alias.name: one.module.removeprefix("eventlake.")
        for one in block.body
        for alias in one.names
    }
    assert read == el._MODULE_OF
    assert set(el.__all__) == read.keys()
    assert all(getattr(el, name) is not None for name in el.__all__)


@pytest.mark.parametrize("code", ["el.errors.NotFoundError", "el.lake.Lake", "el.cli.main"])
def test_a_module_is_an_attribute_before_it_was_imported(code):
    assert "eventlake.errors" in loaded(f"import eventlake as el\nassert {code}")


def test_a_missing_name_is_explained():
    with pytest.raises(AttributeError, match="did you mean"):
        el.opne  # noqa: B018
    assert not hasattr(el, "__wrapped__")
