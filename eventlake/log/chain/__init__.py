"""The chain of commits: reading it, checking it, and publishing its next entry."""

from eventlake.log.chain.chain import Chain, create_chain, open_chain

__all__ = ["Chain", "create_chain", "open_chain"]
