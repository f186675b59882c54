"""A built dataset's folder: who writes which file, in which order, and reading it back with every hash checked.

``builds/<name>/<manifest_hash[:12]>/`` holds ``part-*.parquet`` (the rows), ``spine.parquet``, ``source/…``, ``provenance.json`` and, last
of all, ``manifest.json``: a dataset without one is not there. What an interrupted build left behind harms nobody.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from eventlake.columns import frames
from eventlake.columns.content import content_hash
from eventlake.core import layout
from eventlake.core.canonical import seal, sha256_hex, unseal
from eventlake.core.dataset import DatasetManifest
from eventlake.errors import CorruptionError
from eventlake.storage import ObjectExistsError, ObjectMissingError, Storage

PROVENANCE = "provenance.json"
SPINE = "spine.parquet"
SOURCE = "source"
_TRIES = 2
"""Files that an interrupted build left may be taken away as garbage until the manifest stands: then they are written once more."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The folder of one dataset.

    Attributes:
        storage: Where the lake is.
        manifest: The dataset's identity.
        folder: Relative to the lake.
    """

    storage: Storage
    manifest: DatasetManifest
    folder: str

    def provenance(self) -> dict[str, Any]:
        """What is not identity: when, where, with which versions, and the files with their SHA-256.

        Raises:
            CorruptionError: Missing, damaged, or another dataset's.
        """
        path = f"{self.folder}/{PROVENANCE}"
        document = unseal(self._read(path), path)
        if document.get("manifest_hash") != self.manifest.manifest_hash:
            message = f"{path} belongs to another manifest"
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path)
        return document

    def rows(self) -> pa.Table:
        """The stored rows, from files whose hashes are checked first.

        Raises:
            CorruptionError: A file is missing or not what was written.
        """
        files = self.provenance()["files"]
        parts = sorted(name for name in files if name.startswith("part-"))
        return pa.concat_tables([frames.decode(self.file(name, files), f"{self.folder}/{name}") for name in parts])

    def file(self, name: str, files: Mapping[str, Any]) -> bytes:
        """One file of the folder, its hash checked against the provenance.

        Raises:
            CorruptionError: Missing, or not what was written.
        """
        path = f"{self.folder}/{name}"
        return _checked(self._read(path), files[name]["sha256"], path)

    def spine(self) -> pa.Table | None:
        """The archived spine with its ``spine_row``, or None where the dataset has none. The caller compares its content hash."""
        if self.manifest.recipe.spine is None:
            return None
        path = f"{self.folder}/{SPINE}"
        return frames.decode(self._read(path), path)

    def sources(self) -> dict[str, str]:
        """The archived source files, checked against the recipe.

        Raises:
            CorruptionError: One is missing or was changed.
        """
        texts = {}
        for name, sha256 in self.manifest.recipe.sources.items():
            path = f"{self.folder}/{SOURCE}/{name}"
            texts[name] = _checked(self._read(path), sha256, path).decode()
        return texts

    def _read(self, path: str) -> bytes:
        try:
            return self.storage.read(path)
        except ObjectMissingError:
            message = f"{path} is missing"
            raise CorruptionError(message, "restore it, or rebuild the dataset from its definition.", path=path) from None


def _checked(data: bytes, sha256: str, path: str) -> bytes:
    found = sha256_hex(data)
    if found != sha256:
        message = f"{path} is not what was written: expected sha256 {sha256}, found {found}"
        raise CorruptionError(message, "run 'eventlake verify LAKE' and restore the file.", path=path)
    return data


def publish(
    storage: Storage,
    manifest: DatasetManifest,
    *,
    rows: pa.Table,
    spine: pa.Table | None,
    sources: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> Archive:
    """Writes a dataset's folder, the manifest last. Publishing again changes nothing, but brings back files that were lost."""
    archive = Archive(storage, manifest, layout.build_path(manifest.recipe.name, manifest.manifest_hash))
    for _ in range(_TRIES):
        if _is_complete(archive):
            break
        _write(archive, rows, spine, sources, provenance)
    return archive


def _write(archive: Archive, rows: pa.Table, spine: pa.Table | None, sources: Mapping[str, str], provenance: Mapping[str, Any]) -> None:
    storage, manifest = archive.storage, archive.manifest
    # A commit can be seen before it is durable. What a dataset names must not vanish with a power cut that leaves the dataset.
    storage.sync(layout.LOG)
    folder, recipe = archive.folder, manifest.recipe
    files = {_part_name(number, data): data for number, data in enumerate(frames.encode_parts(rows))}
    files |= {f"{SOURCE}/{name}": text.encode() for name, text in sources.items()}
    for name, data in files.items():
        if _put(storage, f"{folder}/{name}", data) != data:
            message = f"{folder}/{name} is there already and is not what its name promises"
            raise CorruptionError(message, "run 'eventlake verify LAKE' and move the file away.", path=f"{folder}/{name}")
    if spine is not None and recipe.spine is not None:
        path = f"{folder}/{SPINE}"
        files[SPINE] = _put(storage, path, frames.encode(spine))
        if content_hash(frames.decode(files[SPINE], path)) != recipe.spine.content_hash:
            message = f"{path} is there already and is another spine"
            raise CorruptionError(message, "run 'eventlake verify LAKE' and move the file away.", path=path)
    listed = {name: {"bytes": len(data), "sha256": sha256_hex(data)} for name, data in files.items()}
    _put(storage, f"{folder}/{PROVENANCE}", seal({**provenance, "files": listed, "manifest_hash": manifest.manifest_hash}))
    _put(storage, f"{folder}/{layout.MANIFEST}", manifest.encode())


def _part_name(number: int, data: bytes) -> str:
    return f"part-{number:05d}-{sha256_hex(data)[: layout.SHORT_HASH]}.parquet"


def is_part(name: str, data: bytes) -> bool:
    """Whether ``name`` is the one that ``publish`` gives to rows with these bytes."""
    number = name.removeprefix("part-")[:5]
    return number.isdigit() and name == _part_name(int(number), data)


def _is_complete(archive: Archive) -> bool:
    """Whether the dataset is published with all its files. What is published under its name must be this dataset."""
    path = f"{archive.folder}/{layout.MANIFEST}"
    try:
        _checked(archive.storage.read(path), archive.manifest.manifest_hash, path)
    except ObjectMissingError:
        return False
    present = {item.path for item in archive.storage.list(archive.folder)}
    if f"{archive.folder}/{PROVENANCE}" not in present:
        return False
    return all(f"{archive.folder}/{name}" in present for name in archive.provenance()["files"])


def _put(storage: Storage, path: str, data: bytes) -> bytes:
    """Creates a file, or leaves the one that another builder of the same dataset created first; gives the bytes that stand there.

    Nothing is ever replaced: a provenance found here was written after the files it lists, so it is as good as ours.
    """
    try:
        storage.create(path, data)
    except ObjectExistsError:
        return storage.read(path)
    return data


def open_archive(storage: Storage, folder: str) -> Archive:
    """The dataset in ``folder``; its manifest must hash to what the folder's name and the provenance say.

    Raises:
        CorruptionError: The manifest is damaged.
        UnsupportedFormatError: Written by a newer eventlake.
    """
    path = f"{folder}/{layout.MANIFEST}"
    data = storage.read(path)
    try:
        manifest = DatasetManifest.decode(json.loads(data), path)
        same = manifest.encode() == data and folder == layout.build_path(manifest.recipe.name, manifest.manifest_hash)
    except (ValueError, TypeError, AttributeError) as error:
        message = f"{path} is not a dataset manifest: {error}"
        raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path) from error
    if not same:
        message = f"{path} was changed or moved: its hash is {sha256_hex(data)}"
        raise CorruptionError(message, "run 'eventlake verify LAKE' and restore the file.", path=path)
    return Archive(storage, manifest, folder)
