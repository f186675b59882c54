"""Sorted runs of keys: how they are searched and merged. ``keys`` says what a key is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Versions = npt.NDArray[np.uint32]

CELL_BITS = 16
CELLS = 1 << CELL_BITS
_CELL = np.uint64(CELLS - 1)
FINGERPRINT = ~_CELL
"""The bits of a key that are its fingerprint."""


def in_cell(keys: Keys, cell: int) -> Keys:
    """Move keys of cell 0 to another cell."""
    return keys | np.uint64(cell)


@dataclass(frozen=True, slots=True)
class KeyRun:
    """The keys of a run of commits.

    Attributes:
        start: The first version.
        shift: Cell ``c`` of an event key stands for the versions ``v`` with
            ``(v >> shift) - (start >> shift) == c``.
        ids: Event keys, sorted; a fingerprint may be repeated.
        heads: Distinct keys of subjects, producers and commit ids, sorted, all in cell 0.
        versions: The newest version that contains each of ``heads``.
    """

    start: int
    shift: int
    ids: Keys
    heads: Keys
    versions: Versions

    def versions_of(self, cell: int) -> range:
        """The versions of a cell of ``ids``; the last ones may be beyond the run."""
        first = (cell + (self.start >> self.shift)) << self.shift
        return range(max(first, self.start), first + (1 << self.shift))


def found_ids(ids: Keys, wanted: Keys) -> Keys:
    """The keys of ``ids`` (sorted) whose fingerprint is in ``wanted`` (sorted, cell 0)."""
    if not len(ids) or not len(wanted):
        return ids[:0]
    place = np.searchsorted(ids, wanted)
    # The first key that is not smaller has the wanted fingerprint, or none has. ``place`` may be at
    # the end.
    hits = (ids[np.minimum(place, len(ids) - 1)] & FINGERPRINT) == wanted
    if not hits.any():
        return ids[:0]
    # The lower bits are the cell: keys with one fingerprint are neighbours, whatever their cells.
    last = np.searchsorted(ids, wanted[hits] | _CELL, side="right")
    return np.concatenate(
        [ids[first:stop] for first, stop in zip(place[hits].tolist(), last.tolist(), strict=True)]
    )


def rows_of(keys: Keys, found: Keys) -> npt.NDArray[np.int64]:
    """The rows of ``keys`` (any order, cell 0) that have a fingerprint in ``found``."""
    return np.flatnonzero(np.isin(keys, found & FINGERPRINT))


def doubled(ids: Keys) -> Keys:
    """The fingerprints that are repeated in ``ids`` (sorted, cell 0)."""
    return distinct(ids[1:][ids[1:] == ids[:-1]])


def merged(runs: Sequence[KeyRun], stop: int) -> KeyRun:
    """Merge runs of consecutive commits, oldest first and all before version ``stop``."""
    start = runs[0].start
    shift = shift_of(start, stop, max(run.shift for run in runs))
    # Each run is nearly sorted, even if its cells became coarser. A stable sort merges such runs in
    # a quarter of the time.
    ids = np.sort(
        np.concatenate([moved(run.ids, run.start, run.shift, start, shift) for run in runs]),
        kind="stable",
    )
    keys = np.concatenate([run.heads for run in runs])
    versions = np.concatenate([run.versions for run in runs])
    return KeyRun(start, shift, ids, *newest_of(keys, versions))


def shift_of(start: int, stop: int, least: int = 0) -> int:
    """The smallest shift for which cells of 16 bits cover the commits ``[start, stop)``."""
    shift = least
    while ((stop - 1) >> shift) - (start >> shift) >= CELLS:
        shift += 1
    return shift


def newest_of(keys: Keys, versions: Versions) -> tuple[Keys, Versions]:
    """Sort the keys and keep each once, with its newest version."""
    if not len(keys):
        return keys, versions
    # Stable, because that merges runs, which the keys nearly always are, in a quarter of the time.
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    firsts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return keys[firsts], np.maximum.reduceat(versions[order], firsts)


def moved(ids: Keys, start: int, shift: int, new_start: int, new_shift: int) -> Keys:
    """Event keys of a run with cells relative to another start and a coarser shift."""
    if shift == new_shift:
        # Every cell moves by the same number of places, so the keys stay sorted.
        return ids + np.uint64((start >> shift) - (new_start >> shift))
    cells = (
        ((ids & _CELL) + np.uint64(start >> shift)) >> np.uint64(new_shift - shift)
    ) - np.uint64(new_start >> new_shift)
    return (ids & FINGERPRINT) | cells


def distinct(keys: Keys) -> Keys:
    """Sort the keys and keep each once; ``np.unique`` takes ten times as long."""
    ordered: Keys = np.sort(keys)
    once: Keys = ordered[np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]]
    return once


def of_commit(version: int, ids: Keys, heads: Keys) -> KeyRun:
    """The keys of one commit, whose ``ids`` and ``heads`` are sorted and in cell 0."""
    return KeyRun(version, 0, ids, heads, np.full(len(heads), version, np.uint32))
