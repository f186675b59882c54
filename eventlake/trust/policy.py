"""Policies of trust: which stored data is used without checking it."""

import os
from dataclasses import dataclass
from typing import Any

from eventlake.errors import InvalidInputError
from eventlake.trust.ledger import Ledger

TRUST_VARIABLE = "EVENTLAKE_TRUST"


@dataclass(frozen=True, slots=True)
class Trust:
    """The trust in a lake's writers.

    Attributes:
        name: ``own`` or ``lake``.
        ledger: Facts that were checked.
    """

    name: str
    ledger: Ledger

    @property
    def believes(self) -> bool:
        """Whether stored data is trusted if it matches the hash in its name."""
        return self.name == "lake"

    def knows(self, one: bytes) -> bool:
        """Whether a statement is trusted without a check."""
        return self.believes or self.ledger.knows(one)

    def __str__(self) -> str:
        """The text on a card."""
        if self.believes:
            return f"{self.name}: what its writers stored is trusted"
        return f"{self.name}: what other users stored is checked once"


_LEDGER = Ledger()
OWN = Trust("own", _LEDGER)
"""Trust what this user's processes wrote or checked; check everything else at its first use."""
LAKE = Trust("lake", _LEDGER)
"""Trust everything that the lake's writers stored, if it matches the hash in its name."""


def trust_of(name: Any = None) -> Trust:
    """Find a policy by name.

    Args:
        name: ``own`` or ``lake``; defaults to the environment variable, or else ``own``.

    Raises:
        InvalidInputError: There is no policy of this name.
    """
    # An empty variable counts as unset.
    chosen = os.environ.get(TRUST_VARIABLE) or OWN.name if name is None else name
    for policy in (OWN, LAKE):
        if chosen == policy.name:
            return policy
    where = "" if name is not None else f" in {TRUST_VARIABLE}"
    message = f"expected trust={OWN.name!r} or {LAKE.name!r}{where}, found {chosen!r}"
    raise InvalidInputError(
        message,
        "'own' checks what other users stored; 'lake' trusts all writers of the lake.",
        trust=chosen,
    )
