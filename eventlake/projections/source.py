"""Captures the source that identifies a Python projection, and runs it from that source alone."""

import ast
import builtins
import dis
import hashlib
import inspect
import os
import shutil
import sys
import textwrap
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from eventlake.caches import CACHES
from eventlake.errors import InvalidProjectionError, StorageError
from eventlake.projections.printing import printing_to_stderr
from eventlake.storage.scratch import new_folder

NOTEBOOK_FILE = "projection.py"
_installed = CACHES.bounded_map(4)
"""The top-level modules of installed packages, by import path: reading them takes some 0.3 s."""
_importing = threading.RLock()
_source_folders: list[str] = []
"""Folders of archived sources that are importable now."""


def _after_fork() -> None:
    global _importing  # noqa: PLW0603 - in a child, no thread may be left to release it
    _importing = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def capture(function: Callable[..., Any], files: Iterable[str] = ()) -> tuple[str, dict[str, str]]:
    """The entry and the sources of a function at the top level of a module or notebook.

    Returns:
        The entry ``FILE.py:NAME``, and the text of each file by its name.

    Raises:
        InvalidProjectionError: It is a lambda or closure, a file is missing, an import is neither
            installed nor declared, or a notebook function needs more than installed modules.
    """
    name = getattr(function, "__qualname__", "")
    # Names of lambdas and local functions contain <lambda> and <locals>.
    if not inspect.isfunction(function) or "<" in name or "." in name or function.__closure__:
        message = f"expected a function at the top level of a module, found {name or function!r}"
        hint = "a closure hides values that the source does not show; use parameters= instead."
        if not getattr(function, "__closure__", None):
            hint = (
                "define it with def, outside of functions and classes; "
                "parameters= are handed to it by name."
            )
        raise InvalidProjectionError(message, hint)
    file = inspect.getsourcefile(function)
    is_file = file is not None and Path(file).is_file()
    if (
        file is None
        or not is_file
        # The file of a notebook's cell is temporary, so the function itself is archived.
        or (function.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__"))
    ):
        return f"{NOTEBOOK_FILE}:{name}", {NOTEBOOK_FILE: _notebook_source(function)}
    sources = {Path(file).name: Path(file).read_text(encoding="utf-8")}
    for other in files:
        try:
            sources[other] = (Path(file).parent / other).read_text(encoding="utf-8")
        except OSError as error:
            message = f"declared file {other} of projection {name} cannot be read: {error}"
            raise InvalidProjectionError(
                message, f"files are relative to {Path(file).parent}."
            ) from error
    check_imports(sources)
    return f"{Path(file).name}:{name}", sources


def check_imports(sources: Mapping[str, str]) -> None:
    """Check that every import is installed or declared; others would decide rows without a hash.

    Raises:
        InvalidProjectionError: An import is neither installed nor among ``sources``, or a file is
            not valid Python.
    """
    for file, text in sources.items():
        if not file.endswith(".py"):
            continue
        try:
            tree = ast.parse(text, file)
        except (SyntaxError, ValueError) as error:
            message = f"{file} cannot be loaded: {type(error).__name__}: {error}"
            raise InvalidProjectionError(message, file=file) from error
        for top in sorted(_imported(tree)):
            if not _is_declared(top, sources) and not _is_installed(top):
                message = f"{file} imports {top!r}, which is neither installed nor declared"
                raise InvalidProjectionError(
                    message,
                    f'declare files = ["{top}.py"], so that it is hashed and archived.',
                    file=file,
                )


def _imported(tree: ast.AST) -> set[str]:
    """The top-level names of all imports, including those inside functions."""
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module} if node.module else {alias.name for alias in node.names}
    return {name.partition(".")[0] for name in names}


def _is_declared(top: str, sources: Mapping[str, str]) -> bool:
    return f"{top}.py" in sources or any(name.startswith(f"{top}/") for name in sources)


def _is_installed(module: str) -> bool:
    """Whether a module belongs to Python, to an installed package, or to eventlake."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == __name__.partition(".")[0]:
        return True
    # Metadata among the sources of a projection, importable while it runs, installs nothing.
    path = tuple(folder for folder in sys.path if folder not in _source_folders)
    names = _installed.get(path)
    # A notebook may install a package after its first projection.
    if names is None or top not in names:
        names = {name for package in distributions(path=list(path)) for name in _top_level(package)}
        _installed.put(path, names)
    return top in names


def _top_level(package: Distribution) -> set[str]:
    # As ``packages_distributions``, which always reads the whole ``sys.path``.
    if declared := (package.read_text("top_level.txt") or "").split():
        return set(declared)
    return {
        file.parts[0] if len(file.parts) > 1 else file.stem
        for file in package.files or ()
        if file.suffix == ".py"
    }


def _notebook_source(function: types.FunctionType) -> str:
    """The text of a module with the function and the imports it uses."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except OSError:
        message = (
            f"expected a function whose source can be read, found {function.__name__}, "
            "which was typed into python or made by exec"
        )
        hint = (
            "write it into a .py file and import it from there, or into a notebook; "
            "python -c and python - keep no source."
        )
        raise InvalidProjectionError(message, hint) from None
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.FunctionDef):
        message = f"expected a function defined with def, found {source.splitlines()[0]!r}"
        raise InvalidProjectionError(message)
    # Sorted, so that the archived text, which is hashed, is the same every time.
    names = sorted(_names_used(definition) | _globals_used(function.__code__))
    # Built-in names need no import, unless the notebook replaced them.
    imports = [
        _import(function, name)
        for name in names
        if name in function.__globals__ or not hasattr(builtins, name)
    ]
    # From ``def`` on: the decorator would declare the projection again when the source runs.
    lines = source.splitlines(keepends=True)[definition.lineno - 1 :]
    return "\n".join(imports) + "\n\n\n" + "".join(lines).rstrip() + "\n"


def _import(function: types.FunctionType, name: str) -> str:
    """The import statement that gives ``name`` its value.

    Raises:
        InvalidProjectionError: The value is not imported, so a later run would not have it.
    """
    value = function.__globals__.get(name)
    if isinstance(value, types.ModuleType) and _is_installed(value.__name__):
        return f"import {value.__name__} as {name}"
    home, own_name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if (
        isinstance(home, str)
        and isinstance(own_name, str)
        and getattr(sys.modules.get(home), own_name, None) is value
        and _is_installed(home)
    ):
        return f"from {home} import {own_name} as {name}"
    message = (
        f"{function.__name__} uses {name!r}, "
        "which is defined elsewhere in the notebook or in a file beside it"
    )
    hint = (
        "move the projection and what it needs into a .py file, define the value inside the "
        "function, or make it a parameter."
    )
    raise InvalidProjectionError(message, hint)


def _names_used(definition: ast.FunctionDef) -> set[str]:
    """Names in annotations and defaults, which running the definition looks up."""
    parts = [definition.args, *([definition.returns] if definition.returns else [])]
    return {node.id for part in parts for node in ast.walk(part) if isinstance(node, ast.Name)}


def _globals_used(code: types.CodeType) -> set[str]:
    """Global names that the function and its nested functions look up; attributes are excluded."""
    nested = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    own = {
        step.argval
        for step in dis.get_instructions(code)
        if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}
    }
    return own.union(*map(_globals_used, nested))


def load(entry: str, sources: Mapping[str, str]) -> Any:
    """Run the entry's source and return the function or class that it names.

    The sources are copied to an empty folder, so that nothing undeclared is imported by accident.
    The folder stays until the function is garbage collected, for it may import siblings when it is
    called.

    Raises:
        InvalidProjectionError: The source does not run, or has no such name.
    """
    found, folder = _run(entry, sources)
    function = getattr(found, "function", found)
    if not callable(function):
        shutil.rmtree(folder, ignore_errors=True)
        raise _not_in_source(entry)
    loaded = function if isinstance(function, type) else _with_siblings(function, folder)
    weakref.finalize(loaded, shutil.rmtree, folder, ignore_errors=True)
    return loaded


def load_value(entry: str, sources: Mapping[str, str]) -> Any:
    """Run the entry's source and return the value that it names; its files are then deleted.

    Raises:
        InvalidProjectionError: The source does not run, or has no such name.
    """
    found, folder = _run(entry, sources)
    shutil.rmtree(folder, ignore_errors=True)
    if found is None:
        raise _not_in_source(entry)
    return found


def _not_in_source(entry: str) -> InvalidProjectionError:
    file, _, name = entry.partition(":")
    message = f"there is no {name!r} in {file}"
    return InvalidProjectionError(message, "an entry is written FILE.py:NAME.", file=file)


def _run(entry: str, sources: Mapping[str, str]) -> tuple[Any, Path]:
    """The value that the entry names (None if there is none), and the folder of its sources."""
    folder = new_folder()
    try:
        return _run_in(folder, entry, sources), folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _run_in(folder: Path, entry: str, sources: Mapping[str, str]) -> Any:
    file, _, name = entry.partition(":")
    try:
        for other, text in sources.items():
            path = folder / other
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        message = (
            f"the source {file} cannot be copied to the folder for temporary files, {folder}: "
            f"{error.strerror}"
        )
        raise StorageError(
            message, "make room, or name another folder by the environment variable TMPDIR."
        ) from error
    digest = hashlib.sha256(sources[file].encode()).hexdigest()
    # Named by the content, so that two versions of a source do not replace each other.
    module = types.ModuleType(f"eventlake_projection_{digest[:16]}")
    module.__file__ = str(folder / file)
    # Dataclasses and pandera models look their module up by name, some of them only later.
    sys.modules[module.__name__] = module
    try:
        with _importing_from(folder), printing_to_stderr():
            exec(compile(sources[file], module.__file__, "exec"), module.__dict__)  # noqa: S102 - the caller trusts this source
    except (Exception, SystemExit) as error:
        message = f"{file} cannot be loaded: {type(error).__name__}: {error}"
        raise InvalidProjectionError(
            message, "it must run by itself, in an environment with what it imports.", file=file
        ) from error
    return getattr(module, name, None)


def _with_siblings(function: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """The function, with its sibling modules importable while it runs."""

    @wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        with _importing_from(folder):
            return function(*arguments, **named)

    return run


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Make the modules in ``folder`` importable within the block, hiding others of the same name.

    One thread at a time: ``sys.modules`` and ``sys.path`` belong to the process.
    """
    with _importing:
        names = {path.stem if path.suffix == ".py" else path.name for path in folder.iterdir()}
        # A module of this name that the caller has imported must not take the archived one's place.
        hidden = {
            name: module
            # Copied, because other threads may import while this one iterates.
            for name, module in sys.modules.copy().items()
            if name.partition(".")[0] in names
        }
        for name in hidden:
            del sys.modules[name]
        _source_folders.append(str(folder))
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.path.remove(str(folder))
            _source_folders.remove(str(folder))
            for name in [name for name in sys.modules.copy() if name.partition(".")[0] in names]:
                del sys.modules[name]
            sys.modules.update(hidden)
