"""What the documents name is there."""

import ast
import re
from pathlib import Path

import pytest

from eventlake.exactness.on_duckdb import functions
from eventlake.exactness.on_polars import functions as polars_functions

ROOT = Path(__file__).parents[2]
EXACT = ROOT / "docs/reference/exact-functions.md"
NAMED = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
GUARANTEES = sorted(
    {
        test
        for name in ("guarantees.md", "security.md")
        for test in NAMED.findall((ROOT / "docs/reference" / name).read_text())
    }
)


def test_guarantees_name_tests():
    assert len(GUARANTEES) > 10


@pytest.mark.parametrize(("file", "name"), GUARANTEES, ids=lambda part: part.rsplit("/", 1)[-1])
def test_a_test_that_shows_a_guarantee_exists(file, name):
    tree = ast.parse((ROOT / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_links_between_documents_lead_somewhere():
    broken = [
        (document.name, target)
        for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert broken == []


def test_the_functions_that_are_exact_are_those_that_the_documentation_lists():
    text = EXACT.read_text(encoding="utf-8").partition("## Functions")[2].partition("## Python")[0]
    lists = (
        functions.SCALARS,
        functions.FLOAT_STEPS,
        functions.MACROS,
        functions.AGGREGATES,
        functions.ORDERED,
        functions.PICKING,
    )
    windows = {
        "rank",
        "dense_rank",
        "percent_rank",
        "cume_dist",
        "row_number",
        "ntile",
        "lag",
        "lead",
        "first_value",
        "last_value",
        "nth_value",
    }
    named = set(re.findall(r"`([^`]+)`", text)) - {"ORDER BY"}
    assert named == frozenset().union(*lists) | windows


def test_the_methods_of_polars_that_are_exact_are_those_that_the_documentation_lists():
    text = EXACT.read_text(encoding="utf-8").partition(
        "By the names that Polars' plan has for them:"
    )[2]
    named = set(re.findall(r"`([^`]+)`", text))
    lists = [value for value in vars(polars_functions).values() if isinstance(value, frozenset)]
    expressions = {
        "sort",
        "sort_by",
        "filter",
        "head",
        "tail",
        "slice",
        "get",
        "explode",
        "cast",
        "len",
        "item",
        "when",
        "over",
        "dense",
    }
    assert named == frozenset().union(*lists) | expressions
