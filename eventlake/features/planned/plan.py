"""From declared features to the exact numbers that an engine must find: counts, sums, extremes and positions, each of one stream of events.

A *stream* is the events of a type that satisfy a condition. A *part* is one exact number, or one
stored value, of a stream inside a window for every row of the spine. Parts are all that an engine
is asked for; whatever is a float is made of them afterwards, in one place.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NoReturn

import pyarrow as pa

from eventlake.core.sql import folded, named
from eventlake.errors import InvalidProjectionError
from eventlake.features.declared.conditions import Condition
from eventlake.features.declared.declared_set import DeclaredSet
from eventlake.features.declared.feature import NEEDS_FIELD, Aggregate, Arithmetic, Feature
from eventlake.features.declared.relation import Relation
from eventlake.features.declared.window import Window
from eventlake.features.planned.literals import spelled
from eventlake.features.planned.nested_fields import Paths, fields_inside
from eventlake.schemas.catalogue import Catalogue
from eventlake.schemas.checks import arrow_type
from eventlake.schemas.schema import FieldType, Schema
from eventlake.tables.columns import NAMED

COUNT, SUM, SQUARES, MIN, MAX, DISTINCT, VALUE, AGE = (
    "count",
    "sum",
    "squares",
    "min",
    "max",
    "distinct",
    "value",
    "age",
)
ADDED = frozenset({COUNT, SUM, SQUARES, DISTINCT})
"""Those that can be added up, and so be told from sums over all that came before."""
PLACED = frozenset({VALUE, AGE})
"""Those of one event, told by its place."""
SUMS, PLACES, EXTREMES, TREES = "sums", "places", "extremes", "trees"
"""The ways to a part: running sums, the places of events, running extremes, or trees over the rows."""
UNKNOWN = "unknown"
"""The type of every field where no schema is looked at."""
_SUMMED = {"int64", "decimal"}
_NUMBERS = {*_SUMMED, "float64", UNKNOWN}
_ORDERED = {"int64", "decimal", "utf8", "date", "timestamp"}
_SQUARED_DIGITS = 18
_OWN = {
    name: (name, FieldType("int64" if name == "sequence" else "utf8"))
    for name in ("sequence", "id", "source", "subject")
}
"""The event's own attributes that are to be had beside the payload's fields."""
ATTRIBUTE = FieldType("utf8")
_LATER = {name: (name, ATTRIBUTE) for name in NAMED}
"""Others, unless a field has that name."""
SPINE_TYPES = {"int64": pa.int64(), "utf8": pa.large_string()}


@dataclass(frozen=True, slots=True)
class Stream:
    """The events of a type that satisfy a condition.

    Attributes:
        event_type: Which type.
        where: The condition, its fields named as columns; None for all events.
    """

    event_type: str
    where: Condition | None


@dataclass(frozen=True, slots=True)
class Part:
    """One exact number, or stored value, for every row of the spine.

    Attributes:
        kind: ``count`` (int64; of the values of ``column`` that are not null, where one is named),
            ``sum`` and ``squares`` (decimal(38, 0), in units of the column's last digit), ``min``,
            ``max`` and ``value`` (as the column), ``distinct`` (int64), ``age`` (int64,
            microseconds from the event to the cutoff).
        stream: Of which events.
        span: Inside which window.
        column: Of the event table; empty where none is looked at.
        place: Of ``value`` and ``age``: 0 for the last event of the window, 1 for the one before it
            …; -1 for the first.
    """

    kind: str
    stream: Stream
    span: Window
    column: str = ""
    place: int = 0

    @property
    def values(self) -> str:
        """The column of which different values are counted; empty for whatever else is told of events."""
        return self.column if self.kind == DISTINCT else ""

    @property
    def is_least(self) -> bool:
        """Of an extreme, of values or of places, whether the least is wanted, not the greatest."""
        return self.kind == MIN or self.place < 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a feature set needs, over the schemas of a history.

    Attributes:
        features: The set.
        parts: By aggregate, the parts that it is made of.
        types: The field's type by aggregate, where it looks at one.
        columns: The type of every column that is read, by event type.
        nested: Of those of them that are fields inside of fields, the path, by event type.
        entity: The entity's type.
        by: The column that ``by`` names, by event type.
        related: The columns of each relation, child and parent, in the order of climbing.
        schemas: Event type to hash of the schema.
    """

    features: DeclaredSet
    parts: Mapping[Aggregate, tuple[Part, ...]]
    types: Mapping[Aggregate, FieldType]
    columns: Mapping[str, Mapping[str, FieldType]]
    nested: Mapping[str, Paths]
    entity: FieldType
    by: Mapping[str, str]
    related: tuple[tuple[str, str, str], ...]
    schemas: Mapping[str, str]

    @property
    def timed(self) -> bool:
        """Whether an event may begin and cease to count for reasons of its own: when it is known, and to whom it belongs."""
        return self.known_at_cutoff or bool(self.related)

    @property
    def known_at_cutoff(self) -> bool:
        """Whether an event counts only where it was recorded before the cutoff."""
        return self.features.known == "cutoff"

    def way(self, part: Part) -> str:
        """The way to a part: by what is kept along the events in order, wherever that tells it, and else by a tree.

        Where something else than its time says when an event counts, the events of a window are no
        stretch of them; the last of all that entered so far is the greatest place so far, and it is
        the window's last, or none.
        """
        if part.kind in ADDED:
            return SUMS
        if part.kind in PLACED and not self.timed:
            return PLACES
        endless = part.span.far is None
        running = (
            part.place == 0 or (part.place < 0 and endless) if part.kind in PLACED else endless
        )
        return EXTREMES if running else TREES

    def wanted(self) -> dict[Stream, list[Part]]:
        """The parts of every stream, each once."""
        streams: dict[Stream, dict[Part, None]] = {}
        for part in (part for parts in self.parts.values() for part in parts):
            streams.setdefault(part.stream, {})[part] = None
        return {stream: list(parts) for stream, parts in streams.items()}


@dataclass(slots=True)
class _Compiler:
    features: DeclaredSet
    catalogue: Catalogue | None
    columns: dict[str, dict[str, FieldType]] = field(default_factory=dict)
    nested: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    schemas: dict[str, str] = field(default_factory=dict)
    entities: dict[str, FieldType] = field(default_factory=dict)
    by: dict[str, str] = field(default_factory=dict)

    def compiled(self) -> Plan:
        parts: dict[Aggregate, tuple[Part, ...]] = {}
        types: dict[Aggregate, FieldType] = {}
        for one in self.features.aggregates():
            column, kind = self._looked_at(one)
            if kind is not None:
                types[one] = kind
            stream = Stream(
                one.event_type,
                None if one.where is None else self._condition(one.event_type, one.where),
            )
            parts[one] = tuple(_parts(one, stream, column))
        for feature in self.features.features:
            self._check_arithmetic(feature, types)
        kinds = {kind.kind for kind in self.entities.values()}
        if len(kinds) != 1:
            told = ", ".join(
                f"{kind} in {event_type}" for event_type, kind in self.entities.items()
            )
            self._refuse(f"the entity {self.features.by} has several types: {told}")
        entity, related = next(iter(self.entities.values())), []
        for step in self.features.via:
            (child, kind), (parent, above) = self._climbed(step)
            if UNKNOWN not in {kind.kind, entity.kind} and kind.kind != entity.kind:
                self._refuse(
                    f"{step.event_type} relates {child}, which is {kind}, and what is climbed from is {entity}"
                )
            entity = above
            related.append((step.event_type, child, parent))
        return Plan(
            self.features,
            parts,
            types,
            self.columns,
            self.nested,
            entity,
            self.by,
            tuple(related),
            self.schemas,
        )

    def _check_arithmetic(self, feature: Feature, types: Mapping[Aggregate, FieldType]) -> None:
        """Refuses to compute with what is no number."""
        if not isinstance(feature, Arithmetic):
            return
        for side in (feature.left, feature.right):
            if isinstance(side, Arithmetic):
                self._check_arithmetic(side, types)
            elif isinstance(side, Feature):
                (one,) = side.aggregates()
                kind = types.get(one)
                plain = (
                    one.kind in {"min", "max", "last", "first", "lag"}
                    and kind is not None
                    and kind.kind not in _NUMBERS
                )
                if plain or one.kind == "exists":
                    self._refuse(f"{side.column} is no number, and cannot be computed with")

    def _climbed(self, one: Relation) -> tuple[tuple[str, FieldType], tuple[str, FieldType]]:
        """The columns of a relation, and their types."""
        self._know(one.event_type)
        return self._naming(one.event_type, one.child), self._naming(one.event_type, one.parent)

    def _looked_at(self, one: Aggregate) -> tuple[str, FieldType | None]:
        self._know(one.event_type)
        if one.event_type not in self.entities:
            self.by[one.event_type], self.entities[one.event_type] = self._naming(
                one.event_type, self.features.by
            )
        if one.kind not in NEEDS_FIELD:
            return "", None
        column, kind = self._column(one.event_type, one.field or "")
        if kind.kind == UNKNOWN:
            return column, kind
        wrong = None
        if one.kind in {"sum", "mean", "std", "delta"} and kind.kind not in _SUMMED:
            wrong = "integers and decimals"
        elif one.kind == "std" and kind.kind == "decimal" and kind.precision > _SQUARED_DIGITS:
            wrong = f"decimals of at most {_SQUARED_DIGITS} digits, whose squares can be added up"
        elif one.kind in {"min", "max", "distinct"} and kind.kind not in _ORDERED | (
            {"bool"} if one.kind == "distinct" else set()
        ):
            wrong = "integers, decimals, text, dates and instants"
        elif kind.kind in {"list", "struct"}:
            wrong = "fields that hold one value"
        if wrong:
            self._refuse(
                f"{one.kind}({one.event_type!r}, {one.field!r}) takes {wrong}; the field is {kind}",
                _other(one, kind),
            )
        return column, kind

    def _know(self, event_type: str) -> None:
        if self.catalogue is not None:
            self.schemas[event_type] = self.catalogue.version(event_type).schema_hash
        self.columns.setdefault(event_type, {})
        self.nested.setdefault(event_type, {})

    def _naming(self, event_type: str, name: str) -> tuple[str, FieldType]:
        """The column of a field that names an entity, and its type."""
        column, kind = self._column(event_type, name)
        if kind.kind not in {*SPINE_TYPES, UNKNOWN}:
            self._refuse(
                f"an entity is named by text or an integer; {column} of {event_type} is {kind}"
            )
        return column, kind

    def _column(self, event_type: str, name: str) -> tuple[str, FieldType]:
        """The column of a field, or of the event's own attribute, and its type; it is noted as one that is read."""
        if self.catalogue is None:
            self.columns[event_type][name] = FieldType(UNKNOWN)
            return name, FieldType(UNKNOWN)
        schema = self.catalogue.version(event_type).schema
        by_field, inside = columns_by_field(schema), fields_inside(schema)
        taken = {folded(column) for column in schema.columns}
        later = {attribute: found for attribute, found in _LATER.items() if attribute not in taken}
        fields = (
            later | {column: (column, kind) for column, kind in by_field.values()} | by_field | _OWN
        )
        if (
            name not in fields
            and name in inside
            and named([*schema.columns, *self.nested[event_type]], name) in {None, name}
        ):
            self.nested[event_type][name], kind = inside[name]
            fields = {name: (name, kind)}
        if name not in fields:
            known = (
                ", ".join(
                    sorted(
                        [
                            *(
                                column if field in _OWN else field
                                for field, (column, _) in by_field.items()
                            ),
                            *inside,
                        ]
                    )
                )
                or "none"
            )
            known += f"; subject, source, id, sequence and {', '.join(later)} are the event's own"
            self._refuse(
                f"{event_type} has no field {name}",
                _hint(event_type, name, [*fields, *inside], known),
            )
        column, kind = fields[name]
        self.columns[event_type][column] = kind
        return column, kind

    def _condition(self, event_type: str, where: Condition) -> Condition:
        """The condition over columns, its values spelled as their type has them."""
        parts = tuple(self._condition(event_type, part) for part in where.parts)
        if not where.field:
            return Condition(where.sign, parts=parts)
        column, kind = self._column(event_type, where.field)
        if kind.kind == UNKNOWN:
            return Condition(where.sign, column, where.values)
        try:
            values = tuple(spelled(value, kind, where.sign) for value in where.values)
        except ValueError as error:
            self._refuse(f"{event_type}: {where.field} is {kind}, and is compared with {error}")
        return Condition(where.sign, column, values, parts)

    def _refuse(self, problem: str, hint: str | None = None) -> NoReturn:
        message = f"feature set {self.features.name}: {problem}"
        raise InvalidProjectionError(message, hint or None, projection=self.features.name)


def _other(one: Aggregate, kind: FieldType) -> str:
    """What can be had of a field that a feature does not take."""
    if kind.kind == "float64":
        return "a sum of floats depends on their order: declare the field as a decimal, with multipleOf, in a new version of its schema."
    if kind.kind == "bool":
        return (
            f"count({one.event_type!r}, where={{{one.field!r}: True}}) says how often it is true."
        )
    if kind.kind in {"list", "struct"}:
        return "name a field inside of it by its path, or give the payload a field that holds one value."
    return f"distinct, last, first, lag, min and max take {kind.kind}; count({one.event_type!r}, where=…) counts events with some value."


def _hint(event_type: str, name: str, fields: list[str], known: str) -> str:
    """What to write instead of a field that does not exist."""
    told = f"it has {known}."
    if name in {"time", "recorded_at"}:
        return f"since_last({event_type!r}) and since_first({event_type!r}) have the age of events; {told}"
    near = get_close_matches(name, fields, 1)
    return f"did you mean {near[0]!r}? {told}" if near else told


def compiled(features: DeclaredSet, catalogue: Catalogue | None) -> Plan:
    """The plan of a feature set over the schemas of a history; with None, over fields of unknown types, to be looked at alone.

    Raises:
        NotFoundError: An event type has no schema.
        InvalidProjectionError: A field is missing, or not of a type that the feature takes.
    """
    return _Compiler(features, catalogue).compiled()


def columns_by_field(schema: Schema) -> dict[str, tuple[str, FieldType]]:
    """The column that each field of a payload is, and its type."""
    return {
        one.name: (column, one.type)
        for one, column in zip(schema.fields, schema.columns, strict=True)
    }


def _parts(one: Aggregate, stream: Stream, column: str) -> Iterator[Part]:
    """The parts that an aggregate is made of, in the order in which the finisher takes them."""
    if one.kind in {"count", "exists", "rate"}:
        yield Part(COUNT, stream, one.span)
    elif one.kind == "sum":
        yield Part(SUM, stream, one.span, column)
    elif one.kind in {"mean", "std"}:
        yield Part(COUNT, stream, one.span, column)
        yield Part(SUM, stream, one.span, column)
        if one.kind == "std":
            yield Part(SQUARES, stream, one.span, column)
    elif one.kind in {MIN, MAX, DISTINCT}:
        yield Part(one.kind, stream, one.span, column)
    elif one.kind in {"since_last", "since_first"}:
        yield Part(AGE, stream, one.span, place=0 if one.kind == "since_last" else -1)
    elif one.kind == "first":
        yield Part(VALUE, stream, one.span, column, place=-1)
    else:
        if one.kind == "delta":
            yield Part(VALUE, stream, one.span, column)
        yield Part(VALUE, stream, one.span, column, place=one.n)


def part_type(part: Part, kind: FieldType | None) -> pa.DataType:
    """The Arrow type in which engines give a part."""
    if part.kind in {SUM, SQUARES}:
        return pa.decimal128(38, 0)
    if part.kind in {COUNT, DISTINCT, AGE} or kind is None:
        return pa.int64()
    return arrow_type(kind)
