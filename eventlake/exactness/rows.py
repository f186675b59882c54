"""What is known of the rows that a node of a plan puts out: their types, and which columns together tell every two rows apart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    {"ARRAY", "BIGINT", "BIT", "BLOB", "BOOLEAN", "DATE", "DECIMAL", "ENUM", "HUGEINT", "INTEGER", "INTEGER_LITERAL", "INTERVAL", "LAMBDA"}
    | {"LIST", "MAP", "NULL", "SMALLINT", "STRING_LITERAL", "STRUCT", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_MS"}
    | {"TIMESTAMP_NS", "TIMESTAMP_S", "TINYINT", "TUPLE", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT", "UUID", "VARCHAR"}
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


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a known shape.

    Attributes:
        types: Of the columns.
        keys: Sets of columns no two rows agree on; the empty set where there is one row at most. None is known where there is no set.
        same: Per column the first column that always holds the same value, itself where there is none before.
        payloads: Columns that hold JSON as events hold it, or a part of it.
    """

    types: tuple[Type, ...]
    keys: frozenset[Key] = frozenset()
    same: tuple[int, ...] = ()
    payloads: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls,
        types: Sequence[Type],
        keys: Iterable[Iterable[int]] = (),
        same: Sequence[int] | None = None,
        payloads: Iterable[int] = (),
    ) -> "Rows":
        """Rows with as few and small keys as say the same."""
        first = tuple(range(len(types))) if same is None else tuple(same)
        found = sorted({frozenset(first[column] for column in key) for key in keys}, key=lambda key: (len(key), sorted(key)))
        minimal: list[Key] = []
        for key in found:
            if not any(smaller <= key for smaller in minimal):
                minimal.append(key)
        return cls(tuple(types), frozenset(minimal[:_MOST_KEYS]), first, frozenset(payloads))

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

    def taken(self, columns: Sequence[int | None], types: Sequence[Type]) -> "Rows":
        """The rows with these columns in place of their own; None for one that is computed."""
        places: dict[int, int] = {}
        same = []
        for place, column in enumerate(columns):
            first = place if column is None else places.setdefault(self.same[column], place)
            same.append(first)
        keys = [{places[column] for column in key} for key in self.keys if all(column in places for column in key)]
        return Rows.of(types, keys, same, [place for place, column in enumerate(columns) if column in self.payloads])

    def with_payloads(self, columns: Iterable[int]) -> "Rows":
        """The same rows, of which these columns hold JSON of events too."""
        return replace(self, payloads=self.payloads.union(columns))

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
        return Rows.of((*self.types, *types), [*self.keys, *keys], (*self.same, *range(start, start + len(types))), self.payloads)


def beside(left: Rows, right: Rows, *, left_keys: bool, right_keys: bool) -> Rows:
    """Rows made of one row of each side.

    Args:
        left: One side.
        right: The other one.
        left_keys: Whether a row of ``left`` is met by one row of ``right`` at most, so that its keys still tell rows apart.
        right_keys: Likewise.
    """
    start = len(left.types)
    moved = [{column + start for column in key} for key in right.keys]
    keys: list[Iterable[int]] = [one | other for one in left.keys for other in moved]
    keys += list(left.keys) if left_keys else []
    keys += moved if right_keys else []
    payloads = [*left.payloads, *(column + start for column in right.payloads)]
    return Rows.of((*left.types, *right.types), keys, (*left.same, *(first + start for first in right.same)), payloads)
