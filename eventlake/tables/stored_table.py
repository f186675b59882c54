"""One event type's table in storage: the ranges that are stored, and what is missing of them."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from eventlake.caches import CACHES
from eventlake.columns.parquet import segments
from eventlake.columns.parquet.footers import PARQUET_ENDING
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import CorruptionError, StorageError
from eventlake.log.chain.checked_read import bytes_statement
from eventlake.log.chain.manifest import Manifest, SegmentInCommit
from eventlake.schemas.version import Version
from eventlake.storage import (
    ObjectMissingError,
    State,
    Storage,
    is_named_by,
    read_named,
    size_of,
    state_of,
)
from eventlake.tables.columns import stored_schema
from eventlake.tables.derive import derive, joined
from eventlake.tables.derived import places, put
from eventlake.tables.event_table import TableFile
from eventlake.tables.ranges import (
    TableRange,
    commit_at,
    cover,
    folder,
    to_merge,
    true_ranges,
)
from eventlake.trust import Trust, statement

_LOG = logging.getLogger(__name__)
_DELETE = "delete the file; it is derived from the segments again."
_chosen_ranges = CACHES.bounded_map(1_024)
"""The ranges in the lake that covered a table when its folder was listed last.

By the lake's URI and the folder. They are checked like all others: files may be gone, or belong to
another lake of the same URI.
"""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The events ``[start, stop)`` of a segment."""

    placed: SegmentInCommit
    start: int
    stop: int


def stretches(manifest: Manifest, event_type: str, watermark: int) -> list[Stretch]:
    """The segments with events of the type, each with the part that belongs to the history."""
    placed = manifest.between(0, watermark)
    return [
        Stretch(one, one[1].start, min(one[1].stop, watermark))
        for one in placed
        if event_type in dict(one[1].types)
    ]


class StoredTable:
    """One event table while it is completed up to a watermark.

    Attributes:
        version: The schema to read with.
        rows: The number of rows that are in memory and not stored yet.
        size_bytes: Their size, before their payloads are read.
    """

    def __init__(
        self,
        storage: Storage,
        manifest: Manifest,
        version: Version,
        watermark: int,
        trust: Trust,
        *,
        merged_rows: int,
        most_bytes: int,
    ) -> None:
        self.version = version
        self.rows = self.size_bytes = 0
        self._merged_rows = merged_rows
        self._most_bytes = most_bytes
        self._storage = storage
        self._manifest = manifest
        self._watermark = watermark
        self._trust = trust
        self._stretches = stretches(manifest, version.schema.event_type, watermark)
        self._key = storage.uri, folder(version)
        # Where each range is stored, and the size of its file.
        self._files: dict[TableRange, tuple[Storage, int]] = {}
        # A listing grows with every range that was ever stored, so what was chosen of the last one
        # is tried first.
        known = _chosen_ranges.get(self._key)
        self._is_listed = known is None
        if known is None:
            self._list()
        else:
            self._files = {one: (storage, size_bytes) for one, size_bytes in known}
        self._chosen: list[TableRange] = []
        self._pending: list[tuple[Stretch, pa.Table]] = []
        # Ranges that no storage accepted.
        self._in_memory: dict[TableRange, pa.Table] = {}

    def missing(self) -> list[Stretch]:
        """What no valid file holds, in order."""
        needed = [(one.start, one.stop) for one in self._stretches]
        while True:
            known = true_ranges([*self._files, *self._in_memory], self._manifest)
            self._chosen, missing = cover(known, needed)
            invalid = [
                one
                for one in self._chosen
                if one not in self._in_memory and not self._is_valid(one)
            ]
            for one in invalid:
                del self._files[one]
            if invalid:
                continue
            if self._is_listed or not missing:
                break
            self._list()
        if self._is_listed and not missing:
            found = ((one, *self._files[one]) for one in self._chosen if one in self._files)
            mine = tuple((one, size) for one, place, size in found if place is self._storage)
            _chosen_ranges.put(self._key, mine)
        holders = [
            next(one for one in self._stretches if one.start <= start < one.stop)
            for start, _ in missing
        ]
        return [
            Stretch(holder.placed, start, stop)
            for holder, (start, stop) in zip(holders, missing, strict=True)
        ]

    def _list(self) -> None:
        """Find all ranges that are stored."""
        self._is_listed = True
        # Reversed, so that the lake's own file wins over the same file in the cache folder.
        self._files = {
            one: (place, item.size_bytes)
            for place in reversed(places(self._storage))
            for item in place.list(folder(self.version))
            if (one := TableRange.parse(item.path.rpartition("/")[2]))
        }

    @property
    def event_type(self) -> str:
        """The type of its events."""
        return self.version.schema.event_type

    def add(self, stretch: Stretch, events: pa.Table) -> None:
        """Add a stretch with the table's events in it; what is pending is stored once it is much.

        It is also stored if an existing file lies between it and the new events, since a range must
        not overlap another one.
        """
        if self._pending and any(
            self._pending[-1][0].stop <= one.start < stretch.start for one in self._chosen
        ):
            self.store()
        self._pending.append((stretch, events))
        self.rows += events.num_rows
        self.size_bytes += events.nbytes
        # Half of the limit, so that the small ranges before fit into the same file.
        if self.rows >= self._merged_rows // 2 or self.size_bytes >= self._most_bytes:
            self.store()

    def store(self) -> None:
        """Derive pending rows and store them as one range, merged with small ranges before it.

        Raises:
            CorruptionError: A payload was never accepted under the schema.
            InvalidInputError: A payload was accepted by a later version only.
        """
        if not self._pending:
            return
        start, stop = self._pending[0][0].start, self._pending[-1][0].stop
        # All at once: every call of Arrow's reader costs as much as some hundred payloads.
        events = pa.concat_tables(
            [events for _, events in self._pending], promote_options="default"
        )
        self._pending, self.rows, self.size_bytes = [], 0, 0
        new = derive(events, self.version)
        del events  # makes room for the sorted rows
        small = to_merge(self._chosen, start, new.num_rows, self._most_rows(new))
        merged = self._neighbours([one for one in small if one not in self._in_memory])
        rows = joined([*merged.values(), new])
        del new
        data = segments.encode_sorted(rows)
        first = min((one.start for one in merged), default=start)
        stored = TableRange(
            first, stop, rows.num_rows, commit_at(self._manifest, stop), sha256_hex(data)
        )
        place = put(self._storage, self._path(stored), data)
        if place is None:
            self._in_memory[stored] = rows
        else:
            self._files[stored] = place, len(data)
            # Under ``trust="lake"`` every stored table is believed, so there is nothing to
            # remember.
            if not self._trust.believes:
                self._trust.ledger.note([self._statement(stored)])
            self._note_bytes(stored, state_of(place, self._path(stored)))
        self._chosen = sorted([*(one for one in self._chosen if one not in merged), stored])

    def _most_rows(self, rows: pa.Table) -> int:
        """Maximum number of rows of a file, if all are as large as these."""
        row_bytes: int = rows.nbytes // max(rows.num_rows, 1)
        return min(self._merged_rows, self._most_bytes // max(row_bytes, 1))

    def _neighbours(self, small: Sequence[TableRange]) -> dict[TableRange, pa.Table]:
        """The rows of adjacent ranges, back to the first one that can no longer be read."""
        tables: dict[TableRange, pa.Table] = {}
        # The merged ranges must be neighbours, so the first that cannot be read ends the row.
        for one in reversed(small):
            try:
                tables[one] = self._rows(one)
            except (CorruptionError, ObjectMissingError):
                break
        return tables

    def parts(self) -> list[TableFile]:
        """The files, cut at the watermark.

        Raises:
            CorruptionError: A file was damaged after it was chosen.
            ObjectMissingError: A file was deleted after it was chosen.
        """
        return [
            self._part(one, self._watermark if one.stop > self._watermark else None)
            for one in self._chosen
        ]

    def _part(self, one: TableRange, stop: int | None) -> TableFile:
        if one in self._in_memory:
            return TableFile(one.stop, stop, None, self._in_memory[one])
        location = self._files[one][0].locate(self._path(one))
        if location is not None:
            return TableFile(one.stop, stop, location, None)
        return TableFile(one.stop, stop, None, self._rows(one))

    def _rows(self, one: TableRange) -> pa.Table:
        place, size_bytes = self._files[one]
        return stored_rows(place, self.version, one, size_bytes)

    def _path(self, one: TableRange) -> str:
        return f"{folder(self.version)}/{one.name}"

    def _is_valid(self, one: TableRange) -> bool:
        """Whether a file exists, holds what its name says, and has a trusted author.

        A damaged file is deleted, to be derived again; one without a trusted author is left alone.
        """
        # Intact bytes do not help if nobody knows that they are right.
        if not self._trust.knows(self._statement(one)):
            return False
        place, path = self._files[one][0], self._path(one)
        state = state_of(place, path)
        if state is not None and self._trust.ledger.knows(bytes_statement(one.sha256, state)):
            return True
        try:
            # Its size now: it may have been cut since it was listed.
            intact = is_named_by(
                place, path, one.sha256, size_of(place, path), ending=PARQUET_ENDING
            )
        except ObjectMissingError:
            return False
        except CorruptionError:
            intact = False  # nearly all holes: refused before it is read
        if intact:
            # The hash is remembered only if the file did not change while it was computed.
            self._note_bytes(one, state if state == state_of(place, path) else None)
            return True
        _LOG.warning("%s is damaged; it is derived from the segments again", path)
        try:
            place.delete(path)
        except StorageError as error:
            _LOG.warning("%s could not be deleted: %s", path, error.message)
        return False

    def _note_bytes(self, one: TableRange, state: State | None) -> None:
        if state is not None:
            self._trust.ledger.note([bytes_statement(one.sha256, state)])

    def _statement(self, one: TableRange) -> bytes:
        return table_statement(self._manifest, self.version, one)


def table_statement(manifest: Manifest, version: Version, one: TableRange) -> bytes:
    """The statement that a file holds the rows derived from a range of events under a schema."""
    # The whole hash: the name has only its first digits, which can be forged.
    last = manifest.commits[manifest.version_of(one.stop - 1)].commit_hash
    schema = version.schema
    return statement(
        "table",
        schema.event_type,
        version.schema_hash,
        folder(version),
        one.start,
        one.stop,
        one.rows,
        last,
        one.sha256,
    )


def stored_rows(
    place: Storage, version: Version, one: TableRange, size_bytes: int | None = None
) -> pa.Table:
    """The rows of a range, in stored columns.

    Args:
        place: Where it is stored.
        version: The schema that it was derived with.
        one: The range.
        size_bytes: The size of its file, if it was listed.

    Raises:
        CorruptionError: The file differs from its name, or is not a Parquet file of these columns.
        ObjectMissingError: The file does not exist.
    """
    path = f"{folder(version)}/{one.name}"
    data = _checked_bytes(place, path, one, size_bytes)
    with _readable_as(path):
        return _as_stored(segments.read_bytes(data, path, rows=one.rows), version)


def stored_batches(place: Storage, version: Version, one: TableRange) -> Iterator[pa.Table]:
    """Like ``stored_rows``, in batches of bounded bytes.

    Raises:
        CorruptionError: The file differs from its name, or is not a Parquet file of these columns.
        ObjectMissingError: The file does not exist.
    """
    path = f"{folder(version)}/{one.name}"
    data = _checked_bytes(place, path, one)
    for batch in segments.plain_batches(data, path, rows=one.rows):
        with _readable_as(path):
            rows = _as_stored(batch, version)
        yield rows


def _checked_bytes(
    place: Storage, path: str, one: TableRange, size_bytes: int | None = None
) -> bytes:
    data = read_named(place, path, one.sha256, size_bytes, ending=PARQUET_ENDING)
    if data is None:
        message = f"{path} is damaged: expected sha256 {one.sha256}, found another"
        raise CorruptionError(message, _DELETE, path=path)
    return data


def _as_stored(rows: pa.Table, version: Version) -> pa.Table:
    schema = stored_schema(version.schema)
    return rows.select(schema.names).cast(schema)


@contextmanager
def _readable_as(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, KeyError, ValueError) as error:
        message = f"{path} has other columns than its event type: {error}"
        raise CorruptionError(message, _DELETE, path=path) from error
