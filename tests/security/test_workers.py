"""Worker processes import the modules that their parent does, whatever lies in the folder where they start."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import eventlake as el
from tests.scope import some

PACKAGE = Path(el.__file__).parent
DEFINITION = """\
name = "count"
sql = "count.sql"
key = ["subject"]
by = "subject"
"""
QUERY = "SELECT subject, count(*) AS n FROM events GROUP BY subject"


@pytest.mark.parametrize("search_path", some(["", ".", ":", "lib"], 1))
def test_workers_run_no_module_of_the_current_folder(tmp_path, search_path):
    root = tmp_path / "lake"
    lake = el.create(root, "o")
    lake.append(
        [
            {"id": str(n), "source": "s", "type": "t", "subject": f"/x/{n % 3}", "data": {}}
            for n in range(9)
        ]
    )
    definition = tmp_path / "count"
    definition.mkdir()
    (definition / "dataset.toml").write_text(DEFINITION)
    (definition / "count.sql").write_text(QUERY)
    for name in (
        "json.py",
        "polars.py",
        "duckdb.py",
        "sitecustomize.py",
        "eventlake/__init__.py",
        "lib/json.py",
    ):
        module = root / name
        module.parent.mkdir(exist_ok=True)
        module.write_text(
            f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\nraise SystemExit(3)\n"
        )
    # The parent has imported what it needs before its search path changes: what runs is run by a
    # worker.
    arguments = ["build", str(definition), "--lake", ".", "--workers", "2"]
    lines = [
        "import importlib, pkgutil, sys",
        "import eventlake",
        "for one in pkgutil.walk_packages(eventlake.__path__, 'eventlake.'):"
        " one.name.endswith(('__main__', 'mlflow', 'contract')) or importlib.import_module(one.name)",
        f"sys.path[:0] = {search_path.split(':')!r}",
        f"eventlake.cli.main({arguments!r})",
    ]
    command = "\n".join(lines)
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", command],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, (tmp_path / "ran").exists()) == (0, False), done.stderr
    assert "count" in done.stdout


def test_every_process_that_the_package_starts_imports_nothing_from_the_current_folder():
    lists = [
        (str(path.relative_to(PACKAGE)), [ast.unparse(item) for item in node.elts])
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.List)
    ]
    starts = [(path, items[1]) for path, items in lists if items and items[0] == "sys.executable"]
    assert starts == [("datasets/building/isolated.py", "'-P'")]
