"""The source that identifies a Python projection, and running it again from that source alone."""

import ast
import dis
import hashlib
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from eventlake.errors import InvalidProjectionError

NOTEBOOK_FILE = "projection.py"


def capture(function: Callable[..., Any], files: Iterable[str] = ()) -> tuple[str, dict[str, str]]:
    """``(entry, {file name: text})`` of a function at the top level of a module or notebook.

    Raises:
        InvalidProjectionError: A lambda or closure, a missing file, or a notebook function that needs more than imported modules.
    """
    name = getattr(function, "__qualname__", "")
    if not inspect.isfunction(function) or "<" in name or "." in name or function.__closure__:
        message = f"expected a function at the top level of a module, found {name or function!r}"
        raise InvalidProjectionError(message, "a closure hides values that the source does not show; use parameters= instead.")
    file = inspect.getsourcefile(function)
    if function.__module__ != "__main__" and file is not None and Path(file).is_file():
        return _of_module(name, Path(file), files)
    if file is not None and Path(file).is_file() and not file.startswith("<") and getattr(sys.modules["__main__"], "__file__", None):
        return _of_module(name, Path(file), files)
    return f"{NOTEBOOK_FILE}:{name}", {NOTEBOOK_FILE: _of_notebook(function)}


def _of_module(name: str, file: Path, files: Iterable[str]) -> tuple[str, dict[str, str]]:
    sources = {file.name: file.read_text(encoding="utf-8")}
    for other in files:
        try:
            sources[other] = (file.parent / other).read_text(encoding="utf-8")
        except OSError as error:
            message = f"declared file {other} of projection {name} cannot be read: {error}"
            raise InvalidProjectionError(message, f"files are relative to {file.parent}.") from error
    return f"{file.name}:{name}", sources


def _of_notebook(function: types.FunctionType) -> str:
    """A module that holds the function and the imports it uses."""
    source = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.FunctionDef):
        message = f"expected a function defined with def, found {source.splitlines()[0]!r}"
        raise InvalidProjectionError(message)
    definition.decorator_list = []
    imports = []
    for name in sorted(_names_used(definition) | _globals_used(function.__code__)):
        value = function.__globals__.get(name)
        if isinstance(value, types.ModuleType) and _is_installed(value):
            imports.append(f"import {value.__name__} as {name}")
        elif name in function.__globals__:
            message = f"{function.__name__} uses {name!r}, which is defined elsewhere in the notebook or in a file beside it"
            hint = "move the projection and what it needs into a .py file, define the value inside the function, or make it a parameter."
            raise InvalidProjectionError(message, hint)
    lines = source.splitlines(keepends=True)[definition.lineno - 1 :]
    return "\n".join(imports) + "\n\n\n" + "".join(lines).rstrip() + "\n"


def _is_installed(module: types.ModuleType) -> bool:
    """Whether the module comes with Python or a package; a file beside the notebook would be missing from the source."""
    top = module.__name__.partition(".")[0]
    return top in sys.stdlib_module_names or top == __name__.partition(".")[0] or top in packages_distributions()


def _names_used(definition: ast.FunctionDef) -> set[str]:
    """Names that running the definition looks up: in annotations and defaults."""
    looked_up = [definition.args, *([definition.returns] if definition.returns else [])]
    return {node.id for part in looked_up for node in ast.walk(part) if isinstance(node, ast.Name)}


def _globals_used(code: types.CodeType) -> set[str]:
    """Names that running the function looks up outside of it; attributes are not among them."""
    nested = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    own = {step.argval for step in dis.get_instructions(code) if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    return own.union(*map(_globals_used, nested))


def load(entry: str, sources: Mapping[str, str], folder: Path) -> Callable[..., Any]:
    """Runs the entry's source and returns its function. Siblings are imported from ``folder``, where ``sources`` must stand as files.

    Raises:
        InvalidProjectionError: There is no such function in it.
    """
    file, _, name = entry.partition(":")
    digest = hashlib.sha256(sources[file].encode()).hexdigest()
    module = types.ModuleType(f"eventlake_projection_{digest[:16]}")
    module.__file__ = str(folder / file)
    # Dataclasses and pandera models look their module up by name, some of them only later.
    sys.modules[module.__name__] = module
    try:
        with _importing_from(folder):
            exec(compile(sources[file], module.__file__, "exec"), module.__dict__)  # noqa: S102 - the caller trusts this source
    except Exception as error:
        message = f"{file} cannot be loaded: {type(error).__name__}: {error}"
        raise InvalidProjectionError(message, "it must run by itself, in an environment with what it imports.", file=file) from error
    found = getattr(module, name, None)
    function = getattr(found, "function", found)
    if not callable(function):
        message = f"there is no function {name!r} in {file}"
        raise InvalidProjectionError(message, "an entry is written FILE.py:FUNCTION.", file=file)
    return function  # type: ignore[no-any-return]


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Makes sibling modules importable for a while, and forgets them again: another dataset may have siblings of the same name."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]
