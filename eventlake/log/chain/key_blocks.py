"""Read a key file once, from beginning to end, in blocks; its hash is checked on the way."""

import hashlib
from collections.abc import Iterator

import numpy as np

from eventlake.columns.keys.key_files import HEAD, ID, Section, sections
from eventlake.columns.keys.key_runs import Keys, Versions
from eventlake.core import layout
from eventlake.core.documents.manifest import KeyFile
from eventlake.errors import CorruptionError, NotFoundError, StorageError
from eventlake.storage import Storage

BLOCK_BYTES = 3 << 20
"""Bytes that are read at once; a multiple of the size of a key in either section."""


class KeyBlocks:
    """A key file as a source of ``key_merge``: its ``ids``, then its ``heads``.

    Args:
        storage: Where it is.
        file: What a commit says of it.
        hashed: Whether its hash is checked, which takes reading all of it.

    Raises:
        NotFoundError: It is missing.
        CorruptionError: It is shorter than its commit says, not sorted, or, after the last block,
            has another hash. Whoever stops earlier has seen unchecked keys.
    """

    def __init__(self, storage: Storage, file: KeyFile, *, hashed: bool = True) -> None:
        self.start, self.shift, self.count = file.start, file.shift, file.ids
        self._storage = storage
        self._file = file
        self._path = layout.keys_path(file.sha256)
        self._sections = sections(file.ids, file.heads)
        self._digest = hashlib.sha256() if hashed else None

    def ids(self) -> Iterator[Keys]:
        """See ``key_merge.Source.ids``."""
        # Sizes that contradict each other would be read as keys from the wrong places.
        if self._sections[1].stop != self._file.size_bytes:
            raise self._damaged(f"it has not {self.count:,} and {self._file.heads:,} keys")
        last = np.uint64(0)
        for data in self._blocks_of(self._sections[0]):
            keys = np.frombuffer(data, ID)
            self._check_sorted(keys, last)
            last = keys[-1]
            yield keys

    def heads(self) -> Iterator[tuple[Keys, Versions]]:
        """See ``key_merge.Source.heads``."""
        last = np.uint64(0)
        for data in self._blocks_of(self._sections[1]):
            heads = np.frombuffer(data, HEAD)
            keys = heads["key"].copy()
            self._check_sorted(keys, last)
            last = keys[-1]
            yield keys, heads["version"] + np.uint32(self.start)
        if self._digest is not None and self._digest.hexdigest() != self._file.sha256:
            raise self._damaged("its bytes do not match its hash")

    def _blocks_of(self, section: Section) -> Iterator[bytes]:
        if self._digest is not None:
            # The directory is read for the hash alone.
            for _ in self._blocks(section.offset, section.data):
                pass
        yield from self._blocks(section.data, section.stop)

    def _blocks(self, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, BLOCK_BYTES):
            part = at, min(at + BLOCK_BYTES, stop)
            try:
                [data] = self._storage.read_ranges(self._path, [part])
            except NotFoundError:
                raise
            except StorageError as error:
                raise self._damaged(error.message) from error
            if self._digest is not None:
                self._digest.update(data)
            yield data

    def _check_sorted(self, keys: Keys, last: np.uint64) -> None:
        # What is merged from unsorted keys would not be found again.
        if keys[0] < last or (keys[1:] < keys[:-1]).any():
            raise self._damaged("its keys are not sorted")

    def _damaged(self, problem: str) -> CorruptionError:
        return CorruptionError(
            f"{self._path} is damaged: {problem}", "run 'eventlake verify LAKE'.", path=self._path
        )
