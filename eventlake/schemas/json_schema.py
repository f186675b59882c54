"""Convert the part of JSON Schema that describes columns; other keywords are refused by name.

See https://json-schema.org/draft/2020-12.

``integer`` is int64, ``number`` with a ``multipleOf`` of a power of ten is a decimal, ``number``
without one a double, ``string`` text, a date (``format: date``) or an instant (``format:
date-time``); objects are structs, arrays lists, ``enum`` limits text, ``minimum`` and ``maximum``
integers and decimals. A decimal has 18 digits, as many as its bounds need, or as many as
``x-precision`` says.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

from eventlake.errors import InvalidInputError
from eventlake.schemas.schema import Field, FieldType, Schema

DEFAULT_PRECISION = 18
"""The precision of a decimal without bounds."""
PRECISION = "x-precision"
"""The precision of a decimal. JSON Schema has no keyword for it, but allows further keywords."""
_NOTES = frozenset(
    {
        "$schema",
        "$id",
        "$comment",
        "title",
        "description",
        "examples",
        "default",
        "deprecated",
        "readOnly",
        "writeOnly",
    }
)
"""Keywords that do not affect which payloads are valid."""
_KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items"},
    "string": {"format", "enum", "const"},
    "number": {"multipleOf", "minimum", "maximum", PRECISION},
    "integer": {"multipleOf", "minimum", "maximum"},
    "boolean": set[str](),
}
_FORMATS = {"date": "date", "date-time": "timestamp"}


def from_json_schema(event_type: str, document: Mapping[str, Any]) -> Schema:
    """The schema that a JSON Schema of a payload describes.

    Raises:
        InvalidInputError: A keyword is not supported; no keyword is ignored silently.
    """
    return Schema(event_type, _type(event_type, document, ""))


def _refuse(event_type: str, path: str, problem: str) -> NoReturn:
    message = f"schema of {event_type}, field {path or '(payload)'}: {problem}"
    hint = (
        "supported are type, properties, required, additionalProperties, items, enum, const,"
        " format date and date-time, multipleOf."
    )
    raise InvalidInputError(message, hint, event_type=event_type, field=path)


def _type(event_type: str, document: Any, path: str) -> FieldType:
    if not isinstance(document, Mapping):
        _refuse(event_type, path, f"expected an object, found {document!r}")
    kind = _kind(event_type, document, path)
    # Names are sorted as text, because a dict from Python may have names of any type.
    unknown = sorted(set(document) - _NOTES - _KEYWORDS[kind] - {"type"}, key=str)
    if unknown:
        _refuse(event_type, path, f"keyword {unknown[0]!r} beside type {kind!r} is not supported")
    if kind == "object":
        return _object(event_type, document, path)
    if kind == "array":
        if _is_nullable(document.get("items")):
            _refuse(event_type, f"{path}[]", "items cannot be null")
        return FieldType("list", item=_type(event_type, document.get("items"), f"{path}[]"))
    if kind == "string":
        return _text(event_type, document, path)
    if kind == "boolean":
        return FieldType("bool")
    return _number(event_type, document, kind, path)


def _kind(event_type: str, document: Mapping[str, Any], path: str) -> str:
    """The type, without ``null``: every field that is not required may be null anyway."""
    named = document.get("type")
    kinds: list[Any] = []
    if isinstance(named, str):
        kinds = [named]
    elif isinstance(named, list):
        kinds = [one for one in named if one != "null"]
    if len(kinds) != 1 or not isinstance(kinds[0], str) or kinds[0] not in _KEYWORDS:
        _refuse(
            event_type, path, f"expected one type among {', '.join(_KEYWORDS)}, found {named!r}"
        )
    return str(kinds[0])


def _is_nullable(document: Any) -> bool:
    return (
        isinstance(document, Mapping)
        and isinstance(document.get("type"), list)
        and "null" in document["type"]
    )


def _object(event_type: str, document: Mapping[str, Any], path: str) -> FieldType:
    properties, required = document.get("properties", {}), document.get("required", [])
    if (
        not isinstance(properties, Mapping)
        or not _are_texts(required)
        or not _are_texts(list(properties))
    ):
        _refuse(
            event_type, path, "expected properties as an object and required as a list of names"
        )
    undeclared = sorted(set(required) - set(properties))
    if undeclared:
        _refuse(event_type, path, f"{undeclared[0]!r} is required and not among the properties")
    additional = document.get("additionalProperties", True)
    if not isinstance(additional, bool):
        _refuse(event_type, path, "additionalProperties must be true or false")
    fields = []
    for name, property_ in properties.items():
        below = f"{path}.{name}" if path else name
        # A required field is never null here: ``required`` means that there is a value.
        if name in required and _is_nullable(property_):
            _refuse(event_type, below, "a required field cannot be null; leave it out of required")
        fields.append(Field(name, _type(event_type, property_, below), name in required))
    return FieldType("struct", fields=tuple(fields), closed=not additional)


def _text(event_type: str, document: Mapping[str, Any], path: str) -> FieldType:
    limits = [document["enum"]] if "enum" in document else []
    limits += [[document["const"]]] if "const" in document else []
    # A nullable enum lists null among its values.
    if limits and isinstance(limits[0], list) and _is_nullable(document):
        limits[0] = [value for value in limits[0] if value is not None]
    for values in limits:
        if not _are_texts(values):
            _refuse(event_type, path, f"expected the values of enum as text, found {values!r}")
    if "format" in document:
        format_ = document["format"]
        if limits or not isinstance(format_, str) or format_ not in _FORMATS:
            _refuse(
                event_type,
                path,
                f"expected format {' or '.join(_FORMATS)}, without enum, found {format_!r}",
            )
        return FieldType(_FORMATS[format_])
    allowed = set.intersection(*map(set, limits)) if limits else set()
    if limits and not allowed:
        _refuse(event_type, path, "no value is allowed by enum and const")
    return FieldType("utf8", values=tuple(sorted(allowed)))


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _number(event_type: str, document: Mapping[str, Any], kind: str, path: str) -> FieldType:
    step = document.get("multipleOf")
    minimum, maximum = (_bound(event_type, document, name, path) for name in ("minimum", "maximum"))
    if kind == "integer":
        if "multipleOf" in document and exact_number(step) != 1:
            _refuse(event_type, path, f"multipleOf {step!r} of an integer is not supported")
        return FieldType("int64", minimum=minimum, maximum=maximum)
    if "multipleOf" not in document:
        if minimum or maximum or PRECISION in document:
            _refuse(
                event_type,
                path,
                "minimum and maximum of a number need a multipleOf such as 0.01, which makes it"
                " exact",
            )
        return FieldType("float64")
    scale = _scale(step)
    if scale is None:
        _refuse(
            event_type, path, f"expected multipleOf as a power of ten such as 0.01, found {step!r}"
        )
    # The digits before the point that the bounds need.
    digits = max(
        (len(bound.lstrip("-").partition(".")[0]) for bound in (minimum, maximum) if bound),
        default=0,
    )
    precision = document.get(PRECISION, max(digits + scale, DEFAULT_PRECISION))
    if not isinstance(precision, int) or isinstance(precision, bool):
        _refuse(event_type, path, f"expected {PRECISION} as a whole number, found {precision!r}")
    return FieldType("decimal", precision=precision, scale=scale, minimum=minimum, maximum=maximum)


def _bound(event_type: str, document: Mapping[str, Any], name: str, path: str) -> str | None:
    """A bound in plain notation; None if there is none."""
    if name not in document:
        return None
    exact = exact_number(document[name])
    if exact is None:
        _refuse(event_type, path, f"expected {name} as a number, found {document[name]!r}")
    return f"{exact:f}"


def exact_number(value: Any) -> Decimal | None:
    """A finite number as it is spelled; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        # Through the text: ``Decimal(0.01)`` is the double's value, with more than 50 digits.
        exact = Decimal(str(value))
    except InvalidOperation:
        return None
    return exact if exact.is_finite() else None


def _scale(step: Any) -> int | None:
    """The digits after the point that a step allows; None if it is not 1, 0.1, 0.01 and so on."""
    exact = exact_number(step)
    # Normalized, so that 0.010 is the same step as 0.01.
    sign, digits, exponent = (exact if exact is not None else Decimal(0)).normalize().as_tuple()
    if sign or digits != (1,) or not isinstance(exponent, int) or exponent > 0:
        return None
    return -exponent


def to_json_schema(kind: FieldType) -> dict[str, Any]:
    """The JSON Schema of a type; ``from_json_schema`` reads it back as the same type."""
    if kind.kind == "struct":
        required = [field.name for field in kind.fields if field.required]
        document: dict[str, Any] = {
            "type": "object",
            "properties": {field.name: to_json_schema(field.type) for field in kind.fields},
        }
        return (
            document
            | ({"required": required} if required else {})
            | ({"additionalProperties": False} if kind.closed else {})
        )
    if kind.item is not None:
        return {"type": "array", "items": to_json_schema(kind.item)}
    if kind.kind in {"date", "timestamp", "utf8"}:
        format_ = {name: {"format": spelled} for spelled, name in _FORMATS.items()}.get(
            kind.kind, {}
        )
        return {"type": "string"} | format_ | ({"enum": list(kind.values)} if kind.values else {})
    if kind.kind in {"bool", "float64"}:
        return {"type": "boolean" if kind.kind == "bool" else "number"}
    document = (
        {"type": "integer"}
        if kind.kind == "int64"
        else {"type": "number", "multipleOf": _number_of(f"1e-{kind.scale}")}
    )
    document |= {
        name: _number_of(bound)
        for name, bound in (("minimum", kind.minimum), ("maximum", kind.maximum))
        if bound is not None
    }
    # The precision is written only where reading the document would choose another one.
    plain = kind.kind == "int64" or (
        kind.precision == DEFAULT_PRECISION and kind.minimum is kind.maximum is None
    )
    return document if plain else document | {PRECISION: kind.precision}


def _number_of(text: str) -> int | float:
    """A number whose JSON text is ``text``."""
    exact = Decimal(text)
    return int(exact) if exact == exact.to_integral_value() else float(exact)
