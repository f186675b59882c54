"""Event tables as engines read them."""

from dataclasses import dataclass, field, replace

import pyarrow as pa

from eventlake.schemas.version import Version


@dataclass(frozen=True, slots=True)
class TableFile:
    """A part of an event table: a file, or rows in memory.

    Attributes:
        end: The sequences in it are below this one.
        stop: The first sequence that does not belong to the history; None if all of them do.
        location: A path that an engine can open; None for rows in memory.
        rows: The rows in stored columns; None for a file.
        keep: What a temporary file belongs to, which lives as long as this refers to it.
    """

    end: int
    stop: int | None
    location: str | None
    rows: pa.Table | None
    keep: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class EventTable:
    """The events of one type under one schema, up to a watermark."""

    version: Version
    parts: tuple[TableFile, ...]

    def since(self, sequence: int) -> "EventTable":
        """The parts that may hold events from a sequence on; they may hold earlier ones too."""
        return replace(self, parts=tuple(part for part in self.parts if part.end > sequence))
