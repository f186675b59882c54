"""Read a mapping, from TOML or a dict of the same shape, and check every setting."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eventlake.errors import InvalidInputError, NotFoundError, StorageError
from eventlake.importing.blocks import (
    CLOCK,
    FILE,
    clock_of,
    events_of_block,
    file_settings,
    table_of,
)
from eventlake.importing.rules import ERROR, OWN, Clock, Events, Table
from eventlake.importing.settings import Settings
from eventlake.storage import toml

SOURCE = "source"
"""The name of the table of a mapping without ``[tables]``."""
BATCH_EVENTS = 100_000
"""Default number of events per batch.

A producer's positions count batches, so another number would turn every unfinished import of an
earlier version into a conflict.
"""

_TOP = (
    "source",
    "producer",
    "recorded",
    "order",
    "batch_events",
    *CLOCK,
    "csv",
    "tables",
    "events",
)


@dataclass(frozen=True, slots=True)
class ImportMapping:
    """A checked mapping.

    Attributes:
        name: Name of the file without its suffix; ``mapping`` for a dict.
        producer: The stream's name; None to derive it from the first source, the mapping and the
            input.
        file_order: Whether rows keep the order of their file. Otherwise events are ordered by time,
            block and keys.
        batch_events: Events per batch.
        tables: Tables in the order of their creation.
        events: Rules for events; at least one.
    """

    name: str
    producer: str | None
    file_order: bool
    batch_events: int
    tables: tuple[Table, ...]
    events: tuple[Events, ...]


def read_mapping(mapping: str | os.PathLike[str] | Mapping[str, Any]) -> ImportMapping:
    """Read and check a mapping.

    Raises:
        NotFoundError: The file does not exist.
        StorageError: The file cannot be read.
        InvalidInputError: The file is not TOML, or a setting is unknown, missing or of the wrong
            type; the message names it.
    """
    if isinstance(mapping, Mapping):
        return _mapping("mapping", mapping)
    given: object = mapping
    if not isinstance(given, str | os.PathLike):
        message = (
            "expected a mapping as the path of a TOML file or as a dict, "
            f"found {type(given).__name__}"
        )
        raise InvalidInputError(message)
    path = Path(mapping).expanduser()
    try:
        values = toml.read(path)
    except FileNotFoundError:
        message = f"there is no mapping {path}"
        raise NotFoundError(message, path=str(path)) from None
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise StorageError(message, path=str(path)) from error
    except toml.NotTomlError as error:
        message = f"{path} is not TOML: {error}"
        raise InvalidInputError(message, path=str(path)) from error
    return _mapping(path.stem, values)


def _mapping(name: str, values: Mapping[str, Any]) -> ImportMapping:
    _check_texts(values, "top level")
    top = Settings("top level", values, _TOP)
    clock = clock_of(top, Clock(None, ERROR, ERROR))
    defaults = file_settings(
        Settings(
            "[csv]",
            top.table("csv"),
            tuple(one for one in FILE if one not in {"format", "columns"}),
        ),
        Table("", None, None),
    )
    tables = tuple(table_of(key, value, defaults) for key, value in top.table("tables").items())
    tables = tables or (replace(defaults, name=SOURCE, file=""),)
    # DuckDB's names ignore case.
    names = [table.name.casefold() for table in tables]
    if own := [name for name in names if name.startswith(OWN)]:
        raise top.wrong(f"expected tables of other names than {OWN}…, found {', '.join(own)}")
    if len(set(names)) < len(names):
        found = ", ".join(table.name for table in tables)
        raise top.wrong(f"expected tables whose names differ in more than case, found {found}")
    blocks = top.items("events")
    if not blocks:
        raise top.wrong("expected at least one [[events]]")
    events = tuple(
        events_of_block(number, block, top, clock, tables) for number, block in enumerate(blocks)
    )
    order = top.any("order")
    if order is not None and order != "file":
        raise top.wrong(
            f"expected order as 'file', found {order!r}",
            'to order by columns, write order = ["column"] in [[events]].',
        )
    if order == "file":
        _check_file_order(top, tables, events)
    return ImportMapping(
        name,
        top.text_or_none("producer"),
        order == "file",
        top.whole("batch_events", BATCH_EVENTS) or 0,
        tables,
        events,
    )


def _check_texts(value: Any, where: str) -> None:
    """Refuse text that a TOML file cannot contain, but a dict can."""
    if isinstance(value, str) and (
        "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)
    ):
        message = (
            f"mapping, {where}: expected text without NUL characters and lone surrogates, "
            f"found {value!r}"
        )
        raise InvalidInputError(message)
    if isinstance(value, Mapping):
        for name, inner in value.items():
            _check_texts(name, where)
            _check_texts(inner, str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_texts(inner, where)


def _check_file_order(top: Settings, tables: tuple[Table, ...], events: tuple[Events, ...]) -> None:
    used = {block.table for block in events}
    of_query = any(table.query is not None for table in tables if table.name in used)
    if len(used) > 1 or of_query or any(block.order for block in events):
        message = (
            "order = 'file' is for events of one table that is a file, "
            "without an order of their own"
        )
        raise top.wrong(message, "give order in each [[events]] instead.")
