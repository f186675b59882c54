"""Declares a feature for one window, or for each window of a list."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

from eventlake.errors import InvalidInputError
from eventlake.features.declared.conditions import Condition, Value
from eventlake.features.declared.feature import FeatureList, Many, aggregate
from eventlake.features.declared.window import Length

Windows = (
    list[str]
    | list[timedelta]
    | list[str | None]
    | list[Length]
    | list[Length | None]
    | tuple[Length | None, ...]
)
Where = Condition | Mapping[str, Value] | None


def each_window(kind: str, event_type: str, of: str | None, window: Many, **more: Any) -> Any:
    """An ``Aggregate`` for one window, a ``FeatureList`` for a list of them."""
    if not isinstance(window, (list, tuple)):
        return aggregate(kind, event_type, of, window=cast("Length | None", window), **more)
    if not window:
        message = (
            f"{kind}({event_type!r}): expected window as text such as '90d', or a list of such, "
            f"found {window!r}"
        )
        raise InvalidInputError(message)
    return FeatureList(aggregate(kind, event_type, of, window=one, **more) for one in window)
