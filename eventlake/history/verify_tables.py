"""Re-hashing what makes events columns: the catalogues of schemas, which must be there, and event tables, which may be missing."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from eventlake.core import layout
from eventlake.core.canonical import sha256_hex
from eventlake.errors import EventlakeError
from eventlake.history.report import Finding, Tally
from eventlake.log.chain import Chain
from eventlake.log.manifest import Manifest
from eventlake.log.stored import read_catalogue
from eventlake.progress import task
from eventlake.schemas.version import Version
from eventlake.storage import Storage
from eventlake.tables.derive import derive, joined, read_events
from eventlake.tables.expressions import check_stored
from eventlake.tables.files import stored_rows
from eventlake.tables.ranges import Range, folder, true_ranges


def verify_schemas(storage: Storage, files: Mapping[str, int], named: Collection[str | None], tally: Tally) -> None:
    """Every catalogue that a commit names is there and whole, and its upcasts could have been registered."""
    for sha256 in sorted(one for one in named if one is not None):
        path = layout.schemas_path(sha256)
        tally.size_bytes += files.get(path, 0)
        try:
            catalogue = read_catalogue(storage, sha256)
            for version in (one for versions in catalogue.types.values() for one in versions):
                check_stored(version)
        except EventlakeError as error:
            tally.blame(path, error)
    for path in files:
        promised = layout.schemas_sha256(path)
        if not path.startswith(f"{layout.SCHEMAS}/") or promised in named:
            continue
        if layout.is_temporary(path):
            tally.notes.append(Finding(path, "left by an interrupted write; harmless"))
        elif promised is None or sha256_hex(storage.read(path)) != promised:
            tally.blame(path, "extra: not a file of this lake")
        else:
            tally.notes.append(Finding(path, "no commit names these schemas: an interrupted registration left them; harmless"))


def verify_tables(storage: Storage, files: Mapping[str, int], tally: Tally) -> None:
    """Every event table holds what its name says; none is needed."""
    paths = [path for path in files if path.startswith(f"{layout.TABLES}/")]
    with task("hashing event tables", len(paths)) as advance:
        for path in paths:
            advance(1)
            one = Range.parse(path.rpartition("/")[2])
            if layout.is_temporary(path):
                tally.notes.append(Finding(path, "left by an interrupted write; harmless"))
                continue
            tally.size_bytes += files[path]
            try:
                if one is None:
                    tally.blame(path, "extra: not a file of this lake")
                elif sha256_hex(storage.read(path)) != one.sha256:
                    tally.blame(path, f"expected sha256 {one.sha256}; it is derived: delete it, and it is made again")
            except EventlakeError as error:
                tally.blame(path, error)


@dataclass(slots=True)
class _Kept:
    """A stored range of an event table, and the rows that must be in it, as far as the segments were read."""

    version: Version
    range: Range
    derived: list[pa.Table] = field(default_factory=list)


def verify_typed(chain: Chain, files: Mapping[str, int], tally: Tally) -> None:
    """Every event of a registered type fits its schema, and every stored event table holds what is derived from the segments now."""
    manifest = chain.manifest()
    try:
        newest = {event_type: versions[-1] for event_type, versions in chain.catalogue().types.items()}
    except EventlakeError:
        return  # it is blamed already
    kept = _kept(newest.values(), files, manifest)
    placed = [one for one in manifest.between(0, chain.watermark) if newest.keys() & dict(one[1].types).keys()]
    with task("reading payloads", sum(segment.rows for _, segment in placed)) as advance:
        for one in placed:
            segment = one[1]
            try:
                events = read_events(chain.storage, one)
            except EventlakeError:
                continue  # it is blamed already
            for event_type in newest.keys() & dict(segment.types).keys():
                try:
                    _cut(derive(events, one, newest[event_type], segment.start, segment.stop), newest[event_type], kept)
                except EventlakeError as error:
                    tally.blame(layout.segment_path(segment.sha256), error)
                    # Nobody can say what the tables of that type should hold.
                    kept = [table for table in kept if table.version is not newest[event_type]]
            advance(segment.rows)
            _compare(chain.storage, [table for table in kept if table.range.stop <= segment.stop], tally)
            kept = [table for table in kept if table.range.stop > segment.stop]


def _kept(newest: Iterable[Version], files: Mapping[str, int], manifest: Manifest) -> list[_Kept]:
    """The stored ranges of the newest versions; those of older ones are derived anew by whoever still asks for them."""
    folders = {folder(version): version for version in newest}
    named = [
        (folders[path.rpartition("/")[0]], Range.parse(path.rpartition("/")[2])) for path in files if path.rpartition("/")[0] in folders
    ]
    return [_Kept(version, one) for version, one in named if one is not None and true_ranges([one], manifest)]


def _cut(rows: pa.Table, version: Version, kept: Iterable[_Kept]) -> None:
    """Adds derived rows, in sequence order, to the ranges that must hold them."""
    sequences = rows.column("sequence").to_numpy()
    for table in kept:
        if table.version is version and len(sequences) and table.range.start <= sequences[-1] and table.range.stop > sequences[0]:
            first, last = sequences.searchsorted([table.range.start, table.range.stop])
            table.derived.append(rows.slice(int(first), int(last - first)))


def _compare(storage: Storage, whole: Iterable[_Kept], tally: Tally) -> None:
    """Compares the ranges of which all rows were derived."""
    for table in whole:
        try:
            found = stored_rows(storage, table.version, table.range)
        except EventlakeError:
            continue  # it is blamed already
        if not (found.equals(joined(table.derived)) if table.derived else not found.num_rows):
            path = f"{folder(table.version)}/{table.range.name}"
            tally.blame(path, "holds other rows than its segments give; delete it, and it is made again")
