"""Carriers: the columns of a step's rows that hold or determine the entity of each row."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Carriers:
    """The columns that carry one entity.

    Attributes:
        holding: Columns that hold the entity.
        spine_rows: Columns that hold the number of a row of the spine, which has one entity.
        sequences: Columns that hold the sequence of an event, which has one entity.
    """

    holding: frozenset[int] = frozenset()
    spine_rows: frozenset[int] = frozenset()
    sequences: frozenset[int] = frozenset()

    def mapped(self, places: Callable[[int], Iterable[int]]) -> "Carriers":
        """The carriers of rows in which each column was copied to ``places``."""
        kinds = (self.holding, self.spine_rows, self.sequences)
        return Carriers(
            *(frozenset(to for place in kind for to in places(place)) for kind in kinds)
        )

    def meets(self, other: "Carriers", own: int, others: int) -> bool:
        """Whether rows that agree on column ``own`` and column ``others`` have the same entity."""
        kinds = (
            (self.holding, other.holding),
            (self.spine_rows, other.spine_rows),
            (self.sequences, other.sequences),
        )
        return any(own in mine and others in theirs for mine, theirs in kinds)

    def joined(self, other: "Carriers") -> "Carriers":
        """The carriers of rows in which both carry the same entity."""
        return Carriers(
            self.holding | other.holding,
            self.spine_rows | other.spine_rows,
            self.sequences | other.sequences,
        )

    def common(self, other: "Carriers") -> "Carriers":
        """The columns that carry the entity in both."""
        return Carriers(
            self.holding & other.holding,
            self.spine_rows & other.spine_rows,
            self.sequences & other.sequences,
        )

    @property
    def all(self) -> frozenset[int]:
        """All carriers."""
        return self.holding | self.spine_rows | self.sequences


@dataclass(frozen=True, slots=True)
class EntityRows:
    """The rows of a step.

    Attributes:
        width: The number of columns.
        carriers: The carriers of each entity that a row is computed from: after a join two, until
            a condition equates them. Empty for rows that come from no table.
    """

    width: int
    carriers: tuple[Carriers, ...] = ()

    def projected(self, columns: Sequence[int | None]) -> "EntityRows":
        """The rows with other columns: copies of ``columns``, or computed ones for None."""
        return EntityRows(
            len(columns),
            tuple(
                one.mapped(lambda place: [at for at, of in enumerate(columns) if of == place])
                for one in self.carriers
            ),
        )

    def equated(self, pairs: Iterable[tuple[int, int]]) -> "EntityRows":
        """The rows that have the same value in both columns of each pair."""
        left = list(self.carriers)
        for one, other in pairs:
            # A condition equates two entities at a time; a third is met by a condition of its own.
            matching = [
                (first, second)
                for first in left
                for second in left
                if first is not second and first.meets(second, one, other)
            ]
            for first, second in matching[:1]:
                left = [
                    first.joined(second),
                    *(
                        carrier
                        for carrier in left
                        if carrier is not first and carrier is not second
                    ),
                ]
        return EntityRows(self.width, tuple(left))

    def product(self, other: "EntityRows") -> "EntityRows":
        """Every row combined with every row of another step."""
        moved = (one.mapped(lambda place: [place + self.width]) for one in other.carriers)
        return EntityRows(self.width + other.width, (*self.carriers, *moved))

    @property
    def one(self) -> Carriers:
        """The carriers if the rows have exactly one entity each; otherwise no column."""
        return self.carriers[0] if len(self.carriers) == 1 else Carriers()
