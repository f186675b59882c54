"""Turns calls that do not fit a function into errors with an example that does."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from eventlake.errors import InvalidInputError
from eventlake.features.declared.window import is_length

P = ParamSpec("P")
T = TypeVar("T")


def checked_call(function: Callable[P, T]) -> Callable[P, T]:
    """The function with a ``TypeError`` of its call replaced by an error with an example."""
    signature = inspect.signature(function)

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            # Bound before the call, so that a TypeError from inside the function is not taken for
            # this one.
            signature.bind(*args, **kwargs)
        except TypeError as error:
            name = function.__name__
            message = f"{name}{_shown(args, kwargs)}: {error}"
            raise InvalidInputError(message, f"write {_example(signature, name, args)}.") from None
        return function(*args, **kwargs)

    return called


def _shown(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    named = (f"{name}={value!r}" for name, value in kwargs.items())
    return f"({', '.join([*map(repr, args), *named])})"


def _example(signature: inspect.Signature, name: str, args: tuple[Any, ...]) -> str:
    """A call with the given arguments in their places, and examples for missing ones."""
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
