"""Publishing a built dataset: first an attempt's files, then its provenance, then the manifest.

See ``archive`` for the life of an attempt.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa

from eventlake.columns.parquet import frames
from eventlake.core import layout
from eventlake.core.documents.dataset import DatasetManifest
from eventlake.core.documents.provenance import PART, read_provenance
from eventlake.core.documents.stored import check_writable
from eventlake.core.hashing.canonical import seal, sha256_hex
from eventlake.datasets.store.archive import SOURCE, SPINE, Archive, check_sha256
from eventlake.errors import StorageError
from eventlake.storage import ObjectExistsError, Storage, StorageFullError

_ATTEMPT_BYTES = 8
_TRIES = 3


def publish(
    storage: Storage,
    manifest: DatasetManifest,
    *,
    parts: Callable[[], Iterable[bytes]],
    spine: pa.Table | None,
    sources: Mapping[str, str],
    provenance: Mapping[str, Any],
    rewrite: bool = False,
) -> Archive:
    """Publish a dataset. Publishing it again changes nothing, but restores lost files.

    Args:
        storage: The lake.
        manifest: The dataset's identity.
        parts: Returns the rows in key order, encoded as the parts to store.
        spine: With its column ``spine_row``; None if the dataset has none.
        sources: The text of each source file by its name.
        provenance: What is recorded beside the files; JSON.
        rewrite: Write the files even if a complete attempt exists.

    Raises:
        CorruptionError: Another manifest is stored at this dataset's path.
        StorageError: Every attempt was collected or removed before it was published.
    """
    archive = Archive(
        storage, manifest, layout.build_path(manifest.recipe.name, manifest.manifest_hash)
    )
    check_writable(DatasetManifest.decode, manifest.encode(), f"{archive.folder}/{layout.MANIFEST}")
    for _ in range(_TRIES):
        if (not rewrite and archive.is_whole()) or _finish(
            archive, *_attempt(archive, parts(), spine, sources, provenance)
        ):
            _publish(archive)
            # The dataset may have been removed meanwhile, together with the attempt found above.
            if archive.is_whole():
                return archive
    message = (
        f"{archive.folder} could not be published: "
        "every attempt was collected or removed before it was finished"
    )
    hint = "collect with a longer --older-than, and build again."
    raise StorageError(message, hint, path=archive.folder)


def _attempt(
    archive: Archive,
    parts: Iterable[bytes],
    spine: pa.Table | None,
    sources: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> tuple[str, bytes]:
    """Store an attempt's files; return its folder and the provenance that will finish it."""
    # A commit can be seen before it is durable. A power cut must not take the events that a
    # dataset names and leave the dataset.
    archive.storage.sync(layout.LOG)
    folder = f"{archive.folder}/{secrets.token_hex(_ATTEMPT_BYTES)}"
    listed: dict[str, dict[str, int | str]] = {}
    with _deleted_if_disk_is_full(archive.storage, folder):
        for name, data in _ahead(_files(parts, spine, sources)):
            sha256 = sha256_hex(data)
            # The number keeps parts in order, the hash tells them apart.
            stored = f"{name}-{sha256[: layout.SHORT_HASH]}.parquet" if _is_part(name) else name
            # The folder's name is random: an existing file is our own, whose answer was lost.
            with suppress(ObjectExistsError):
                archive.storage.create(f"{folder}/{stored}", data)
            listed[stored] = {"bytes": len(data), "sha256": sha256}
    manifest = {
        "manifest": json.loads(archive.manifest.encode()),
        "manifest_hash": archive.manifest.manifest_hash,
    }
    sealed = seal({**provenance, **manifest, "files": listed})
    check_writable(read_provenance, sealed, f"{folder}/{layout.PROVENANCE}")
    return folder, sealed


def _finish(archive: Archive, folder: str, provenance: bytes) -> bool:
    """Finish an attempt; False if a collector has given it up meanwhile."""
    path = f"{folder}/{layout.PROVENANCE}"
    with _deleted_if_disk_is_full(archive.storage, folder):
        try:
            archive.storage.create(path, provenance)
        except ObjectExistsError:
            # A collector gives an attempt up by creating something else at this path first.
            return archive.storage.read(path) == provenance
    return True


@contextmanager
def _deleted_if_disk_is_full(storage: Storage, folder: str) -> Iterator[None]:
    """Delete an attempt's files if the disk is full: it is unfinished, and no one else uses it."""
    try:
        yield
    except StorageFullError:
        for item in list(storage.list(folder)):
            storage.delete(item.path)
        raise


def _publish(archive: Archive) -> None:
    """Write the manifest. An existing one must be identical."""
    path = f"{archive.folder}/{layout.MANIFEST}"
    try:
        archive.storage.create(path, archive.manifest.encode())
    except ObjectExistsError:
        check_sha256(archive.storage.read(path), archive.manifest.manifest_hash, path)


def _files(
    parts: Iterable[bytes], spine: pa.Table | None, sources: Mapping[str, str]
) -> Iterator[tuple[str, bytes]]:
    """The files of an attempt, encoded one after the other; parts lack their hash and ending."""
    for number, data in enumerate(parts):
        yield f"{PART}{number:05d}", data
    for name, text in sources.items():
        yield f"{SOURCE}/{name}", text.encode()
    if spine is not None:
        yield SPINE, frames.encode(spine)


def _is_part(name: str) -> bool:
    return name.startswith(PART)


def _ahead(files: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Yield files while the next one is encoded: no more than two are in memory."""
    with ThreadPoolExecutor(1) as pool:
        encoded = pool.submit(next, files, None)
        while (file := encoded.result()) is not None:
            encoded = pool.submit(next, files, None)
            yield file
