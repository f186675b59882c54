"""Re-hashing what makes events columns: the catalogues of schemas, which must be there, and event tables, which may be missing."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

import pyarrow as pa

from eventlake.core import layout
from eventlake.core.canonical import sha256_hex
from eventlake.errors import EventlakeError, StorageError
from eventlake.history.report import Finding, Tally
from eventlake.log.chain import Chain
from eventlake.log.manifest import Manifest
from eventlake.log.stored import read_catalogue
from eventlake.progress import task
from eventlake.schemas.version import Version
from eventlake.storage import Storage
from eventlake.tables.derive import derive, joined, read_events
from eventlake.tables.files import stored_rows
from eventlake.tables.ranges import Range, folder, true_ranges


def verify_schemas(storage: Storage, files: Mapping[str, int], named: Collection[str | None], tally: Tally) -> None:
    """Every catalogue that a commit names is there and whole."""
    for sha256 in sorted(one for one in named if one is not None):
        path = layout.schemas_path(sha256)
        tally.size_bytes += files.get(path, 0)
        try:
            read_catalogue(storage, sha256)
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
            except StorageError as error:
                tally.blame(path, error)


def verify_typed(chain: Chain, files: Mapping[str, int], tally: Tally) -> None:
    """Every event of a registered type fits its schema, and every stored event table holds what is derived from the segments now."""
    manifest = chain.manifest()
    try:
        versions = [version for found in chain.catalogue().types.values() for version in found]
    except EventlakeError:
        return  # it is blamed already
    stored = _stored(versions, files, manifest)
    newest = {version.schema.event_type: version for version in versions}
    made: dict[tuple[str, Range], list[pa.Table]] = defaultdict(list)
    placed = [one for one in manifest.between(0, chain.watermark) if newest.keys() & dict(one[1].types).keys()]
    with task("reading payloads", sum(segment.rows for _, segment in placed)) as advance:
        for one in placed:
            segment, advanced = one[1], advance
            try:
                events = read_events(chain.storage, one)
            except EventlakeError:
                continue  # it is blamed already
            for event_type in newest.keys() & dict(segment.types).keys():
                try:
                    rows = derive(events, one, newest[event_type], segment.start, segment.stop)
                except EventlakeError as error:
                    tally.blame(layout.segment_path(segment.sha256), error)
                    for table in [table for table, of in stored.items() if of is newest[event_type]]:
                        del stored[table]  # nobody can say what it should hold
                    continue
                _cut(rows, newest[event_type], stored, made)
            advanced(segment.rows)
            _compare(chain.storage, stored, made, segment.stop, tally)


def _stored(versions: Iterable[Version], files: Mapping[str, int], manifest: Manifest) -> dict[Range, Version]:
    """The stored ranges of the newest versions; those of older ones are derived anew by whoever still asks for them."""
    newest = {version.schema.event_type: version for version in versions}
    folders = {folder(version): version for version in newest.values()}
    found: dict[Range, Version] = {}
    for path in files:
        parent, _, name = path.rpartition("/")
        if parent in folders and (one := Range.parse(name)) is not None and true_ranges([one], manifest):
            found[one] = folders[parent]
    return found


def _cut(rows: pa.Table, version: Version, stored: Mapping[Range, Version], made: dict[tuple[str, Range], list[pa.Table]]) -> None:
    """Adds derived rows, in sequence order, to the ranges that must hold them."""
    sequences = rows.column("sequence").to_numpy()
    for one, of in stored.items():
        if of is version and len(sequences) and one.start <= sequences[-1] and one.stop > sequences[0]:
            first, last = sequences.searchsorted([one.start, one.stop])
            made[folder(version), one].append(rows.slice(int(first), int(last - first)))


def _compare(
    storage: Storage, stored: dict[Range, Version], made: dict[tuple[str, Range], list[pa.Table]], done: int, tally: Tally
) -> None:
    """Compares the ranges that end at ``done`` or before, and forgets them."""
    for one in [one for one in stored if one.stop <= done]:
        version = stored.pop(one)
        path = f"{folder(version)}/{one.name}"
        try:
            found = stored_rows(storage, version, one)
        except EventlakeError:
            continue  # it is blamed already
        derived = made.pop((folder(version), one), [])
        if not (found.equals(joined(derived)) if derived else not found.num_rows):
            tally.blame(path, "holds other rows than its segments give; delete it, and it is made again")
