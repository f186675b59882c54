"""The key file: a run of keys in which one key is found with two short reads.

docs/reference/format.md, "Keys", defines it. A file has two sections, ``ids`` and ``heads``. Each
is divided by the first bits of its keys into buckets of about a dozen keys. A directory before the
buckets has the position and the CRC-32 of each, so that a part can be trusted without the whole.

The format is our own because a lookup in a Parquet file would read its footer and a whole page.
docs/decisions/0009-tiers-and-keys.md has the alternatives and measurements.
"""

import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import numpy.typing as npt

from eventlake.columns.keys.key_runs import KeyRun, Keys, Versions
from eventlake.core.documents.manifest import KeyFile
from eventlake.errors import CorruptionError

# With buckets of a hundred keys, a commit of a hundred events read 170 KB in a lake of 100,000
# commits; with these it reads less than 64 KB.
_BUCKET = 8
"""Average number of keys in a bucket, or up to twice as many."""
_SLICE = 1 << 16
"""Keys that are written at once. They fit into the processor's cache, and their checksums do not
keep other threads waiting."""
ID = np.dtype("<u8")
HEAD = np.dtype([("key", "<u8"), ("version", "<u4")])
ENTRY = np.dtype([("first", "<u4"), ("crc", "<u4")])


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
        return self.offset + ENTRY.itemsize * ((1 << self.bits) + 1)

    @property
    def stop(self) -> int:
        """Position after the last key."""
        return self.data + self.width * self.count

    def bucket(self, key: int) -> int:
        """The bucket of ``key``."""
        return key >> (64 - self.bits) if self.bits else 0

    def directory(self, bucket: int) -> tuple[int, int]:
        """The byte range of a bucket's directory entries, which ``bounds`` reads."""
        first = self.offset + ENTRY.itemsize * bucket
        return first, first + 2 * ENTRY.itemsize

    def buckets(self, keys: Keys) -> list[int]:
        """The distinct buckets of ``keys``, in order."""
        return np.unique(keys >> np.uint64(64 - self.bits)).tolist() if self.bits else [0]

    def bounds(self, entries: Iterable[bytes]) -> list[tuple[int, int, int]]:
        """First and last byte, and the CRC-32, of each bucket whose directory entries are given."""
        pairs = np.frombuffer(b"".join(entries), ENTRY).reshape(-1, 2)
        at = self.data + self.width * pairs["first"].astype(np.int64)
        return list(
            zip(at[:, 0].tolist(), at[:, 1].tolist(), pairs["crc"][:, 0].tolist(), strict=True)
        )


def sections(ids: int, heads: int) -> tuple[Section, Section]:
    """The two sections of a file with this many keys."""
    first = Section(0, ids, ID.itemsize)
    return first, Section(first.stop, heads, HEAD.itemsize)


def encode(run: KeyRun) -> bytes:
    """Encode a run of keys as a key file."""
    out = io.BytesIO()
    first, second = sections(len(run.ids), len(run.heads))
    with SectionWriter(out, first) as writer:
        writer.add_ids(run.ids)
    with SectionWriter(out, second) as writer:
        writer.add_heads(run.heads, run.versions, run.start)
    return out.getvalue()


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
    heads = np.frombuffer(data, HEAD, file.heads, second.data)
    ids = np.frombuffer(data, ID, file.ids, first.data)
    return KeyRun(
        file.start, file.shift, ids, heads["key"].copy(), heads["version"] + np.uint32(file.start)
    )


class SectionWriter:
    """Writes a section from sorted keys that arrive in parts; a context manager.

    The directory precedes the keys and is written along with them, so a file of any size needs
    memory for one slice only.
    """

    def __init__(self, out: BinaryIO, section: Section) -> None:
        self._out = out
        self._section = section
        self._written = 0
        # The bucket that the next key may still belong to: its number, first key and checksum.
        self._bucket, self._first, self._crc = 0, 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the directory."""
        if error is None:
            self._finish()

    def add_ids(self, ids: Keys) -> None:
        """Add event keys."""
        for at in range(0, len(ids), _SLICE):
            part = ids[at : at + _SLICE]
            self._add(part, part.astype(ID, copy=False).tobytes())

    def add_heads(self, keys: Keys, versions: Versions, start: int) -> None:
        """Add other keys, with their versions, in a file of commits from ``start`` on."""
        for at in range(0, len(keys), _SLICE):
            part = keys[at : at + _SLICE]
            data = np.empty(len(part), HEAD)
            data["key"], data["version"] = part, versions[at : at + _SLICE] - np.uint32(start)
            self._add(part, data.tobytes())

    def _add(self, keys: Keys, data: bytes) -> None:
        section = self._section
        last = section.bucket(int(keys[-1]))
        following = np.arange(self._bucket + 1, last + 1, dtype=np.uint64)
        edges = np.searchsorted(keys, following << np.uint64(64 - section.bits))
        at = [0, *(edges * section.width).tolist(), len(data)]
        # No Python code runs for each bucket, of which a tier of ten million keys has a million.
        parts = map(data.__getitem__, map(slice, at[1:], at[2:]))
        crcs = [zlib.crc32(data[: at[1]], self._crc), *map(zlib.crc32, parts)]
        entries = np.empty(len(crcs), ENTRY)
        entries["first"][0], entries["first"][1:] = self._first, self._written + edges
        entries["crc"] = crcs
        self._write_entries(entries[:-1])
        self._out.seek(section.data + section.width * self._written)
        self._out.write(data)
        self._written += len(keys)
        self._bucket, self._first, self._crc = last, int(entries["first"][-1]), crcs[-1]

    def _finish(self) -> None:
        # No key follows, so the remaining buckets are empty; the last pair ends the directory.
        entries = np.zeros((1 << self._section.bits) + 1 - self._bucket, ENTRY)
        entries["first"] = self._written
        entries[0] = self._first, self._crc
        self._write_entries(entries)

    def _write_entries(self, entries: npt.NDArray[np.void]) -> None:
        self._out.seek(self._section.offset + ENTRY.itemsize * self._bucket)
        self._out.write(entries.tobytes())


def checksum(bucket: bytes) -> int:
    """The CRC-32 of a bucket, as in the directory."""
    return zlib.crc32(bucket)


def ids_of_bucket(data: bytes) -> Keys:
    """Decode a bucket of event keys."""
    return np.frombuffer(data, ID)


def version_in_bucket(data: bytes, key: int) -> int | None:
    """The version of ``key`` in a bucket of heads, relative to the file's first; or None."""
    heads = np.frombuffer(data, HEAD)
    hits = heads["version"][heads["key"] == np.uint64(key)]
    return int(hits[0]) if len(hits) else None
