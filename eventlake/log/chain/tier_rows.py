"""The rows of tiers: read from their files, made again from the log where a file is lost, kept where this process has just made them."""

import logging
from collections.abc import Callable, Sequence

import pyarrow as pa

from eventlake.columns.parquet import manifest_rows
from eventlake.core import layout
from eventlake.core.documents.manifest import Tier
from eventlake.core.hashing.canonical import sha256_hex
from eventlake.errors import CorruptionError
from eventlake.storage import ObjectMissingError, Storage, read_sized

_LOG = logging.getLogger(__name__)

Again = Callable[[int, int], list[manifest_rows.Row]]
"""Makes the rows of the commits ``[start, stop)`` again, from the log."""


class TierRows:
    """What the tiers of a chain hold besides keys."""

    def __init__(self, storage: Storage, again: Again) -> None:
        self._storage = storage
        self._again = again
        self._kept: dict[str, pa.Table] = {}

    def of(self, tier: Tier) -> list[manifest_rows.Row]:
        """A tier's commits with their segments."""
        return manifest_rows.from_table(
            self.table(tier), layout.rows_path(tier.stop, tier.rows_sha256)
        )

    def table(self, tier: Tier) -> pa.Table:
        """The same as they are stored; read from the log where the tier's file is lost or damaged."""
        if tier.rows_sha256 in self._kept:
            return self._kept[tier.rows_sha256]
        path = layout.rows_path(tier.stop, tier.rows_sha256)
        try:
            data = read_sized(self._storage, path, tier.rows_bytes)
        except (ObjectMissingError, CorruptionError):
            data = b""
        if sha256_hex(data) == tier.rows_sha256:
            return manifest_rows.read_table(data, path)
        _LOG.warning(
            "%s is missing or damaged; read from the log instead; run 'eventlake verify'", path
        )
        return manifest_rows.to_table(self._again(tier.start, tier.stop))

    def keep(self, tiers: Sequence[Tier], table: pa.Table) -> None:
        """Keeps the rows of the newest of ``tiers``, and of the others what is kept already."""
        *older, newest = (tier.rows_sha256 for tier in tiers)
        self._kept = {sha256: self._kept[sha256] for sha256 in older if sha256 in self._kept} | {
            newest: table
        }
