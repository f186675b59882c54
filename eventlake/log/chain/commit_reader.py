"""What a check of derived data reads of a chain.

``Chain`` calls the checks, so they know it by this protocol and do not import it.
"""

from typing import Protocol

from eventlake.log.chain.entry import Entry
from eventlake.log.chain.manifest import Manifest
from eventlake.log.chain.tier_rows import TierRows
from eventlake.storage import Storage
from eventlake.trust import Trust


class CommitReader(Protocol):
    """The part of ``Chain`` that reads commits; its attributes and methods are documented there."""

    @property
    def storage(self) -> Storage:
        """Where the lake is."""

    @property
    def trust(self) -> Trust:
        """The trust in the lake's writers."""

    @property
    def origin(self) -> str:
        """The lake's name."""

    @property
    def head(self) -> Entry | None:
        """The newest commit, or None in an empty lake."""

    @property
    def rows(self) -> TierRows:
        """The commits and segments that the tiers summarize."""

    def entry(self, version: int) -> Entry:
        """A commit of the chain, from memory or the store."""

    def read_entry(self, version: int) -> Entry:
        """Read a commit from the store."""

    def tail(self) -> list[Entry]:
        """The commits that no tier holds, oldest first."""

    def manifest(self) -> Manifest:
        """Every commit's summary, and the segments that hold the events now."""
