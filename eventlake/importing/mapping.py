"""The mapping file: TOML, or a dict of the same shape, to rules; every setting is checked, none is guessed."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eventlake.core.attributes import ATTRIBUTES, REQUIRED
from eventlake.errors import InvalidInputError, NotFoundError, StorageError
from eventlake.importing.rules import (
    DISAMBIGUATION,
    ERROR,
    UNIX,
    Clock,
    Events,
    Field,
    Key,
    Kind,
    Table,
    Template,
    Time,
    kind_of,
    template,
    template_setting,
)
from eventlake.importing.settings import Settings
from eventlake.importing.times import check_zone

FORMATS = ("csv", "parquet", "ndjson", "json")
SOURCE = "source"
"""The name of the one table of a mapping that names none."""
BATCH_EVENTS = 100_000
"""Events a batch where the mapping does not say. Batches are what a producer's positions name: another number here would make every
unfinished import of an earlier version a conflict."""

_TEXTS = tuple(name for name in ATTRIBUTES if name not in {"time", "extensions", "data"})
_CLOCK = ("zone", "gap", "overlap")
_TIME = ("column", "template", "format", "century", *_CLOCK)
_FIELD = (*_TIME, "type", "codes", "null", "required", "quoted", "decimal_separator", "thousands")
_FILE = ("format", "delimiter", "quote", "escape", "encoding", "columns", "empty")
_EVENTS = ("from", "where", *_TEXTS, "time", "order", "extensions", "data")
_TOP = ("source", "producer", "recorded", "order", "batch_events", *_CLOCK, "csv", "tables", "events")


@dataclass(frozen=True, slots=True)
class ImportMapping:
    """What a mapping says.

    Attributes:
        name: The file's, without its suffix; ``mapping`` for a dict.
        producer: The stream's name; None to make one of the first source, the mapping's and the input's name.
        file_order: Whether rows keep the order of their one file; else events go by time, block and keys.
        batch_events: Events a batch.
        tables: In the order in which they are made.
        events: At least one.
    """

    name: str
    producer: str | None
    file_order: bool
    batch_events: int
    tables: tuple[Table, ...]
    events: tuple[Events, ...]


def read_mapping(mapping: str | os.PathLike[str] | Mapping[str, Any]) -> ImportMapping:
    """Reads and checks a mapping.

    Raises:
        NotFoundError: There is no such file.
        StorageError: It cannot be read.
        InvalidInputError: It is not TOML, or a setting is unknown, missing or of the wrong kind; the message names it.
    """
    if isinstance(mapping, Mapping):
        return _mapping("mapping", mapping)
    path = Path(mapping).expanduser()
    try:
        return _mapping(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        message = f"there is no mapping {path}"
        raise NotFoundError(message, path=str(path)) from None
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise StorageError(message, path=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        message = f"{path} is not TOML: {error}"
        raise InvalidInputError(message, path=str(path)) from error


def _mapping(name: str, values: Mapping[str, Any]) -> ImportMapping:
    top = Settings("top level", values, _TOP)
    clock = _clock(top, Clock(None, ERROR, ERROR))
    defaults = _file_settings(Settings("[csv]", top.table("csv"), tuple(one for one in _FILE if one not in {"format", "columns"})), Table("", None, None))
    tables = tuple(_table(key, value, defaults) for key, value in top.table("tables").items())
    tables = tables or (replace(defaults, name=SOURCE, file=""),)
    blocks = top.items("events")
    if not blocks:
        raise top.wrong("expected at least one [[events]]")
    events = tuple(_events(number, block, top, clock, tables) for number, block in enumerate(blocks))
    order = top.any("order")
    if order not in {None, "file"}:
        raise top.wrong(f"expected order as 'file', found {order!r}", "order by columns stands in [[events]]: order = [\"column\"].")
    if order == "file":
        sources = {block.table for block in events}
        if len(sources) > 1 or any(table.query is not None for table in tables if table.name in sources) or any(block.order for block in events):
            raise top.wrong("order = 'file' is for events of one table that is a file, without other orders", "give order in each [[events]].")
    return ImportMapping(name, top.text_or_none("producer"), order == "file", top.whole("batch_events", BATCH_EVENTS) or 0, tables, events)


def _table(name: str, values: Any, defaults: Table) -> Table:
    settings = Settings(f"[tables.{name}]", values, ("file", "query", *_FILE))
    if ("file" in settings) == ("query" in settings):
        raise settings.wrong("expected either file or query")
    if "query" in settings:
        Settings(settings.where, values, ("query",))
        return Table(name, None, settings.text("query"))
    return replace(_file_settings(settings, defaults), name=name, file=settings.text("file"))


def _file_settings(settings: Settings, defaults: Table) -> Table:
    encoding = settings.text("encoding", defaults.encoding)
    try:
        "".encode(encoding)
    except LookupError:
        raise settings.wrong(f"there is no encoding {encoding!r}") from None
    return replace(
        defaults,
        format=settings.choice("format", FORMATS, "csv") if "format" in settings else "",
        delimiter=settings.character("delimiter", defaults.delimiter),
        quote=settings.character("quote", defaults.quote) if settings.any("quote") != "" else "",
        escape=settings.character("escape", defaults.escape),
        encoding=encoding,
        columns=settings.texts("columns"),
        empty_is_null=settings.choice("empty", ("null", "text"), "null" if defaults.empty_is_null else "text") == "null",
    )


def _events(number: int, values: Any, top: Settings, clock: Clock, tables: tuple[Table, ...]) -> Events:
    settings = Settings(f"[[events]] {number + 1}", values, _EVENTS)
    names = [table.name for table in tables]
    source = settings.text("from", names[0] if len(names) == 1 else None)
    if source not in names:
        raise settings.wrong(f"there is no table {source!r}", f"the tables are {', '.join(names)}.")
    attributes = {name: found for name in _TEXTS if (found := template_setting(settings, name)) is not None}
    if "source" not in attributes and "source" in top:
        attributes["source"] = template(top, "source", top.text("source"))
    missing = [name for name in REQUIRED if name not in attributes]
    if missing:
        raise settings.wrong(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} required")
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
    if value in {None, "now"} if not isinstance(value, Mapping) else False:
        return None
    if value == "time":
        if time is None:
            raise settings.wrong("recorded = 'time' needs a time")
        return time
    if isinstance(value, str):
        raise top.wrong(f"expected recorded as 'now', 'time' or {{ column = … }}, found {value!r}")
    return _time(top, "recorded", clock)


def _clock(settings: Settings, default: Clock) -> Clock:
    zone = settings.text_or_none("zone")
    if zone is not None and not check_zone(zone):
        raise settings.wrong(f"there is no time zone {zone!r}", "zones are named as in the tz database, such as Europe/Prague.")
    gap = settings.choice("gap", DISAMBIGUATION, default.gap)
    return Clock(zone or default.zone, gap, settings.choice("overlap", DISAMBIGUATION, default.overlap))


def _time(settings: Settings, name: str, clock: Clock) -> Time | None:
    value = settings.any(name)
    if value is None:
        return None
    inner = Settings(f"{settings.where} {name}", {"column": value} if isinstance(value, str) else value, _TIME)
    return _time_rule(inner, _value(inner), clock)


def _time_rule(settings: Settings, value: Template, clock: Clock) -> Time:
    pattern, century = settings.text_or_none("format"), settings.whole("century", None)
    short = pattern is not None and pattern not in UNIX and "%y" in pattern.replace("%%", "")
    if short and century is None:
        raise settings.wrong("years of two digits need a century", "give century = 1900 for the years 1900 to 1999.")
    if century is not None and (not short or century % 100 or century > 9900):  # noqa: PLR2004 - years have four digits
        raise settings.wrong(f"expected century as the first year of a century, for a format with %y, found {century}")
    return Time(value, pattern, century, _clock(settings, clock))


def _value(settings: Settings, *, required: bool = True) -> Template:
    if ("column" in settings) == ("template" in settings):
        raise settings.wrong("expected either column or template")
    if "column" in settings:
        return Template((("", settings.text("column")),))
    return template(settings, "template", settings.text("template"), required=required)


def _key(settings: Settings, value: Any, clock: Clock) -> Key:
    given = {"column": value} if isinstance(value, str) else value
    inner = Settings(f"{settings.where} order", given, ("column", "type", "format", "century", *_CLOCK))
    column = inner.text("column")
    return Key(column, kind_of(inner, inner.any("type") or "utf8", key=True), _time_rule(inner, Template((("", column),)), clock))


def _fields(settings: Settings, name: str, clock: Clock) -> tuple[Field, ...]:
    return tuple(_field(f"{settings.where} {name}.{member}", member, value, clock) for member, value in settings.table(name).items())


def _field(where: str, name: str, value: Any, clock: Clock) -> Field:
    settings = Settings(where, {"column": value} if isinstance(value, str) else value, _FIELD)
    kind = kind_of(settings, settings.any("type") or "utf8")
    _check_fit(settings, kind)
    codes = settings.table("codes") if "codes" in settings else None
    if codes is not None and not all(isinstance(meaning, str) for meaning in codes.values()):
        raise settings.wrong(f"expected codes as a table of text, found {codes!r}")
    found = _value(settings, required=settings.flag("required"))
    return Field(
        name=name,
        value=found,
        kind=kind,
        codes=codes,
        nulls=settings.texts("null"),
        required=settings.flag("required"),
        quoted=settings.flag("quoted"),
        decimal_separator=settings.character("decimal_separator", "."),
        thousands=settings.character("thousands", ""),
        time=_time_rule(settings, found, clock) if kind.name in {"timestamp", "date"} else None,
    )


def _check_fit(settings: Settings, kind: Kind) -> None:
    """Refuses settings that would do nothing for a field of its type."""
    numbers = {"decimal", "float64", "int64"}
    meant = {name: {"timestamp"} for name in _CLOCK} | {name: {"timestamp", "date"} for name in ("format", "century")}
    meant |= {"quoted": numbers, "thousands": numbers, "decimal_separator": {"decimal", "float64"}}
    for name, kinds in meant.items():
        if name in settings and kind.name not in kinds:
            raise settings.wrong(f"{name} is for {', '.join(sorted(kinds))}, not for {kind}")
