"""A history pinned at a watermark: its segments, root and instants, which both engines read."""

import bisect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from eventlake.columns.hashing.clock import Int64s
from eventlake.core import layout
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.errors import CorruptionError, StorageError
from eventlake.history.clock_hash import clock_hash
from eventlake.history.stretch import Stretch
from eventlake.log.chain.checked_read import (
    check_claims,
    check_segments,
    missing,
    stored_events,
)
from eventlake.log.chain.manifest import Manifest
from eventlake.progress import task
from eventlake.schemas.catalogue import Catalogue
from eventlake.schemas.version import Version
from eventlake.storage import Storage
from eventlake.tables.event_table import EventTable
from eventlake.trust import OWN, Trust

_SHOWN = 20
_FEW = 8
"""Segments up to which each one's state is asked for."""
T = TypeVar("T")
_TRIES = 3
"""How often a read is tried while files disappear."""


@dataclass(frozen=True, slots=True)
class PinnedHistory:
    """The events ``[0, watermark)``.

    Attributes:
        storage: Where the segments are.
        checkpoint: The identity.
        commit_hash: The newest commit with an event of the history; None if it is empty.
        stretches: The segments, in sequence order.
        manifest: The lake's manifest, which reaches beyond the watermark.
        catalogue: The schemas that events are read with.
        trust: The trust in the lake's writers.
        ignore_stored: Whether event tables are derived again, ignoring those that are stored.
    """

    storage: Storage
    checkpoint: Checkpoint
    commit_hash: str | None
    stretches: tuple[Stretch, ...]
    manifest: Manifest = field(repr=False, compare=False)
    catalogue: Catalogue = field(repr=False, compare=False)
    trust: Trust = field(default=OWN, repr=False, compare=False)
    ignore_stored: bool = False
    # Files that engines were told to open. ``retry`` looks here if a read fails.
    _opened: set[str] = field(default_factory=set, repr=False, compare=False)
    # Tables that are stored nowhere, which are derived once; their files live as long as they do.
    _derived: dict[tuple[str, str, int], EventTable] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def watermark(self) -> int:
        """The number of events."""
        return self.checkpoint.watermark

    @property
    def undated(self) -> bool:
        """Whether some segment holds an event without a ``time``."""
        return any(stretch.segment.undated for stretch in self.stretches)

    def path(self, stretch: Stretch) -> str:
        """The path of a segment in the storage."""
        return layout.segment_path(stretch.segment.sha256)

    def locations(self) -> list[str] | None:
        """Paths that an engine can open itself, in order; None if the storage has no such paths.

        Raises:
            CorruptionError: A file is missing; or it is read for the first time and does not match
                its commit.
        """
        paths = [self.storage.locate(self.path(stretch)) for stretch in self.stretches]
        known = [path for path in paths if path is not None]
        # All or nothing: an engine cannot read some segments from files and others from memory.
        if len(known) < len(paths):
            return None
        for stretch in self.stretches:
            if not self.storage.exists(self.path(stretch)):
                raise missing(stretch.segment)
        # Engines open files themselves, so this is the last moment at which they can be checked.
        if not self.trust.believes:
            self.check(changed_only=True)
        self._opened.update(known)
        return known

    def check_claims(self) -> None:
        """Check the events of segments before relying on the statistics in commits.

        Raises:
            CorruptionError: A segment does not match its commit.
        """
        check_claims(self.storage, [stretch.placed for stretch in self.stretches], self.trust)

    def unknown_type(self, event_type: str) -> tuple[str, str] | None:
        """The message and the hint for a type without events and without a schema, or None."""
        # Both a typo and a type that has no events yet end here, so that types are listed.
        there = {name for stretch in self.stretches for name, _ in stretch.segment.types} | set(
            self.catalogue.types
        )
        if event_type in there:
            return None
        near = get_close_matches(event_type, there, 1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        some = sorted(there)[:_SHOWN]
        named = ", ".join(some) + (
            f" and {len(there) - len(some):,} more" if len(there) > len(some) else ""
        )
        return (
            f"no event and no schema has the type {event_type!r}",
            f"{meant}the types are {named or 'none: the history is empty'}.",
        )

    def read(self, stretch: Stretch, columns: list[str] | None = None) -> pa.Table:
        """Read the events of a stretch from bytes that match their hash.

        Raises:
            CorruptionError: The file does not match its hash or its commit.
        """
        return stored_events(self.storage, stretch.placed, self.trust, columns).slice(
            0, stretch.rows
        )

    def stretch_of(self, sequence: int) -> Stretch:
        """The stretch that holds an event of the history."""
        return self.stretches[
            bisect.bisect_right(self.stretches, sequence, key=lambda one: one.stop)
        ]

    def row(self, sequence: int) -> pa.Table:
        """Read one event of the history, as it is stored.

        Raises:
            CorruptionError: Its segment is damaged.
        """
        stretch = self.stretch_of(sequence)
        return self.read(stretch).slice(sequence - stretch.segment.start, 1)

    def first_recorded(self, since: int = 0) -> int | None:
        """The instant of the first event from a sequence on, in microseconds; None without one."""
        # Only a compacted segment, whose events have several instants, stores the column.
        stretch = next((one for one in self.stretches if one.stop > since), None)
        if stretch is None or stretch.recorded_at is not None:
            return None if stretch is None else stretch.recorded_at
        column = self.read(stretch, ["recorded_at"]).column("recorded_at").cast(pa.int64())
        return int(column[max(since - stretch.segment.start, 0)].as_py())

    def recorded_before(self, instant: int) -> int:
        """The number of events recorded before an instant, in microseconds."""
        for stretch in self.stretches:
            if stretch.recorded_at is None:
                recorded = self._instants(stretch)
                # ``recorded_at`` never decreases, so both segments and events can be searched in
                # order.
                before = int(np.searchsorted(recorded, instant))
                if before < stretch.rows:
                    return stretch.segment.start + before
            elif stretch.recorded_at >= instant:
                return stretch.segment.start
        return self.watermark

    def table(
        self, event_type: str, version: int | None = None, before: int | None = None
    ) -> EventTable:
        """One event type as typed columns; derived if it is not stored yet.

        Args:
            event_type: A registered type.
            version: The version of its schema; defaults to the newest.
            before: Only events recorded before this instant, in microseconds.

        Raises:
            NotFoundError: The type has no schema, or no such version.
            CorruptionError: A segment is damaged.
        """
        schema = self.catalogue.version(event_type, version)
        watermark = self.watermark if before is None else self.recorded_before(before)
        return self._table(schema, watermark)

    def table_at(self, event_type: str, watermark: int) -> EventTable:
        """The table at an earlier watermark, under the newest schema."""
        return self._table(self.catalogue.version(event_type), watermark)

    def _table(self, schema: Version, watermark: int) -> EventTable:
        self.check_claims()
        return self._tables([schema], watermark)[0]

    def tables(self, event_types: Iterable[str]) -> dict[str, EventTable]:
        """Several event types under their newest schemas; each segment is read at most once.

        Raises:
            NotFoundError: A type has no schema.
            CorruptionError: A segment is damaged.
        """
        # All types at once: each segment that must be read is read for all of them.
        versions = [self.catalogue.version(event_type) for event_type in event_types]
        if versions:
            self.check_claims()
        found = self._tables(versions, self.watermark)
        return {table.version.schema.event_type: table for table in found}

    def _tables(self, versions: list[Version], watermark: int) -> list[EventTable]:
        from eventlake.tables.files import event_tables

        keys = [(one.schema.event_type, one.schema_hash, watermark) for one in versions]
        missing = [one for one, key in zip(versions, keys, strict=True) if key not in self._derived]
        found = event_tables(
            self.storage,
            self.manifest,
            missing,
            watermark,
            self.trust,
            ignore_stored=self.ignore_stored,
        )
        if not self.ignore_stored:
            return self._remember(found)
        self._derived.update(
            ((one.schema.event_type, one.schema_hash, watermark), table)
            for one, table in zip(missing, found, strict=True)
        )
        return self._remember([self._derived[key] for key in keys])

    def _remember(self, tables: list[EventTable]) -> list[EventTable]:
        """Remember the files that engines are about to open."""
        self._opened.update(
            part.location for table in tables for part in table.parts if part.location is not None
        )
        return tables

    def retry(self, read: Callable[[], T]) -> T:
        """Call ``read``; call it again if it failed and a file that an engine opened is missing.

        Event tables may be deleted at any time, even between choosing and opening one; then they
        are derived again. Compacted segments may be collected; then ``locations`` reports that they
        are missing.

        Raises:
            StorageError: Files disappear as fast as they are created.
        """
        for _ in range(_TRIES):
            try:
                return read()
            # Engines report a missing file in many ways, so every error is taken for one at first.
            except Exception as error:
                missing_files = self.missing_files()
                if not missing_files:
                    raise
                # The next attempt derives or pins other files; these must not count as missing
                # again.
                self._opened.difference_update(missing_files)
                self._derived.clear()
                last = error
        path = missing_files[0]
        message = f"files were deleted again and again while they were read, the last one {path}"
        raise StorageError(
            message, "find out what deletes them, and run this again.", path=path
        ) from last

    def missing_files(self) -> list[str]:
        """The files that engines were told to open and that no longer exist."""
        return sorted(path for path in list(self._opened) if _is_missing(path))

    def with_schemas(
        self, schemas: Mapping[str, str], *, ignore_stored: bool = False
    ) -> "PinnedHistory":
        """The same history, read with these schemas (event type to hash) instead of newer ones.

        Raises:
            NotFoundError: The lake has no such schema.
        """
        return replace(
            self,
            catalogue=self.catalogue.pinned(schemas),
            ignore_stored=ignore_stored,
            _derived={},
        )

    def check(self, *, changed_only: bool = False) -> None:
        """Hash every segment of the history again.

        Args:
            changed_only: Skip files that were hashed before and not written since.

        Raises:
            CorruptionError: A segment does not match its hash; the message names it.
        """
        with task("checking segments", len(self.stretches)) as advance:
            for _ in check_segments(
                self.storage,
                [one.placed for one in self.stretches],
                self.trust,
                changed_only=changed_only,
                # A listing costs one request for many segments, but names all of the lake.
                listed=len(self.stretches) > max(_FEW, len(self.manifest.segments) // 2),
            ):
                advance(1)

    def clock_hash(self) -> str:
        """SHA-256 of the runs ``(start, recorded_at)``; equal neighbours are one run.

        Source: docs/reference/format.md.
        """
        return clock_hash(self.stretches, self._instants)

    def _instants(self, stretch: Stretch) -> Int64s:
        column = self.read(stretch, ["recorded_at"]).column("recorded_at")
        if column.null_count:
            message = (
                f"{self.path(stretch)}: expected each event's recorded_at, "
                f"found {column.null_count:,} nulls"
            )
            raise CorruptionError(
                message, "run 'eventlake verify LAKE --deep'.", path=self.path(stretch)
            )
        return np.asarray(column.cast(pa.int64()))


def _is_missing(path: str) -> bool:
    try:
        Path(path).stat()
    # Only these prove that a file is gone; a file that is not accessible is another error.
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False
