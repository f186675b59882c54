"""``provenance.json``: facts about a build attempt that are not part of the dataset's identity."""

from collections.abc import Mapping
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
"""Prefix of the files with rows."""
NOT_COUNTED = "hindsight not counted"
"""The end of ``way`` where hindsight was possible and a build did not count it."""
HINDSIGHT = frozenset({"hindsight_events", "hindsight_left_out", "hindsight_rows"})
"""The members that count it."""
_NOUN = "provenance"


class FileDocument(Document):
    """One file of an attempt."""

    bytes: Count
    sha256: Sha256


class EnvironmentDocument(Document):
    """The machine and the versions of an attempt."""

    machine: Line
    polars_threads: Positive
    python: Word
    system: Line


class ProvenanceDocument(Document):
    """``provenance.json``; members equal to their default are omitted.

    ``features.spines.spine.spine_of`` decodes ``event_spine``.
    """

    UNTYPED = True

    built_at: Instant
    checksum: Sha256
    commit_hash: Sha256 | None
    environment: EnvironmentDocument
    files: Annotated[dict[SourceFile, FileDocument], Meta(min_length=1)]
    format: FormatNumber
    manifest_hash: Sha256
    # Not a count: the clock may have been set back during a build.
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


def is_uncounted(provenance: Mapping[str, Any]) -> bool:
    """Whether a provenance says that hindsight was not counted, and has no count of it."""
    says_so = str(provenance.get("way", "")).endswith(NOT_COUNTED)
    return says_so and not HINDSIGHT.intersection(provenance)


def read_provenance(data: bytes, where: str) -> dict[str, Any]:
    """Decode and check a ``provenance.json``, without its checksum.

    Raises:
        CorruptionError: It is damaged, or a member is invalid.
        UnsupportedFormatError: A newer eventlake wrote it.
    """
    document = unsealed(data, where, ProvenanceDocument, _NOUN)
    # A dataset without rows has one file of rows as well.
    if not any(name.startswith(PART) for name in document.files):
        raise damaged(where, _NOUN, f"expected files of rows, found {', '.join(document.files)}")
    members: dict[str, Any] = msgspec.to_builtins(document)
    del members[CHECKSUM]
    return members
