"""Messages for attributes and operations that an object does not have, with a suggestion."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from eventlake.suggestions.names import NAMES
from eventlake.suggestions.operations import OPERATIONS, REFUSALS

_PREFIXES = {"eventlake": "el.", "eventlake.features.spines.spine": "el.spine."}
_ONLY_WITH_ADVICE = frozenset({"bool", "call", "next"})
"""Refused only if there is something to suggest.

Every other object must stay true, and ``callable`` must be False for it.
"""


def _expand(table: Mapping[str, str]) -> dict[str, str]:
    """Give each of several names a key of its own; a later entry wins."""
    return {name: advice for names, advice in table.items() for name in names.split()}


_NAMES = {owner: _expand(table) for owner, table in NAMES.items()}
_OPERATIONS = {owner: _expand(table) for owner, table in OPERATIONS.items()}


def refused_operations(cls: type) -> list[str]:
    """The special methods that objects of ``cls`` lack and that should be refused with advice."""
    advice = _inherited(_OPERATIONS, cls)
    # ``object`` has comparisons of its own, which only answer NotImplemented.
    own = {method for one in cls.__mro__[:-1] for method in vars(one)}
    return [
        f"__{name}__"
        for name in REFUSALS
        if f"__{name}__" not in own and (name not in _ONLY_WITH_ADVICE or name in advice)
    ]


def no_operation(cls: type, method: str) -> tuple[str, str | None]:
    """The message and the hint for an operation that objects of ``cls`` do not have."""
    advice, name = _inherited(_OPERATIONS, cls), method.strip("_")
    # Without ``__contains__``, Python iterates.
    hint = advice.get(name) or (advice.get("iter") if name == "contains" else None)
    return f"{cls.__name__!r} object {REFUSALS[name]}", f"{hint}." if hint else None


def no_attribute(cls: type, name: str) -> str:
    """The message for an attribute that objects of ``cls`` do not have."""
    message = f"{cls.__name__!r} object has no attribute {name!r}"
    return message + _suggestion(name, _inherited(_NAMES, cls), dir(cls))


def no_name(module: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that a module does not have."""
    message = f"module {module!r} has no attribute {name!r}"
    return message + _suggestion(name, _NAMES.get(module, {}), known, _PREFIXES[module])


def _inherited(tables: Mapping[str, Mapping[str, str]], cls: type) -> dict[str, str]:
    return {key: text for one in cls.__mro__ for key, text in tables.get(one.__name__, {}).items()}


def _suggestion(name: str, table: Mapping[str, str], known: Iterable[str], prefix: str = "") -> str:
    # Python and notebooks look for such names all the time, and nobody reads the message.
    if name.startswith("_"):
        return ""
    if name in table:
        return f": {table[name]}"
    # ``tocsv`` and ``toCSV`` are near ``to_csv``.
    public = {one.replace("_", "").casefold(): one for one in known if not one.startswith("_")}
    near = get_close_matches(name.replace("_", "").casefold(), public, 1, cutoff=0.7)
    return f": did you mean {prefix}{public[near[0]]}?" if near else ""
