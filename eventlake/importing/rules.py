"""The rules of a mapping as values: templates, times, payload fields, keys, tables and events."""

import re
from dataclasses import dataclass
from typing import Any

from eventlake.importing.settings import Settings
from eventlake.schemas.schema import MAX_DIGITS
from eventlake.schemas.text import DECIMAL_TYPE

ERROR, EARLIER, LATER = "error", "earlier", "later"
DISAMBIGUATION = (ERROR, EARLIER, LATER)
"""How to resolve a skipped or repeated local time, in the terms of RFC 9557 and Temporal."""
OWN = "eventlake_"
"""Prefix of the tables that an import creates for itself."""
UNIX = {"unix": 1_000_000, "unix_ms": 1_000, "unix_us": 1}
"""Formats that count from 1970-01-01 UTC, with the microseconds per unit."""

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")
_TYPES = ("bool", "int64", "utf8", "date", "timestamp", "float64", "json")
_KEY_TYPES = ("utf8", "int64", "date", "timestamp")


@dataclass(frozen=True, slots=True)
class Template:
    """Text with columns in braces.

    Attributes:
        parts: ``(text, None)`` or ``("", column)``, in order.
        required: Whether a null column is a problem; otherwise the whole text is null.
    """

    parts: tuple[tuple[str, str | None], ...]
    required: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the template names."""
        return tuple(column for _, column in self.parts if column is not None)


def template(settings: Settings, name: str, text: str, *, required: bool = True) -> Template:
    """Parse a template: ``{column}``, with ``{{`` and ``}}`` for braces.

    Raises:
        InvalidInputError: A brace is unpaired.
    """
    parts: list[tuple[str, str | None]] = []
    end = 0
    for match in _BRACES.finditer(text):
        literal = text[end : match.start()]
        if match[0] in {"{", "}"}:
            raise settings.wrong(
                f"{name}: {text!r} has an unpaired brace",
                "write {column}, and {{ or }} for the brace itself.",
            )
        if match[1] is None:
            literal += match[0][0]
        if literal:
            parts.append((literal, None))
        if match[1] is not None:
            parts.append(("", match[1]))
        end = match.end()
    if text[end:]:
        parts.append((text[end:], None))
    return Template(tuple(parts), required)


def template_setting(settings: Settings, name: str) -> Template | None:
    """A template given as text or as ``{ template = "…", required = false }``; None if absent."""
    value = settings.any(name)
    if value is None:
        return None
    if isinstance(value, str) and value:
        return template(settings, name, value)
    inner = Settings(f"{settings.where} {name}", value, ("template", "required"))
    return template(
        inner, "template", inner.text("template"), required=inner.flag("required", default=True)
    )


@dataclass(frozen=True, slots=True)
class Clock:
    """How to convert a time without an offset to an instant.

    Attributes:
        zone: Name in the time zone database; None if no local time is expected.
        gap: For a local time that the clocks skip: ``error``; ``later`` uses the offset before the
            gap; ``earlier`` uses the one after it.
        overlap: For a local time that the clocks show twice: ``error``, ``earlier`` (the first
            occurrence) or ``later`` (the second).
    """

    zone: str | None
    gap: str
    overlap: str


@dataclass(frozen=True, slots=True)
class Time:
    """The source of an instant.

    Attributes:
        value: A single column keeps its type; anything else is text.
        format: A strftime pattern, ``unix``, ``unix_ms`` or ``unix_us``; None for ISO 8601.
        shape: Regular expression for texts of a strftime pattern; None for other formats.
        century: First year of the century of two-digit years; None if there are none.
        clock: Applies to times without an offset.
    """

    value: Template
    format: str | None
    shape: str | None
    century: int | None
    clock: Clock


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of a payload field or of a key.

    Attributes:
        name: ``bool``, ``int64``, ``utf8``, ``date``, ``timestamp``, ``float64``, ``decimal`` or
            ``json`` (JSON text, copied as it is).
        precision: Total digits of a decimal.
        scale: Digits after the point of a decimal.
    """

    name: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        """The type as a mapping spells it."""
        return f"decimal({self.precision}, {self.scale})" if self.name == "decimal" else self.name


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a payload.

    Attributes:
        name: Name in the payload.
        value: A single column keeps its type; anything else is text.
        kind: Type of the values.
        codes: Meaning of each text of the column; None to take values as they are.
        nulls: Texts that mean a missing value.
        required: Whether a missing value is a problem; otherwise the member is left out.
        quoted: Whether a number is written as JSON text, for readers that parse numbers as doubles.
        decimal_separator: Character before the fraction of a number.
        thousands: Character between groups of digits; empty if there is none.
        time: Format and clock of a timestamp or date.
    """

    name: str
    value: Template
    kind: Kind
    codes: dict[str, str] | None
    nulls: tuple[str, ...]
    required: bool
    quoted: bool
    decimal_separator: str
    thousands: str
    time: Time | None


@dataclass(frozen=True, slots=True)
class Key:
    """A column that orders events with the same time.

    Attributes:
        column: Name of the column.
        kind: How values compare: text by its UTF-8 bytes, other types by value.
        time: Format of dates and instants.
    """

    column: str
    kind: Kind
    time: Time


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the input: a file, or a query over the tables above it.

    Attributes:
        name: Name in queries and events.
        file: Path relative to the input's folder; None for a query.
        query: One SELECT; None for a file.
        format: Name in ``file_formats.FORMATS``; empty to infer it from the name of the file.
        delimiter: CSV delimiter.
        quote: CSV quote character; empty if nothing is quoted.
        escape: Character before a quote inside CSV quotes.
        encoding: CSV encoding; any that Python supports.
        columns: Column names of a CSV file without a header line.
        empty_is_null: Whether an empty CSV text is a missing value.
    """

    name: str
    file: str | None
    query: str | None
    format: str = ""
    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    encoding: str = "utf-8"
    columns: tuple[str, ...] = ()
    empty_is_null: bool = True


@dataclass(frozen=True, slots=True)
class Events:
    """How the rows of a table become events.

    Attributes:
        number: 0-based position among the mapping's ``[[events]]``; orders events of one time.
        table: The table whose rows are mapped.
        where: SQL condition on a row; None for every row.
        attributes: Templates by event attribute.
        time: When the event happened; None for undated events.
        recorded: When the event was recorded; None to use the instant of the append.
        order: Keys that order events of one time.
        data: Members of the payload, in order.
        extensions: Members of the attribute ``extensions``.
    """

    number: int
    table: str
    where: str | None
    attributes: dict[str, Template]
    time: Time | None
    recorded: Time | None
    order: tuple[Key, ...]
    data: tuple[Field, ...]
    extensions: tuple[Field, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the rules name, without repetition."""
        templates = [
            *self.attributes.values(),
            *(field.value for field in (*self.data, *self.extensions)),
        ]
        templates += [time.value for time in (self.time, self.recorded) if time is not None]
        named = [column for one in templates for column in one.columns]
        return tuple(dict.fromkeys([*named, *(key.column for key in self.order)]))


def value_kind(settings: Settings, value: Any, *, key: bool = False) -> Kind:
    """Parse the name of a type.

    Raises:
        InvalidInputError: The type is unknown, or a decimal has too many digits.
    """
    allowed = _KEY_TYPES if key else _TYPES
    if value in allowed:
        return Kind(str(value))
    match = DECIMAL_TYPE.fullmatch(value) if isinstance(value, str) and not key else None
    if match and 1 <= int(match[1]) <= MAX_DIGITS and int(match[2]) <= int(match[1]):
        return Kind("decimal", int(match[1]), int(match[2]))
    decimal = "" if key else f", or decimal(p, s) with at most {MAX_DIGITS} digits"
    raise settings.wrong(f"expected type as one of {', '.join(allowed)}{decimal}, found {value!r}")
