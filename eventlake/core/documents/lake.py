"""What a lake is called and how it was made, where its log was last seen to end, and the names of datasets: the small documents."""

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
        checksum: Of the document.
        created: Microseconds.
        format: Of the lake.
        origin: Its name.
        strict: Whether every event type needs a schema.
    """

    checksum: Sha256
    created: Instant
    format: FormatNumber
    origin: Origin
    strict: bool


class HintDocument(Document):
    """``hint``: a commit that was there."""

    checksum: Sha256
    origin: Origin
    version: VersionNumber


class TagDocument(Document):
    """``tags/<name>.json``: the dataset that has a name, and since when."""

    checksum: Sha256
    manifest_hash: Sha256
    tagged_at: Instant


class RemovedDocument(Document):
    """``removed.json``: the dataset that was removed, and when."""

    checksum: Sha256
    content_hash: Sha256
    manifest_hash: Sha256
    name: Name
    recipe_hash: Sha256
    removed_at: Instant


def read_lake(data: bytes, where: str) -> LakeDocument:
    """Reads ``lake.json``.

    Raises:
        CorruptionError: It is damaged, or a member is not what it must be.
        UnsupportedFormatError: A newer eventlake wrote it.
    """
    return unsealed(data, where, LakeDocument, "description of a lake", bounds=SMALL)


def read_hint(data: bytes, where: str) -> HintDocument:
    """Reads the hint; raises as ``read_lake``."""
    return unsealed(data, where, HintDocument, "hint", bounds=SMALL)


def read_tag(data: bytes, where: str) -> TagDocument:
    """Reads a tag; raises as ``read_lake``."""
    return unsealed(data, where, TagDocument, "tag", bounds=SMALL)


def read_removed(data: bytes, where: str) -> RemovedDocument:
    """Reads what says that a dataset was removed; raises as ``read_lake``."""
    return unsealed(data, where, RemovedDocument, "note of a removal", bounds=SMALL)
