"""The schema of one event type's payload: typed fields, as plain values with one hash.

A field may be absent or null unless it is required. The types are those of
docs/reference/format.md, "Schemas".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from msgspec import UNSET, Meta, UnsetType

from eventlake.caches import CACHES
from eventlake.core.attributes import RESERVED_TYPES
from eventlake.core.documents.stored import Document, Text, spelled
from eventlake.core.hashing.canonical import canonical_json, sha256_hex
from eventlake.core.names import repeated
from eventlake.errors import InvalidInputError
from eventlake.schemas.limits import Choices, NumberRange

SCALARS = ("bool", "date", "decimal", "float64", "int64", "timestamp", "utf8")
KINDS = (*SCALARS, "list", "struct")
MAX_DIGITS = 38
MAX_NESTING = 16
"""The deepest nesting of columns; payloads may be nested more deeply."""
ENVELOPE = ("sequence", "id", "source", "subject", "time", "recorded_at", "corrects", "correction")
"""Columns of every event table; a field of the same name becomes ``data_<name>``."""


_Digits = Annotated[int, Meta(ge=0, le=MAX_DIGITS)]
_Bound = Annotated[str, spelled(r"-?[0-9]{1,80}(?:\.[0-9]{1,80})?", "a number in plain notation")]


class TypeDocument(Document):
    """A type as a catalogue stores it; ``FieldType`` describes the members."""

    kind: Literal[
        "bool", "date", "decimal", "float64", "int64", "timestamp", "utf8", "list", "struct"
    ]
    precision: _Digits | UnsetType = UNSET
    scale: _Digits | UnsetType = UNSET
    values: tuple[str, ...] | UnsetType = UNSET
    minimum: _Bound | UnsetType = UNSET
    maximum: _Bound | UnsetType = UNSET
    item: "TypeDocument | UnsetType" = UNSET
    fields: "tuple[FieldDocument, ...] | UnsetType" = UNSET
    closed: bool | UnsetType = UNSET


class FieldDocument(Document):
    """A field as a catalogue stores it."""

    name: str
    required: bool
    type: TypeDocument


class SchemaDocument(Document):
    """A schema as a catalogue stores it."""

    event_type: Text
    payload: TypeDocument


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of a field's values.

    Attributes:
        kind: ``bool``, ``int64``, ``utf8``, ``date``, ``timestamp`` (microseconds, UTC),
            ``decimal``, ``float64`` (the only inexact one), ``list`` or ``struct``.
        precision: The digits of a decimal, 1 to 38.
        scale: The digits of a decimal after the point.
        values: The allowed texts, sorted; empty if all texts are allowed.
        minimum: The smallest allowed integer or decimal, in plain notation; None for no limit.
        maximum: The largest allowed integer or decimal, in plain notation; None for no limit.
        item: The type of a list's items, which are never null.
        fields: The fields of a struct, in the order of its columns.
        closed: Whether a struct refuses members that are not among ``fields``; these never become
            columns.
    """

    kind: str
    precision: int = 0
    scale: int = 0
    values: tuple[str, ...] = ()
    minimum: str | None = None
    maximum: str | None = None
    item: "FieldType | None" = None
    fields: tuple["Field", ...] = ()
    closed: bool = False

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        document: dict[str, Any] = {"kind": self.kind}
        if self.kind == "decimal":
            document |= {"precision": self.precision, "scale": self.scale}
        if self.values:
            # Members that do not apply are left out: the schema's hash does not depend on keywords
            # that it does not use.
            document["values"] = list(self.values)
        document |= {
            name: bound
            for name, bound in (("minimum", self.minimum), ("maximum", self.maximum))
            if bound is not None
        }
        if self.item is not None:
            document["item"] = self.item.document()
        if self.kind == "struct":
            document |= {
                "closed": self.closed,
                "fields": [field.document() for field in self.fields],
            }
        return document

    @classmethod
    def of(cls, document: TypeDocument) -> Self:
        """The inverse of ``document``, its members decoded."""
        return cls(
            # ``UNSET`` is false, so ``or`` replaces it by the default.
            kind=document.kind,
            precision=document.precision or 0,
            scale=document.scale or 0,
            values=document.values or (),
            minimum=document.minimum or None,
            maximum=document.maximum or None,
            item=cls.of(document.item) if document.item else None,
            fields=tuple(map(Field.of, document.fields or ())),
            closed=document.closed or False,
        )

    def __str__(self) -> str:
        """``decimal(18, 2)``, ``list<utf8>``, ``utf8 (one of 'a', 'b')``."""
        bounds = NumberRange(self.minimum, self.maximum)
        if self.kind == "decimal":
            return f"decimal({self.precision}, {self.scale}){bounds}"
        if self.item is not None:
            return f"list<{self.item}>"
        if self.kind == "struct":
            return (
                "struct<" + ", ".join(f"{field.name}: {field.type}" for field in self.fields) + ">"
            )
        return f"{self.kind}{Choices(self.values)}{bounds}"


@dataclass(frozen=True, slots=True)
class Field:
    """A member of a payload object, and the column that it becomes.

    Attributes:
        name: The name in the payload.
        type: The type of its values.
        required: Whether it must be present and not null.
    """

    name: str
    type: FieldType
    required: bool = False

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"name": self.name, "required": self.required, "type": self.type.document()}

    @classmethod
    def of(cls, document: FieldDocument) -> Self:
        """The inverse of ``document``, its members decoded."""
        return cls(document.name, FieldType.of(document.type), document.required)


@dataclass(frozen=True, slots=True)
class Schema:
    """The payload of one event type.

    Attributes:
        event_type: The event type, such as ``payment.received``.
        payload: The payload's type, a struct.
    """

    event_type: str
    payload: FieldType

    def __post_init__(self) -> None:
        # Event types are tables in SQL, which ignores case.
        if not self.event_type or self.event_type.casefold() in RESERVED_TYPES:
            message = f"expected the name of an event type, found {self.event_type!r}"
            raise InvalidInputError(
                message, f"{' and '.join(sorted(RESERVED_TYPES))} are tables in SQL."
            )
        if self.payload.kind != "struct":
            message = (
                f"schema of {self.event_type}: expected an object with fields, found {self.payload}"
            )
            raise InvalidInputError(message, "a payload without fields needs no schema.")
        for path, problem in (*_problems(self.payload, "", 0), *_clashes(self.columns)):
            message = f"schema of {self.event_type}, field {path or '(payload)'}: {problem}"
            raise InvalidInputError(message, event_type=self.event_type, field=path)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The payload's fields."""
        return self.payload.fields

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the fields in the event table, in their order."""
        return tuple(_column(field.name) for field in self.fields)

    def lines(self) -> Iterator[tuple[str, str, bool]]:
        """Path, type and requiredness of every field, outer fields before inner ones."""
        yield from _lines(self.payload, "")

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"event_type": self.event_type, "payload": self.payload.document()}

    @classmethod
    def of(cls, document: SchemaDocument) -> Self:
        """The inverse of ``document``, its members decoded.

        Raises:
            InvalidInputError: The types cannot become columns.
        """
        return cls(document.event_type, FieldType.of(document.payload))

    @property
    def schema_hash(self) -> str:
        """SHA-256 of the canonical document, hex."""
        return _hash_of(self)


@CACHES.memo(4_096)
def _hash_of(schema: Schema) -> str:
    return sha256_hex(canonical_json(schema.document()))


def _lines(kind: FieldType, path: str) -> Iterator[tuple[str, str, bool]]:
    for field in kind.fields:
        below, inner = (f"{path}.{field.name}" if path else field.name), field.type
        # A list of structs is shown by its fields.
        while inner.item is not None:
            inner = inner.item
        nested = inner.kind == "struct"
        yield below, str(field.type).split("<")[0] if nested else str(field.type), field.required
        yield from _lines(inner, below) if nested else ()


def _column(name: str) -> str:
    return f"data_{name}" if name.casefold() in ENVELOPE else name


def _clashes(columns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Fields that share a column name because one of them has the name of an envelope column."""
    clashing = set(repeated(columns, str.casefold))
    yield from (
        (
            name,
            (
                "is the column of another field too, which has the name of a column that every"
                " table has"
            ),
        )
        for name in columns
        if name in clashing
    )


def _problems(kind: FieldType, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Why a type cannot become columns, by path."""
    if kind.kind not in KINDS:
        yield path, f"expected one of {', '.join(KINDS)}, found {kind.kind!r}"
    if depth > MAX_NESTING:
        yield path, f"nested deeper than {MAX_NESTING} levels"
    if kind.kind == "decimal" and not (
        1 <= kind.precision <= MAX_DIGITS and 0 <= kind.scale <= kind.precision
    ):
        yield (
            path,
            (
                f"expected a precision from 1 to {MAX_DIGITS} and a scale from 0 to it, found"
                f" ({kind.precision}, {kind.scale})"
            ),
        )
    if kind.values and kind.kind != "utf8":
        yield path, "only text can be limited to a list of values"
    if NumberRange(kind.minimum, kind.maximum) and kind.kind not in {"int64", "decimal"}:
        yield path, "only integers and decimals have bounds"
    if kind.item is not None:
        yield from _problems(kind.item, f"{path}[]", depth + 1)
    if kind.kind == "struct":
        yield from _problems_of_names(kind, path)
        for field in kind.fields:
            yield from _problems(
                field.type, f"{path}.{field.name}" if path else field.name, depth + 1
            )


def _problems_of_names(kind: FieldType, path: str) -> Iterator[tuple[str, str]]:
    if not kind.fields:
        yield path, "expected at least one field"
    seen: dict[str, str] = {}
    for field in kind.fields:
        if not field.name or any(ord(character) < ord(" ") for character in field.name):
            yield path, f"expected field names without control characters, found {field.name!r}"
        folded = field.name.casefold()
        if folded in seen:
            yield (
                path,
                (
                    f"fields {seen[folded]!r} and {field.name!r} are one name in SQL, which ignores"
                    " case"
                ),
            )
        seen[folded] = field.name
