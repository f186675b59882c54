"""Merge runs of keys into one key file, block by block, so that memory does not grow with them."""

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from eventlake.columns.keys.key_files import SectionWriter, sections
from eventlake.columns.keys.key_runs import KeyRun, Keys, Versions, moved, newest_of, shift_of

Pairs = tuple[Keys, npt.NDArray[np.unsignedinteger]]
"""Sorted keys, and a value for each."""


class Source(Protocol):
    """A run of keys that is read once, in order: first its ``ids``, then its ``heads``."""

    start: int
    shift: int
    count: int
    """The number of event keys."""

    def ids(self) -> Iterator[Keys]:
        """Yield the event keys in sorted blocks, none of which is empty."""

    def heads(self) -> Iterator[tuple[Keys, Versions]]:
        """Yield the other keys in sorted blocks, with their versions; none is empty."""


class RunSource:
    """A run of keys in memory."""

    def __init__(self, run: KeyRun) -> None:
        self._run = run
        self.start, self.shift, self.count = run.start, run.shift, len(run.ids)

    def ids(self) -> Iterator[Keys]:
        """See ``Source.ids``."""
        if len(self._run.ids):
            yield self._run.ids

    def heads(self) -> Iterator[tuple[Keys, Versions]]:
        """See ``Source.heads``."""
        if len(self._run.heads):
            yield self._run.heads, self._run.versions


class Merged(NamedTuple):
    """What a key file says of itself in a commit, besides its size and hash."""

    ids: int
    heads: int
    start: int
    shift: int


def merge_into(
    out: BinaryIO, sources: Sequence[Source], stop: int, pause: Callable[[], None] = lambda: None
) -> Merged:
    """Write the key file of ``merged(runs, stop)``: the same bytes, in bounded memory.

    Args:
        out: An empty file, open for writing; it may be written out of order.
        sources: Runs of commits before version ``stop``; no other begins before the first.
        stop: The exclusive last version.
        pause: Called after every few blocks.
    """
    start = sources[0].start
    shift = shift_of(start, stop, max(source.shift for source in sources))
    count = sum(source.count for source in sources)
    with SectionWriter(out, sections(count, 0)[0]) as writer:
        # A move keeps the order of keys, so what is sorted stays sorted.
        for parts in _aligned([_moved(source, start, shift) for source in sources]):
            # A stable sort merges sorted runs in a quarter of the time.
            writer.add_ids(np.sort(np.concatenate([keys for keys, _ in parts]), kind="stable"))
            pause()
    # Their number is known only now, and the directory that precedes them depends on it.
    heads = [
        newest_of(
            np.concatenate([keys for keys, _ in parts]),
            np.concatenate([versions for _, versions in parts]),
        )
        for parts in _aligned([source.heads() for source in sources])
    ]
    found = Merged(count, sum(len(keys) for keys, _ in heads), start, shift)
    with SectionWriter(out, sections(found.ids, found.heads)[1]) as writer:
        for keys, versions in heads:
            writer.add_heads(keys, versions, start)
            pause()
    return found


def _moved(source: Source, start: int, shift: int) -> Iterator[Pairs]:
    for ids in source.ids():
        keys = moved(ids, source.start, source.shift, start, shift)
        yield keys, keys


def _aligned(streams: Sequence[Iterator[Pairs]]) -> Iterator[list[Pairs]]:
    """Cut sorted streams at the same keys; yields the parts of each cut, in the order of streams.

    Wherever the keys lie, at most one block of each stream is in memory.
    """
    blocks = [next(stream, None) for stream in streams]
    while any(block is not None for block in blocks):
        # No stream has further keys up to the smallest of the last keys that were read.
        cut = min(block[0][-1] for block in blocks if block is not None)
        parts = []
        for at, block in enumerate(blocks):
            if block is None:
                continue
            keys, values = block
            stop = int(np.searchsorted(keys, cut, side="right"))
            if stop:
                parts.append((keys[:stop], values[:stop]))
            blocks[at] = (keys[stop:], values[stop:]) if stop < len(keys) else None
            while blocks[at] is None:
                following = next(streams[at], None)
                if following is None:
                    break
                # A key may be repeated across two blocks.
                repeated = int(np.searchsorted(following[0], cut, side="right"))
                if repeated:
                    parts.append((following[0][:repeated], following[1][:repeated]))
                if repeated < len(following[0]):
                    blocks[at] = (following[0][repeated:], following[1][repeated:])
        yield parts
