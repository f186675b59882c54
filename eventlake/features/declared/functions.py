"""Functions that declare features of events: ``el.count("payment.missed", window="90d")``.

All functions take the events of one type, of the row's entity, in a window:

- ``window``: The events in ``[cutoff - window, cutoff)`` count; an event at the cutoff does not.
  Everything before the cutoff counts without a window. A list of windows (None for no window) makes
  a list of features, which ``.name("late")`` calls ``late_30d``, ``late_90d``.
- ``offset``: Ends the window that much before the cutoff.
- ``where``: A condition on the event's fields, or a dict of fields and the values they must have.
"""

from typing import Any, overload

from eventlake.errors import InvalidInputError
from eventlake.features.aggregates.table import AGGREGATES
from eventlake.features.declared.calls import checked_call
from eventlake.features.declared.each_window import Where, Windows, each_window
from eventlake.features.declared.feature import (
    Aggregate,
    Arithmetic,
    Feature,
    FeatureList,
    Many,
)
from eventlake.features.declared.window import Length

# Every function spells out its two overloads. A Protocol with an overloaded ``__call__`` would hold
# them once, but then editors show a variable of that type instead of a function with its docstring,
# and mypy's errors name the Protocol.
_ELSEWHERE = {
    "nunique": "write el.distinct(type, field)",
    "n_unique": "write el.distinct(type, field)",
    "count_distinct": "write el.distinct(type, field)",
    "avg": "write el.mean(type, field)",
    "average": "write el.mean(type, field)",
    "stddev": "write el.std(type, field)",
    "var": "write el.std(type, field), and square it when the model is trained",
    "any": "write el.exists(type, where=…)",
    "latest": "write el.last(type, field)",
    "shift": "write el.lag(type, field, n)",
    "diff": "write el.delta(type, field)",
    "age": "write el.since_first(type)",
    "recency": "write el.since_last(type)",
    "percentile": "write el.quantile(type, field, 0.95)",
    "mode": (
        "there is no such feature; count each value with where=, or take the most frequent in SQL "
        "over a spine"
    ),
}


# Two signatures for each function: one window makes a feature, several make a list of features.
@overload
def count(
    event_type: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def count(
    event_type: str, *, window: Windows, offset: Length | None = None, where: Where = None
) -> FeatureList: ...
@checked_call
def count(
    event_type: str, *, window: Many = None, offset: Length | None = None, where: Where = None
) -> Any:
    """The number of events, as int64; 0 if there are none."""
    return each_window("count", event_type, None, window, offset=offset, where=where)


@overload
def exists(
    event_type: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def exists(
    event_type: str, *, window: Windows, offset: Length | None = None, where: Where = None
) -> FeatureList: ...
@checked_call
def exists(
    event_type: str, *, window: Many = None, offset: Length | None = None, where: Where = None
) -> Any:
    """Whether there is an event, as bool."""
    return each_window("exists", event_type, None, window, offset=offset, where=where)


@overload
def since_last(
    event_type: str,
    *,
    unit: str = "d",
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def since_last(
    event_type: str,
    *,
    unit: str = "d",
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def since_last(
    event_type: str,
    *,
    unit: str = "d",
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """Time from the last event to the cutoff, as float64; null if there is no event.

    In days, or in the ``unit`` ``h``, ``m`` (minutes) or ``s``.
    """
    return each_window(
        "since_last", event_type, None, window, offset=offset, where=where, unit=unit
    )


@overload
def since_first(
    event_type: str,
    *,
    unit: str = "d",
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def since_first(
    event_type: str,
    *,
    unit: str = "d",
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def since_first(
    event_type: str,
    *,
    unit: str = "d",
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """Time from the first event to the cutoff, as float64; null if there is no event.

    In days, or in the ``unit`` ``h``, ``m`` (minutes) or ``s``.
    """
    return each_window(
        "since_first", event_type, None, window, offset=offset, where=where, unit=unit
    )


@overload
def rate(
    event_type: str,
    *,
    window: Length,
    unit: str = "d",
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def rate(
    event_type: str,
    *,
    window: Windows,
    unit: str = "d",
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def rate(
    event_type: str,
    *,
    window: Many,
    unit: str = "d",
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """Events per day over the whole length of the window, as float64.

    ``unit`` may be ``h``, ``m`` or ``s`` for events per hour, minute or second.

    Raises:
        InvalidInputError: A window is missing.
    """
    if not window or (isinstance(window, (list, tuple)) and None in window):
        message = f"rate({event_type!r}): expected a window, over whose length events are counted"
        raise InvalidInputError(message)
    return each_window("rate", event_type, None, window, offset=offset, where=where, unit=unit)


@checked_call
def ratio(part: Feature, whole: Feature) -> Arithmetic:
    """One feature divided by another, as float64.

    Null if either is null, or if the second is 0.
    """
    if not all(isinstance(one, Feature) for one in (part, whole)):
        message = f"ratio(): expected two features, found {part!r} and {whole!r}"
        raise InvalidInputError(
            message,
            "write el.ratio(el.count('payment.missed', window='90d'), "
            "el.count('payment.received', window='90d')).",
        )
    return part / whole


def no_feature(name: str) -> str | None:
    """What to write for a feature that other libraries call ``name``; None for other names."""
    of_field = sorted(name for name, kind in AGGREGATES.items() if kind.takes_field)
    kinds = [*of_field, *sorted({*AGGREGATES, "ratio"} - {*of_field})]
    return f"{_ELSEWHERE[name]}. Features are {', '.join(kinds)}" if name in _ELSEWHERE else None
