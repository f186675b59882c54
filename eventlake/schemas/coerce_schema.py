"""Convert the kinds of schema that a caller may pass to ``Schema``."""

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from eventlake.core.attributes import MAX_ATTRIBUTE_BYTES
from eventlake.core.names import OURS, is_ours, is_pattern
from eventlake.errors import InvalidInputError
from eventlake.schemas.json_schema import from_json_schema
from eventlake.schemas.schema import MAX_NESTING, Schema
from eventlake.schemas.tabular import from_arrow, from_pandera

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SHOWN = 60


def schema_of(event_type: str, given: Any) -> Schema:
    """The schema of an event type.

    Args:
        event_type: The event type.
        given: A JSON Schema, a pyarrow schema, a pandera schema or model, or a ``Schema``.

    Raises:
        InvalidInputError: ``given`` is something else, belongs to another event type, or contains
            something that is not supported.
    """
    try:
        described = _described(event_type, given)
    # The schema may be nested without end, or refer to itself.
    except RecursionError as error:
        message = (
            f"schema of {event_type}: expected fields at most {MAX_NESTING} levels deep, found more"
        )
        raise InvalidInputError(message, event_type=event_type) from error
    if is_ours(event_type):
        message = f"expected the name of an event type, found {event_type!r}"
        raise InvalidInputError(
            message,
            f"names that begin with {OURS!r} are reserved for internal tables.",
            event_type=event_type,
        )
    if _CONTROL.search(event_type) or len(event_type.encode()) > MAX_ATTRIBUTE_BYTES:
        message = (
            "expected the name of an event type, without control characters and of at most"
            f" {MAX_ATTRIBUTE_BYTES:,} bytes, found {event_type[:_SHOWN]!r} of"
            f" {len(event_type.encode()):,} bytes"
        )
        raise InvalidInputError(message, "no event can be of such a type.", event_type=event_type)
    for name in described.columns:
        # Checked here and not in Schema: older lakes may contain such names.
        if problem := _misread(name):
            message = f"schema of {event_type}, field {name}: {problem}"
            hint = "leave the field out of the schema: it stays in data."
            raise InvalidInputError(message, hint, event_type=event_type, field=name)
    return described


def _misread(name: str) -> str | None:
    """Why a column must not have this name; None if it may."""
    if is_pattern(name):
        return "Polars would read the name as a pattern of names"
    if is_ours(name):
        return f"names that begin with {OURS!r} are reserved for internal columns"
    return None


def _described(event_type: str, given: Any) -> Schema:
    if isinstance(given, Schema):
        if given.event_type != event_type:
            message = f"expected a schema of {event_type}, found one of {given.event_type}"
            raise InvalidInputError(message, event_type=event_type)
        return given
    if isinstance(given, Mapping):
        return from_json_schema(event_type, given)
    if isinstance(given, pa.Schema):
        return from_arrow(event_type, given)
    # By their attributes: pandera is not imported for callers who do not use it.
    if hasattr(given, "to_schema") or hasattr(given, "columns"):
        return from_pandera(event_type, given)
    message = f"expected a schema of {event_type}, found {type(given).__name__}"
    hint = (
        "give a JSON Schema as a dict, a pandera.polars model or schema, a pyarrow schema, or the "
        "schema of a proposal: lake.infer_schema(…).schema."
    )
    raise InvalidInputError(message, hint, event_type=event_type)
