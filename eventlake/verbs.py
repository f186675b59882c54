"""What every public verb does with what may come up anywhere.

A call that does not fit is told by what the function takes, and a missing attribute by what to
write. Text that UTF-8 cannot hold is the caller's mistake, wherever it is given. Ctrl-C in a query,
which DuckDB tells as an error of its own, is a KeyboardInterrupt. A forked process whose parent has
run Polars is refused: Polars' threads are not forked, and it would wait for them for ever. A
traceback prints what an error was raised from as well, so the text of libraries' errors is made
safe to show, too.
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
from eventlake.elsewhere import no_attribute, no_operation, refused_operations
from eventlake.errors import (
    EventlakeError,
    ForkedProcessError,
    InvalidInputError,
    UnsupportedOperationError,
)
from eventlake.visible import safe

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])
_AROUND = 10
_INTERRUPTED = "Query interrupted"
"""Said by DuckDB, as a RuntimeError, when a signal handler raised while a query ran; what it raised is lost."""
_CONTROL = re.compile(r"[\x00-\x1f]")
_POOL = re.compile(r"polars-[0-9]+\s*")
_TASKS = Path("/proc/self/task")


class _Process:
    """What a process knows of its threads.

    Attributes:
        has_run: Whether a verb has run in it.
        had_pool: Whether Polars' threads ran when it, or a process before it, was forked.
        lost_pool: Whether it was forked from a process with such threads.
    """

    has_run = False
    had_pool = False
    lost_pool = False


def _before_fork() -> None:
    _Process.had_pool = _has_pool()


def _after_fork() -> None:
    _Process.lost_pool = _Process.lost_pool or _Process.had_pool


def _has_pool() -> bool:
    """Whether Polars' threads run, by their names; on systems that do not list threads, whether a verb has run."""
    if not sys.platform.startswith("linux"):
        return _Process.has_run
    try:
        return any(_POOL.fullmatch(_name_of(task)) for task in _TASKS.iterdir())
    except OSError:
        return _Process.has_run


def _name_of(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:  # it has just ended
        return ""


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def check_not_forked() -> None:
    """Refuses a process that was forked after Polars had started its threads.

    Raises:
        ForkedProcessError: It was.
    """
    if _Process.lost_pool:
        message = f"process {os.getpid()} was forked from one in which Polars had started its threads, and would wait for them for ever"
        hint = "start processes by multiprocessing.get_context('spawn') or 'forkserver', or fork before the parent uses a lake."
        raise ForkedProcessError(message, hint)
    _Process.has_run = True


def _make_safe(error: EventlakeError) -> None:
    """Spells out the text of the errors that an error was raised from."""
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
    """A function that refuses such text and such processes, and that Ctrl-C ends with KeyboardInterrupt."""
    called = declaration(function)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        check_not_forked()
        try:
            return called(*args, **kwargs)
        except EventlakeError as error:
            _make_safe(error)
            raise
        except UnicodeEncodeError as error:
            # What stands beside it in a text of ours is cut away at the control character between
            # them.
            before = _CONTROL.split(error.object[max(error.start - _AROUND, 0) : error.start])[-1]
            found = before + _CONTROL.split(error.object[error.start : error.end + _AROUND])[0]
            message = f"expected text without lone surrogates, found {found!r}"
            raise InvalidInputError(
                message,
                "UTF-8 cannot hold half of a surrogate pair; decode the text again from its source.",
            ) from error
        except RuntimeError as error:
            if type(error) is RuntimeError and str(error).startswith(_INTERRUPTED):
                raise KeyboardInterrupt from None
            raise

    return cast("F", checked)


def declaration(function: F) -> F:
    """A function that only declares something, and tells a call that does not fit as a verb does."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (EventlakeError, UnicodeEncodeError):
            raise
        except Exception as error:
            if (told := misuse(function, args, kwargs)) is not None:
                raise told from error
            raise

    return cast("F", checked)


def _no_attribute(self: object, name: str) -> Any:
    if hasattr(type(self), name):  # a property of that name failed: it says why
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
    """A class whose missing attributes and operations are told by what to write."""
    kind.__getattr__ = _no_attribute  # type: ignore[attr-defined]
    for method in refused_operations(kind):
        setattr(kind, method, _no_operation(method))
    if "__bool__" not in dir(kind):
        kind.__bool__ = _is_true  # type: ignore[attr-defined]  # else Python would ask for the length
    return kind


def verbs(kind: C) -> C:
    """A class whose public methods, and whose constructor, are verbs, and which knows what its missing attributes are called."""
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
