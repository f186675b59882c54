"""What the documents name is there."""

import ast
import re
import runpy
from pathlib import Path

import pytest

import eventlake
from eventlake.exactness.on_duckdb import functions as on_duckdb
from eventlake.exactness.on_polars import functions as on_polars
from eventlake.features.declared import functions, order_functions, value_functions
from tests.scope import THOROUGH

pytestmark = pytest.mark.every_case

ROOT = Path(__file__).parents[2]
DECLARING = {one.__name__ for one in (functions, order_functions, value_functions)}
DOCS = ROOT / "docs"
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
def test_a_test_that_shows_a_guarantee_exists_and_is_part_of_a_quick_run(file, name):
    tree = ast.parse((ROOT / file).read_text())
    marks = {
        node.name: [ast.unparse(mark) for mark in node.decorator_list]
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    assert f"pytest.mark.{THOROUGH}" not in marks[name]


def test_links_between_documents_lead_somewhere():
    broken = [
        (document.name, target)
        for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert broken == []


def test_links_of_the_documentation_stay_inside_it():
    outside = [
        (document.name, target)
        for document in DOCS.rglob("*.md")
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
        if DOCS not in (document.parent / target).resolve().parents
    ]
    assert outside == []


def test_no_two_pages_create_a_lake_of_the_same_name():
    created = [
        name
        for document in [ROOT / "README.md", *DOCS.rglob("*.md")]
        for name in re.findall(
            r"el\.create\(\"(\w[\w-]*)\"|eventlake init (\S+)", document.read_text()
        )
    ]
    assert len(created) > 10
    assert sorted(created) == sorted(set(created))


def test_every_python_session_is_a_block_that_is_run():
    sessions = {
        (document.name, language)
        for document in [ROOT / "README.md", *DOCS.rglob("*.md")]
        for language in re.findall(r"^```(.*)\n>>> ", document.read_text(), re.MULTILINE)
    }
    assert {language for _, language in sessions} == {"pycon"}


def test_every_decision_is_in_the_list_of_decisions():
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (DOCS / "decisions/README.md").read_text())
    assert listed == sorted(page.name for page in (DOCS / "decisions").glob("0*.md"))


def test_every_page_is_in_the_navigation():
    navigation = set(
        re.findall(
            r"- (?:[\w ]+: )?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE
        )
    )
    pages = {
        str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md") if not page.name[:4].isdigit()
    }
    assert navigation == pages


def test_every_public_name_is_on_a_page_of_the_api():
    named = "\n".join(page.read_text() for page in (DOCS / "reference/api").glob("*.md"))
    described = {
        name.rpartition(".")[2] for name in re.findall(r"^::: ([\w.]+)$", named, re.MULTILINE)
    }
    assert described >= set(eventlake.__all__) - {"EventlakeError"}


def test_every_module_that_the_architecture_names_exists():
    named = re.findall(r"`([\w/]+(?:\.py|/))`", (DOCS / "architecture.md").read_text())
    there = [
        f"/{path.relative_to(ROOT)}{'/' if path.is_dir() else ''}"
        for folder in ("eventlake", "tests", "tools")
        for path in [ROOT / folder, *ROOT.glob(f"{folder}/**/*")]
    ]
    assert len(named) > 50
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []


def test_every_function_that_declares_a_feature_is_in_the_table_of_features():
    page = (DOCS / "reference/features.md").read_text()
    rows = " ".join(line for line in page.splitlines() if line.startswith("| `"))
    declare = {
        name
        for name in eventlake.__all__
        if getattr(getattr(eventlake, name), "__module__", "") in DECLARING
    }
    assert len(declare) > 10
    assert {name for name in declare if f"`{name}(" not in rows} == set()


def test_every_environment_variable_is_documented():
    read = {
        name
        for path in (ROOT / "eventlake").rglob("*.py")
        for name in re.findall(r"EVENTLAKE_[A-Z_]+", path.read_text())
    }
    assert (
        set(re.findall(r"EVENTLAKE_[A-Z_]+", (DOCS / "reference/configuration.md").read_text()))
        == read
    )


def long_lines(document):
    """Lines of more than 120 columns that could be shorter: not rows of tables, ids of tests, or output of examples."""
    fenced = False
    for number, line in enumerate(document.read_text().splitlines(), 1):
        fenced ^= line.startswith("```")
        written = (
            line.startswith((">>>", "...", "```"))
            if fenced
            else not line.startswith("|") and "::" not in line
        )
        if len(line) > 120 and written:
            yield f"{document.name}:{number}"


@pytest.mark.parametrize(
    "document",
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *sorted(DOCS.rglob("*.md")),
    ],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_no_line_of_the_documentation_has_more_than_120_columns(document):
    assert list(long_lines(document)) == []


GENERATED = runpy.run_path(str(ROOT / "tools/reference_pages.py"))["PAGES"]


@pytest.mark.parametrize("page", GENERATED)
def test_a_page_that_is_made_from_the_code_is_current(page):
    told = "run 'python tools/reference_pages.py', and commit what it writes"
    assert (DOCS / "reference" / page).read_text(encoding="utf-8") == GENERATED[page](), told


def test_the_lists_of_exact_functions_leave_nothing_out():
    page = (DOCS / "reference/exact-functions.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([^`]+)`", page))
    for engine, elsewhere in ((on_duckdb, {"CARRIERS"}), (on_polars, set())):
        lists = {
            name: value for name, value in vars(engine).items() if isinstance(value, frozenset)
        }
        assert {name for name, value in lists.items() if not value <= named} <= elsewhere


def test_the_supported_versions_are_those_of_the_code_and_of_the_package():
    page = (DOCS / "reference/stability.md").read_text(encoding="utf-8")
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needs = dict(re.findall(r'^    "(duckdb|polars|pyarrow)>=([0-9.]+)",$', text, re.MULTILINE))
    rows = {
        name.lower(): cell
        for name, cell in re.findall(r"^\| (DuckDB|Polars|pyarrow) \| (.*) \|$", page, re.MULTILINE)
    }
    assert rows.keys() == needs.keys()
    assert all(cell.startswith(f"{needs[name]} and newer") for name, cell in rows.items())
    for name, engine in (("duckdb", on_duckdb), ("polars", on_polars)):
        assert f"is checked on {' and '.join(engine.REVIEWED)} only" in rows[name]
