"""Functions that declare features of single events: the first, the last and those before it.

Events at the same ``time`` are ordered by their sequence. See ``functions`` for the arguments.
"""

from typing import Any, overload

from eventlake.features.declared.calls import checked_call
from eventlake.features.declared.each_window import Where, Windows, each_window
from eventlake.features.declared.feature import Aggregate, FeatureList, Many
from eventlake.features.declared.window import Length


# Two signatures for each function: one window makes a feature, several make a list of features.
@overload
def last(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def last(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def last(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The field of the last event, of the field's type.

    Null if there is no event, or if the field of the last event is null.
    """
    return each_window("last", event_type, field, window, offset=offset, where=where)


@overload
def first(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def first(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def first(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The field of the first event, of the field's type.

    Null if there is no event, or if the field of the first event is null.
    """
    return each_window("first", event_type, field, window, offset=offset, where=where)


@overload
def lag(
    event_type: str,
    field: str,
    n: int = 1,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def lag(
    event_type: str,
    field: str,
    n: int = 1,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def lag(
    event_type: str,
    field: str,
    n: int = 1,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The field of the event ``n`` before the last, of the field's type.

    Null if there are not that many events, or if the field of that event is null.
    """
    return each_window("lag", event_type, field, window, offset=offset, where=where, n=n)


@overload
def delta(
    event_type: str,
    field: str,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Where = None,
) -> Aggregate: ...
@overload
def delta(
    event_type: str,
    field: str,
    *,
    window: Windows,
    offset: Length | None = None,
    where: Where = None,
) -> FeatureList: ...
@checked_call
def delta(
    event_type: str,
    field: str,
    *,
    window: Many = None,
    offset: Length | None = None,
    where: Where = None,
) -> Any:
    """The field of the last event minus that of the event before it; null if either is null.

    int64 for an integer field, a decimal for a decimal.
    """
    return each_window("delta", event_type, field, window, offset=offset, where=where, n=1)
