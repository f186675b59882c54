"""Conditions on the fields of an event, as plain values: what ``where=`` takes.

A comparison with a field that is null is neither true nor false, as in SQL; an event counts where
its condition is true.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from eventlake.core.instants import micros
from eventlake.errors import InvalidInputError
from eventlake.public_calls import declaration, helpful

Value = str | int | bool | float | Decimal | date
MOST_NESTED = 200
"""Decoders of JSON refuse documents that are nested more deeply."""


@helpful
@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """A condition on events: comparisons of ``field(name)``, joined by ``&``, ``|`` and ``~``.

    Attributes:
        sign: A comparison, ``in``, ``null``, ``and``, ``or`` or ``not``.
        field: Name of the field; empty for ``and``, ``or`` and ``not``.
        values: Values that the field is compared with, as JSON; numbers and instants as text.
        parts: Conditions that ``and``, ``or`` and ``not`` join.
        depth: Depth of nesting; 1 for a comparison.

    Raises:
        InvalidInputError: It is nested too deeply.
    """

    sign: str
    field: str = ""
    values: tuple[str | int | bool, ...] = ()
    parts: tuple["Condition", ...] = ()
    depth: int = dataclass_field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        depth = 1 + max((part.depth for part in self.parts), default=0)
        if depth > MOST_NESTED:
            message = f"expected conditions nested at most {MOST_NESTED} deep, found more"
            raise InvalidInputError(
                message,
                "is_in takes a list of values; a condition over many fields can be several "
                "features.",
            )
        # Kept with each condition: to compute it over and over would take the square of the depth.
        object.__setattr__(self, "depth", depth)

    def __eq__(self, other: object) -> bool:
        """Whether both conditions are the same; 1 and true are different values."""
        # By ``repr``, because True equals 1 in Python.
        return isinstance(other, Condition) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __and__(self, other: "Condition") -> "Condition":
        return Condition("and", parts=(self, _condition(other)))

    def __or__(self, other: "Condition") -> "Condition":
        return Condition("or", parts=(self, _condition(other)))

    def __invert__(self) -> "Condition":
        return Condition("not", parts=(self,))

    def __bool__(self) -> bool:
        """Refused: a condition has no truth value.

        Raises:
            InvalidInputError: Always; ``a and b`` would forget ``a``.
        """
        message = (
            "a condition has no truth value: it is looked up for every event, and Python's and, "
            "or, not and if cannot take it"
        )
        raise InvalidInputError(
            message,
            "write (field('a') > 1) & (field('b') == 2), | for or, ~ for not, each comparison in "
            "brackets.",
        )

    def fields(self) -> set[str]:
        """Names of the fields that the condition reads."""
        return ({self.field} if self.field else set()).union(
            *(part.fields() for part in self.parts)
        )

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        document: dict[str, Any] = {"sign": self.sign}
        if self.field:
            document["field"] = self.field
        if self.values:
            document["values"] = list(self.values)
        if self.parts:
            document["parts"] = [part.document() for part in self.parts]
        return document


@helpful
@dataclass(frozen=True, slots=True, eq=False)
class FieldReference:
    """A field of an event's payload, to be compared."""

    name: str

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compared("==", other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compared("!=", other)

    def __lt__(self, other: Value) -> Condition:
        return self._compared("<", other)

    def __le__(self, other: Value) -> Condition:
        return self._compared("<=", other)

    def __gt__(self, other: Value) -> Condition:
        return self._compared(">", other)

    def __ge__(self, other: Value) -> Condition:
        return self._compared(">=", other)

    def __hash__(self) -> int:
        """Refused: sets and dicts ask whether keys are equal, and two fields make a condition.

        Raises:
            InvalidInputError: Always.
        """
        message = (
            f"field {self.name}: expected its name as the key of a dict, or a list of fields, "
            f"found el.field({self.name!r})"
        )
        raise InvalidInputError(message, f"write {{{self.name!r}: 'value'}}.")

    def is_in(self, values: Iterable[Value]) -> Condition:
        """Whether the field is one of some values.

        Raises:
            InvalidInputError: None is given, or one that cannot be compared.
        """
        # Sorted and each once, so that equal conditions are one text in features.json. By ``repr``,
        # because True equals 1, and text does not compare with numbers.
        plain = tuple(
            sorted(
                {repr(one): one for one in (_plain(value, self.name) for value in values)}.values(),
                key=repr,
            )
        )
        if not plain or isinstance(values, str):
            message = f"field {self.name}: expected a list of values, found {values!r}"
            raise InvalidInputError(message)
        return Condition("in", self.name, plain)

    def __contains__(self, value: object) -> bool:
        """Refused: Python would make a truth value of it.

        Raises:
            InvalidInputError: Always.
        """
        message = f"field {self.name}: {value!r} in a field does not make a condition"
        raise InvalidInputError(
            message,
            f"write el.field({self.name!r}).is_in([…]), or el.field({self.name!r}) == {value!r}.",
        )

    def is_null(self) -> Condition:
        """Whether the field is absent or null."""
        return Condition("null", self.name)

    def _compared(self, sign: str, other: object) -> Condition:
        if other is None:
            message = f"field {self.name}: nothing is equal to null, nor less"
            raise InvalidInputError(message, f"field({self.name!r}).is_null(), or ~ of it.")
        return Condition(sign, self.name, (_plain(other, self.name),))


@declaration
def field(name: str) -> FieldReference:
    """A field of an event's payload, for ``where=``: ``field("amount") > 100``.

    Args:
        name: Name in the payload, or the path of a nested field, such as ``customer.id``.
            ``sequence``, ``id``, ``source`` and ``subject`` are the event's own attributes; fields
            of the payload with these names are ``data_id`` and so on.
    """
    return FieldReference(name)


def where_of(given: "Condition | Mapping[str, Value] | None") -> Condition | None:
    """A condition; a mapping means that each field equals its value.

    Raises:
        InvalidInputError: It is neither.
    """
    if given is None or isinstance(given, Condition):
        return given
    if not isinstance(given, Mapping) or not given:
        message = (
            "expected where= as a condition such as field('amount') > 100, or as a dict of fields "
            f"and values, found {given!r}"
        )
        what = (
            "functions and expressions of other libraries"
            if callable(given) or hasattr(given, "meta")
            else "other values"
        )
        hint = (
            f"write where=el.field('amount') > 100, or where={{'method': 'card'}}; {what} cannot "
            "be archived with the dataset."
        )
        raise InvalidInputError(message, hint)
    first, *others = (field(name) == value for name, value in given.items())
    for other in others:
        first &= other
    return first


def _condition(other: object) -> Condition:
    if not isinstance(other, Condition):
        message = f"expected a condition beside & or |, found {other!r}"
        raise InvalidInputError(
            message, "put each comparison in brackets: (field('a') > 1) & (field('b') == 2)."
        )
    return other


def _plain(value: object, name: str) -> str | int | bool:
    """A value as exact JSON: decimals, floats (in their shortest form) and instants as text."""
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return str(Decimal(repr(float(value))))
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        try:
            micros(value)
        except ValueError as error:
            message = f"field {name}: {error}, found {value!r}"
            raise InvalidInputError(
                message, "give an instant with its zone, such as datetime(2026, 1, 1, tzinfo=UTC)."
            ) from None
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    message = (
        f"field {name}: expected text, a number, a boolean, a date or an instant, found {value!r}"
    )
    hint = (
        f"write where=el.field({name!r}).is_in({list(value)!r})."
        if isinstance(value, (list, tuple, set, frozenset))
        else None
    )
    if isinstance(value, FieldReference):
        hint = (
            "a field is compared with a value; two fields are compared in the query of "
            "el.Projection.sql(…)."
        )
    raise InvalidInputError(message, hint)
