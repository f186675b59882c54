"""Turn the settings of ``[tables]`` and ``[[events]]`` into rules."""

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from eventlake.core.attributes import ATTRIBUTES, REQUIRED
from eventlake.importing.file_formats import FORMATS
from eventlake.importing.rules import (
    DISAMBIGUATION,
    UNIX,
    Clock,
    Events,
    Field,
    Key,
    Kind,
    Table,
    Template,
    Time,
    template,
    template_setting,
    value_kind,
)
from eventlake.importing.settings import Settings
from eventlake.importing.time_formats import shape_of
from eventlake.importing.times import check_zone

_TEXTS = tuple(name for name in ATTRIBUTES if name not in {"time", "extensions", "data"})
CLOCK = ("zone", "gap", "overlap")
_TIME = ("column", "template", "format", "century", *CLOCK)
_FIELD = (*_TIME, "type", "codes", "null", "required", "quoted", "decimal_separator", "thousands")
FILE = ("format", "delimiter", "quote", "escape", "encoding", "columns", "empty")
_EVENTS = ("from", "where", *_TEXTS, "time", "order", "extensions", "data")


def table_of(name: str, values: Any, defaults: Table) -> Table:
    """Read a ``[tables.…]``; CSV settings default to ``defaults``."""
    settings = Settings(f"[tables.{name}]", values, ("file", "query", *FILE))
    if ("file" in settings) == ("query" in settings):
        raise settings.wrong("expected either file or query")
    if "query" in settings:
        Settings(settings.where, values, ("query",))
        return Table(name, None, settings.text("query"))
    file = settings.text("file")
    # A mapping may come from somebody else, and must not name files of whoever runs it.
    if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
        message = f"expected file as a path below the folder that is imported, found {file!r}"
        raise settings.wrong(message, "import the folder that holds it.")
    return replace(file_settings(settings, defaults), name=name, file=file)


def file_settings(settings: Settings, defaults: Table) -> Table:
    """Read the settings for files, which default to ``defaults``."""
    encoding = settings.text("encoding", defaults.encoding)
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise settings.wrong(f"there is no encoding {encoding!r}") from None
    quote = settings.character("quote", defaults.quote) if settings.any("quote") != "" else ""
    return replace(
        defaults,
        format=settings.choice("format", tuple(FORMATS), "csv") if "format" in settings else "",
        delimiter=settings.character("delimiter", defaults.delimiter),
        quote=quote,
        escape=settings.character(
            # Without an escape of its own, a quote is doubled inside of a value.
            "escape",
            defaults.escape if "quote" not in settings else quote or '"',
        ),
        encoding=encoding,
        columns=settings.texts("columns"),
        empty_is_null=settings.choice(
            "empty", ("null", "text"), "null" if defaults.empty_is_null else "text"
        )
        == "null",
    )


def events_of_block(
    number: int, values: Any, top: Settings, clock: Clock, tables: tuple[Table, ...]
) -> Events:
    """Read one ``[[events]]``; ``top`` provides the settings that it may omit."""
    settings = Settings(f"[[events]] {number + 1}", values, _EVENTS)
    names = [table.name for table in tables]
    source = settings.text("from", names[0] if len(names) == 1 else None)
    if source not in names:
        raise settings.wrong(f"there is no table {source!r}", f"the tables are {', '.join(names)}.")
    attributes = {
        name: found for name in _TEXTS if (found := template_setting(settings, name)) is not None
    }
    if "source" not in attributes and "source" in top:
        attributes["source"] = template(top, "source", top.text("source"))
    missing = [name for name in REQUIRED if name not in attributes]
    if missing:
        raise settings.wrong(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} required"
        )
    if any(not attributes[name].required for name in REQUIRED):
        raise settings.wrong(f"{', '.join(REQUIRED)} are always required")
    time = _time(settings, "time", clock)
    return Events(
        number=number,
        table=source,
        where=settings.text_or_none("where"),
        attributes=attributes,
        time=time,
        recorded=_recorded(top, settings, clock, time),
        order=tuple(_key(settings, value, clock) for value in settings.items("order")),
        data=_fields(settings, "data", clock),
        extensions=_fields(settings, "extensions", clock),
    )


def _recorded(top: Settings, settings: Settings, clock: Clock, time: Time | None) -> Time | None:
    value = top.any("recorded")
    if value is None or value == "now":
        return None
    if value == "time":
        if time is None:
            raise settings.wrong("recorded = 'time' needs a time")
        return time
    if isinstance(value, str):
        raise top.wrong(f"expected recorded as 'now', 'time' or {{ column = … }}, found {value!r}")
    return _time(top, "recorded", clock)


def clock_of(settings: Settings, default: Clock) -> Clock:
    """Read the settings of a clock, which default to ``default``."""
    zone = settings.text_or_none("zone")
    if zone is not None and not check_zone(zone):
        raise settings.wrong(
            f"there is no time zone {zone!r}",
            "zones are named as in the tz database, such as Europe/Prague.",
        )
    gap = settings.choice("gap", DISAMBIGUATION, default.gap)
    return Clock(
        zone or default.zone, gap, settings.choice("overlap", DISAMBIGUATION, default.overlap)
    )


def _time(settings: Settings, name: str, clock: Clock) -> Time | None:
    value = settings.any(name)
    if value is None:
        return None
    inner = Settings(
        f"{settings.where} {name}", {"column": value} if isinstance(value, str) else value, _TIME
    )
    return _time_rule(inner, _value(inner), clock)


def _time_rule(settings: Settings, value: Template, clock: Clock) -> Time:
    pattern, century = settings.text_or_none("format"), settings.whole("century", None)
    # In a format, ``%%y`` is a percent sign and a letter.
    short = pattern is not None and pattern not in UNIX and "%y" in pattern.replace("%%", "")
    if short and century is None:
        raise settings.wrong(
            "years of two digits need a century", "give century = 1900 for the years 1900 to 1999."
        )
    if century is not None and (not short or century % 100 or century > 9900):  # noqa: PLR2004 - years have four digits
        raise settings.wrong(
            "expected century as the first year of a century, for a format with %y, "
            f"found {century}"
        )
    shape = None
    if pattern is not None and pattern not in UNIX:
        try:
            shape = shape_of(pattern)
        except ValueError as error:
            message = f"format {pattern!r}: {error}"
            raise settings.wrong(message) from None
    return Time(value, pattern, shape, century, clock_of(settings, clock))


def _value(settings: Settings, *, required: bool = True) -> Template:
    if ("column" in settings) == ("template" in settings):
        raise settings.wrong("expected either column or template")
    if "column" in settings:
        return Template((("", settings.text("column")),))
    return template(settings, "template", settings.text("template"), required=required)


def _key(settings: Settings, value: Any, clock: Clock) -> Key:
    given = {"column": value} if isinstance(value, str) else value
    inner = Settings(
        f"{settings.where} order", given, ("column", "type", "format", "century", *CLOCK)
    )
    column = inner.text("column")
    return Key(
        column,
        value_kind(inner, inner.any("type") or "utf8", key=True),
        _time_rule(inner, Template((("", column),)), clock),
    )


def _fields(settings: Settings, name: str, clock: Clock) -> tuple[Field, ...]:
    return tuple(
        _field(f"{settings.where} {name}.{member}", member, value, clock)
        for member, value in settings.table(name).items()
    )


def _field(where: str, name: str, value: Any, clock: Clock) -> Field:
    settings = Settings(where, {"column": value} if isinstance(value, str) else value, _FIELD)
    kind = value_kind(settings, settings.any("type") or "utf8")
    _check_fit(settings, kind)
    codes = settings.table("codes") if "codes" in settings else None
    if codes is not None and not all(isinstance(meaning, str) for meaning in codes.values()):
        raise settings.wrong(f"expected codes as a table of text, found {codes!r}")
    separator, thousands = (
        settings.character("decimal_separator", "."),
        settings.character("thousands", ""),
    )
    # A point that groups digits cannot separate a fraction as well.
    if kind.name == "int64" and "decimal_separator" not in settings and thousands == ".":
        separator = ","
    for label, mark in (("decimal_separator", separator), ("thousands", thousands)):
        if mark.isalnum() or mark in {"+", "-"}:
            raise settings.wrong(
                f"expected {label} as a character that no number has, found {mark!r}"
            )
    if separator == thousands:
        raise settings.wrong(
            f"expected decimal_separator and thousands to differ, found {separator!r} for both"
        )
    found = _value(settings, required=settings.flag("required"))
    return Field(
        name=name,
        value=found,
        kind=kind,
        codes=codes,
        nulls=settings.texts("null"),
        required=settings.flag("required"),
        quoted=settings.flag("quoted"),
        decimal_separator=separator,
        thousands=thousands,
        time=_time_rule(settings, found, clock) if kind.name in {"timestamp", "date"} else None,
    )


def _check_fit(settings: Settings, kind: Kind) -> None:
    """Refuse settings that have no effect on the field's type."""
    numbers = {"decimal", "float64", "int64"}
    meant = {name: {"timestamp"} for name in CLOCK} | {
        name: {"timestamp", "date"} for name in ("format", "century")
    }
    meant |= {"quoted": numbers, "thousands": numbers, "decimal_separator": {"decimal", "float64"}}
    for name, kinds in meant.items():
        if name in settings and kind.name not in kinds:
            raise settings.wrong(f"{name} is for {', '.join(sorted(kinds))}, not for {kind}")
