"""Which files hold an event table: each a range of sequences, named so that none can be stale.

A file holds the type's events of ``[start, stop)``. Its name carries the hash of the commit that
holds the last of them, which the whole history before it, clocks included, is in; and the hash of
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

DERIVER = 2
"""Goes up when the same events would come out as other tables."""
MERGED_ROWS = 2_000_000
"""Ranges grow together up to about this."""
_NAME = re.compile(r"([0-9]{20})-([0-9]{20})-([0-9]+)-([0-9a-f]{12})-([0-9a-f]{64})\.parquet")
_PLAIN = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True, order=True)
class TableRange:
    """A file with the type's events of ``[start, stop)``.

    Attributes:
        start: First sequence.
        stop: Exclusive.
        rows: How many events of the type.
        commit: First digits of the hash of the commit that holds the event ``stop - 1``.
        sha256: Of the file.
    """

    start: int
    stop: int
    rows: int
    commit: str
    sha256: str

    @property
    def name(self) -> str:
        """Of the file, in the table's folder."""
        return f"{self.start:020d}-{self.stop:020d}-{self.rows}-{self.commit}-{self.sha256}.parquet"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """The inverse of ``name``; None where it is no such name."""
        match = _NAME.fullmatch(name)
        return (
            cls(int(match[1]), int(match[2]), int(match[3]), match[4], match[5]) if match else None
        )


def folder(version: Version) -> str:
    """Where the table of an event type under one schema stands; where upcasts lead to it, as one version of their engine has them."""
    event_type = version.schema.event_type
    plain = _PLAIN.sub("_", event_type)[:60]
    deriver = f"{DERIVER}-{ENGINE}" if version.upcasts() else str(DERIVER)
    return f"{layout.TABLES}/{plain}-{sha256_hex(event_type.encode())[:8]}/{version.schema_hash[: layout.SHORT_HASH]}-{deriver}"


def commit_at(manifest: Manifest, stop: int) -> str:
    """First digits of the hash of the commit that holds the event ``stop - 1``."""
    return manifest.commits[manifest.version_of(stop - 1)].commit_hash[: layout.SHORT_HASH]


def true_ranges(found: Iterable[TableRange], manifest: Manifest) -> list[TableRange]:
    """Those of ``found`` that are of this history, by start, the longest first."""
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
    """The fewest of ``found`` that hold what is wanted, and what none of them holds.

    Args:
        found: From ``true_ranges``.
        wanted: Stretches ``[start, stop)`` with events of the type, in order.

    Returns:
        Ranges in order, no two of which overlap; and the stretches, in order, that are missing
        between and after them.
    """
    chosen: list[TableRange] = []
    missing: list[tuple[int, int]] = []
    done = 0
    for start, stop in wanted:
        while done < stop:
            at = max(start, done)
            best = max(
                (one for one in found if done <= one.start <= at < one.stop),
                key=lambda one: one.stop,
                default=None,
            )
            if best is None:
                later = min((one.start for one in found if at < one.start < stop), default=stop)
                missing.append((at, later))
                done = later
            else:
                chosen.append(best)
                done = best.stop
    return chosen, missing


def to_merge(chosen: Sequence[TableRange], start: int, rows: int) -> list[TableRange]:
    """The ranges just before ``start`` that a new one of so many rows is merged with: those no more than twice as large."""
    merged: list[TableRange] = []
    for one in reversed([one for one in chosen if one.stop <= start]):
        if one.rows > 2 * rows or one.rows + rows > MERGED_ROWS:
            break
        merged.insert(0, one)
        rows += one.rows
    return merged
