"""The manifest: what the commits add up to, in *tiers* that a commit names, so that neither opening nor committing grows with history.

A tier folds a run of commits into two files: their facts and segments as rows, and their *keys*
(fingerprints of event ids, subjects, producers and commit ids). Tiers are merged when they have
grown alike, so a long history has few of them. What no tier holds yet is *recent* and stands in the
commit itself. All of it is derived from the log and can be made again from it.
"""

import base64
from dataclasses import dataclass
from typing import Annotated, Any, Self

from msgspec import Meta

from eventlake.core.documents.stored import Base64, Document, Positive, Sha256, VersionNumber

COMMIT_WEIGHT = 16
"""What a commit weighs in a tier; an event weighs 1."""


KEY_BYTES = 8
_Keys = Annotated[int, Meta(ge=0, le=1 << 40)]
_Shift = Annotated[int, Meta(ge=0, le=31)]


class KeyFileDocument(Document):
    """A key file as a commit's document has it."""

    bytes: Positive
    heads: _Keys
    ids: _Keys
    sha256: Sha256
    shift: _Shift
    start: VersionNumber


class RowsDocument(Document):
    """A file of a tier's rows as a commit's document has it."""

    bytes: Positive
    sha256: Sha256


class TierDocument(Document):
    """A tier as a commit's document has it."""

    keys: KeyFileDocument
    rows: RowsDocument
    start: VersionNumber
    stop: VersionNumber


class RecentDocument(Document):
    """What is recent as a commit's document has it."""

    files: tuple[KeyFileDocument, ...]
    heads: Base64
    ids: Base64
    start: VersionNumber


@dataclass(frozen=True, slots=True)
class CommitSummary:
    """What the manifest keeps of a commit.

    Attributes:
        version: Its number.
        commit_hash: SHA-256 of its bytes, hex.
        kind: As in the commit.
        recorded_at: Microseconds.
        start: Watermark before.
        stop: Watermark after.
        root: RFC 6962 root over ``[0, stop)``, hex.
    """

    version: int
    commit_hash: str
    kind: str
    recorded_at: int
    start: int
    stop: int
    root: str


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file of sorted keys (docs/reference/format.md, "Keys").

    Attributes:
        sha256: Of the file; also its name.
        size_bytes: Of the file.
        ids: Keys of events in it.
        heads: Keys of subjects, producers and commit ids in it.
        start: First version it speaks of.
        shift: Its event keys tell the version to within ``2 ** shift`` commits.
    """

    sha256: str
    size_bytes: int
    ids: int
    heads: int
    start: int
    shift: int

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "bytes": self.size_bytes,
            "heads": self.heads,
            "ids": self.ids,
            "sha256": self.sha256,
            "shift": self.shift,
            "start": self.start,
        }

    @classmethod
    def of(cls, document: KeyFileDocument) -> Self:
        """The inverse of ``document``, its members decoded."""
        return cls(
            document.sha256,
            document.bytes,
            document.ids,
            document.heads,
            document.start,
            document.shift,
        )


@dataclass(frozen=True, slots=True)
class Tier:
    """The commits ``[start, stop)``, folded.

    Attributes:
        start: First version.
        stop: Exclusive.
        rows_sha256: Of the file that holds the commits and the segments that were current at
            ``stop``, as Parquet.
        rows_bytes: Its length.
        keys: The file of their keys.
    """

    start: int
    stop: int
    rows_sha256: str
    rows_bytes: int
    keys: KeyFile

    @property
    def weight(self) -> int:
        """How much it holds; says with which tiers it is merged."""
        return COMMIT_WEIGHT * (self.stop - self.start) + self.keys.ids

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        rows = {"bytes": self.rows_bytes, "sha256": self.rows_sha256}
        return {"keys": self.keys.document(), "rows": rows, "start": self.start, "stop": self.stop}

    @classmethod
    def of(cls, document: TierDocument) -> Self:
        """The inverse of ``document``, its members decoded."""
        return cls(
            document.start,
            document.stop,
            document.rows.sha256,
            document.rows.bytes,
            KeyFile.of(document.keys),
        )


@dataclass(frozen=True, slots=True)
class Recent:
    """The keys of the commits that no tier holds yet, those of the commit that carries it included.

    Attributes:
        start: The first version that no tier holds.
        ids: Event keys, sorted, 8 bytes each, little-endian.
        heads: Keys of subjects, producers and commit ids, likewise.
        files: Keys of commits that are too large to stand in here.
    """

    start: int
    ids: bytes = b""
    heads: bytes = b""
    files: tuple[KeyFile, ...] = ()

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "files": [file.document() for file in self.files],
            "heads": base64.b64encode(self.heads).decode(),
            "ids": base64.b64encode(self.ids).decode(),
            "start": self.start,
        }

    @classmethod
    def of(cls, document: RecentDocument) -> Self:
        """The inverse of ``document``, its members decoded.

        Raises:
            ValueError: Its keys are not base64, or no whole number of keys.
        """
        ids, heads = (
            base64.b64decode(text, validate=True) for text in (document.ids, document.heads)
        )
        if len(ids) % KEY_BYTES or len(heads) % KEY_BYTES:
            message = f"expected recent keys of {KEY_BYTES} bytes each, found {len(ids)} and {len(heads)} bytes"
            raise ValueError(message)
        return cls(document.start, ids, heads, tuple(map(KeyFile.of, document.files)))


NOTHING_RECENT = Recent(0)
