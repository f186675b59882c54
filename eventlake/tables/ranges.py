"""The files of an event table: each holds a range of sequences, and its name cannot go stale.

A file holds the events of one type in ``[start, stop)``. Its name contains the hash of the commit
with the last of them, which covers the whole history before it, clocks included; and the hash of
its own bytes. Compaction changes neither.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from eventlake.core import layout
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.log.chain.manifest import Manifest
from eventlake.schemas.version import Version
from eventlake.tables.expressions import ENGINE

DERIVER = 3
"""Version of the derivation; raised if the same events would give other tables."""
MERGED_ROWS = 2_000_000
"""Small ranges are merged up to about this many rows."""
_NAME = re.compile(r"([0-9]{20})-([0-9]{20})-([0-9]{1,20})-([0-9a-f]{12})-([0-9a-f]{64})\.parquet")
_PLAIN = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True, order=True)
class TableRange:
    """A file with the events of one type in ``[start, stop)``.

    Attributes:
        start: The first sequence, inclusive.
        stop: The last sequence, exclusive.
        rows: The number of events of the type.
        commit: The first digits of the hash of the commit that holds the event ``stop - 1``.
        sha256: The hash of the file.
    """

    start: int
    stop: int
    rows: int
    commit: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name in the table's folder."""
        return f"{self.start:020d}-{self.stop:020d}-{self.rows}-{self.commit}-{self.sha256}.parquet"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The inverse of ``name``; None if the name has another form."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        return cls(int(match[1]), int(match[2]), int(match[3]), match[4], match[5])


def folder(version: Version) -> str:
    """The folder of the table of an event type under one schema.

    If upcasts lead to the schema, the engine that evaluates them is part of the name.
    """
    event_type = version.schema.event_type
    # Types may differ only in characters that a file name cannot have, so the hash is part of the
    # name.
    plain = _PLAIN.sub("_", event_type)[:60]
    schema = version.schema_hash[: layout.SHORT_HASH]
    # Versions of eventlake may share a lake; each finds the tables that it would derive itself.
    deriver = f"{DERIVER}-{ENGINE}" if version.upcasts() else str(DERIVER)
    return f"{layout.TABLES}/{plain}-{sha256_hex(event_type.encode())[:8]}/{schema}-{deriver}"


def commit_at(manifest: Manifest, stop: int) -> str:
    """The first digits of the hash of the commit that holds the event ``stop - 1``."""
    return manifest.commits[manifest.version_of(stop - 1)].commit_hash[: layout.SHORT_HASH]


def true_ranges(found: Iterable[TableRange], manifest: Manifest) -> list[TableRange]:
    """The ranges that belong to this history, by start, longest first.

    After a lake was restored from a backup, files of the abandoned history may remain.
    """
    head = manifest.commits[-1].stop if manifest.commits else 0
    true = (
        one
        for one in found
        if 0 <= one.start < one.stop <= head and commit_at(manifest, one.stop) == one.commit
    )
    return sorted(true, key=lambda one: (one.start, -one.stop))


def cover(
    found: Sequence[TableRange], wanted: Sequence[tuple[int, int]]
) -> tuple[list[TableRange], list[tuple[int, int]]]:
    """The fewest ranges that cover some sequences, and the sequences that no range covers.

    A greedy cover: at each step the range that reaches furthest.

    Args:
        found: The output of ``true_ranges``.
        wanted: Half-open intervals with events of the type, in order.

    Returns:
        Ranges in order, without overlaps; and the intervals, in order, that are missing between
        and after them.
    """
    chosen: list[TableRange] = []
    missing: list[tuple[int, int]] = []
    done = 0
    for start, stop in wanted:
        while done < stop:
            at = max(start, done)
            # A range that begins before ``done`` would repeat rows.
            reaching = [one for one in found if done <= one.start <= at < one.stop]
            best = max(reaching, key=lambda one: one.stop, default=None)
            if best is None:
                later = min((one.start for one in found if at < one.start < stop), default=stop)
                missing.append((at, later))
                done = later
            else:
                chosen.append(best)
                done = best.stop
    return chosen, missing


def to_merge(
    chosen: Sequence[TableRange], start: int, rows: int, merged_rows: int = MERGED_ROWS
) -> list[TableRange]:
    """The ranges just before ``start`` that a new range of ``rows`` rows is merged with.

    A range is merged if it is at most twice as large, so that every row is rewritten only a
    logarithmic number of times. The merged range has at most ``merged_rows`` rows.
    """
    merged: list[TableRange] = []
    for one in reversed([one for one in chosen if one.stop <= start]):
        if one.rows > 2 * rows or one.rows + rows > merged_rows:
            break
        merged.insert(0, one)
        rows += one.rows
    return merged
