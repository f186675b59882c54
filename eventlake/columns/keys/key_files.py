"""The key file: a run of keys in which one key is found with two short reads.

docs/reference/format.md, "Keys", defines it. A file has two sections, ``ids`` and ``heads``. Each
is divided by the first bits of its keys into buckets of about a dozen keys. A directory before the
buckets has the position and the CRC-32 of each, so that a part can be trusted without the whole.

The format is our own because a lookup in a Parquet file would read its footer and a whole page.
docs/decisions/0009-tiers-and-keys.md has the alternatives and measurements.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from eventlake.columns.keys.key_runs import KeyRun, Keys
from eventlake.core.documents.manifest import KeyFile
from eventlake.errors import CorruptionError

# With buckets of a hundred keys, a commit of a hundred events read 170 KB in a lake of 100,000
# commits; with these it reads less than 64 KB.
_BUCKET = 8
"""Average number of keys in a bucket, or up to twice as many."""
_ID = np.dtype("<u8")
_HEAD = np.dtype([("key", "<u8"), ("version", "<u4")])
_ENTRY = np.dtype([("first", "<u4"), ("crc", "<u4")])


@dataclass(frozen=True)
class Section:
    """Position and division of a section in the file.

    Attributes:
        offset: Position of the directory in bytes.
        count: Number of keys.
        width: Bytes per key.
    """

    offset: int
    count: int
    width: int

    @cached_property
    def bits(self) -> int:
        """The section has ``2 ** bits`` buckets."""
        return max((self.count // _BUCKET).bit_length() - 1, 0)

    @cached_property
    def data(self) -> int:
        """Position of the first key."""
        return self.offset + _ENTRY.itemsize * ((1 << self.bits) + 1)

    @property
    def stop(self) -> int:
        """Position after the last key."""
        return self.data + self.width * self.count

    def bucket(self, key: int) -> int:
        """The bucket of ``key``."""
        return key >> (64 - self.bits) if self.bits else 0

    def directory(self, bucket: int) -> tuple[int, int]:
        """The byte range of a bucket's directory entries, which ``bounds`` reads."""
        first = self.offset + _ENTRY.itemsize * bucket
        return first, first + 2 * _ENTRY.itemsize

    def buckets(self, keys: Keys) -> list[int]:
        """The distinct buckets of ``keys``, in order."""
        return np.unique(keys >> np.uint64(64 - self.bits)).tolist() if self.bits else [0]

    def bounds(self, entries: Iterable[bytes]) -> list[tuple[int, int, int]]:
        """First and last byte, and the CRC-32, of each bucket whose directory entries are given."""
        pairs = np.frombuffer(b"".join(entries), _ENTRY).reshape(-1, 2)
        at = self.data + self.width * pairs["first"].astype(np.int64)
        return list(
            zip(at[:, 0].tolist(), at[:, 1].tolist(), pairs["crc"][:, 0].tolist(), strict=True)
        )


def sections(ids: int, heads: int) -> tuple[Section, Section]:
    """The two sections of a file with this many keys."""
    first = Section(0, ids, _ID.itemsize)
    return first, Section(first.stop, heads, _HEAD.itemsize)


def encode(run: KeyRun) -> bytes:
    """Encode a run of keys as a key file."""
    heads = np.empty(len(run.heads), _HEAD)
    heads["key"], heads["version"] = run.heads, run.versions - np.uint32(run.start)
    first, second = sections(len(run.ids), len(run.heads))
    return _encode(first, run.ids, run.ids.astype(_ID, copy=False).tobytes()) + _encode(
        second, run.heads, heads.tobytes()
    )


def _encode(section: Section, keys: Keys, data: bytes) -> bytes:
    buckets = 1 << section.bits
    bounds = np.zeros(buckets + 1, np.int64)
    if section.bits:
        bounds[:-1] = np.searchsorted(
            keys, np.arange(buckets, dtype=np.uint64) << np.uint64(64 - section.bits)
        )
    bounds[-1] = len(keys)
    directory = np.zeros(buckets + 1, _ENTRY)
    directory["first"] = bounds
    at = (bounds * section.width).tolist()
    # A tier of ten million keys has a million buckets, so no Python code runs for each of them.
    directory["crc"][:-1] = np.fromiter(
        map(zlib.crc32, map(data.__getitem__, map(slice, at, at[1:]))), np.uint32, buckets
    )
    return directory.tobytes() + data


def decode(data: bytes, file: KeyFile, where: str) -> KeyRun:
    """Decode a key file whose hash was checked: the inverse of ``encode``.

    Raises:
        CorruptionError: The size does not match the number of keys.
    """
    first, second = sections(file.ids, file.heads)
    # The hash is that of the commit, but a commit from a stranger may state other numbers of keys.
    if len(data) != second.stop:
        message = f"{where} is not a key file of {file.ids:,} and {file.heads:,} keys"
        raise CorruptionError(message, "run 'eventlake verify LAKE'.", path=where)
    heads = np.frombuffer(data, _HEAD, file.heads, second.data)
    ids = np.frombuffer(data, _ID, file.ids, first.data)
    return KeyRun(
        file.start, file.shift, ids, heads["key"].copy(), heads["version"] + np.uint32(file.start)
    )


def checksum(bucket: bytes) -> int:
    """The CRC-32 of a bucket, as in the directory."""
    return zlib.crc32(bucket)


def ids_of_bucket(data: bytes) -> Keys:
    """Decode a bucket of event keys."""
    return np.frombuffer(data, _ID)


def version_in_bucket(data: bytes, key: int) -> int | None:
    """The version of ``key`` in a bucket of heads, relative to the file's first; or None."""
    heads = np.frombuffer(data, _HEAD)
    hits = heads["version"][heads["key"] == np.uint64(key)]
    return int(hits[0]) if len(hits) else None
