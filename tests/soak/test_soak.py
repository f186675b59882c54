"""Writers, group writers, compaction and garbage collection at one lake for minutes, killed and stopped at random moments.

``make soak`` runs it; the seed is printed, so that a failure can be looked at again.
"""

import os
import random
import sys
import time

import pytest

from tests.fault.crowd import ROLES, Crowd

SECONDS = float(os.environ.get("EVENTLAKE_SOAK_SECONDS", "0"))
SEED = int(os.environ.get("EVENTLAKE_SOAK_SEED", time.time_ns() % 1_000_000))
_LARGE = 60_000
"""A lake of so many events is settled, and a new one begun."""


@pytest.mark.skipif(not SECONDS, reason="takes minutes: make soak")
def test_nothing_is_lost_doubled_or_damaged_for_minutes(tmp_path):
    dice = random.Random(SEED)
    end = time.monotonic() + SECONDS
    rounds = receipts = kills = lakes = 0
    sys.stdout.write(f"\nsoak: seed {SEED}, {SECONDS:.0f} s\n")
    while time.monotonic() < end:
        folder = tmp_path / str(lakes)
        folder.mkdir()
        crowd = Crowd(folder, dice)
        while time.monotonic() < end and crowd.lake.watermark < _LARGE:
            roles = [dice.choice(ROLES) for _ in range(dice.choice([1, 2, 4, 4, 5]))]
            crowd.round(roles, stop_one=dice.random() < 0.2)
            kills += len(roles)
            crowd.assert_sound(deep=dice.random() < 0.1)
        crowd.settle()
        crowd.assert_sound(deep=True)
        rounds, receipts, lakes = (
            rounds + crowd.rounds,
            receipts + len(crowd.acknowledged),
            lakes + 1,
        )
        sys.stdout.write(
            f"soak: {rounds} rounds, {kills} processes killed, {receipts} receipts kept, {lakes} lakes sound\n"
        )
    assert receipts
