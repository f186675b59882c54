"""What is known of the rows that a node of a plan returns: types, keys, and JSON columns of events.

A *key* is a set of columns on which no two rows agree. Keys decide whether an order is total, and
are the functional dependencies that survive joins, projections and groupings.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, NamedTuple

Type = Mapping[str, Any]
Key = frozenset[int]
Keys = tuple[tuple[str, ...], ...]
"""Keys of a table, by the names of the columns."""
# No lake has two events with one source and id: an append refuses the second.
EVENT_KEYS: Keys = (("sequence",), ("source", "id"))
SPINE_KEYS: Keys = (("spine_row",),)
EVENT_JSON = ("data", "extensions")
"""Columns of ``events`` that hold JSON text."""

# Joins multiply keys; the shortest ones are enough to prove an order total.
_MOST_KEYS = 12
FLOATS = frozenset({"FLOAT", "DOUBLE"})


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


EXACT_TYPES = _names(
    """
    ARRAY BIGINT BIT BLOB BOOLEAN DATE DECIMAL ENUM HUGEINT INTEGER INTEGER_LITERAL INTERVAL LAMBDA
    LIST MAP NULL SMALLINT STRING_LITERAL STRUCT TIME TIMESTAMP TIMESTAMP_MS TIMESTAMP_NS
    TIMESTAMP_S TINYINT TUPLE UBIGINT UINTEGER USMALLINT UTINYINT UUID VARCHAR
    """
) | {"TIMESTAMP WITH TIME ZONE"}
"""DuckDB types whose values are exact. A type that is neither here nor a float is refused."""


def type_names(kind: Any) -> set[str]:
    """The names of a type and of the types inside it, with aliases such as JSON for VARCHAR."""
    if isinstance(kind, Mapping):
        named = {str(kind[name]) for name in ("id", "alias") if kind.get(name)}
        return named.union(*map(type_names, kind.values()))
    return set().union(*map(type_names, kind)) if isinstance(kind, list) else set()


def is_float(kind: Any) -> bool:
    """Whether a type is a floating-point type or contains one."""
    return not FLOATS.isdisjoint(type_names(kind))


def is_ambiguous(kind: Any) -> bool:
    """Whether two values of a type can be equal and still differ.

    Examples: 0.0 and -0.0, one month and thirty days, ``a`` and ``A`` under a collation that
    ignores case. Which of two such values survives a grouping is not determined.
    """
    return not (FLOATS | {"INTERVAL"}).isdisjoint(type_names(kind)) or _is_collated(kind)


def _is_collated(kind: Any) -> bool:
    if isinstance(kind, Mapping):
        return bool(kind.get("collation")) or any(map(_is_collated, kind.values()))
    return isinstance(kind, list) and any(map(_is_collated, kind))


class Payload(NamedTuple):
    """What is known of a column that holds JSON of events.

    Attributes:
        type_column: The column with the event type of the same row; None if there is none.
        event_types: The event types that the rows can have; None for any.
    """

    type_column: int | None = None
    event_types: frozenset[str] | None = None

    def of_types(self, types: frozenset[str]) -> "Payload":
        """The same column, restricted to events of these types."""
        left = types if self.event_types is None else self.event_types & types
        return self._replace(event_types=left)

    def union(self, other: "Payload") -> "Payload":
        """What is known of a value that comes from either of two columns."""
        types = None
        if self.event_types is not None and other.event_types is not None:
            types = self.event_types | other.event_types
        return Payload(self.type_column if self.type_column == other.type_column else None, types)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a known shape.

    Attributes:
        types: The columns' types.
        keys: Sets of columns on which no two rows agree. The empty set means at most one row; no
            set at all means that no key is known.
        first_equal: Per column, the first column that always holds the same value; the column
            itself if no earlier one does. Keys are written in these columns.
        payloads: Columns that hold JSON of events, or a part of it.
    """

    types: tuple[Type, ...]
    keys: frozenset[Key] = frozenset()
    first_equal: tuple[int, ...] = ()
    payloads: Mapping[int, Payload] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        types: Sequence[Type],
        keys: Iterable[Iterable[int]] = (),
        first_equal: Sequence[int] | None = None,
        payloads: Mapping[int, Payload] | None = None,
    ) -> "Rows":
        """Rows with minimal keys: no key contains another one."""
        first = tuple(range(len(types))) if first_equal is None else tuple(first_equal)
        by_size = sorted(
            {frozenset(first[column] for column in key) for key in keys},
            key=lambda key: (len(key), sorted(key)),
        )
        minimal: list[Key] = []
        for key in by_size:
            # A key with more columns says nothing that the smaller one does not.
            if not any(smaller <= key for smaller in minimal):
                minimal.append(key)
        return cls(tuple(types), frozenset(minimal[:_MOST_KEYS]), first, dict(payloads or {}))

    def is_key(self, columns: Iterable[int]) -> bool:
        """Whether no two rows agree on all of these columns."""
        chosen = {self.first_equal[column] for column in columns}
        return any(key <= chosen for key in self.keys)

    def determines(self, columns: Iterable[int], read: Iterable[int]) -> bool:
        """Whether rows that agree on ``columns`` are one row, or agree on all of ``read`` too."""
        chosen = set(columns)
        if self.is_key(chosen):
            return True
        # Equal is the same value only for types without a second spelling of one.
        strict = {
            self.first_equal[column] for column in chosen if not is_ambiguous(self.types[column])
        }
        return {self.first_equal[column] for column in read} <= strict

    def projected(
        self,
        columns: Sequence[int | None],
        types: Sequence[Type],
        payloads: Mapping[int, Payload] | None = None,
    ) -> "Rows":
        """The rows with other columns.

        Args:
            columns: Per new column the column of these rows that it copies; None if it is computed.
            types: The new columns' types.
            payloads: Computed columns that hold JSON of events too, with ``type_column`` as a
                column of these rows.
        """
        places: dict[int, int] = {}
        first_equal = []
        for place, column in enumerate(columns):
            first = place
            if column is not None:
                # The first copy stands for all copies, in keys as well.
                first = places.setdefault(self.first_equal[column], place)
            first_equal.append(first)
        # A key survives if all of its columns do.
        keys = [
            {places[column] for column in key}
            for key in self.keys
            if all(column in places for column in key)
        ]
        copied = {
            place: self.payloads[column]
            for place, column in enumerate(columns)
            if column is not None and column in self.payloads
        }
        moved = {}
        for place, one in {**copied, **(payloads or {})}.items():
            column = one.type_column
            to = None if column is None else places.get(self.first_equal[column])
            moved[place] = Payload(to, one.event_types)
        return Rows.of(types, keys, first_equal, moved)

    def with_payloads(self, payloads: Mapping[int, Payload]) -> "Rows":
        """The same rows; ``payloads`` names further columns that hold JSON of events."""
        return replace(self, payloads={**self.payloads, **payloads})

    def of_types(self, column: int, types: frozenset[str]) -> "Rows":
        """The rows that have one of ``types`` in a column, which may be that of the event type."""
        payloads = dict(self.payloads)
        for place, one in self.payloads.items():
            if one.type_column is None:
                continue
            if self.first_equal[one.type_column] == self.first_equal[column]:
                payloads[place] = one.of_types(types)
        return replace(self, payloads=payloads)

    def select(self, columns: Sequence[int]) -> "Rows":
        """The rows with some of their columns."""
        return self.projected(columns, [self.types[column] for column in columns])

    def with_constant(self, fixed: Iterable[int]) -> "Rows":
        """The rows that have one value in each of the columns ``fixed``, which keys then omit."""
        constant = {self.first_equal[column] for column in fixed}
        # A column with a single value tells no two rows apart.
        keys = [key - constant for key in self.keys]
        return Rows.of(self.types, keys, self.first_equal, self.payloads)

    def equated(self, pairs: Iterable[tuple[int, int]]) -> "Rows":
        """The rows that have the same value in both columns of each pair."""
        first_equal = list(self.first_equal)
        for one, other in pairs:
            # An equality of such types does not mean the same value.
            if is_ambiguous(self.types[one]) or is_ambiguous(self.types[other]):
                continue
            # The earlier column stands for both, and for all columns that equal one of them.
            low, high = sorted((first_equal[one], first_equal[other]))
            first_equal = [low if first == high else first for first in first_equal]
        return Rows.of(self.types, self.keys, first_equal, self.payloads)

    def with_columns(self, types: Sequence[Type], keys: Iterable[Iterable[int]] = ()) -> "Rows":
        """The rows with further computed columns, and perhaps further keys."""
        start = len(self.types)
        return Rows.of(
            (*self.types, *types),
            [*self.keys, *keys],
            (*self.first_equal, *range(start, start + len(types))),
            self.payloads,
        )


def common_payloads(inputs: Sequence[Rows]) -> dict[int, Payload]:
    """The JSON columns of rows that come from one of several inputs, as after UNION ALL."""
    common = set.intersection(*(set(rows.payloads) for rows in inputs))
    return {
        place: reduce(Payload.union, (rows.payloads[place] for rows in inputs))
        for place in sorted(common)
    }


def product(left: Rows, right: Rows, *, left_keys: bool, right_keys: bool) -> Rows:
    """Rows that combine one row of each side: a join, before its conditions are applied.

    Args:
        left: Rows whose columns come first.
        right: Rows whose columns follow.
        left_keys: Whether each row of ``left`` meets at most one row of ``right``, so that the keys
            of ``left`` stay keys.
        right_keys: Whether each row of ``right`` meets at most one row of ``left``.
    """
    start = len(left.types)
    moved = [{column + start for column in key} for key in right.keys]
    # A key of each side together is a key of every combination.
    keys: list[Iterable[int]] = [one | other for one in left.keys for other in moved]
    keys += list(left.keys) if left_keys else []
    keys += moved if right_keys else []
    shifted = {
        column + start: Payload(
            None if one.type_column is None else one.type_column + start, one.event_types
        )
        for column, one in right.payloads.items()
    }
    return Rows.of(
        (*left.types, *right.types),
        keys,
        (*left.first_equal, *(first + start for first in right.first_equal)),
        {**left.payloads, **shifted},
    )
