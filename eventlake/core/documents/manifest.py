"""The manifest: the state of the log in *tiers*, so that opening and committing stay fast.

A tier folds a run of commits into two files: their facts and segments as rows, and their *keys*
(fingerprints of event ids, subjects, producers and commit ids). Tiers of similar size are merged,
so a long history has few of them. Keys that are in no tier yet are *recent* and stored in the
commit itself. All of it is derived from the log and can be rebuilt.
"""

import base64
from dataclasses import dataclass
from typing import Annotated, Any, Self

from msgspec import Meta

from eventlake.core.documents.stored import Base64, Document, Positive, Sha256, VersionNumber

COMMIT_WEIGHT = 16
"""The weight of a commit in a tier; an event weighs 1."""

KEY_BYTES = 8
_Keys = Annotated[int, Meta(ge=0, le=1 << 40)]
_Shift = Annotated[int, Meta(ge=0, le=31)]


class KeyFileDocument(Document):
    """A key file as stored in a commit."""

    bytes: Positive
    heads: _Keys
    ids: _Keys
    sha256: Sha256
    shift: _Shift
    start: VersionNumber


class RowsDocument(Document):
    """The file of a tier's rows as stored in a commit."""

    bytes: Positive
    sha256: Sha256


class TierDocument(Document):
    """A tier as stored in a commit."""

    keys: KeyFileDocument
    rows: RowsDocument
    start: VersionNumber
    stop: VersionNumber


class RecentDocument(Document):
    """The recent keys as stored in a commit."""

    files: tuple[KeyFileDocument, ...]
    heads: Base64
    ids: Base64
    start: VersionNumber


@dataclass(frozen=True, slots=True)
class CommitSummary:
    """The facts about a commit in the manifest.

    Attributes:
        version: Number of the commit.
        commit_hash: SHA-256 of the commit's bytes in hex.
        kind: Kind of the commit.
        recorded_at: Microseconds since 1970-01-01 UTC.
        start: Watermark before the commit.
        stop: Watermark after the commit.
        root: RFC 6962 root over ``[0, stop)`` in hex.
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
        sha256: SHA-256 of the file, which is also its name.
        size_bytes: Size of the file.
        ids: Number of keys of events.
        heads: Number of keys of subjects, producers and commit ids.
        start: First version that is covered.
        shift: Event keys locate the version within ``2 ** shift`` commits.
    """

    sha256: str
    size_bytes: int
    ids: int
    heads: int
    start: int
    shift: int

    def document(self) -> dict[str, Any]:
        """The document as plain JSON values."""
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
        """The inverse of ``document``, from decoded members."""
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
        stop: Exclusive last version.
        rows_sha256: SHA-256 of the Parquet file with the commits, and the segments that were
            current at ``stop``.
        rows_bytes: Size of that file.
        keys: The key file.
    """

    start: int
    stop: int
    rows_sha256: str
    rows_bytes: int
    keys: KeyFile

    @property
    def weight(self) -> int:
        """The weight of its commits and events; tiers of similar weight are merged."""
        # Commits count too: a tier of many commits without events takes time to read as well.
        return COMMIT_WEIGHT * (self.stop - self.start) + self.keys.ids

    def document(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        rows = {"bytes": self.rows_bytes, "sha256": self.rows_sha256}
        return {"keys": self.keys.document(), "rows": rows, "start": self.start, "stop": self.stop}

    @classmethod
    def of(cls, document: TierDocument) -> Self:
        """The inverse of ``document``, from decoded members."""
        return cls(
            document.start,
            document.stop,
            document.rows.sha256,
            document.rows.bytes,
            KeyFile.of(document.keys),
        )


@dataclass(frozen=True, slots=True)
class Recent:
    """The keys of the commits that are in no tier yet, including the commit that stores them.

    Attributes:
        start: The first version that is in no tier.
        ids: Event keys, sorted, 8 bytes each, little-endian.
        heads: Keys of subjects, producers and commit ids, in the same form.
        files: Key files of commits with too many keys to be stored here.
    """

    start: int
    ids: bytes = b""
    heads: bytes = b""
    files: tuple[KeyFile, ...] = ()

    def document(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        return {
            # Every commit carries these keys until they are folded, so a writer needs only the head
            # to find all of them.
            "files": [file.document() for file in self.files],
            "heads": base64.b64encode(self.heads).decode(),
            "ids": base64.b64encode(self.ids).decode(),
            "start": self.start,
        }

    @classmethod
    def of(cls, document: RecentDocument) -> Self:
        """The inverse of ``document``, from decoded members.

        Raises:
            ValueError: The keys are not base64, or their size is not a multiple of a key's.
        """
        ids, heads = (
            base64.b64decode(text, validate=True) for text in (document.ids, document.heads)
        )
        # numpy would fail on such bytes far from here, without naming the commit.
        if len(ids) % KEY_BYTES or len(heads) % KEY_BYTES:
            message = (
                f"expected recent keys of {KEY_BYTES} bytes each, "
                f"found {len(ids)} and {len(heads)} bytes"
            )
            raise ValueError(message)
        return cls(document.start, ids, heads, tuple(map(KeyFile.of, document.files)))


NOTHING_RECENT = Recent(0)
