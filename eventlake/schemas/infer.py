"""Propose a schema from payloads, with a reason for every field, for a person to review."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from eventlake.columns.intake.exact_json import exact_json
from eventlake.core.card import Card, Shown, counted
from eventlake.core.counts import MIN_INT64
from eventlake.core.instants import parse_instant
from eventlake.errors import CorruptionError
from eventlake.schemas.json_schema import DEFAULT_PRECISION, to_json_schema
from eventlake.schemas.parse_row import DATE
from eventlake.schemas.schema import MAX_DIGITS, Field, FieldType, Schema

# Text without a point stays text, because it may be an id; so does one with leading zeros.
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)\.([0-9]+)")
_MOST_VALUES = 12
"""Text with no more values than this may be an enum."""


@dataclass(slots=True)
class ObservedField:
    """The values at one path.

    Attributes:
        values: The number of values that are not null.
        kinds: The number of values of each kind.
        whole: The most digits before the decimal point.
        scale: The most digits after the decimal point.
        largest: The largest magnitude of an integer.
        texts: Distinct texts, until there are too many for an enum.
        spelled: The number of texts that are decimals, dates or instants.
        scales: The numbers of digits after the point, for texts that are decimals.
        items: The items of lists.
        members: The members of objects, by name.
    """

    values: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    whole: int = 1
    scale: int = 0
    largest: int = 0
    texts: set[str] = field(default_factory=set)
    spelled: dict[str, int] = field(default_factory=dict)
    scales: set[int] = field(default_factory=set)
    items: "ObservedField | None" = None
    members: dict[str, "ObservedField"] = field(default_factory=dict)

    def add(self, value: Any) -> None:
        """Add a value that is not null."""
        self.values += 1
        kind = _KINDS[type(value)]
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if isinstance(value, dict):
            for name, item in value.items():
                member = self.members.setdefault(name, ObservedField())
                if item is not None:
                    member.add(item)
        elif isinstance(value, list):
            self.items = self.items or ObservedField()
            for item in value:
                if item is not None:
                    self.items.add(item)
        elif isinstance(value, str):
            self._add_text(value)
        elif not isinstance(value, bool):
            self._add_number(Decimal(value))
            if isinstance(value, int):
                # int64 ends at -2^63 and 2^63 - 1, so a positive number counts as one larger.
                self.largest = max(self.largest, abs(value) + (value >= 0))

    def _add_number(self, value: Decimal) -> None:
        _, digits, exponent = value.as_tuple()
        exponent = int(exponent)
        self.scale = max(self.scale, -exponent)
        self.whole = max(self.whole, len(digits) + exponent)

    def _add_text(self, value: str) -> None:
        # One more than an enum may have, so that too many can be told from just enough.
        if len(self.texts) <= _MOST_VALUES:
            self.texts.add(value)
        spelling = _spelling(value)
        if spelling is not None:
            self.spelled[spelling] = self.spelled.get(spelling, 0) + 1
        if spelling == "decimal":
            self._add_number(Decimal(value))
            self.scales.add(len(value.partition(".")[2]))


_KINDS = {
    bool: "bool",
    int: "integer",
    Decimal: "decimal",
    str: "text",
    list: "list",
    dict: "object",
}


def _spelling(text: str) -> str | None:
    if _DECIMAL.fullmatch(text):
        return "decimal"
    try:
        if DATE.fullmatch(text):
            date.fromisoformat(text)
            return "date"
        parse_instant(text)
    except ValueError:
        return None
    return "timestamp"


@dataclass(frozen=True, slots=True, repr=False)
class Proposal(Shown):
    """A proposed schema, with reasons.

    Attributes:
        schema: The proposed schema; None if no field has a type.
        reasons: ``(path, type or "left out", reason)``, in the order of the payloads' members.
        rows: The number of payloads that were read.
        total: The number of payloads that exist.
    """

    event_type: str
    schema: Schema | None
    reasons: tuple[tuple[str, str, str], ...]
    rows: int
    total: int

    def json_schema(self) -> dict[str, Any]:
        """The schema as a JSON Schema, for editing; ``lake.register`` takes it."""
        return {} if self.schema is None else to_json_schema(self.schema.payload)

    def __repr__(self) -> str:
        """The card's title."""
        return f"<Proposal: {self.card().title}>"

    def card(self) -> Card:
        """What to show."""
        looked = counted(self.rows, "payload") + (
            "" if self.rows == self.total else f" of {self.total:,}"
        )
        return Card(
            f"a schema for {self.event_type}",
            (("looked at", looked),),
            ("field", "type", "why"),
            self.reasons,
        )


def infer(event_type: str, payloads: Iterable[str | None], total: int) -> Proposal:
    """Propose a schema for valid payloads.

    Args:
        event_type: The event type of the payloads.
        payloads: JSON texts: all that exist, or a sample.
        total: The number of payloads that exist.
    """
    seen, rows = ObservedField(), 0
    for payload in payloads:
        rows += 1
        try:
            value = {} if payload is None else exact_json(payload)
        except ValueError as error:
            message = f"{event_type}: expected payloads in JSON, found one that is not ({error})"
            raise CorruptionError(
                message, "run 'eventlake verify LAKE --deep'.", event_type=event_type
            ) from error
        seen.add({} if value is None else value)
    reasons: list[tuple[str, str, str]] = []
    # Only objects have members that can become columns.
    fields = _fields(seen, "", reasons) if set(seen.kinds) <= {"object"} else ()
    if not fields and rows:
        reasons.append(
            ("(payload)", "left out", f"expected objects with members, found {_named(seen.kinds)}")
        )
    schema = Schema(event_type, FieldType("struct", fields=fields)) if fields else None
    return Proposal(event_type, schema, tuple(reasons), rows, total)


def _fields(
    seen: ObservedField, path: str, reasons: list[tuple[str, str, str]]
) -> tuple[Field, ...]:
    fields = []
    for name, member in seen.members.items():
        below = f"{path}.{name}" if path else name
        # A field is listed before the fields inside it, whose reasons ``_type`` appends.
        at = len(reasons)
        kind, reason = _type(member, below, reasons)
        # A null is not counted as a value, so a field that is null once is not required.
        required = member.values == seen.values
        there = "in every payload" if required else f"in {member.values:,} of {seen.values:,}"
        reasons.insert(at, (below, str(kind) if kind else "left out", f"{reason}; {there}"))
        if kind is not None:
            fields.append(Field(name, kind, required))
    return tuple(fields)


def _type(
    seen: ObservedField, path: str, reasons: list[tuple[str, str, str]]
) -> tuple[FieldType | None, str]:
    """The type of the observed values, None if there is none; and the reason."""
    kinds = set(seen.kinds)
    if not kinds:
        return None, "always null"
    if kinds == {"object"}:
        fields = _fields(seen, path, reasons)
        if not fields:
            return None, "objects without members"
        return FieldType("struct", fields=fields), "objects"
    if kinds == {"list"} and seen.items is not None:
        item, reason = _type(seen.items, f"{path}[]", reasons)
        if item is None:
            return None, f"lists, whose items have no type: {reason}"
        return FieldType("list", item=item), f"lists: {reason}"
    return _scalar(seen, kinds)


def _scalar(seen: ObservedField, kinds: set[str]) -> tuple[FieldType | None, str]:
    if kinds == {"bool"}:
        return FieldType("bool"), "true and false"
    if kinds == {"text"}:
        return _text(seen)
    if kinds <= {"integer", "decimal"}:
        return _number(seen)
    return None, f"mixed: {_named(seen.kinds)}"


def _text(seen: ObservedField) -> tuple[FieldType, str]:
    for spelling in ("date", "timestamp"):
        if seen.spelled.get(spelling) == seen.values:
            named = "a date" if spelling == "date" else "an instant with a zone"
            return FieldType(spelling), f"text, always {named}"
    if (
        seen.spelled.get("decimal") == seen.values
        and len(seen.scales) == 1
        and seen.whole + seen.scale <= MAX_DIGITS
    ):
        kind = FieldType(
            "decimal", precision=max(DEFAULT_PRECISION, seen.whole + seen.scale), scale=seen.scale
        )
        return kind, f"text, always a decimal with {seen.scale} digits after the point"
    if len(seen.texts) <= _MOST_VALUES and len(seen.texts) * 10 <= seen.values:
        values = ", ".join(sorted(seen.texts))
        reason = f"text with {len(seen.texts)} values, an enum if these are all: {values}"
        return FieldType("utf8"), reason
    return FieldType("utf8"), "text"


def _number(seen: ObservedField) -> tuple[FieldType, str]:
    if "decimal" not in seen.kinds and seen.largest <= -MIN_INT64:
        return FieldType("int64"), "whole numbers"
    if seen.whole + seen.scale > MAX_DIGITS:
        digits = seen.whole + seen.scale
        reason = f"numbers of {digits} digits, more than a decimal has: not exact"
        return FieldType("float64"), reason
    kind = FieldType(
        "decimal", precision=max(DEFAULT_PRECISION, seen.whole + seen.scale), scale=seen.scale
    )
    return kind, f"numbers with up to {seen.whole} digits before and {seen.scale} after the point"


def _named(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} in {count:,}" for kind, count in sorted(kinds.items())) or "nothing"
