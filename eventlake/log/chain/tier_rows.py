"""Read the rows of tiers; rebuild them from the log if a file is lost."""

import logging
from collections.abc import Callable, Sequence

import pyarrow as pa

from eventlake.columns.parquet import manifest_rows
from eventlake.core import layout
from eventlake.core.documents.manifest import Tier
from eventlake.errors import CorruptionError
from eventlake.storage import ObjectMissingError, Storage, check_hash, read_sized

_LOG = logging.getLogger(__name__)

Rebuild = Callable[[int, int], list[manifest_rows.Row]]
"""Rebuilds the rows of the commits ``[start, stop)`` from the log."""


class TierRows:
    """The commits and segments that the tiers of a chain summarize."""

    def __init__(self, storage: Storage, rebuild: Rebuild) -> None:
        self._storage = storage
        self._rebuild = rebuild
        self._kept: dict[str, pa.Table] = {}

    def of(self, tier: Tier) -> list[manifest_rows.Row]:
        """A tier's commits with their segments."""
        return manifest_rows.from_table(
            self.table(tier), layout.rows_path(tier.stop, tier.rows_sha256)
        )

    def table(self, tier: Tier) -> pa.Table:
        """A tier's rows as a table; rebuilt from the log if its file is missing or damaged."""
        if tier.rows_sha256 in self._kept:
            return self._kept[tier.rows_sha256]
        path = layout.rows_path(tier.stop, tier.rows_sha256)
        try:
            data = check_hash(
                read_sized(self._storage, path, tier.rows_bytes), tier.rows_sha256, path
            )
        except (ObjectMissingError, CorruptionError):
            _LOG.warning(
                "%s is missing or damaged; read from the log instead; run 'eventlake verify'", path
            )
            return manifest_rows.to_table(self._rebuild(tier.start, tier.stop))
        return manifest_rows.read_table(data, path)

    def keep(self, tiers: Sequence[Tier], table: pa.Table) -> None:
        """Keep the rows of the newest of ``tiers`` in memory; forget tiers that are not listed."""
        # Only the newest tier will be merged soon; older ones are large and rarely needed.
        *older, newest = (tier.rows_sha256 for tier in tiers)
        self._kept = {sha256: self._kept[sha256] for sha256 in older if sha256 in self._kept} | {
            newest: table
        }
