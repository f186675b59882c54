"""Explain a failed call of a public function by the arguments that the function takes.

Arguments are inspected only after a call has failed. So a valid call costs nothing, and a
function's own, more precise checks come first.
"""

import importlib
import inspect
import os
import types
import typing
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any

from eventlake.errors import InvalidInputError

_MAX_CHARACTERS = 100
_TYPE_NAMES = {
    str: "text",
    bytes: "bytes",
    bool: "True or False",
    int: "an integer",
    float: "a number",
    type(None): "None",
    date: "a date",
    datetime: "a datetime",
    timedelta: "a timedelta, such as timedelta(days=7)",
    os.PathLike: "a path",
    abc.Callable: "a function",
}
_UNIONS = (typing.Union, types.UnionType)
# NumPy's numbers count as well.
_NUMBERS: dict[type, type] = {int: Integral, float: Real}
_OWNERS = {
    "Lake": "lake",
    "Snapshot": "snapshot",
    "Dataset": "dataset",
    "EventSpine": "spine",
    "DeclaredSpine": "spine",
    "DeclaredSet": "features",
    "Writer": "writer",
}
_SYNONYMS = {
    "as_of": "at",
    "watermark": "at",
    "version": "at",
    "timestamp": "at",
    "date": "at",
    "known_at": "known",
    "as_known": "known",
    "entity": "by",
    "group_by": "by",
    "test_size": "test",
    "random_state": "salt",
    "seed": "salt",
    "dropna": "unknown",
    "delete": "dry_run",
    "n_jobs": "workers",
    "on_duplicate": "duplicates",
    "params": "parameters",
    "keys": "key",
    "primary_key": "key",
}
"""Argument names of other libraries, and ours."""


def misuse(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> InvalidInputError | None:
    """Say what is wrong with a failed call.

    Returns:
        None if the arguments fit the function's signature and annotations.
    """
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        return _does_not_bind(function, signature, kwargs, error)
    hints = argument_types(function)
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if (
            name in hints
            and kind not in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
            and not _fits(value, hints[name])
        ):
            return _wrong_type(function, name, value, hints[name])
    return None


def argument_types(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function's arguments, as far as their annotations can be evaluated."""
    # Public classes may be imported for type checkers only.
    package = importlib.import_module("eventlake")
    public = {name: getattr(package, name) for name in package.__all__}
    hints: dict[str, Any] = {}
    for name, annotation in inspect.get_annotations(function).items():
        one = types.SimpleNamespace(__annotations__={name: annotation})
        with suppress(NameError, TypeError):
            hints |= typing.get_type_hints(one, {**public, **function.__globals__})
    return hints


def _does_not_bind(
    function: Callable[..., Any],
    signature: inspect.Signature,
    kwargs: Mapping[str, Any],
    error: TypeError,
) -> InvalidInputError:
    called = _call_name(function)
    taken = [one.name for one in signature.parameters.values() if one.name not in {"self", "cls"}]
    # Unknown names first, because the right name can be suggested.
    for name in kwargs:
        if name not in signature.parameters:
            ours = _SYNONYMS.get(name)
            near = [ours] if ours in taken else get_close_matches(name, taken, 1)
            suggestion = f"did you mean {near[0]}=? " if near else ""
            return InvalidInputError(
                f"{called}() has no argument {name!r}", f"{suggestion}{_usage(called, signature)}"
            )
    return InvalidInputError(f"{called}(): {error}", _usage(called, signature))


def _wrong_type(
    function: Callable[..., Any], name: str, value: Any, hint: Any
) -> InvalidInputError:
    expected = _type_name(hint)
    found = repr(value)
    found = (
        found
        if len(found) <= _MAX_CHARACTERS
        else f"{found[:_MAX_CHARACTERS]}… ({type(value).__name__})"
    )
    what = (
        f"put it into a list: {name}=[{found}]"
        if isinstance(value, str) and expected.startswith("a list")
        else None
    )
    message = f"{_call_name(function)}(): expected {name} as {expected}, found {found}"
    return InvalidInputError(message, f"{what or f'write {name}= as {expected}'}.", argument=name)


def _call_name(function: Callable[..., Any]) -> str:
    """The function as a caller writes it: ``lake.build``, ``el.create``, ``el.Projection.sql``."""
    owner, _, name = function.__qualname__.rpartition(".")
    if name == "__init__":
        return f"el.{owner}"
    if owner:
        return f"{_OWNERS.get(owner, f'el.{owner}')}.{name}"
    return (
        f"el.spine.{name}"
        if function.__module__ == "eventlake.features.spines.spine"
        else f"el.{name}"
    )


def _usage(called: str, signature: inspect.Signature) -> str:
    shown = [
        one.replace(annotation=inspect.Parameter.empty)
        for one in signature.parameters.values()
        if one.name not in {"self", "cls"}
    ]
    text = str(signature.replace(parameters=shown, return_annotation=inspect.Signature.empty))
    return f"it is called {called}{text.replace('(/, ', '(').replace(', /', '')}."


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has the annotated type; True if that cannot be decided."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return any(_fits(value, part) for part in parts)
    kind = type(None) if hint is None else origin or hint
    if not isinstance(kind, type) or kind is object:
        return True
    if kind in _NUMBERS:
        return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool)
    # A string is iterable, yet where a list of names is expected it is a mistake.
    text = isinstance(value, str | bytes) and origin is not None and issubclass(kind, Iterable)
    try:
        fits = isinstance(value, kind) and not text
    except TypeError:  # a protocol without runtime checks
        return True
    members = parts and isinstance(value, list | tuple | set | frozenset)
    return fits and (not members or all(_fits(one, parts[0]) for one in value))


def _type_name(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        return " or ".join(
            dict.fromkeys(_type_name(part) for part in parts if part is not type(None))
        )
    kind = origin or hint
    if kind in _TYPE_NAMES:
        return _TYPE_NAMES[kind]
    if not isinstance(kind, type):
        return str(hint)
    if issubclass(kind, Iterable) and parts:
        return "a dict" if issubclass(kind, Mapping) else f"a list of {_plural(parts[0])}"
    return f"a {kind.__name__}"


def _plural(hint: Any) -> str:
    return "texts" if hint is str else _type_name(hint).removeprefix("an ").removeprefix("a ")
