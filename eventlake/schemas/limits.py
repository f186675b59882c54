"""Limits of a field's values: allowed texts, and a range of numbers.

Each limit answers all questions about it: whether a value satisfies it, whether it includes another
limit (so that a schema may evolve), and how to write it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Self


@dataclass(frozen=True, slots=True)
class Choices:
    """The allowed texts; all texts are allowed if there are none."""

    values: tuple[str, ...]

    def allow(self, texts: Iterable[str]) -> bool:
        """Whether all texts are allowed."""
        return not self.values or set(texts) <= set(self.values)

    def include(self, other: Self) -> bool:
        """Whether every text that another limit allows is allowed."""
        return not self.values or bool(other.values and self.allow(other.values))

    def __str__(self) -> str:
        """Such as `` (one of 'a', 'b')``, to follow a type's name."""
        return f" (one of {', '.join(map(repr, self.values))})" if self.values else ""


@dataclass(frozen=True, slots=True)
class NumberRange:
    """A range of integers or decimals, both ends inclusive; None for no limit."""

    minimum: str | None
    maximum: str | None

    def allows(self, lowest: Decimal, highest: Decimal) -> bool:
        """Whether the values from ``lowest`` to ``highest`` are in the range."""
        # Comparisons do not round; Python's arithmetic would, to 28 digits.
        return (self.minimum is None or lowest >= Decimal(self.minimum)) and (
            self.maximum is None or highest <= Decimal(self.maximum)
        )

    def includes(self, other: Self) -> bool:
        """Whether every number of another range is in this one."""
        return (
            self.minimum is None
            or (other.minimum is not None and Decimal(other.minimum) >= Decimal(self.minimum))
        ) and (
            self.maximum is None
            or (other.maximum is not None and Decimal(other.maximum) <= Decimal(self.maximum))
        )

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return self.minimum is not None or self.maximum is not None

    def __str__(self) -> str:
        """Such as `` (≥ 0, ≤ 10)``, to follow a type's name."""
        bounds = [
            f"{sign} {bound}"
            for sign, bound in (("≥", self.minimum), ("≤", self.maximum))
            if bound is not None
        ]
        return f" ({', '.join(bounds)})" if bounds else ""
