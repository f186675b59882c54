"""Reads the description of a feature set, ``features.json``.

Types and ranges of members are checked first, then that a declaration can mean the same: archived
text comes from outside, and must not reach an engine unchecked.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from msgspec import UNSET, Meta, UnsetType

from eventlake.core.documents.stored import (
    Bounds,
    Column,
    Document,
    FormatNumber,
    Text,
    check_bounds,
    decoded,
    spelled,
)
from eventlake.core.names import FEATURE_NAME
from eventlake.errors import InvalidProjectionError
from eventlake.features.aggregates.table import AGGREGATES, MOST_BEFORE
from eventlake.features.declared.conditions import Condition
from eventlake.features.declared.feature import (
    Aggregate,
    Arithmetic,
    Feature,
    arithmetic,
)
from eventlake.features.declared.window import MOST_LENGTH, Window

# Each of ``MOST_NESTED`` levels of a condition takes two levels of JSON: an array and an object.
BOUNDS = Bounds(size_bytes=16 << 20, depth=512)
Comparison = Literal["==", "!=", "<", "<=", ">", ">="]
_COMPARISONS: tuple[str, ...] = get_args(Comparison)
# Type checkers cannot evaluate the table of aggregates.
if TYPE_CHECKING:
    _Kind = str
else:
    _Kind = Literal[tuple(AGGREGATES)]
Known = Literal["cutoff", "watermark"]
Length = Annotated[int, Meta(ge=1, le=MOST_LENGTH)]
Depth = Annotated[int, Meta(ge=1, le=20)]
Before = Annotated[int, Meta(ge=0, le=MOST_BEFORE)]
_Name = Annotated[str, spelled(FEATURE_NAME, "a name of letters, digits and underscores")]
_Number = Annotated[
    str, spelled(r"-?[0-9]{1,80}(?:\.[0-9]{1,80})?(?:E[+-]?[0-9]{1,3})?", "a number as text")
]
_Value = bool | int | Annotated[str, spelled(r"[^\x00]*", "text without NUL")]


class RelationDocument(Document):
    """A relation."""

    event_type: Text
    child: Column
    parent: Column


class ConditionDocument(Document):
    """A condition."""

    sign: Comparison | Literal["in", "null", "and", "or", "not"]
    field: Column | UnsetType = UNSET
    values: tuple[_Value, ...] | UnsetType = UNSET
    parts: tuple[ConditionDocument, ...] | UnsetType = UNSET


class FeatureDocument(Document):
    """An aggregate, which has no operands, or arithmetic, which has nothing else."""

    name: _Name | UnsetType = UNSET
    sign: Literal["+", "-", "*", "/"] | UnsetType = UNSET
    left: FeatureDocument | _Number | UnsetType = UNSET
    right: FeatureDocument | _Number | UnsetType = UNSET
    kind: _Kind | UnsetType = UNSET
    event_type: Text | UnsetType = UNSET
    field: Column | UnsetType | None = UNSET
    window: Annotated[int, Meta(ge=1, le=MOST_LENGTH)] | UnsetType | None = UNSET
    offset: Annotated[int, Meta(ge=0, le=MOST_LENGTH)] | UnsetType = UNSET
    where: ConditionDocument | UnsetType | None = UNSET
    n: Before | UnsetType = UNSET
    unit: Literal["d", "h", "m", "s"] | UnsetType | None = UNSET


class LabelDocument(Document):
    """A label of a spine: an aggregate without a window of its own."""

    name: Column
    horizon: Length
    kind: _Kind
    event_type: Text
    field: Column | None
    window: None
    offset: Literal[0]
    where: ConditionDocument | None
    n: Before
    unit: None


class SpineDocument(Document):
    """How a spine is made of events, as a dataset's provenance keeps it."""

    event_type: Text
    by: Column
    where: ConditionDocument | None
    carry: tuple[Column, ...]
    monthly: bool
    labels: tuple[LabelDocument, ...]
    known_until: str | None
    known: Known
    depth: Depth | None


class FeaturesDocument(Document):
    """``features.json``."""

    format: FormatNumber
    by: Column
    cutoff: Column
    depth: Depth | None
    features: tuple[FeatureDocument, ...]
    known: Known
    spine_by: Column
    via: tuple[RelationDocument, ...]


_ARITHMETIC = ("sign", "left", "right")
_AGGREGATE = ("kind", "event_type", "field", "window", "offset", "where", "n", "unit")


def read(name: str, text: str) -> FeaturesDocument:
    """The decoded document of a feature set.

    Raises:
        InvalidProjectionError: The text is not a feature set of this format; names the member.
    """

    def refused(problem: str) -> InvalidProjectionError:
        return InvalidProjectionError(
            f"feature set {name}: features.json: {problem}",
            "it is written by eventlake alone, and never edited.",
        )

    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise refused(f"expected text, found {error.reason}") from None
    return decoded(data, FeaturesDocument, refused, BOUNDS)


def check_text(name: str, text: str) -> str:
    """Return the description of a feature set if ``read`` can read it back.

    Raises:
        InvalidProjectionError: It is too long, or its conditions are nested too deeply.
    """
    if problem := check_bounds(text.encode(), BOUNDS):
        message = f"feature set {name}: {problem} in its description"
        raise InvalidProjectionError(
            message, "join fewer conditions in one; is_in takes a list of values."
        )
    return text


def feature(document: FeatureDocument) -> Feature:
    """A feature of a set, with its name.

    Raises:
        ValueError: Its members do not make one.
    """
    if document.name is UNSET:
        message = "expected every feature with a name, found one without"
        raise ValueError(message)
    return _feature(document).name(document.name)


def _feature(document: FeatureDocument) -> Feature:
    given = {name for name in (*_ARITHMETIC, *_AGGREGATE) if getattr(document, name) is not UNSET}
    if given == set(_ARITHMETIC):
        return _arithmetic(document)
    if given == set(_AGGREGATE):
        return _aggregate(document)
    message = (
        f"expected the members {', '.join(_AGGREGATE)}, or {', '.join(_ARITHMETIC)}, found "
        f"{', '.join(sorted(given))}"
    )
    raise ValueError(message)


def _arithmetic(document: FeatureDocument) -> Arithmetic:
    sides = [_operand(side) for side in (document.left, document.right)]
    return arithmetic(str(document.sign), sides[0], sides[1])


def _operand(side: FeatureDocument | str | UnsetType) -> Feature | int | Decimal:
    if isinstance(side, FeatureDocument):
        return _feature(side)
    text = str(side)
    # A whole decimal such as 1.0 stays one, because its digits decide the scale of the result.
    return int(text) if text.removeprefix("-").isdigit() else Decimal(text)


def _aggregate(document: FeatureDocument) -> Aggregate:
    # Missing members and null are both falsy.
    where, window, offset, n = (
        document.where or None,
        document.window or None,
        document.offset or 0,
        document.n or 0,
    )
    aggregate = Aggregate(
        kind=str(document.kind),
        event_type=str(document.event_type),
        field=document.field or None,
        window=Window(window, offset),
        where=condition(where) if where else None,
        n=n,
        unit=document.unit or None,
    )
    return _checked(aggregate)


def label(document: LabelDocument) -> Aggregate:
    """The feature of a label.

    Raises:
        ValueError: Its members do not make one.
    """
    where = None if document.where is None else condition(document.where)
    return _checked(
        Aggregate(document.kind, document.event_type, document.field, where=where, n=document.n)
    )


def _checked(aggregate: Aggregate) -> Aggregate:
    """Return an aggregate whose members are those that its kind takes."""
    name, kind = aggregate.kind, AGGREGATES[aggregate.kind]
    field, unit = aggregate.field is not None, aggregate.unit is not None
    if (field, unit) != (kind.takes_field, kind.takes_unit):
        message = (
            f"expected a field and a unit as {name} takes them, found {aggregate.field!r} and "
            f"{aggregate.unit!r}"
        )
        raise ValueError(message)
    if (kind.needs_window and aggregate.window.length is None) or aggregate.n not in kind.n:
        message = (
            f"expected window and n as {name} takes them, found {aggregate.window.length} "
            f"and {aggregate.n}"
        )
        raise ValueError(message)
    return aggregate


def condition(document: ConditionDocument) -> Condition:
    """A condition with exactly the members that its sign takes.

    Raises:
        ValueError: It has others.
    """
    sign, field = document.sign, document.field or ""
    values, parts = document.values or (), document.parts or ()
    counts = bool(field), len(values), len(parts)
    fits = {
        "in": counts[0] and values and not parts,
        "null": counts == (True, 0, 0),
        "not": counts == (False, 0, 1),
    }
    joined = counts[:2] == (False, 0) and len(parts) > 1
    if not fits.get(sign, counts == (True, 1, 0) if sign in _COMPARISONS else joined):
        message = (
            f"expected a condition {sign!r} with the members it takes, found field {field!r}, "
            f"{len(values)} values, {len(parts)} parts"
        )
        raise ValueError(message)
    return Condition(sign, field, tuple(values), tuple(condition(part) for part in parts))
