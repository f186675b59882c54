"""From the schemas of tables: pyarrow's, and pandera's for Polars (duck-typed: whoever appends needs no pandera)."""

from collections.abc import Iterable
from typing import Any

import polars as pl
import pyarrow as pa

from eventlake.errors import InvalidInputError
from eventlake.schemas.definition import Field, FieldType, Schema

_HINT = "fields are integers, decimals, booleans, text, dates, timestamps in UTC, doubles, and lists and structs of these."


def from_arrow(event_type: str, schema: pa.Schema) -> Schema:
    """The schema with a field for each column; one that is not nullable is required.

    Raises:
        InvalidInputError: A type that no payload can hold exactly.
    """
    return Schema(event_type, FieldType("struct", fields=_fields(event_type, schema, "")))


def from_pandera(event_type: str, schema: Any) -> Schema:
    """The schema with a field for each column of a ``pandera.polars`` schema or model.

    A column that is required and not nullable is a required field. Of the checks, ``isin`` on text, ``ge`` and ``le`` on integers and
    decimals are understood.

    Raises:
        InvalidInputError: Another check, or a type that no payload can hold exactly.
    """
    described = schema.to_schema() if hasattr(schema, "to_schema") else schema
    fields = []
    for name, column in described.columns.items():
        if column.dtype is None:
            message = f"schema of {event_type}, field {name}: expected a type, found none"
            raise InvalidInputError(message, _HINT, event_type=event_type, field=name)
        kind = _type(event_type, pl.Series([], dtype=column.dtype.type).to_arrow().type, name)
        for check in column.checks:
            kind = _checked(event_type, kind, check, name)
        fields.append(Field(name, kind, column.required and not column.nullable))
    return Schema(event_type, FieldType("struct", fields=tuple(fields), closed=bool(described.strict)))


def _checked(event_type: str, kind: FieldType, check: Any, path: str) -> FieldType:
    facts = check.statistics or {}
    name = check.name or "?"
    if name == "isin" and kind.kind == "utf8" and all(isinstance(value, str) for value in facts["allowed_values"]):
        return FieldType("utf8", values=tuple(sorted(set(facts["allowed_values"]))))
    if kind.kind in {"int64", "decimal"} and name == "greater_than_or_equal_to":
        return FieldType(kind.kind, kind.precision, kind.scale, minimum=f"{facts['min_value']}", maximum=kind.maximum)
    if kind.kind in {"int64", "decimal"} and name == "less_than_or_equal_to":
        return FieldType(kind.kind, kind.precision, kind.scale, minimum=kind.minimum, maximum=f"{facts['max_value']}")
    message = f"schema of {event_type}, field {path}: check {name!r} of a {kind} is not supported"
    hint = "understood are isin on text, ge and le on integers and decimals; check the rest in the schema of a dataset."
    raise InvalidInputError(message, hint, event_type=event_type, field=path)


def _fields(event_type: str, fields: Iterable[pa.Field], path: str) -> tuple[Field, ...]:
    below = f"{path}." if path else ""
    return tuple(Field(field.name, _type(event_type, field.type, below + field.name), not field.nullable) for field in fields)


def _type(event_type: str, kind: pa.DataType, path: str) -> FieldType:
    types = pa.types
    if types.is_dictionary(kind):
        return _type(event_type, kind.value_type, path)
    if types.is_struct(kind):
        return FieldType("struct", fields=_fields(event_type, kind, path))
    if types.is_list(kind) or types.is_large_list(kind):
        return FieldType("list", item=_type(event_type, kind.value_type, f"{path}[]"))
    if types.is_decimal(kind):
        return FieldType("decimal", precision=kind.precision, scale=kind.scale)
    plain = (
        ("bool", types.is_boolean(kind)),
        ("int64", types.is_integer(kind) and kind != pa.uint64()),
        ("float64", types.is_float64(kind)),
        ("utf8", types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)),
        ("date", types.is_date32(kind)),
        ("timestamp", types.is_timestamp(kind) and kind.unit in {"s", "ms", "us"} and kind.tz == "UTC"),
    )
    for name, fits in plain:
        if fits:
            return FieldType(name)
    message = f"schema of {event_type}, field {path}: {kind} is not supported"
    raise InvalidInputError(message, _HINT, event_type=event_type, field=path)
