"""How modules are named."""

import ast
from pathlib import Path

import pytest

import eventlake

ROOT = Path(eventlake.__file__).parent
PACKAGES = sorted(path.parent for path in ROOT.rglob("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT.parent)))
def test_no_package_hides_one_of_its_modules_behind_another_name(package):
    modules = {path.stem for path in package.iterdir() if path.suffix == ".py"}
    modules |= {path.name for path in package.iterdir() if (path / "__init__.py").exists()}
    here = ".".join(package.relative_to(ROOT.parent).parts)
    tree = ast.parse((package / "__init__.py").read_text())
    bound = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != here
        for alias in node.names
    }
    bound |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert not modules & bound
