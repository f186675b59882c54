"""From declared features to the exact numbers that an engine must find.

A *stream* is the events of a type that satisfy a condition. A *part* is one exact number, or one
stored value, of a stream inside a window for every row of the spine. Engines are asked for parts
alone; floats are made of them afterwards, in one place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from eventlake.features.aggregates.part_kinds import COUNT, DISTINCT, PartKind
from eventlake.features.aggregates.table import AGGREGATES, UNKNOWN
from eventlake.features.declared.conditions import Condition
from eventlake.features.declared.declared_set import DeclaredSet
from eventlake.features.declared.feature import Aggregate, Arithmetic, Feature
from eventlake.features.declared.relation import Relation
from eventlake.features.declared.window import Window
from eventlake.features.planned.fields import Fields
from eventlake.features.planned.nested_fields import Paths
from eventlake.schemas.catalogue import Catalogue
from eventlake.schemas.schema import FieldType


@dataclass(frozen=True, slots=True)
class Stream:
    """The events of a type that satisfy a condition.

    Attributes:
        event_type: Type of the events.
        where: The condition, over columns; None for all events.
    """

    event_type: str
    where: Condition | None


@dataclass(frozen=True, slots=True)
class Part:
    """One exact number, or stored value, for every row of the spine.

    Attributes:
        kind: How it is found; see ``part_kinds``.
        stream: Its events.
        window: The window in which they count.
        column: Column of the event table; empty if the part reads none.
    """

    kind: PartKind
    stream: Stream
    window: Window
    column: str = ""

    @property
    def place(self) -> int:
        """Position of its event: 0 for the last in the window, 1 for the one before, -1 first."""
        return self.kind.place

    @property
    def is_placed(self) -> bool:
        """Whether it is the value, or the age, of one event."""
        return self.kind.is_placed

    @property
    def is_least(self) -> bool:
        """Whether the smallest value or position is searched, not the greatest."""
        return self.kind.is_least

    @property
    def counts_values(self) -> bool:
        """Whether it counts the events whose column is not null."""
        return self.kind == COUNT and bool(self.column)

    @property
    def distinct_column(self) -> str:
        """The column whose distinct values are counted; empty for every other part."""
        return self.column if self.kind == DISTINCT else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a feature set needs, over the schemas of a history.

    Attributes:
        features: The set.
        parts: The parts of each aggregate, in the order in which it is finished.
        types: Type of an aggregate's field, if it takes one.
        columns: Types of the columns that are read, by event type.
        nested: Paths of the nested fields among them, by event type.
        entity: Type of the entity.
        by: Column that ``by`` names, by event type.
        related: Event type, child and parent column of each relation, from child to entity.
        schemas: Hash of the schema, by event type.
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
    def has_validity(self) -> bool:
        """Whether events begin or cease to count for reasons other than their time.

        They do so when they are recorded or superseded, and when they belong to another entity.
        """
        return self.known_at_cutoff or bool(self.related)

    @property
    def known_at_cutoff(self) -> bool:
        """Whether an event counts only if it was recorded before the cutoff."""
        return self.features.known == "cutoff"

    @property
    def finds_hindsight(self) -> bool:
        """Whether engines can find what rows see early while they look up features."""
        return not self.has_validity

    def strategy(self, part: Part) -> str:
        """How an engine finds a part that it does not join: one of ``part_kinds``' strategies."""
        return part.kind.strategy(
            has_validity=self.has_validity, has_start=part.window.start is not None
        )

    def scale(self, part: Part) -> int:
        """Digits after the point of the part's column; 0 unless it is a decimal."""
        kind = self.columns[part.stream.event_type].get(part.column)
        return kind.scale if kind is not None and kind.kind == "decimal" else 0

    def parts_by_stream(self) -> dict[Stream, list[Part]]:
        """The distinct parts of every stream."""
        # Ordered sets: features that share a part compute it once, and each stream is read once.
        streams: dict[Stream, dict[Part, None]] = {}
        for part in (part for parts in self.parts.values() for part in parts):
            streams.setdefault(part.stream, {})[part] = None
        return {stream: list(parts) for stream, parts in streams.items()}


@dataclass(slots=True)
class _Compiler:
    features: DeclaredSet
    fields: Fields
    entities: dict[str, FieldType] = field(default_factory=dict)
    by: dict[str, str] = field(default_factory=dict)

    def compiled(self) -> Plan:
        parts: dict[Aggregate, tuple[Part, ...]] = {}
        types: dict[Aggregate, FieldType] = {}
        for one in self.features.aggregates():
            column, kind = self._field_of(one)
            if kind is not None:
                types[one] = kind
            where = None if one.where is None else self.fields.condition(one.event_type, one.where)
            stream = Stream(one.event_type, where)
            parts[one] = tuple(
                Part(part, stream, one.window, column) for part in AGGREGATES[one.kind].parts(one.n)
            )
        # After the aggregates, whose types arithmetic needs.
        for feature in self.features.features:
            self._check_arithmetic(feature, types)
        entity, related = self._entity(), []
        for step in self.features.via:
            (child, kind), (parent, above) = self._relation(step)
            # Plans that are only read have no types.
            if UNKNOWN not in {kind.kind, entity.kind} and kind.kind != entity.kind:
                self.fields.refuse(
                    f"{step.event_type} relates {child}, which is {kind}, but the relation before "
                    f"it leads to {entity}"
                )
            entity = above
            related.append((step.event_type, child, parent))
        return Plan(
            self.features,
            parts,
            types,
            self.fields.columns,
            self.fields.nested,
            entity,
            self.by,
            tuple(related),
            self.fields.schemas,
        )

    def _entity(self) -> FieldType:
        """The type of what ``by`` names, which is the same in all event types."""
        if len({kind.kind for kind in self.entities.values()}) != 1:
            types = ", ".join(
                f"{kind} in {event_type}" for event_type, kind in self.entities.items()
            )
            self.fields.refuse(f"the entity {self.features.by} has several types: {types}")
        return next(iter(self.entities.values()))

    def _check_arithmetic(self, feature: Feature, types: Mapping[Aggregate, FieldType]) -> None:
        """Refuse arithmetic over columns that are not numeric."""
        if not isinstance(feature, Arithmetic):
            return
        for side in (feature.left, feature.right):
            if isinstance(side, Arithmetic):
                self._check_arithmetic(side, types)
            elif isinstance(side, Feature):
                (one,) = side.aggregates()
                if not AGGREGATES[one.kind].is_numeric(types.get(one)):
                    self.fields.refuse(
                        f"{side.column} is not numeric and cannot be used in arithmetic"
                    )

    def _relation(self, one: Relation) -> tuple[tuple[str, FieldType], tuple[str, FieldType]]:
        """The columns of a relation, child and parent, and their types."""
        self.fields.add_type(one.event_type)
        return (
            self.fields.entity(one.event_type, one.child),
            self.fields.entity(one.event_type, one.parent),
        )

    def _field_of(self, one: Aggregate) -> tuple[str, FieldType | None]:
        """The column and the type of an aggregate's field; empty and None without one."""
        self.fields.add_type(one.event_type)
        if one.event_type not in self.entities:
            self.by[one.event_type], self.entities[one.event_type] = self.fields.entity(
                one.event_type, self.features.by
            )
        expected_types = AGGREGATES[one.kind].expected_types
        if expected_types is None:
            return "", None
        column, kind = self.fields.column(one.event_type, one.field or "")
        if kind.kind != UNKNOWN and (other := expected_types(kind)):
            self.fields.refuse(
                f"{one.kind}({one.event_type!r}, {one.field!r}) takes {other}; the field is {kind}",
                _other(one, kind),
            )
        return column, kind


def _other(one: Aggregate, kind: FieldType) -> str:
    """What to write instead for a field whose type an aggregate does not take."""
    if kind.kind == "float64":
        return (
            "a sum of floats depends on their order: declare the field as a decimal, with "
            "multipleOf, in a new version of its schema."
        )
    if kind.kind == "bool":
        return (
            f"count({one.event_type!r}, where={{{one.field!r}: True}}) counts how often it is true."
        )
    if kind.kind in {"list", "struct"}:
        return (
            "name a field inside of it by its path, or give the payload a field that holds one "
            "value."
        )
    return (
        f"distinct, last, first, lag, min and max take {kind.kind}; "
        f"count({one.event_type!r}, where=…) counts events with some value."
    )


def compiled(features: DeclaredSet, catalogue: Catalogue | None) -> Plan:
    """The plan of a feature set over the schemas of a history.

    Args:
        features: The set.
        catalogue: The schemas; None for a plan to be read only, whose fields have unknown types.

    Raises:
        NotFoundError: An event type has no schema.
        InvalidProjectionError: A field is missing, or has a type that the feature does not take.
    """
    return _Compiler(features, Fields(features.name, catalogue)).compiled()
