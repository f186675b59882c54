"""Re-hashing what makes events columns: the catalogues of schemas, which must be there, and event tables, which may be missing."""

from collections.abc import Collection, Mapping

from eventlake.core import layout
from eventlake.core.canonical import sha256_hex
from eventlake.errors import EventlakeError, StorageError
from eventlake.history.report import Finding, Tally
from eventlake.log.stored import read_catalogue
from eventlake.progress import task
from eventlake.storage import Storage
from eventlake.tables.ranges import Range


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
