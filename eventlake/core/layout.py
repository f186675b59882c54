"""Every path in a lake comes from here, so that writer, reader and verify cannot drift apart."""

import re

LAKE = "lake.json"
LOG = "log"
SEGMENTS = "segments"
MANIFESTS = "manifests"
KEYS = "keys"
SCHEMAS = "schemas"
TABLES = "tables"
HINT = "hint"
RESERVE = "reserve"
"""Space that maintenance frees on a full disk."""
MANIFEST = "manifest.json"
"""The manifest in the folder of a built dataset."""
PROVENANCE = "provenance.json"
"""The provenance in the folder of an attempt to build a dataset."""
PRUNED = "pruned.json"
"""The mark of an attempt whose rows were deleted, in its folder."""
REMOVED = "removed.json"
"""The mark of an attempt whose dataset was removed, in its folder."""
BUILDS = "builds"
RECIPES = "recipes"
INDEXED = "recipes/names"
TAGS = "tags"
TEMPORARY_PREFIX = ".tmp-"

# Twenty digits: names sort like numbers, so a listing is in the order of the log.
_COMMIT = re.compile(r"log/([0-9]{20})\.json")
_SEGMENT = re.compile(r"segments/([0-9a-f]{64})\.parquet")
_ROWS = re.compile(r"manifests/([0-9]{20})-([0-9a-f]{12})\.parquet")
_KEYS = re.compile(r"keys/([0-9a-f]{64})\.keys")
_SCHEMAS = re.compile(r"schemas/([0-9a-f]{64})\.json")
_TABLE = re.compile(
    r"tables/([^/]+/[^/]+)/([0-9]{20})-([0-9]{20})-[0-9]{1,20}-[0-9a-f]{12}-[0-9a-f]{64}\.parquet"
)
_BUILD = re.compile(r"builds/([a-z0-9_][a-z0-9_.-]*)/([0-9a-f]{12})/(.+)")

# An attempt has a random name, so no two builders ever write the same file.
_ATTEMPT = re.compile(r"(builds/[a-z0-9_][a-z0-9_.-]*/[0-9a-f]{12}/[0-9a-f]{16})/.+")

_MADE = re.compile(r"recipes/([0-9a-f]{64})/([0-9a-f]{64})\.made")
_BUCKET = re.compile(r"recipes/[0-9a-f]{64}/([0-9a-f]{16})-([0-9]{6})-([0-9a-f]{64})\.parquet")
_SPINE = re.compile(r"recipes/[0-9a-f]{64}/[0-9a-f]{16}-spine\.parquet")
_TAG = re.compile(r"tags/([A-Za-z0-9][A-Za-z0-9._-]{0,99})\.json")
_INDEXED = re.compile(r"recipes/names/([a-z0-9_][a-z0-9_.-]*)\.indexed")
_CLAIM = re.compile(r"recipes/([0-9a-f]{64})/([0-9]{6})\.claim")
MOST_CLAIMS = 999_999
"""The last number that the name of a lease can have."""
_MOST_INSTANT = (1 << 63) - 1
_BASE = re.compile(
    r"recipes/[0-9a-f]{64}/([0-9]{20})\.([0-9a-f]{64})\.(?:none|(-?[0-9]{1,19})\.(-?[0-9]{1,19}))\.base"
)

# Far above what any version writes; a file in a stranger's lake may have any length.
_SMALL_BYTES = 64 << 10
_DOCUMENT_BYTES = 64 << 20

HASH_DIGITS = 64
SHORT_HASH = 12
"""Hex digits of a manifest hash in a folder name and in messages."""


def commit_path(version: int) -> str:
    """The path of commit ``version``."""
    return f"{LOG}/{version:020d}.json"


def commit_version(path: str) -> int | None:
    """The version of the commit at ``path``; None if it is not a commit's path."""
    match = _COMMIT.fullmatch(path)
    return int(match[1]) if match else None


def segment_path(sha256: str) -> str:
    """The path of the segment with this SHA-256."""
    return f"{SEGMENTS}/{sha256}.parquet"


def segment_sha256(path: str) -> str | None:
    """The SHA-256 in a segment's path; None if it is not a segment's."""
    match = _SEGMENT.fullmatch(path)
    return match[1] if match else None


def rows_path(stop: int, sha256: str) -> str:
    """The path of the rows of the tier that ends before version ``stop``."""
    # A short hash, because the commit records the whole one; ``stop`` is for people who look.
    return f"{MANIFESTS}/{stop:020d}-{sha256[:SHORT_HASH]}.parquet"


def rows_sha256(path: str) -> str | None:
    """The first digits of the SHA-256 in the path of a tier's rows; None for other paths."""
    match = _ROWS.fullmatch(path)
    return match[2] if match else None


def keys_path(sha256: str) -> str:
    """The path of the key file with this SHA-256."""
    return f"{KEYS}/{sha256}.keys"


def keys_sha256(path: str) -> str | None:
    """The SHA-256 in a key file's path; None if it is not a key file's."""
    match = _KEYS.fullmatch(path)
    return match[1] if match else None


def schemas_path(sha256: str) -> str:
    """The path of the catalogue of schemas with this SHA-256."""
    return f"{SCHEMAS}/{sha256}.json"


def schemas_sha256(path: str) -> str | None:
    """The SHA-256 in a catalogue's path; None if it is not a catalogue's."""
    match = _SCHEMAS.fullmatch(path)
    return match[1] if match else None


def table_range(path: str) -> tuple[str, int, int] | None:
    """``(table, start, stop)`` of a file of an event table; None for other paths."""
    match = _TABLE.fullmatch(path)
    return (match[1], int(match[2]), int(match[3])) if match else None


def is_temporary(path: str) -> bool:
    """Whether ``path`` is a temporary file, which an interrupted write may leave behind."""
    return path.rsplit("/", 1)[-1].startswith(TEMPORARY_PREFIX)


def build_path(name: str, manifest_hash: str) -> str:
    """The folder of a built dataset."""
    return f"{BUILDS}/{name}/{manifest_hash[:SHORT_HASH]}"


def build_parts(path: str) -> tuple[str, str, str] | None:
    """``(dataset name, short manifest hash, file)`` of a path below ``builds/``; or None."""
    match = _BUILD.fullmatch(path)
    return (match[1], match[2], match[3]) if match else None


def attempt(path: str) -> str | None:
    """The folder of the build attempt that a file belongs to; None for other paths."""
    match = _ATTEMPT.fullmatch(path)
    return match[1] if match else None


def recipe_folder(recipe_hash: str) -> str:
    """The folder with the results of a recipe and the leases on its work."""
    return f"{RECIPES}/{recipe_hash}"


def made_path(recipe_hash: str, manifest_hash: str) -> str:
    """The path of the record that a recipe made a dataset."""
    return f"{recipe_folder(recipe_hash)}/{manifest_hash}.made"


def made_hash(path: str) -> str | None:
    """The manifest hash in the path of such a record; None for other paths."""
    match = _MADE.fullmatch(path)
    return match[2] if match else None


def claim_path(recipe_hash: str, number: int) -> str:
    """The path of the lease with this number on a recipe's work."""
    return f"{recipe_folder(recipe_hash)}/{number:06d}.claim"


def claim_number(path: str) -> int | None:
    """The number of the lease at ``path``; None for other paths."""
    match = _CLAIM.fullmatch(path)
    return int(match[2]) if match else None


def base_path(
    series_hash: str, watermark: int, manifest_hash: str, cutoffs: tuple[int, int] | None
) -> str:
    """The path of the entry for a dataset that incremental builds of a series may start from."""
    spelled = "none" if cutoffs is None else f"{cutoffs[0]}.{cutoffs[1]}"
    return f"{recipe_folder(series_hash)}/{watermark:020d}.{manifest_hash}.{spelled}.base"


def base_of(path: str) -> tuple[int, str, tuple[int, int] | None] | None:
    """``(watermark, manifest hash, cutoffs)`` in the path of such an entry; or None."""
    match = _BASE.fullmatch(path)
    if match is None:
        return None
    cutoffs = None if match[3] is None else (int(match[3]), int(match[4]))
    # Engines compare them as 64-bit integers.
    if cutoffs is not None and not all(-_MOST_INSTANT <= one <= _MOST_INSTANT for one in cutoffs):
        return None
    return int(match[1]), match[2], cutoffs


def indexed_path(name: str) -> str:
    """The path of the mark that the datasets of a name are indexed."""
    return f"{INDEXED}/{name}.indexed"


def indexed_name(path: str) -> str | None:
    """The dataset name in the path of such a mark; None for other paths."""
    match = _INDEXED.fullmatch(path)
    return match[1] if match else None


def tag_path(name: str) -> str:
    """The path of a tag."""
    return f"{TAGS}/{name}.json"


def tag_name(path: str) -> str | None:
    """The name of the tag at ``path``; None for other paths."""
    match = _TAG.fullmatch(path)
    return match[1] if match else None


def spine_path(recipe_hash: str, work: str) -> str:
    """The path of the spine that the workers of a build by buckets share."""
    return f"{recipe_folder(recipe_hash)}/{work}-spine.parquet"


def bucket_path(recipe_hash: str, work: str, bucket: int, sha256: str) -> str:
    """The path of a bucket's rows until the build is published; ``work`` has 16 hex digits."""
    return f"{recipe_folder(recipe_hash)}/{work}-{bucket:06d}-{sha256}.parquet"


def bucket_of(path: str) -> tuple[str, int, str] | None:
    """``(work, bucket, SHA-256)`` of a bucket's rows; None for other paths."""
    match = _BUCKET.fullmatch(path)
    return (match[1], int(match[2]), match[3]) if match else None


def is_work(path: str) -> bool:
    """Whether ``path`` belongs to an unpublished build by buckets."""
    return bucket_of(path) is not None or _SPINE.fullmatch(path) is not None


def most_bytes(path: str) -> int | None:
    """The maximum size of the document at ``path`` in bytes.

    None for rows, keys and archived sources, whose sizes are recorded elsewhere.
    """
    name = path.rsplit("/", 1)[-1]
    if (
        path in {LAKE, HINT}
        or name.endswith((".made", ".claim", ".base", ".indexed"))
        or name in {PRUNED, REMOVED}
        or tag_name(path) is not None
    ):
        return _SMALL_BYTES
    if (
        commit_version(path) is not None
        or schemas_sha256(path) is not None
        or name in {MANIFEST, PROVENANCE}
    ):
        return _DOCUMENT_BYTES
    return None
