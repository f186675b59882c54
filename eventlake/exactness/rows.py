"""What is known of the rows that a node of a plan puts out: their types, and which columns together tell every two rows apart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, NamedTuple

Type = Mapping[str, Any]
Key = frozenset[int]
Keys = tuple[tuple[str, ...], ...]
"""Sets of columns no two rows of a table agree on, by name."""
EVENT_KEYS: Keys = (("sequence",), ("source", "id"))
SPINE_KEYS: Keys = (("spine_row",),)
EVENT_JSON = ("data", "extensions")
"""Columns of all events that hold JSON text."""

_MOST_KEYS = 12
FLOATS = frozenset({"FLOAT", "DOUBLE"})


EXACT_TYPES = frozenset(
    {
        "ARRAY",
        "BIGINT",
        "BIT",
        "BLOB",
        "BOOLEAN",
        "DATE",
        "DECIMAL",
        "ENUM",
        "HUGEINT",
        "INTEGER",
        "INTEGER_LITERAL",
        "INTERVAL",
        "LAMBDA",
    }
    | {
        "LIST",
        "MAP",
        "NULL",
        "SMALLINT",
        "STRING_LITERAL",
        "STRUCT",
        "TIME",
        "TIMESTAMP",
        "TIMESTAMP WITH TIME ZONE",
        "TIMESTAMP_MS",
    }
    | {
        "TIMESTAMP_NS",
        "TIMESTAMP_S",
        "TINYINT",
        "TUPLE",
        "UBIGINT",
        "UINTEGER",
        "USMALLINT",
        "UTINYINT",
        "UUID",
        "VARCHAR",
    }
)
"""Types whose values are what they are; what is neither here nor a float is not understood."""


def parts(kind: Any) -> set[str]:
    """The names of a type and of those inside of it, and those that go by another name, such as JSON, which is text."""
    if isinstance(kind, Mapping):
        named = {str(kind[name]) for name in ("id", "alias") if kind.get(name)}
        return named.union(*map(parts, kind.values()))
    return set().union(*map(parts, kind)) if isinstance(kind, list) else set()


def is_float(kind: Any) -> bool:
    """Whether a type is a floating-point one, or holds one."""
    return not FLOATS.isdisjoint(parts(kind))


def is_loose(kind: Any) -> bool:
    """Whether two values of a type can be equal and not the same: 0.0 and -0.0, a month and thirty days, ``a`` and ``A`` without case."""
    return not (FLOATS | {"INTERVAL"}).isdisjoint(parts(kind)) or _is_collated(kind)


def _is_collated(kind: Any) -> bool:
    if isinstance(kind, Mapping):
        return bool(kind.get("collation")) or any(map(_is_collated, kind.values()))
    return isinstance(kind, list) and any(map(_is_collated, kind))


class Payload(NamedTuple):
    """What is known of a column of JSON that events hold.

    Attributes:
        kind: The column with the type of the row's event; None if there is none.
        only: The event types that it can be of; None for any.
    """

    kind: int | None = None
    only: frozenset[str] | None = None

    def among(self, types: frozenset[str]) -> "Payload":
        """The same column, of events of these types."""
        return self._replace(only=types if self.only is None else self.only & types)

    def either(self, other: "Payload") -> "Payload":
        """What is known of a value that is taken from one of two columns."""
        only = None if self.only is None or other.only is None else self.only | other.only
        return Payload(self.kind if self.kind == other.kind else None, only)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a known shape.

    Attributes:
        types: Of the columns.
        keys: Sets of columns no two rows agree on; the empty set where there is one row at most.
            None is known where there is no set.
        same: Per column the first column that always holds the same value, itself where there is
            none before.
        payloads: Columns that hold JSON as events hold it, or a part of it.
    """

    types: tuple[Type, ...]
    keys: frozenset[Key] = frozenset()
    same: tuple[int, ...] = ()
    payloads: Mapping[int, Payload] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        types: Sequence[Type],
        keys: Iterable[Iterable[int]] = (),
        same: Sequence[int] | None = None,
        payloads: Mapping[int, Payload] | None = None,
    ) -> "Rows":
        """Rows with as few and small keys as say the same."""
        first = tuple(range(len(types))) if same is None else tuple(same)
        found = sorted(
            {frozenset(first[column] for column in key) for key in keys},
            key=lambda key: (len(key), sorted(key)),
        )
        minimal: list[Key] = []
        for key in found:
            if not any(smaller <= key for smaller in minimal):
                minimal.append(key)
        return cls(tuple(types), frozenset(minimal[:_MOST_KEYS]), first, dict(payloads or {}))

    def tells_apart(self, columns: Iterable[int]) -> bool:
        """Whether no two rows agree on all of these columns."""
        chosen = {self.same[column] for column in columns}
        return any(key <= chosen for key in self.keys)

    def are_told_by(self, columns: Iterable[int], read: Iterable[int]) -> bool:
        """Whether rows that are equal in ``columns`` are one row, or the same in all of ``read``."""
        chosen = set(columns)
        if self.tells_apart(chosen):
            return True
        strict = {self.same[column] for column in chosen if not is_loose(self.types[column])}
        return {self.same[column] for column in read} <= strict

    def taken(
        self,
        columns: Sequence[int | None],
        types: Sequence[Type],
        payloads: Mapping[int, Payload] | None = None,
    ) -> "Rows":
        """The rows with these columns in place of their own; None for one that is computed.

        Args:
            columns: By their places in these rows.
            types: Of the new columns.
            payloads: Of the new columns those that hold JSON of events too, with ``kind`` by its
                place in these rows.
        """
        places: dict[int, int] = {}
        same = []
        for place, column in enumerate(columns):
            first = place if column is None else places.setdefault(self.same[column], place)
            same.append(first)
        keys = [
            {places[column] for column in key}
            for key in self.keys
            if all(column in places for column in key)
        ]
        held = {
            place: self.payloads[one]
            for place, one in enumerate(columns)
            if one is not None and one in self.payloads
        } | dict(payloads or {})
        moved = {
            place: Payload(None if one.kind is None else places.get(self.same[one.kind]), one.only)
            for place, one in held.items()
        }
        return Rows.of(types, keys, same, moved)

    def with_payloads(self, payloads: Mapping[int, Payload]) -> "Rows":
        """The same rows, of which these columns hold JSON of events too."""
        return replace(self, payloads={**self.payloads, **payloads})

    def among(self, column: int, types: frozenset[str]) -> "Rows":
        """Those of the rows that have one of these texts in a column: the type of an event, perhaps."""
        payloads = {
            place: one.among(types)
            if one.kind is not None and self.same[one.kind] == self.same[column]
            else one
            for place, one in self.payloads.items()
        }
        return replace(self, payloads=payloads)

    def cut(self, columns: Sequence[int]) -> "Rows":
        """The rows with some of their columns."""
        return self.taken(columns, [self.types[column] for column in columns])

    def without(self, fixed: Iterable[int]) -> "Rows":
        """Those of the rows that have one value in each of the columns ``fixed``."""
        gone = {self.same[column] for column in fixed}
        return Rows.of(self.types, [key - gone for key in self.keys], self.same, self.payloads)

    def equated(self, pairs: Iterable[tuple[int, int]]) -> "Rows":
        """Those of the rows that have the same value in both columns of each pair."""
        same = list(self.same)
        for one, other in pairs:
            if is_loose(self.types[one]) or is_loose(self.types[other]):
                continue
            low, high = sorted((same[one], same[other]))
            same = [low if first == high else first for first in same]
        return Rows.of(self.types, self.keys, same, self.payloads)

    def added(self, types: Sequence[Type], keys: Iterable[Iterable[int]] = ()) -> "Rows":
        """The rows with further, computed columns."""
        start = len(self.types)
        return Rows.of(
            (*self.types, *types),
            [*self.keys, *keys],
            (*self.same, *range(start, start + len(types))),
            self.payloads,
        )


def either(several: Sequence[Rows]) -> dict[int, Payload]:
    """What is known of the JSON in rows that come from one of several steps."""
    common = set.intersection(*(set(rows.payloads) for rows in several))
    return {
        place: reduce(Payload.either, (rows.payloads[place] for rows in several))
        for place in sorted(common)
    }


def beside(left: Rows, right: Rows, *, left_keys: bool, right_keys: bool) -> Rows:
    """Rows made of one row of each side.

    Args:
        left: One side.
        right: The other one.
        left_keys: Whether a row of ``left`` is met by one row of ``right`` at most, so that its
            keys still tell rows apart.
        right_keys: Likewise.
    """
    start = len(left.types)
    moved = [{column + start for column in key} for key in right.keys]
    keys: list[Iterable[int]] = [one | other for one in left.keys for other in moved]
    keys += list(left.keys) if left_keys else []
    keys += moved if right_keys else []
    shifted = {
        column + start: Payload(None if one.kind is None else one.kind + start, one.only)
        for column, one in right.payloads.items()
    }
    payloads = {**left.payloads, **shifted}
    return Rows.of(
        (*left.types, *right.types),
        keys,
        (*left.same, *(first + start for first in right.same)),
        payloads,
    )
