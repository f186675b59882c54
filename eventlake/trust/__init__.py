"""What is believed of a lake: what this user's processes wrote or checked themselves, or whatever its writers stored.

A *statement* is the digest of something that was found to be true; the *ledger* remembers
statements in the user's cache folder. May import ``eventlake.core``, ``eventlake.storage`` and
``eventlake.errors``; must not know what a statement is about.
"""

from eventlake.trust.cache import cache_folder
from eventlake.trust.ledger import Ledger, statement
from eventlake.trust.policy import LAKE, OWN, TRUST_VARIABLE, Trust, trust_of

__all__ = [
    "LAKE",
    "OWN",
    "TRUST_VARIABLE",
    "Ledger",
    "Trust",
    "cache_folder",
    "statement",
    "trust_of",
]
