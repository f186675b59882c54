"""Convert schemas of tables: pyarrow's, and pandera's for Polars.

Pandera is duck-typed, so that appending does not require it. Every rule of such a schema is kept or
refused by name. The lists of known attributes below are complete: what a later version of a library
adds is refused until it is listed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, NoReturn

import polars as pl
import pyarrow as pa

from eventlake.errors import InvalidInputError
from eventlake.schemas.json_schema import exact_number
from eventlake.schemas.schema import Field, FieldType, Schema

_HINT = (
    "fields are integers, decimals, booleans, text, dates, timestamps in UTC, doubles, and lists"
    " and structs of these."
)
_CHECKS_HINT = (
    "supported are isin on text, ge and le on integers and decimals; check the rest in the schema"
    " of a dataset."
)
_NOTES = frozenset({"name", "title", "description", "metadata", "report_duplicates"})
"""Attributes that do not affect which payloads are valid."""
# unique_column_names always holds: no JSON object has a member twice.
_SCHEMA_KEPT = frozenset({"columns", "strict", "unique_column_names", *_NOTES})
_COLUMN_KEPT = frozenset({"dtype", "checks", "nullable", "required", *_NOTES})
_CHECK_KEPT = frozenset({
    *("statistics", "statistics_args", "check_fn", "check_kwargs", "ignore_na"),
    *("error", "n_failure_cases", "strategy", "native", "determined_by_unique", *_NOTES),
})  # fmt: skip
_AT_LEAST, _AT_MOST = "greater_than_or_equal_to", "less_than_or_equal_to"
# Without uint64, whose larger half does not fit into int64.
_INTEGERS: dict[pa.DataType, FieldType] = {
    pa.int8(): FieldType("int64", minimum="-128", maximum="127"),
    pa.int16(): FieldType("int64", minimum="-32768", maximum="32767"),
    pa.int32(): FieldType("int64", minimum="-2147483648", maximum="2147483647"),
    pa.int64(): FieldType("int64"),
    pa.uint8(): FieldType("int64", minimum="0", maximum="255"),
    pa.uint16(): FieldType("int64", minimum="0", maximum="65535"),
    pa.uint32(): FieldType("int64", minimum="0", maximum="4294967295"),
}


def from_arrow(event_type: str, schema: pa.Schema) -> Schema:
    """The schema with a field for each column; columns that are not nullable are required.

    Raises:
        InvalidInputError: No payload can hold a column's type exactly.
    """
    return Schema(event_type, FieldType("struct", fields=_fields(event_type, schema, "")))


def from_pandera(event_type: str, schema: Any) -> Schema:
    """The schema with a field for each column of a ``pandera.polars`` schema or model.

    A column that is required and not nullable is a required field. Of the checks, ``isin`` on text,
    ``ge`` and ``le`` on integers and decimals are understood, and an ``Enum`` is a list of values.

    Raises:
        InvalidInputError: The schema has another rule, or no payload can hold a column's type
            exactly.
    """
    described = schema.to_schema() if hasattr(schema, "to_schema") else schema
    if not isinstance(getattr(described, "columns", None), Mapping):
        message = (
            f"schema of {event_type}: expected a pandera.polars schema, found"
            f" {type(schema).__name__}"
        )
        raise InvalidInputError(message, _HINT, event_type=event_type)
    _check_known(event_type, "", described, _SCHEMA_KEPT)
    if described.strict not in {True, False}:
        _refuse(
            event_type,
            "",
            f"strict={described.strict!r} is not supported",
            "payloads are kept as given: strict is true or false.",
        )
    return Schema(
        event_type,
        FieldType(
            "struct",
            fields=tuple(
                _column(event_type, name, column) for name, column in described.columns.items()
            ),
            # ``strict`` refuses columns that the schema does not have, as a closed object refuses
            # members.
            closed=bool(described.strict),
        ),
    )


def _column(event_type: str, name: Any, column: Any) -> Field:
    if not isinstance(name, str):
        _refuse(event_type, repr(name), "expected text as the name of a column")
    _check_known(event_type, name, column, _COLUMN_KEPT)
    if column.dtype is None:
        _refuse(event_type, name, "expected a type, found none")
    # pandera means: if the column is there, it has no null. A payload's field cannot say that.
    if not column.required and not column.nullable:
        hint = (
            "a field that may be missing may be null too: set nullable=True, or required=True for a"
            " field that must have a value."
        )
        _refuse(event_type, name, "required=False with nullable=False is not supported", hint)
    kind = _polars_type(event_type, column.dtype.type, name)
    for check in column.checks:
        kind = _checked(event_type, kind, check, name, nullable=column.nullable)
    return Field(name, kind, column.required and not column.nullable)


def _check_known(event_type: str, path: str, described: Any, kept: frozenset[str]) -> None:
    """Refuse attributes that are set and not known."""
    # pandera keeps some options in private attributes.
    for attribute, value in vars(described).items():
        option = attribute.lstrip("_")
        empty = isinstance(value, list | tuple | dict) and not value
        if option not in kept and value is not None and value is not False and not empty:
            hint = (
                "leave it out: payloads are kept as given, and checked by types, nullable,"
                " required, strict and some checks."
            )
            _refuse(event_type, path, f"{option}={value!r} is not supported", hint)


def _checked(
    event_type: str, kind: FieldType, check: Any, path: str, *, nullable: bool
) -> FieldType:
    _check_known(event_type, path, check, _CHECK_KEPT)
    name, facts = check.name or "?", check.statistics or {}
    if not _is_builtin(check, name):
        _refuse(event_type, path, f"custom check {name!r} is not supported", _CHECKS_HINT)
    # Such a check refuses null, which the column allows.
    if nullable and not check.ignore_na:
        _refuse(
            event_type,
            path,
            f"check {name!r} with ignore_na=False of a nullable column is not supported",
            "set nullable=False.",
        )
    if (
        name == "isin"
        and kind.kind == "utf8"
        and all(isinstance(value, str) for value in facts["allowed_values"])
    ):
        return limited(event_type, kind, facts["allowed_values"], path)
    if kind.kind not in {"int64", "decimal"} or name not in {_AT_LEAST, _AT_MOST}:
        _refuse(event_type, path, f"check {name!r} of a {kind} is not supported", _CHECKS_HINT)
    bound = exact_number(facts["min_value" if name == _AT_LEAST else "max_value"])
    if bound is None:
        _refuse(event_type, path, f"check {name!r} needs a number, found {facts!r}", _CHECKS_HINT)
    return bounded(kind, bound if name == _AT_LEAST else None, bound if name == _AT_MOST else None)


def _is_builtin(check: Any, name: str) -> bool:
    """Whether a check is pandera's own; a user's check may have the same name."""
    builtins = getattr(type(check), "CHECK_FUNCTION_REGISTRY", {})
    function = vars(check).get("_check_fn")
    return (
        name in builtins
        and type(function) is type(builtins[name])
        and getattr(function, "__name__", None) == name
    )


def limited(event_type: str, kind: FieldType, values: Iterable[str], path: str) -> FieldType:
    """Text limited to some values, within the values that are allowed already."""
    left = set(values) & set(kind.values) if kind.values else set(values)
    if not left:
        _refuse(
            event_type,
            path,
            "no value is allowed by all that limits it",
            "leave out one of the limits.",
        )
    return replace(kind, values=tuple(sorted(left)))


def bounded(kind: FieldType, minimum: Decimal | None, maximum: Decimal | None) -> FieldType:
    """A number within its own bounds and the given ones."""
    low = max((Decimal(one) for one in (kind.minimum, minimum) if one is not None), default=None)
    high = min((Decimal(one) for one in (kind.maximum, maximum) if one is not None), default=None)
    return replace(
        kind,
        minimum=None if low is None else f"{low:f}",
        maximum=None if high is None else f"{high:f}",
    )


def _refuse(event_type: str, path: str, problem: str, hint: str = _HINT) -> NoReturn:
    message = f"schema of {event_type}, field {path or '(payload)'}: {problem}"
    raise InvalidInputError(message, hint, event_type=event_type, field=path)


def _polars_type(event_type: str, kind: Any, path: str) -> FieldType:
    """The type of a Polars column; an ``Enum`` is limited to its categories, at any depth."""
    if isinstance(kind, pl.Enum):
        return limited(event_type, FieldType("utf8"), kind.categories.to_list(), path)
    if isinstance(kind, pl.List):
        return FieldType("list", item=_polars_type(event_type, kind.inner, f"{path}[]"))
    if isinstance(kind, pl.Struct):
        fields = (
            (field.name, _polars_type(event_type, field.dtype, f"{path}.{field.name}"))
            for field in kind.fields
        )
        return FieldType("struct", fields=tuple(Field(name, inner) for name, inner in fields))
    if kind == pl.Object:
        _refuse(event_type, path, f"{kind} is not supported")
    try:
        # Polars itself says which Arrow type a column has.
        arrow = pl.Series([], dtype=kind).to_arrow().type
    except (pa.ArrowException, pl.exceptions.PolarsError, TypeError, ValueError) as error:
        message = f"schema of {event_type}, field {path}: {kind} is not supported"
        raise InvalidInputError(message, _HINT, event_type=event_type, field=path) from error
    return _type(event_type, arrow, path)


def _fields(event_type: str, fields: Iterable[pa.Field], path: str) -> tuple[Field, ...]:
    below = f"{path}." if path else ""
    return tuple(
        Field(field.name, _type(event_type, field.type, below + field.name), not field.nullable)
        for field in fields
    )


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
    if kind in _INTEGERS:
        return _INTEGERS[kind]
    plain = (
        ("bool", types.is_boolean(kind)),
        ("float64", types.is_float64(kind)),
        (
            "utf8",
            types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind),
        ),
        ("date", types.is_date32(kind)),
        ("timestamp", types.is_timestamp(kind) and kind.unit == "us" and kind.tz == "UTC"),
    )
    for name, fits in plain:
        if fits:
            return FieldType(name)
    hint = "the one timestamp is of microseconds in UTC." if types.is_timestamp(kind) else _HINT
    _refuse(event_type, path, f"{kind} is not supported", hint)
