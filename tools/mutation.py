"""Mutation tests of the core, the compiler of features and appending: ``make mutation``.

A mutant is one small change in one function: another comparison, a number one larger, a condition
that always holds, a call left out. The tests that call the function run until one fails. A mutant
lives if none does: a test is missing, the code does nothing, or the change makes no difference.

Every mutant is a fork of a process that has imported everything; in it, the code of the function is
exchanged. mutmut forks after it has run the tests, when the threads of Polars no longer answer in a
child; cosmic-ray imports everything anew for every mutant. What modules compute while they are
imported is not changed, nor is code that tests run in other processes.
"""

import argparse
import ast
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import NamedTuple

import hypothesis
import pytest

import eventlake

ROOT = Path(__file__).parents[1]
PACKAGES = ["eventlake/core", "eventlake/features/planned", "eventlake/log/appending"]
TESTS = [
    f"{ROOT}/tests/{name}"
    for name in ["core", "datasets", "features", "formats", "lake", "log", "security"]
]
CALLS = ROOT / "build" / "mutation-calls.json"
"""What each test calls, from the run before; delete it to record that again."""
DESCRIPTIONS = {"__repr__", "__str__", "_repr_html_", "card"}
FEW, MANY = 20, 200
NOTHING = "returns None"
PAIRS = [
    *[(ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.Is, ast.IsNot)],
    *[(ast.In, ast.NotIn), (ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.FloorDiv)],
    *[(ast.BitOr, ast.BitAnd), (ast.LShift, ast.RShift)],
]
OTHER = dict(PAIRS) | {b: a for a, b in PAIRS} | {ast.Mod: ast.FloorDiv, ast.BitXor: ast.BitOr}


class Mutator(ast.NodeTransformer):
    """Lists the changes that a function allows, and makes the one with the wanted number."""

    def __init__(self, wanted: int = -1) -> None:
        self.wanted, self.found = wanted, list[str]()

    def visit(self, node: ast.AST) -> ast.AST:
        """Change what is inside, then the node; messages, annotations and defaults stay."""
        match node:
            case ast.Raise() | ast.JoinedStr() | ast.arguments() | ast.MatchValue():
                return node
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                node.body = [self.visit(part) for part in node.body]
                return node
            case ast.AnnAssign():
                node.value = node.value and self.visit(node.value)
                return node
        self.generic_visit(node)
        for text, change in _changes(node):
            self.found.append(f"{getattr(node, 'lineno', 0)}: {text}")
            if len(self.found) - 1 == self.wanted:
                return ast.copy_location(change() or node, node)
        return node


def _changes(  # noqa: C901, PLR0912 - one case for each kind of change
    node: ast.AST,
) -> Iterator[tuple[str, Callable[[], ast.AST | None]]]:
    match node:
        case ast.Compare(ops=ops):
            for at, op in enumerate(ops):
                new = OTHER[type(op)]
                yield f"{_name(op)} -> {new.__name__}", lambda a=at, n=new: ops.__setitem__(a, n())
        case ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in OTHER:
            new = OTHER[type(op)]
            yield f"{_name(op)} -> {new.__name__}", lambda: setattr(node, "op", new())
        case ast.UnaryOp(op=ast.Not()):
            yield "without not", lambda: node.operand
        case ast.Constant(value=bool(value)):
            yield f"{value} -> {not value}", lambda: ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield f"{value} -> {value + 1}", lambda: ast.Constant(value + 1)
        case ast.Expr(value=ast.Call()):
            yield f"without {ast.unparse(node)}", ast.Pass
        case ast.Return(value=ast.AST() as value) if ast.unparse(value) != "None":
            yield NOTHING, lambda: ast.Return(ast.Constant(None))
        case ast.Tuple(elts=[_, _, *_]) | ast.List(elts=[_, _, *_]) if isinstance(
            node.ctx, ast.Load
        ):
            for at, part in enumerate(node.elts):
                yield f"without element {ast.unparse(part)}", lambda a=at: node.elts.pop(a) and None
        case ast.comprehension(ifs=[_, *_]):
            yield f"without if {ast.unparse(node.ifs[0])}", lambda: node.ifs.pop(0) and None
        case ast.If(test=test) | ast.IfExp(test=test):
            for value in (True, False):
                text = f"if {ast.unparse(test)} -> if {value}"
                yield text, lambda v=value: setattr(node, "test", ast.Constant(v))


def _name(node: ast.AST) -> str:
    return type(node).__name__


class Mutant(NamedTuple):
    """One change of one function; ``place`` names the function as ``_place`` does its code."""

    path: str
    place: str
    number: int
    text: str

    def code(self) -> CodeType:
        """The changed code of the function."""
        tree = ast.parse((ROOT / self.path).read_bytes())
        (function,) = [one for one in _functions(tree.body) if _at(self.path, one) == self.place]
        Mutator(self.number).visit(function)
        module = compile(
            ast.fix_missing_locations(tree), ROOT / self.path, "exec", dont_inherit=True
        )
        return next(code for code in _codes(module) if _place(code) == self.place)


def _functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    """The outermost functions, and the methods of classes."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node.body)
        elif isinstance(node, ast.FunctionDef) and node.name not in DESCRIPTIONS:
            yield node


def _at(path: str, node: ast.FunctionDef) -> str:
    # The code of a function begins at its first decorator.
    return f"{path}:{min(part.lineno for part in [node, *node.decorator_list])}:{node.name}"


def _place(code: CodeType) -> str:
    path = code.co_filename.removeprefix(f"{ROOT}/")
    return f"{path}:{code.co_firstlineno}:{code.co_name}" if path.startswith("eventlake/") else ""


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def choose(count: int, seed: int) -> list[Mutant]:
    """A sample of the mutants, spread over all functions by the square root of their number."""
    draw, ranked = random.Random(seed), []  # noqa: S311 - not for secrets
    for file in sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        path = str(file.relative_to(ROOT))
        for function in _functions(ast.parse(file.read_bytes()).body):
            mutator = Mutator()
            mutator.visit(function)
            every = [Mutant(path, _at(path, function), *one) for one in enumerate(mutator.found)]
            # Tests kill a function that returns nothing easily, so that says little about others.
            every = [one for one in every if not one.text.endswith(NOTHING)] or every
            draw.shuffle(every)
            share = len(every) ** 0.5
            ranked += [((at - draw.random()) / share, one) for at, one in enumerate(every, 1)]
    print(f"{count} of {len(ranked)} mutants")
    return [one for _, one in sorted(ranked)[:count]]


class _Plugin:
    """Runs chosen tests in their order as long as there is time, or records what all tests call."""

    def __init__(self, tests: list[str] | None = None, end: float = float("inf")) -> None:
        self.rank = {test: at for at, test in enumerate(tests)} if tests is not None else None
        self.end, self.seen = end, set[CodeType]()
        self.calls, self.failed, self.passed = {}, list[str](), 0

    def pytest_configure(self) -> None:
        # An example that fails is enough; making it smaller takes minutes.
        phases = [phase for phase in hypothesis.Phase if phase.name not in {"shrink", "explain"}]
        hypothesis.settings.register_profile("once", hypothesis.settings.default, phases=phases)
        hypothesis.settings.load_profile("once")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.rank is not None:
            items[:] = [item for item in items if item.nodeid in self.rank]
            items.sort(key=lambda item: self.rank[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if time.process_time() > self.end:
            item.session.shouldstop = "the time is up"
        if self.rank is not None:
            return (yield)
        self.seen.clear()
        begun = time.monotonic()
        threading.settrace(self.see)
        sys.settrace(self.see)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            places = sorted(
                one for one in map(_place, self.seen) if one.startswith(tuple(PACKAGES))
            )
            self.calls[item.nodeid] = {"seconds": time.monotonic() - begun, "calls": places}

    def see(self, frame: FrameType, *_: object) -> None:
        self.seen.add(frame.f_code)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        # Test modules may call the mutant while they are imported.
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed += report.when == "call" and report.passed
        if report.failed:
            self.failed.append(report.nodeid)


def _pytest(plugin: _Plugin, files: list[str]) -> _Plugin:
    ignored = ["-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    stop = ["-x"] if plugin.rank is not None else []
    pytest.main(["-q", "-o", "timeout=0", *ignored, *stop, *files], plugins=[plugin])
    return plugin


def _file(test: str) -> str:
    return test.partition("::")[0]


def record_calls() -> str:
    """Run every test, and return what it calls and its duration as JSON, if it passes."""
    plugin = _pytest(_Plugin(), TESTS)
    return json.dumps({test: plugin.calls[test] for test in plugin.calls.keys() - plugin.failed})


def run(mutant: Mutant | None, tests: list[str], seconds: float) -> str:
    """Run tests of a mutant until one fails, and return its name, or how many passed."""
    if mutant is not None:
        code = mutant.code()
        for thing in gc.get_objects():
            if isinstance(thing, FunctionType) and _place(thing.__code__) == mutant.place:
                thing.__code__ = code
    end, passed = time.process_time() + seconds, 0
    # Collecting many files takes longer than a few tests, so the first tests go alone.
    for some in (tests[:FEW], tests[FEW:MANY], tests[MANY:]):
        if not some or time.process_time() > end:
            break
        plugin = _pytest(_Plugin(some, end), list(dict.fromkeys(map(_file, some))))
        if plugin.failed:
            return plugin.failed[0]
        passed += plugin.passed
    return f"lives: {passed} of {len(tests)} tests passed"


def fork(task: Callable[[], str], seconds: float) -> str:
    """What a task returns in a process of its own, with folders of its own."""
    folder = tempfile.mkdtemp(prefix="mutant-")
    answer, output = Path(folder, "answer"), Path(folder, "output")
    child = os.fork()
    if not child:
        os.setsid()
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        for stream in (1, 2):
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        try:
            answer.write_text(task())
        finally:
            os._exit(0)
    until = time.monotonic() + seconds
    while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        if time.monotonic() > until:
            answer.write_text("no end")
            break
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    text = answer.read_text() if answer.exists() else "no answer"
    shutil.rmtree(folder, ignore_errors=True)
    return text


def main() -> None:
    """Run a sample of the mutants, and print which live."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=400, help="mutants in the sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--seconds", type=float, default=10, help="of tests for each mutant")
    parser.add_argument("--only", default="", help="run those whose line contains this text")
    arguments = parser.parse_args()
    os.environ["EVENTLAKE_TESTS"] = "quick"
    os.chdir(ROOT)
    for module in pkgutil.walk_packages(eventlake.__path__, "eventlake."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    if not CALLS.exists():
        CALLS.parent.mkdir(exist_ok=True)
        CALLS.write_text(fork(record_calls, 7200))
    calls = json.loads(CALLS.read_text())
    results, killers = Counter[str](), defaultdict[str, Counter[str]](Counter)
    for mutant in choose(arguments.count, arguments.seed):
        line = f"{mutant.path}:{mutant.text} ({mutant.place.rpartition(':')[2]}, {mutant.number})"
        if arguments.only not in line:
            continue
        tests = [test for test in calls if mutant.place in calls[test]["calls"]]
        # A test that killed a mutant of the module is likely to kill the next one, and so is a
        # short one that calls little else.
        kills, cost = killers[mutant.path], {one: calls[one]["seconds"] for one in tests}
        tests.sort(
            key=lambda one: (-kills[one], cost[one] > 1, len(calls[one]["calls"]), cost[one])
        )
        task = lambda m=mutant, t=tests: run(m, t, arguments.seconds)  # noqa: E731
        result = fork(task, 60 + 4 * arguments.seconds)
        kills[result] += 1
        package = next(package for package in PACKAGES if mutant.path.startswith(package))
        verdict = "LIVES" if result.startswith("lives") else "killed"
        results[f"{package}: {verdict}"] += 1
        print(f"{verdict} {line} [{result}]", flush=True)
    # A test that fails without a mutant, or in another order, has killed nothing.
    tests = [test for test in calls if any(kills[test] for kills in killers.values())]
    print("without a mutant:", fork(lambda: run(None, tests, float("inf")), 3600))
    for key, count in sorted(results.items()):
        print(f"{key} {count}")


if __name__ == "__main__":
    main()
