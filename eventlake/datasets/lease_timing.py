"""How builders of one recipe wait for each other."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """The timing of leases.

    Attributes:
        beat_seconds: Seconds between two heartbeats of a lease.
        patience_seconds: Seconds without a heartbeat before a lease is abandoned.
    """

    beat_seconds: float = 5.0
    # Six heartbeats: one that is late must not make two builders compute the same.
    patience_seconds: float = 30.0


LEASE_TIMING = LeaseTiming()
