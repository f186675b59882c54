"""Trust in a lake: only in what this user's processes wrote or checked, or in all its writers.

A *statement* is the digest of a fact that was checked; the *ledger* keeps statements in the user's
cache folder. May import ``eventlake.core``, ``eventlake.storage`` and ``eventlake.errors``; must
not know what a statement is about.
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
