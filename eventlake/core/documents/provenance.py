"""What ``provenance.json`` says of an attempt to build a dataset: what is not identity."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from eventlake.core.documents.dataset import ManifestDocument
from eventlake.core.documents.stored import (
    Column,
    Count,
    Document,
    FormatNumber,
    Instant,
    Line,
    Positive,
    Sha256,
    SourceFile,
    Word,
    damaged,
    unsealed,
)
from eventlake.core.hashing.canonical import CHECKSUM

PART = "part-"
"""What the files that hold the rows begin with."""
_NOUN = "provenance"


class FileDocument(Document):
    """A file of an attempt."""

    bytes: Count
    sha256: Sha256


class EnvironmentDocument(Document):
    """A machine."""

    machine: Line
    polars_threads: Positive
    python: Word
    system: Line


class ProvenanceDocument(Document):
    """``provenance.json``. Members with a default are there if they have something to say.

    ``event_spine`` is decoded by whoever knows what spines are
    (``features.spines.spine.spine_of``).
    """

    UNTYPED = True

    built_at: Instant
    checksum: Sha256
    commit_hash: Sha256 | None
    environment: EnvironmentDocument
    files: Annotated[dict[SourceFile, FileDocument], Meta(min_length=1)]
    format: FormatNumber
    manifest_hash: Sha256
    milliseconds: int
    versions: dict[Word, Word]
    buckets: Positive | UnsetType = UNSET
    by: Column | UnsetType = UNSET
    derived_from: Sha256 | UnsetType = UNSET
    engine: Literal["duckdb", "polars"] | UnsetType = UNSET
    event_spine: dict[str, Any] | UnsetType = UNSET
    hindsight_events: Count | UnsetType = UNSET
    hindsight_left_out: Count | UnsetType = UNSET
    hindsight_rows: Count | UnsetType = UNSET
    manifest: ManifestDocument | UnsetType = UNSET
    spine_by: Column | UnsetType = UNSET
    spine_hindsight_rows: Count | UnsetType = UNSET
    spine_late_rows: Count | UnsetType = UNSET
    unmatched: list[Column] | UnsetType = UNSET
    way: Line | UnsetType = UNSET
    workers: Positive | UnsetType = UNSET


def read_provenance(data: bytes, where: str) -> dict[str, Any]:
    """The members of a ``provenance.json`` but its checksum, each looked at.

    Raises:
        CorruptionError: It is damaged, or a member is not what it must be.
        UnsupportedFormatError: A newer eventlake wrote it.
    """
    document = unsealed(data, where, ProvenanceDocument, _NOUN)
    if not any(name.startswith(PART) for name in document.files):
        raise damaged(where, _NOUN, f"expected files of rows, found {', '.join(document.files)}")
    members: dict[str, Any] = msgspec.to_builtins(document)
    del members[CHECKSUM]
    return members
