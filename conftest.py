"""Runs the code blocks of README and docs: sessions as doctests, consoles as commands that must succeed."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from eventlake.cli import main

ROOT = Path(__file__).parent


class SessionParser(PythonCodeBlockParser):
    """Finds Python sessions: ``pycon`` blocks, which the site shows with prompts and output apart from code."""

    def __init__(self) -> None:
        super().__init__()
        self.codeblock_parser = CodeBlockParser("pycon", PythonEvaluator())


_SHELL = re.compile(r"[|<>;&*?$`(){}~\\]")


def run_console(example: Example) -> None:
    """Runs each ``$`` line, which must exit 0: commands of eventlake in this process, others in a shell.

    Those of the README, which a newcomer types first, all run in a shell.
    """
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for line in example.parsed.splitlines():
        if not line.startswith("$ "):
            pytest.fail(f"a console block holds commands only, found {line!r}")
        name, *arguments = shlex.split(line[2:])
        if (
            name == "eventlake"
            and Path(example.path).name != "README.md"
            and not _SHELL.search(line[2:])
        ):
            with pytest.raises(SystemExit) as ended:
                main(arguments)
            if ended.value.code:
                pytest.fail(f"{line} exited with {ended.value.code}")
            continue
        done = subprocess.run(  # noqa: S602
            line[2:], shell=True, capture_output=True, text=True, env=environment, check=False
        )
        if done.returncode:
            pytest.fail(f"{line}\n{done.stdout}\n{done.stderr}")


def compile_python(example: Example) -> None:
    """Compiles a ``py`` block: code for a scheduler that the tests do not install."""
    compile(example.parsed, f"{example.path}:{example.line}", "exec")


def parse_toml(example: Example) -> None:
    """Parses a ``toml`` block."""
    tomllib.loads(example.parsed)


@pytest.fixture(scope="module")
def workplace(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch_module: pytest.MonkeyPatch
) -> None:
    """A folder of its own, in which ``datasets/`` is there as in a checkout."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "datasets").symlink_to(ROOT / "datasets")
    monkeypatch_module.chdir(folder)


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    """``monkeypatch`` for the length of a file."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


pytest_collect_file = Sybil(
    parsers=[
        SessionParser(),
        CodeBlockParser(language="console", evaluator=run_console),
        CodeBlockParser(language="py", evaluator=compile_python),
        CodeBlockParser(language="toml", evaluator=parse_toml),
    ],
    path=str(ROOT),
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
    fixtures=["workplace"],
).pytest()
