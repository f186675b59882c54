"""What every public verb does with what may come up anywhere.

Text that UTF-8 cannot hold is the caller's mistake, wherever it is given. Ctrl-C in a query, which DuckDB tells as an error of its own, is
a KeyboardInterrupt.
"""

import functools
import re
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

from eventlake.errors import InvalidInputError

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])
_AROUND = 10
_INTERRUPTED = "Query interrupted"
"""Said by DuckDB, as a RuntimeError, when a signal handler raised while a query ran; what it raised is lost."""
_CONTROL = re.compile(r"[\x00-\x1f]")


def verb(function: F) -> F:
    """A function that refuses such text, and shows where it stands, and that Ctrl-C ends with KeyboardInterrupt."""

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except UnicodeEncodeError as error:
            # What stands beside it in a text of ours is cut away at the control character between them.
            before = _CONTROL.split(error.object[max(error.start - _AROUND, 0) : error.start])[-1]
            found = before + _CONTROL.split(error.object[error.start : error.end + _AROUND])[0]
            message = f"expected text without lone surrogates, found {found!r}"
            raise InvalidInputError(
                message, "UTF-8 cannot hold half of a surrogate pair; decode the text again from its source."
            ) from error
        except RuntimeError as error:
            if type(error) is RuntimeError and str(error).startswith(_INTERRUPTED):
                raise KeyboardInterrupt from None
            raise

    return cast("F", checked)


def verbs(kind: C) -> C:
    """A class whose public methods are verbs."""
    for name, value in list(vars(kind).items()):
        if name.startswith("_"):
            continue
        if isinstance(value, FunctionType):
            setattr(kind, name, verb(value))
        elif isinstance(value, classmethod | staticmethod):
            setattr(kind, name, type(value)(verb(value.__func__)))
    return kind
