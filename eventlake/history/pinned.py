"""A history pinned at a watermark: which segments hold it, its root, its clock. Plain facts that both engines read from."""

import bisect
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from eventlake.core import layout
from eventlake.core.documents.manifest import CommitSummary
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.checkpoint import Checkpoint
from eventlake.core.hashing.merkle import EMPTY_ROOT, CompactRange
from eventlake.errors import CorruptionError, StorageError
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.checked_read import (
    check_claims,
    check_segments,
    foreign_commits,
    missing,
    part_of,
    stored_events,
)
from eventlake.log.chain.manifest import Manifest, SegmentInCommit
from eventlake.log.maintaining.check_compaction import check_compacted
from eventlake.progress import task
from eventlake.schemas.catalogue import Catalogue
from eventlake.schemas.version import Version
from eventlake.storage import Storage
from eventlake.tables.files import EventTable, event_tables
from eventlake.trust import OWN, Trust, statement

_SHOWN = 20
T = TypeVar("T")
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment as a snapshot reads it.

    Attributes:
        commit: The one that named the file.
        segment: The file.
        stop: Exclusive bound of the events that belong to the history; below ``segment.stop`` where
            the watermark cuts the file.
    """

    commit: CommitSummary
    segment: Segment
    stop: int

    @property
    def placed(self) -> SegmentInCommit:
        """The segment with its commit."""
        return self.commit, self.segment

    @property
    def recorded_at(self) -> int | None:
        """Microseconds; what every event in it was recorded at, or None where the file has the column."""
        return None if self.segment.recorded else self.commit.recorded_at

    @property
    def rows(self) -> int:
        """Events of it that belong to the history."""
        return self.stop - self.segment.start


@dataclass(frozen=True, slots=True)
class PinnedHistory:
    """The events ``[0, watermark)``.

    Attributes:
        storage: Where the segments are.
        checkpoint: The identity.
        commit_hash: Of the newest commit with an event in it; None where the history is empty.
        stretches: The segments, in sequence order.
        manifest: Of the lake as it was looked at; reaches beyond the watermark.
        catalogue: The schemas that events are read with.
        trust: What is believed of the lake.
        fresh: Whether event tables are derived anew, and those stored before are not looked at.
    """

    storage: Storage
    checkpoint: Checkpoint
    commit_hash: str | None
    stretches: tuple[Stretch, ...]
    manifest: Manifest = field(repr=False, compare=False)
    catalogue: Catalogue = field(repr=False, compare=False)
    trust: Trust = field(default=OWN, repr=False, compare=False)
    fresh: bool = False
    _given: set[str] = field(default_factory=set, repr=False, compare=False)

    @property
    def watermark(self) -> int:
        """Number of events."""
        return self.checkpoint.watermark

    @property
    def undated(self) -> bool:
        """Whether some segment holds an event without a ``time``."""
        return any(stretch.segment.undated for stretch in self.stretches)

    def path(self, stretch: Stretch) -> str:
        """Where the segment stands in the storage."""
        return layout.segment_path(stretch.segment.sha256)

    def locations(self) -> list[str] | None:
        """Paths that an engine can open by itself, in order; None where the storage has none to give.

        Raises:
            CorruptionError: One of the files is gone; or it was never read before, and is not what
                its commit says.
        """
        paths = [self.storage.locate(self.path(stretch)) for stretch in self.stretches]
        known = [path for path in paths if path is not None]
        if len(known) < len(paths):
            return None
        for stretch in self.stretches:
            if not self.storage.exists(self.path(stretch)):
                raise missing(stretch.segment)
        if not self.trust.believes:
            self.check(changed_only=True)
        self._given.update(known)
        return known

    def check_claims(self) -> None:
        """Makes sure that what the commits say of the segments is so; called before anything is concluded from it.

        Raises:
            CorruptionError: A segment is not what its commit says.
        """
        check_claims(self.storage, [stretch.placed for stretch in self.stretches], self.trust)

    def unknown_type(self, event_type: str) -> tuple[str, str] | None:
        """What is to be said of a type that no event of the history has and no schema, and which types are meant; None for other types."""
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
        """The events of a stretch, from bytes whose hash is checked first.

        Raises:
            CorruptionError: The file is not what was written.
        """
        return stored_events(self.storage, stretch.placed, self.trust, columns).slice(
            0, stretch.rows
        )

    def stretch_of(self, sequence: int) -> Stretch:
        """The one that holds an event of the history."""
        return self.stretches[
            bisect.bisect_right(self.stretches, sequence, key=lambda one: one.stop)
        ]

    def row(self, sequence: int) -> pa.Table:
        """One event of the history, as it is stored.

        Raises:
            CorruptionError: Its segment is damaged.
        """
        stretch = self.stretch_of(sequence)
        return self.read(stretch).slice(sequence - stretch.segment.start, 1)

    def first_recorded(self, since: int = 0) -> int | None:
        """When the first event from a sequence on was recorded, in microseconds; None where there is none."""
        stretch = next((one for one in self.stretches if one.stop > since), None)
        if stretch is None or stretch.recorded_at is not None:
            return None if stretch is None else stretch.recorded_at
        column = self.read(stretch, ["recorded_at"]).column("recorded_at").cast(pa.int64())
        return int(column[max(since - stretch.segment.start, 0)].as_py())

    def recorded_before(self, instant: int) -> int:
        """How many of the events were recorded before an instant, in microseconds."""
        for stretch in self.stretches:
            if stretch.recorded_at is None:
                recorded = (
                    self.read(stretch, ["recorded_at"])
                    .column("recorded_at")
                    .cast(pa.int64())
                    .to_numpy()
                )
                before = int(np.searchsorted(recorded, instant))
                if before < stretch.rows:
                    return stretch.segment.start + before
            elif stretch.recorded_at >= instant:
                return stretch.segment.start
        return self.watermark

    def table(
        self, event_type: str, version: int | None = None, before: int | None = None
    ) -> EventTable:
        """One event type as typed columns, under the newest schema for None; derived where it is not stored yet.

        Args:
            event_type: A registered one.
            version: Of its schema.
            before: Only events recorded before this instant, in microseconds.

        Raises:
            NotFoundError: The type has no schema, or no such version.
            CorruptionError: A segment is damaged.
        """
        schema = self.catalogue.version(event_type, version)
        watermark = self.watermark if before is None else self.recorded_before(before)
        return self._table(schema, watermark)

    def table_at(self, event_type: str, watermark: int) -> EventTable:
        """``table`` as it was at an earlier watermark, under the schema of now."""
        return self._table(self.catalogue.version(event_type), watermark)

    def _table(self, schema: Version, watermark: int) -> EventTable:
        self.check_claims()
        return self._noted(
            event_tables(
                self.storage, self.manifest, [schema], watermark, self.trust, fresh=self.fresh
            )
        )[0]

    def tables(self, event_types: Iterable[str]) -> dict[str, EventTable]:
        """Several event types under their newest schemas; where they are not stored yet each segment is read once.

        Raises:
            NotFoundError: A type has no schema.
            CorruptionError: A segment is damaged.
        """
        versions = [self.catalogue.version(event_type) for event_type in event_types]
        if versions:
            self.check_claims()
        found = event_tables(
            self.storage, self.manifest, versions, self.watermark, self.trust, fresh=self.fresh
        )
        return {table.version.schema.event_type: table for table in self._noted(found)}

    def _noted(self, tables: list[EventTable]) -> list[EventTable]:
        """Remembers which files engines are about to open."""
        self._given.update(
            part.location for table in tables for part in table.parts if part.location is not None
        )
        return tables

    def retried(self, read: Callable[[], T]) -> T:
        """What ``read`` gives; read again if it failed and a file that an engine was given is gone.

        Event tables may be deleted at any time, also between being chosen and being opened by an
        engine: then they are derived again. Segments that were compacted may be collected: then
        ``locations`` says that they are missing.

        Raises:
            StorageError: Files go as fast as they are made.
        """
        for _ in range(_TRIES):
            try:
                return read()
            except Exception as error:
                gone = self.gone()
                if not gone:
                    raise
                self._given.difference_update(gone)
                last = error
        message = f"files were deleted again and again while they were read, the last one {gone[0]}"
        raise StorageError(
            message, "find out what deletes them, and run this again.", path=gone[0]
        ) from last

    def gone(self) -> list[str]:
        """The files that engines were given and that are not there any more."""
        return sorted(path for path in list(self._given) if _is_gone(path))

    def with_schemas(self, schemas: Mapping[str, str], *, fresh: bool = False) -> "PinnedHistory":
        """The same history, read with these schemas (event type to hash) where newer ones were registered since.

        Raises:
            NotFoundError: The lake has no such schema.
        """
        return replace(self, catalogue=self.catalogue.pinned(schemas), fresh=fresh)

    def check(self, *, changed_only: bool = False) -> None:
        """Re-hashes every segment of the history.

        Args:
            changed_only: Pass over files that were hashed before and that nobody has written since.

        Raises:
            CorruptionError: One of them is not what was written; it is named.
        """
        with task("checking segments", len(self.stretches)) as advance:
            for _ in check_segments(
                self.storage,
                [one.placed for one in self.stretches],
                self.trust,
                changed_only=changed_only,
            ):
                advance(1)

    def clock_hash(self) -> str:
        """SHA-256 over the runs ``(start, recorded_at)`` below the watermark, equal neighbours joined (docs/reference/format.md)."""
        digest = hashlib.sha256()
        last: int | None = None
        for start, recorded_at in self._runs():
            if recorded_at != last:
                digest.update(f"{start}:{recorded_at},".encode())
                last = recorded_at
        return digest.hexdigest()

    def _runs(self) -> Iterable[tuple[int, int]]:
        for stretch in self.stretches:
            start = stretch.segment.start
            if stretch.recorded_at is not None:
                yield start, stretch.recorded_at
            else:
                values = (
                    self.read(stretch, ["recorded_at"])
                    .column("recorded_at")
                    .cast(pa.int64())
                    .to_numpy()
                )
                rows = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
                yield from zip((rows + start).tolist(), values[rows].tolist(), strict=True)


def _is_gone(path: str) -> bool:
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def pin(chain: Chain, watermark: int) -> PinnedHistory:
    """The history of ``chain`` below ``watermark``, which must not be beyond the head.

    A watermark inside a commit costs one segment's leaves; at a commit's end the commit's own root
    is taken.
    """
    manifest = chain.manifest()
    stretches = tuple(
        Stretch(summary, segment, min(segment.stop, watermark))
        for summary, segment in manifest.between(0, watermark)
    )
    check_compacted(chain, [stretch.placed for stretch in stretches])
    catalogue = chain.catalogue()
    if not watermark:
        empty = Checkpoint(chain.origin, 0, EMPTY_ROOT.hex())
        return PinnedHistory(
            chain.storage, empty, None, stretches, manifest, catalogue, chain.trust
        )
    last = manifest.commits[manifest.version_of(watermark - 1)]
    checkpoint = Checkpoint(chain.origin, watermark, _root(chain, stretches, last, watermark))
    return PinnedHistory(
        chain.storage, checkpoint, last.commit_hash, stretches, manifest, catalogue, chain.trust
    )


def _root(chain: Chain, stretches: tuple[Stretch, ...], last: CommitSummary, watermark: int) -> str:
    """The root at a watermark, ``last`` being the commit that it lies in or at the end of.

    Raises:
        CorruptionError: Others wrote some of the commits, and their segments do not fold to the
            root that ``last`` names.
    """
    foreign = foreign_commits(
        [*(stretch.placed for stretch in stretches), (last, stretches[-1].segment)], chain.trust
    )
    if not foreign:
        return (
            last.root
            if last.stop == watermark
            else _root_inside(chain, stretches, last.version, watermark)
        )
    nodes = [(stretch.segment.start, *stretch.segment.nodes) for stretch in stretches]
    folded = statement("root", last.root, watermark, nodes)
    if last.stop == watermark and chain.trust.ledger.knows(folded):
        return last.root
    total = CompactRange.empty()
    for stretch in stretches:
        if stretch.segment.start != total.stop:
            message = f"no segment holds the events {total.stop:,}-{stretch.segment.start:,}"
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", version=last.version)
        total = total.merge(
            part_of(chain.storage, stretch.placed, chain.trust, stretch.segment.start, stretch.stop)
        )
    root = total.root().hex()
    if last.stop == watermark:
        if root != last.root:
            message = f"the segments fold to root {root} at {watermark:,}, commit {last.version} says {last.root}"
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", version=last.version)
        chain.trust.ledger.note([folded])
    return root


def _root_inside(chain: Chain, stretches: tuple[Stretch, ...], version: int, watermark: int) -> str:
    """The root at a watermark inside commit ``version``."""
    frontier = chain.entry(version - 1).commit.range if version else CompactRange.empty()
    for stretch in stretches:
        segment = stretch.segment
        if segment.stop > frontier.stop:
            first, stop = max(segment.start, frontier.stop), min(segment.stop, watermark)
            frontier = frontier.merge(
                part_of(chain.storage, stretch.placed, chain.trust, first, stop)
            )
    return frontier.root().hex()
