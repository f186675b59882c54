"""The rules of a mapping as values: templates, times, payload fields, keys, tables, events."""

import re
from dataclasses import dataclass
from typing import Any

from eventlake.importing.settings import Settings

ERROR, EARLIER, LATER = "error", "earlier", "later"
DISAMBIGUATION = (ERROR, EARLIER, LATER)
"""What to do with a local time that names no instant, or two: the words of Temporal (ECMAScript) and RFC 9557."""
OWN = "eventlake_"
"""Names of tables begin with it that an import makes for itself."""
UNIX = {"unix": 1_000_000, "unix_ms": 1_000, "unix_us": 1}
"""Formats that count since 1970-01-01 UTC, and their microseconds a step."""

_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")
_TYPE = re.compile(r"decimal\(\s*([0-9]{1,2})\s*,\s*([0-9]{1,2})\s*\)")
_TYPES = ("bool", "int64", "utf8", "date", "timestamp", "float64", "json")
_KEY_TYPES = ("utf8", "int64", "date", "timestamp")
_MOST_DIGITS = 38


@dataclass(frozen=True, slots=True)
class Template:
    """Text with columns in braces.

    Attributes:
        parts: ``(text, None)`` or ``("", column)``, in order.
        required: Whether a row in which a column is null is a problem; else the whole text is null
            there.
    """

    parts: tuple[tuple[str, str | None], ...]
    required: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns named."""
        return tuple(column for _, column in self.parts if column is not None)


def template(settings: Settings, name: str, text: str, *, required: bool = True) -> Template:
    """Takes a template apart: ``{column}``, ``{{`` and ``}}`` for braces.

    Raises:
        InvalidInputError: A brace stands alone.
    """
    parts: list[tuple[str, str | None]] = []
    end = 0
    for match in _BRACES.finditer(text):
        literal = text[end : match.start()]
        if match[0] in {"{", "}"}:
            raise settings.wrong(
                f"{name}: a brace stands alone in {text!r}",
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
    """A template given as text, or as ``{ template = "…", required = false }``; None where the setting is absent."""
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
    """How a time without an offset becomes an instant.

    Attributes:
        zone: Its zone in the time zone database; None where no local time is expected.
        gap: For a local time that the clocks skip: ``error``; ``later``, read with the offset
            before the gap; or ``earlier``, read with the one after it.
        overlap: For a local time that the clocks show twice: ``error``, ``earlier`` (the first
            time) or ``later`` (the second).
    """

    zone: str | None
    gap: str
    overlap: str


@dataclass(frozen=True, slots=True)
class Time:
    """Where an instant comes from.

    Attributes:
        value: A column alone keeps the type that it has; anything else is text.
        format: A strftime pattern, ``unix``, ``unix_ms`` or ``unix_us``; None for ISO 8601.
        shape: The regular expression of texts of a strftime pattern; None for the others.
        century: The first year of the century that years of two digits are of; None where there are
            none.
        clock: For times without an offset.
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
            ``json`` (JSON text, taken as it is).
        precision: Of a decimal: all its digits.
        scale: Of a decimal: those behind the point.
    """

    name: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        """As in the mapping."""
        return f"decimal({self.precision}, {self.scale})" if self.name == "decimal" else self.name


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a payload.

    Attributes:
        name: As in the payload.
        value: A column alone keeps the type that it has; anything else is text.
        kind: What its values must be.
        codes: What each text of the table means; None to take values as they are.
        nulls: Texts that mean that there is no value.
        required: Whether a missing value is a problem; else the member is left out.
        quoted: Whether a number is written as JSON text, for readers that take numbers through a
            double.
        decimal_separator: Between the whole and the fraction of a number.
        thousands: Between groups of digits; empty where there is none.
        time: For a timestamp: its format and clock.
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
    """A column that orders the events of one time.

    Attributes:
        column: Its name.
        kind: What its values are compared as: text by its UTF-8 bytes, the others by what they
            mean.
        time: How dates and instants are written.
    """

    column: str
    kind: Kind
    time: Time


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the input: a file, or a query over the tables above it.

    Attributes:
        name: As queries and events name it.
        file: Relative to the input's folder; None for a query.
        query: One SELECT; None for a file.
        format: ``csv``, ``parquet``, ``ndjson`` or ``json``; empty to go by the file's name.
        delimiter: Of CSV.
        quote: Of CSV; empty where nothing is quoted.
        escape: Of CSV: what stands before a quote in quotes.
        encoding: Of CSV: any that Python knows.
        columns: Of CSV without a header line: the names of its columns.
        empty_is_null: Of CSV: whether an empty text is a missing value.
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
    """What event each row of a table is.

    Attributes:
        number: 0-based place among the mapping's ``[[events]]``; orders events of one time.
        table: Whose rows.
        where: An SQL condition on a row; None for every row.
        attributes: Templates by event attribute.
        time: When it happened; None for events that are undated.
        recorded: When it was recorded; None where the lake says so.
        order: Keys among events of one time.
        data: The payload's members, in their order.
        extensions: Those of the attribute ``extensions``.
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
        """Every column that the rules name, once."""
        templates = [
            *self.attributes.values(),
            *(field.value for field in (*self.data, *self.extensions)),
        ]
        templates += [time.value for time in (self.time, self.recorded) if time is not None]
        named = [column for one in templates for column in one.columns]
        return tuple(dict.fromkeys([*named, *(key.column for key in self.order)]))


def kind_of(settings: Settings, value: Any, *, key: bool = False) -> Kind:
    """A type by its name.

    Raises:
        InvalidInputError: There is none of that name, or a decimal has too many digits.
    """
    allowed = _KEY_TYPES if key else _TYPES
    if value in allowed:
        return Kind(str(value))
    match = _TYPE.fullmatch(value) if isinstance(value, str) and not key else None
    if match and 1 <= int(match[1]) <= _MOST_DIGITS and int(match[2]) <= int(match[1]):
        return Kind("decimal", int(match[1]), int(match[2]))
    decimal = "" if key else f", or decimal(p, s) with at most {_MOST_DIGITS} digits"
    raise settings.wrong(f"expected type as one of {', '.join(allowed)}{decimal}, found {value!r}")
