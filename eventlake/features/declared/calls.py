"""Calls that do not fit a function, told as mistakes in a declaration are."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from eventlake.errors import InvalidInputError
from eventlake.features.declared.window import is_length

P = ParamSpec("P")
T = TypeVar("T")


def checked_call(function: Callable[P, T]) -> Callable[P, T]:
    """The function, which refuses arguments that it does not take by saying how it is called."""
    signature = inspect.signature(function)

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            name = function.__name__
            message = f"{name}{_shown(args, kwargs)}: {error}"
            raise InvalidInputError(message, f"write {_example(signature, name, args)}.") from None
        return function(*args, **kwargs)

    return called


def _shown(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"({', '.join([*map(repr, args), *(f'{name}={value!r}' for name, value in kwargs.items())])})"


def _example(signature: inspect.Signature, name: str, args: tuple[Any, ...]) -> str:
    """A call that has what was given at its place, and what is missing by an example."""
    taken = [
        one
        for one in signature.parameters.values()
        if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    texts = [one for one in args if isinstance(one, str)]
    window = next((one for one in texts[1:] if is_length(one)), "90d")
    given = [one for one in texts if not is_length(one)]
    examples: dict[str, Any] = {"event_type": "payment.missed", "field": "amount", "q": 0.9}
    names = [one.name for one in taken if one.default is inspect.Parameter.empty]
    if name == "ratio":
        return "ratio(part, whole), both features"
    shown = [
        repr(given[place] if place < len(given) else examples[one])
        for place, one in enumerate(names)
    ]
    return f"el.{name}({', '.join(shown)}, window={window!r})"
