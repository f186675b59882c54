"""What a user declares: features of an entity's events before a cutoff."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from decimal import Decimal
from typing import Any, TypeVar, cast

from eventlake.core.counts import MAX_INT64, MIN_INT64
from eventlake.core.names import FEATURE_NAME
from eventlake.errors import InvalidInputError
from eventlake.features.aggregates.table import AGGREGATES, MOST_BEFORE, column_text
from eventlake.features.declared.conditions import Condition, Value, where_of
from eventlake.features.declared.window import UNITS, Length, Window, microseconds, spelled
from eventlake.public_calls import declaration, helpful

C = TypeVar("C", bound=type)
_DIGITS = 38
_SIGNS = {"+": "plus", "-": "minus", "*": "times", "/": "per"}


def declared(kind: C) -> C:
    """Make a class of features immutable, and let it refuse comparisons with values."""

    def compared(self: "Feature", other: object) -> Any:
        if isinstance(other, (bool, int, float, str, Decimal)):
            message = f"a feature has no value before it is built, found == {other!r}"
            raise InvalidInputError(
                message,
                f"compare it when it is built: dataset.polars().filter(pl.col({self.column!r}) == "
                f"{other!r}).",
            )
        if type(other) is not type(self):
            return NotImplemented
        pairs = [
            (getattr(self, one.name), getattr(other, one.name)) for one in fields(cast("Any", self))
        ]
        # Types too: a feature times 1 is an integer, times True or 1.0 it is not.
        return all(type(ours) is type(theirs) and ours == theirs for ours, theirs in pairs)

    def assigned(_: object, name: str, _value: object) -> None:
        message = (
            f"cannot assign to field {name!r}: features never change, their functions take every "
            "argument"
        )
        raise FrozenInstanceError(message)

    kind.__eq__ = compared  # type: ignore[assignment,method-assign]
    kind.__setattr__ = assigned  # type: ignore[assignment,method-assign]  # that of frozen classes with slots fails
    return kind


@helpful
class Feature:
    """A value of an entity at a cutoff: an aggregate of events, or arithmetic over features."""

    given_name: str | None

    def __init__(self, *_: Any, **__: Any) -> None:
        message = "expected a feature to be declared by a function, found el.Feature(…)"
        raise InvalidInputError(
            message,
            "write el.count('payment.missed', window='90d'), or el.sum, el.last and the others.",
        )

    @property
    def column(self) -> str:
        """The name of its column."""
        raise NotImplementedError

    def aggregates(self) -> list["Aggregate"]:
        """The distinct aggregates that it is made of, without given names."""
        return list(dict.fromkeys(_aggregates(self)))

    @declaration
    def name(self, name: str) -> "Feature":
        """The same feature in a column of this name.

        Raises:
            InvalidInputError: The name has other characters than letters, digits and underscores.
        """
        if not isinstance(name, str) or not re.fullmatch(FEATURE_NAME, name):
            message = f"expected a name of letters, digits and underscores, found {name!r}"
            raise InvalidInputError(message, plain_name(name, ".name({!r})."))
        return replace(self, given_name=name)  # type: ignore[type-var]

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        raise NotImplementedError

    def __add__(self, other: "Operand") -> "Arithmetic":
        return arithmetic("+", self, other)

    def __radd__(self, other: "Operand") -> "Arithmetic":
        return arithmetic("+", other, self)

    def __sub__(self, other: "Operand") -> "Arithmetic":
        return arithmetic("-", self, other)

    def __rsub__(self, other: "Operand") -> "Arithmetic":
        return arithmetic("-", other, self)

    def __mul__(self, other: "Operand") -> "Arithmetic":
        return arithmetic("*", self, other)

    def __rmul__(self, other: "Operand") -> "Arithmetic":
        return arithmetic("*", other, self)

    def __truediv__(self, other: "Operand") -> "Arithmetic":
        return arithmetic("/", self, other)

    def __rtruediv__(self, other: "Operand") -> "Arithmetic":
        return arithmetic("/", other, self)


@helpful
@declared
@dataclass(frozen=True, slots=True)
class Aggregate(Feature):
    """One value per row, computed from the events of a type in a window.

    Attributes:
        kind: Name of the aggregate in the table of aggregates, such as ``count``.
        event_type: Type of the events.
        field: Field of the payload; None for aggregates of whole events.
        window: The window before the cutoff.
        texts: Window and offset as they were written, for the column's name.
        where: Condition on the events; None for all of them.
        n: The number that its kind takes, such as a lag's events before the last; otherwise 0.
        unit: ``d``, ``h``, ``m`` or ``s`` for times and rates; otherwise None.
        given_name: Name of the column; None for a name that is made of the arguments.
    """

    kind: str
    event_type: str
    field: str | None = None
    window: Window = Window()  # noqa: RUF009 - frozen
    texts: tuple[str | None, str | None] = (None, None)
    where: Condition | None = None
    n: int = 0
    unit: str | None = None
    given_name: str | None = None

    @property
    def column(self) -> str:
        """``payment_missed_count_90d``, unless it was given a name."""
        if self.given_name is not None:
            return self.given_name
        parts = [self.event_type, self.field, column_text(self.kind, self.n, self.unit)]
        return _named(
            re.sub(
                r"[^A-Za-z0-9]+",
                "_",
                _spanned("_".join(part for part in parts if part), *self.texts),
            ).strip("_")
        )

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "kind": self.kind,
            "event_type": self.event_type,
            "field": self.field,
            "window": self.window.length,
            "offset": self.window.offset,
            "where": None if self.where is None else self.where.document(),
            "n": self.n,
            "unit": self.unit,
        }


class FeatureList(list[Aggregate]):
    """The same feature over several windows."""

    def name(self, name: str) -> "FeatureList":
        """The same features in columns of this name and their window, such as ``late_90d``.

        A feature without a window is called ``late``.

        Raises:
            InvalidInputError: The name has other characters than letters, digits and underscores.
        """
        return FeatureList(cast("Aggregate", one.name(_spanned(name, *one.texts))) for one in self)


@helpful
@declared
@dataclass(frozen=True, slots=True)
class Arithmetic(Feature):
    """Arithmetic over two features, or over a feature and a constant.

    Attributes:
        sign: ``+``, ``-``, ``*`` or ``/``.
        left: A feature, or a constant: an integer or a decimal.
        right: A feature, or a constant.
        given_name: Name of the column; None for a name that is made of both sides.
    """

    sign: str
    left: "Feature | int | Decimal"
    right: "Feature | int | Decimal"
    given_name: str | None = None

    @property
    def column(self) -> str:
        """``a_per_b``, unless it was given a name."""
        sides = (
            side.column if isinstance(side, Feature) else re.sub(r"[^0-9]+", "_", str(side))
            for side in (self.left, self.right)
        )
        return self.given_name or _named(f"_{_SIGNS[self.sign]}_".join(sides))

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        sides = [
            side.document() if isinstance(side, Feature) else str(side)
            for side in (self.left, self.right)
        ]
        return {"sign": self.sign, "left": sides[0], "right": sides[1]}


Operand = Feature | int | float | Decimal
Many = Length | Sequence[Length | None] | None


def _spanned(name: str, window: str | None, offset: str | None) -> str:
    """A name with that of a window."""
    return "_".join(part for part in (name, window, offset and f"offset_{offset}") if part)


def plain_name(given: object, call: str) -> str | None:
    """A hint with the name reduced to letters, digits and underscores; None if that is empty."""
    text = re.sub(r"[^A-Za-z0-9]+", "_", given).strip("_") if isinstance(given, str) else ""
    return f"write {call.format(_named(text.lower()))}" if text else None


def _named(text: str) -> str:
    """A column's name may not begin with a digit."""
    return f"f_{text}" if not text or text[0].isdigit() else text


def _aggregates(feature: Feature | int | Decimal) -> Iterator[Aggregate]:
    if isinstance(feature, Aggregate):
        # Features that differ by name alone share their parts.
        yield replace(feature, given_name=None, texts=(None, None))
    elif isinstance(feature, Arithmetic):
        yield from _aggregates(feature.left)
        yield from _aggregates(feature.right)


def arithmetic(sign: str, left: Operand, right: Operand) -> Arithmetic:
    """Arithmetic over two features, or over a feature and a constant.

    Raises:
        InvalidInputError: A constant has too many digits, or is not a number.
    """
    return Arithmetic(sign, _operand(left), _operand(right))


def _operand(given: Operand) -> Feature | int | Decimal:
    if isinstance(given, Feature) or (
        isinstance(given, int) and not isinstance(given, bool) and MIN_INT64 <= given <= MAX_INT64
    ):
        return given
    if isinstance(given, (float, Decimal)):
        # The shortest text of a float is what its author wrote: 0.1, and not its 55 digits.
        number = Decimal(repr(float(given))) if isinstance(given, float) else given
        if (
            number.is_finite()
            # Checked before the number is written out, which takes a gigabyte for 1e1000000000.
            and abs(number.adjusted()) < _DIGITS
            and len(f"{abs(number):f}".replace(".", "").lstrip("0")) <= _DIGITS
        ):
            number = Decimal(f"{number:f}")
            if -int(number.as_tuple().exponent) <= _DIGITS:
                return number
    message = (
        f"expected a feature or a number of at most {_DIGITS} digits, an integer of 64 bits, found "
        f"{given!r}"
    )
    raise InvalidInputError(message)


def aggregate(
    kind: str,
    event_type: str,
    of: str | None = None,
    *,
    window: Length | None = None,
    offset: Length | None = None,
    where: Condition | Mapping[str, Value] | None = None,
    n: int = 0,
    unit: str | None = None,
) -> Aggregate:
    """One aggregate, after its arguments are checked.

    Raises:
        InvalidInputError: An argument is invalid.
    """
    if not isinstance(event_type, str) or not event_type:
        message = f"expected the type of the events as text, found {event_type!r}"
        raise InvalidInputError(message)
    if AGGREGATES[kind].takes_field and (not isinstance(of, str) or not of):
        message = (
            f"{kind}({event_type!r}): expected the name of a field of the payload, found {of!r}"
        )
        raise InvalidInputError(message)
    if unit is not None and unit not in UNITS:
        message = (
            f"{kind}({event_type!r}): expected unit as one of {', '.join(UNITS)}, found {unit!r}"
        )
        raise InvalidInputError(message)
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= MOST_BEFORE:
        message = f"{kind}({event_type!r}): expected n from 0 to {MOST_BEFORE:,}, found {n!r}"
        raise InvalidInputError(message)
    length = None if window is None else microseconds(window, "window")
    span = Window(length, 0 if offset is None else microseconds(offset, "offset"))
    texts = (
        None if window is None else spelled(window),
        None if offset is None else spelled(offset),
    )
    return Aggregate(kind, event_type, of, span, texts, where_of(where), n, unit)
