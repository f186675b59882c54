"""A built dataset's folder: who writes which file, in which order, and reading it back with every hash checked.

``builds/<name>/<manifest_hash[:12]>/`` holds ``manifest.json`` and a folder of each attempt to
build it: ``part-*.parquet`` (the rows), ``spine.parquet``, ``source/…`` and, last of all,
``provenance.json``, which lists them. Only then is the manifest written: a dataset without one is
not there. No two attempts share a file, and an attempt is either finished by its provenance or
given up by whoever collects it, who puts something else in its place first: what is finished is
never deleted, however long anybody sleeps. Only whoever removes the dataset deletes it, and marks
it first. The provenance holds the manifest: anybody can write it for an interrupted builder.
"""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from eventlake.columns.hashing.content import RunningHash, content_hash, from_logical
from eventlake.columns.parquet import frames
from eventlake.columns.parquet.segments import footer_rows
from eventlake.core import layout
from eventlake.core.documents.dataset import DatasetManifest
from eventlake.core.documents.provenance import PART, read_provenance
from eventlake.core.documents.stored import check_writable, damaged
from eventlake.core.hashing.canonical import seal, sha256_hex
from eventlake.errors import (
    CorruptionError,
    NotFoundError,
    SchemaMismatchError,
    StorageError,
    UnsupportedFormatError,
)
from eventlake.features.feature_set import FeatureSet
from eventlake.storage import (
    ObjectExistsError,
    ObjectMissingError,
    Storage,
    StorageFullError,
    read_sized,
)

SPINE = "spine.parquet"
SOURCE = "source"
SPINE_ROW = "spine_row"
"""The column of a spine, and of the rows of features, that numbers them."""
EVENT_SPINE = "event_spine"
"""Of a provenance: how a spine that is made of events is declared."""
_ATTEMPT_BYTES = 8
_TRIES = 3


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

    def attempts(self) -> list[tuple[dict[str, Any], bool]]:
        """The provenances of the finished attempts, those first that have all their files, and whether they have.

        Attempts that are given up or removed, or of which the provenance is damaged, are left out.
        """
        present = {item.path for item in self.storage.list(self.folder)}
        found = []
        for path in sorted(present):
            folder, _, name = path.rpartition("/")
            removed = f"{folder}/{layout.REMOVED}" in present
            if name == layout.PROVENANCE and layout.attempt(path) == folder and not removed:
                with suppress(CorruptionError, UnsupportedFormatError):
                    provenance = self.provenance_of(folder)
                    found.append(
                        (
                            provenance,
                            all(f"{folder}/{file}" in present for file in provenance["files"]),
                        )
                    )
        return sorted(found, key=lambda one: not one[1])

    def is_whole(self) -> bool:
        """Whether some attempt is finished and has all its files."""
        return any(whole for _, whole in self.attempts())

    def provenance(self) -> dict[str, Any]:
        """What is not identity: when, where, with which versions, the files with their SHA-256, and the ``attempt`` they are of.

        Raises:
            CorruptionError: No attempt is finished.
        """
        return self._best()[0]

    def event_spines(self) -> list[Any]:
        """How the spine was declared that some attempt made of events, as JSON; empty if its rows were given."""
        told: list[Any] = []
        for provenance, _ in self.attempts():
            if EVENT_SPINE in provenance and provenance[EVENT_SPINE] not in told:
                told.append(provenance[EVENT_SPINE])
        return told

    def is_marked(self) -> bool:
        """Whether somebody has begun to remove the dataset."""
        return any(
            item.path.endswith(f"/{layout.REMOVED}") for item in self.storage.list(self.folder)
        )

    def _best(self) -> tuple[dict[str, Any], bool]:
        """The provenance of a finished attempt, of one that has all its files where there is one, and whether it has."""
        for found in self.attempts():
            return found
        if self.is_marked():
            message = f"{self.folder} is being removed"
            raise NotFoundError(
                message,
                "build its definition again, or end the removal: 'eventlake datasets rm'.",
                path=self.folder,
            )
        message = f"{self.folder} has no finished attempt"
        raise CorruptionError(
            message,
            "restore them, or build the dataset again.",
            path=f"{self.folder}/{layout.PROVENANCE}",
        )

    def provenance_of(self, attempt: str) -> dict[str, Any]:
        """What the attempt in a folder says, and its folder as ``attempt``.

        Raises:
            CorruptionError: Missing, damaged, or another dataset's.
        """
        path = f"{attempt}/{layout.PROVENANCE}"
        document = read_provenance(self._read(path), path)
        if document["manifest_hash"] != self.manifest.manifest_hash:
            message = f"{path} belongs to another manifest"
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path)
        return {**document, "attempt": attempt}

    def rows(self) -> pa.Table:
        """The stored rows in key order; the hash of every file and the content hash are checked.

        Raises:
            CorruptionError: A file is missing or not what was written, or the rows do not have the
                manifest's content hash.
            NotFoundError: Retention has taken them.
        """
        attempt, files, parts = self._parts()
        left, tables = self.manifest.rows, []
        for name in parts:
            data = self.file(attempt, name, files)
            left -= self._checked_rows(data, f"{attempt}/{name}", left)
            tables.append(frames.decode(data, f"{attempt}/{name}"))
        rows = pa.concat_tables(tables)
        self._check_content(content_hash(rows))
        return rows

    def _check_content(self, found: str) -> None:
        if found == self.manifest.content_hash:
            return
        message = f"the rows of {self.folder} hash to {found}, its manifest says {self.manifest.content_hash}"
        hint = "run 'eventlake verify LAKE', or 'eventlake reproduce' the dataset."
        path = self.storage.locate(self.folder) or self.folder
        raise CorruptionError(message, hint, path=path)

    def _checked_rows(self, data: bytes, where: str, left: int) -> int:
        """The rows of a part as its footer says, which must not be more than the manifest has left."""
        found = footer_rows(data, where)
        if found > left:
            message = f"{where}: expected at most {left:,} of the {self.manifest.rows:,} rows of its manifest, its footer says {found:,}"
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=where)
        return found

    def _parts(
        self, of: Mapping[str, Any] | None = None
    ) -> tuple[str, Mapping[str, Any], list[str]]:
        """The attempt whose rows are read, its files, and those of them that hold the rows, in order."""
        provenance, whole = self._best() if of is None else (of, True)
        if not whole and self.storage.exists(f"{provenance['attempt']}/{layout.PRUNED}"):
            message = f"the rows of {self.folder} were given back to save room"
            raise NotFoundError(
                message,
                "'eventlake reproduce' makes them again; building the dataset stores them again.",
                path=self.folder,
            )
        attempt, files = provenance["attempt"], provenance["files"]
        return attempt, files, sorted(name for name in files if name.startswith(PART))

    def pieces(self, of: Mapping[str, Any] | None = None) -> Iterator[pa.Table]:
        """The stored rows in key order, at most a part in memory, in pieces of ``frames.batches``. All hashes are checked.

        Args:
            of: The provenance of the attempt that is read, which has all its files; None for the
                one that everybody reads.

        Raises:
            CorruptionError: A file is missing or not what was written; or, after the last piece,
                the rows were not the manifest's.
            NotFoundError: Retention has taken them.
        """
        attempt, files, parts = self._parts(of)
        schema = pa.schema([(name, from_logical(kind)) for name, kind in self.manifest.schema])
        running = RunningHash(schema)
        left = self.manifest.rows
        for name in parts:
            data = self.file(attempt, name, files)
            left -= self._checked_rows(data, f"{attempt}/{name}", left)
            for piece in frames.batches(data, f"{attempt}/{name}"):
                if piece.schema != schema:
                    message = f"{attempt}/{name} has other columns than the manifest"
                    raise CorruptionError(
                        message, "run 'eventlake verify LAKE'.", path=f"{attempt}/{name}"
                    )
                running.update(piece)
                yield piece
        self._check_content(running.hexdigest())

    def file(self, attempt: str, name: str, files: Mapping[str, Any]) -> bytes:
        """One file of an attempt, its hash checked against the provenance.

        Raises:
            CorruptionError: Missing, or not what was written.
        """
        path = f"{attempt}/{name}"
        return _checked(self._read(path, _recorded(files, name, path)), files[name]["sha256"], path)

    def spine(self, of: Mapping[str, Any] | None = None) -> pa.Table | None:
        """The spine of an attempt with its ``spine_row``, its content hash checked; None if the dataset has none.

        Args:
            of: The provenance of the attempt; None for the one that everybody reads.

        Raises:
            CorruptionError: It is missing, or not the one that the manifest names.
        """
        recorded = self.manifest.recipe.spine
        if recorded is None:
            return None
        provenance = of or self.provenance()
        path = f"{provenance['attempt']}/{SPINE}"
        spine = frames.decode(
            self._read(path, _recorded(provenance["files"], SPINE, path)), path, rows=recorded.rows
        )
        found = content_hash(spine)
        if found != recorded.content_hash:
            message = f"the archived spine of {self.folder} hashes to {found}, its manifest says {recorded.content_hash}"
            raise CorruptionError(
                message, "run 'eventlake verify LAKE' and restore spine.parquet.", path=self.folder
            )
        return spine

    def sources(self, of: Mapping[str, Any] | None = None) -> dict[str, str]:
        """The source files archived with an attempt, checked against the recipe.

        Raises:
            CorruptionError: One is missing, was changed, or is not UTF-8.
        """
        texts, provenance = {}, of or self.provenance()
        attempt, files = provenance["attempt"], provenance["files"]
        for name, sha256 in self.manifest.recipe.sources.items():
            path = f"{attempt}/{SOURCE}/{name}"
            data = _checked(
                self._read(path, _recorded(files, f"{SOURCE}/{name}", path)), sha256, path
            )
            try:
                texts[name] = data.decode()
            except UnicodeDecodeError:
                message = f"{path}: expected UTF-8 text, found other bytes"
                raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path) from None
        if self.manifest.recipe.kind == "features":
            self._check_features(
                texts[self.manifest.recipe.entry],
                f"{attempt}/{SOURCE}/{self.manifest.recipe.entry}",
            )
        return texts

    def _check_features(self, text: str, where: str) -> None:
        """Compares what describes the features with the columns of the rows."""
        features, columns = (
            FeatureSet.from_text(self.manifest.recipe.name, text),
            dict(self.manifest.schema),
        )
        missing = [
            name
            for name in (SPINE_ROW, features.spine_entity, features.cutoff, *features.columns)
            if name not in columns
        ]
        if missing or not columns[features.cutoff].startswith("timestamp"):
            message = f"{where} describes other rows than the dataset's: expected the columns {', '.join(columns)}"
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=where)

    def _read(self, path: str, size_bytes: int | None = None) -> bytes:
        try:
            return (
                self.storage.read(path)
                if size_bytes is None
                else read_sized(self.storage, path, size_bytes)
            )
        except ObjectMissingError:
            message = f"{path} is missing"
            raise CorruptionError(
                message, "restore it, or rebuild the dataset from its definition.", path=path
            ) from None


def _recorded(files: Mapping[str, Any], name: str, path: str) -> int:
    """The size of a file of an attempt, as its provenance says."""
    if name not in files:
        message = f"{path} is not among the files that its provenance lists"
        raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path)
    return int(files[name]["bytes"])


def _checked(data: bytes, sha256: str, path: str) -> bytes:
    found = sha256_hex(data)
    if found != sha256:
        message = f"{path} is not what was written: expected sha256 {sha256}, found {found}"
        raise CorruptionError(
            message, "run 'eventlake verify LAKE' and restore the file.", path=path
        )
    return data


def publish(
    storage: Storage,
    manifest: DatasetManifest,
    *,
    rows: pa.Table,
    spine: pa.Table | None,
    sources: Mapping[str, str],
    provenance: Mapping[str, Any],
    anew: bool = False,
) -> Archive:
    """Writes an attempt, then the manifest. Publishing again changes nothing, but brings back what was lost; ``anew`` writes again."""
    archive = Archive(
        storage, manifest, layout.build_path(manifest.recipe.name, manifest.manifest_hash)
    )
    check_writable(DatasetManifest.decode, manifest.encode(), f"{archive.folder}/{layout.MANIFEST}")
    for _ in range(_TRIES):
        if (not anew and archive.is_whole()) or _finish(
            archive, *_attempt(archive, rows, spine, sources, provenance)
        ):
            _publish(archive)
            # Somebody may have removed it meanwhile, and with it the attempt that was found.
            if archive.is_whole():
                return archive
    message = f"{archive.folder} could not be published: every attempt was collected or removed before it was"
    raise StorageError(
        message, "collect with a longer --older-than, and build again.", path=archive.folder
    )


def _attempt(
    archive: Archive,
    rows: pa.Table,
    spine: pa.Table | None,
    sources: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> tuple[str, bytes]:
    """Stores an attempt's files in a folder of its own; gives it, and the provenance that will finish it."""
    # A commit can be seen before it is durable. What a dataset names must not vanish with a power
    # cut that leaves the dataset.
    archive.storage.sync(layout.LOG)
    folder = f"{archive.folder}/{secrets.token_hex(_ATTEMPT_BYTES)}"
    files = {
        _part_name(number, data): data for number, data in enumerate(frames.encode_parts(rows))
    }
    files |= {f"{SOURCE}/{name}": text.encode() for name, text in sources.items()}
    files |= {} if spine is None else {SPINE: frames.encode(spine)}
    with _nothing_left_without_room(archive.storage, folder):
        for name, data in files.items():
            with suppress(
                ObjectExistsError
            ):  # an answer that was lost; nobody else knows the folder
                archive.storage.create(f"{folder}/{name}", data)
    listed = {
        name: {"bytes": len(data), "sha256": sha256_hex(data)} for name, data in files.items()
    }
    manifest = {
        "manifest": json.loads(archive.manifest.encode()),
        "manifest_hash": archive.manifest.manifest_hash,
    }
    sealed = seal({**provenance, **manifest, "files": listed})
    check_writable(read_provenance, sealed, f"{folder}/{layout.PROVENANCE}")
    return folder, sealed


def _finish(archive: Archive, folder: str, provenance: bytes) -> bool:
    """Finishes an attempt; False where a collector has given it up meanwhile."""
    path = f"{folder}/{layout.PROVENANCE}"
    with _nothing_left_without_room(archive.storage, folder):
        try:
            archive.storage.create(path, provenance)
        except ObjectExistsError:
            return archive.storage.read(path) == provenance
    return True


@contextmanager
def _nothing_left_without_room(storage: Storage, folder: str) -> Iterator[None]:
    """Deletes the files of an attempt for which the disk has no room: it is not finished, and nobody else knows it."""
    try:
        yield
    except StorageFullError:
        for item in list(storage.list(folder)):
            storage.delete(item.path)
        raise


def _publish(archive: Archive) -> None:
    """Writes the manifest. What stands in its place must be this dataset's."""
    path = f"{archive.folder}/{layout.MANIFEST}"
    try:
        archive.storage.create(path, archive.manifest.encode())
    except ObjectExistsError:
        _checked(archive.storage.read(path), archive.manifest.manifest_hash, path)


def _part_name(number: int, data: bytes) -> str:
    return f"{PART}{number:05d}-{sha256_hex(data)[: layout.SHORT_HASH]}.parquet"


def open_archive(storage: Storage, folder: str) -> Archive:
    """The dataset in ``folder``; its manifest must hash to what the folder's name and the provenance say.

    Raises:
        CorruptionError: The manifest is damaged.
        UnsupportedFormatError: Written by a newer eventlake.
    """
    path = f"{folder}/{layout.MANIFEST}"
    data = storage.read(path)
    manifest = DatasetManifest.decode(data, path)
    try:
        for _, kind in (*manifest.schema, *(manifest.recipe.declared_schema or ())):
            from_logical(kind)
    except SchemaMismatchError as error:
        raise damaged(path, "dataset manifest", error.message) from None
    if folder != layout.build_path(manifest.recipe.name, manifest.manifest_hash):
        message = f"{path} was changed or moved: its hash is {sha256_hex(data)}"
        raise CorruptionError(
            message, "run 'eventlake verify LAKE' and restore the file.", path=path
        )
    return Archive(storage, manifest, folder)
