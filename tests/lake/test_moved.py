"""Modules that moved are found by their old names."""

import importlib
import subprocess
import sys

import pytest

import eventlake
from eventlake.moved import MOVED

pytestmark = pytest.mark.every_case


@pytest.mark.parametrize("old", sorted(MOVED))
@pytest.mark.filterwarnings("ignore:eventlake:DeprecationWarning")
def test_an_old_name_imports_the_module_of_the_new_name(old):
    new = importlib.import_module(f"eventlake.{MOVED[old]}")
    assert importlib.import_module(f"eventlake.{old}") is new
    assert new.__name__ == new.__spec__.name == f"eventlake.{MOVED[old]}"


def test_an_old_name_warns_and_names_the_new_one():
    program = "from eventlake.features import duckdb_parts; print(duckdb_parts.__name__)"
    done = subprocess.run(
        [sys.executable, "-W", "always::DeprecationWarning", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "eventlake.features.on_duckdb.parts\n"
    told = "eventlake.features.duckdb_parts is called eventlake.features.on_duckdb.parts now"
    assert told in done.stderr


def test_a_name_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"eventlake\.nothing"):
        importlib.import_module("eventlake.nothing")
    assert not hasattr(eventlake, "nothing")
