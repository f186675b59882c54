"""The exact numbers and stored values that aggregates are made of.

A kind says how its parts are found, which type they have, and how a join of rows and events
computes them in SQL and in Polars. Engines ask the kind; they never test its name.
"""

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from eventlake.core.sql import integer
from eventlake.schemas.checks import arrow_type
from eventlake.schemas.schema import FieldType

SUMS, PLACES, EXTREMES, TREES, JOINS = "sums", "places", "extremes", "trees", "joins"
"""Strategies: prefix sums, positions of events, running extremes, segment trees over the rows, and
joins of rows and events, some rows at a time."""


@dataclass(frozen=True)
class PartKind:
    """How the parts of a kind are found.

    Attributes:
        name: The name that plans print.
        place: Position of an event in its window: 0 for the last, 1 for the one before it, -1 for
            the first; 0 for kinds that look at all events of the window.
    """

    name: str
    place: int = 0

    @property
    def is_placed(self) -> bool:
        """Whether a part is the value, or the age, of one event."""
        return False

    @property
    def is_least(self) -> bool:
        """Whether the smallest value or position is searched, not the greatest."""
        return self.place < 0

    def strategy(self, *, has_validity: bool, has_start: bool) -> str:
        """The strategy of an engine that does not join rows with events.

        Args:
            has_validity: Whether events begin or cease to count for reasons other than their time.
            has_start: Whether the window has a start.
        """
        raise NotImplementedError

    def part_type(self, field_type: FieldType | None) -> pa.DataType:
        """The Arrow type in which engines return a part.

        Args:
            field_type: Type of the field; None if the part reads no field.
        """
        return pa.int64() if field_type is None else arrow_type(field_type)

    def in_sql(self, column: str, scale: int, inside: str) -> str:
        """The part as a SQL aggregate over joined events.

        Args:
            column: Quoted column of the field; empty if the part reads no field.
            scale: Digits after the point of a decimal field, otherwise 0.
            inside: FILTER clause that keeps the events in the window; may be empty.
        """
        raise NotImplementedError

    def in_python(self, values: str, *, is_decimal: bool) -> str:
        """The part as the source of a Polars aggregate.

        Args:
            values: Source of an expression: the field (or the time, or the age) of the events in
                the window, ordered by time.
            is_decimal: Whether the field is a decimal.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Added(PartKind):
    """Sums over events, which prefix sums find.

    Attributes:
        power: What is summed: 0 counts values, 1 adds them up, 2 adds up their squares; decimals
            in units of their last digit.
        is_distinct: Whether equal values count once.
    """

    power: int = 0
    is_distinct: bool = False

    def strategy(self, *, has_validity: bool, has_start: bool) -> str:  # noqa: ARG002
        """Prefix sums for every window."""
        return SUMS

    def part_type(self, field_type: FieldType | None) -> pa.DataType:  # noqa: ARG002
        """int64 for counts, otherwise decimal(38, 0) in units of the field's last digit."""
        return pa.decimal128(38, 0) if self.power else pa.int64()

    def in_sql(self, column: str, scale: int, inside: str) -> str:
        """A count or a sum. Sums of decimals keep their scale, sums of squares have none."""
        if self.is_distinct:
            return f"count(DISTINCT {column}){inside}"
        return f"{self.event_sum(column, scale)}{inside}"

    def event_sum(self, column: str, scale: int) -> str:
        """SQL sum of what each event adds; events with repeated values are left out elsewhere."""
        if not column:
            return "count(*)"
        if not self.power:
            return f"count({column})"
        if self.power == 1:
            return f"sum({column})"
        # The square of a decimal would have twice its scale, so whole units are squared.
        unscaled = f"{column}::HUGEINT"
        if scale:
            unscaled = f"({column}::DECIMAL(38, {integer(scale)}) * 1{'0' * scale})::HUGEINT"
        return f"sum({unscaled} * {unscaled})"

    def in_python(self, values: str, *, is_decimal: bool) -> str:
        """A count, or a sum in Int128, which holds 38 digits."""
        if self.is_distinct:
            # Polars counts null as a value.
            return f"{values}.drop_nulls().n_unique()"
        if not self.power:
            return f"{values}.count()"
        unscaled = f"{values}{'.to_physical()' if is_decimal else ''}.cast(pl.Int128)"
        return f"{unscaled}.sum()" if self.power == 1 else f"({unscaled} * {unscaled}).sum()"


@dataclass(frozen=True)
class Extreme(PartKind):
    """The smallest or the greatest value, for the names ``min`` and ``max``."""

    @property
    def is_least(self) -> bool:
        """Whether it is the minimum."""
        return self.name == "min"

    def strategy(self, *, has_validity: bool, has_start: bool) -> str:  # noqa: ARG002
        """A running extreme, unless events leave the window through its start."""
        return TREES if has_start else EXTREMES

    def in_sql(self, column: str, scale: int, inside: str) -> str:  # noqa: ARG002
        """``min`` or ``max``."""
        return f"{'min' if self.is_least else 'max'}({column}){inside}"

    def in_python(self, values: str, *, is_decimal: bool) -> str:  # noqa: ARG002
        """``min`` or ``max``."""
        return f"{values}.{'min' if self.is_least else 'max'}()"


@dataclass(frozen=True)
class Placed(PartKind):
    """The field of the event at ``place``; its age in microseconds if the part has no field."""

    @property
    def is_placed(self) -> bool:
        """Always true."""
        return True

    def strategy(self, *, has_validity: bool, has_start: bool) -> str:
        """Positions, as long as the events of a window are a range of all events by time.

        With validity they are not. The last event is then the greatest position that has entered
        so far: if that one has left the window, every other one has. The same holds for the first
        event only if the window has no start.
        """
        if not has_validity:
            return PLACES
        running = self.place == 0 or (self.place < 0 and not has_start)
        return EXTREMES if running else TREES

    def in_sql(self, column: str, scale: int, inside: str) -> str:  # noqa: ARG002
        """The event's ``place``, by which its field is looked up."""
        if self.place <= 0:
            return f"{'min' if self.is_least else 'max'}(place){inside}"
        # DuckDB's ``max(x, n)`` lists the n greatest values, the greatest first.
        return f"(max(place, {integer(self.place + 1)}){inside})[{integer(self.place + 1)}]"

    def in_python(self, values: str, *, is_decimal: bool) -> str:  # noqa: ARG002
        """The value at a position."""
        return (
            f"{values}.get({-1 - self.place}, null_on_oob=True)"
            if self.place >= 0
            else f"{values}.first()"
        )


@dataclass(frozen=True)
class Holistic(PartKind):
    """What only all values of a window tell together, so that rows and events are joined.

    "Holistic" as in J. Gray et al., "Data Cube": no summary of bounded size can be merged.
    """

    def strategy(self, *, has_validity: bool, has_start: bool) -> str:  # noqa: ARG002
        """A join: no sum or extreme over earlier events helps."""
        return JOINS

    def in_polars(self, values: pl.Expr) -> pl.Expr:
        """The part as an aggregate over the values in the window; null if there are none."""
        raise NotImplementedError


@dataclass(frozen=True)
class Quantile(Holistic):
    """The smallest value of which at least a share of the values is no greater.

    Of ``n`` values in ascending order it is the one at ``ceil(n * per_mille / 1000)``, from 1, and
    the first for a share of 0: DuckDB's ``quantile_disc``. The share is an integer, because a
    rounded product would choose a neighbouring value.

    Attributes:
        per_mille: The share, from 0 to 1000.
    """

    per_mille: int = 500

    def in_sql(self, column: str, scale: int, inside: str) -> str:  # noqa: ARG002
        """``quantile_disc``, which computes exactly if the share is a decimal."""
        return f"quantile_disc({column}, {integer(self.per_mille)} * 0.001){inside}"

    def in_polars(self, values: pl.Expr) -> pl.Expr:
        """The value at the rank of the share."""
        # Polars counts in 32 bits, which the product could exceed. Adding 999 rounds the rank up.
        rank = (values.count().cast(pl.Int64) * self.per_mille + 999) // 1000
        return values.sort(nulls_last=True).get((rank - 1).clip(0), null_on_oob=True)

    def in_python(self, values: str, *, is_decimal: bool) -> str:  # noqa: ARG002
        """The source of ``in_polars``."""
        rank = f"({values}.count().cast(pl.Int64) * {self.per_mille} + 999) // 1000"
        return f"{values}.sort(nulls_last=True).get(({rank} - 1).clip(0), null_on_oob=True)"


COUNT, SUM, SQUARES = Added("count"), Added("sum", power=1), Added("squares", power=2)
DISTINCT = Added("distinct", is_distinct=True)
MIN, MAX = Extreme("min"), Extreme("max")


def value(place: int) -> PartKind:
    """The field of the event at a place."""
    return Placed("value", place)


def age(place: int) -> PartKind:
    """Microseconds from the event at a place to the cutoff."""
    return Placed("age", place)
