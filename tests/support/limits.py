"""Lakes that write and look up within limits of their own, so that a short history has what only a long one has."""

from eventlake.columns.intake.batch_limits import BatchLimits
from eventlake.datasets.lease_timing import LEASE_TIMING
from eventlake.lake import Lake
from eventlake.log.chain.limits import LogLimits
from eventlake.log.chain.open_or_create import open_chain

SMALL_TIERS = {"fold_weight": 40, "tier_ratio": 3}
"""So little is folded into a tier, and tiers are merged so late, that a short history has several."""
IMPATIENT = {"patience_seconds": 0.02, "first_pause_seconds": 0.001, "segment_tries": 1}
"""Nobody waits long for a store that does not answer."""


def limited(lake, *, batch=None, lease=LEASE_TIMING, **limits):
    """Another handle on a lake, with some of ``LogLimits``; ``batch`` has some of ``BatchLimits``."""
    chain = lake._chain
    log = LogLimits(batch=BatchLimits(**(batch or {})), **limits)
    return Lake(open_chain(chain.storage, chain.trust, log), lease=lease)
