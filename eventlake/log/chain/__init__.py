"""The chain of commits: reading, checking and extending it."""

from eventlake.log.chain.chain import Chain
from eventlake.log.chain.open_or_create import create_chain, open_chain

__all__ = ["Chain", "create_chain", "open_chain"]
