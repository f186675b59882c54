"""A quick run leaves out cases, never a test or a value of a small grid; tests stand alone."""

import ast
import re
from itertools import product
from pathlib import Path

import pytest

from tests.scope import sample

pytestmark = pytest.mark.every_case

SETTERS = {"setattr", "patch", "object"}
PATCHED = {
    # The number of cells is part of the format, by which every reader finds the commit of a key.
    ("log/test_skip_identical.py", "CELLS"),
}
"""Constants that tests patch all the same, each with the reason."""


def grid(**sizes):
    return [dict(zip(sizes, point, strict=True)) for point in product(*map(range, sizes.values()))]


@pytest.mark.parametrize("sizes", [{"a": 5}, {"a": 2, "b": 2}, {"a": 5, "b": 3, "c": 4}], ids=str)
def test_a_sample_has_every_value_of_every_parameter(sizes):
    cases = grid(**sizes)
    kept = [cases[position] for position in sample(cases, most=5)]
    assert {name: {case[name] for case in kept} for name in sizes} == {
        name: set(range(size)) for name, size in sizes.items()
    }


def test_a_sample_crosses_a_grid_diagonally():
    cases = grid(a=4, b=4)
    kept = [tuple(cases[position].values()) for position in sample(cases, most=4)]
    assert kept == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_a_long_list_keeps_its_ends_and_evenly_spaced_values_between_them():
    assert sample(grid(a=101), most=6) == [0, 20, 40, 60, 80, 100]
    assert sample(grid(a=7), most=6) == [0, 1, 2, 3, 4, 6]


def test_a_test_with_one_case_keeps_it():
    assert sample([{"a": 0}]) == [0]
    assert sample([{"a": 3}, {"a": 3}]) == [0]


def test_cases_without_a_parameter_of_others_are_sampled_too():
    assert sample([{"a": 0}, {"b": 0}, {"a": 0, "b": 0}]) == [2]


def test_no_test_imports_another():
    tests = Path(__file__).parents[1]
    importing = {
        str(path.relative_to(tests))
        for path in tests.rglob("*.py")
        if re.search(r"^(from|import) tests(\.\w+)*\.test_", path.read_text(), re.MULTILINE)
    }
    assert importing == set()


def names_set(path):
    """The names that a file's calls of ``setattr`` and ``patch`` set, by their last part."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in SETTERS:
            texts = (text for one in node.args[:2] for text in ast.walk(one))
            for text in texts:
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield text.value.rpartition(".")[2]


def test_no_test_patches_a_constant():
    """Limits are values that are passed; a patch works only while its name and place do."""
    tests = Path(__file__).parents[1]
    patched = {
        (str(path.relative_to(tests)), name)
        for path in tests.rglob("*.py")
        for name in names_set(path)
        if re.fullmatch(r"_?[A-Z][A-Z0-9_]*", name)
    }
    assert patched == PATCHED
