"""Whose word is taken for what a lake holds."""

import os
from dataclasses import dataclass
from typing import Any

from eventlake.errors import InvalidInputError
from eventlake.trust.ledger import Ledger

TRUST_VARIABLE = "EVENTLAKE_TRUST"


@dataclass(frozen=True, slots=True)
class Trust:
    """What is believed of a lake.

    Attributes:
        name: ``own`` or ``lake``.
        ledger: What was found to be true.
    """

    name: str
    ledger: Ledger

    @property
    def believes(self) -> bool:
        """Whether what the lake's writers stored is believed if its hash is the one it is named by."""
        return self.name == "lake"

    def knows(self, one: bytes) -> bool:
        """Whether something need not be checked."""
        return self.believes or self.ledger.knows(one)

    def __str__(self) -> str:
        """For a card."""
        return f"{self.name}: " + (
            "what its writers stored is believed"
            if self.believes
            else "what others stored is checked once"
        )


_LEDGER = Ledger()
OWN = Trust("own", _LEDGER)
"""Only what this user's processes wrote or checked is believed; everything else is checked at its first use."""
LAKE = Trust("lake", _LEDGER)
"""What the lake's writers stored is believed if its hash is the one it is named by."""


def trust_of(name: Any = None) -> Trust:
    """The policy of this name; for None that of the environment variable, or else ``own``.

    Raises:
        InvalidInputError: Another name.
    """
    chosen = os.environ.get(TRUST_VARIABLE) or OWN.name if name is None else name
    for policy in (OWN, LAKE):
        if chosen == policy.name:
            return policy
    where = "" if name is not None else f" in {TRUST_VARIABLE}"
    message = f"expected trust={OWN.name!r} or {LAKE.name!r}{where}, found {chosen!r}"
    raise InvalidInputError(
        message,
        "'own' checks what others stored; 'lake' believes whoever writes to the lake.",
        trust=chosen,
    )
