"""Which columns of event tables a feature set reads: its names of fields, looked up in schemas."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NoReturn, Self

import pyarrow as pa

from eventlake.core.sql import folded, named
from eventlake.errors import InvalidProjectionError
from eventlake.features.aggregates.table import UNKNOWN
from eventlake.features.declared.conditions import Condition
from eventlake.features.planned.literals import spelled
from eventlake.features.planned.nested_fields import fields_inside
from eventlake.schemas.catalogue import Catalogue
from eventlake.schemas.schema import FieldType, Schema
from eventlake.tables.columns import NAMED

ATTRIBUTE = FieldType("utf8")
SPINE_TYPES = {"int64": pa.int64(), "utf8": pa.large_string()}
"""Types of an entity, and of the spine's column that names it."""
_OWN = {
    name: (name, FieldType("int64" if name == "sequence" else "utf8"))
    for name in ("sequence", "id", "source", "subject")
}
"""Attributes of the event that hide a payload's field of the same name."""
_LATER = {name: (name, ATTRIBUTE) for name in NAMED}
"""Attributes that a payload's field of the same name hides."""


@dataclass(frozen=True, slots=True)
class _Readable:
    """What can be read of an event type, found once for all features.

    Attributes:
        columns: The columns of its event table that the payload makes.
        by_field: The column and type of each of the payload's fields.
        inside: The path and type of each nested field.
        later: Attributes that no column of the payload hides.
        fields: The column and type of everything but nested fields.
    """

    columns: tuple[str, ...]
    by_field: dict[str, tuple[str, FieldType]]
    inside: dict[str, tuple[tuple[str, ...], FieldType]]
    later: dict[str, tuple[str, FieldType]]
    fields: dict[str, tuple[str, FieldType]]

    @classmethod
    def of(cls, schema: Schema) -> Self:
        """What can be read of the type of a schema."""
        columns, by_field = schema.columns, columns_by_field(schema)
        taken = set(map(folded, columns))
        later = {attribute: found for attribute, found in _LATER.items() if attribute not in taken}
        by_column = {column: (column, kind) for column, kind in by_field.values()}
        # Later mappings win: a field's own name hides a column of that name.
        fields = later | by_column | by_field | _OWN
        return cls(columns, by_field, fields_inside(schema), later, fields)


@dataclass(slots=True)
class Fields:
    """Looks up fields, and remembers what is read.

    Attributes:
        set_name: Name of the feature set, for messages.
        catalogue: The schemas; None for fields of unknown types.
        columns: The type of every column that is read, by event type.
        nested: The path of every nested field that is read, by event type.
        schemas: Event type to hash of the schema.
    """

    set_name: str
    catalogue: Catalogue | None
    columns: dict[str, dict[str, FieldType]] = field(default_factory=dict)
    nested: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    schemas: dict[str, str] = field(default_factory=dict)
    _readable: dict[str, _Readable] = field(default_factory=dict)

    def add_type(self, event_type: str) -> None:
        """Prepare an event type to be read.

        Raises:
            NotFoundError: It has no schema.
        """
        if self.catalogue is not None:
            self.schemas[event_type] = self.catalogue.version(event_type).schema_hash
        self.columns.setdefault(event_type, {})
        self.nested.setdefault(event_type, {})

    def entity(self, event_type: str, name: str) -> tuple[str, FieldType]:
        """The column of a field that names an entity, and its type."""
        column, kind = self.column(event_type, name)
        if kind.kind not in {*SPINE_TYPES, UNKNOWN}:
            self.refuse(
                f"an entity is named by text or an integer; {column} of {event_type} is {kind}"
            )
        return column, kind

    def column(self, event_type: str, name: str) -> tuple[str, FieldType]:
        """The column of a field, or of an attribute of the event, and its type."""
        if self.catalogue is None:
            self.columns[event_type][name] = FieldType(UNKNOWN)
            return name, FieldType(UNKNOWN)
        if event_type not in self._readable:
            schema = self.catalogue.version(event_type).schema
            self._readable[event_type] = _Readable.of(schema)
        readable = self._readable[event_type]
        fields, inside, later = readable.fields, readable.inside, readable.later
        # DuckDB would take a path that differs from a column by case alone for that column.
        if name not in fields and name in inside:
            columns = [*readable.columns, *self.nested[event_type]]
            if named(columns, name) in {None, name}:
                self.nested[event_type][name], kind = inside[name]
                fields = {name: (name, kind)}
        if name not in fields:
            own = [column if one in _OWN else one for one, (column, _) in readable.by_field.items()]
            known = ", ".join(sorted([*own, *inside])) or "none"
            known += f"; subject, source, id, sequence and {', '.join(later)} are the event's own"
            self.refuse(
                f"{event_type} has no field {name}",
                _hint(event_type, name, [*fields, *inside], known),
            )
        column, kind = fields[name]
        self.columns[event_type][column] = kind
        return column, kind

    def condition(self, event_type: str, where: Condition) -> Condition:
        """The condition over columns, its values spelled as their type has them."""
        parts = tuple(self.condition(event_type, part) for part in where.parts)
        if not where.field:
            return Condition(where.sign, parts=parts)
        column, kind = self.column(event_type, where.field)
        if kind.kind == UNKNOWN:
            return Condition(where.sign, column, where.values)
        try:
            values = tuple(spelled(value, kind, where.sign) for value in where.values)
        except ValueError as error:
            self.refuse(f"{event_type}: {where.field} is {kind}, and is compared with {error}")
        return Condition(where.sign, column, values, parts)

    def refuse(self, problem: str, hint: str | None = None) -> NoReturn:
        """Raise what is wrong with the feature set."""
        message = f"feature set {self.set_name}: {problem}"
        raise InvalidProjectionError(message, hint or None, projection=self.set_name)


def columns_by_field(schema: Schema) -> dict[str, tuple[str, FieldType]]:
    """The column and the type of each field of a payload."""
    return {
        one.name: (column, one.type)
        for one, column in zip(schema.fields, schema.columns, strict=True)
    }


def _hint(event_type: str, name: str, fields: list[str], known: str) -> str:
    """What to write instead of a field that does not exist."""
    fields_known = f"it has {known}."
    if name in {"time", "recorded_at"}:
        return (
            f"since_last({event_type!r}) and since_first({event_type!r}) have the age of events; "
            f"{fields_known}"
        )
    near = get_close_matches(name, fields, 1)
    return f"did you mean {near[0]!r}? {fields_known}" if near else fields_known
