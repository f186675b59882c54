"""A built dataset's folder: the order in which files are written, and reading with hashes checked.

``builds/<name>/<manifest_hash[:12]>/`` holds ``manifest.json`` and a folder of each attempt to
build it: ``part-*.parquet`` (the rows), ``spine.parquet``, ``source/…`` and, last of all,
``provenance.json``, which lists them. Only then is the manifest written: a dataset without one is
not there. No two attempts share a file, and an attempt is either finished by its provenance or
given up by whoever collects it, who puts something else in its place first: what is finished is
never deleted, however long anybody sleeps. Only whoever removes the dataset deletes it, and marks
it first. The provenance holds the manifest: anybody can write it for an interrupted builder.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from eventlake.columns.hashing.content import RunningHash, content_hash, from_logical
from eventlake.columns.parquet import frames
from eventlake.columns.parquet.segments import footer_rows
from eventlake.core import layout
from eventlake.core.documents.dataset import DatasetManifest
from eventlake.core.documents.provenance import PART, read_provenance
from eventlake.core.documents.stored import damaged
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import (
    CorruptionError,
    NotFoundError,
    SchemaMismatchError,
    UnsupportedFormatError,
)
from eventlake.features.feature_set import FeatureSet
from eventlake.storage import ObjectMissingError, Storage, read_sized
from eventlake.storage.hash_check import check_hash

SPINE = "spine.parquet"
SOURCE = "source"
SPINE_ROW = "spine_row"
"""The 0-based row number in a spine, and in the rows of a feature set."""
EVENT_SPINE = "event_spine"
"""The provenance key of an event spine's declaration."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The folder of one dataset.

    Attributes:
        storage: The lake.
        manifest: The dataset's identity.
        folder: Relative to the lake.
    """

    storage: Storage
    manifest: DatasetManifest
    folder: str

    def attempts(self, listed: AbstractSet[str] | None = None) -> list[tuple[dict[str, Any], bool]]:
        """The provenance of each finished attempt, and whether it has all its files.

        Complete attempts come first. Attempts that were given up or removed, or whose provenance
        is damaged, are left out.

        Args:
            listed: The paths in the folder, if they were listed before.
        """
        if listed is None:
            listed = {item.path for item in self.storage.list(self.folder)}
        present = listed
        found = []
        for path in sorted(present):
            folder, _, name = path.rpartition("/")
            removed = f"{folder}/{layout.REMOVED}" in present
            # A source of the dataset may be called provenance.json as well.
            if name == layout.PROVENANCE and layout.attempt(path) == folder and not removed:
                # A damaged attempt does not hide another one that is whole.
                with suppress(CorruptionError, UnsupportedFormatError):
                    provenance = self.provenance_of(folder)
                    whole = all(f"{folder}/{file}" in present for file in provenance["files"])
                    found.append((provenance, whole))
        return sorted(found, key=lambda attempt: not attempt[1])

    def is_whole(self) -> bool:
        """Whether some finished attempt has all its files."""
        return any(whole for _, whole in self.attempts())

    def provenance(self) -> dict[str, Any]:
        """What is recorded beside the identity: when, where, with which versions it was built.

        ``files`` has the size and SHA-256 of each file, ``attempt`` the folder that they are in.

        Raises:
            CorruptionError: No attempt is finished.
            NotFoundError: The dataset is being removed.
        """
        return self._best()[0]

    def event_spines(self) -> list[Any]:
        """The distinct declarations of event spines, as JSON; empty if the spine was given as rows.

        Several declarations can yield the same rows, and so the same dataset.
        """
        declarations: list[Any] = []
        for provenance, _ in self.attempts():
            if EVENT_SPINE in provenance and provenance[EVENT_SPINE] not in declarations:
                declarations.append(provenance[EVENT_SPINE])
        return declarations

    def is_marked(self) -> bool:
        """Whether the removal of the dataset has begun."""
        return any(
            item.path.endswith(f"/{layout.REMOVED}") for item in self.storage.list(self.folder)
        )

    def _best(self) -> tuple[dict[str, Any], bool]:
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
            "restore its files, or build the dataset again.",
            path=f"{self.folder}/{layout.PROVENANCE}",
        )

    def provenance_of(self, attempt: str) -> dict[str, Any]:
        """The provenance of one attempt, with its folder as ``attempt``.

        Raises:
            CorruptionError: It is missing or damaged, or belongs to another dataset.
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
            CorruptionError: A file is missing or changed, or the rows do not have the manifest's
                content hash.
            NotFoundError: The rows were pruned.
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
        message = (
            f"the rows of {self.folder} hash to {found}, "
            f"its manifest says {self.manifest.content_hash}"
        )
        hint = "run 'eventlake verify LAKE', or 'eventlake reproduce' the dataset."
        path = self.storage.locate(self.folder) or self.folder
        raise CorruptionError(message, hint, path=path)

    def _checked_rows(self, data: bytes, path: str, left: int) -> int:
        """The number of rows in a part's footer, which must not exceed what the manifest has left.

        It is checked before the part is decoded: a footer can promise more rows than memory holds.
        """
        found = footer_rows(data, path)
        if found > left:
            message = (
                f"{path}: expected at most {left:,} of the {self.manifest.rows:,} rows of its "
                f"manifest, its footer says {found:,}"
            )
            raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path)
        return found

    def _parts(
        self, of: Mapping[str, Any] | None = None
    ) -> tuple[str, Mapping[str, Any], list[str]]:
        """The attempt that is read, all its files, and the names of its parts in order."""
        provenance, whole = self._best() if of is None else (of, True)
        if not whole and self.storage.exists(f"{provenance['attempt']}/{layout.PRUNED}"):
            message = f"the rows of {self.folder} were pruned to save room"
            raise NotFoundError(
                message,
                "'eventlake reproduce' computes them again; a build also stores them again.",
                path=self.folder,
            )
        attempt, files = provenance["attempt"], provenance["files"]
        # Names of parts begin with their number, so this is the order of the key.
        return attempt, files, sorted(name for name in files if name.startswith(PART))

    def schema(self) -> pa.Schema:
        """The columns of the rows, as the manifest states them."""
        return pa.schema([(name, from_logical(kind)) for name, kind in self.manifest.schema])

    def pieces(self, of: Mapping[str, Any] | None = None) -> Iterator[pa.Table]:
        """Yield the stored rows in key order, with at most one part in memory; hashes are checked.

        Args:
            of: The provenance of the attempt to read, which has all its files. Defaults to the
                first complete attempt.

        Raises:
            CorruptionError: A file is missing or changed; or, after the last piece, the rows do
                not have the manifest's content hash.
            NotFoundError: The rows were pruned.
        """
        attempt, files, parts = self._parts(of)
        schema = self.schema()
        running = RunningHash(schema)
        left = self.manifest.rows
        for name in parts:
            data = self.file(attempt, name, files)
            left -= self._checked_rows(data, f"{attempt}/{name}", left)
            for piece in frames.batches(data, f"{attempt}/{name}"):
                # Before the rows are handed on: the hash is compared only after the last piece.
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
            CorruptionError: It is missing or changed.
        """
        path = f"{attempt}/{name}"
        # By its recorded size: a sparse file of any length must not fill the memory.
        data = self._read(path, _recorded_size(files, name, path))
        return check_sha256(data, files[name]["sha256"], path)

    def spine(self, of: Mapping[str, Any] | None = None) -> pa.Table | None:
        """The spine with its column ``spine_row``, its content hash checked; None without a spine.

        Args:
            of: The provenance of the attempt to read. Defaults to the first complete attempt.

        Raises:
            CorruptionError: It is missing, or not the one that the manifest names.
        """
        recorded = self.manifest.recipe.spine
        if recorded is None:
            return None
        provenance = of or self.provenance()
        path = f"{provenance['attempt']}/{SPINE}"
        data = self._read(path, _recorded_size(provenance["files"], SPINE, path))
        spine = frames.decode(data, path, rows=recorded.rows)
        found = content_hash(spine)
        if found != recorded.content_hash:
            message = (
                f"the archived spine of {self.folder} hashes to {found}, "
                f"its manifest says {recorded.content_hash}"
            )
            raise CorruptionError(
                message, "run 'eventlake verify LAKE' and restore spine.parquet.", path=self.folder
            )
        return spine

    def sources(self, of: Mapping[str, Any] | None = None) -> dict[str, str]:
        """The source files archived with an attempt, checked against the recipe.

        Raises:
            CorruptionError: One is missing, changed or not UTF-8, or describes other rows.
        """
        texts, provenance = {}, of or self.provenance()
        attempt, files = provenance["attempt"], provenance["files"]
        for name, sha256 in self.manifest.recipe.sources.items():
            path = f"{attempt}/{SOURCE}/{name}"
            size_bytes = _recorded_size(files, f"{SOURCE}/{name}", path)
            data = check_sha256(self._read(path, size_bytes), sha256, path)
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
        """Check that the declared features describe the columns of the rows."""
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
            message = (
                f"{where} describes other rows than the dataset's: "
                f"expected the columns {', '.join(columns)}"
            )
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


def _recorded_size(files: Mapping[str, Any], name: str, path: str) -> int:
    if name not in files:
        message = f"{path} is not among the files that its provenance lists"
        raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=path)
    return int(files[name]["bytes"])


def check_sha256(data: bytes, sha256: str, path: str) -> bytes:
    """The bytes of a file, if they have the expected hash.

    Raises:
        CorruptionError: They have another.
    """
    hint = "run 'eventlake verify LAKE' and restore the file."
    return check_hash(data, sha256, path, f"{path} is not what was written", hint)


def open_archive(storage: Storage, folder: str) -> Archive:
    """Open the dataset in a folder, whose name must agree with the manifest's hash.

    Raises:
        CorruptionError: The manifest is damaged or was moved.
        UnsupportedFormatError: It was written by a newer eventlake.
        ObjectMissingError: There is no manifest.
    """
    path = f"{folder}/{layout.MANIFEST}"
    data = storage.read(path)
    manifest = DatasetManifest.decode(data, path)
    try:
        # Types are parsed when the dataset is opened, so that the damaged manifest is named.
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
