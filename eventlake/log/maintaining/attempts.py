"""Attempts to build a dataset, as garbage collection sees them.

An attempt is finished by its ``provenance.json``. To collect an attempt, the collector creates that
file first, with other content. Only one of the two can create it, and the other one notices: a
builder begins again, a collector leaves the attempt alone. A finished attempt without a manifest
was interrupted in between; its provenance holds the manifest, so any process can publish it. A
removed attempt is marked, and no longer used.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from eventlake.core import layout
from eventlake.core.documents.dataset import DatasetManifest
from eventlake.core.documents.provenance import read_provenance
from eventlake.core.hashing.canonical import canonical_json, seal, sha256_hex
from eventlake.errors import CorruptionError, UnsupportedFormatError
from eventlake.log.maintaining.reserve import with_room
from eventlake.storage import (
    ObjectExistsError,
    ObjectMissingError,
    Storage,
    StorageFullError,
    StoredObject,
)

_GIVEN_UP = seal({"given_up": True})
"""Takes the place of a provenance for ever, so that no late builder finishes a deleted attempt."""


class Leftover(NamedTuple):
    """Why a file of an attempt is not needed.

    Attributes:
        since: Since when; microseconds since 1970-01-01 UTC.
        reason: The reason to show.
        unfinished: Whether the attempt must be given up before the file is deleted.
    """

    since: int
    reason: str
    unfinished: bool


def is_given_up(provenance: bytes) -> bool:
    """Whether the provenance of an attempt was created by garbage collection."""
    return provenance == _GIVEN_UP


def may_be_given_up(size_bytes: int) -> bool:
    """Whether a provenance of this size need be read to find out whether it was given up."""
    return size_bytes == len(_GIVEN_UP)


def give_up(storage: Storage, attempt: str) -> bool:
    """Prevent that an attempt is ever finished; False if it is finished already."""
    path = f"{attempt}/{layout.PROVENANCE}"
    try:
        with_room(storage, lambda: storage.create(path, _GIVEN_UP))
    except ObjectExistsError:
        return is_given_up(storage.read(path))
    return True


def leftover_files(storage: Storage, stored: Sequence[StoredObject]) -> dict[str, Leftover]:
    """Find files of unfinished and removed attempts that are not needed.

    Args:
        storage: The lake's storage.
        stored: Every object of the lake.
    """
    modified = {item.path: item.modified for item in stored}
    removed = {attempt: modified[path] for attempt, path in _having(layout.REMOVED, modified)}
    sizes = {item.path: item.size_bytes for item in stored}
    finished = set(_finished(storage, sizes)) - set(removed)
    # A dataset may have several attempts; one finished attempt is enough.
    whole = {_folder(attempt) for attempt in finished}
    files: dict[str, list[str]] = {}
    for path in modified:
        attempt = layout.attempt(path)
        if attempt is not None and attempt not in finished:
            files.setdefault(attempt, []).append(path)
    found: dict[str, Leftover] = {}
    for attempt, paths in files.items():
        # A published dataset without a finished attempt may still be repaired by hand, and one
        # that is being removed may be kept.
        if f"{_folder(attempt)}/{layout.MANIFEST}" in modified and _folder(attempt) not in whole:
            continue
        if attempt in removed:
            left = Leftover(removed[attempt], "of a dataset that was removed", unfinished=False)
            kept = layout.REMOVED
        else:
            left = Leftover(
                max(modified[path] for path in paths),
                "of a build that was not finished",
                unfinished=True,
            )
            kept = layout.PROVENANCE
        found |= {path: left for path in paths if path != f"{attempt}/{kept}"}
    return found


def publish_finished(storage: Storage) -> None:
    """Write the manifests of builds that were interrupted just before that."""
    paths = {item.path: item.modified for item in storage.list(layout.BUILDS)}
    removed = {attempt for attempt, _ in _having(layout.REMOVED, paths)}
    for attempt, stored in _having(layout.PROVENANCE, paths):
        path = f"{_folder(attempt)}/{layout.MANIFEST}"
        # Nearly every dataset has its manifest, so few provenances are read.
        if path in paths or attempt in removed:
            continue
        with suppress(
            CorruptionError,
            UnsupportedFormatError,
            ObjectExistsError,
            ObjectMissingError,
            StorageFullError,
        ):
            data = storage.read(stored)
            if is_given_up(data):
                continue
            provenance = read_provenance(data, stored)
            manifest = manifest_in(provenance)
            if manifest is not None and all(
                f"{attempt}/{name}" in paths for name in provenance["files"]
            ):
                found = DatasetManifest.decode(manifest, path)
                # The provenance may be a stranger's: its manifest is published only in the folder
                # of its own name.
                if _folder(attempt) == layout.build_path(found.recipe.name, found.manifest_hash):
                    storage.create(path, manifest)


def manifest_in(provenance: Mapping[str, object]) -> bytes | None:
    """The dataset manifest in a provenance; None if there is none, or not the one it names."""
    if "manifest" not in provenance:
        return None
    manifest = canonical_json(provenance["manifest"])
    return manifest if sha256_hex(manifest) == provenance.get("manifest_hash") else None


def _having(name: str, paths: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield the attempts that have a file of this name, and the file's path."""
    for path in paths:
        attempt = layout.attempt(path)
        if attempt is not None and path == f"{attempt}/{name}":
            yield attempt, path


def _finished(storage: Storage, sizes: Mapping[str, int]) -> Iterator[str]:
    for attempt, path in _having(layout.PROVENANCE, sizes):
        with suppress(ObjectMissingError):
            if not may_be_given_up(sizes[path]) or not is_given_up(storage.read(path)):
                yield attempt


def _folder(attempt: str) -> str:
    return attempt.rpartition("/")[0]
