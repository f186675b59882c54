"""The small documents: the lake's description, the hint to its head, tags and removals."""

from eventlake.core.documents.stored import (
    SMALL,
    Document,
    FormatNumber,
    Instant,
    Name,
    Origin,
    Sha256,
    VersionNumber,
    unsealed,
)


class LakeDocument(Document):
    """``lake.json``.

    Attributes:
        checksum: Checksum of the document.
        created: When the lake was created, in microseconds since 1970-01-01 UTC.
        format: Format of the lake.
        origin: Name of the lake.
        strict: Whether every event type needs a schema.
    """

    checksum: Sha256
    created: Instant
    format: FormatNumber
    origin: Origin
    strict: bool


class HintDocument(Document):
    """``hint``: a recent commit; the log may be longer."""

    checksum: Sha256
    # A hint that was copied with files of another lake is ignored.
    origin: Origin
    version: VersionNumber


class TagDocument(Document):
    """``tags/<name>.json``: the dataset with this tag, and since when."""

    checksum: Sha256
    manifest_hash: Sha256
    tagged_at: Instant


# It stays when the dataset is gone, so that its hashes still tell what was removed, and when.
class RemovedDocument(Document):
    """``removed.json``: the dataset that was removed, and when."""

    checksum: Sha256
    content_hash: Sha256
    manifest_hash: Sha256
    name: Name
    recipe_hash: Sha256
    removed_at: Instant


def read_lake(data: bytes, where: str) -> LakeDocument:
    """Decode ``lake.json``.

    Raises:
        CorruptionError: It is damaged, or a member is invalid.
        UnsupportedFormatError: A newer eventlake wrote it.
    """
    return unsealed(data, where, LakeDocument, "description of a lake", bounds=SMALL)


def read_hint(data: bytes, where: str) -> HintDocument:
    """Decode the hint; raises like ``read_lake``."""
    return unsealed(data, where, HintDocument, "hint", bounds=SMALL)


def read_tag(data: bytes, where: str) -> TagDocument:
    """Decode a tag; raises like ``read_lake``."""
    return unsealed(data, where, TagDocument, "tag", bounds=SMALL)


def read_removed(data: bytes, where: str) -> RemovedDocument:
    """Decode the mark of a removed dataset; raises like ``read_lake``."""
    return unsealed(data, where, RemovedDocument, "note of a removal", bounds=SMALL)
