"""Event tables as engines read them."""

from dataclasses import dataclass

import pyarrow as pa

from eventlake.schemas.version import Version


@dataclass(frozen=True, slots=True)
class TableFile:
    """A part of an event table: a file, or rows in memory.

    Attributes:
        stop: The first sequence that does not belong to the history; None if all of them do.
        location: A path that an engine can open; None for rows in memory.
        rows: The rows in stored columns; None for a file.
    """

    stop: int | None
    location: str | None
    rows: pa.Table | None


@dataclass(frozen=True, slots=True)
class EventTable:
    """The events of one type under one schema, up to a watermark."""

    version: Version
    parts: tuple[TableFile, ...]
