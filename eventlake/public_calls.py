"""Decorators of the public interface, for what can go wrong in every call.

- A wrong call is explained by the arguments that the function takes, and a missing attribute by
  a suggestion.
- Text that UTF-8 cannot encode is the caller's mistake, wherever it is given.
- Ctrl-C in a query, which DuckDB reports as an error of its own, is a KeyboardInterrupt.
- A process forked from one that ran Polars is refused: Polars' threads are not forked, and the
  process would wait for them forever.
- A traceback also prints the causes of an error, so their texts are made safe to print too.
"""

import functools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

from eventlake.arguments import misuse
from eventlake.errors import (
    EventlakeError,
    ForkedProcessError,
    InvalidInputError,
    UnsupportedOperationError,
)
from eventlake.suggestions.suggest import no_attribute, no_operation, refused_operations
from eventlake.visible import safe

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])
_CONTEXT_CHARACTERS = 10
_INTERRUPTED = "Query interrupted"
"""DuckDB's RuntimeError if a signal handler raised during a query; the original is lost."""
_CONTROL = re.compile(r"[\x00-\x1f]")
_POOL = re.compile(r"polars-[0-9]+\s*")
_TASKS = Path("/proc/self/task")


class _Process:
    """The state of this process's Polars threads.

    Attributes:
        has_run: Whether a verb has run in this process.
        had_pool: Whether Polars' threads ran before the last fork.
        lost_pool: Whether this process was forked from one with such threads.
    """

    has_run = False
    had_pool = False
    lost_pool = False


def _before_fork() -> None:
    _Process.had_pool = _has_pool()


def _after_fork() -> None:
    _Process.lost_pool = _Process.lost_pool or _Process.had_pool


def _has_pool() -> bool:
    # Linux names threads. Elsewhere a verb that has run is taken to have started the pool.
    if not sys.platform.startswith("linux"):
        return _Process.has_run
    try:
        return any(_POOL.fullmatch(_name_of(task)) for task in _TASKS.iterdir())
    except OSError:
        return _Process.has_run


def _name_of(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:  # the thread has just ended
        return ""


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def check_not_forked() -> None:
    """Refuse a process that was forked after Polars had started its threads.

    Raises:
        ForkedProcessError: The process was forked so.
    """
    if _Process.lost_pool:
        message = (
            f"process {os.getpid()} was forked from one in which Polars had started its threads, "
            "and would wait for them forever"
        )
        hint = (
            "start processes by multiprocessing.get_context('spawn') or 'forkserver', "
            "or fork before the parent uses a lake."
        )
        raise ForkedProcessError(message, hint)
    _Process.has_run = True


def _make_safe(error: EventlakeError) -> None:
    """Escape the texts of the errors that caused an error."""
    # A chain of causes can contain a cycle.
    seen: set[int] = set()
    cause = error.__cause__ or error.__context__
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if not isinstance(cause, EventlakeError):
            cause.args = tuple(safe(one) if isinstance(one, str) else one for one in cause.args)
        if isinstance(cause, SyntaxError):
            cause.msg, cause.text = safe(cause.msg), cause.text and safe(cause.text)
        cause = cause.__cause__ or cause.__context__


def verb(function: F) -> F:
    """Wrap a public function with every check of this module."""
    explained = declaration(function)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        check_not_forked()
        try:
            return explained(*args, **kwargs)
        except EventlakeError as error:
            _make_safe(error)
            raise
        except UnicodeEncodeError as error:
            # The text may be a joined one of ours, with control characters as separators; only
            # the caller's own part is shown.
            before = _CONTROL.split(
                error.object[max(error.start - _CONTEXT_CHARACTERS, 0) : error.start]
            )[-1]
            found = (
                before
                + _CONTROL.split(error.object[error.start : error.end + _CONTEXT_CHARACTERS])[0]
            )
            message = f"expected text without lone surrogates, found {found!r}"
            hint = (
                "UTF-8 cannot hold half of a surrogate pair; decode the text again from its source."
            )
            raise InvalidInputError(message, hint) from error
        except RuntimeError as error:
            if type(error) is RuntimeError and str(error).startswith(_INTERRUPTED):
                raise KeyboardInterrupt from None
            raise

    return cast("F", checked)


def declaration(function: F) -> F:
    """Wrap a public function that only declares something, so that it explains a wrong call."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        # These are precise already.
        except (EventlakeError, UnicodeEncodeError):
            raise
        except Exception as error:
            if (mistake := misuse(function, args, kwargs)) is not None:
                raise mistake from error
            raise

    return cast("F", checked)


def _no_attribute(self: object, name: str) -> Any:
    if hasattr(type(self), name):  # a property raised AttributeError; raise it again
        return getattr(type(self), name).__get__(self)
    raise AttributeError(no_attribute(type(self), name), name=name)


def _no_operation(method: str) -> Callable[..., Any]:
    def refused(self: object, *_: object) -> Any:
        message, hint = no_operation(type(self), method)
        raise UnsupportedOperationError(message, hint)

    return refused


def _is_true(_: object) -> bool:
    return True


def helpful(kind: C) -> C:
    """Make a class explain its missing attributes and operations."""
    kind.__getattr__ = _no_attribute  # type: ignore[attr-defined]
    for method in refused_operations(kind):
        setattr(kind, method, _no_operation(method))
    if "__bool__" not in dir(kind):
        kind.__bool__ = _is_true  # type: ignore[attr-defined]  # else Python would ask for the length
    return kind


def verbs(kind: C) -> C:
    """Wrap the constructor and the public methods of a class, and make it explain what it lacks."""
    if isinstance(vars(kind).get("__init__"), FunctionType):
        kind.__init__ = verb(kind.__init__)  # type: ignore[misc]
    helpful(kind)
    for name, value in list(vars(kind).items()):
        if name.startswith("_"):
            continue
        if isinstance(value, FunctionType):
            setattr(kind, name, verb(value))
        elif isinstance(value, classmethod | staticmethod):
            setattr(kind, name, type(value)(verb(value.__func__)))
    return kind
