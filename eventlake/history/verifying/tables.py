"""Verify the catalogues of schemas, which must exist, and event tables, which may be missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from eventlake.core import layout
from eventlake.core.documents.commit import Commit
from eventlake.core.documents.segment import Segment
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import EventlakeError
from eventlake.history.verifying.derived_rows import DerivedRows, Spill
from eventlake.history.verifying.report import Finding, Tally
from eventlake.log.chain.chain import Chain
from eventlake.log.chain.checked_read import read_catalogue
from eventlake.log.chain.manifest import Manifest
from eventlake.memory import part_bytes
from eventlake.progress import task
from eventlake.schemas.catalogue import Catalogue
from eventlake.schemas.version import Version
from eventlake.storage import Storage, sha256_of
from eventlake.tables.check_upcast import check_stored
from eventlake.tables.derive import between, by_type, derive, read_events
from eventlake.tables.ranges import TableRange, folder, true_ranges
from eventlake.tables.stored_table import stored_batches


def verify_schemas(
    storage: Storage, files: Mapping[str, int], commits: Iterable[Commit], tally: Tally
) -> None:
    """Verify that every catalogue that a commit names exists and follows the one before.

    Args:
        storage: Where the lake is.
        files: The size of every file, by path.
        commits: The readable commits, in order.
        tally: Collects the findings.
    """
    named = _verify_named(storage, files, commits, tally)
    for path in files:
        named_hash = layout.schemas_sha256(path)
        if not path.startswith(f"{layout.SCHEMAS}/") or named_hash in named:
            continue
        if layout.is_temporary(path):
            tally.notes.append(Finding(path, "left by an interrupted write; harmless"))
            continue
        try:
            if named_hash is None or sha256_hex(storage.read(path)) != named_hash:
                tally.blame(path, "extra: not a file of this lake")
            else:
                note = "no commit names these schemas: an interrupted registration left them"
                tally.notes.append(Finding(path, f"{note}; harmless"))
        except EventlakeError as error:
            tally.blame(path, error)


def _verify_named(
    storage: Storage, files: Mapping[str, int], commits: Iterable[Commit], tally: Tally
) -> set[str]:
    """Verify the catalogues that commits name; each adds one valid version to the one before."""
    named: set[str] = set()
    newest: Catalogue | None = Catalogue()
    last = -1
    for commit in commits:
        # After a missing commit or a damaged catalogue, there is nothing to compare with.
        before, last = newest if commit.version == last + 1 else None, commit.version
        # Every later commit repeats the hash of the catalogue, but only a registration changes it.
        if commit.schemas is None or (commit.schemas in named and commit.kind != "schema"):
            continue
        path = layout.schemas_path(commit.schemas)
        tally.size_bytes += 0 if commit.schemas in named else files.get(path, 0)
        named.add(commit.schemas)
        # Stays None if the catalogue is unreadable: the next one has nothing to follow.
        newest = None
        try:
            newest = read_catalogue(storage, commit.schemas, commit.stop)
            for version in (one for versions in newest.types.values() for one in versions):
                check_stored(version)
            if before is not None and not newest.adds_to(before, commit.stop):
                expected = f"the schemas before commit {commit.version}"
                found = f"one that was registered at {commit.stop}"
                tally.blame(path, f"expected {expected} and {found}")
        except EventlakeError as error:
            tally.blame(path, error)
    return named


def verify_tables(storage: Storage, files: Mapping[str, int], tally: Tally) -> None:
    """Verify that every event table matches its hash; none has to exist."""
    paths = [path for path in files if path.startswith(f"{layout.TABLES}/")]
    with task("hashing event tables", len(paths)) as advance:
        for path in paths:
            advance(1)
            one = TableRange.parse(path.rpartition("/")[2])
            if layout.is_temporary(path):
                tally.notes.append(Finding(path, "left by an interrupted write; harmless"))
                continue
            tally.size_bytes += files[path]
            try:
                if one is None:
                    tally.blame(path, "extra: not a file of this lake")
                elif sha256_of(storage, path, files[path]) != one.sha256:
                    problem = f"expected sha256 {one.sha256}"
                    tally.blame(path, f"{problem}; it is derived: delete it, and it is rebuilt")
            except EventlakeError as error:
                tally.blame(path, error)


_Key = tuple[str, int]
"""An event type, and the number of a version of its schema."""


@dataclass(slots=True)
class _StoredTable:
    """A stored range of an event table, and the rows that it must hold, derived so far.

    Attributes:
        version: The schema that it was derived with.
        range: The range in its name.
        derived: The rows.
        underivable: Why the rows are unknown; None if they are known.
    """

    version: Version
    range: TableRange
    derived: DerivedRows = field(default_factory=DerivedRows)
    underivable: str | None = None

    @property
    def path(self) -> str:
        """The path of the file."""
        return f"{folder(self.version)}/{self.range.name}"

    def overlaps(self, segment: Segment) -> bool:
        """Whether its range overlaps a segment's."""
        return self.range.start < segment.stop and segment.start < self.range.stop


def verify_typed(
    chain: Chain, files: Mapping[str, int], tally: Tally, *, most_bytes: int | None = None
) -> None:
    """Verify payloads against their schemas, and event tables against the segments.

    Every event of a registered type must match its newest schema, and every stored event table must
    hold what is derived from the current segments.

    Args:
        chain: The log.
        files: The size of every file, by path.
        tally: Collects the findings.
        most_bytes: Maximum bytes of derived rows in memory, by default ``memory.part_bytes()``;
            further ones wait in temporary files for the end of their range.
    """
    manifest = chain.manifest()
    try:
        types = chain.catalogue().types
    except EventlakeError:
        return  # reported already
    stored = _stored_tables(
        [version for versions in types.values() for version in versions], files, manifest, tally
    )
    placed = [
        one
        for one in manifest.between(0, chain.watermark)
        if types.keys() & dict(one[1].types).keys()
    ]
    with (
        task("reading payloads", sum(segment.rows for _, segment in placed)) as advance,
        Spill(most_bytes or part_bytes()) as spill,
    ):
        for one in placed:
            segment = one[1]
            underivable: dict[_Key, EventlakeError] = {}
            tables = _by_version(stored)
            try:
                for events in read_events(chain.storage, one, chain.trust):
                    for event_type, mine in by_type(events, types):
                        _derive(mine, types[event_type], tables, underivable)
                    spill.limit(table.derived for table in stored)
            except EventlakeError as error:
                # The segment is reported already; the content of its tables is unknown.
                for table in stored:
                    if table.overlaps(segment):
                        table.underivable = error.message
            for (event_type, number), reason in underivable.items():
                if number == types[event_type][-1].number:
                    tally.blame(layout.segment_path(segment.sha256), reason)
            advance(segment.rows)
            # A range that ends here is complete, and its rows need not stay in memory.
            _compare(
                chain.storage,
                [table for table in stored if table.range.stop <= segment.stop],
                tally,
            )
            stored = [table for table in stored if table.range.stop > segment.stop]
        _compare(chain.storage, stored, tally)


def _by_version(stored: Iterable[_StoredTable]) -> dict[_Key, list[_StoredTable]]:
    found: dict[_Key, list[_StoredTable]] = {}
    for table in stored:
        found.setdefault(_key(table.version), []).append(table)
    return found


def _key(version: Version) -> _Key:
    return version.schema.event_type, version.number


def _derive(
    events: pa.Table,
    versions: Sequence[Version],
    stored: Mapping[_Key, Sequence[_StoredTable]],
    underivable: dict[_Key, EventlakeError],
) -> None:
    """Derive a batch of events of one type for its tables, and check the payloads.

    Args:
        events: The events.
        versions: The versions of the type's schema.
        stored: The stored tables, by type and version.
        underivable: The first error of each type and version that cannot read the segment's events;
            the version reads no more of them.
    """
    first, last = events.column("sequence")[0].as_py(), events.column("sequence")[-1].as_py()
    for version in versions:
        newest, key = version is versions[-1], _key(version)
        mine = [
            table
            for table in stored.get(key, ())
            if table.range.start <= last and first < table.range.stop
        ]
        if not mine and not newest:
            continue
        # A range of an older version ends where that version does.
        part = (
            events
            if newest
            else between(
                events,
                min(table.range.start for table in mine),
                max(table.range.stop for table in mine),
            )
        )
        if key not in underivable:
            try:
                rows = derive(part, version)
            except EventlakeError as error:
                underivable[key] = error
        for table in mine:
            if key in underivable:
                table.underivable = underivable[key].message
            else:
                table.derived.add(between(rows, table.range.start, table.range.stop))


def _stored_tables(
    versions: Iterable[Version], files: Mapping[str, int], manifest: Manifest, tally: Tally
) -> list[_StoredTable]:
    """The stored ranges that a reader would use; the others are noted."""
    folders = {folder(version): version for version in versions}
    found = []
    for path in files:
        one = (
            TableRange.parse(path.rpartition("/")[2])
            if path.startswith(f"{layout.TABLES}/")
            else None
        )
        if one is None:
            continue
        version = folders.get(path.rpartition("/")[0])
        if version is None:
            note = (
                "never read: a table of a schema, or of a version of eventlake, "
                "that is not in use here"
            )
            tally.notes.append(Finding(path, note))
        elif not true_ranges([one], manifest):
            tally.notes.append(Finding(path, "never read: a table of another history"))
        else:
            found.append(_StoredTable(version, one))
    return found


def _compare(storage: Storage, whole: Iterable[_StoredTable], tally: Tally) -> None:
    """Compare tables whose rows are all derived, and discard these."""
    damaged = {finding.path for finding in tally.problems}
    for table in whole:
        if table.path not in damaged:
            problem = _difference(storage, table)
            if problem is not None:
                tally.blame(table.path, problem)
        table.derived.discard()


def _difference(storage: Storage, table: _StoredTable) -> str | EventlakeError | None:
    if table.underivable is not None:
        return f"cannot be compared with its segments: {table.underivable}"
    try:
        if table.derived.are(stored_batches(storage, table.version, table.range)):
            return None
    except EventlakeError as error:
        return error
    return "does not match its segments; delete it, and it is rebuilt"
