"""From exact parts to columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from eventlake.errors import InvalidInputError
from eventlake.features.aggregates.exact_columns import DIGITS, arithmetic
from eventlake.features.aggregates.table import AGGREGATES, Terms
from eventlake.features.declared.feature import Arithmetic, Feature
from eventlake.features.declared.window import UNITS
from eventlake.features.planned.plan import Part, Plan

Parts = Mapping[Part, pa.Array]


def columns(plan: Plan, parts: Parts, rows: int) -> dict[str, pa.Array]:
    """The column of every feature.

    Args:
        plan: The plan of the features.
        parts: The parts as an engine returned them, each with ``rows`` values.
        rows: Number of rows of the spine.

    Raises:
        InvalidInputError: A sum, or arithmetic over one, does not fit its type.
    """
    finisher = _Finisher(plan, parts, rows)
    return {feature.column: finisher.column(feature) for feature in plan.features.features}


@dataclass(frozen=True, slots=True)
class _Finisher:
    plan: Plan
    parts: Parts
    rows: int

    def column(self, feature: Feature) -> pa.Array:
        try:
            return self._value(feature)
        except (pa.ArrowInvalid, OverflowError) as error:
            message = (
                f"feature set {self.plan.features.name}: {feature.column} does not fit its type: "
                f"{error}"
            )
            hint = "an integer has 64 bits, a decimal 38 digits; use mean, or a smaller window."
            raise InvalidInputError(
                message, hint, projection=self.plan.features.name, column=feature.column
            ) from error

    def _value(self, feature: Feature | int | Decimal) -> pa.Array:
        if isinstance(feature, Arithmetic):
            return arithmetic(feature.sign, self._value(feature.left), self._value(feature.right))
        if isinstance(feature, Feature):
            return self._aggregate(feature)
        kind = (
            pa.int64()
            if isinstance(feature, int)
            else pa.decimal128(DIGITS, max(-int(feature.as_tuple().exponent), 0))
        )
        return pa.repeat(pa.scalar(feature, kind), self.rows)

    def _aggregate(self, feature: Feature) -> pa.Array:
        (one,) = feature.aggregates()
        found = [self.parts[part] for part in self.plan.parts[one]]
        unit = UNITS[one.unit] if one.unit else 0
        terms = Terms(self.plan.types.get(one), unit, one.window.length)
        return AGGREGATES[one.kind].finish(found, terms)
